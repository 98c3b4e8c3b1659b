#!/usr/bin/env bash
# The documents: each command they show is run, each piece of C compiles. docs.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit 1
exec python3 tests/docs.py "${1:-build}"
