"""What the tests of states share: saving and loading in one folder, and comparing to the last bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

import cairn

torch.set_num_threads(1)


def carry(tmp_path: Path, saved: dict[str, Any], fresh: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Saves one state and restores it into another, as a manager of a new process does. Returns what r.state shows."""
    with cairn.CheckpointManager(tmp_path / "run", mode="sync", stop_signals=()) as manager:
        manager.save(1, state=saved, force=True)
    with cairn.CheckpointManager(tmp_path / "run", fresh, stop_signals=()) as manager:
        return manager.restore(**options).state


def bits(value: Any) -> bytes:
    """The bytes of an array, row-major."""
    if isinstance(value, torch.Tensor):
        value = value.detach().resolve_conj().contiguous()
        return (torch.view_as_real(value) if value.is_complex() else value).reshape(-1).view(torch.uint8).numpy().tobytes()
    return numpy.asarray(value).tobytes()


def same(one: Any, other: Any) -> bool:
    """Equal to the last bit, and of the same types all the way down."""
    if isinstance(one, torch.Tensor | numpy.ndarray):
        return type(one) is type(other) and one.dtype == other.dtype and one.shape == other.shape and bits(one) == bits(other)
    if type(one) is not type(other):
        return False
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one))
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(same(*pair) for pair in zip(one, other, strict=True))
    if isinstance(one, set | frozenset):
        return sorted(map(repr, one)) == sorted(map(repr, other))  # their order depends on how they were made, where hashes collide
    return repr(one) == repr(other)
