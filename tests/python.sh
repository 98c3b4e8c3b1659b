#!/usr/bin/env bash
# The Python package: types, then tests. python.sh types: the types alone; python.sh PYTEST-ARGUMENT...: tests alone
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
unset PYTHONDONTWRITEBYTECODE # hundreds of processes import torch, and to compile it takes each of them seconds
if ! scripts/venv.sh; then
    echo 'not ok - python: an environment with torch, jax and the others'
    exit 1
fi
python=build/venv/bin/python
flock build/venv.lock make --no-print-directory PYTHON=$python python || exit 1 # two of us may begin at once
# shellcheck source=tests/check.sh
. tests/check.sh
label=python work=build
if [ $# != 0 ] && [ "$1" != types ]; then :
elif [ -n "${CAIRN_LONG:-}" ]; then
    check 'mypy --strict' $python -m mypy --strict python/cairn
else
    check 'mypy --strict, the types of torch and jax aside' $python -m mypy --config-file tests/python/mypy-quick.ini python/cairn
fi
if [ "${1:-}" != types ]; then PYTHONPATH=build/python $python -m pytest -q -p no:cacheprovider "${@:-tests/python}" || checks_failed=1; fi
finish
