"""The tables of a run: page.py RESULTS.json DOCUMENT.md writes them anew between their marks in the document."""
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import savers
import states
from targets import Samples, Targets, better, lines, number

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def _spread(values: list[float], unit: Callable[[float], str] = number) -> str:
    """Median, lowest and highest."""
    if not values:
        return ""
    middle = unit(median(values))
    low, high = unit(min(values)), unit(max(values))
    return middle if low == high else f"{middle} [{low}-{high}]"


def _mib(value: float) -> str:
    return f"{value / 2**20:.0f}"


# ------------------------------------------------------------------------------------------------------------------ tables


def _table(head: list[str], samples: Samples, columns: list[tuple[str, Callable[[float], str]]], rest: list[list[str]]) -> list[str]:
    """A row for each saver that has one of these figures; of each column the best median is bold."""
    rows = [head]
    best = {name: min((median(figures[name]) for figures in samples.values() if figures.get(name)), default=None) for name, _ in columns}
    for saver, figures in samples.items():
        cells = [_spread(figures.get(name, []), unit) for name, unit in columns]
        marked = [f"**{cell}**" if cell and median(figures[name]) == best[name] else cell for cell, (name, _) in zip(cells, columns, strict=True)]
        if any(cells):
            rows.append([savers.ALL[saver].name, *marked])
    return lines(rows + rest) if len(rows) > 1 else []


def _saves(samples: Samples, said: dict[str, str]) -> list[str]:
    head = ["saves", "stall, first", "stall, later", "safe, later", "hidden", "durable, first", "durable, later", "extra MiB", "written MiB"]
    seconds = ("first_stall", "later_stall", "later_safe", "hidden_stall", "first_durable", "later_durable")
    columns = [(name, number) for name in seconds] + [("extra_bytes", _mib), ("written_bytes", _mib)]
    by_waiting = ("later_stall", "later_safe")  # nothing is computed behind these of a lazy saver, which is not what it is for
    shown = {saver: {k: v for k, v in each.items() if saver != "cairn-lazy" or k not in by_waiting} for saver, each in samples.items()}
    rest = [[savers.ALL[saver].name, f"fails: {why}", *[""] * 7] for saver, why in said.items() if not samples.get(saver)]
    ours = samples.get("cairn", {})
    if ours:
        copy, write = _spread(_of_all_saves(ours, "copy")), _spread(better({f"write_{n}": _of_all_saves(ours, f"write_{n}") for n in (2, 4)}, "write"))
        rest.append(["the hardware: plain copy on two threads, raw writer", copy, copy, "", "", write, write, "", ""])
    return _table(head, shown, columns, rest)


def _of_all_saves(figures: dict[str, list[float]], name: str) -> list[float]:
    return figures[f"first_{name}"] + figures[f"later_{name}"]


def _loads(samples: Samples) -> list[str]:
    head = ["loads", "cold", "cold, mapped", "warm", "warm, mapped: open", "and every page touched", "in place, cold", "in place, warm", "in place: extra MiB"]
    seconds = ("cold_load", "cold_map_touched", "warm_load", "warm_map", "warm_map_touched", "cold_fill", "warm_fill")
    ours, rest = samples.get("cairn", {}), []
    if "warm_load" in ours:
        cold, warm = _spread(better(ours, "cold_read")), _spread(ours["warm_read_digested"])
        rest = [["the hardware: raw reader; plain copy with digests", cold, "", "", "", "", cold, warm, ""]]
    return _table(head, samples, [(name, number) for name in seconds] + [("fill_extra_bytes", _mib)], rest)


def _training(results: dict[str, Any]) -> list[str]:
    tables = [name for name in results["samples"] if name.startswith("train-")]
    if not tables:
        return []
    rows = [["seconds of training lost per save", *(f"{name[6:]} of {results['machine']['cores']} cores train" for name in tables)]]
    for saver in dict.fromkeys(saver for name in tables for saver in results["samples"][name]):
        cells = [_spread(results["samples"][name].get(saver, {}).get("lost", [])) or results["said"].get(name, {}).get(saver, "") for name in tables]
        rows.append([savers.ALL[saver].name, *cells])
    steps = [_spread([value for figures in results["samples"][name].values() for value in figures["step"]]) for name in tables]
    return lines([*rows, ["(a step alone)", *steps]])


def _early(results: dict[str, Any]) -> list[str]:
    samples, said = results["samples"].get("early", {}), results["said"].get("early", {})
    if not samples:
        return []
    rows = [["changed as soon as `save` returned", "tensors of 8 that hold later values"]]
    for saver, figures in samples.items():
        rows.append([savers.ALL[saver].name, f"none; the save failed and said so: {said[saver]}" if saver in said else f"{figures['later'][0]:.0f}"])
    return lines(rows + [[savers.ALL[saver].name, f"fails: {why}"] for saver, why in said.items() if not samples.get(saver)])


# -------------------------------------------------------------------------------------------------------------------- page


def tables(results: dict[str, Any]) -> str:
    """All of it, as Markdown."""
    machine, versions = results["machine"], results["versions"]
    parts = [
        f"{machine['date']}: {machine['processor']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB, {machine['kernel']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f". {results['rounds']} rounds, {results['seconds'] / 60:.0f} minutes. Seconds: median [lowest-highest].",
    ]
    if not machine["idle"]:
        parts.append("**These figures are unreliable: other programs used the machine.**")
    if results["scale"] != 1:
        parts.append(f"**A trial with states of {results['scale']:g} times their size.**")
    for state, name in states.NAMES.items():
        if state in results["samples"]:
            samples = results["samples"][state]
            parts += [f"### {name}", "\n".join(_saves(samples, results["said"].get(state, {}))), "\n".join(_loads(samples))]
    parts += ["### Training beside it, and changing the state too early", "\n".join(_training(results)), "\n".join(_early(results))]
    parts += ["### What was to be reached", "\n".join(Targets(results).all())]
    return "\n\n".join(part for part in parts if part)


def between(document: Path) -> str:
    """What stands between the marks. Raises ValueError where they are not."""
    _, begin, rest = document.read_text(encoding="utf-8").partition(BEGIN)
    text, end, _ = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{document}: it has no lines {BEGIN} and {END}")
    return text.strip("\n")


def insert(document: Path, text: str) -> None:
    """Between the marks; nothing else is touched."""
    head, rest = document.read_text(encoding="utf-8").split(BEGIN)
    document.write_text(f"{head}{BEGIN}\n{text}\n{END}{rest.split(END)[1]}", encoding="utf-8")


if __name__ == "__main__":
    insert(Path(sys.argv[2]), tables(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
