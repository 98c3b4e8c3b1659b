#!/usr/bin/env bash
# What reads the code without running it: clang-format, clang-tidy (.clang-tidy says which checks), include-what-you-use (includes that nothing
# uses), shellcheck, mandoc. `make lint` installs them and runs this. lint.sh [FILE.c ...]: clang-tidy and includes of these files alone.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
work=build/lint
mkdir -p "$work"
status=0
verdict() { # verdict NAME FILE-OF-FINDINGS
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
    tests/fuse/* | tests/crash/log_disk.c) echo "$common $(pkg-config --cflags fuse3)" ;;
    *) echo "$common -Isrc -Itests/unit -Itests/fuzz $(pkg-config --cflags cmocka)" ;;
    esac
}
tidy() {
    # shellcheck disable=SC2046
    clang-tidy --quiet "$1" -- $(flags "$1") 2>/dev/null | grep -E '(warning|error):' | sed "s|$PWD/||"
}
# Of what include-what-you-use says only what is certain: an include that nothing in the file needs. Which header hands on another's names is ours
# to decide. Of two that it takes for others' private parts the manual pages say to include them.
includes() {
    # shellcheck disable=SC2046
    include-what-you-use -Xiwyu --no_comments $(flags "$1") "$1" 2>&1 |
        awk -v file="$1" '/ should remove these lines:$/ {on = ($1 == file); next} /^The full include-list/ {on = 0} on && /^- #include/ && !/<sys\/(syscall|vfs)\.h>/ {print file ": " $0}'
}
export -f flags tidy includes

make --no-print-directory lib >/dev/null || exit 1
if [ $# = 0 ]; then
    git ls-files '*.c' '*.h' | xargs clang-format --dry-run -Werror 2>&1 | grep -E 'error:' >"$work/format"
    verdict 'clang-format' "$work/format"
    { git ls-files '*.sh' completion/cairn.bash .ci/run | grep -v '^tests/cli/cases/' | xargs shellcheck -f gcc
        git ls-files 'tests/cli/cases/*.sh' | xargs shellcheck -f gcc -s bash -e SC2154,SC2086,SC2164; } >"$work/shell"
    verdict 'shellcheck' "$work/shell"
    mandoc -T lint -W all man/* | grep -v 'referenced manual not found' >"$work/man"
    verdict 'mandoc' "$work/man"
    # shellcheck disable=SC2046
    set -- $(git ls-files 'src/*.c' 'cli/*.c' 'examples/*.c' 'bench/*.c' 'tests/fuse/*.c')
fi
printf '%s\n' "$@" | xargs -P "$(nproc)" -I{} bash -c 'tidy {}' | sort -u >"$work/tidy"
verdict 'clang-tidy' "$work/tidy"
printf '%s\n' "$@" | grep '^\(src\|cli\|examples\|bench\)/' | xargs -P "$(nproc)" -I{} bash -c 'includes {}' | sort -u >"$work/includes"
verdict 'includes that nothing uses' "$work/includes"
exit $status
