#!/usr/bin/env bash
# fuzz.sh replay          every kept input through its parser, once
# fuzz.sh run [TARGET..]  fuzzes: FUZZ_S seconds each (60), or FUZZ_RUNS executions each; as many at once as there are processors
# fuzz.sh keep            what was found, cut to what covers the same, becomes the kept corpus
# A finding ends it with the input's path. Targets are tests/fuzz/fuzz_X.c; corpora tests/fuzz/corpus/X.tar.gz; work is done in build/fuzz*.
# shellcheck disable=SC2086,SC2046 # words are split on purpose
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
mode=${1:-replay}
shift
case $mode in replay) tree=build/fuzz-replay opt='-O1 -g1' ;; *) tree=build/fuzz opt='-O2 -g1' ;; esac
targets=${*:-$(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')}
flags='-fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-coverage=trace-cmp -fno-sanitize-recover=undefined -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION'
# short traces, little quarantine and fill: five times as many executions
export ASAN_OPTIONS=allocator_may_return_null=1:detect_leaks=1:malloc_context_size=0:quarantine_size_mb=1:thread_local_quarantine_size_kb=64:max_malloc_fill_size=64

if ! printf 'int LLVMFuzzerTestOneInput(void){return 0;}' | clang -fsanitize=fuzzer -x c - -o /dev/null 2>/dev/null; then
    echo 'skip - fuzzing: clang with libFuzzer is not installed'
    exit 0
fi
make --no-print-directory CC=clang BUILD="$tree" OPT="$opt" SANITIZE="$flags" lib $(printf "$tree/fuzz_%s " $targets) || exit 1
clang -std=gnu11 -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Iinclude -Icli -Iexamples -fsyntax-only \
    cli/*.c examples/*.c examples/*/*.c || exit 1
echo 'ok - clang takes all of it without a warning'

seed() { # seed TARGET: the kept corpus, and the golden stores' files
    local at=$tree/corpus/$1 golden=$tree/golden
    mkdir -p "$at" "$golden"
    if [ -e "tests/fuzz/corpus/$1.tar.gz" ]; then tar -xzf "tests/fuzz/corpus/$1.tar.gz" -C "$at"; fi
    for store in tests/golden/*.tar.gz; do
        if [ -d "$golden/${store##*/}" ]; then continue; fi
        mkdir -p "$golden/${store##*/}"
        tar -xzf "$store" -C "$golden/${store##*/}" --exclude latest --exclude best
    done
    local pattern
    case $1 in
    json) pattern='*.json' ;; safetensors) pattern='*.safetensors' ;; hubindex) pattern='*.index.json' ;; manifest) pattern=manifest.json ;;
    table) pattern=tensors.json ;; state) pattern=state.json ;; marks) pattern='marks.*.json' ;; metrics) pattern=metrics.jsonl ;;
    esac
    find "$golden" -name "$pattern" -type f -size -12k | while read -r file; do cp "$file" "$at/$(md5sum <"$file" | cut -c1-32)"; done
}

replay() {
    local status=0
    for target in $targets; do
        seed "$target"
        if "$tree/fuzz_$target" -runs=0 -timeout=5 -rss_limit_mb=512 "$tree/corpus/$target" >"$tree/$target.log" 2>&1; then
            echo "ok - $target: $(ls "$tree/corpus/$target" | wc -l) kept inputs"
        else
            echo "not ok - $target"
            tail -30 "$tree/$target.log"
            status=1
        fi
    done
    return $status
}

fuzz() { # fuzz TARGET
    local limit="-max_total_time=${FUZZ_S:-60}"
    if [ -n "${FUZZ_RUNS:-}" ]; then limit="-runs=$FUZZ_RUNS"; fi
    seed "$1"
    mkdir -p "$tree/findings"
    "$tree/fuzz_$1" $limit -max_len=4096 -timeout=1 -rss_limit_mb=1024 -dict=tests/fuzz/json.dict -artifact_prefix="$tree/findings/$1-" \
        -print_final_stats=1 -verbosity=1 "$tree/corpus/$1" >"$tree/$1.log" 2>&1
    local status=$? runs
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$tree/$1.log")
    if [ $status = 0 ]; then echo "ok - $1: ${runs:-0} executions, $(sed -n 's/^stat::average_exec_per_sec: *//p' "$tree/$1.log") a second"
    else
        echo "not ok - $1: $(grep -hE 'not so:|SUMMARY|ERROR' "$tree/$1.log" | head -1); $(grep -o 'Test unit written to .*' "$tree/$1.log" | head -1)"
    fi
    return $status
}

keep() {
    mkdir -p tests/fuzz/corpus
    for target in $targets; do
        seed "$target"
        rm -rf "$tree/least"
        mkdir -p "$tree/least"
        "$tree/fuzz_$target" -merge=1 -max_len=4096 -rss_limit_mb=1024 "$tree/least" "$tree/corpus/$target" >"$tree/$target.log" 2>&1 || { tail -5 "$tree/$target.log"; exit 1; }
        tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C "$tree/least" -cf - . | gzip -9n >"tests/fuzz/corpus/$target.tar.gz"
        echo "$target: $(ls "$tree/least" | wc -l) inputs"
    done
}

case $mode in
replay) replay ;;
run)
    export -f fuzz seed
    export tree
    # shellcheck disable=SC2086
    printf '%s\n' $targets | xargs -P "$(nproc)" -I{} bash -c 'fuzz {}'
    ;;
keep) keep ;;
*) echo "usage: fuzz.sh replay|run|keep [TARGET...]" >&2; exit 2 ;;
esac
