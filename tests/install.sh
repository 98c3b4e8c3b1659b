#!/usr/bin/env bash
# Installing and what is installed: an outside project uses it by pkg-config, by CMake and from C++; uninstalling leaves nothing; the exported symbols
# are those of the header; the man pages, the completions and --help tell of the same commands and options; two builds give the same bytes.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
work=$(mktemp -d build/install.XXXXXX)
work=$(realpath "$work")
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
# shellcheck source=tests/check.sh
. tests/check.sh
same() { diff <(printf '%s\n' "$1" | sort) <(printf '%s\n' "$2" | sort); }

# ------------------------------------------------------------------------------------------------------------- installing
check 'a make within make warns of nothing' bash -c "make -n -j2 demo >'$work/out' 2>&1; ! grep warning '$work/out'"
check 'make install' make --no-print-directory install PREFIX="$prefix"
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib
flags() { pkg-config "$@" cairn; }
# shellcheck disable=SC2046
check 'by pkg-config, shared' gcc -std=c99 -Wall -Wextra -pedantic -Werror -o "$work/by_pc" tests/outside/user.c $(flags --cflags --libs)
# shellcheck disable=SC2046
check 'by pkg-config, static' gcc -std=c99 -o "$work/by_pc_static" tests/outside/user.c $(flags --cflags) "$prefix/lib/libcairn.a" $(flags --libs-only-l --static | sed 's/-lcairn//') -pthread
# shellcheck disable=SC2046
check 'from C++' g++ -std=c++11 -Wall -Wextra -pedantic -Werror -x c++ -o "$work/by_cxx" tests/outside/user.c $(flags --cflags --libs)
check 'by CMake' bash -c "cmake -S tests/outside -B '$work/cmake' -DCMAKE_PREFIX_PATH='$prefix' && cmake --build '$work/cmake'"
check 'CMake refuses another minor version' bash -c "mkdir '$work/newer'; printf 'cmake_minimum_required(VERSION 3.16)\nproject(x C)\nfind_package(cairn 0.2 REQUIRED)\n' >'$work/newer/CMakeLists.txt' && ! cmake -S '$work/newer' -B '$work/newer/b' -DCMAKE_PREFIX_PATH='$prefix'"
step=0
for program in "$work"/by_pc "$work"/by_pc_static "$work"/by_cxx "$work"/cmake/by_cmake "$work"/cmake/by_cmake_static "$work"/cmake/by_cmake_cxx; do
    step=$((step + 1))
    check "${program##*/} resumes and saves step $step" test "$("$program" "$work/run" 2>&1)" = "step $step saved"
done
check 'the installed program verifies it' env -u LD_LIBRARY_PATH "$prefix/bin/cairn" verify "$work/run"
check 'SONAME' bash -c "readelf -d '$prefix/lib/libcairn.so' | grep -q 'SONAME.*libcairn.so.0\]'"
check 'the shared library is hardened' bash -c "readelf -d '$prefix/lib/libcairn.so' | grep -q BIND_NOW && readelf -lW '$prefix/lib/libcairn.so' | grep -q GNU_RELRO && readelf -lW '$prefix/lib/libcairn.so' | grep GNU_STACK | grep -qv E"
check 'with DESTDIR' make --no-print-directory install DESTDIR="$work/root" PREFIX=/usr
check 'no path of the build is in it' bash -c "! grep -rl '$work' '$work/root' && ! grep -rlF '$PWD' '$work/root'"
check 'make uninstall' make --no-print-directory uninstall PREFIX="$prefix"
check 'nothing is left' test -z "$(find "$prefix" -type f -o -type l)"

# ---------------------------------------------------------------------------------------------------- one list of everything
header=$(grep -hoE '^CAIRN_API [^;(]*\bcairn_[a-z0-9_]+\(' include/cairn.h | grep -oE 'cairn_[a-z0-9_]+\($' | tr -d '(')
exported=$(nm -D --defined-only build/libcairn.so | awk '$2 == "T" {sub(/@.*/, "", $3); print $3}')
check 'cairn.h and the exported symbols are the same' same "$header" "$exported"
commands=$(build/cairn --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')
check 'the man page has every command' same "$commands" "$(sed -n 's/^\.Ss cairn //p' man/cairn.1)"
check 'bash completion has every command' same "$commands" "$(sed -n "s/.*-W '\(ls [^']*\)'.*/\1/p" completion/cairn.bash | tr ' ' '\n')"
check 'zsh completion has every command' same "$commands" "$(sed -n "s/^        '\([a-z]*\):.*/\1/p" completion/cairn.zsh)"
# what zsh offers for a command, or for none: the functions of its completion system stand in for what they are given
zsh_offers() {
    zsh -f -c '_describe() { }
        _arguments() {
            [[ $1 != -C ]] || { line=($command) state=${command:+argument}; [[ -z $command ]] || return 0; }
            print -rl -- "$@"
        }
        command=$1 && source completion/cairn.zsh' - "$1" | sed -nE 's/^(\([^)]*\)|\*)*(--?[a-zA-Z][a-z-]*)\[.*/\2/p'
}
bash_offers() { bash -c ". completion/cairn.bash; COMP_WORDS=(cairn $1 -); COMP_CWORD=\$((\${#COMP_WORDS[@]} - 1)); _cairn; printf '%s\n' \"\${COMPREPLY[@]}\""; }
if command -v zsh >/dev/null; then zsh_is_there=yes; else
    zsh_is_there=
    echo 'skip - zsh completion: zsh is not installed'
fi
of_cairn=$(build/cairn --help | grep -oE -- '^  (-[a-zA-Z],?|--[a-z]+)( +--[a-z]+)?' | grep -oE -- '--?[a-zA-Z]+')
check 'cairn: --help and the bash completion agree' same "$of_cairn" "$(bash_offers '')"
if [ $zsh_is_there ]; then
    check 'the zsh completion is one that zsh reads' zsh -n completion/cairn.zsh
    check 'cairn: --help and the zsh completion agree' same "$of_cairn" "$(zsh_offers '')"
fi
for command in $commands; do
    options=$(build/cairn "$command" --help | grep '^usage' | grep -oE -- '(^|[][ |])--?[a-zA-Z][a-z-]*' | tr -d '][ |' | sort -u)
    manual=$(awk -v c=".Cm $command" '/^\.Sh DESCRIPTION/ {exit} $0 == c {on = 1; next} /^\.Nm|^\.Sh/ {on = 0} on' man/cairn.1 | grep -oE -- '(Fl -?[a-zA-Z][a-z-]*|\| -[a-z][a-z-]*)' | sed 's/^[^ ]* /-/' | sort -u)
    check "cairn $command: --help and the manual agree" same "$options" "$manual"
    check "cairn $command: --help and the bash completion agree" same "$options"$'\n--help' "$(bash_offers "$command")"
    if [ $zsh_is_there ]; then check "cairn $command: --help and the zsh completion agree" same "$options"$'\n--help' "$(zsh_offers "$command")"; fi
done
mkdir -p "$work/store" && tar -xzf tests/golden/store-0.1.0.tar.gz -C "$work/store"
check 'completion finds runs of a store' bash -c ". completion/cairn.bash; COMP_WORDS=(cairn -C '$work/store' ls g); COMP_CWORD=4; _cairn; test \"\${COMPREPLY[*]}\" = golden"
mkdir -p "$work/home/my store" && cp -r "$work/store/golden" "$work/home/my store/"
completed() { # completed ANSWER WORD...: what bash offers for the last word, typed like that
    local want=$1
    shift
    test "$(HOME=$work/home bash -c '. completion/cairn.bash; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _cairn; echo "${COMPREPLY[*]}"' - "$@")" = "$want"
}
# shellcheck disable=SC2088 # the tilde is for the completion to spell out
check 'completion of a folder below ~' completed '~/my store' cairn -C '~/my\ s'
check 'completion of a quoted folder' completed "$work/home/my store" cairn -C "'$work/home/my s"
# shellcheck disable=SC2088
check 'completion in a store below ~' completed golden cairn -C '~/my\ store' ls g
check 'completion in a quoted store' completed golden/checkpoint-10 cairn -C "\"$work/home/my store\"" show golden/checkpoint-1
if command -v mandoc >/dev/null; then
    check 'the man pages are clean' test -z "$(mandoc -T lint -W all man/* | grep -v 'referenced manual not found')"
else echo 'skip - mandoc: not installed'; fi

# ------------------------------------------------------------------------------------------------------------ reproducible
mkdir -p "$work/another/place"
cp -r Makefile packaging python src cli include -t "$work/another/place"
make --no-print-directory -C "$work/another/place" lib build/cairn >"$work/out" 2>&1 || tail -5 "$work/out"
for file in libcairn.so libcairn.a cairn; do check "$file is reproducible" cmp "build/$file" "$work/another/place/build/$file"; done
finish
