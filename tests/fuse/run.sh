#!/usr/bin/env bash
# The whole story once per switch of a FUSE file system that takes something away: train, be killed, resume, prune, mark, remove, fine-tune with shared
# files, follow - and end with the bits of a run on an ordinary disk. run.sh BUILD
# shellcheck disable=SC2086,SC2046 # words are split on purpose
set -u
cd "$(dirname "$0")/../.." || exit 1
tree=$(cd "${1:-build}" && pwd)
if [ ! -e /dev/fuse ] || [ "$(id -u)" != 0 ]; then echo 'skip - fuse: needs /dev/fuse and root'; exit 0; fi
work=$(mktemp -d "$tree/fuse.XXXXXX")
mount=$work/mount
mkdir "$mount"
trap 'fusermount3 -uzq "$mount" 2>/dev/null; rm -rf "$work"' EXIT
model='--layers 4 --width 144 --heads 4 --context 32 --batch 4 --quiet'
data=/usr/share/common-licenses/GPL-2
# shellcheck source=tests/check.sh
. tests/check.sh
train() { "$tree/train_gpt" --out "$1" $model --data $data --steps "$2" --save-every 2 --keep 3; }
tune() { "$tree/finetune" "$1@20" --out "$2" $model --data $data --steps 12 --save-every 3 --keep 0 --learning-rate 0.001; }
refuses() { ! "$@" 2>"$work/err" && grep -q "$want" "$work/err"; }
start() { # start SWITCH...
    rm -rf "$work/backing" && mkdir "$work/backing"
    "$tree/passthrough" "$work/backing" "$mount" "$@" &
    server=$!
    for _ in $(seq 100); do mountpoint -q "$mount" && return; sleep 0.05; done
    echo "not ok - fuse $label: it does not mount"
}
stop() { fusermount3 -uq "$mount" || fusermount3 -uzq "$mount"; wait $server 2>/dev/null; }

# The doctor names what a switch has taken away, and nothing else.
doctor() {
    local missing
    missing=$("$tree/cairn" doctor --json "$mount" | sed -n 's/^ *"\([a-z_]*\)": false.*/\1/p' | grep -vx 'exchange\|durable' | sort | xargs)
    test "$missing" = "$(for word in $label; do
        case $word in
        --no-link) echo hard_links ;; --no-locks) echo reader_lock writer_lock ;; --no-direct) echo direct_io ;; --no-symlink) echo symlinks ;;
        esac
    done | xargs -n1 2>/dev/null | sort | xargs)"
}

newest() { ls -d "$1"/checkpoint-* 2>/dev/null | sed 's/.*checkpoint-//' | sort -n | tail -1; }
killed_after() { # killed_after RUN STEP: as soon as that is saved, long before the end
    local trainer status=0
    "$tree/train_gpt" --out "$1" $model --data $data --steps 20 --save-every 2 --keep 3 &
    trainer=$!
    until [ "$(($(newest "$1") + 0))" -ge "$2" ] || ! kill -0 $trainer; do sleep 0.002; done
    kill -KILL $trainer
    wait $trainer || status=$?
    test $status = 137 && test "$(newest "$1")" -lt 20
}
empty() { # empty FOLDER...: nothing is in there but what FUSE hides, and the folders that hold only that; shows what is
    local hidden='.fuse_hidden*' others
    ls -laR "$@" || return 1
    others=$(find "$@" -mindepth 1 ! -name "$hidden" ! -type d && find "$@" -mindepth 1 -type d -empty) || return 1
    test -z "$others"
}

story() {
    local ckpts=$mount/ckpts
    check 'the doctor sees it' doctor
    check 'it is killed' killed_after "$ckpts/run" 2
    check 'and again' killed_after "$ckpts/run" 8
    check 'killed twice it resumes' train "$ckpts/run" 20
    check 'and ends with the same bits' "$tree/cairn" diff "$ckpts/run@20" "$work/plain/run@20"
    check 'three are kept' test "$(ls -d "$ckpts"/run/checkpoint-* | wc -l)" = 3
    check 'every byte is right' "$tree/cairn" verify "$ckpts/run"
    check 'tags and metrics' "$tree/cairn" tag "$ckpts/run@18" kept --metric eval=0.5
    want='tagged'
    check 'what is tagged stays' refuses "$tree/cairn" rm "$ckpts/run@18"
    check 'an item is dropped' "$tree/cairn" rm --item optimizer "$ckpts/run@16"
    check 'a checkpoint is removed' "$tree/cairn" rm "$ckpts/run@16"
    check 'fine-tuning with a frozen base' tune "$ckpts/run" "$ckpts/tuned"
    check 'the same bits again' "$tree/cairn" diff "$ckpts/tuned@12" "$work/plain/tuned@12"
    shared=$(find "$ckpts"/tuned/checkpoint-*/ -maxdepth 1 -name '*.safetensors' -links +1 | wc -l)
    case $label in
    *no-link*) check 'no file is shared' test "$shared" = 0 ;;
    *) check 'the frozen file is shared' test "$shared" = 4 ;;
    esac
    case $label in
    *no-symlink*) check 'there is no symlink' test ! -L "$ckpts/run/latest" ;;
    *) check 'latest leads to the newest' test "$(readlink "$ckpts/run/latest")" = checkpoint-20 ;;
    esac
    check 'complete without the others' bash -c "rm -rf $ckpts/tuned/checkpoint-{3,6,9} && '$tree/cairn' verify $ckpts/tuned"
    # what is removed while the evaluator has it open, as may be without locks, FUSE keeps as a hidden file until the next commit
    check 'nothing is left behind' empty "$ckpts/run/.cairn/staging" "$ckpts/run/.cairn/trash"
}

label=plain
check 'the reference on an ordinary disk' train "$work/plain/run" 20
check 'its fine-tuning' tune "$work/plain/run" "$work/plain/tuned"
for switch in '' --no-link --no-locks --no-direct --no-noreplace --no-symlink '--no-link --no-locks --no-direct --no-noreplace --no-symlink'; do
    label=${switch:-'with everything'}
    # shellcheck disable=SC2086
    start $switch
    story
    stop
done

label=--room
start --room=40000000
want='no room'
check 'a full disk says what is missing' refuses train "$mount/run" 20
check 'and nothing that was saved is lost' "$tree/cairn" verify "$mount/run"
check 'it is still there' bash -c "ls -d $mount/run/checkpoint-*"
stop
finish
