"""Signals that ask a training to stop, heard without taking them from whoever heard them before."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any

log = logging.getLogger("cairn")


class StopSignals:
    """Watches from the main thread alone. An earlier handler of Python's is called after ours; what was ignored, or would have ended the process, does not
    any more. Handlers that are not Python's are left alone."""

    def __init__(self, numbers: Iterable[signal.Signals], heard: Callable[[], object]) -> None:
        self._numbers, self._heard, self._process = tuple(numbers), heard, os.getpid()
        self._earlier: dict[int, Any] = {}  # handlers before ours; asked also by handlers that still lead to us
        self._is_closed = False

    def watch(self) -> None:
        """From now on."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._numbers:
            if signal.getsignal(number) is None:
                log.warning("%s is handled outside of Python: left alone", signal.Signals(number).name)
            else:
                self._earlier[number] = signal.signal(number, self._on_signal)

    def close(self) -> None:
        """No longer. Where somebody else stands now, who may call us, nothing is changed."""
        self._is_closed = True
        if threading.current_thread() is threading.main_thread():
            for number, earlier in self._earlier.items():
                while isinstance(other := getattr(earlier, "__self__", None), StopSignals) and other._is_closed:
                    earlier = other._earlier[number]
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, earlier)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        is_ours = not self._is_closed and os.getpid() == self._process  # else as if we were not there: a forked worker is ended by SIGTERM
        if is_ours:
            self._heard()
        earlier = self._earlier.get(number)
        if callable(earlier):
            earlier(number, frame)
        elif not is_ours and earlier == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
