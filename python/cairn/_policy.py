"""When to save and what to keep. The decisions are made by the library (src/policy); these are their terms."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Save:
    """When `manager.save` saves: when a multiple of `every_steps` was reached or crossed since the last call, or `every_seconds` have passed since the last
    save began. With neither, only `force=True`, a signal and `request_save` save."""

    every_steps: int | None = None
    every_seconds: float | None = None

    def __post_init__(self) -> None:
        if self.every_steps is not None and (type(self.every_steps) is not int or self.every_steps < 1):
            raise ValueError(f"every_steps is a number of optimizer steps, at least 1, not {self.every_steps!r}")
        if self.every_seconds is not None and not self.every_seconds > 0:
            raise ValueError(f"every_seconds is a time above 0, not {self.every_seconds!r}")


@dataclass(frozen=True, slots=True)
class Keep:
    """What stays after a save: the newest `last` (None: all, whatever `best` says), and the `best` ones by `metric`. What a run would resume from always
    stays, and so do the best, and pinned and tagged ones."""

    last: int | None = None
    best: int = 0
    metric: str = "loss"
    mode: Literal["min", "max"] = "min"

    def __post_init__(self) -> None:
        if self.last is not None and (type(self.last) is not int or self.last < 1):
            raise ValueError(f"last is a number of checkpoints, at least 1, or None for all, not {self.last!r}")
        if type(self.best) is not int or self.best < 0:
            raise ValueError(f"best is a number of checkpoints, not {self.best!r}")
        if self.mode not in ("min", "max"):
            raise ValueError(f'mode is "min" or "max", whichever is better, not {self.mode!r}')
