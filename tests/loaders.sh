#!/bin/sh
# Do model loaders find exactly the model's files in what Cairn writes? loaders.sh [BUILD]; prints `ok - ...` lines.
set -eu
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
[ -f "$build/libcairn.a" ] || make --no-print-directory lib BUILD="$build"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# shellcheck disable=SC2086
${CC:-gcc} -std=gnu11 -O1 -Wall -Wextra ${SANITIZE:-} -Iinclude -o "$scratch/make_runs" tests/loaders/make_runs.c "$build/libcairn.a" -lm -pthread
mkdir "$scratch/store"
"$scratch/make_runs" "$scratch/store"
python3 tests/loaders/rules.py "$scratch/store/single" "$scratch/store/frozen" "$scratch/store/sharded"
