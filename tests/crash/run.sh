#!/usr/bin/env bash
# What is left of a store when everything goes wrong. run.sh BUILD [long [HARNESS...]]: every harness below, a sample of its cases, or all of them (long).
# Each begins with what it proves; each tells its cases and failures, and says `skip - ` where the machine does not let it.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=${1:-build}
long=${2:-}
harnesses=("${@:3}")
make --no-print-directory BUILD="$tree" crash-programs || exit 1
tree=$(cd "$tree" && pwd)
bin=$tree/crash
disk=$(mktemp -d "$tree/crash.XXXXXX")                   # on whatever the tree lies on
memory=$(mktemp -d /dev/shm/crash.XXXXXX) || memory=$disk # where a thousand small stores cost nothing
trap 'rm -rf "$disk" "$memory"' EXIT
trap 'exit 1' INT TERM
status=0
pick() { if [ "$long" = long ]; then echo "$2"; else echo "$1"; fi; } # pick SHORT LONG
harness() { # harness NAME COMMAND...
    local name=$1 start=$SECONDS
    shift
    if [ ${#harnesses[@]} != 0 ] && [[ " ${harnesses[*]} " != *" $name "* ]]; then return; fi
    "$@" || status=1
    if [ "$long" = long ]; then echo "# $name took $((SECONDS - start)) s"; fi
}

echo "# Linux $(uname -r), $(nproc) cores; $disk: $(findmnt -no FSTYPE -T "$disk"); $memory: $(findmnt -no FSTYPE -T "$memory")"
harness kill_each_call "$bin/kill_each_call" "$bin" "$memory" "$(pick 90 1)"
harness sleep_each_call "$bin/sleep_each_call" "$bin" "$memory" "$(pick 50 1)"
if [ "$long" = long ]; then echo "# took $SECONDS s"; fi
exit $status
