#!/usr/bin/env bash
# The demo in short: a small model, killed at least four times, at least once in a save, must end with the same bits. kill_loop.sh BUILD
set -u
cd "$(dirname "$0")/.."
tree=${1:-build}
if "$tree/train_gpt" --check-gradients >"$tree/gradients.log" 2>&1; then echo 'ok - the gradients agree with finite differences'; else
    echo 'not ok - the gradients agree with finite differences'
    tail -5 "$tree/gradients.log"
fi
if "$tree/demo" --small --dir "$tree/kill-loop" >"$tree/kill-loop.log" 2>&1; then echo 'ok - killed and resumed, the run ends with the same bits'; else
    echo 'not ok - killed and resumed, the run ends with the same bits'
    tail -30 "$tree/kill-loop.log"
fi
