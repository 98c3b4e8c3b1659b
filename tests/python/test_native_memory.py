"""Covers python/native/memory.c and dlpack.c: what tells whether tensors are where they were, by DLPack and without it."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable
from typing import Any, ClassVar

import pytest
import torch

from cairn import _native as native


class Header(ctypes.Structure):
    """Of DLPack's exchange API: the version, and the table of an earlier one."""


Header._fields_ = [("version", ctypes.c_uint32 * 2), ("earlier", ctypes.POINTER(Header))]


class Table(ctypes.Structure):
    """As much of that table as is called."""

    _fields_: ClassVar = [("header", Header), ("unused", ctypes.c_void_p * 3), ("describe", ctypes.c_void_p)]


def address_of(capsule: object) -> int:
    get = ctypes.pythonapi.PyCapsule_GetPointer
    get.restype, get.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return int(get(capsule, b"dlpack_exchange_api"))


def capsule_of(table: ctypes.Structure) -> object:
    make = ctypes.pythonapi.PyCapsule_New
    make.restype, make.argtypes = ctypes.py_object, [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
    return make(ctypes.addressof(table), b"dlpack_exchange_api", None)


class Undescribed(torch.Tensor):
    """Of an earlier torch."""

    __dlpack_c_exchange_api__ = None


def one(tensor: torch.Tensor) -> torch.Tensor:
    return tensor


def undescribed(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.as_subclass(Undescribed)


@pytest.mark.parametrize("seen", [one, undescribed])
def test_another_view_is_other_memory(seen: Callable[[torch.Tensor], Any]) -> None:
    base = torch.arange(12.0).reshape(3, 4)
    views = [base, base[1:], base[:, :3], base.t(), base.reshape(4, 3), base.reshape(12), base.view(torch.int32), torch._neg_view(base), base.clone()]
    places = [native.tensor_memory([seen(view)]) for view in views]
    assert len(set(places)) == len(views)
    assert places == [native.tensor_memory([seen(view)]) for view in views]
    assert native.tensor_memory([seen(base), seen(base[1:])]) == places[0] + places[1]


@pytest.mark.parametrize("seen", [torch.nn.Parameter, undescribed])
def test_a_tensor_that_is_given_other_memory_has_other_memory(seen: Callable[[torch.Tensor], Any]) -> None:
    tensor = seen(torch.zeros(4, 4))
    changes = [torch.ones(4, 4), torch.ones(2, 8), torch.ones(4, 4, dtype=torch.float64), torch.ones(4, 4).t()[:2]]
    for other in changes:
        before = native.tensor_memory([tensor])
        tensor.data = other
        assert native.tensor_memory([tensor]) != before
        assert native.tensor_memory([tensor]) == native.tensor_memory([tensor])


def test_what_dlpack_cannot_describe_is_asked() -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        tensors = [torch.zeros(3), torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.quint8), torch.zeros(2)]
    assert native.tensor_memory(tensors) == b"".join(native.tensor_memory([tensor]) for tensor in tensors)
    with pytest.raises(RuntimeError, match="storage"):
        native.tensor_memory([torch.zeros(3).to_sparse()])
    with pytest.raises(AttributeError, match="is_neg"):
        native.tensor_memory([math])
    assert native.tensor_memory([]) == b""


def test_a_table_of_another_version_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = torch.zeros(3)
    described, asked = native.tensor_memory([tensor]), native.tensor_memory([undescribed(tensor)])
    assert described != asked
    known = Table.from_address(address_of(torch.Tensor.__dlpack_c_exchange_api__))  # type: ignore[attr-defined]
    assert known.header.version[0] == 1
    newer = Table()  # which has no function, and would end the process
    newer.header.version[0] = 2
    monkeypatch.setattr(torch.Tensor, "__dlpack_c_exchange_api__", capsule_of(newer))
    assert native.tensor_memory([tensor]) == asked
    newer.header.earlier = ctypes.pointer(known.header)
    assert native.tensor_memory([tensor]) == described


def test_the_same_objects() -> None:
    tensors: list[object] = [torch.zeros(2), torch.zeros(2)]
    assert native.same_objects(tensors, list(tensors)) and native.same_objects([], [])
    assert not native.same_objects(tensors, tensors[::-1]) and not native.same_objects(tensors, tensors[:1])
    assert not native.same_objects([1.5, "x"], [float("1.5"), "x"])
    with pytest.raises(TypeError):
        native.same_objects(tensors, tuple(tensors))  # type: ignore[arg-type]


def test_variables_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAIRN_ONE", "1")
    monkeypatch.setenv("CAIRN_TWO", "")
    monkeypatch.setenv("CAIRN_ODD", "\udcff")
    monkeypatch.delenv("CAIRN_NONE", raising=False)
    assert native.variables(("CAIRN_TWO", "CAIRN_NONE", "CAIRN_ONE", "CAIRN_ODD")) == {"CAIRN_TWO": "", "CAIRN_ONE": "1", "CAIRN_ODD": "\udcff"}
    assert native.variables(()) == {}
    with pytest.raises(TypeError):
        native.variables((1,))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        native.variables(["CAIRN_ONE"])  # type: ignore[arg-type]
