"""A bar on the terminal while somebody waits for the library: where tqdm is installed, the standard error is a terminal, and the wait is no short one.

The figures are asked for by a thread that lives as long as the wait. In a wait that is short, and wherever nobody looks, nothing is imported and nothing is
written. A bar that cannot be drawn never makes the work fail that it is about.
"""

from __future__ import annotations

import importlib
import sys
import threading
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from ._native import Run

Figures: TypeAlias = Callable[[], tuple[int, int]]
"""Bytes done, and of how many, at this moment; (0, 0) before that is known. Asked for on another thread; what it raises ends the bar."""

DELAY_S = 1.5  # until a wait is no short one
INTERVAL_S = 0.1


@contextmanager
def shown(what: str, figures: Figures) -> Iterator[None]:
    """While the block waits. what: in front of the bar, which is gone when the block is left."""
    over = threading.Event()
    watcher = _started(what, figures, over) if _is_watched() else None
    try:
        yield
    finally:
        over.set()
        if watcher is not None:
            watcher.join()


def of_run(run: Run) -> Figures:
    """Of the save or restore that a run does."""

    def figures() -> tuple[int, int]:
        status = run.status()
        if status.phase not in ("restoring", "staging", "writing", "committing"):
            return 0, 0  # it does nothing now: those are of what it did before
        return status.written_bytes + status.linked_bytes, status.total_bytes

    return figures


@contextmanager
def counted(what: str, total: int = 0) -> Iterator[array[int]]:
    """As `shown`, with figures that the block writes, or gives the library to write: bytes done, and of how many."""
    figures = array("Q", (0, total))
    with shown(what, lambda: (figures[0], figures[1])):
        yield figures


def _is_watched() -> bool:
    try:
        return sys.stderr.isatty()
    except Exception:
        return False  # there is none, it is closed, or somebody else's object stands there


def _started(what: str, figures: Figures, over: threading.Event) -> threading.Thread | None:
    watcher = threading.Thread(target=_watch, args=(what, figures, over), name="cairn-progress", daemon=True)
    try:
        watcher.start()
    except RuntimeError:  # Python 3.12 starts none when the program ends
        return None
    return watcher


def _watch(what: str, figures: Figures, over: threading.Event) -> None:
    if over.wait(DELAY_S):
        return
    try:
        _draw(_bar_class(), what, figures, over)
    except Exception:
        return  # tqdm is not installed, the run has been closed meanwhile, the terminal is gone


def _bar_class() -> Any:
    """tqdm's, without the thread that it has for bars which nobody looks after."""
    return type("Bar", (importlib.import_module("tqdm").tqdm,), {"monitor_interval": 0})


def _draw(bar_class: Any, what: str, figures: Figures, over: threading.Event) -> None:
    bar: Any = None
    try:
        while not over.wait(INTERVAL_S):
            done, total = figures()
            if bar is None and total:
                bar = bar_class(total=total, initial=done, desc=what, unit="B", unit_scale=True, leave=False, dynamic_ncols=True, file=sys.stderr)
            if bar is not None and total:
                bar.n, bar.total = done, total
                bar.refresh()
    finally:
        if bar is not None:
            bar.close()
