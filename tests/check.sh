# Sourced by test scripts. check NAME COMMAND...: runs it, its output into $work/out, and prints `ok - ` or `not ok - ` with the end of that.
# answers STATUS PATTERN COMMAND...: does it end with this status, and say something that fits? What it says is kept in $work/said.
# refuses PATTERN COMMAND...: does it end with 3 and one line, the library's messages apart?
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
answers() {
    local want=$1 pattern=$2 got=0
    shift 2
    timeout 300 "$@" </dev/null >"$work/said" 2>&1 || got=$?
    cat "$work/said"
    if [ "$got" != "$want" ]; then echo "ended with $got, not $want"; return 1; fi
    if [ -n "$pattern" ] && ! grep -qE "$pattern" "$work/said"; then echo "does not say '$pattern'"; return 1; fi
}
refuses() {
    answers 3 "$@" || return 1
    [ "$(grep -vc '^message: ' "$work/said")" = 1 ] || { echo 'not one line'; return 1; }
}
finish() { exit $checks_failed; }
