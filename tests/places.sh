#!/usr/bin/env bash
# Odd places for a store: 100,000 leftovers of killed writers; a read-only and a noexec mount, a folder that folds case, an overlay, one that is volatile,
# memory, a disk of 64 MiB. places.sh BUILD. PLACES_LEFTOVERS is the number of leftovers.
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck disable=SC2034 # check.sh uses it
label=places
# shellcheck source=tests/check.sh
. tests/check.sh
tree=$(cd "${1:-build}" && pwd) || exit 1
cairn=$tree/cairn
work=$(mktemp -d "$tree/places.XXXXXX")
away() { # what is mounted below, the last one first
    awk -v below="$work/" 'index($2, below) == 1 {print $2}' /proc/mounts | tac | while read -r mount; do umount "$mount" || umount -l "$mount"; done
}
trap 'away; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
cd "$work" || exit 1
# shellcheck disable=SC2086
${CC:-gcc} -std=gnu11 -Wall -Wextra -Wshadow -Werror ${SANITIZE:-} -I"$OLDPWD/include" -o trainer "$OLDPWD/tests/permissions/trainer.c" "$tree/libcairn.a" -lm -pthread || exit 1

doctor() { # doctor PLACE ABILITY...: of PLACE the doctor says that it lacks these and no others; status 1 where something is missing
    local place=$1 got=0 missing
    shift
    "$cairn" doctor --json "$place" >"$work/doctor" || got=$?
    cat "$work/doctor"
    missing=$(sed -n 's/^ *"\([a-z_]*\)": false.*/\1/p' "$work/doctor" | xargs)
    echo "it lacks '$missing', status $got"
    [ "$missing" = "$*" ] && [ "$got" = $(($# > 0)) ]
}
story() { # story LABEL PLACE: what every place that takes a store must do
    check "$1: saving" answers 0 '^3$' ./trainer save "$2/run" 3
    check "$1: a writer that comes later goes on" answers 0 '^5$' ./trainer save "$2/run" 2 3
    check "$1: every byte is right" answers 0 'checkpoint-5: ok' "$cairn" -C "$2" verify run
    check "$1: old ones were pruned" test "$(cd "$2/run" && echo checkpoint-*)" = 'checkpoint-3 checkpoint-4 checkpoint-5'
    check "$1: one is tagged, one removed" bash -c "'$cairn' -C '$2' tag run@4 name && '$cairn' -C '$2' rm run@3"
    check "$1: nothing is left over" test -z "$(find "$2"/run/.cairn/{staging,trash} -mindepth 1)"
}

# ------------------------------------------------------------------------------------------------ leftovers of killed writers
count=${PLACES_LEFTOVERS:-100000}
counted() { # counted COMMAND...: how many system calls on files it makes, which does not depend on how busy the machine is
    strace -qq -f -c -U calls -e trace=%file,%desc -o "$work/strace" "$@" >"$work/out" 2>&1 || { cat "$work/out" >&2; return 1; }
    awk '$2 == "total" {print $1}' "$work/strace"
}
makes_at_most() { # makes_at_most COUNT COMMAND...: so many of them
    local limit=$1 made
    shift
    made=$(counted "$@") || return 1
    echo "it makes $made system calls, not $limit"
    [ "$made" -le "$limit" ]
}
check 'a run that prunes' ./trainer save left/run 4 2
if strace -qq -o /dev/null true 2>/dev/null; then counts=yes; else
    counts=
    echo 'skip - places: what leftovers cost: strace cannot trace'
fi
listing=${counts:+$(counted "$cairn" -C left ls run)} saving=${counts:+$(counted ./trainer save left/run 1 2)}
python3 - "$count" <<'END'
import os, random, sys
rng = random.Random(1)
for i in range(int(sys.argv[1])):
    folder = f"left/run/.cairn/staging/1-{rng.getrandbits(128):032x}"
    os.mkdir(folder)
    if i % 10 == 0:  # most died early
        os.mkdir(folder + "/training")
        with open(folder + "/model.safetensors", "wb") as out:
            out.write(bytes(5000))
END
if [ $counts ]; then check "ls beside $count leftovers makes no system call more than the $listing it makes without" makes_at_most "$listing" "$cairn" -C left ls run; fi
check 'verify beside them' answers 0 'checkpoint-5: ok' "$cairn" -C left verify run
check 'opening for writing and saving beside them' ./trainer save left/run 1 2
check 'it has saved' answers 0 '^ *6 ' "$cairn" -C left ls run
check 'they are out of the way of new ones' test -z "$(ls left/run/.cairn/staging)"
if [ $counts ]; then check "the next one makes at most twice the $saving system calls of one without" makes_at_most $((2 * saving)) ./trainer save left/run 1 2
else check 'the next one' ./trainer save left/run 1 2; fi
check 'they are gone' test -z "$(ls left/run/.cairn/trash)"
check 'and nothing else is' answers 0 'checkpoint-6: ok' "$cairn" -C left verify run

# ---------------------------------------------------------------------------------------------------------------- mounts
mkdir try
if [ "$(id -u)" != 0 ] || ! mount -t tmpfs none try 2>/dev/null; then
    for place in 'a read-only mount' 'a noexec mount' 'a folder that folds case' 'an overlay' 'a volatile overlay' 'memory' 'a disk of 64 MiB'; do
        echo "skip - places: $place: mounts need root"
    done
    finish
fi
umount try

mkdir ro
./trainer save ro/run 3 >/dev/null
mount --bind ro ro && mount -o remount,ro,bind ro
check 'a read-only mount: ls' answers 0 'latest' "$cairn" -C ro ls run
check 'a read-only mount: show' answers 0 'step 3' "$cairn" -C ro show run@latest
check 'a read-only mount: verify' answers 0 'checkpoint-3: ok' "$cairn" -C ro verify run
check 'a read-only mount: a save' refuses 'ro/run.*Read-only file system' ./trainer save ro/run 1
check 'a read-only mount: and locks are not blamed' bash -c "! grep -q 'locks do not work' '$work/said'"
check 'a read-only mount: a new run' refuses 'ro/new.*Read-only file system' ./trainer save ro/new 1
check 'a read-only mount: tag' refuses 'checkpoint-1.*Read-only file system' "$cairn" -C ro tag run@1 name
check 'a read-only mount: rm' refuses 'ro/run.*Read-only file system' "$cairn" -C ro rm run@1
check 'a read-only mount: keep' refuses 'ro/run.*Read-only file system' "$cairn" -C ro keep --last 1 run
check 'a read-only mount: the doctor' refuses 'ro: .*Read-only file system' "$cairn" doctor ro
umount ro

mkdir noexec
mount --bind noexec noexec && mount -o remount,noexec,bind noexec
check 'a noexec mount: the doctor' doctor noexec
story 'a noexec mount' noexec
umount noexec

mkdir memory
mount -t tmpfs -o size=300m none memory
check 'memory: the doctor' doctor memory durable
check 'memory: a writer is told' answers 0 'keeps nothing over a power cut' ./trainer open memory/told
rm -rf memory/told
story 'memory' memory

overlay() { # overlay MOUNTPOINT [OPTION]: over memory, with a run of three checkpoints below
    mkdir -p "memory/$1"/{lower,upper,work} "$1"
    ./trainer save "memory/$1/lower/below" 3 >/dev/null 2>&1
    mount -t overlay overlay -o "lowerdir=memory/$1/lower,upperdir=memory/$1/upper,workdir=memory/$1/work${2:-}" "$1" 2>/dev/null
}
if overlay over; then
    check 'an overlay: the doctor' doctor over
    story 'an overlay' over
    check 'an overlay: a run of the layer below goes on' answers 0 '^4$' ./trainer save over/below 1
    check 'an overlay: and is whole' answers 0 'checkpoint-1: ok' "$cairn" -C over verify below
    check 'an overlay: a checkpoint of the layer below is removed' answers 0 '' "$cairn" -C over rm below@1
    umount over
else
    echo 'skip - places: an overlay: the kernel refuses it'
fi
if overlay fleeting ,volatile; then
    check 'a volatile overlay: the doctor' doctor fleeting durable
    check 'a volatile overlay: a writer is told' answers 0 'keeps nothing over a power cut' ./trainer open fleeting/told
    rm -rf fleeting/told
    story 'a volatile overlay' fleeting
    umount fleeting
else
    echo 'skip - places: a volatile overlay: the kernel refuses it'
fi
umount memory

disk() { # disk NAME OPTION...: an ext4 of 64 MiB, mounted as NAME
    truncate -s 64M "$1.image" && mkdir "$1" && mkfs.ext4 -q "${@:2}" "$1.image" && mount -o loop "$1.image" "$1"
}
if ! disk small -m 0 >"$work/out" 2>&1; then
    echo "skip - places: a disk of 64 MiB: no loop device or mkfs.ext4: $(head -1 "$work/out")"
else
    check 'a disk of 64 MiB: the doctor' doctor small
    story 'a disk of 64 MiB' small
    check 'a disk of 64 MiB: full, it says what is missing' refuses 'small/run: step .* was not saved: .*no room: it needs [0-9]* bytes' ./trainer save small/run 5000
    check 'a disk of 64 MiB: full, what was saved is whole' answers 0 'checkpoint-5: ok' "$cairn" -C small verify run
    check 'a disk of 64 MiB: full, the doctor says so' refuses 'no room|No space' "$cairn" doctor small
    check 'a disk of 64 MiB: full, the doctor leaves nothing' test -z "$(find small -maxdepth 1 -name '.cairn-doctor*')"
    check 'a disk of 64 MiB: full, it is pruned' answers 0 ' removed, ' "$cairn" -C small keep --last 2 run
    check 'a disk of 64 MiB: and takes the next one' answers 0 '' ./trainer save small/run 1
    umount small
fi
if ! disk folding -O casefold >"$work/out" 2>&1; then
    echo 'skip - places: a folder that folds case: the kernel mounts no ext4 with casefold'
else
    if ! { mkdir folding/in && chattr +F folding/in; } 2>"$work/out"; then
        echo "skip - places: a folder that folds case: $(cat "$work/out")"
    else
        check 'a folder that folds case: the doctor' doctor folding/in case_sensitive
        story 'a folder that folds case' folding/in
        check 'a folder that folds case: RUN is run' answers 0 '^6$' ./trainer save folding/in/RUN 1
    fi
    umount folding
fi
finish
