#!/usr/bin/env bash
# The documents: each command they show is run, each piece of C compiles. docs.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit 1
make --no-print-directory BUILD="${1:-build}" "${1:-build}/model" "${1:-build}/sim" >/dev/null || exit 1
exec python3 tests/docs.py "${1:-build}"
