#!/usr/bin/env bash
# Branch coverage of the library by its unit tests, per layer and in total. Built without optimization they take longer.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=build/coverage
find "$tree" -name '*.gcda' -delete 2>/dev/null
make --no-print-directory BUILD=$tree OPT='-O0 -g' SANITIZE=--coverage HARDEN= unit-tests >/dev/null || exit 1
if ! CAIRN_TEST_TIMEOUT_S=400 tests/unit.sh $tree >$tree/unit.log 2>&1; then
    echo 'not ok - coverage: unit tests fail'
    grep -E '^\[  FAILED|ERROR|not ok' $tree/unit.log | head -20
    exit 1
fi
total_hit=0 total=0
echo 'branch coverage of the unit tests'
for layer in base os io format policy store snapshot manager api; do
    read -r hit all <<<"$(find $tree/obj/src/$layer -name '*.gcda' -exec gcov -b -n {} + 2>/dev/null |
        awk -v layer="src/$layer/" '/^File/ {ours = index($0, layer) && /\.c.$/} ours && /^Taken at least once:/ {sub(/.*once:/, ""); split($0, p, "% of "); hit += p[1] * p[2] / 100; all += p[2]} END {printf "%d %d", hit, all}')"
    [ "${all:-0}" -gt 0 ] && printf '  %-10s %3d %% of %d branches\n' $layer $((100 * hit / all)) "$all"
    total_hit=$((total_hit + hit)) total=$((total + all))
done
if [ $total = 0 ]; then echo 'not ok - coverage: gcov tells nothing'; exit 1; fi
printf '  %-10s %3d %% of %d branches\n' all $((100 * total_hit / total)) $total
echo 'ok - coverage is measured'
