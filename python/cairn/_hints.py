"""What a manager says by itself, and once: nothing is wrong that could be raised, and yet something else was meant."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from ._errors import Error, UnstorableError
from ._native import Entry
from ._policy import Keep, Save

log = logging.getLogger("cairn")


class Hints:
    """Of one manager. Each is a warning."""

    def __init__(self, directory: Path, save: Save, keep: Keep) -> None:
        self._directory, self._save, self._keep = directory, save, keep
        self._said: set[str] = set()
        self._first_saved: int | None = None
        self._is_metric_given = keep.best == 0  # or nobody asked for it

    def not_saved(self, step: int) -> None:
        """A save was not due."""
        if self._save.every_steps is None and self._save.every_seconds is None:
            self._once(
                "rule",
                f"{self._directory}: save({step}) saved nothing, for there is no rule when to: give CheckpointManager save=cairn.Save(every_steps=...), or "
                "save(step, force=True); without them only a signal or request_save makes it save",
            )

    def cannot_be_saved(self, error: UnstorableError) -> None:
        """Something in the state, as it is."""
        self._once("state", f"{self._directory}: the state cannot be saved as it is: {error}")

    def saved(self, step: int, metrics: Mapping[str, object]) -> None:
        """A save has begun."""
        self._first_saved = step if self._first_saved is None else self._first_saved
        self._is_metric_given |= self._keep.metric in metrics
        if self._keep.best and metrics and self._keep.metric not in metrics:
            self._once(
                "metric",
                f"{self._directory}/checkpoint-{step} was saved with metrics {', '.join(metrics)}: {self._rule()} never takes it for one of the best",
            )

    def closed(self, entries: Callable[[], list[Entry]]) -> None:
        """The run is closed. entries: its checkpoints, which somebody else may have marked with the metric."""
        first = self._first_saved
        if first is None or self._is_metric_given:
            return
        with suppress(Error):
            if not any(self._keep.metric in entry.metrics for entry in entries() if entry.step >= first):
                self._once("best", f"{self._directory}: no checkpoint since step {first} has metric {self._keep.metric!r}: {self._rule()} kept none as the best")

    def _once(self, hint: str, message: str) -> None:
        """Says it, if nothing was said yet under this name."""
        if hint not in self._said:
            self._said.add(hint)
            log.warning("%s", message)

    def _rule(self) -> str:
        return f"Keep(best={self._keep.best}, metric={self._keep.metric!r})"
