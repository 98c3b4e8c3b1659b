#!/usr/bin/env bash
# What faults were injected, how many, and what was lost: nothing. proof.sh BUILD: the protocol as a model, the simulated disk, every call and every allocation
# failing once, the real kernel, threads under TSan, the Python package, readers of what it writes. Two lanes run side by side, for much of the real kernel's
# is waiting for the disk. Each part's own lines are printed as it ends, a table comes last. What cannot run here says `skip - ` and counts so.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=${1:-build}
mkdir -p "$tree"
log=$(mktemp -d "$tree/proof.XXXXXX") || exit 1
trap 'rm -rf "$log"' EXIT
make=(make --no-print-directory "BUILD=$tree")

# shellcheck source=tests/count.sh
. tests/count.sh
part() { # part NUMBER NAME COMMAND...: the number is its row in the table
    local number=$1 name=$2 start=$SECONDS ended=0
    shift 2
    echo "== $name: begins"
    "$@" >"$log/$number.out" 2>&1 || ended=$?
    count "$log/$number.out" "$ended"
    { echo "== $name: after $((SECONDS - start)) s" && cat "$log/$number.out"; } >"$log/$number.told"
    cat "$log/$number.told" # in one piece, whatever the other lane says
    printf '%-34s %5d passed %3d failed %3d skipped %6d s\n' "$name" "$ok" "$bad" "$skip" $((SECONDS - start)) >"$log/$number.row"
    echo "$bad" >"$log/$number.bad"
}

scripts/setup.sh test && scripts/setup.sh crash && "${make[@]}" all unit-tests crash-programs "$tree/model" "$tree/sim" || exit 1
{
    part 5 'the real kernel' "${make[@]}" crash
} &
part 1 'the protocol as a model' "${make[@]}" model
part 2 'a simulated disk' "${make[@]}" sim
part 3 'steps left out, on it' "${make[@]}" mutants
part 4 'every call and allocation fails' env CAIRN_TEST_TIMEOUT_S=900 CAIRN_FAULTS=1 tests/unit.sh "$tree" test_faults
part 6 'threads, TSan' "${make[@]}" test-tsan
part 7 "the Python package, all of it" env CAIRN_LONG=1 tests/python.sh
part 8 'mlx and fastsafetensors' tests/readers.sh
wait
echo
echo "kernel $(uname -r), $(findmnt -no FSTYPE -T "$tree"), $(nproc) processors"
cat "$log"/?.row
echo "took $SECONDS s"
[ "$(cat "$log"/?.bad | tr -d '\n')" = 00000000 ]
