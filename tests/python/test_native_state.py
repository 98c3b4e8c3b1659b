"""State: binding tensors of every layout and plain values, and what is refused."""

from __future__ import annotations

import math
import struct
import sys
import weakref
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from native_help import DTYPES, Array, bind, forge_values, state_of

from cairn import _errors as errors
from cairn import _native as native
from cairn._native import State, Tagged


def save_and_load(path: Path, saved: State, loaded: State) -> native.RestoreReport:
    native.save_folder(path, saved)
    return native.load(path, loaded)


# ------------------------------------------------------------------------------------------------------------- tensors


def test_smoke(tmp_path: Path) -> None:
    w, b = np.arange(12, dtype=np.float32).reshape(3, 4), np.ones(3, dtype=np.float64)
    run = native.Run(tmp_path / "run")
    state = state_of(w=w, b=b)
    report = run.save(state, 7, mode="sync")
    assert (report.step, report.name, report.healthy, report.total_bytes) == (7, "checkpoint-7", True, w.nbytes + b.nbytes)
    before = w.copy(), b.copy()
    w[:], b[:] = 0, 0
    restored = run.restore(state)
    run.close()
    assert np.array_equal(w, before[0]) and np.array_equal(b, before[1])
    assert (restored.step, restored.fresh, restored.counts["restored"]) == (7, False, 2)
    with native.Checkpoint("run@7", tmp_path) as checkpoint:
        view = np.frombuffer(memoryview(checkpoint.map(("model", "w"))), np.float32).reshape(3, 4)
    assert np.array_equal(view, before[0])


@pytest.mark.parametrize("name", DTYPES)
def test_every_numpy_dtype(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(1)
    source = rng.integers(0, 2, (5, 3)).astype(name)
    target = np.zeros_like(source)
    save_and_load(tmp_path / "c", state_of(x=source), state_of(x=target))
    assert np.array_equal(source, target)


def layouts() -> dict[str, Array]:
    base = np.random.default_rng(2).standard_normal((4, 6, 5)).astype(np.float32)
    return {
        "transposed": base.transpose(2, 0, 1),
        "channels last": np.ascontiguousarray(base.transpose(1, 2, 0)).transpose(2, 0, 1),
        "every second": base[:, ::2, :],
        "backwards": base[::-1],
        "column": base[:, :, 3],
        "rows of a window": base[1:3, 2:5, :],
        "half floats": base.astype(np.float16).T,
        "bytes": base.astype(np.uint8).T,
        "doubles": base.astype(np.float64).T,
        "complex": base.astype(np.complex64).transpose(0, 2, 1),
        "one row": base[:1].T,
        "no elements": base[:, :0, :].T,
    }


@pytest.mark.parametrize("layout", layouts())
def test_strides_are_saved_packed(tmp_path: Path, layout: str) -> None:
    source = layouts()[layout]
    target = np.zeros(source.shape, source.dtype)
    save_and_load(tmp_path / "c", state_of(x=source), state_of(x=target))
    assert np.array_equal(source, target)


@pytest.mark.parametrize("layout", layouts())
def test_strides_are_restored_into(tmp_path: Path, layout: str) -> None:
    target = layouts()[layout]
    source = np.ascontiguousarray(target)
    target[...] = 0
    save_and_load(tmp_path / "c", state_of(x=source), state_of(x=target))
    assert np.array_equal(source, target)


def test_strides_touch_nothing_beside(tmp_path: Path) -> None:
    around = np.full((6, 8), -1.0)
    target = around[1:4, 2::3]
    save_and_load(tmp_path / "c", state_of(x=np.ones(target.shape)), state_of(x=target))
    assert (target == 1).all() and (around == 1).sum() == target.size


@pytest.mark.parametrize("layout", ["window", "transposed"])
def test_strides_across_pieces(tmp_path: Path, layout: str) -> None:
    """Tensors of several pieces: ranges begin and end within rows, and several threads fetch and store at once."""
    source, target = np.random.default_rng(3).standard_normal((1501, 3001)), np.zeros((1501, 3001))
    packed, views = np.zeros((1501, 2801)), (source[:, 100:-100], target[:, 100:-100])
    if layout == "transposed":
        packed, views = np.zeros((3001, 1501)), (source.T, target.T)
    save_and_load(tmp_path / "a", state_of(x=views[0]), state_of(x=packed))
    assert np.array_equal(packed, views[0])
    save_and_load(tmp_path / "b", state_of(x=packed), state_of(x=views[1]))
    assert np.array_equal(views[0], views[1])


def test_expanded_tensor_is_saved(tmp_path: Path) -> None:
    source, target = np.broadcast_to(np.arange(3.0), (4, 3)), np.zeros((4, 3))
    state = State()
    state.bind("model", "x", "F64", source.shape, source.ctypes.data, source, strides=source.strides)
    save_and_load(tmp_path / "c", state, state_of(x=target))
    assert np.array_equal(source, target)


def test_scalars_and_sub_byte_dtypes(tmp_path: Path) -> None:
    scalar, packed = np.array(2.5, np.float32), np.array([0x12, 0x34], np.uint8)
    state = state_of(s=scalar)
    state.bind("model", "p", "F4", (4,), packed.ctypes.data, packed)
    native.save_folder(tmp_path / "c", state)
    with native.Checkpoint(tmp_path / "c") as checkpoint:
        tensor = checkpoint.find("model", "p")
        assert tensor is not None and (tensor.dtype, tensor.shape, tensor.size_bytes) == ("F4", (4,), 2)
        assert bytes(checkpoint.map(tensor)) == packed.tobytes()
    assert native.dtype_bits("F4") == 4 and native.dtype_bits("BF16") == 16


def test_bind_many_and_alias(tmp_path: Path) -> None:
    arrays = [np.full((2, 3), i, np.float32) for i in range(500)]
    state = State()
    state.bind_many(("model", f"t{i}", "F32", a.shape, a.ctypes.data, a, native.TRAINABLE, None, 0, None) for i, a in enumerate(arrays))
    state.alias("model", "tied", "t7")
    native.save_folder(tmp_path / "c", state)
    with native.Checkpoint(tmp_path / "c") as checkpoint:
        assert len(checkpoint.tensors) == 500
        tied = checkpoint.find("model", "t7")
        assert tied is not None
        assert np.array_equal(np.frombuffer(memoryview(checkpoint.map(tied)), np.float32), arrays[7].ravel())
    with pytest.raises(errors.UsageError, match="not a tensor bound before"):
        state.alias("model", "x", "nowhere")


def test_bind_many_keeps_what_came_before_a_bad_row() -> None:
    array = np.zeros(3, np.float32)
    good = ("model", "a", "F32", array.shape, array.ctypes.data, array, 0, None, 0, None)
    state = State()
    with pytest.raises(errors.UsageError, match="'F33' is no dtype"):
        state.bind_many([good, ("model", "b", "F33", *good[3:])])
    with pytest.raises(errors.UsageError, match="bound twice"):
        state.bind_many([good])
    with pytest.raises(TypeError, match="must be a tuple"):
        state.bind_many([list(good)])  # type: ignore[list-item]


def test_the_generation_is_watched(tmp_path: Path) -> None:
    array, generation = np.ones(1 << 20, np.float32), np.zeros(1, np.uint64)
    state = State()
    state.bind("model", "w", "F32", array.shape, array.ctypes.data, array, generation=generation.ctypes.data)
    run = native.Run(tmp_path / "run")
    run.save(state, 1, mode="lazy")
    run.wait()
    run.close()
    assert [e.step for e in native.listing(tmp_path / "run")] == [1]


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"dtype": "F33"}, errors.UsageError, "no dtype"),
        ({"name": "a\0b"}, ValueError, "null"),
        ({"item": "state"}, errors.UsageError, "state"),
        ({"shape": (-1,)}, OverflowError, "negative"),
        ({"shape": (2.5,)}, TypeError, "integer"),
        ({"shape": (1,) * 65}, errors.LimitError, "65 dimensions"),
        ({"shape": (1 << 63, 4)}, errors.LimitError, "w"),
        ({"address": 0}, errors.UsageError, "address"),
        ({"strides": (4, 4)}, errors.UsageError, "2 strides for 1 dimensions"),
        ({"dtype": "F4", "strides": (1,), "shape": (4,)}, errors.UsageError, "4 bits have no strides"),
    ],
)
def test_bad_tensors_are_refused(change: dict[str, Any], error: type[Exception], match: str) -> None:
    array = np.zeros(3, np.float32)
    good: dict[str, Any] = {"item": "model", "name": "w", "dtype": "F32", "shape": (3,), "address": array.ctypes.data, "owner": array}
    with pytest.raises(error, match=match):
        State().bind(**(good | change))


def test_owners_live_as_long_as_the_state() -> None:
    array = np.zeros(3, np.float32)
    state = state_of(w=array)
    watch = weakref.ref(array)
    del array
    assert watch() is not None
    del state
    assert watch() is None


def test_file_stem(tmp_path: Path) -> None:
    state = state_of("adapter", w=np.ones(3))
    state.set_file_stem("adapter", "adapter_model")
    native.save_folder(tmp_path / "c", state)
    with native.Checkpoint(tmp_path / "c") as checkpoint:
        assert "training/adapter_model.safetensors" in [file.name for file in checkpoint.files]


# -------------------------------------------------------------------------------------------------------------- values

NAN_WITH_PAYLOAD = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_DEAD_BEEF))[0]
VALUES: list[object] = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**128 + 1,
    -(10**600),
    10**600 - 1,
    10**1800,
    -(7**5000),
    0.1,
    -0.0,
    math.inf,
    -math.inf,
    5e-324,
    "",
    "text",
    "Grüße \U0001f600 \0 \n",
    "$tuple",
    b"",
    b"\x00\xff",
    [],
    (),
    {},
    [1, [2, [3]], (4, (5,)), {"a": {"b": None}}],
    {"$map": 1, "": 2, "a/b~c": 3},
    {1: "int", "1": "text", 2.5: "float", None: 0, True is None: 1, b"k": 2, (1, "x"): 3},
    {"z": 1, "a": 2, "m": 3},
    Tagged("OrderedDict", {"a": 1}),
    Tagged("Color", 3),
    [Tagged("A", [Tagged("B", (1,))])],
]


def shape_of(value: object) -> object:
    """The value with the type of each part, in order: equality that tells 1, 1.0 and True apart."""
    if isinstance(value, dict):
        return dict, [(shape_of(k), shape_of(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return type(value), [shape_of(v) for v in value]
    return type(value), struct.pack("<d", value) if isinstance(value, float) else value


@pytest.mark.parametrize("value", [*VALUES, NAN_WITH_PAYLOAD], ids=lambda v: repr(v)[:30] if not isinstance(v, int) else f"{v:#x}"[:20])
def test_values_come_back_the_same(tmp_path: Path, value: object) -> None:
    state, other = State(), State()
    state.set_value("extra", "tree/leaf", value)
    assert shape_of(state.value("extra", "tree/leaf")) == shape_of(value)
    other.set_value("extra", "tree/leaf", "before")
    report = save_and_load(tmp_path / "c", state, other)
    assert shape_of(other.value("extra", "tree/leaf")) == shape_of(value)
    assert report.leaves == [("extra", "tree/leaf", "restored")]
    with native.Checkpoint(tmp_path / "c") as checkpoint:
        assert shape_of(checkpoint.values()) == shape_of({"extra": {"tree": {"leaf": value}}})


def test_large_ints_do_not_depend_on_the_limit_of_digits() -> None:
    number, state, limit = -(3**20000), State(), sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        state.set_value("extra", "n", number)
        assert state.value("extra", "n") == number
    finally:
        sys.set_int_max_str_digits(limit)


class Number(int):
    pass


@pytest.mark.parametrize(
    ("value", "match"),
    [
        (Decimal(1), r"^extra/x: a value of type Decimal cannot be stored$"),
        ({"param_groups": [{"lr": Decimal(1)}]}, r"^extra/x/param_groups/0/lr: a value of type Decimal"),
        ([1, (2, {3: {1, 2}})], r"^extra/x/1/1/3: a value of type set"),
        ({Decimal(2): 1}, r"^extra/x/Decimal\('2'\): a value of type Decimal"),
        (Number(3), r"of type Number"),
        (np.float64(1), r"of type float64"),
        (np.float32(1), r"of type float32"),
        ({"f": open}, r"^extra/x/f: a value of type builtin_function"),
        (Tagged("t", Decimal(1)), r"of type Decimal"),
        (Tagged(3, 1), r"of type int"),  # type: ignore[arg-type]
        (native.TensorRef("w"), r"of type TensorRef"),
        (bytearray(b"x"), r"of type bytearray"),
    ],
)
def test_what_is_not_plain_is_refused_by_its_place(value: object, match: str) -> None:
    with pytest.raises(TypeError, match=match):
        State().set_value("extra", "x", value)


def test_text_that_is_not_unicode_is_refused_by_its_place() -> None:
    with pytest.raises(ValueError, match="^extra/x/0/k: text with a lone surrogate"):
        State().set_value("extra", "x", [{"k": "a\ud800"}])
    with pytest.raises(ValueError, match="tag"):
        State().set_value("extra", "x", Tagged("a\0b", 1))
    with pytest.raises(ValueError, match="tagged again"):
        State().set_value("extra", "x", Tagged("a", Tagged("b", 1)))


def test_depth_is_bounded() -> None:
    itself: list[object] = []
    itself.append(itself)
    with pytest.raises(errors.LimitError, match="^extra/x/0/0/.*62 levels"):
        State().set_value("extra", "x", itself)
    deep: object = 1
    for _ in range(50):
        deep = [deep]
    State().set_value("extra", "x", deep)


def test_values_are_replaced_and_missed() -> None:
    state = State()
    state.set_value("extra", "x", 1)
    state.set_value("extra", "x", [2])
    assert state.value("extra", "x") == [2]
    with pytest.raises(KeyError, match="extra/y"):
        state.value("extra", "y")


def test_tensors_show_in_the_tree_of_values(tmp_path: Path) -> None:
    state = State()
    bind(state, "state/0/exp_avg", np.ones(3), "optimizer")
    state.set_value("optimizer", "lr", 0.5)
    native.save_folder(tmp_path / "c", state)
    with native.Checkpoint(tmp_path / "c") as checkpoint:
        assert checkpoint.values() == {
            "optimizer": {"lr": 0.5, "state": {"0": {"exp_avg": native.TensorRef("state/0/exp_avg")}}}
        }


@pytest.mark.parametrize(("key", "match"), [(b"true", "equal in a dict"), (b"[10]", r"key \[10\], which no dict")])
def test_maps_that_no_dict_can_hold_are_refused(tmp_path: Path, key: bytes, match: str) -> None:
    """Other languages may write them."""
    state = State()
    state.set_value("extra", "v", {1: "one", 1000: "two"})
    native.save_folder(tmp_path / "c", state)
    forge_values(tmp_path / "c", b"1000", key)
    with native.Checkpoint(tmp_path / "c") as checkpoint, pytest.raises(errors.UnsupportedError, match=match):
        checkpoint.values()
