#!/usr/bin/env bash
# The unit tests under valgrind's memcheck: no read or write out of bounds, nothing decided by bytes that were never set, nothing lost. valgrind.sh
# [TEST...]. The ordinary build runs: valgrind hides AVX-512 from cpuid, so the level below is what it sees. In children lost memory
# does not count, other errors do.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
if ! command -v valgrind >/dev/null; then
    echo 'skip - valgrind: not installed'
    exit 0
fi
make --no-print-directory unit-tests || exit 1
work=$PWD/build/valgrind
rm -rf "$work"
mkdir -p "$work"
read -ra cmocka <<<"$(pkg-config --cflags cmocka)"
gcc -shared -fPIC -D_GNU_SOURCE -O1 -Wall -Wextra -Werror "${cmocka[@]}" -o "$work/leave_out.so" tests/under/leave_out.c -ldl || exit 1
export CAIRN_TEST_LEAVE_OUT=tests/under/valgrind.list CAIRN_TEST_TIMEOUT_S=${CAIRN_TEST_TIMEOUT_S:-900}
export CAIRN_TEST_ROUNDS=${CAIRN_TEST_ROUNDS:-300} CAIRN_TEST_TENSORS=${CAIRN_TEST_TENSORS:-1000} # of the hostile headers
# children that leave by _exit lose memory rightly: what is lost counts in the process of the test itself, whose id the wrapper notes
cat >"$work/under" <<END
#!/bin/sh
echo \$\$ >"\$CAIRN_TEST_LOGS/main"
exec env LD_PRELOAD=$work/leave_out.so valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=none \\
    --show-leak-kinds=definite,indirect --num-callers=20 --log-file="\$CAIRN_TEST_LOGS/%p" "\$@"
END
chmod +x "$work/under"
findings='^==[0-9]+== (Invalid|Mismatched|Use of uninit|Conditional jump|Syscall param|Source and destination|Argument)'
status=0
if [ $# = 0 ]; then mapfile -t tests < <(cd tests/unit && ls test_*.c | sed 's/\.c$//'); else tests=("$@"); fi
for test in "${tests[@]}"; do
    export CAIRN_TEST_LOGS=$work/$test
    mkdir "$CAIRN_TEST_LOGS"
    start=$SECONDS verdict=ok
    CAIRN_TEST_UNDER=$work/under tests/unit.sh build "$test" || verdict='not ok'
    mapfile -t found < <(
        grep -lE "$findings" "$CAIRN_TEST_LOGS"/*
        grep -lE 'definitely lost|indirectly lost' "$CAIRN_TEST_LOGS/$(cat "$CAIRN_TEST_LOGS/main")"
    )
    if [ ${#found[@]} != 0 ]; then
        verdict='not ok'
        grep -h '^==' "${found[@]}" | head -60
    fi
    echo "$verdict - valgrind: $test, $((SECONDS - start)) s"
    if [ "$verdict" != ok ]; then status=1; fi
done
exit $status
