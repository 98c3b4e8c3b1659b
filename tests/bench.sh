#!/usr/bin/env bash
# The benchmark runs: the rows are measured, the results can be read, an interrupted one leaves nothing behind. What the figures are is not looked at.
# bench.sh BUILD
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build}
make --no-print-directory BUILD="$build" "$build/bench" "$build/cairn" >/dev/null || exit 1
work=$(mktemp -d -p "$build")
trap 'rm -rf "$work"' EXIT
# shellcheck source=tests/check.sh
. tests/check.sh

small=(--size 8M --rounds 2 --checkpoints 12 --idle 0 --dir "$work" --program "$build/cairn" --python /bin/false)
check 'bench: a row that is not there is told' refuses 'only sve: no row is called that' "$build/bench" "${small[@]}" --only save,sve --check
rows=open,ls,save-after-many,frozen,memory,save,train,stall,lazy-large,verify,restore,map # all but lazy-many, which needs 3 GB
check 'bench: the rows run' "$build/bench" "${small[@]}" --only "$rows" --growth --json "$work/out.json" --svg "$work/out.svg"
check 'bench: the results are whole' python3 - "$work/out.json" <<'PY'
import json, sys
results = json.load(open(sys.argv[1], encoding="utf-8"))
rows = {row["name"]: row for row in results["rows"]}
expected = """open-10k open-100k ls save-after-many frozen-time frozen-bytes memory save-large save-many save-small train-beside train-cpu stall-first
stall-next lazy-large verify restore-cold restore-warm map""".split()
missing = [name for name in expected if name not in rows and not (name == "train-beside" and results["cores"] == 1)]
assert not missing, missing
assert all(len(row["figures"]) == 2 for row in rows.values())
assert all(row["goal"] != "none" for row in rows.values())
assert [point["checkpoints"] for point in results["growth"]["kept"]] == [1, 10]
assert results["growth"]["state"][-1]["bytes"] == 8 << 20
PY
check 'bench: its chart is XML' python3 -c 'import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])' "$work/out.svg"
cp docs/PERFORMANCE.md "$work/page.md"
check 'bench: the page is made from results' python3 bench/render.py "$work/out.json" "$work/page.md"
check 'bench: the page has its rows' grep -q 'durable save, 32 tensors' "$work/page.md"
check 'bench: nothing is left behind' test -z "$(ls -d "$work"/cairn-bench-* 2>/dev/null)"

"$build/bench" "${small[@]}" --rounds 99 --only save >/dev/null 2>&1 &
bench=$!
for _ in $(seq 100); do
    ls -d "$work"/cairn-bench-*/store/save >/dev/null 2>&1 && break
    sleep 0.1
done
kill -TERM $bench
wait $bench
check 'bench: an interrupted one ends by the signal' test $? = 143
check 'bench: an interrupted one cleans up' test -z "$(ls -d "$work"/cairn-bench-* 2>/dev/null)"

# One that was killed is cleaned up by the next.
mkdir -p "$work/cairn-bench-4194305/store"
"$build/bench" "${small[@]}" --only map >/dev/null 2>&1
check 'bench: what a killed one left is removed' test ! -e "$work/cairn-bench-4194305"
finish
