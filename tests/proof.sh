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

part() { # part NAME COMMAND...
    local name=$1 start=$SECONDS ended=0 ok bad skip
    shift
    echo "== $name"
    "$@" 2>&1 | tee "$log/part"
    ended=${PIPESTATUS[0]}
    ok=$(($(grep -c '^ok - ' "$log/part") + $(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log/part" | awk '{n += $1} END {print n + 0}')))
    bad=$(($(grep -c '^not ok - ' "$log/part") + $(sed -n 's/^\[  FAILED  \] \([0-9]*\) test.*/\1/p' "$log/part" | awk '{n += $1} END {print n + 0}')))
    skip=$(grep -cE '^skip - |^\[  SKIPPED \] [a-z]' "$log/part")
    if [ "$ended" != 0 ] && [ "$bad" = 0 ]; then bad=1; fi
    if [ "$bad" != 0 ]; then status=1; fi
    table+=("$(printf '%-34s %5d passed %3d failed %3d skipped %6d s' "$name" "$ok" "$bad" "$skip" $((SECONDS - start)))")
}
threads() {
    make --no-print-directory test-tsan
}

make --no-print-directory all unit-tests || exit 1
part 'the protocol as a model' make --no-print-directory model
part 'a simulated disk' make --no-print-directory sim
part 'every call and allocation fails' env CAIRN_TEST_TIMEOUT_S=900 CAIRN_FAULTS=all tests/unit.sh "$tree" test_faults
part 'the real kernel' make --no-print-directory crash
part 'threads, TSan' threads
echo
echo "kernel $(uname -r), $(findmnt -no FSTYPE -T "$tree"), $(nproc) processors"
printf '%s\n' "${table[@]}"
echo "took $SECONDS s"
exit $status
