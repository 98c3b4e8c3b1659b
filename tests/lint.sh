#!/usr/bin/env bash
# What reads the code without running it: clang-format, clang-tidy (.clang-tidy says which checks), include-what-you-use (includes that nothing
# uses), shellcheck, mandoc. `make lint` installs them and runs this. lint.sh [FILE.c ...]: clang-tidy and includes of these files alone.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
work=build/lint
mkdir -p "$work"
status=0
verdict() { # verdict NAME FILE-OF-FINDINGS [ENDED]: nothing found is good only where the tool ended well
    if [ ! -s "$2" ] && [ "${3:-0}" != 0 ]; then echo "it found nothing and ended with $3" >"$2"; fi
    if [ ! -s "$2" ]; then echo "ok - lint: $1"; else
        echo "not ok - lint: $1"
        head -40 "$2"
        status=1
    fi
}

flags() { # flags FILE.c: what it is compiled with; a layer sees what it may include
    local common='-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude' layer
    case $1 in
    src/*)
        layer=${1#src/}
        echo "$common -DCN_SIMD_LEVEL=0 -Ibuild/include/${layer%%/*}"
        ;;
    cli/*) echo "$common -Icli" ;;
    examples/*) echo "$common -Iexamples" ;;
    bench/*) echo "$common -Ibench" ;;
    python/*) echo "$common -Ipython/native -DPy_LIMITED_API=0x030b0000 -isystem $(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')" ;;
    tests/fuse/* | tests/crash/log_disk.c) echo "$common $(pkg-config --cflags fuse3)" ;;
    *) echo "$common -Isrc -Itests/unit -Itests/fuzz $(pkg-config --cflags cmocka)" ;;
    esac
}
# In tests besides: what overflows in sums of some small numbers, what a cast for printf loses, randomness that a seed repeats, text that is meant to mislead,
# floats compared by their bits, handlers of signals that call what promises to be safe in one, callbacks that need not write, and what the analyzer cannot
# follow - asserts of cmocka that do not return, lists whose head a function takes off. The sanitizers look at memory there.
left_out_in_tests='-bugprone-implicit-widening-of-multiplication-result,-bugprone-misplaced-widening-cast,-bugprone-suspicious-memory-comparison'
left_out_in_tests+=',-cert-msc*,-cert-exp42-c,-cert-flp37-c,-misc-misleading-bidirectional,-readability-non-const-parameter'
left_out_in_tests+=',-readability-inconsistent-declaration-parameter-name,-clang-analyzer-unix.Malloc,-clang-analyzer-core.uninitialized.*'
left_out_in_tests+=',-clang-analyzer-core.CallAndMessage,-bugprone-signal-handler,-cert-sig30-c'
tidy() {
    local checks=() said ended=0
    case $1 in tests/*) checks=("--checks=$left_out_in_tests") ;; esac
    # shellcheck disable=SC2046
    said=$(clang-tidy --quiet "${checks[@]}" "$1" -- $(flags "$1") 2>&1) || ended=$?
    if grep -qE '(warning|error):' <<<"$said"; then
        grep -E '(warning|error):' <<<"$said" | sed "s|$PWD/||"
    elif [ "$ended" != 0 ]; then echo "$1: clang-tidy ended with $ended: $(tail -1 <<<"$said")"; fi
}
# Of what include-what-you-use says only what is certain: an include that nothing in the file needs. Which header hands on another's names is ours
# to decide. Of two that it takes for others' private parts the manual pages say to include them. On vectors of gcc's (crashes_it) it ends by an assertion of
# its own. Of tests it would take off what cmocka.h wants to stand before it.
crashes_it='^(src/base/stats_simd|examples/gpt/kernels)\.c$'
includes() {
    local said
    # shellcheck disable=SC2046
    said=$(include-what-you-use -Xiwyu --no_comments $(flags "$1") "$1" 2>&1)
    if ! grep -q "^The full include-list for $1\|^($1 has correct " <<<"$said"; then echo "$1: include-what-you-use did not get through it: $(tail -1 <<<"$said")"; fi
    awk -v file="$1" '/ should remove these lines:$/ {on = ($1 == file); next} /^The full include-list/ {on = 0} on && /^- #include/ && !/<sys\/(syscall|vfs)\.h>/ {print file ": " $0}' <<<"$said"
}
export -f flags tidy includes
export left_out_in_tests

make --no-print-directory lib >/dev/null || exit 1
if [ $# = 0 ]; then
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror >"$work/said" 2>&1
    ended=$?
    grep -E 'error:' "$work/said" >"$work/format"
    verdict 'clang-format' "$work/format" $ended
    ended=0
    { git ls-files '*.sh' completion/cairn.bash .ci/run | grep -v '^tests/cli/cases/' | xargs shellcheck -f gcc || ended=$?
        git ls-files 'tests/cli/cases/*.sh' | xargs shellcheck -f gcc -s bash -e SC2154,SC2086,SC2164 || ended=$?; } >"$work/shell"
    verdict 'shellcheck' "$work/shell" $ended
    mandoc -T lint -W all man/* >"$work/said"
    ended=$?
    grep -v 'referenced manual not found' "$work/said" >"$work/man"
    verdict 'mandoc' "$work/man" $((ended >= 5 ? ended : 0)) # below: how grave what it says is
    # shellcheck disable=SC2046
    set -- $(git ls-files '*.c')
fi
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'tidy {}' | sort -u >"$work/tidy"
verdict 'clang-tidy' "$work/tidy"
printf '%s\n' "$@" | grep -E '^(src|cli|examples|bench)/' | grep -vE "$crashes_it" | xargs -P "$(nproc)" -I{} bash -c 'includes {}' | sort -u >"$work/includes"
verdict 'includes that nothing uses' "$work/includes"
exit $status
