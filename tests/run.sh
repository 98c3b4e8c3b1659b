#!/usr/bin/env bash
# Runs every test and ends with one line: N passed, N failed, N skipped. Each part prints cmocka's lines or `ok - `, `not ok - `, `skip - `.
# shellcheck disable=SC2086,SC2046 # words are split on purpose
set -u
cd "$(dirname "$0")/.." || exit 1
unset MAKEFLAGS MAKELEVEL MFLAGS
log=build/test-logs
mkdir -p "$log"
passed=0 failed=0 skipped=0 ended=
trap 'if [ -z "$ended" ]; then echo "not ok - the tests ended before their last line"; exit 1; fi' EXIT

# shellcheck source=tests/count.sh
. tests/count.sh
timed() { # timed NAME COMMAND...: its output, and its status, seconds, and processor's seconds as a user's and the system's, for told
    local at=$log/${1//[ \/]/-}
    shift
    (
        TIMEFORMAT='%R %U %S'
        time "$@" >"$at.log" 2>&1
    ) 2>"$at.times"
    echo $? $(<"$at.times") >"$at.end"
}
told() { # told NAME: counts what a part told
    local at=$log/${1//[ \/]/-} status=1 seconds=0 user=0 system=0
    read -r status seconds user system <"$at.end"
    count "$at.log" "$status"
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    printf '%-28s %4d passed %3d failed %3d skipped  %4.0f s %4.0f + %3.0f of processors\n' "$1" "$ok" "$bad" "$skip" "$seconds" "$user" "$system"
    if [ "$bad" != 0 ]; then grep -E '^not ok|FAILED|ERROR|error:|Sanitizer|WARNING: Thread' "$at.log" | head -20; tail -5 "$at.log"; fi
    grep '^skip - ' "$at.log"
}
part() { # part NAME COMMAND...
    timed "$@"
    told "$1"
}

build() { make --no-print-directory all unit-tests build/passthrough build/sim && echo 'ok - builds without a warning'; }
sanitized() { # sanitized BUILD FLAGS TESTS...: unit tests under a sanitizer
    local tree=$1 flags=$2
    shift 2
    make --no-print-directory BUILD="$tree" OPT='-O1 -g1' SANITIZE="$flags" $(printf "$tree/tests/%s " "$@") || return 1
    # Without a disk they wait for nothing but themselves; as another user (tests/permissions.sh) they run on one.
    local quick=() slow=() test
    for test; do
        case " $on_a_disk " in *" $test "*) slow+=("$test") ;; *) quick+=("$test") ;; esac
    done
    export CAIRN_FAULTS=80
    CAIRN_TEST_ON=$(memory_folder) tests/unit.sh "$tree" "${quick[@]}"
    local status=$?
    if [ ${#slow[@]} != 0 ]; then tests/unit.sh "$tree" "${slow[@]}" || status=1; fi
    return $status
}
memory_folder() { # a tmpfs with room for the tests, of which containers often have none
    local room=0
    if [ -w /dev/shm ]; then room=$(df --output=avail -k /dev/shm | tail -1); fi
    if [ "$room" -ge $((2 << 20)) ]; then echo /dev/shm; fi
}
on_a_disk='test_files test_lines test_os' # what these look at a tmpfs has not
model() { make --no-print-directory build/model && build/model quick; }
header() ( # the public header alone, and each of its INIT macros; in a shell of its own, for check.sh has names of its own
    local use=build/test-logs/init.c c99='gcc -std=c99 -Wall -Wextra -pedantic -Werror -Iinclude -fsyntax-only -x c' cxx='g++ -std=c++11 -Wall -Wextra -pedantic -Werror -Iinclude -fsyntax-only -x c++'
    { echo '#include "cairn.h"'
        sed -n 's/^#define \(CAIRN_\([A-Z_]*\)_INIT\)\>.*/\1 \2/p' include/cairn.h | while read -r macro type; do
            echo "extern cairn_${type,,} one_${type,,}; cairn_${type,,} one_${type,,} = $macro;"
        done; } >$use
    work=build/test-logs
    # shellcheck source=tests/check.sh
    . tests/check.sh
    check 'cairn.h alone as C99' $c99 include/cairn.h
    check 'cairn.h alone as C++' $cxx include/cairn.h
    check 'its INIT macros in C99' $c99 $use
    check 'its INIT macros in C++' $cxx $use
    check 'all of them are tried' test "$(grep -c INIT $use)" -ge 15
    finish
)

environment() { # of Python, and the package in it
    scripts/venv.sh
    while [ ! -f "$log/build.end" ]; do sleep 1; done
    make --no-print-directory PYTHON=build/venv/bin/python python
}
python_tests() { # python_tests PYTEST-ARGUMENT...: when that is made
    while [ ! -f "$log/environment.end" ]; do sleep 1; done
    tests/python.sh "$@"
}
# These start processes and wait for them.
processes=$(printf 'tests/python/test_%s.py ' docs examples install killed_calls ranks resume verify_resume)

all_tests=$(cd tests/unit && ls test_*.c | sed 's/\.c$//')
threaded=$(grep -v -e '^#' -e '^test_run$' tests/tsan.list) # test_run takes the longest, and its threads are those of test_jobs: make test-tsan
# Lanes: what compiles and computes, what waits for disks and other processes, and Python's two. Beside them: two minutes of following a live run, the simulated
# disk.
beside() { timed "$@" & }
collect() { # collect NAME...: when all that runs beside has ended
    local name
    wait
    for name; do told "$name"; done
}
waiting='tests/permissions.sh tests/fuse/run.sh tests/places.sh tests/crash/run.sh tests/kill_loop.sh'
second_lane() {
    local script
    for script in $waiting; do timed "$script" "$script" build; done
}
rm -f "$log"/*.end
beside environment environment
part 'build' build
beside follow-two-minutes env CAIRN_TEST_TIMEOUT_S=400 CAIRN_FOLLOW_S=120 CAIRN_TEST_ONLY=an_evaluator_follows_a_live_run tests/unit.sh build test_folder
beside simulated-disk build/sim
second_lane &
beside python python_tests $(printf -- '--ignore=%s ' $processes) tests/python
beside python-processes python_tests $processes
part 'header' header
part 'layer borders' tests/borders.sh
part 'protocol model' model
part 'a test for each file' tests/complete.sh
part 'mutants' python3 tests/sim/mutants.py --look build
# Unit tests run three ways: under ASan and UBSan, the threaded ones under TSan, and as a user who is not root (tests/permissions.sh) as they are.
part 'unit tests, ASan+UBSan' sanitized build/asan '-fsanitize=address,undefined -fno-sanitize-recover=undefined' $all_tests
part 'clang, fuzz corpora' tests/fuzz.sh replay
part 'threads, TSan' sanitized build/tsan '-fsanitize=thread' $threaded
for script in tests/cli/run.sh tests/bad_input.sh tests/differential.sh tests/install.sh tests/golden/run.sh tests/loaders.sh tests/examples.sh tests/docs.sh tests/bench.sh; do
    part "$script" "$script" build
done
part 'python types' python_tests types
collect follow-two-minutes simulated-disk python python-processes $waiting
echo "took $SECONDS s"
echo "$passed passed, $failed failed, $skipped skipped"
ended=yes
[ "$failed" = 0 ]
