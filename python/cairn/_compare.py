"""Two checkpoints compared leaf by leaf and bit by bit: what of a state differs, and where in it first. And a state in memory: whether it differs at all."""

from __future__ import annotations

import ctypes
import re
import struct
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import _arrays
from ._checkpoint import Array, Checkpoint
from ._items import PYTHON, Item, Stateful
from ._native import Tagged, TensorRef

_MOST = 60  # characters of a value that are shown
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Difference:
    """A leaf that is not the same twice. `path` is its place in the state, "optimizer/state/w/exp_avg"; `where` the first place in it that differs, as
    "[3, 1]" or "byte 24", "" for the leaf as a whole; `was` and `now` what stands there."""

    path: str
    where: str
    was: str
    now: str
    is_tensor: bool = False

    def __str__(self) -> str:
        place = f" at {self.where}" if self.where else ""
        return f"{self.path}{place} was {self.was}, is {self.now}"


def differing(was: Checkpoint, now: Checkpoint, ignore: Iterable[str] = ()) -> list[Difference]:
    """Every leaf that differs, plain values first: weights differ whenever anything does, a counter tells more. ignore: regular expressions for paths."""
    patterns = [re.compile(pattern) for pattern in ignore]
    found = [each for each in _walk(_Pair(was, now), "", _tree(was), _tree(now)) if not any(pattern.search(each.path) for pattern in patterns)]
    return sorted(dict.fromkeys(found), key=lambda each: each.is_tensor)


def _tree(checkpoint: Checkpoint) -> dict[str, object]:
    return {item: tree for item, tree in (checkpoint.native.values() or {}).items() if item != PYTHON}


@dataclass(frozen=True, slots=True)
class _Pair:
    was: Checkpoint
    now: Checkpoint


class _Absent:
    def __repr__(self) -> str:
        return "not there"


_ABSENT = _Absent()


def _walk(pair: _Pair, path: str, was: object, now: object) -> Iterator[Difference]:
    """Both trees at once, in their order."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys((*was, *now)):
            yield from _walk(pair, f"{path}/{key}" if path else str(key), was.get(key, _ABSENT), now.get(key, _ABSENT))
    elif isinstance(was, TensorRef) and isinstance(now, TensorRef):
        yield from _tensors(pair, path, was, now)
    elif type(was) is not type(now):
        yield Difference(path, "", _shown(was), _shown(now), isinstance(was, TensorRef))
    elif isinstance(was, Tagged) and isinstance(now, Tagged):
        yield from _walk(pair, path, was.value, now.value) if was.type == now.type else [Difference(path, "", _shown(was), _shown(now))]
    elif isinstance(was, list | tuple) and isinstance(now, list | tuple) and len(was) == len(now):
        for index, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from _walk(pair, f"{path}/{index}", old, new)
    elif isinstance(was, bytes) and isinstance(now, bytes) and len(was) == len(now):
        at = _first_differing(memoryview(was), memoryview(now))
        if at is not None:
            yield Difference(path, f"byte {at}", str(was[at]), str(now[at]))
    elif not _is_same(was, now):
        yield Difference(path, "", _shown(was), _shown(now))


def _is_same(was: object, now: object) -> bool:
    if isinstance(was, float) and isinstance(now, float):  # NaNs, and the sign of zero
        return struct.pack("<d", was) == struct.pack("<d", now)
    return was == now


def _shown(value: object) -> str:
    if isinstance(value, TensorRef):
        return "a tensor"
    text = repr(value)
    return text if len(text) <= _MOST else f"{text[:_MOST]}..."


# ------------------------------------------------------------------------------------------------------------------ tensors


def _tensors(pair: _Pair, path: str, was: TensorRef, now: TensorRef) -> Iterator[Difference]:
    item = path.split("/", 1)[0]
    old, new = pair.was[item][was.name], pair.now[item][now.name]
    if (old.dtype, old.shape) != (new.dtype, new.shape):
        yield Difference(path, "", f"{old.dtype} {old.shape}", f"{new.dtype} {new.shape}", is_tensor=True)
    elif old.info.digest is None or old.info.digest != new.info.digest:
        at = _first_differing(old.view(), new.view())
        if at is not None:
            index = _index(at, old)
            yield Difference(path, str(list(index)), _element(old, index), _element(new, index), is_tensor=True)


def _first_differing(was: memoryview, now: memoryview) -> int | None:
    """The first byte that differs, of two buffers of one size."""
    for start in range(0, len(was), _BLOCK_BYTES):
        old, new = was[start : start + _BLOCK_BYTES], now[start : start + _BLOCK_BYTES]
        if old != new:
            return start + next(index for index, (one, other) in enumerate(zip(old, new, strict=True)) if one != other)
    return None


def _index(byte: int, array: Array) -> tuple[int, ...]:
    """The element that holds this byte."""
    place = byte // _element_bytes(array)
    index: list[int] = []
    for size in reversed(array.shape):
        place, rest = divmod(place, size)
        index.append(rest)
    return tuple(reversed(index))


def _element_bytes(array: Array) -> int:
    count = 1
    for size in array.shape:
        count *= size
    return array.info.size_bytes // count


def _element(array: Array, index: tuple[int, ...]) -> str:
    """Its value and, for floats that print alike and are not, its bits."""
    size, place = _element_bytes(array), 0
    for at, extent in zip(index, array.shape, strict=True):
        place = place * extent + at
    bits = bytes(array.view()[place * size : (place + 1) * size])[::-1].hex()
    try:
        value: Any = array[index]
        return f"{value.item()!r} (0x{bits})"
    except ImportError:  # a dtype that numpy has not
        return f"0x{bits}"


# ---------------------------------------------------------------------------------------------------------- a state in memory


def is_held(items: Iterable[Item], checkpoint: Checkpoint) -> bool:
    """Whether the checkpoint holds the very bytes that the tensors of modules, optimizers and trees have now, of which there must be some: then nothing was
    trained since. Random numbers do not count, nor does what has a state_dict alone."""
    found = False
    for item in sorted(items, key=lambda item: item.rank):
        if isinstance(item, Stateful):
            continue
        for name, array, _ in item.capture().tensors:
            info = checkpoint.native.find(item.name, name)
            if info is None or not _has_bytes(array, Array(checkpoint.native, info, "torch")):
                return False
            found = True
    return found


def _has_bytes(array: Any, saved: Array) -> bool:
    buffer = _arrays.buffer_of(array, saved.info.name)
    if buffer.strides is not None:
        array = array.contiguous() if _arrays.framework_of(array) == "torch" else sys.modules["numpy"].ascontiguousarray(array)
        buffer = _arrays.buffer_of(array, saved.info.name)
    if (buffer.dtype, buffer.shape) != (saved.info.dtype, tuple(saved.info.shape)):
        return False
    size = saved.info.size_bytes
    return size == 0 or _first_differing(memoryview((ctypes.c_ubyte * size).from_address(buffer.address)).cast("B"), saved.view()) is None
