#!/usr/bin/env bash
# The program end to end: each case is a script and its exact output, exit statuses included. run.sh BUILD [--update]
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=$(cd "${1:-build}" && pwd)
work=$tree/cli-work
export CAIRN=$tree/cairn LC_ALL=C.UTF-8 COLUMNS=100 NO_COLOR=1
unset CAIRN_STORE
status=0
fresh() { rm -rf "$work" && mkdir -p "$work" && tar -C "$work" -xzf tests/golden/store-0.1.0.tar.gz; }
preloaded() { "${CC:-gcc}" -shared -fPIC -O2 -o "$tree/$1.so" "tests/cli/$1.c"; }
for script in tests/cli/cases/*.sh; do
    name=$(basename "$script" .sh)
    fresh
    (cd "$work" && bash "$OLDPWD/$script") >"$work.out" 2>&1
    if [ "${2:-}" = --update ]; then cp "$work.out" "tests/cli/cases/$name.out"; fi
    if cmp -s "$work.out" "tests/cli/cases/$name.out"; then echo "ok - cli $name"; else
        echo "not ok - cli $name"
        status=1
        diff "tests/cli/cases/$name.out" "$work.out"
    fi
done
fresh
python3 tests/cli/terminal.py "$work" || status=1
fresh
python3 tests/cli/values.py "$work" || status=1
fresh
if ! head -c 4 "$CAIRN" | grep -q ELF; then
    echo 'skip - out of memory, and beside others at every moment: the program runs under an emulator here'
    python3 tests/cli/beside.py "$work" || status=1
elif preloaded failing_malloc && preloaded at_open; then
    python3 tests/cli/memory.py "$work" "$tree/failing_malloc.so" || status=1
    fresh
    python3 tests/cli/beside.py "$work" "$tree/at_open.so" || status=1
else status=1; fi
exit $status
