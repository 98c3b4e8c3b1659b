#!/usr/bin/env bash
# Proves, with nothing of ours but the demo's trainer: killed by strace before the N-th call of a kind, for every N and each of these kinds, it resumes and ends
# with the bits of a run that nobody killed. outside.sh BUILD WORK STRIDE: every so many N. strace counts the calls of each thread by itself: the first
# to make its N-th is it.
set -u
tree=$1 work=$2 stride=$3
mkdir -p "$work"
head -c 20000 /usr/share/common-licenses/GPL-2 >"$work/text"
train() { "$@" "$tree/train_gpt" --out "$work/run" --data "$work/text" --layers 1 --width 16 --heads 2 --context 8 --batch 2 --steps 6 --save-every 2 --keep 2 --quiet; }
if ! strace -qq -o /dev/null true 2>"$work/out"; then echo "skip - crash: outside: strace cannot trace: $(tail -1 "$work/out")"; exit 0; fi
train env >"$work/out" 2>&1 || { echo 'not ok - crash: outside: it does not train'; exit 1; }
mv "$work/run" "$work/never-killed"
goes_on() { # after a kill: it resumes, to the same bits, and all is whole
    train env && "$tree/cairn" diff "$work/run@6" "$work/never-killed@6" && "$tree/cairn" verify "$work/run"
}
bad=0
for call in openat pwrite64 fsync renameat2 close unlinkat; do
    cases=0 failures=0
    for ((n = 1; ; n += stride)); do
        rm -rf "$work/run"
        { train strace -f -qq -o /dev/null -e "trace=$call" -e "inject=$call:signal=KILL:when=$n"; } >"$work/killed" 2>&1
        ended=$?
        if [ $ended = 0 ]; then break; fi # there is no N-th
        cases=$((cases + 1))
        if [ $ended != 137 ] || ! goes_on >"$work/out" 2>&1; then
            failures=$((failures + 1))
            if [ $failures -le 3 ]; then
                echo "# killed before $call number $n (ended with $ended):"
                tail -n 5 "$work/killed" "$work/out" | sed 's/^/#   /'
            fi
        fi
    done 2>/dev/null
    if [ $failures = 0 ] && [ $cases != 0 ]; then echo -n ok; else echo -n not ok && bad=1; fi
    echo " - crash: outside: killed before each $call: $cases cases, $failures failures"
done
exit $bad
