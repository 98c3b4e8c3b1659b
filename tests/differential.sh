#!/usr/bin/env bash
# The stock safetensors crate and Cairn on the same files: who accepts what, and every name, dtype, shape and byte. differential.sh BUILD; DIFF_FILES
# says how many mutations (3000), DIFF_SEED which. tests/differential/README.md has the differences that are meant.
set -u
cd "$(dirname "$0")/.." || exit 1
tree=${1:-build}
work=$tree/differential
crate=$(sed -n 's/^CRATE = "\(.*\)"$/\1/p' tests/differential/run.py)
python=$work/venv/bin/python
mkdir -p "$work"
if ! "$python" -c "import importlib.metadata as m, safetensors; assert m.version('safetensors') == '$crate'" 2>"$work/import.log"; then
    rm -rf "$work/venv"
    if ! { python3 -m venv "$work/venv" && "$python" -m pip install --quiet --disable-pip-version-check --only-binary :all: "safetensors==$crate"; } >"$work/venv.log" 2>&1; then
        echo "skip - differential: safetensors $crate cannot be installed: $(tail -1 "$work/venv.log")"
        exit 0
    fi
fi
# shellcheck disable=SC2086
${CC:-gcc} -std=gnu11 -O1 -g -Wall -Wextra -Wshadow -Werror ${SANITIZE:-} -Iinclude -o "$work/reader" tests/differential/reader.c "$tree/libcairn.a" -lm -pthread || exit 1
exec "$python" -B tests/differential/run.py "$work/reader" "${DIFF_FILES:-3000}" "$work/findings"
