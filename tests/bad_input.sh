#!/usr/bin/env bash
# Every known bad input through the program: bad_input.sh BUILD. The tables are in tests/bad_input/.
set -u
cd "$(dirname "$0")/.." || exit 1
exec python3 tests/bad_input/run.py "${1:-build}/cairn"
