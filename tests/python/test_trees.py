"""Containers, numpy and jax: what comes back is what was saved, in the caller's own containers where they can be changed."""

from __future__ import annotations

import dataclasses
import functools
import enum
import math
import threading
import time
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
import torch
from state_help import carry, same
from test_state import refused

import cairn


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Parts(enum.Flag):
    HEAD = 1
    TAIL = 2


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 5


class Word(enum.StrEnum):
    FIRST = "first"
    LAST = "last"


class Pair(NamedTuple):
    left: Any
    right: Any = 0


@dataclasses.dataclass
class Progress:
    step: int = 0
    best: float = math.inf
    history: list[float] = dataclasses.field(default_factory=list)
    buffer: Any = None
    code: Any = dataclasses.field(default=print, metadata={"static": True})


@dataclasses.dataclass(frozen=True)
class Fixed:
    rate: float
    table: Any


def full() -> dict[str, Any]:
    return {
        "none": None, "yes": True, "int": 2**70, "float": -0.0, "nan": math.nan, "inf": -math.inf, "text": "ä\n", "bytes": b"\0\xff", "complex": 1 - 2j,
        "tuple": (1, (2, [3])), "list": [1, {"a": [2]}], "deque": deque([1, 2, 3], maxlen=3), "set": {3, 1}, "frozen": frozenset("ab"), "range": range(1, 9, 2),
        "ordered": OrderedDict([("z", 1), ("a", 2)]), "counter": Counter("abca"), "default": defaultdict(int, {"a": 1}), "keys": {1: "a", None: "b", (1, "x"): "c", b"k": "d"},
        "colour": Colour.BLUE, "parts": Parts.HEAD | Parts.TAIL, "level": Level.HIGH, "path": Path("a/b"),
        "numpy": [numpy.float32(0.1), numpy.int64(7), numpy.bool_(True), numpy.datetime64("2024-05-01"), numpy.timedelta64(3, "h"), numpy.dtype("float16")],
        "torch": [torch.bfloat16, torch.Size([2, 3]), torch.device("cpu")],
        "pair": Pair(1, [2]), "progress": Progress(3, 0.5, [1.0]), "fixed": Fixed(0.1, (1, 2)), "empty": {}, "nothing": [],
        "mixed": {"list": [torch.ones(2), 1], "deque": deque([torch.ones(1), 2], maxlen=4), "pair": Pair(torch.zeros(2), "x"), "numbers": {1: torch.ones(3), 2: "two"}},
        "run": Progress(9, 0.1, [3.0], numpy.arange(4)), "a/b": torch.ones(1), "a": {"b": torch.zeros(1)}, "~": {"~1": numpy.ones(1)},
    }  # fmt: skip


def emptied(value: Any) -> Any:
    """The same containers, as a new process makes them: with other values."""
    if isinstance(value, torch.Tensor):
        return torch.full_like(value, 77)
    if isinstance(value, numpy.ndarray):
        return numpy.full_like(value, 77)
    if isinstance(value, Pair):
        return Pair(*(emptied(child) for child in value))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.replace(value, **{field.name: emptied(getattr(value, field.name)) for field in dataclasses.fields(value) if field.name != "code"})
    if isinstance(value, defaultdict):
        return defaultdict(value.default_factory)
    if isinstance(value, dict):
        return type(value)({key: emptied(child) for key, child in value.items()})
    if type(value) in (list, tuple):
        return type(value)(emptied(child) for child in value)
    if isinstance(value, deque):
        return deque([emptied(child) for child in value], value.maxlen)
    if isinstance(value, set):
        return set()
    return Parts(0) if isinstance(value, Parts) else {Colour.BLUE: Colour.RED, Level.HIGH: Level.LOW}.get(value, 0)


def test_every_container_comes_back_in_its_own_place(tmp_path: Path) -> None:
    saved, fresh = full(), emptied(full())
    containers = {name: value for name, value in fresh.items() if isinstance(value, list | dict | deque | set | torch.Tensor | Progress)}
    state = carry(tmp_path, {"all": saved}, {"all": fresh})
    assert state["all"] is fresh
    for name, value in saved.items():
        assert same(value, fresh[name]), name
    assert all(fresh[name] is container for name, container in containers.items())
    assert fresh["deque"].maxlen == 3 and fresh["default"].default_factory is int


def test_a_tree_comes_back_without_templates(tmp_path: Path) -> None:
    saved = full()
    cairn.save(tmp_path / "one", {"all": saved})
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        found = checkpoint.state()["all"]
    stand_ins: dict[str, Any] = {
        "default": {"a": 1}, "colour": "BLUE", "parts": 3, "level": "HIGH", "pair": {"left": 1, "right": [2]}, "fixed": {"rate": 0.1, "table": (1, 2)},
        "progress": {"step": 3, "best": 0.5, "history": [1.0], "buffer": None}, "run": {"step": 9, "best": 0.1, "history": [3.0], "buffer": numpy.arange(4)},
        "mixed": saved["mixed"] | {"pair": {"left": torch.zeros(2), "right": "x"}},
    }  # fmt: skip
    assert found.keys() == saved.keys()
    for name, value in (saved | stand_ins).items():
        assert same(value, found[name]), name
    assert found["mixed"]["deque"].maxlen == 4


ORDERS: list[Any] = [
    {"a": 1, "w": torch.ones(1), "b": 2},
    {"a": 1, "in": {"z": 0, "w": torch.ones(1), "y": {"b": 2, "a": 1}, "v": torch.ones(1)}, "b": 2},
    {"none": {}, "list": [1, torch.ones(1)], "n": 1, "w": torch.ones(1)},
    OrderedDict(b=1, w=torch.ones(1), a=OrderedDict(d=1, w=torch.ones(1), c=2)),
    [0, {"a": 1, "w": torch.ones(1)}],
    {"a": 1, 2: torch.ones(1), "b": 2},
    {"w": torch.ones(1), "b": 1, "a": 2},
    {Word.LAST: 1, "w": torch.ones(1), Word.FIRST: 2},
]


def order_of(value: Any) -> Any:
    """Its keys, and theirs, as they come."""
    if isinstance(value, dict):
        return [(key, order_of(child)) for key, child in value.items()]
    return [order_of(child) for child in value] if isinstance(value, list) else type(value)


@pytest.mark.parametrize("name", ["model", "other"])
@pytest.mark.parametrize("saved", ORDERS)
def test_maps_come_back_in_their_order(saved: Any, name: str, tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {name: saved})
    found = cairn.load(tmp_path / "one")[name]
    assert order_of(found) == order_of(saved) and type(found) is type(saved) and same(saved, found)


def test_a_map_whose_order_changes_between_two_saves_comes_back_in_the_later_one(tmp_path: Path) -> None:
    tree: dict[str, Any] = {"w": torch.ones(1), "a": 1, "b": 2, "in": {"v": torch.ones(1), "c": 1, "d": 2}}
    with cairn.CheckpointManager(tmp_path / "run", {"tree": tree}, stop_signals=()) as manager:
        manager.save(1, force=True)
        for each in tree, tree["in"]:
            for key in sorted(each, reverse=True):
                each[key] = each.pop(key)
        manager.save(2, force=True)
    assert order_of(cairn.load(tmp_path / "run/checkpoint-2")["tree"]) == order_of(tree)


def test_a_map_that_is_filled_keeps_its_own_order(tmp_path: Path) -> None:
    fresh = {"b": 0, "w": torch.zeros(1), "a": 0}
    carry(tmp_path, {"tree": {"a": 1, "w": torch.ones(1), "c": 3, "b": 2}}, {"tree": fresh})
    assert list(fresh.items()) == [("b", 2), ("w", torch.ones(1)), ("a", 1), ("c", 3)]


def told(tmp_path: Path, saved: dict[str, Any], fresh: dict[str, Any], **options: Any) -> list[str]:
    """The report's notes of a restore."""
    cairn.save(tmp_path / "one", saved)
    notes: list[str] = cairn.load(tmp_path / "one", into=fresh, **options).notes
    return notes


@pytest.mark.parametrize("container", [OrderedDict, dict])
def test_keys_of_maps_that_the_checkpoint_lacks_stay_and_are_told(container: type, tmp_path: Path) -> None:
    best, seen = [1], container({"a": 5, "z": 7})
    meta = {"epoch": 0, "best": best, "in/to": {"seen": seen, "empty": {}}}
    notes = told(tmp_path, {"meta": {"epoch": 3, "in/to": {"seen": container({"a": 1, "b": 2}), "empty": {"x": 1}}, "old": 4}}, {"meta": meta})
    assert meta == {"epoch": 3, "best": [1], "in/to": {"seen": {"a": 1, "z": 7, "b": 2}, "empty": {"x": 1}}, "old": 4}
    assert meta["best"] is best and meta["in/to"]["seen"] is seen
    assert notes == ["meta: not in the checkpoint, left as they are: best, in~1to/seen/z", "meta: only in the checkpoint, added: old, in~1to/seen/b"]


@pytest.mark.parametrize("container", [Counter, lambda given: defaultdict(int, given)], ids=["Counter", "defaultdict"])
def test_a_map_that_has_a_value_for_any_key_becomes_what_was_saved(container: Any, tmp_path: Path) -> None:
    saved, fresh = {"seen": container({"a": 1, "b": 2})}, {"seen": container({"a": 5, "z": 7})}
    assert told(tmp_path, {"run": saved}, {"run": fresh}) == ["run: not in the checkpoint, taken out: seen/z"]
    assert fresh == saved


def test_fields_that_only_one_of_them_has_are_told(tmp_path: Path) -> None:
    fresh = {"pair": Pair(0, 5), "run": Progress(), "list": [{"a": 0, "b": 5}]}
    notes = told(tmp_path, {"all": {"pair": {"left": 1, "middle": 2}, "run": {"step": 3, "pace": 1.0}, "list": [{"a": 1}, 7]}}, {"all": fresh})
    assert same(fresh, {"pair": Pair(1, 5), "run": Progress(3), "list": [{"a": 1, "b": 5}, 7]})
    assert notes == [
        "all: not in the checkpoint, left as they are: pair/right, run/best, run/history, run/buffer, list/0/b",
        "all: only in the checkpoint, left out: pair/middle, run/pace",
    ]


def test_arrays_that_the_checkpoint_lacks_are_told_as_missing_alone(tmp_path: Path) -> None:
    fresh = {"a": torch.zeros(1), "new": {"w": torch.zeros(1)}}
    assert told(tmp_path, {"net": {"a": torch.ones(1), "b": torch.ones(1)}}, {"net": fresh}, allow_missing=True) == [
        "net: arrays of the checkpoint that were not in the state given, added: b"
    ]


def test_an_ordinary_resume_of_maps_tells_nothing(tmp_path: Path) -> None:
    saved = {"epoch": 3, "losses": {1: 0.5}, "seen": Counter("aab"), "list": [1, 2], "in": {}}
    fresh: dict[str, Any] = {"epoch": 0, "losses": {}, "seen": Counter(), "list": [], "in": {}}
    assert told(tmp_path, {"meta": saved, "none": {"a": 1}}, {"meta": fresh, "none": {}}) == []
    assert same(fresh, saved)


def test_names_of_values_that_only_one_of_them_has_are_told(tmp_path: Path) -> None:
    run = cairn.Values(epoch=0, best=math.inf, more={"a": 0, "new": 1}, state=Progress())
    notes = told(tmp_path, {"run": cairn.Values(epoch=3, old=1, more={"a": 2}, state=Progress(4))}, {"run": run})
    assert same(run.state_dict(), {"epoch": 3, "best": math.inf, "more": {"a": 2, "new": 1}, "state": Progress(4), "old": 1})
    assert notes == ["run: not in the checkpoint, left as they are: best, more/new", "run: only in the checkpoint, added: old"]


@pytest.mark.parametrize("top", [[1, torch.ones(2)], deque([1, 2]), {3: "a", 4: torch.ones(1)}, Progress(3), {"only"}, OrderedDict(a=1, b=torch.ones(2))])
def test_any_container_can_be_an_entry(top: Any, tmp_path: Path) -> None:
    fresh = emptied(top)
    assert carry(tmp_path, {"entry": top}, {"entry": fresh})["entry"] is fresh
    assert same(top, fresh)


@pytest.mark.parametrize("name", ["model", "other"])
def test_names_with_slashes_do_not_meet(name: str, tmp_path: Path) -> None:
    saved = {"a/b": torch.ones(1), "a": {"b": torch.zeros(1), "~1": torch.full((1,), 2.0)}, "a~1b": torch.full((1,), 3.0)}
    fresh = emptied(saved)
    carry(tmp_path, {name: saved}, {name: fresh})
    assert same(saved, fresh)


def test_arrays_in_a_tree_must_be_there_and_fit(tmp_path: Path) -> None:
    saved = {"first": {"w": torch.ones(2, 3)}, "second": {"w": numpy.ones(2)}, "old": torch.ones(1)}
    fresh = {"first": {"w": torch.zeros(3, 3)}, "second": {"w": numpy.zeros(2, numpy.float32)}, "new": torch.zeros(1)}
    with pytest.raises(cairn.MismatchError) as told:
        carry(tmp_path, {"net": saved}, {"net": fresh})
    assert sorted(told.value.differences) == [
        "net/first/w is F32 (3, 3), in the checkpoint F32 (2, 3)",
        "net/new is not in the checkpoint",
        "net/second/w is F32 (2,), in the checkpoint F64 (2,)",
    ]
    assert fresh["new"].item() == 0.0


def test_arrays_that_only_the_checkpoint_holds_are_added_and_told(tmp_path: Path) -> None:
    fresh: dict[str, Any] = {"a": torch.zeros(1)}
    with cairn.CheckpointManager(tmp_path / "run") as manager:
        manager.save(1, state={"net": {"a": torch.ones(1), "b": torch.ones(2)}}, force=True)
    with cairn.CheckpointManager(tmp_path / "run", {"net": fresh}) as manager:
        notes = manager.restore().report.notes
    assert fresh["b"].tolist() == [1.0, 1.0]
    assert notes == ["net: arrays of the checkpoint that were not in the state given, added: b"]


# -------------------------------------------------------------------------------------------------------------------- numpy


def test_arrays_of_numpy_are_filled_where_they_lie(tmp_path: Path) -> None:
    numbers = numpy.random.default_rng(1)
    saved = {
        "half": numbers.random((2, 3)).astype(numpy.float16), "flags": numpy.array([True, False]), "small": numpy.arange(4, dtype=numpy.uint16), "scalar": numpy.array(3.5),
        "empty": numpy.empty((0, 2)), "complex": numbers.random((2, 3)) + 1j, "dates": numpy.array(["2024-01-02", "NaT"], "datetime64[D]"), "spans": numpy.array([5], "timedelta64[ms]"),
        "fortran": numpy.asfortranarray(numbers.random((3, 4))), "reversed": numpy.arange(6)[::-2], "parts": (numbers.random((4, 6)) + 2j)[::2, 1::2],
    }  # fmt: skip
    fresh = {name: numpy.zeros_like(array) for name, array in saved.items()}
    places = {name: (array.__array_interface__["data"], array.strides) for name, array in fresh.items()}
    carry(tmp_path, {"arrays": saved}, {"arrays": fresh})
    assert same(saved, fresh)
    assert places == {name: (array.__array_interface__["data"], array.strides) for name, array in fresh.items()}


def test_read_only_arrays_are_replaced(tmp_path: Path) -> None:
    fixed = numpy.zeros(3)
    fixed.flags.writeable = False
    fresh = {"table": fixed}
    carry(tmp_path, {"arrays": {"table": numpy.arange(3.0)}}, {"arrays": fresh})
    assert fresh["table"].tolist() == [0.0, 1.0, 2.0] and fixed.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    "array, match",
    [
        (numpy.zeros(2, ">f4"), r"^run/x/1: big-endian bytes are not stored: pass array.astype"),
        (numpy.zeros(2, [("a", "i4"), ("b", "f8")]), r"^run/x/1: an array of dtype \[\('a'.* has no form in safetensors"),
        (numpy.array(["a"]), "^run/x/1: an array of dtype <U1 has no form"),
        (numpy.array([object()]), "^run/x/1: an array of dtype object has no form"),
        (numpy.zeros(2, numpy.longdouble), "^run/x/1: an array of dtype float128 has no form"),
        (numpy.ma.masked_array([1.0, 2.0], mask=[True, False]), r"^run/x/1: a masked array is not stored: pass array.data and array.mask"),
    ],
)
def test_arrays_that_cannot_be_stored_are_refused_by_their_path(array: Any, match: str, tmp_path: Path) -> None:
    refused(tmp_path, {"run": {"x": [1, array]}}, match)


# ---------------------------------------------------------------------------------------------------------------------- jax


def test_trees_of_jax_come_back_in_the_state(tmp_path: Path) -> None:
    jax = pytest.importorskip("jax")
    jnp = jax.numpy

    def make(seed: int) -> dict[str, Any]:
        key = jax.random.key(seed)
        return {
            "params": {"w": jax.random.normal(key, (2, 3)), "half": jax.random.normal(key, (4,), jnp.bfloat16), "flags": jnp.array([seed > 1, False])},
            "moments": (Pair(jnp.full((2,), seed, jnp.int32), [jax.random.normal(key, ())]), Pair(jnp.zeros((0, 3)), None)),
            "progress": Progress(seed, buffer=jax.random.normal(key, (2,))),
            "weak": [jnp.asarray(0.5 * seed), jnp.full((2,), seed)],
            "keys": {"new": jax.random.split(key, 2), "old": jax.random.PRNGKey(seed), "other": jax.random.key(seed, impl="rbg")},
        }

    saved, fresh = make(1), make(2)
    untouched = numpy.asarray(fresh["params"]["w"]).copy()
    held = fresh["params"]["w"]
    found = carry(tmp_path, {"tree": saved}, {"tree": fresh})["tree"]
    assert jax.tree_util.tree_structure(saved["moments"]) == jax.tree_util.tree_structure(found["moments"])
    for one, other in zip(jax.tree_util.tree_leaves(saved), jax.tree_util.tree_leaves(found), strict=True):
        if isinstance(one, Progress):
            one, other = one.buffer, other.buffer
        assert (one.dtype, one.shape, getattr(one, "weak_type", None)) == (other.dtype, other.shape, getattr(other, "weak_type", None))
        raw = [jax.random.key_data(leaf) if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf for leaf in (one, other)]
        assert numpy.asarray(raw[0]).tobytes() == numpy.asarray(raw[1]).tobytes()
    assert (numpy.asarray(held) == untouched).all(), "arrays of jax are values: nobody's is written into"


@dataclasses.dataclass(frozen=True, init=False)
class Made:
    """A frozen dataclass that makes of its arguments what it holds, as modules of equinox do."""

    table: Any
    scale: float
    name: str = dataclasses.field(metadata={"static": True})

    def __init__(self, size: int, scale: float) -> None:
        object.__setattr__(self, "table", torch.full((size,), scale))
        object.__setattr__(self, "scale", scale * 2)
        object.__setattr__(self, "name", f"of {size}")

    @functools.cached_property
    def total(self) -> float:
        return float(self.table.sum())


@dataclasses.dataclass(frozen=True)
class Scaled:
    """One whose fields are not what it is called with."""

    rate: float
    square: float = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", self.rate * 2)
        object.__setattr__(self, "square", self.rate**2)


@dataclasses.dataclass(frozen=True)
class Doubled:
    """One that makes another field of what it is given."""

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "rate", self.rate * 2)


@dataclasses.dataclass(frozen=True)
class Halved:
    """One that keeps what follows from its fields."""

    rate: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "half", self.rate / 2)


def test_frozen_dataclasses_have_the_fields_that_were_saved(tmp_path: Path) -> None:
    saved = {"made": Made(3, 0.5), "scaled": Scaled(1.5), "doubled": Doubled(5), "halved": Halved(3)}
    fresh = {"made": Made(3, 0.25), "scaled": Scaled(4), "doubled": Doubled(6), "halved": Halved(8)}
    held = fresh["made"]
    assert held.total == 0.75
    found = carry(tmp_path, {"own": saved}, {"own": fresh})["own"]
    assert same(found, saved) and type(found["made"]) is Made
    assert found["made"].table is held.table, "filled in place"
    assert found["made"].total == 1.5 and found["halved"].half == 1.5, "what was made of its fields before is not kept"


class Registered:
    """A pytree of jax that is no container of Python's."""

    def __init__(self, weights: Any, inner: Any, name: str) -> None:
        self.weights, self.inner, self.name = weights, inner, name


class Keyed(Registered):
    """The same, whose children have names."""


def register(jax: Any) -> None:
    util = jax.tree_util
    if not util.all_leaves([Keyed(0, 0, "")]):
        return
    util.register_pytree_node(Registered, lambda node: ((node.weights, node.inner), node.name), lambda name, parts: Registered(*parts, name))

    def with_keys(node: Keyed) -> Any:
        return ((util.GetAttrKey("weights"), node.weights), (util.GetAttrKey("inner"), node.inner)), node.name

    util.register_static(Colour)
    util.register_pytree_with_keys(Keyed, with_keys, lambda name, parts: Keyed(*parts, name))


def test_registered_pytrees_of_jax(tmp_path: Path) -> None:
    jax = pytest.importorskip("jax")
    register(jax)

    def make(seed: int) -> Any:
        inner = Keyed(jax.numpy.full((2,), seed), {"count": seed, "none": None}, f"inner {seed}")
        return Registered(jax.numpy.full((3,), seed * 0.5), [inner, seed], f"outer {seed}")

    saved, fresh = {"tree": make(1), "values": Registered(1, (2, None), "")}, {"tree": make(2), "values": Registered(3, (4, None), "")}
    saved["colour"], fresh["colour"] = {"of": Colour.BLUE}, {"of": next(each for each in Colour if each is not Colour.BLUE)}
    found = carry(tmp_path, saved, fresh)
    assert found["colour"]["of"] is Colour.BLUE
    one, other = saved["tree"], found["tree"]
    assert type(other) is Registered and type(other.inner[0]) is Keyed
    assert (other.name, other.inner[0].name) == ("outer 2", "inner 2"), "what is no data is the code's"
    assert jax.tree_util.tree_leaves(other.inner[0].inner) == [1] and other.inner[1] == 1
    for mine, theirs in ((one.weights, other.weights), (one.inner[0].weights, other.inner[0].weights)):
        assert mine.dtype == theirs.dtype and (mine == theirs).all()
    assert (found["values"].weights, found["values"].inner) == (1, (2, None))
    tree = cairn.load(tmp_path / "run/checkpoint-1")["tree"]
    assert tree["1"][0]["inner"] == {"count": 1, "none": None} and tree["0"].tolist() == [0.5] * 3
    with pytest.raises(cairn.UnstorableError, match="tree/value/1/0/inner: a function cannot be stored"):
        cairn.save(tmp_path / "bad", {"tree": Registered(1, [Keyed(1, lambda: 0, "")], "")})


def test_another_architecture_in_jax_is_told_difference_by_difference(tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax").numpy
    with pytest.raises(cairn.MismatchError) as told:
        carry(tmp_path, {"net": {"w": jnp.ones((2, 3)), "old": jnp.ones(1)}}, {"net": {"w": jnp.ones((2, 4)), "new": jnp.ones(1)}})
    assert told.value.differences == ["net/w is F32 (2, 4), in the checkpoint F32 (2, 3)", "net/new is not in the checkpoint"]


def test_a_donated_array_is_refused(tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax").numpy
    gone = jnp.ones(3)
    gone.delete()
    refused(tmp_path, {"net": {"w": gone}}, "^net/w: this jax array was donated or deleted")


def test_wide_numbers_of_jax_do_not_shrink_in_silence(tmp_path: Path) -> None:
    jax = pytest.importorskip("jax")
    with jax.enable_x64(True):
        cairn.save(tmp_path / "one", {"net": {"w": jax.numpy.ones(2, jax.numpy.float64)}})
    with cairn.Checkpoint(tmp_path / "one") as checkpoint, pytest.raises(cairn.MismatchError, match="float64 was saved with jax_enable_x64, and now it is off"):
        checkpoint.state()


# ------------------------------------------------------------------------------------------------------------------ refused


class Odd:
    pass


def test_what_has_no_form_is_refused_by_its_path(tmp_path: Path) -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = torch.ones(1)
    for _ in range(80):
        deep = [deep]
    with open(__file__) as file:
        for value, match in (
            (lambda: 1, "a function cannot be stored: a function has no form outside of its program; keep it in the code"),
            (file, "a _io.TextIOWrapper cannot be stored: keep plain values"),
            (threading.Lock(), "a _thread.lock cannot be stored"),
            (Odd(), "a test_trees.Odd cannot be stored: keep plain values, containers and arrays in the state"),
            (torch.nn.Linear(1, 1), r"a torch.nn.modules.linear.Linear cannot be stored.*entry of the state of its own$"),
            (type("Averages", (), {"state_dict": dict})(), r"Averages cannot be stored.*state_dict\(\) and no load_state_dict\(\): give it that one, too"),
            ({Colour.RED: 1}, "a test_trees.Colour cannot be stored as a key"),
            ({1: torch.ones(1), "1": 2}, "two of its keys would have one name"),
            ({Odd()}, "a test_trees.Odd cannot be stored"),
        ):
            refused(tmp_path, {"run": {"a": [0, {"b": value}]}}, f"^run/a/1/b.*{match}")
    with pytest.raises(cairn.UnstorableError, match="^run/a: a function"):
        cairn.save(tmp_path / "one", {"model": {"w": torch.ones(1 << 16)}, "run": {"a": lambda: 0}})
    assert not list(tmp_path.glob("one*"))
    refused(tmp_path, {"run": {"a": endless}}, r"^run/a/0/0/0/\.\.\.: more than 50 levels of containers; does one hold itself\?")
    refused(tmp_path, {"run": {"a": deep}}, r"^run/a/0/0/0/\.\.\.: more than 50 levels")


@pytest.mark.parametrize("value", [3, 0.5, "x", True, Colour.RED, numpy.float32(1), 1j])
def test_a_bare_value_is_refused_with_the_way_out(value: Any, tmp_path: Path) -> None:
    refused(tmp_path, {"epoch": value}, rf"^epoch: a bare {type(value).__name__} cannot be given back to you: use cairn.Values\(epoch=")


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, {"scaler": None}, "^scaler: there is nothing to save in None: leave it out")
    refused(tmp_path, [1], "the state is a dict of names", TypeError)
    refused(tmp_path, {1: {}}, "the state is a dict of names", TypeError)


class Listed(list):  # type: ignore[type-arg]
    """Somebody's own."""


class Rows(tuple):  # type: ignore[type-arg]
    """Somebody's own."""


def test_lists_of_a_class_of_one_s_own_keep_their_arrays_and_values(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {"run": {"list": Listed([torch.ones(2), 5]), "rows": Rows([3, torch.ones(1)])}})
    loaded = cairn.load(tmp_path / "one")["run"]
    assert loaded["list"][1] == 5 and loaded["list"][0].tolist() == [1.0, 1.0] and loaded["rows"][0] == 3 and loaded["rows"][1].tolist() == [1.0]
    state = {"run": {"list": Listed([torch.zeros(2), 0]), "rows": Rows([0, torch.zeros(1)])}}
    kept = state["run"]["list"]
    cairn.load(tmp_path / "one", into=state)
    assert state["run"]["list"] is kept and kept[0].tolist() == [1.0, 1.0] and kept[1] == 5
    assert type(state["run"]["rows"]) is Rows and state["run"]["rows"][0] == 3 and state["run"]["rows"][1].tolist() == [1.0]


def test_a_complex_number_of_numpy_is_an_array_as_others(tmp_path: Path) -> None:
    state = {"a": {"x": numpy.array(1 + 2j)}}
    cairn.save(tmp_path / "one", state)
    assert cairn.load(tmp_path / "one")["a"]["x"] == 1 + 2j
    state["a"]["x"][()] = 0
    cairn.load(tmp_path / "one", into=state)
    assert state["a"]["x"] == 1 + 2j


@dataclasses.dataclass
class Partly:
    here: int = 0
    there: float = dataclasses.field(init=False)


def test_a_field_that_was_never_set_is_not_there(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {"run": {"a": Partly(3)}})
    state = {"run": {"a": Partly()}}
    cairn.load(tmp_path / "one", into=state)
    assert state["run"]["a"].here == 3 and not hasattr(state["run"]["a"], "there")
    given = Partly(4)
    given.there = 0.5
    cairn.save(tmp_path / "two", {"run": {"a": given}})
    cairn.load(tmp_path / "two", into=state)
    assert state["run"]["a"].here == 4 and state["run"]["a"].there == 0.5, "what is not set as yet is set"


def test_records_of_c_come_back_as_their_fields(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {"run": cairn.Values(begun=time.gmtime(0), size=torch.Size([2]))})
    run = cairn.Values(begun=time.gmtime(9), size=torch.Size([3]))
    cairn.load(tmp_path / "one", into={"run": run})
    assert list(run.begun)[:3] == [1970, 1, 1] and run.size == torch.Size([2])
