"""The steps of a run: optimizer steps completed, as calls give them, and which one may be saved next."""

from __future__ import annotations

from pathlib import Path

from ._errors import make


class Steps:
    """What a manager saved and restored last."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.saved: int | None = None  # since the last restore
        self.restored: int | None = None

    @property
    def last(self) -> int | None:
        """The state is known to be on the disk as of this step."""
        return self.saved if self.saved is not None else self.restored

    def now_restored(self, step: int | None) -> None:
        """None: a new run."""
        self.saved, self.restored = None, step

    def check(self, step: int) -> None:
        """Raises TypeError or UsageError for a step that cannot be saved next."""
        if type(step) is not int or step < 0:
            raise TypeError(f"save({step!r}): the step is the number of optimizer steps completed, an int: save(step + 1) after step `step`")
        if step == self.restored and self.saved is None:
            raise make(
                "USAGE",
                f"{self._directory}: step {step} was restored, and the first save after that has the same step: the step is the number of optimizer steps "
                "completed, so count up before you save: save(step + 1) after step `step`",
            )
        last = max((known for known in (self.saved, self.restored) if known is not None), default=-1)
        if step < last:
            raise make("USAGE", f"{self._directory}: step {step} is before {last}, the last one: restore an older step to go back")
