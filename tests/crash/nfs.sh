#!/usr/bin/env bash
# The contenders once more, on NFS: a second kernel (User-Mode Linux) serves an ext4 by NFS 4.2 and mounts it twice, as two hosts would. nfs.sh BUILD ROUNDS KILLS.
# What it needs comes from Debian and is unpacked below BUILD, not installed. With --inside this is the first process of that kernel.
set -u
packages='user-mode-linux nfs-kernel-server nfs-common kmod libtirpc3 libevent-core-2.1-7 libwrap0 libkeyutils1 libnfsidmap1 libdevmapper1.02.1 libkmod2'

if [ "${1:-}" != --inside ]; then
    tree=$1 place=$1/crash/nfs
    if [ "$(id -u)" != 0 ]; then echo 'skip - crash: nfs: needs root'; exit 0; fi
    if [ ! -x "$place/root/usr/sbin/insmod" ]; then
        rm -rf "$place" && mkdir -p "$place/root"
        # shellcheck disable=SC2086
        if ! (cd "$place" && apt-get download $packages && for package in *.deb; do dpkg-deb -x "$package" root || exit; done && rm ./*.deb) >"$place.out" 2>&1; then
            echo "skip - crash: nfs: no User-Mode Linux and NFS server from Debian: $(tail -1 "$place.out")"
            exit 0
        fi
        ln -s "$place/root/bin/kmod" "$place/root/usr/sbin/insmod"
    fi
    rm -f "$place/image" "$place/ended" && truncate -s 400M "$place/image" && mkfs.ext4 -q "$place/image" || exit 1
    # a kernel's memory is a file: in memory
    TMPDIR=/dev/shm timeout 1200 "$place/root/usr/bin/linux.uml" mem=1024M root=/dev/root rootfstype=hostfs rootflags=/ rw quiet con=null con0=null,fd:1 \
        "ubda=$place/image" "init=$PWD/tests/crash/nfs.sh" -- --inside "$tree" "$2" "$3" >"$place/out" 2>&1 </dev/null
    tr -d '\r' <"$place/out" | grep -E '^(ok|not ok|skip) - |^# '
    [ "$(cat "$place/ended" 2>/dev/null)" = 0 ] && exit 0
    tail -5 "$place/out"
    echo 'not ok - crash: nfs: see above'
    exit 1
fi

tree=$2 place=$2/crash/nfs root=$2/crash/nfs/root
end() { # end STATUS
    echo "$1" >"$place/ended"
    sync
    echo o >/proc/sysrq-trigger
    sleep 10
}
export PATH=$root/usr/sbin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
for folder in /mnt /run /var/lib /tmp; do case $tree/ in "$folder"/*) ;; *) mount -t tmpfs none $folder ;; esac done
mkdir -p /var/lib/nfs/v4recovery /var/lib/nfs/rpc_pipefs /mnt/served /mnt/one /mnt/other /mnt/work
touch /var/lib/nfs/etab /var/lib/nfs/rmtab
(
    export LD_LIBRARY_PATH=$root/lib/x86_64-linux-gnu:$root/usr/lib/x86_64-linux-gnu
    ip link set lo up
    for module in lib/oid_registry net/sunrpc/sunrpc net/sunrpc/auth_gss/auth_rpcgss fs/nfs_common/grace fs/lockd/lockd fs/nfs_common/nfs_acl fs/nfsd/nfsd \
        net/dns_resolver/dns_resolver fs/netfs/netfs fs/fscache/fscache fs/nfs/nfs fs/nfs/nfsv4; do
        insmod "$(echo "$root"/usr/lib/uml/modules/*/kernel)/$module.ko"
    done
    mount -t ext4 /dev/ubda /mnt/served && mount -t nfsd nfsd /proc/fs/nfsd
    exportfs -o rw,sync,no_subtree_check,no_root_squash,insecure,fsid=0 127.0.0.1:/mnt/served
    rpc.mountd --no-nfs-version 3
    echo 10 >/proc/fs/nfsd/nfsv4leasetime
    echo 10 >/proc/fs/nfsd/nfsv4gracetime
    echo 0 >/proc/sys/fs/leases-enable
    rpc.nfsd -N 3 -V 4.2 4
    for mount in one other; do
        mount -i -t nfs4 -o addr=127.0.0.1,clientaddr=127.0.0.1,vers=4.2,soft,timeo=100,nosharecache 127.0.0.1:/ /mnt/$mount
    done
)
mountpoint -q /mnt/other || { echo 'not ok - crash: nfs: it cannot be mounted' && end 1; }
echo "# Linux $(uname -r), NFS 4.2, two mounts"
cd "$(dirname "$0")/../.." || end 1
CRASH_STORES=/mnt/one/store:/mnt/other/store python3 -B tests/crash/contenders.py "$tree/crash" /mnt/work "$3" "$4" 1 NFS
end $?
