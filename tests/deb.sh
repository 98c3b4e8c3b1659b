#!/usr/bin/env bash
# The Debian packages install and run in a fresh root: made by debootstrap, thrown away afterwards. Needs root and the network; `make test-deb` runs it.
set -u
cd "$(dirname "$0")/.." || exit 1
if [ "$(id -u)" != 0 ] || ! command -v debootstrap >/dev/null; then echo 'skip - deb: needs root and debootstrap'; exit 0; fi
root=$(mktemp -d /tmp/cairn-root.XXXXXX)
trap 'rm -rf "$root"' EXIT
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
mirror=$(sed -n 's/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p; s/^URIs: *//p' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -1)
options=()
if [ -z "$(find /usr/share/keyrings -name 'debian-archive*' 2>/dev/null)" ]; then options+=(--no-check-gpg); fi
debootstrap "${options[@]}" --variant=minbase "$suite" "$root" ${mirror:+"$mirror"} >build/deb/root.log 2>&1 || { echo 'not ok - a fresh root'; tail -5 build/deb/root.log; exit 1; }
cp /etc/apt/sources.list "$root/etc/apt/" 2>/dev/null
cp -r /etc/apt/sources.list.d /etc/apt/apt.conf.d "$root/etc/apt/" 2>/dev/null
cp /etc/resolv.conf /etc/hosts "$root/etc/" 2>/dev/null
find build/deb -name '*.deb' ! -name '*dbgsym*' -exec cp {} "$root/tmp/" \;
cp tests/outside/user.c tests/golden/store-0.1.0.tar.gz "$root/tmp/"
work=build/deb
# shellcheck source=tests/check.sh
. tests/check.sh
label=deb
inside() { chroot "$root" bash -c "cd /tmp && $1"; }
check 'the program installs' inside 'apt-get update -qq && apt-get install -y -qq --no-install-recommends ./cairn_*.deb'
check 'and runs' inside 'tar -xzf store-0.1.0.tar.gz && cairn verify golden && cairn ls golden'
check 'the library and what it takes to compile install' inside 'apt-get install -y -qq --no-install-recommends ./libcairn0_*.deb ./libcairn-dev_*.deb gcc libc6-dev pkg-config'
check 'a program compiles against it and saves' inside 'gcc -o user user.c $(pkg-config --cflags --libs cairn) && ./user /tmp/run && ./user /tmp/run && cairn verify run'
check 'all of it is removed again' inside 'apt-get purge -y -qq cairn libcairn0 libcairn-dev && ! ls /usr/bin/cairn /usr/include/cairn.h /usr/lib/*/libcairn* 2>/dev/null'
finish
