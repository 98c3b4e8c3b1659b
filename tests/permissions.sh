#!/usr/bin/env bash
# What Cairn does where it may not: stores that cannot be written, things that cannot be read, files of others, umasks; and all unit tests as a user who
# is not root. permissions.sh BUILD. Root makes a scratch folder, gives it to user 65534 and goes on as that user in there; anybody else goes on as he is.
set -u

prepare() { # prepare BUILD SCRATCH: all that is needed, for the tree may be closed to the other user
    mkdir -p "$2/tree" "$2/tests/unit" || return 1
    cp -r "$1/tests" "$2/tree/" && cp "$1/cairn" "$2/tree/" || return 1
    cp tests/unit.sh tests/check.sh tests/permissions.sh "$2/tests/" || return 1
    ${CC:-gcc} -std=gnu11 -Wall -Wextra -Wshadow -Werror -Iinclude -o "$2/trainer" tests/permissions/trainer.c "$1/libcairn.a" -lm -pthread
}

if [ "${1:-build}" != --inside ]; then
    cd "$(dirname "$0")/.." || exit 1
    scratch=$(mktemp -d)
    trap 'chmod -R u+rwX "$scratch"; rm -rf "$scratch"' EXIT
    prepare "${1:-build}" "$scratch" || { echo 'not ok - permissions: it cannot be prepared'; exit 1; }
    if [ "$(id -u)" != 0 ]; then
        "$scratch/tests/permissions.sh" --inside
        exit
    fi
    "$scratch/trainer" save "$scratch/others/run" 3 >/dev/null # root's
    cp -a "$scratch/others" "$scratch/shared"
    chmod 0777 "$scratch/shared" "$scratch/shared/run" "$scratch/shared/run/.cairn" "$scratch"/shared/run/.cairn/{terms,staging,trash}
    # a reader who is root, of a checkpoint of the user's
    cp -a "$scratch/others" "$scratch/readers"
    chown -R 65534:65534 "$scratch" && chown -R 0:0 "$scratch/others" "$scratch/shared"
    mkfifo "$scratch/end"
    "$scratch/trainer" hold "$scratch/readers/run" 1 <"$scratch/end" >"$scratch/held" &
    exec 9>"$scratch/end"
    for _ in $(seq 100); do grep -q held "$scratch/held" && break; sleep 0.05; done
    setpriv --reuid=65534 --regid=65534 --clear-groups env HOME="$scratch" "$scratch/tests/permissions.sh" --inside 9>&-
    status=$?
    exec 9>&-
    wait
    exit $status
fi

cd "$(dirname "$0")/.." || exit 1
cairn=$PWD/tree/cairn
# shellcheck disable=SC2034 # check.sh uses them
work=$PWD label=permissions
# shellcheck source=tests/check.sh
. tests/check.sh
# what is there; a refused removal may have tried: .cairn/retire.lock, a folder in trash that came and went
look() { find x ! -name retire.lock \( -type d -path '*/.cairn*' -printf '%p %m\n' -o -printf '%p %y %m %s %n %T@ %l\n' \) 2>/dev/null | sort; }
denies() { # denies PATTERN COMMAND...: refused, by one line with the object and the reason, and nothing changed
    local pattern=$1 before after
    shift
    before=$(look)
    refuses "$pattern.*Permission denied" "$@" || return 1
    after=$(look)
    diff <(echo "$before") <(echo "$after")
}
fresh() { # a store of three checkpoints, in x
    chmod -R u+rwX x 2>/dev/null
    rm -rf x
    cp -a made x
}
./trainer save made/run 3 >/dev/null || { echo 'not ok - permissions: nothing can be saved'; exit 1; }

# ------------------------------------------------------------------------------------------- the unit tests, beside all else
all_unit_tests() {
    # shellcheck disable=SC2046
    CAIRN_FAULTS=${CAIRN_FAULTS:-60} tests/unit.sh tree $(cd tree/tests && ls)
}
all_unit_tests >unit.log 2>&1 &
unit_tests=$!

# --------------------------------------------------------------------------------------------------- nothing may be written
fresh
chmod -R a-w x
reads() { # reads LABEL
    check "$1: ls" answers 0 'latest' "$cairn" -C x ls run
    check "$1: show" answers 0 'step 2' "$cairn" -C x show run@2
    check "$1: verify" answers 0 'checkpoint-3: ok' "$cairn" -C x verify run
    check "$1: diff" answers 1 'elements differ' "$cairn" -C x diff run@1 run@2
    check "$1: du" answers 0 'checkpoint-1' "$cairn" -C x du run
    check "$1: keep --dry-run" answers 0 'would remove checkpoint-1' "$cairn" -C x keep --dry-run --last 1 run
}
reads 'a store that is read-only'
check 'a store that is read-only: tag' denies 'x/run/checkpoint-1: ' "$cairn" -C x tag run@1 name
check 'a store that is read-only: rm' denies 'x/run/' "$cairn" -C x rm run@1
check 'a store that is read-only: keep' denies 'x/run/' "$cairn" -C x keep --last 1 run
check 'a store that is read-only: opening for writing' denies 'x/run' ./trainer open x/run
check 'a store that is read-only: a new run' denies 'x/new' ./trainer open x/new
check 'a store that is read-only: the doctor' denies 'x: ' "$cairn" doctor x

# ---------------------------------------------------------------------------------------------------- what cannot be read
closed() { # closed PATH: it, and nothing else, cannot be read
    fresh
    chmod 000 "x/run/$1"
}
for what in model.safetensors training training/tensors.json; do
    closed "checkpoint-2/$what"
    check "unreadable $what: ls goes on" answers 0 ' 2  *ok ' "$cairn" -C x ls run
    check "unreadable $what: show" denies 'checkpoint-2[:/]' "$cairn" -C x show run@2
    check "unreadable $what: verify says which, and goes on" answers 3 'checkpoint-2[:/].*Permission denied' "$cairn" -C x verify run
    check "unreadable $what: the others are verified" test "$(grep -c 'checkpoint-[13]: ok' said)" = 2
    check "unreadable $what: saving goes on" answers 0 '^4$' ./trainer save x/run 1
done
fresh
"$cairn" -C x tag run@2 name && chmod 000 x/run/checkpoint-2/marks.1.json
check 'unreadable marks: verify says which, and goes on' answers 3 'checkpoint-2: marks.1.json: .*Permission denied' "$cairn" -C x verify run
check 'unreadable marks: they are no damage' bash -c '! grep DAMAGED said && grep -q "0 damaged, 1 not to be checked" said'
check 'unreadable marks: verify --json' answers 3 '"damage": \[\]' "$cairn" -C x verify --json run@2
fresh
cp -a x/run x/other && chmod 000 x/run
check 'unreadable run: ls of the store says so, and shows the others' answers 1 '^run: .*Permission denied' "$cairn" -C x ls
check 'unreadable run: the others are listed' grep -q '^other  *3 ' said
chmod 755 x/run && rm -rf x/other
for what in '' manifest.json; do
    closed "checkpoint-2/$what"
    name=checkpoint-2/$what
    check "unreadable $name: ls says so" answers 0 'checkpoint-2: .*Permission denied' "$cairn" -C x ls run
    check "unreadable $name: ls calls it that" grep -qE ' - +unreadable .*checkpoint-2$' said
    check "unreadable $name: ls --json, too" answers 0 '"unreadable": true' "$cairn" -C x ls --json run
    check "unreadable $name: show by path" denies 'checkpoint-2: ' "$cairn" -C x show x/run/checkpoint-2
    check "unreadable $name: verify says so, and goes on" answers 3 'checkpoint-2: .*Permission denied' "$cairn" -C x verify run
    check "unreadable $name: nothing is pruned" denies 'checkpoint-2' "$cairn" -C x keep --last 1 run
    check "unreadable $name: it could be the newest, so a run does not go on" answers 3 'checkpoint-2 cannot be read.*Permission denied' ./trainer save x/run 1
done
for what in checkpoint-2 checkpoint-2/training; do
    closed "$what"
    check "unreadable $what: du names it, and ends with 3" answers 3 "^cairn du: x/run/$what: Permission denied" "$cairn" -C x du run
    check "unreadable $what: du has the others" bash -c 'grep -qE "^checkpoint-1 +[0-9.]+ kB " said && grep -qE "^checkpoint-2 .*and what cannot be read" said && grep -q "^run: .* kB and what" said'
    check "unreadable $what: du --json" answers 3 '"incomplete": true' "$cairn" -C x du --json run
done
for what in '' run.json; do
    closed "$what"
    for command in 'ls run' 'show run@2' 'verify run' 'du run' 'keep --last 1 run' 'tag run@1 name' 'rm run@1'; do
        # shellcheck disable=SC2086
        check "unreadable run/$what: $command" denies 'x/run' "$cairn" -C x $command
    done
    check "unreadable run/$what: opening for writing" denies 'x/run' ./trainer open x/run
done
closed ''
check 'unreadable run/: the doctor' denies 'x/run: ' "$cairn" doctor x/run
closed .cairn
check 'unreadable .cairn: verify needs it not' answers 0 'checkpoint-3: ok' "$cairn" -C x verify run
check 'unreadable .cairn: opening for writing' denies 'x/run: ' ./trainer open x/run
closed checkpoint-3/model.safetensors
check 'an unreadable head is no damage: a run does not go on from an older one' answers 3 'checkpoint-3.*Permission denied' ./trainer save x/run 1
check 'an unreadable head is no damage: it is as it was, and so are the others' bash -c 'chmod 0444 x/run/checkpoint-3/model.safetensors && "$1" -C x verify run && ! ls -d x/run/checkpoint-[!123]*' - "$cairn"

# ----------------------------------------------------------------------------------------------------------------- pruning
fresh
find x -type f -path '*/checkpoint-*' -exec chmod 0444 {} +
check 'files of mode 0444 are removed by their owner: rm' answers 0 '' "$cairn" -C x rm run@1
check 'files of mode 0444 are removed by their owner: keep' answers 0 'removed checkpoint-2' "$cairn" -C x keep --last 1 run
check 'and nothing is left of them' test -z "$(ls -d x/run/checkpoint-[12] x/run/.cairn/trash/* 2>/dev/null)"
fresh
chmod 0555 x/run
check 'a run folder of mode 0555: rm' denies 'x/run/checkpoint-1' "$cairn" -C x rm run@1
before=$(look)
check 'a run folder of mode 0555: keep' answers 3 '^cairn keep: x/run/checkpoint-2 was not removed: Permission denied' "$cairn" -C x keep --last 1 run
check 'a run folder of mode 0555: keep changes nothing' test "$before" = "$(look)"
check 'a run folder of mode 0555: tags lie in the checkpoint' answers 0 '' "$cairn" -C x tag run@1 name
check 'a run folder of mode 0555: a save' answers 3 'checkpoint-4.*Permission denied' ./trainer save x/run 1
check 'a run folder of mode 0555: it is as it was' answers 0 'checkpoint-3: ok' "$cairn" -C x verify run
check 'a run folder of mode 0555: nothing is left in staging' test -z "$(ls x/run/.cairn/staging)"

# ----------------------------------------------------------------------------------------------------------------- doctor
fresh
chmod 000 x
check 'the doctor on a folder of mode 000' answers 3 'x: .*Permission denied' "$cairn" doctor x
chmod 0555 x
check 'the doctor on a folder of mode 0555' denies 'x: ' "$cairn" doctor x
chmod 0755 x
check 'the doctor on a folder of one'\''s own' answers 0 'all that Cairn uses' "$cairn" doctor x

# ------------------------------------------------------------------------------------------------------------------ umask
has_the_modes() { # has_the_modes FOLDER: those that docs/FORMAT.md gives, but for metrics.jsonl and the locks; shows what has others
    local others
    others=$(find "$1" \( -type d ! -perm 0755 -o -name '*.safetensors' ! -perm 0444 -o -name '*.json' ! -perm 0644 -o -path '*/terms/*' ! -perm 0644 \) -printf '%m %p\n') || return 1
    echo "$others"
    test -z "$others"
}
for mask in 000 022 027 077; do
    rm -rf x
    check "umask $mask: it saves" bash -c "umask $mask && ./trainer save x/run 4 2 && '$cairn' -C x tag run@4 name"
    check "umask $mask: the modes are those of the format" has_the_modes x
    check "umask $mask: those of metrics.jsonl, too" bash -c 'mode=$(stat -c %a x/run/metrics.jsonl); echo "it has $mode"; test "$mode" = 644'
done
rm -rf x
check 'umask 777: it saves' bash -c 'umask 777 && ./trainer save x/run 2'
check 'umask 777: the modes are those of the format' has_the_modes x

# --------------------------------------------------------------------------------------------------------- what others own
if [ ! -d others ]; then
    echo 'skip - permissions: files of others: root has to make them'
else
    x() { # in what follows the store is another one
        rm -rf x
        ln -s "$1" x
    }
    chmod -R u+rwX x 2>/dev/null
    x others
    reads "root's store"
    check "root's store: tag" denies 'x/run/checkpoint-1: ' "$cairn" -C x tag run@1 name
    check "root's store: rm" denies 'x/run/' "$cairn" -C x rm run@1
    check "root's store: keep" denies 'x/run/' "$cairn" -C x keep --last 1 run
    check "root's store: opening for writing" denies 'x/run' ./trainer open x/run
    check "root's store: a reader may hold it" answers 0 'held' ./trainer hold x/run 2
    x shared
    check "root's files in folders of everybody: a lock that is root's is told as that" answers 0 'x/run/.cairn/lock cannot be locked: Permission denied; a second' ./trainer open x/run
    check "root's files in folders of everybody: rm" answers 3 'x/run.*Permission denied' "$cairn" -C x rm run@1
    check "root's files in folders of everybody: it is as it was" answers 0 'checkpoint-1: ok' "$cairn" -C x verify run
    x readers
    check 'what root reads stays' answers 3 'checkpoint-1' "$cairn" -C x rm run@1
    check 'what root reads stays: keep' answers 0 'checkpoint-1 was not removed' "$cairn" -C x keep --last 1 run
    check 'and is whole' answers 0 'checkpoint-1: ok' "$cairn" -C x verify run
    rm -f x
fi

wait $unit_tests || checks_failed=1
cat unit.log
finish
