#!/usr/bin/env bash
# Readers of safetensors files that are installed for `make proof` alone, over what the Python package writes. readers.sh [PYTEST ARGUMENT...]
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
venv=build/venv-readers
if ! scripts/venv.sh tests/python/requirements-readers.txt $venv 2>/dev/null; then
    why=$(grep -m1 '^ERROR' $venv.log || tail -1 $venv.log)
    echo "skip - readers: they cannot be installed, so NOTHING was read by mlx and fastsafetensors: $why"
    exit 0
fi
make --no-print-directory PYTHON=$venv/bin/python python || exit 1
CAIRN_READERS=1 PYTHONPATH=build/python $venv/bin/python -m pytest -q -p no:cacheprovider "${@:-tests/python/test_readers.py}"
