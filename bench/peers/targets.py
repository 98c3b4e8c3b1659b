"""What Cairn is to reach beside its peers and the hardware, and whether a run of the bench reached it."""
from collections.abc import Callable
from statistics import median
from typing import Any

import savers
import states

Samples = dict[str, dict[str, list[float]]]  # by saver and figure


def number(value: float) -> str:
    """With two or three digits."""
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.4f}" if abs(value) < 0.01 else f"{value:.3f}"


def lines(rows: list[list[str]]) -> list[str]:
    """A table of Markdown; the first row is its head."""
    head, *rest = rows
    return ["| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rest]]


def better(figures: dict[str, list[float]], name: str, pick: Callable[..., list[float]] = min) -> list[float]:
    """Of what was done by two threads and by four, by whichever is quicker: by its median, for the quicker of two single ones is a lucky one. pick: max, where
    the figure is a multiple of what the threads took."""
    return pick((figures[f"{name}_{threads}"] for threads in (2, 4) if figures.get(f"{name}_{threads}")), key=median, default=[])


class Targets:
    """What Cairn is to reach, and whether it did."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.results, self.samples = results, results["samples"]
        self.rows = [["to reach", "reached", "target", ""]]

    def _add(self, what: str, value: float | None, limit: float | None, unit: str = "") -> None:
        """limit None: for comparison."""
        if value is None:
            return
        reached = f"{number(value)} {unit}".strip()
        if limit is None:
            self.rows.append([f"for comparison: {what}", reached, "—", ""])
        else:
            self.rows.append([what, reached, f"≤ {limit:g} {unit}".strip(), "reached" if value <= limit else "**missed**"])

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
        return lines(self.rows) if len(self.rows) > 1 else []

    def _share(self, what: str, state: str, figure: str, other: float | None, limit: float | None) -> None:
        """Cairn's figure as a multiple of another one."""
        self._add(what, self._ratio(state, "cairn", figure, other), limit)

    def _mib(self, what: str, value: float | None) -> None:
        self._add(what, None if value is None else value / 2**20, 64, "MiB")

    def _by_writer(self, what: str, state: str) -> None:
        """A durable save beside the raw writer, and beside what an eager one cannot be quicker than."""
        eager, lazy = (self.samples[state].get(saver, {}) for saver in ("cairn", "cairn-lazy"))
        for limit, whose, name in ((1.1, "times the raw writer", "write"), (None, "times the plain copy, and then the raw writer", "copy_and_write")):
            multiples = better(eager, f"later_durable_by_{name}", max)
            self._add(f"{what}: {whose}", median(multiples) if multiples else None, limit)
        multiples = better(lazy, "later_durable_by_write", max)
        self._add(f"lazy {what}: times the raw writer", median(multiples) if multiples else None, None)

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
                self._add(f"stall, {which}, {name}: times the plain copy", self._middle(state, "cairn", f"{which}_stall_by_copy"), 1.1)
        hidden = self._middle(state, "cairn-lazy", "hidden_stall")
        if state == "large" and hidden is not None:
            self._add(f"stall of a lazy save, {name}", hidden * 1e3, 1, "ms")
        what = f"durable save, {name}"
        self._by_writer(what, state)
        self._share(f"{what}: share of the best peer's", state, "later_durable", self._best(state, "later_durable"), 1)
        self._share(f"{what}: share of the best asynchronous peer's", state, "later_durable", self._best(state, "later_durable", True), 0.5)
        self._mib(f"memory of a save beyond an arena of the state's size, {name}", median(ours["extra_bytes"]) - self.results["bytes"][state])
        self._mib(f"memory of a load in place, {name}", self._middle(state, "cairn", "fill_extra_bytes"))

    def _loads(self, state: str, name: str) -> None:
        ours = self.samples.get(state, {}).get("cairn", {})
        if "warm_load" not in ours:
            return
        reader = median(better(ours, "cold_read"))
        self._share(f"cold load in new memory, checked, {name}: times the raw reader", state, "cold_load", reader, 1.1)
        if "cold_read_anew_2" in ours:
            anew = median(better(ours, "cold_read_anew"))
            self._share(f"cold load in new memory, checked, {name}: times the raw reader into new memory", state, "cold_load", anew, None)
        self._share(f"cold load in place, checked, {name}: times the raw reader", state, "cold_fill", reader, 1.1)
        peer = self._middle(state, "safetensors", "warm_map")
        if peer is not None:
            self._add(f"warm open, mapped, {name}: more than safetensors", (median(ours["warm_map"]) - peer) * 1e3, 1, "ms")
        plain = median(ours["warm_read_digested"])
        self._share(f"warm load in place, {name}: times the plain copy with digests", state, "warm_fill", plain, 1.15)
