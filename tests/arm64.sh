#!/usr/bin/env bash
# The library, its unit tests and the program for 64-bit ARM, built by the cross compiler and run by qemu-user; what it writes has the golden bytes.
# arm64.sh [TEST...]. ARM's libraries are fetched as Debian packages into build/arm64 and unpacked there; nothing is installed.
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=$PWD/build/arm64
root=$tree/sysroot
libraries=$root/usr/lib/aarch64-linux-gnu
cross=aarch64-linux-gnu-gcc
for command in $cross qemu-aarch64 apt-get dpkg; do
    if ! command -v "$command" >/dev/null; then echo "skip - arm64: no $command"; exit 0; fi
done

# apt with a memory of its own: the machine's list of architectures stays as it is
fetch() {
    local apt=$tree/apt
    rm -rf "$apt" "$root"
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial" "$apt/deb" "$root"
    local options=(-qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=root -o Dir::State::Lists="$apt/lists" -o Dir::Cache="$apt/cache"
        -o Dir::State::status=/dev/null)
    apt-get "${options[@]}" update || return 1
    (cd "$apt/deb" && apt-get "${options[@]}" download libcmocka-dev libcmocka0 libxxhash-dev) || return 1
    for package in "$apt"/deb/*.deb; do dpkg -x "$package" "$root" || return 1; done
    touch "$root/.complete"
}
mkdir -p "$tree"
if [ ! -e "$root/.complete" ] && ! fetch >"$tree/fetch.log" 2>&1; then
    echo "skip - arm64: its packages cannot be fetched: $(tail -1 "$tree/fetch.log")"
    exit 0
fi

export QEMU_LD_PREFIX=/usr/aarch64-linux-gnu PKG_CONFIG_LIBDIR=$libraries/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root C_INCLUDE_PATH=$root/usr/include
qemu=(qemu-aarch64 -E "LD_LIBRARY_PATH=$libraries")
make --no-print-directory CC=$cross AR=aarch64-linux-gnu-ar BUILD=build/arm64 all unit-tests || { echo 'not ok - arm64: it does not build'; exit 1; }
echo 'ok - arm64: builds without a warning'
read -ra cmocka <<<"$(pkg-config --cflags cmocka)"
$cross -shared -fPIC -D_GNU_SOURCE -O1 -Wall -Wextra -Werror "${cmocka[@]}" -o "$tree/leave_out.so" tests/under/leave_out.c -ldl || exit 1

# shellcheck disable=SC2034 # check.sh uses it
work=$tree label=arm64
# shellcheck source=tests/check.sh
. tests/check.sh
check 'the program is one for ARM' bash -c "readelf -h '$tree/cairn' | grep -q AArch64"
check 'and runs' "${qemu[@]}" "$tree/cairn" --version

# Emulated, a test takes up to ten times as long.
CAIRN_TEST_UNDER="${qemu[*]} -E LD_PRELOAD=$tree/leave_out.so" CAIRN_TEST_LEAVE_OUT=tests/under/arm64.list CAIRN_TEST_TIMEOUT_S=${CAIRN_TEST_TIMEOUT_S:-900} \
    tests/unit.sh build/arm64 "$@" || checks_failed=1

# The golden stores, both ways.
work=$tree/golden
rm -rf "$work"
mkdir -p "$work/new" "$work/old"
tar -C "$work/old" -xzf tests/golden/store-0.1.0.tar.gz
check 'it verifies the golden store' "${qemu[@]}" "$tree/cairn" verify "$work/old/golden"
check 'it shows what x86 shows' cmp <("${qemu[@]}" "$tree/cairn" show --json -C "$work/old" golden@20 | sed "s|$work/old/|store-0.1.0/|") tests/golden/store-0.1.0.show.json
check 'the golden writer builds' $cross -Wall -Werror -Iinclude tests/golden/make_store.c "$tree/libcairn.a" -lm -pthread -o "$work/make_store"
check 'and writes' "${qemu[@]}" "$work/make_store" "$work/new"
check 'the independent reader verifies what it wrote' python3 tests/golden/reader.py "$work/new/golden"
for file in model-00001-of-00004.safetensors model-00003-of-00004.safetensors training/optimizer.safetensors training/kinds.safetensors training/tensors.json \
    training/state.json model.safetensors.index.json; do
    check "the same state gives the same bytes: $file" cmp "$work/new/golden/checkpoint-20/$file" "$work/old/golden/checkpoint-20/$file"
done

# The program end to end, through a script that stands for it.
mkdir -p "$tree/host"
printf '#!/bin/sh\nexec %s "%s" "$@"\n' "${qemu[*]}" "$tree/cairn" >"$tree/host/cairn"
chmod +x "$tree/host/cairn"
# shellcheck disable=SC2034 # finish uses it
tests/cli/run.sh "$tree/host" >"$tree/cli.log" || checks_failed=1
sed 's/ok - /ok - arm64: /' "$tree/cli.log"
finish
