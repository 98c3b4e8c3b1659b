#!/usr/bin/env bash
# The examples together: a trainer, an evaluator that follows it, a fine-tuning run with a frozen base that is killed and resumed. examples.sh BUILD
# shellcheck disable=SC2086,SC2046 # words are split on purpose
set -u
cd "$(dirname "$0")/.." || exit 1
tree=$(cd "${1:-build}" && pwd)
work=$(mktemp -d "$tree/examples.XXXXXX")
trap 'rm -rf "$work"' EXIT
model='--layers 4 --width 144 --heads 4 --context 32 --batch 4'
# shellcheck source=tests/check.sh
. tests/check.sh
label=examples

"$tree/train_gpt" --out "$work/ckpts/base" $model --steps 40 --save-every 5 --keep 0 --quiet &
check 'the evaluator follows the trainer to its last step' "$tree/evaluate" "$work/ckpts/base" $model --steps 40
check 'the trainer ends well' wait $!
check 'all eight checkpoints carry the late metric' test "$("$tree/cairn" ls --json "$work/ckpts/base" | grep -c eval_loss)" = 8

more() { timeout 60 "$tree/train_gpt" --out "$work/ckpts/more" $small --save-every 500 --quiet --loss-csv "$work/$1.csv" --steps "$1"; }
small='--layers 1 --width 16 --heads 2 --context 8 --batch 2'
check 'a run of six steps' more 6
check 'goes on with --steps 5000, which fill another page of its history' more 5000
check 'with the losses that it had' test "$(head -7 "$work/5000.csv")" = "$(cat "$work/6.csv")"
check 'fewer steps than it has are told' bash -c "! '$tree/train_gpt' --out '$work/ckpts/more' $small --steps 8 2>'$work/told' && grep -q 'is at step 5000, beyond --steps 8' '$work/told'"

tune() { "$tree/finetune" "$1" --out "$2" --data /usr/share/common-licenses/GPL-2 $model --steps 30 --save-every 3 --keep 0 --learning-rate 0.0005; }
check 'fine-tuning starts from the base' tune "$work/ckpts/base/checkpoint-40" "$work/ckpts/straight"
cp "$work/out" "$work/straight.log"
check 'the frozen base is written once' test "$(grep -c ' 0.00 MB linked' "$work/straight.log")" = 1
links=$(find "$work/ckpts/straight" -path '*checkpoint-*' -name 'model-00001*' -links 10 | wc -l)
check 'its ten checkpoints share one file' test "$links" = 10
for delay in 0.15 0.25 0.35; do
    timeout -s KILL $delay "$tree/finetune" "$work/ckpts/base/checkpoint-40" --out "$work/ckpts/killed" --data /usr/share/common-licenses/GPL-2 $model \
        --steps 30 --save-every 3 --keep 0 --learning-rate 0.0005 >/dev/null 2>&1
done
check 'killed three times it resumes' tune "$work/ckpts/base/checkpoint-40" "$work/ckpts/killed"
check 'and ends with the same bits' "$tree/cairn" diff -C "$work/ckpts" killed@30 straight@30
check 'another text is told' bash -c "'$tree/finetune' '$work/ckpts/base/checkpoint-40' --out '$work/ckpts/killed' --data /usr/share/common-licenses/LGPL-2.1 $model --steps 40 2>&1 | grep 'another text'"
check 'each program speaks for itself' bash -c "'$tree/finetune' x --steps 0 2>&1 | grep '^finetune: --steps' && '$tree/evaluate' --help | grep '^Usage: evaluate RUN'"
rm -rf "$work"/ckpts/straight/checkpoint-{3,6,9,12,15,18,21,24,27} "$work/ckpts/base"
check 'the last one is whole without all others' "$tree/cairn" verify -C "$work/ckpts" straight@30
check 'a base that is not there is told' bash -c "! '$tree/finetune' '$work/nothing' --out '$work/x' $model"
finish
