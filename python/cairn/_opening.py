"""Opening a run for writing: what its rules are to the library, and what is said where it cannot be opened."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import Any

from . import _native
from ._errors import Error, LockedError, StorageError, make
from ._outcome import Closable, note_unsaved, open_managers
from ._policy import Keep, Save

log = logging.getLogger("cairn")


def open_run(directory: Path, save: Save, keep: Keep, **options: Any) -> _native.Run:
    """options: as of _native.Run."""
    try:
        return _native.Run(os.fspath(directory), message=log.warning, **_rules(save, keep), **options)
    except LockedError as error:
        if not _earlier(directory):
            raise
        told = f"{directory}: a CheckpointManager made earlier in this process has it open: close() it, or take_over=True does"
        raise make("LOCKED", told) from error
    except StorageError as error:
        newest = _newest(directory)
        if error.errno not in (errno.EROFS, errno.EACCES) or newest is None:
            raise
        told = f"{error}; to read it only: cairn.load({os.fspath(directory / newest)!r}, into=state), or cairn.Checkpoint"
        raise make(error.code, told, error.os_errno, error.offset) from error


def close_earlier(directory: Path) -> None:
    """Closes the manager of this process that has the run open. In a notebook nobody may hold it any more."""
    for manager in _earlier(directory):
        try:
            manager.close()
        except Error as error:
            note_unsaved(directory, error)
            log.error("%s: the last save of the CheckpointManager made earlier in this process failed: %s", directory, error)


def _rules(save: Save, keep: Keep) -> dict[str, Any]:
    return {
        "keep_last": keep.last or 0,
        "keep_best": keep.best if keep.last is not None else 0,
        "best_metric": keep.metric,
        "best_is_max": keep.mode == "max",
        "save_every_steps": save.every_steps or 0,
        "save_every_ms": round((save.every_seconds or 0) * 1000),
    }


def _earlier(directory: Path) -> list[Closable]:
    place = os.path.realpath(directory)
    return [manager for manager in open_managers if manager._process == os.getpid() and os.path.realpath(manager.directory) == place]


def _newest(directory: Path) -> str | None:
    """The name of the newest checkpoint; None: there is none, or it cannot be read."""
    try:
        return next((entry.name for entry in _native.listing(os.fspath(directory)) if entry.is_latest), None)
    except Error:
        return None
