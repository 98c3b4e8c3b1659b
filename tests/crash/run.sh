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
trap 'umount -q "$memory/overlay"; rm -rf "$disk" "$memory"' EXIT
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
stock_python() { # prints a Python that has the stock safetensors package
    local venv=$tree/crash/venv
    if ! "$venv/bin/python" -c 'import numpy, safetensors' 2>/dev/null; then
        rm -rf "$venv"
        { python3 -m venv "$venv" && "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --only-binary :all: numpy safetensors; } >&2 || return 1
    fi
    echo "$venv/bin/python"
}
contenders() {
    local places=("$disk" "$memory") python bad=0 place
    python=$(stock_python 2>"$memory/pip") || echo "skip - crash: stock reader: safetensors and numpy cannot be installed: $(tail -1 "$memory/pip")"
    if overlay; then places+=("$memory/overlay"); else echo 'skip - crash: contenders on an overlay: mounts need root'; fi
    if [ "$long" != long ]; then places=("$disk"); fi
    for place in "${places[@]}"; do
        # shellcheck disable=SC2086 # no Python is no argument
        python3 -B tests/crash/contenders.py "$bin" "$place/contenders" "$(pick 4 50)" "$(pick 30 300)" 1 "$(findmnt -fno FSTYPE -T "$place")" $python || bad=1
    done
    umount -q "$memory/overlay"
    return "$bad"
}
overlay() {
    mkdir -p "$memory"/{lower,upper,work,overlay}
    [ "$(id -u)" = 0 ] && mount -t overlay -o "lowerdir=$memory/lower,upperdir=$memory/upper,workdir=$memory/work" crash "$memory/overlay" 2>/dev/null
}

echo "# Linux $(uname -r), $(nproc) cores; $disk: $(findmnt -fno FSTYPE -T "$disk"); $memory: $(findmnt -fno FSTYPE -T "$memory")"
harness kill_each_call "$bin/kill_each_call" "$bin" "$memory" "$(pick 90 1)"
harness sleep_each_call "$bin/sleep_each_call" "$bin" "$memory" "$(pick 50 1)"
harness contenders contenders
harness bit_rot "$bin/bit_rot" "$bin" "$memory" "$(pick 40 1)" "$(pick 500 100000)"
if [ "$long" = long ]; then echo "# took $SECONDS s"; fi
exit $status
