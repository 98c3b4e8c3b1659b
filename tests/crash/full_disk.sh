#!/usr/bin/env bash
# Proves: on a file system of the real kernel, filled to the brim, a save is refused for want of room, nothing that was saved is lost, and what is full can be
# pruned without a byte to spare. full_disk.sh BIN WORK FILESYSTEM MIB [MKFS-OPTION...]
set -u
bin=$1 work=$2 filesystem=$3
mkdir -p "$work/mount"
truncate -s "$4M" "$work/image"
# shellcheck source=tests/check.sh
. tests/check.sh
# shellcheck disable=SC2034 # check.sh uses it
label="crash: a full $filesystem of $4 MiB"
"mkfs.$filesystem" -q "${@:5}" "$work/image" && mount -o loop "$work/image" "$work/mount" || exit 1
trap 'umount "$work/mount"' EXIT
run=$work/mount/run
train() { "$bin/trainer" "$run" "$work/diary" "$@"; }
finds() { "$bin/checker" "$run" "$work/diary" one-line "$@"; } # all that was said to be saved
fill() { # fill LEAVE: all but so many bytes
    local free
    free=$(($(stat -f -c '%a * %S' "$work/mount") - $1))
    [ "$free" -le 0 ] || fallocate -l "$free" "$work/mount/filler" || head -c "$free" /dev/zero >"$work/mount/filler"
}
brim() { # to the last byte
    for size in 65536 4096 512 1; do
        for i in $(seq 500); do head -c "$size" /dev/zero >"$work/mount/brim-$size-$i" || break; done
    done 2>/dev/null
    sync -f "$work/mount"
    ! { head -c 4096 /dev/zero >"$work/mount/brim" && sync "$work/mount/brim"; } 2>/dev/null
}
says_full() {
    train open resume save:0
    [ $? = 3 ] && grep -c '^NOSPACE: .*No space left\|^NOSPACE: .*no room' "$work/out"
}
fewer() { [ "$(ls -d "$run"/checkpoint-*/manifest.json | wc -l)" -le 2 ]; }
check 'it saves' train open resume save:3 tag:2:keeper
check 'it is filled, but for 3 MiB' fill 3145728
check 'a save is refused for want of room' says_full
check 'nothing is lost' finds read-only
check 'it is filled to the brim' brim
check 'nothing is lost, to the brim' finds read-only
check 'it is pruned' train keep:1
check 'and that helped' fewer
rm -f "$work/mount"/brim* "$work/mount/filler"
check 'the next save works' finds
finish
