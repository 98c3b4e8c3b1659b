#!/usr/bin/env bash
# The demo in short: a small model, killed at least four times, at least once in a save, must end with the same bits. kill_loop.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
tree=${1:-build}
work=$tree/kill-loop
mkdir -p "$work"
# shellcheck source=tests/check.sh
. tests/check.sh
check 'the gradients agree with finite differences' "$tree/train_gpt" --check-gradients
check 'killed and resumed, the run ends with the same bits' make --no-print-directory demo DEMO="--small --dir $work/demo" BUILD="$tree"
finish
