#!/bin/sh
# A Python environment under build/: made once, anew when its list of packages changes. Prints nothing if all is well.
# venv.sh [LIST [FOLDER]]: that of the package's tests, in build/venv, or another one.
set -eu
cd "$(dirname "$0")/.."
list=${1:-tests/python/requirements.txt} venv=${2:-build/venv}
if cmp -s "$list" "$venv/installed.txt"; then exit 0; fi
mkdir -p build
python=
for candidate in python3 python3.13 python3.12 python3.11; do
    if $candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$candidate && break; fi
done
if [ -z "$python" ]; then
    echo 'no Python from 3.11 on with venv is installed' >&2
    exit 1
fi
if [ ! -x "$venv/bin/python" ]; then $python -m venv "$venv"; fi
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: --no-compile --requirement "$list" >"$venv.log" 2>&1 || {
    tail -5 "$venv.log" >&2
    exit 1
}
cp "$list" "$venv/installed.txt"
