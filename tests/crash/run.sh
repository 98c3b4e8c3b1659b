#!/usr/bin/env bash
# What is left of a store when everything goes wrong. run.sh BUILD [long [HARNESS...]]: every harness below, a sample of its cases, or all of them (long).
# Each begins with what it proves; each tells its cases and failures, and says `skip - ` where the machine does not let it.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=${1:-build}
long=${2:-}
all=(kill_each_call sleep_each_call power_cut outside full_disk contenders bit_rot)
asked=("${@:3}")
if [ ${#asked[@]} = 0 ]; then asked=("${all[@]}"); fi
for name in "${asked[@]}"; do
    if [[ " ${all[*]} " != *" $name "* ]]; then echo "not ok - crash: there is no harness $name, only ${all[*]}"; exit 2; fi
done
make --no-print-directory BUILD="$tree" crash-programs || exit 1
tree=$(cd "$tree" && pwd)
bin=$tree/crash
disk=$(mktemp -d "$tree/crash.XXXXXX")                   # on whatever the tree lies on
memory=$(mktemp -d /dev/shm/crash.XXXXXX) || memory=$disk # where a thousand small stores cost nothing
away() { # what is mounted below comes off, the last one first
    awk -v below="$memory/" 'index($2, below) == 1 {print $2}' /proc/mounts | tac | while read -r mount; do umount "$mount" || umount -l "$mount"; done
    rm -rf "$disk" "$memory"
}
trap away EXIT
trap 'exit 1' INT TERM
status=0
pick() { if [ "$long" = long ]; then echo "$2"; else echo "$1"; fi; } # pick SHORT LONG
kill_each_call() { "$bin/kill_each_call" "$bin" "$memory" "$(pick 90 1)"; }
sleep_each_call() { "$bin/sleep_each_call" "$bin" "$memory" "$(pick 50 1)"; }
outside() { tests/crash/outside.sh "$tree" "$memory/outside" "$(pick 12 1)"; }
bit_rot() { "$bin/bit_rot" "$bin" "$memory" "$(pick 40 1)" "$(pick 500 100000)"; }
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
        python3 -B tests/crash/contenders.py "$bin" "$place/contenders" "$(pick 3 50)" "$(pick 20 300)" 1 "$(findmnt -fno FSTYPE -T "$place")" $python || bad=1
    done
    if [ "$long" = long ]; then tests/crash/nfs.sh "$tree" 5 20 || bad=1; fi
    return "$bad"
}
may_mount() { # may_mount NAME: says so if not
    if [ "$(id -u)" = 0 ] && [ -e /dev/fuse ] && [ -e /dev/loop-control ]; then return 0; fi
    echo "skip - crash: $1: needs root, /dev/fuse and loop devices"
    return 1
}
has_mkfs() { # has_mkfs FILESYSTEM NAME
    if command -v "mkfs.$1" >/dev/null; then return 0; fi
    echo "skip - crash: $2 on $1: mkfs.$1 is not installed"
    return 1
}
cut() { # cut FILESYSTEM MIB PREFIXES SUBSETS [files|folders|all]: whose syncs are left out
    local place
    place=$(mktemp -d "$memory/cut.XXXXXX")
    if ! tests/crash/block_log.sh "$bin" "$place" "$1" "$2" "${@:5}" >"$place/out" 2>&1; then
        echo "not ok - crash: power cut on $1: no log can be made: $(tail -1 "$place/out")"
        return 1
    fi
    "$bin/cut_disk" "$bin" "$place" "$1" "$3" "$4" 1
}
lie() { # lie FILESYSTEM MIB files|folders|all: syncs that are left out are found out
    cut "$1" "$2" 20 40 "$3" >"$memory/lies" 2>&1
    if grep -q '^not ok.*power cut: a part' "$memory/lies"; then echo "ok - crash: $1, power cut: that syncs of $3 were left out is found"; else
        echo "not ok - crash: $1, power cut: that syncs of $3 were left out is not found"
        return 1
    fi
}
power_cut() {
    local bad=0
    may_mount 'power cut' || return 0
    cut ext4 48 "$(pick 40 1)" "$(pick 25 1500)" || bad=1
    if [ "$long" = long ]; then
        if has_mkfs btrfs 'power cut'; then cut btrfs 128 4 300 || bad=1; fi
        if has_mkfs xfs 'power cut'; then cut xfs 320 4 300 || bad=1; fi
    fi
    lie ext4 48 all || bad=1
    if [ "$long" = long ] && command -v mkfs.btrfs >/dev/null; then
        lie btrfs 128 files || bad=1
        lie btrfs 128 folders || bad=1
    fi
    return "$bad"
}
full_disk() {
    local bad=0
    python3 -B tests/crash/errors.py "$bin" "$memory/errors" "$(pick 150 1)" || bad=1
    may_mount 'full disk' || return "$bad"
    tests/crash/full_disk.sh "$bin" "$memory/full-ext4" ext4 64 -m 0 || bad=1
    if [ "$long" = long ] && has_mkfs btrfs 'full disk'; then tests/crash/full_disk.sh "$bin" "$memory/full-btrfs" btrfs 128 || bad=1; fi
    return "$bad"
}
overlay() {
    mkdir -p "$memory"/{lower,upper,work,overlay}
    [ "$(id -u)" = 0 ] && mount -t overlay -o "lowerdir=$memory/lower,upperdir=$memory/upper,workdir=$memory/work" crash "$memory/overlay" 2>/dev/null
}

echo "# Linux $(uname -r), $(nproc) cores; $disk: $(findmnt -fno FSTYPE -T "$disk"); $memory: $(findmnt -fno FSTYPE -T "$memory")"
for name in "${asked[@]}"; do
    start=$SECONDS
    $name || status=1
    if [ "$long" = long ]; then echo "# $name took $((SECONDS - start)) s"; fi
done
if [ "$long" = long ]; then echo "# took $SECONDS s"; fi
exit $status
