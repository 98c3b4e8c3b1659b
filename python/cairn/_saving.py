"""One save at rank 0: what is captured, and how the library is given it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, TypeAlias

from . import _capture, _checks, _items, _lazy, _native
from ._attachments import Attached
from ._errors import Error, UnstorableError
from ._hints import Hints
from ._outcome import Judge
from ._settings import Settings

Mode = Literal["eager", "lazy", "sync"]
Bar: TypeAlias = Callable[[], AbstractContextManager[None]]
log = logging.getLogger("cairn")


@dataclass(slots=True)
class Told:
    """What a save is given besides the state."""

    step: int
    epoch: float
    metrics: Mapping[str, SupportsFloat]
    tags: tuple[str, ...]


@dataclass(slots=True)
class Saver:
    """Of one manager."""

    mode: Mode
    capturer: _capture.Capturer
    watch: _lazy.Watch
    settings: Settings
    attached: Attached
    judge: Judge
    hints: Hints

    def reserve(self, run: _native.Run, items: list[_items.Item]) -> None:
        """Memory for saves is made ready behind the caller, so that the first save need not wait for it: for what can be looked at without calling anybody's
        code. What cannot be saved is told now, not when the first save is due; but for a lazy module, which will be by then."""
        quiet = [item for item in items if item.is_quiet()]
        if not quiet:
            return
        try:
            run.reserve(self.capturer.capture(quiet, {})[0])
        except UnstorableError as error:
            if error.is_lasting:
                self.hints.cannot_be_saved(error)
        except Error as error:
            log.debug("no memory was reserved: %s", error)

    def save(self, run: _native.Run, items: list[_items.Item], state: Mapping[str, Any], others: Mapping[str, object], told: Told, bar: Bar) -> bool:
        """Whether it has begun; what fails at once is judged. others: what the other ranks have of their own. bar: shown where the caller waits."""
        is_lazy = self.mode == "lazy" and self.watch.begin()
        config = self.settings.config_text()
        captured, notes = self.capturer.capture(items, self.settings.facts(config), self.watch.late_of if is_lazy else None, others, told.step)
        is_behind = self.capturer.start_copies()
        options: dict[str, Any] = {
            "mode": "sync" if self.mode == "sync" else "lazy" if is_lazy or is_behind else "eager",
            "epoch": told.epoch,
            "metrics": {name: _checks.number(name, value) for name, value in told.metrics.items()},
            "attachments": self.attached.files(state),
            "tags": told.tags,
            "config": config,
        }
        for note in notes:
            log.warning("%s", note)
        self.watch.is_pending = is_lazy
        try:
            with bar() if self.mode == "sync" else nullcontext():
                run.save(captured, told.step, **options)
        except Error as error:
            self.judge.judge(error)
            return False
        self.hints.saved(told.step, told.metrics)
        return True
