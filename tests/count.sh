# Sourced by run.sh and proof.sh. count LOG STATUS: how many tests the log of a part tells as passed, failed and skipped, into ok, bad and skip: cmocka's lines
# and `ok - `, `not ok - `, `skip - `. A part that ended badly, or told nothing at all, has failed.
# shellcheck shell=bash disable=SC2034 # ok, bad and skip are the script's
count() {
    ok=$(($(grep -c '^ok - ' "$1") + $(cmocka_sum PASSED "$1")))
    bad=$(($(grep -c '^not ok - ' "$1") + $(cmocka_sum FAILED "$1")))
    skip=$(($(grep -c '^skip - ' "$1") + $(cmocka_sum SKIPPED "$1")))
    if [ "$bad" = 0 ] && { [ "$2" != 0 ] || [ $((ok + skip)) = 0 ]; }; then bad=1; fi
}
cmocka_sum() { sed -n "s/^\[ *$1 *\] \([0-9]*\) test.*/\1/p" "$2" | awk '{n += $1} END {print n + 0}'; }
