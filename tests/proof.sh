#!/usr/bin/env bash
# What faults were injected, how many, and what was lost: nothing. proof.sh BUILD: the protocol as a model, the simulated disk, every call and every allocation
# failing once, the real kernel, threads under TSan. Prints each part's own lines, and at the end a table. What cannot run here says `skip - ` and counts so.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=${1:-build}
log=$(mktemp -d "$tree/proof.XXXXXX")
trap 'rm -rf "$log"' EXIT
status=0
table=()

# shellcheck source=tests/count.sh
. tests/count.sh
part() { # part NAME COMMAND...
    local name=$1 start=$SECONDS ended=0
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$log/part"
    ended=${PIPESTATUS[0]}
    count "$log/part" "$ended"
    if [ "$bad" != 0 ]; then status=1; fi
    table+=("$(printf '%-34s %5d passed %3d failed %3d skipped %6d s' "$name" "$ok" "$bad" "$skip" $((SECONDS - start)))")
}

make=(make --no-print-directory "BUILD=$tree")
"${make[@]}" all unit-tests || exit 1
part 'the protocol as a model' "${make[@]}" model
part 'a simulated disk' "${make[@]}" sim
part 'steps left out, on it' "${make[@]}" mutants
part 'every call and allocation fails' env CAIRN_TEST_TIMEOUT_S=900 CAIRN_FAULTS=all tests/unit.sh "$tree" test_faults
part 'the real kernel' "${make[@]}" crash
part 'threads, TSan' "${make[@]}" test-tsan
echo
echo "kernel $(uname -r), $(findmnt -no FSTYPE -T "$tree"), $(nproc) processors"
printf '%s\n' "${table[@]}"
echo "took $SECONDS s"
exit $status
