"""The ceilings: the raw writer, reader and copy of `make bench`, called in the process that is measured. plain.c says what they do."""
import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

import torch

_library = ctypes.CDLL(os.environ["CAIRN_BENCH_PLAIN"])
_library.plain_memory.restype = ctypes.c_void_p
_library.plain_memory.argtypes = [ctypes.c_uint64]
_library.plain_copy.restype = ctypes.c_double
_library.plain_copy.argtypes = [ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.POINTER(ctypes.c_uint64), ctypes.c_int, ctypes.c_int]
_library.plain_write.restype = ctypes.c_double
_library.plain_write.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int]
_library.plain_read.restype = ctypes.c_double
_library.plain_read.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_uint64, ctypes.c_int, ctypes.c_int, ctypes.c_int]
_library.plain_read_anew.restype = ctypes.c_double
_library.plain_read_anew.argtypes = [ctypes.c_char_p, ctypes.c_uint64, ctypes.c_int]
_library.plain_wait_idle.argtypes = [ctypes.c_double]


def drop(folder: Path) -> None:
    """Every file of a folder out of the page cache."""
    _library.plain_drop(os.fsencode(folder))


def fill(folder: Path) -> None:
    """Every file of a folder into the page cache."""
    _library.plain_fill(os.fsencode(folder))


def wait_until_idle(minutes: float) -> bool:
    """False: others used the machine all the time."""
    return bool(_library.plain_wait_idle(minutes))


_BLOCK = 4 << 20  # bytes of which files are written and read
_PIECE = 16 << 20  # bytes that a thread copies at once
_PADDING = 256  # bytes at most that a tensor's copy begins behind the one before


class Plain:
    """Touched memory, as much as the state has and a little, and what can be done with it. All return seconds."""

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self._tensors = list(tensors)
        size = sum(tensor.nbytes + _PADDING for tensor in self._tensors)
        self._room = (size // _BLOCK + 3) * _BLOCK
        self._from, self._to = _library.plain_memory(self._room), _library.plain_memory(self._room)

    def copy(self, threads: int) -> float:
        """Of the tensors, from where they lie. Past the caches."""
        pieces = [
            (tensor.data_ptr() + at, min(_PIECE, tensor.nbytes - at)) for tensor in self._tensors for at in range(0, tensor.nbytes, _PIECE)
        ]
        addresses, sizes = zip(*pieces, strict=True)
        count = len(pieces)
        return float(_library.plain_copy(self._to, (ctypes.c_void_p * count)(*addresses), (ctypes.c_uint64 * count)(*sizes), count, threads))

    def write(self, like: Path, folder: Path, threads: int) -> float:
        """Durably: files of the sizes that `like` holds."""
        return float(_library.plain_write(os.fsencode(like), os.fsencode(folder), self._from, self._room, threads))

    def read(self, folder: Path, threads: int) -> float:
        """By O_DIRECT: as from a cold cache."""
        return float(_library.plain_read(os.fsencode(folder), self._to, self._room, True, False, threads))

    def read_anew(self, folder: Path, threads: int) -> float:
        """The same into memory that nobody has touched yet."""
        return float(_library.plain_read_anew(os.fsencode(folder), self._room, threads))

    def read_digested(self, folder: Path, threads: int) -> float:
        """From the page cache into memory that is there, with a digest of each block."""
        return float(_library.plain_read(os.fsencode(folder), self._to, self._room, False, True, threads))
