"""What the tests of the native part share: numpy arrays bound to states, and small runs to look at."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from cairn import _native as native

sys.path.append(str(Path(__file__).parents[1] / "golden"))
from reader import tensor_rule  # type: ignore[import-not-found]  # noqa: E402

DTYPES = {
    "bool": "BOOL",
    "int8": "I8",
    "uint8": "U8",
    "int16": "I16",
    "uint16": "U16",
    "float16": "F16",
    "int32": "I32",
    "uint32": "U32",
    "float32": "F32",
    "complex64": "C64",
    "float64": "F64",
    "int64": "I64",
    "uint64": "U64",
}

Array = np.ndarray[Any, Any]


def bind(state: native.State, name: str, array: Array, item: str = "model", **options: Any) -> None:
    """Bind an array as it lies in memory."""
    strides = None if array.flags.c_contiguous else array.strides
    state.bind(item, name, DTYPES[array.dtype.name], array.shape, array.ctypes.data, array, strides=strides, **options)


def state_of(item: str = "model", /, **arrays: Array) -> native.State:
    """A state with these arrays in one item, trainable."""
    state = native.State()
    for name, array in arrays.items():
        bind(state, name, array, item, flags=native.TRAINABLE)
    return state


def make_run(path: Path, steps: int = 1, **arrays: Array) -> None:
    """A closed run with checkpoints 1 .. steps of these arrays."""
    state = state_of(**(arrays or {"w": np.arange(12, dtype=np.float32).reshape(3, 4)}))
    run = native.Run(path)
    for step in range(1, steps + 1):
        run.save(state, step, mode="sync", metrics={"loss": 1 / step})
    run.close()


def save_that_fails(path: Path) -> native.Run:
    """A run whose lazy save of step 1 is bound to fail behind: its state changes while the small arena waits for the disk."""
    array = np.ones(32 << 20, np.float32)
    run = native.Run(path, check_early_writes=True, arena_bytes=16 << 20)
    run.save(state_of(w=array), 1, mode="lazy")
    array[-1] += 1
    return run


def damage(path: Path, offset: int = -1) -> None:
    """Flip the bits of one byte of a file; not in place, for other checkpoints may share it."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 0xFF
    path.unlink()
    path.write_bytes(data)


def reseal(path: Path, old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """Replace bytes in a file of ours that ends with its digest, and write the digest anew; the file's content before and after."""
    before = path.read_bytes()
    text = before.replace(old, new)
    assert text != before
    text = text[: text.rindex(b'"digest":"')]
    after = text + b'"digest":"' + tensor_rule(text).encode() + b'"}\n'
    path.write_bytes(after)
    return before, after


def forge_values(folder: Path, old: bytes, new: bytes) -> None:
    """Replace bytes in a checkpoint's state.json, as if somebody had saved that; of the same size."""
    before, after = reseal(folder / "training/state.json", old, new)
    reseal(folder / "manifest.json", tensor_rule(before).encode(), tensor_rule(after).encode())
