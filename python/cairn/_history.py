"""Looking back at a run: which checkpoints are kept, and each of them opened. Nothing is opened for writing."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from pathlib import Path

from . import _native
from ._checkpoint import Checkpoint
from ._errors import CorruptError, Error, GoneError, LimitError, NotFoundError, PathError, UnsupportedError

log = logging.getLogger("cairn")

_DAMAGED = (CorruptError, LimitError, UnsupportedError, PathError)  # or it was never a checkpoint


class History:
    """What a CheckpointManager knows of the past."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._is_absence_told = False
        self._position = (0, 0)  # (term, step) of what wait_for_new gave last

    def _entries(self) -> list[_native.Entry]:
        try:
            return [entry for entry in _native.listing(os.fspath(self.directory)) if entry.standing == "current"]
        except NotFoundError:
            self._tell_absence()
            return []

    def _tell_absence(self) -> None:
        """Once: whoever looks may have come before the trainer, or have mistyped."""
        if not self._is_absence_told:
            self._is_absence_told = True
            log.warning("%s: there is no such run yet", self.directory)

    def all_steps(self) -> list[int]:
        """The steps that are kept, oldest first."""
        return [entry.step for entry in self._entries()]

    def latest_step(self) -> int | None:
        """The newest step, whatever its health; None in a new run."""
        return next((entry.step for entry in self._entries() if entry.is_latest), None)

    def best_step(self) -> int | None:
        """The best one by the metric of `keep`; None where nobody has reported it."""
        return next((entry.step for entry in self._entries() if entry.is_best), None)

    def __iter__(self) -> Iterator[Checkpoint]:
        """The checkpoints that are kept, oldest first, each open while it is looked at. What is removed meanwhile is skipped; what is damaged is told by a
        warning and passed over."""
        for entry in self._entries():
            checkpoint = self._opened(entry)
            if checkpoint is not None:
                with checkpoint:
                    yield checkpoint

    def _opened(self, entry: _native.Entry) -> Checkpoint | None:
        try:
            checkpoint = Checkpoint(self.directory / entry.name)
        except (NotFoundError, GoneError):
            return None
        except _DAMAGED as error:
            if (self.directory / entry.name).exists():  # else it went while it was opened
                log.warning("%s was passed over: %s", entry.name, error)
            return None
        if checkpoint.info.entry is None:  # opened as what another program wrote
            checkpoint.close()
            log.warning("%s was passed over: it has lost its manifest.json", self.directory / entry.name)
            return None
        return checkpoint

    def checkpoint(self, step: int) -> Checkpoint:
        """A checkpoint to look into. Raises NotFoundError, which names the newest steps."""
        return Checkpoint(f"{self.directory.name}@{step}", store=self.directory.parent)

    def wait_for_new(self, timeout: float | None = None) -> Checkpoint | None:
        """The next checkpoint that this manager has not given yet, as soon as it is durable; None after `timeout` seconds. One that is damaged is raised, once."""
        try:
            native, self._position = _native.wait_for_new(os.fspath(self.directory), self._position, math.inf if timeout is None else timeout)
        except Error as error:
            self._position = error.position or self._position
            raise
        return None if native is None else Checkpoint(native)
