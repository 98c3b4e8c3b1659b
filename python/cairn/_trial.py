"""What `python -m cairn verify-resume` asks of a training script, through the environment: the script itself stays as it is.

    CAIRN_DIRECTORY_PREFIX=FOLDER   every run lies in this folder: what would be /home/me/ckpts/gpt is FOLDER/home/me/ckpts/gpt
    CAIRN_STOP_AT_STEP=K            the first save(step) with step >= K saves, waits until that is durable, and ends the program with status 0
    CAIRN_KILL_AT_STEP=N            the first save(step) with step >= N saves, and as soon as that is durable the program is killed, wherever it is by then

The last two count as `force`. They are read when a CheckpointManager is made. A scheduler of jobs may use them, too.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ._errors import make

DIRECTORY_PREFIX = "CAIRN_DIRECTORY_PREFIX"
STOP_AT_STEP = "CAIRN_STOP_AT_STEP"
KILL_AT_STEP = "CAIRN_KILL_AT_STEP"


@dataclass(frozen=True, slots=True)
class Trial:
    """What the environment asks for; mostly nothing."""

    prefix: str | None = None
    stop_at: int | None = None
    kill_at: int | None = None

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Trial:
        """UsageError for what is no step."""
        return cls(environment.get(DIRECTORY_PREFIX) or None, _step(environment, STOP_AT_STEP), _step(environment, KILL_AT_STEP))

    def place(self, directory: str | os.PathLike[str]) -> Path:
        """Where a run lies. A place that was told before, as `manager.directory` is, stays."""
        if self.prefix is None or Path(os.path.abspath(directory)).is_relative_to(os.path.abspath(self.prefix)):
            return Path(directory)
        return Path(self.prefix) / os.path.abspath(directory).lstrip("/")

    def wants(self, step: int) -> bool:
        """A save of this step, whatever the rules say."""
        return any(at is not None and step >= at for at in (self.stop_at, self.kill_at))

    def committed(self, step: int) -> None:
        """A checkpoint is durable."""
        if self.kill_at is not None and step >= self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def saved(self, step: int, wait: Callable[[], object]) -> None:
        """A save has begun; `wait` waits for it."""
        if self.stop_at is not None and step >= self.stop_at:
            wait()
            raise SystemExit(0)


def _step(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise make("USAGE", f"{name}={text}: it is a number of optimizer steps, at least 1")
    return int(text)
