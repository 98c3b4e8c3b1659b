"""The tables of a run, and what was to be reached: page.py RESULTS.json DOCUMENT.md writes them anew between their marks in the document."""
import json
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import savers
import states

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
Samples = dict[str, dict[str, list[float]]]  # by saver and figure


def _number(value: float) -> str:
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3f}"


def _spread(values: list[float], unit: Callable[[float], str] = _number) -> str:
    """Median, lowest and highest."""
    if not values:
        return ""
    middle = unit(median(values))
    low, high = unit(min(values)), unit(max(values))
    return middle if low == high else f"{middle} [{low}-{high}]"


def _mib(value: float) -> str:
    return f"{value / 2**20:.0f}"


def _lines(rows: list[list[str]]) -> list[str]:
    head, *rest = rows
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rest]]


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
    return _lines(rows + rest) if len(rows) > 1 else []


def _saves(samples: Samples, said: dict[str, str]) -> list[str]:
    head = ["saves", "stall, first", "stall, later", "safe, later", "hidden", "durable, first", "durable, later", "extra MiB", "written MiB"]
    seconds = ("first_stall", "later_stall", "later_safe", "hidden_stall", "first_durable", "later_durable")
    columns = [(name, _number) for name in seconds] + [("extra_bytes", _mib), ("written_bytes", _mib)]
    eager = ("first_stall", "later_stall", "later_safe")  # the first two saves of a lazy manager are
    shown = {saver: {k: v for k, v in each.items() if saver != "cairn-lazy" or k not in eager} for saver, each in samples.items()}
    rest = [[savers.ALL[saver].name, f"fails: {why}", *[""] * 7] for saver, why in said.items() if not samples.get(saver)]
    ours = samples.get("cairn", {})
    if ours:
        copy, write = (_spread(ours["first_" + name] + ours["later_" + name]) for name in ("copy", "write"))
        rest.append(["the hardware: plain copy on two threads, raw writer", copy, copy, "", "", write, write, "", ""])
    return _table(head, shown, columns, rest)


def _loads(samples: Samples) -> list[str]:
    head = ["loads", "cold", "cold, mapped", "warm", "warm, mapped: open", "and every page touched", "in place, cold", "in place, warm", "in place: extra MiB"]
    seconds = ("cold_load", "cold_map_touched", "warm_load", "warm_map", "warm_map_touched", "cold_fill", "warm_fill")
    ours, rest = samples.get("cairn", {}), []
    if "warm_load" in ours:
        cold, warm = _spread(_cold_read(ours)), _spread(ours["warm_read_digested"])
        rest = [["the hardware: raw reader; plain copy with digests", cold, "", "", "", "", cold, warm, ""]]
    return _table(head, samples, [(name, _number) for name in seconds] + [("fill_extra_bytes", _mib)], rest)


def _cold_read(figures: dict[str, list[float]]) -> list[float]:
    """Of the better number of threads in each process."""
    return [min(pair) for pair in zip(figures["cold_read_2"], figures["cold_read_4"], strict=True)]


def _training(results: dict[str, Any]) -> list[str]:
    tables = [name for name in results["samples"] if name.startswith("train-")]
    if not tables:
        return []
    rows = [["seconds of training lost per save", *(f"{name[6:]} of {results['machine']['cores']} cores train" for name in tables)]]
    for saver in dict.fromkeys(saver for name in tables for saver in results["samples"][name]):
        cells = [_spread(results["samples"][name].get(saver, {}).get("lost", [])) or results["said"].get(name, {}).get(saver, "") for name in tables]
        rows.append([savers.ALL[saver].name, *cells])
    steps = [_spread([value for figures in results["samples"][name].values() for value in figures["step"]]) for name in tables]
    return _lines([*rows, ["(a step alone)", *steps]])


def _early(results: dict[str, Any]) -> list[str]:
    samples, said = results["samples"].get("early", {}), results["said"].get("early", {})
    if not samples:
        return []
    rows = [["changed as soon as `save` returned", "tensors of 8 that hold later values"]]
    for saver, figures in samples.items():
        rows.append([savers.ALL[saver].name, f"none; the save failed and said so: {said[saver]}" if saver in said else f"{figures['later'][0]:.0f}"])
    return _lines(rows + [[savers.ALL[saver].name, f"fails: {why}"] for saver, why in said.items() if not samples.get(saver)])


# ----------------------------------------------------------------------------------------------------------------- targets


class Targets:
    """What Cairn is to reach, and whether it did."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results, self.samples = results, results["samples"]
        self.rows = [["to reach", "reached", "target", ""]]

    def _add(self, what: str, value: float | None, limit: float, unit: str = "") -> None:
        if value is not None:
            self.rows.append([what, f"{_number(value)} {unit}".strip(), f"≤ {limit:g} {unit}".strip(), "reached" if value <= limit else "**missed**"])

    def _middle(self, table: str, saver: str, figure: str) -> float | None:
        values = self.samples.get(table, {}).get(saver, {}).get(figure)
        return median(values) if values else None

    def _ratio(self, table: str, saver: str, figure: str, other: float | None) -> float | None:
        value = self._middle(table, saver, figure)
        return value / other if value is not None and other else None

    def _best(self, table: str, figure: str, only_async: bool = False) -> float | None:
        """Of the peers, the lowest median."""
        found = [
            median(figures[figure])
            for saver, figures in self.samples.get(table, {}).items()
            if not saver.startswith("cairn") and figures.get(figure) and (savers.ALL[saver].is_async or not only_async)
        ]
        return min(found, default=None)

    def all(self) -> list[str]:
        """The table."""
        for state, name in states.NAMES.items():
            self._saves(state, name)
        self._loads("large", states.NAMES["large"])
        for name in self.samples:
            if name.startswith("train-"):
                cores, free = int(name[6:]), int(name[6:]) < self.results["machine"]["cores"]
                lost = min((value for saver in ("cairn", "cairn-lazy") if (value := self._middle(name, saver, "lost")) is not None), default=None)
                best = self._best(name, "lost")
                share = lost / best if lost is not None and best else None
                self._add(f"training lost per save, {cores} cores train: share of the best peer's", share, 0.5 if free else 0.25)
        later = self._middle("early", "cairn-lazy", "later")
        self._add("tensors of a lazy save with later values", later, 0)
        return _lines(self.rows) if len(self.rows) > 1 else []

    def _share(self, what: str, state: str, figure: str, other: float | None, limit: float) -> None:
        """Cairn's figure as a multiple of another one."""
        self._add(what, self._ratio(state, "cairn", figure, other), limit)

    def _mib(self, what: str, value: float | None) -> None:
        self._add(what, None if value is None else value / 2**20, 64, "MiB")

    def _saves(self, state: str, name: str) -> None:
        ours = self.samples.get(state, {}).get("cairn")
        if not ours:
            return
        if state == "small":
            self._add(f"stall, {name}", median(ours["later_stall"]) * 1e3, 20, "ms")
            stock = self._middle(state, "safetensors", "later_durable")
            self._share(f"durable save, {name}: share of safetensors", state, "later_durable", stock, 0.2)
        else:
            for which in ("first", "later"):
                self._share(f"stall, {which}, {name}: times the plain copy", state, f"{which}_stall", median(ours[f"{which}_copy"]), 1.1)
        hidden = self._middle(state, "cairn-lazy", "hidden_stall")
        if state == "large" and hidden is not None:
            self._add(f"stall of a lazy save, {name}", hidden * 1e3, 1, "ms")
        what = f"durable save, {name}"
        self._share(f"{what}: times the raw writer", state, "later_durable", median(ours["later_write"]), 1.1)
        self._share(f"{what}: share of the best peer's", state, "later_durable", self._best(state, "later_durable"), 1)
        self._share(f"{what}: share of the best asynchronous peer's", state, "later_durable", self._best(state, "later_durable", True), 0.5)
        self._mib(f"memory of a save beyond an arena of the state's size, {name}", median(ours["extra_bytes"]) - self.results["bytes"][state])
        self._mib(f"memory of a load in place, {name}", self._middle(state, "cairn", "fill_extra_bytes"))

    def _loads(self, state: str, name: str) -> None:
        ours = self.samples.get(state, {}).get("cairn", {})
        if "warm_load" not in ours:
            return
        reader = median(_cold_read(ours))
        self._share(f"cold load in new memory, checked, {name}: times the raw reader", state, "cold_load", reader, 1.1)
        self._share(f"cold load in place, checked, {name}: times the raw reader", state, "cold_fill", reader, 1.1)
        peer = self._middle(state, "safetensors", "warm_map")
        if peer is not None:
            self._add(f"warm open, mapped, {name}: more than safetensors", (median(ours["warm_map"]) - peer) * 1e3, 1, "ms")
        plain = median(ours["warm_read_digested"])
        self._share(f"warm load in place, {name}: times the plain copy with digests", state, "warm_fill", plain, 1.15)


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
