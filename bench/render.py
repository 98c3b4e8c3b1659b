"""Writes the table of docs/PERFORMANCE.md anew from the results of a run: render.py RESULTS.json DOCUMENT.md

The table stands between the lines <!-- bench: begin --> and <!-- bench: end -->, and nothing else is touched.
"""
import json
import sys

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


def number(value):
    size = abs(value)
    if size >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if size >= 10 else f"{value:.2f}" if size >= 0.1 or not size else f"{value:.2g}"


def with_unit(value, unit):
    return f"{number(value)} {unit}".rstrip()


def goal(row):
    sign = {"at least": "≥", "at most": "≤", "none": ""}[row["goal"]]
    return f"{sign} {number(row['target'])}" if sign else "—"


def detail(row):
    parts = []
    if row["bytes"] and row.get("against_s"):
        ours, other = (sorted(row[key])[len(row[key]) // 2] for key in ("ours_s", "against_s"))
        parts.append(f"{row['bytes'] / ours / 1e9:.2f} GB/s; {row['against']}: {row['bytes'] / other / 1e9:.2f}")
    elif row["against"]:
        parts.append(f"against {row['against']}")
    if row["note"]:
        parts.append(row["note"])
    return "; ".join(parts)


def table(results):
    gib = results["state_bytes"] / 2**30
    lines = [
        f"Cairn {results['cairn']}, {results['date']}: {results['processor']}, {results['cores']} cores, {results['memory_bytes'] / 2**30:.0f} GiB, "
        f"{results['kernel']}, {results['file_system']}. State of {gib:.3g} GiB, {results['rounds']} rounds; cold means dropped by "
        f"{results['cache_dropped_by']}.",
        "",
    ]
    if not results["idle"]:
        lines += ["**These figures are unreliable: other programs used the machine.**", ""]
    lines += ["| what | median | lowest to highest | target | | |", "|---|---|---|---|---|---|"]
    for row in results["rows"]:
        verdict = "" if row["goal"] == "none" else "reached" if row["reached"] else "**missed**"
        lines.append(
            f"| {row['what']} | {with_unit(row['median'], row['unit'])} | {number(row['min'])} to {number(row['max'])} | {goal(row)} | {verdict} | {detail(row)} |"
        )
    lines += [f"\nNot measured: {text}." for text in results["skipped"]]
    return "\n".join(lines)


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        results = json.load(file)
    with open(sys.argv[2], encoding="utf-8") as file:
        text = file.read()
    head, rest = text.split(BEGIN)
    tail = rest.split(END)[1]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(f"{head}{BEGIN}\n{table(results)}\n{END}{tail}")


main()
