#!/usr/bin/env bash
# Makes the log that cut_disk replays: a trainer's whole life on a file system that lies on log_disk. block_log.sh BIN WORK FILESYSTEM MIB
# [files|folders|all]; WORK on tmpfs. files, folders, all: no sync of these does anything, which must be found.
set -eu
bin=$1 work=$2 filesystem=$3
lies=()
if [ -n "${5:-}" ]; then lies=("LD_PRELOAD=$bin/faults.so" "CRASH_BELOW=$work/mount" "CRASH_NO_SYNC=$5"); fi
mkdir -p "$work/fuse" "$work/mount"
truncate -s "$4M" "$work/base"
case $filesystem in
ext4) mkfs.ext4 -q -b 4096 -J size=4 -E nodiscard,lazy_itable_init=0 "$work/base" ;;
*) "mkfs.$filesystem" -q "$work/base" ;;
esac
cp --sparse=always "$work/base" "$work/image"
loop=
"$bin/log_disk" "$work/image" "$work/log" "$work/fuse" &
server=$!
end() {
    ! mountpoint -q "$work/mount" || umount "$work/mount"
    [ -z "$loop" ] || losetup -d "$loop"
    fusermount3 -u "$work/fuse"
    wait $server
}
trap end EXIT
for _ in $(seq 100); do mountpoint -q "$work/fuse" && break; sleep 0.05; done
loop=$(losetup -f --show "$work/fuse/disk")
mount -t "$filesystem" "$loop" "$work/mount"
live() { env "${lies[@]}" "$bin/trainer" "$work/mount/run" "$work/fuse/diary" "$@"; }
live open resume save:3
live tag:2:keeper rm:1
live buffered open:2 resume save save
live open:2 back:4 save save
live keep:1
live folder folder
