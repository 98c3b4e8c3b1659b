"""The steps of a run: optimizer steps completed, as calls give them, and which one may be saved next."""

from __future__ import annotations

import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._errors import make

_MOST = (1 << 63) - 1


def step_of(given: Any, call: str) -> int:
    """A step as a call was given it: an int, or one of numpy's, torch's or jax's, of a single element. Raises TypeError, or UsageError for one that is too
    large. call: as its error shows it, "save({})"."""
    step = integer(given)
    if step is None or step < 0:
        advice = call.format("int(step)") if _is_float(given) else f"{call.format('step + 1')} after step `step`"
        raise TypeError(f"{call.format(repr(given))}: the step is the number of optimizer steps completed, an int of 0 or more: {advice}")
    if step > _MOST:
        raise make("USAGE", f"{call.format(step)}: a step is at most {_MOST}")
    return step


def integer(given: Any) -> int | None:
    """None: it is none. True is none, either."""
    try:
        return None if _kind(given).endswith("bool") else operator.index(given)
    except TypeError:
        return None


def _is_float(given: Any) -> bool:
    return "float" in _kind(given)


def _kind(given: Any) -> str:
    """The name of its dtype, or of its type."""
    return str(getattr(given, "dtype", type(given).__name__))


class Steps:
    """What a manager saved and restored last."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.saved: int | None = None  # since the last restore
        self.restored: int | None = None
        self.is_torn = False  # a restore failed half-way, and none of the whole state has succeeded since

    @property
    def last(self) -> int | None:
        """The state is known to be on the disk as of this step."""
        return self.saved if self.saved is not None else self.restored

    def now_restored(self, step: int | None) -> None:
        """None: a new run."""
        self.saved, self.restored = None, step

    def check(self, step: int, is_unchanged: Callable[[], bool]) -> None:
        """Raises UsageError for a step that cannot be saved next, TornStateError for a state that is a mixture. is_unchanged: whether the state is what was
        restored, so that the same step is no mistake."""
        if self.is_torn:
            said = "the last restore failed half-way, and the state is a mixture: restore all of it again before you save"
            raise make("TORN_STATE", f"{self._directory}: {said}")
        if self.saved is not None and step >= self.saved:
            return
        if step == self.restored and self.saved is None and not is_unchanged():
            raise make(
                "USAGE",
                f"{self._directory}: step {step} was restored, and the first save after that has the same step: the step is the number of optimizer steps "
                "completed, so count up before you save: save(step + 1) after step `step`",
            )
        last = max((known for known in (self.saved, self.restored) if known is not None), default=-1)
        if step < last:
            raise make("USAGE", f"{self._directory}: step {step} is before {last}, the last one: restore an older step to go back")
