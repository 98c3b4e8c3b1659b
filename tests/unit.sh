#!/usr/bin/env bash
# unit.sh BUILD [TEST...]: runs unit tests of a build tree, all by default, under the command CAIRN_TEST_UNDER if it is set (valgrind, qemu).
# CAIRN_TEST_ONLY: the one test function of them that runs, where the program knows it. CAIRN_TEST_ON: the folder that they work in, else the tree. TSan wants
# a fixed address space.
# shellcheck disable=SC2086,SC2046 # words are split on purpose
set -u
tree=$1
shift
status=0
if [ $# = 0 ]; then set -- $(cd "$(dirname "$0")/unit" && ls test_*.c | sed 's/\.c$//'); fi
export ASAN_OPTIONS=allocator_may_return_null=1
if [ -n "${CAIRN_TEST_ONLY:-}" ] && ! (cd "$tree/tests" && grep -qaP "\0\Q$CAIRN_TEST_ONLY\E\0" -- "$@"); then
    echo "not ok - no test is called $CAIRN_TEST_ONLY in $*"
    exit 1
fi
for test in "$@"; do
    scratch=$(mktemp -d "${CAIRN_TEST_ON:-$tree}/scratch.XXXXXX")
    echo "== $test"
    case $tree in *tsan*) run='setarch -R' ;; *) run=${CAIRN_TEST_UNDER:-} ;; esac
    CAIRN_TEST_DIR=$scratch timeout "${CAIRN_TEST_TIMEOUT_S:-150}" $run "$tree/tests/$test" || status=1
    # what a test that failed left mounted
    awk -v below="$(realpath "$scratch")/" 'index($2, below) == 1 {print $2}' /proc/mounts | while read -r mount; do umount -l "$mount"; done
    rm -rf "$scratch"
done
exit $status
