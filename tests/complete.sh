#!/usr/bin/env bash
# Every source file of the library has its test: the first lines of a unit test name the files it covers ("Covers src/os/os_dir.c, os_file.c").
set -u
cd "$(dirname "$0")/.." || exit 1
covered=$(for test in tests/unit/test_*.c; do sed -n '1,/\*\//p' "$test"; done | tr -s ' ,\n' '\n')
status=0
for source in src/*/*.c; do
    if grep -qxE "($source|${source##*/}):?\.?" <<<"$covered"; then continue; fi
    echo "not ok - $source has no unit test that says it covers it"
    status=1
done
[ $status = 0 ] && echo "ok - each of $(ls src/*/*.c | wc -l) source files has its unit test"
exit $status
