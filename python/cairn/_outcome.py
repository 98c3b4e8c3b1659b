"""What becomes of saves: whom a failure is told, which ones are let pass, and how a program ends whose last save failed."""

from __future__ import annotations

import atexit
import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Protocol

from . import _lazy, _native
from ._errors import EarlyWriteError, Error, FencedError, ForkedError, LockedError, UsageError

log = logging.getLogger("cairn")

_NO_ATTEMPT = (UsageError, ForkedError, LockedError)  # refused: nothing was to be saved that is lost now


class Judge:
    """Judges the saves of one manager."""

    def __init__(self, directory: Path, watch: _lazy.Watch, is_raised: bool, tolerate: int | None) -> None:
        """is_raised: a failure is; else it is logged, `tolerate` times in a row at most (None: always)."""
        self._directory, self._watch = directory, watch
        self._is_raised, self._tolerate = is_raised, tolerate
        self._failures = 0  # in a row
        self._untold: Error | None = None
        self.failure: Error | None = None  # of the last save

    def has_news(self, run: _native.Run) -> bool:
        """Whether a failure is to be judged, without waiting for one."""
        return self._untold is not None or run.status().phase == "failed"

    def collect(self, run: _native.Run) -> None:
        """Waits for the save before; its failure is judged here, so that what fails later is the next one's."""
        self.tell()
        try:
            run.wait()
        except Error as error:
            self.judge(error)

    def judge(self, error: Error) -> None:
        """Raises a save's failure, or lets it pass with a warning."""
        if isinstance(error, _NO_ATTEMPT):
            raise error
        self.failure = error
        self._failures += 1
        self._distrust(error)
        is_tolerated = not self._is_raised and (self._tolerate is None or self._failures <= self._tolerate)
        if not is_tolerated or isinstance(error, FencedError):  # who was overtaken will never save again
            raise error
        log.warning("a save failed, %d in a row: %s", self._failures, error)

    def put_off(self, error: Error) -> None:
        """It was met where nothing may be raised: the next call judges it."""
        log.error("%s: a save failed: %s", self._directory, error)
        self._untold = error
        self._distrust(error)

    def tell(self) -> None:
        """Judges what was put off."""
        untold, self._untold = self._untold, None
        if untold is not None:
            self.judge(untold)

    def committed(self) -> None:
        """A save is durable."""
        self._failures, self.failure = 0, None
        unsaved.pop(self._directory.absolute(), None)

    def _distrust(self, error: Error) -> None:
        if isinstance(error, EarlyWriteError) and self._watch.is_trusted:
            self._watch.is_trusted = False
            log.warning("%s: saves are eager from now on, for the state is written to outside of optimizer steps", self._directory)


# ----------------------------------------------------------------------------------------------------------- the end of the program


class Closable(Protocol):
    """A manager that is open for writing."""

    directory: Path
    _process: int

    def close(self) -> None: ...


open_managers: list[Closable] = []  # not to be collected: a save may run, and somebody must be told what became of it
_child = 0  # the process of multiprocessing that closes its managers
_LAST = -100  # behind the finalizers of queues, which write out what was put
unsaved: dict[Path, Error] = {}  # runs whose last save failed while something else went wrong: the program does not end well


def close_at_exit(manager: Closable) -> None:
    """Whatever becomes of the program, this manager is closed at its end."""
    global _child
    open_managers.append(manager)
    multiprocessing = sys.modules.get("multiprocessing.process")
    if multiprocessing is not None and multiprocessing.parent_process() is not None and _child != os.getpid():
        from multiprocessing.util import Finalize

        Finalize(None, _close_in_child, exitpriority=_LAST)  # a forked child of multiprocessing calls nothing else at its end
        _child = os.getpid()


def note_unsaved(directory: Path, error: Error) -> None:
    """The last save of a run failed, and nobody can be told but by the program's status."""
    unsaved[directory.absolute()] = error


def _close_each() -> None:
    for manager in list(open_managers):
        try:
            manager.close()
        except Error as error:
            note_unsaved(manager.directory, error)


def _close_in_child() -> None:
    """At the end of a process of multiprocessing, whose threads are waited for and whose exception is told after this."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    _close_each()
    error = sys.exc_info()[1]
    if unsaved and isinstance(error, Exception):
        traceback.print_exception(error)
    _close_all()


def _close_all() -> None:
    """A program whose last save failed does not end as if all were well, whoever was to close the manager. Python has no other way to change the status by
    now: what was to run at exit and was registered before Cairn was imported does not."""
    _close_each()
    for failed in unsaved.values():
        log.critical("the last save failed: %s", failed)
        print(f"cairn: the last save failed: {failed}", file=sys.stderr)
    if unsaved:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


atexit.register(_close_all)
os.register_at_fork(after_in_child=unsaved.clear)
