"""What of a device's runtime library - CUDA's or HIP's - is called past torch, which has loaded it: to copy into its memory without the GIL, and to work beside
a graph that is being captured.

While one thread captures a graph, CUDA refuses the others calls that might wait for the device, and ends the capture as failed. A thread that says that it
means them may make them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from ._native import Device

_RUNTIMES = {b"libcudart": "cuda", b"libamdhip64": "hip"}  # by the beginning of the file's name: what its functions begin with
_FUNCTIONS = ("SetDevice", "Memcpy", "ThreadExchangeStreamCaptureMode")
_RELAXED = 2  # cudaStreamCaptureModeRelaxed


class Runtime:
    """The library, with its functions by their names without "cuda" or "hip"."""

    def __init__(self, library: ctypes.CDLL, prefix: str) -> None:
        self._library, self._prefix = library, prefix

    def __getattr__(self, name: str) -> ctypes._NamedFuncPointer:
        return getattr(self._library, self._prefix + name)  # type: ignore[no-any-return]

    def address(self, name: str) -> int:
        """Of a function."""
        return ctypes.cast(getattr(self, name), ctypes.c_void_p).value or 0


@cache
def loaded() -> Runtime | None:
    """Of this process. To be asked for when torch has seen a device. None: torch has it built in."""
    for line in Path("/proc/self/maps").read_bytes().splitlines():
        path = b"/" + line.partition(b"/")[2].removesuffix(b" (deleted)")
        for beginning, prefix in _RUNTIMES.items():
            if path.rpartition(b"/")[2].startswith(beginning) and (runtime := _opened(path, prefix)) is not None:
                return runtime
    return None


def _opened(path: bytes, prefix: str) -> Runtime | None:
    """The library, by the path that it was loaded from; None: it cannot be had by that any more, or lacks something."""
    try:
        runtime = Runtime(ctypes.CDLL(os.fsdecode(path)), prefix)
        return runtime if all(runtime.address(name) for name in _FUNCTIONS) else None
    except (OSError, AttributeError):
        return None


@cache
def device(ordinal: int) -> Device | None:
    """What reads and writes the memory of a device; None: nothing does."""
    runtime = loaded()
    return None if runtime is None else Device(ordinal, runtime.address("SetDevice"), runtime.address("Memcpy"))


@contextmanager
def waiting() -> Iterator[None]:
    """This thread may wait for the device, or have it lock pages, though a graph is captured meanwhile."""
    runtime = loaded()
    if runtime is None:
        yield
        return
    mode = ctypes.c_int(_RELAXED)
    runtime.ThreadExchangeStreamCaptureMode(ctypes.byref(mode))
    try:
        yield
    finally:
        runtime.ThreadExchangeStreamCaptureMode(ctypes.byref(mode))
