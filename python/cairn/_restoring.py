"""One restore: rank 0 chooses a checkpoint of the run, every rank fills its own state from it, and all of them succeed or raise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from . import _device, _filling, _items, _native, _progress
from ._errors import CorruptError, Error, make
from ._ranks import Ranks
from ._report import Report, Restored
from ._settings import Settings

_T = TypeVar("_T")


@dataclass(slots=True)
class Restoring:
    """What is to be restored, and then what was."""

    directory: Path
    ranks: Ranks
    settings: Settings
    items: list[_items.Item]
    names: list[str] | None  # of the items; None: all of the checkpoint
    step: int | None
    allow_missing: bool
    filling: _filling.Filling | None = None
    native: _native.RestoreReport | None = None

    def fill(self, reader: Callable[[], _native.Run]) -> Path | None:
        """The checkpoint that was chosen and read; None: the run is new. reader: gives the run at rank 0, where no save is under way."""
        name, identity = self.ranks.lead(lambda: self._fill(reader()))
        self._every_or_torn(lambda: self._fill_alike(name, identity))
        return None if name is None or self.filling is None else self.directory / name

    def finish(self) -> dict[str, object]:
        """What was read is put where it belongs. Returns the entries that the checkpoint held, as they are now."""
        assert self.filling is not None
        done = self._every_or_torn(self.filling.finish)
        return {item: value for item, value in done.items() if item in self.filling.found}

    def restored(self, path: Path, state: dict[str, Any]) -> Restored:
        """What became of it."""
        assert self.filling is not None and self.native is not None
        report = Report.of(self.native, self.names)
        report.notes += self.filling.told()
        report.new += [item for item in self.filling.absent if item not in {name.split("/")[0] for name in report.missing}]
        self.settings.compare(self.filling, report)
        return Restored(self.native.step, False, path, state, report, self.native.epoch)

    @property
    def notes(self) -> list[str]:
        """What is to be told of this rank."""
        return self.filling.notes if self.filling is not None else []

    def _choose(self, checkpoint: _native.Checkpoint) -> _native.State:
        self.filling = _filling.Filling(self.items, checkpoint, self.allow_missing, self.ranks.rank, self.ranks.size)
        self.settings.refuse_differing(self.filling)
        return self.filling.state

    def _fill(self, run: _native.Run) -> tuple[str | None, str | None]:
        """At rank 0: the checkpoint's name and identity."""
        with _progress.shown(f"restoring {self.directory.name}", _progress.of_run(run)), _device.current_kept():
            options: dict[str, Any] = {"allow_missing": self.allow_missing, "items": self.names, "choose": self._choose}
            self.native = run.restore(_native.State(), step=self.step, **options)
        return self.native.name, self.native.id

    def _fill_alike(self, name: str | None, identity: str | None) -> None:
        """At the others: from the same checkpoint."""
        if self.native is None and name is not None:
            options: dict[str, Any] = {"allow_missing": self.allow_missing, "items": self.names, "choose": self._choose}
            with _device.current_kept():
                self.native = _native.load(self.directory / name, _native.State(), **options)
            if self.native.id != identity:
                raise make("GONE", f"{self.directory / name} is not the checkpoint that rank 0 reads: all ranks must see the same directory")

    def _every_or_torn(self, make_value: Callable[[], _T]) -> _T:
        """On every rank. One that could, where another could not, holds what is of no run."""
        filled = False

        def attempt() -> _T:
            nonlocal filled
            value = make_value()
            filled = True
            return value

        try:
            return self.ranks.every(attempt)
        except Error as error:
            if not filled:
                raise
            said = f"{error}; this rank's state was filled, and is of no use alone: restore again, or stop"
            raise make("TORN_STATE", said, error.os_errno, error.offset, "CORRUPT" if isinstance(error, CorruptError) else "") from error
