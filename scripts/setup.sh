#!/bin/sh
# Installs the Debian packages that a target needs and that are missing: setup.sh demo|test|crash|lint|arm64|valgrind|deb|test-deb. Quick when nothing is missing.
set -eu
packages=
need() { # need COMMAND-THAT-SUCCEEDS-WHEN-THERE PACKAGE
    sh -c "$1" >/dev/null 2>&1 || packages="$packages $2"
}
need 'command -v gcc' 'gcc libc6-dev'
need 'command -v pkg-config' pkg-config
need 'pkg-config --exists libxxhash' libxxhash-dev
case ${1:-demo} in
test | crash)
    need 'command -v python3' python3
    need 'python3 -c "import venv, ensurepip"' python3-venv
    need 'command -v strace' strace
    need 'command -v mkfs.ext4' e2fsprogs
    ;;
esac
if [ "${1:-demo}" = test ]; then
    need 'pkg-config --exists cmocka' libcmocka-dev
    need 'pkg-config --exists fuse3' 'libfuse3-dev fuse3'
    need 'command -v g++' g++
    need 'command -v cmake' cmake
    need 'command -v mandoc' mandoc
    need 'command -v zsh' zsh
    need 'command -v clang' clang
    need 'ls /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.fuzzer-*.a' libclang-rt-dev
fi
case ${1:-demo} in
crash)
    need 'pkg-config --exists fuse3' 'libfuse3-dev fuse3'
    need 'command -v mkfs.btrfs' btrfs-progs
    need 'command -v mkfs.xfs' xfsprogs
    need 'command -v ip' iproute2
    ;;
deb)
    need 'command -v dh' debhelper
    need 'command -v dpkg-buildpackage' dpkg-dev
    need 'command -v fakeroot' fakeroot
    ;;
test-deb)
    need 'command -v debootstrap' debootstrap
    ;;
lint)
    need 'pkg-config --exists cmocka' libcmocka-dev
    need 'pkg-config --exists fuse3' libfuse3-dev
    need 'command -v git' git
    need 'command -v clang-format' clang-format
    need 'command -v clang-tidy' clang-tidy
    need 'command -v include-what-you-use' iwyu
    need 'command -v shellcheck' shellcheck
    need 'command -v mandoc' mandoc
    ;;
arm64)
    need 'command -v aarch64-linux-gnu-gcc' 'gcc-aarch64-linux-gnu libc6-dev-arm64-cross'
    need 'command -v qemu-aarch64' qemu-user
    need 'command -v python3' python3
    ;;
valgrind)
    need 'command -v valgrind' valgrind
    need 'pkg-config --exists cmocka' libcmocka-dev
    ;;
esac
[ -n "$packages" ] || exit 0
if [ "$(id -u)" = 0 ]; then sudo=
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo='sudo -n'
else
    echo "Missing packages. Install them with:  sudo apt-get install$packages" >&2
    exit 1
fi
echo "Installing:$packages"
$sudo env DEBIAN_FRONTEND=noninteractive apt-get update -qq
# shellcheck disable=SC2086
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $packages >/dev/null
