# Sourced by test scripts. check NAME COMMAND...: runs it, its output into $work/out, and prints `ok - ` or `not ok - ` with the end of that.
# finish: the script's exit status. A script may set label, which stands before each name.
# shellcheck shell=bash disable=SC2154 # work is the script's
checks_failed=0
check() {
    local name="${label:+$label: }$1"
    shift
    if "$@" >"$work/out" 2>&1; then echo "ok - $name"; else
        echo "not ok - $name"
        tail -15 "$work/out"
        checks_failed=1
    fi
}
finish() { exit $checks_failed; }
