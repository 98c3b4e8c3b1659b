"""What Python writes, read by the reader that knows docs/FORMAT.md alone; and whatever is written has its name there."""

from __future__ import annotations

import enum
import hashlib
import io
import marshal
import math
import random
import re
import sys
import tarfile
import zlib
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_dtypes
import numpy
import pytest
import torch
from state_help import same
from test_state import Hooked, Scaled
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cairn
from cairn import _capture, _environment, _items, _native

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests/golden"))
import reader  # noqa: E402
from reader import Array, Tagged  # noqa: E402

SECTION = re.findall(r"^## What Python writes\n.*?(?=^## )", (ROOT / "docs/FORMAT.md").read_text(), re.DOTALL | re.MULTILINE)[0]


class Colour(enum.Enum):
    RED = 1


class Parts(enum.Flag):
    HEAD = 1
    TAIL = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Rate:
    array: Any
    rate: float


class Listed(list):  # type: ignore[type-arg]
    pass


def ones(*shape: int) -> torch.Tensor:
    return torch.ones(shape)


def stored(form: str, array: numpy.ndarray[Any, Any], dtype: str = "F32") -> Array:
    return Array(form, dtype, list(array.shape), array.tobytes())


ONE, TWO = stored("torch", numpy.ones(1, "f4")), stored("torch", numpy.ones(2, "f4"))

# What is saved, and what the reader makes of it.
TAKEN_APART = {
    "list": ([ones(1), "s", {"k": ones(2)}], [ONE, "s", {"k": TWO}]),
    "long": ([*range(11), ones(1)], [*range(11), ONE]),
    "tuple": ((1, (ones(1), 2)), (1, (ONE, 2))),
    "deque": (deque([ones(1), 5], maxlen=4), Tagged("deque", [[ONE, 5], 4])),
    "endless": (deque([ones(1)]), Tagged("deque", [[ONE], None])),
    "ordered": (OrderedDict(z=1, a=ones(1)), Tagged("OrderedDict", {"z": 1, "a": ONE})),
    "default": (defaultdict(int, a=ones(1)), Tagged("defaultdict", {"a": ONE})),
    "keys": (
        {1: ones(1), "a/b~": ones(2), (1, "x"): 3, None: 4, b"q": 5, 1.5: 6, False: 7},
        {1: ONE, "a/b~": TWO, (1, "x"): 3, None: 4, b"q": 5, 1.5: 6, False: 7},
    ),
    "dict": ({"z": 1, "a": ones(1)}, {"z": 1, "a": ONE}),
    "pair": (Pair(ones(1), 2), Tagged("test_format.Pair", {"left": ONE, "right": 2})),
    "dataclass": (Rate(ones(1), 0.5), Tagged("test_format.Rate", {"array": ONE, "rate": 0.5})),
    "own list": (Listed([ones(1), 2]), Tagged("test_format.Listed", [ONE, 2])),
    "a/b": (ones(1), ONE),
    "~": ({"~1": ones(1)}, {"~1": ONE}),
}
ARRAYS = {
    "numpy": (numpy.arange(3), stored("numpy", numpy.arange(3), "I64")),
    "bfloat16": (numpy.ones(2, ml_dtypes.bfloat16), Array("numpy", "BF16", [2], b"\x80\x3f" * 2)),
    "jax": (jax.numpy.ones(2), stored("jax", numpy.ones(2, "f4"))),
    "weak": (jax.numpy.asarray(1.0), stored("jax.weak", numpy.ones((), "f4"))),
    "key": (jax.random.key(7), stored("jax.key<threefry2x32>", numpy.array([0, 7], "u4"), "U32")),
    "many keys": (jax.random.wrap_key_data(numpy.ones((3, 2), "u4")), stored("jax.key<threefry2x32>", numpy.ones((3, 2), "u4"), "U32")),
    "complex": (numpy.full(2, 1 - 2j), stored("numpy.complex128", numpy.array([[1.0, -2.0]] * 2), "F64")),
    "torch complex": (torch.full((2,), 1 - 2j, dtype=torch.complex128), stored("torch.complex128", numpy.array([[1.0, -2.0]] * 2), "F64")),
    "date": (numpy.array(["1970-01-03"], "M8[D]"), stored("numpy.datetime64[D]", numpy.array([2]), "I64")),
    "span": (numpy.array([-1], "m8[ms]"), stored("numpy.timedelta64[ms]", numpy.array([-1]), "I64")),
}
VALUES = {
    "none": (None, None), "true": (True, True), "int": (2**70, 2**70), "float": (-0.0, -0.0), "inf": (math.inf, math.inf), "text": ("ä\n", "ä\n"), "bytes": (b"\0", b"\0"),
    "tuple": ((1, (2, [3])), (1, (2, [3]))), "empty": ({}, {}), "nothing": ([], []), "dict": ({"a": 1}, {"a": 1}),
    "keys": ({1: "a", None: "b", (1, "x"): "c", b"k": "d", "$": "e"}, {1: "a", None: "b", (1, "x"): "c", b"k": "d", "$": "e"}),
    "ordered": (OrderedDict(z=1, a=2), Tagged("OrderedDict", {"z": 1, "a": 2})), "counter": (Counter("aab"), Tagged("Counter", {"a": 2, "b": 1})),
    "default": (defaultdict(int, a=1), Tagged("defaultdict", {"a": 1})), "deque": (deque([1, 2], maxlen=3), Tagged("deque", [[1, 2], 3])),
    "set": ({3}, Tagged("set", [3])), "frozenset": (frozenset("a"), Tagged("frozenset", ["a"])), "complex": (1 - 2j, Tagged("complex", [1.0, -2.0])),
    "range": (range(1, 9, 2), Tagged("range", [1, 9, 2])), "slice": (slice(1, None), Tagged("slice", [1, None, None])),
    "path": (Path("a/b"), Tagged("Path", "a/b")), "file": (io.BytesIO(b"x"), Tagged("BytesIO", b"x")),
    "float32": (numpy.float32(0.5), Tagged("numpy.float32", 0.5)), "int64": (numpy.int64(7), Tagged("numpy.int64", 7)), "bool": (numpy.bool_(True), Tagged("numpy.bool", True)),
    "date": (numpy.datetime64(2, "ns"), Tagged("numpy.datetime64[ns]", 2)), "span": (numpy.timedelta64(3, "h"), Tagged("numpy.timedelta64[h]", 3)),
    "numpy dtype": (numpy.dtype("f4"), Tagged("numpy.dtype", "<f4")), "torch dtype": (torch.bfloat16, Tagged("torch.dtype", "bfloat16")),
    "device": (torch.device("cuda", 0), Tagged("torch.device", "cuda:0")), "size": (torch.Size([2, 3]), Tagged("torch.Size", [2, 3])),
    "enum": (Colour.RED, Tagged("test_format.Colour", "RED")), "flag": (Parts.HEAD | Parts.TAIL, Tagged("test_format.Parts", 3)),
    "pair": (Pair(1, [2]), Tagged("test_format.Pair", {"left": 1, "right": [2]})), "dataclass": (Rate(1, 0.5), Tagged("test_format.Rate", {"array": 1, "rate": 0.5})),
    "own list": (Listed([1]), Tagged("test_format.Listed", [1])),
}  # fmt: skip


def trees() -> dict[str, tuple[Any, Any]]:
    """Items: what is saved, and what the reader makes of it."""
    rows = {"apart": TAKEN_APART, "arrays": ARRAYS, "values": VALUES}
    given = {name: ({key: one for key, (one, _) in row.items()}, {key: other for key, (_, other) in row.items()}) for name, row in rows.items()}
    return given | {
        "model": ({"a": {"w": ones(1), "n": 1, "s/l": ones(2)}, "top": 2, "list": [ones(1), 3]}, {"a": {"w": ONE, "n": 1, "s/l": TWO}, "top": 2, "list": [ONE, 3]}),
        "array": (numpy.arange(2), stored("numpy", numpy.arange(2), "I64")),
        "tuple": ((1, ones(1)), (1, ONE)),
        "numbers": ({1: ones(1), 2: 5}, {1: ONE, 2: 5}),
        "pure": ({1: 2}, {1: 2}),
        "ordered": (OrderedDict(a=1, b=ones(1)), Tagged("OrderedDict", {"a": 1, "b": ONE})),
        "dataclass": (Rate(ones(1), 1.0), Tagged("test_format.Rate", {"array": ONE, "rate": 1.0})),
        "empty": ({}, {}),
        "run": (cairn.Values(epoch=1, best=numpy.arange(2)), {"epoch": 1, "best": stored("numpy", numpy.arange(2), "I64")}),
    }


# Maps whose order is none that arrays would have first: of an item itself, and of one that has an order without a word of it.
ORDERED = {
    "dict": ({"z": 1, "a": ones(1), "b": {"y": 2, "x": ones(1)}}, {"z": 1, "a": ONE, "b": {"y": 2, "x": ONE}}),
    "model": ({"z": 1, "b": {"y": 2, "x": ones(1)}, "a": ones(1)}, {"z": 1, "b": {"y": 2, "x": ONE}, "a": ONE}),
    "first": ({"z": ones(1), "a": 1, "b": {}}, {"z": ONE, "a": 1, "b": {}}),
    "ordered": (OrderedDict(b=1, a=ones(1)), Tagged("OrderedDict", {"b": 1, "a": ONE})),
    "ordered_first": (OrderedDict(b=ones(1), a=1), Tagged("OrderedDict", {"b": ONE, "a": 1})),
}


def read(folder: Path) -> dict[str, Any]:
    """Whatever is in a checkpoint, every digest verified; `python` as plain values."""
    content: dict[str, Any] = reader.read_checkpoint(folder, "")
    return content


def test_the_reader_that_knows_the_document_reads_trees(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {name: given for name, (given, _) in trees().items()})
    told = reader.read_python(tmp_path / "one", read(tmp_path / "one"))
    for name, (_, expected) in trees().items():
        if name in ("apart", "arrays", "values"):
            wrong = [key for key in expected if repr(told[name][key]) != repr(expected[key])]  # which tells -0.0 from 0.0, and one order from another
            assert not wrong, name
        assert told[name] == expected, name


def test_the_reader_that_knows_the_document_reads_maps_in_their_order(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {name: given for name, (given, _) in ORDERED.items()})
    content = read(tmp_path / "one")
    told = reader.read_python(tmp_path / "one", content)
    assert {name: repr(tree) for name, tree in told.items()} == {name: repr(expected) for name, (_, expected) in ORDERED.items()}
    said = content["items"]["python"]["items"]
    assert said["dict"] == {"kinds": {"": {"kind": "dict", "keys": ["z", "a", "b"]}, "b": {"kind": "dict", "keys": ["y", "x"]}}}
    assert said["first"] == {} and said["ordered_first"] == {"kinds": {"": "OrderedDict"}}


# -------------------------------------------------------------------------------------------- modules, optimizers, numbers, places


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(2, 3, bias=False), nn.Linear(2, 3, bias=False)
        self.head.weight = self.inner.weight
        self.register_buffer("count", torch.zeros(2))
        self.head.requires_grad_(True)
        self.fixed = nn.Parameter(torch.ones(1), requires_grad=False)


def training() -> dict[str, Any]:
    """All kinds of items that have a form of their own."""
    random.seed(1), numpy.random.seed(1), torch.manual_seed(1)
    model, critic = Tied(), nn.Sequential(Scaled(2.0), Hooked())
    optimizer, other = torch.optim.AdamW([model.inner.weight]), torch.optim.SGD(critic[0].parameters(), lr=torch.tensor(0.1), momentum=0.9)
    closed = torch.optim.LBFGS(critic[0].parameters(), lr=0.1, max_iter=2)
    model.head(model.inner(torch.ones(2))[:2]).sum().backward()
    critic[0](torch.ones(3)).sum().backward()
    optimizer.step(), other.step()

    def again() -> Any:
        closed.zero_grad()
        loss = (critic[0](torch.ones(3)) ** 2).sum()
        loss.backward()
        return loss

    closed.step(again)
    data = cairn.data(DataLoader(TensorDataset(torch.arange(10.0)), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(3)))
    batches = iter(data)
    next(batches), next(batches)
    keys = {"typed": jax.random.key(5), "raw": jax.random.PRNGKey(6)}
    rng = cairn.RNG(torch.Generator(), bits=numpy.random.default_rng(2), keys=keys, own=random.Random(3), legacy=numpy.random.RandomState(4))
    return {
        "model": model, "critic": critic, "optimizer": optimizer, "other": other, "closed": closed,
        "scheduler": torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0), "data": data, "rng": rng, "plain": DataLoader([1, 2]), "batches": batches,
    }  # fmt: skip


def written(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """A checkpoint of a training of three ranks: the state, and what the reader finds."""
    state = training()
    batches = state.pop("batches")  # kept until here: an iteration that is given up is at its end
    items = _items.items_of(state)
    others = {"1": _items.own_trees(items), "2": _items.own_trees(_items.items_of({"rng": cairn.RNG()}))}
    facts = {"environment": _environment.environment(), "arguments": _environment.arguments(["train.py", "--lr", "1", "--api-key=x"]), "config": {"rate": 0.5}}
    _native.save_folder(folder, _capture.Capturer().capture(items, facts, others=others)[0])
    assert batches is not None
    return state, read(folder)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], dict[str, Any], Path]:
    folder = tmp_path_factory.mktemp("format") / "one"
    return *written(folder), folder


def flags_of(content: dict[str, Any], item: str) -> dict[str, list[str]]:
    return {row["name"]: row["flags"] for row in content["tensors"] if row["item"] == item}


def test_a_module_is_as_the_document_says(checkpoint: Any) -> None:
    state, content, folder = checkpoint
    model, said = content["items"]["model"], content["items"]["python"]["items"]
    assert flags_of(content, "model") == {"count": ["volatile"], "inner.weight": ["trainable"], "fixed": ["frozen"]}
    assert model["head.weight"] == model["inner.weight"] == Tagged("$tensor", "inner.weight")
    assert said["model"] == {"kinds": {"": "module"}}
    assert flags_of(content, "critic") == {"0.bias": ["trainable"], "0.weight": ["trainable"], "1.bias": ["trainable"], "1.turned": ["volatile"]}
    history = Tagged("array", ["torch", "F32", [4], b"\0\0\0\x40" * 4])
    assert content["items"]["critic"]["0._extra_state"] == {"history": history, "scale": 2.0, "more": (None, [b"\0\1"])}
    assert said["critic"]["facts"] == {"versions": {"1": {"version": 1, "turned": 7}}}


def test_what_a_lazy_save_copies_at_once_is_volatile(tmp_path: Path) -> None:
    model = nn.Linear(256, 256)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "average": {"w": ones(1), "large": ones(1 << 14)}}, mode="lazy", stop_signals=()) as manager:
        for step in 1, 2, 3:
            model(torch.ones(256)).sum().backward()
            optimizer.step()
            manager.save(step, force=True)
    content = reader.read_checkpoint(tmp_path / "run" / "checkpoint-3", reader.sealed(tmp_path / "run" / "run.json", "run")["id"])
    assert flags_of(content, "model") == {"weight": ["trainable"], "bias": ["trainable"]}
    assert flags_of(content, "average") == {"w": [], "large": ["volatile"]}


def test_optimizers_are_as_the_document_says(checkpoint: Any) -> None:
    state, content, folder = checkpoint
    items = reader.read_python(folder, content)
    by_name = items["optimizer"]
    assert list(by_name["state"]) == ["inner.weight"] and by_name["param_groups"][0]["params"] == ["inner.weight"]
    assert by_name["state"]["inner.weight"]["exp_avg"].data == state["optimizer"].state_dict()["state"][0]["exp_avg"].numpy().tobytes()
    assert set(map(tuple, flags_of(content, "optimizer").values())) == {("optimizer",)}
    other = items["other"]
    assert list(other["state"]) == ["critic.0.weight", "critic.0.bias"] and other["param_groups"][0]["lr"].dtype == "F32"
    closed = items["closed"]
    layout = "critic.0.weight (3, 3)\ncritic.0.bias (3,)"
    assert list(closed["state"]) == [0] and closed["param_groups"][0]["params"] == [0, 1] and closed["layout"] == hashlib.sha256(layout.encode()).hexdigest()
    said = content["items"]["python"]["items"]
    assert {name: said[name]["facts"] for name in ("optimizer", "other", "closed", "scheduler")} == {
        "optimizer": {"class": "AdamW"}, "other": {"class": "SGD"}, "closed": {"class": "LBFGS"}, "scheduler": {"class": "LambdaLR"},
    }  # fmt: skip
    assert isinstance(closed["state"][0]["old_dirs"], list) and "lr_lambdas" in items["scheduler"]


def test_random_numbers_are_as_the_document_says(checkpoint: Any) -> None:
    state, content, folder = checkpoint
    rng = content["items"]["rng"]
    assert list(rng) == ["version", "process", "generators"] and list(rng["process"]) == ["python", "numpy", "torch"]
    assert list(rng["generators"]) == ["0", "bits", "keys", "own", "legacy"]
    words = random.Random(3).getstate()[1]
    own = rng["generators"]["own"]
    assert own == {"kind": "random.Random", "version": 3, "words": b"".join(word.to_bytes(4, "little") for word in words[:-1]), "position": words[-1], "gauss": None}
    legacy = numpy.random.RandomState(4).get_state(legacy=False)
    assert rng["generators"]["legacy"]["state"]["state"] == {"key": legacy["state"]["key"].astype("<u4").tobytes(), "pos": legacy["state"]["pos"]}
    assert rng["generators"]["bits"]["state"] == numpy.random.default_rng(2).bit_generator.state and rng["generators"]["bits"]["seeds"]["entropy"] == 2
    assert rng["generators"]["0"] == {"kind": "torch.Generator", "device": "cpu", "state": bytes(torch.Generator().get_state().tolist())}
    assert rng["generators"]["keys"]["keys"]["typed"] == {"impl": "threefry2x32", "shape": [], "data": b"\0\0\0\0\5\0\0\0"}
    assert rng["generators"]["keys"]["keys"]["raw"] == {"impl": None, "shape": [2], "data": b"\0\0\0\0\6\0\0\0"}


def test_a_place_in_the_data_is_as_the_document_says(checkpoint: Any) -> None:
    state, content, folder = checkpoint
    data = content["items"]["data"]
    assert (data["epoch"], data["batches"], data["running"], data["stateful"], data["position"]) == (0, 2, True, False, None)
    assert data["loader"] == {"length": 5, "batch_size": 2, "workers": 0}
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(data["start"]["generators"]["generator"]["state"]), dtype=torch.uint8))
    torch.empty((), dtype=torch.int64).random_(generator=generator)  # the seed of workers, which a loader draws first
    order = torch.randperm(10, generator=generator).tolist()
    assert data["digest"] == zlib.crc32(marshal.dumps(order[:2], 2) + marshal.dumps(order[2:4], 2))
    assert list(data["start"]["process"]) == ["python", "numpy", "torch"] and data["generators"]["process"] == {}


def test_ranks_are_as_the_document_says(checkpoint: Any) -> None:
    state, content, folder = checkpoint
    ranks = reader.read_python(folder, content)["ranks"]
    assert {rank: list(items) for rank, items in ranks.items()} == {"1": ["data", "rng"], "2": ["rng"]}
    assert ranks["1"]["data"]["batches"] == 2


def test_a_frozen_base_has_the_digest_that_the_document_says(tmp_path: Path) -> None:
    peft, transformers = pytest.importorskip("peft"), pytest.importorskip("transformers")
    base = transformers.GPT2LMHeadModel(transformers.GPT2Config(vocab_size=8, n_positions=4, n_embd=4, n_layer=1, n_head=2))
    model = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=["c_attn"], fan_in_fan_out=True))
    cairn.save(tmp_path / "one", {"model": model})
    content = read(tmp_path / "one")
    frozen = {name: tensor for name, tensor in model.named_parameters() if not tensor.requires_grad}
    lines = [
        f"{name} F32 {tuple(tensor.shape)} {hashlib.blake2b(tensor.detach().numpy().tobytes(), digest_size=32).hexdigest()}" for name, tensor in sorted(frozen.items())
    ]
    digest = hashlib.blake2b("\n".join(lines).encode(), digest_size=32).hexdigest()
    assert content["items"]["python"]["items"]["model"]["facts"]["base"] == {"name": None, "digest": digest}
    assert (tmp_path / "one/adapter_model.safetensors").exists()
    cairn.save(tmp_path / "both", {"model": model, "base": model.get_base_model()})
    assert read(tmp_path / "both")["items"]["python"]["items"]["model"]["facts"]["base"]["digest"] is None


# ------------------------------------------------------------------------------------------------------------- what version 0.1.0 wrote


@pytest.fixture(scope="module")
def golden(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint by make_python.py of tests/golden."""
    folder = tmp_path_factory.mktemp("golden")
    with tarfile.open(ROOT / "tests/golden/python-0.1.0.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / "golden" / "checkpoint-1"


def python_in(folder: Path) -> dict[str, Any]:
    content = reader.read_checkpoint(folder, reader.sealed(folder / "manifest.json", "checkpoint")["run"])
    items: dict[str, Any] = reader.read_python(folder, content)
    return items


def comparable(value: Any) -> Any:
    """What makes a default is code, and does not come back; a file in memory is its bytes."""
    return dict(value) if isinstance(value, defaultdict) else value.getvalue() if isinstance(value, io.BytesIO) else value


def test_what_an_earlier_version_wrote_is_read(golden: Path) -> None:
    told, state = python_in(golden), cairn.Checkpoint(golden).state()
    for name, (_, expected) in trees().items():
        assert name == "model" or told[name] == expected, name
    for rows, read in (VALUES, state["values"]), (ARRAYS, state["arrays"]):
        for key, (value, expected) in rows.items():
            if not isinstance(expected, Tagged) or not expected.type.startswith("test_format."):
                assert same(*map(comparable, (read[key], value))), key


def test_what_an_earlier_version_wrote_is_restored(golden: Path, tmp_path: Path) -> None:
    state = training()
    next(state.pop("batches"))
    random.seed(9), numpy.random.seed(9), torch.manual_seed(9)
    for module in (state["model"], state["critic"]):
        for tensor in module.state_dict().values():
            tensor.zero_() if isinstance(tensor, torch.Tensor) else None
    state["optimizer"].state.clear()
    cairn.load(golden, into=state)
    cairn.save(tmp_path / "again", state)
    told, again = python_in(golden), python_in(tmp_path / "again")
    for name in state:
        assert again[name] == told[name], name


# --------------------------------------------------------------------------------------------------------- nothing without its name


def tags_in(node: Any) -> Iterator[str]:
    if isinstance(node, Tagged):
        yield from () if node.type.startswith("$") else (node.type,)
        yield from tags_in(node.value)
    elif isinstance(node, dict):
        for child in node.values():
            yield from tags_in(child)
    elif isinstance(node, list | tuple):
        for child in node:
            yield from tags_in(child)


def names_of_numbers(rng: dict[str, Any]) -> Iterator[str]:
    yield from rng
    yield from rng["process"]
    for state in (*rng["process"].values(), *rng["generators"].values()):
        yield from (*state, state["kind"], *(state.get("seeds") or ()))
        for key in state.get("keys", {}).values():
            yield from key


def names_of_entries(said: dict[str, Any]) -> Iterator[str]:
    for entry in said.values():
        yield from entry
        yield from entry.get("forms", {}).values()
        yield from entry.get("facts", {})
        yield from entry.get("facts", {}).get("base") or ()
        for kind in entry.get("kinds", {}).values():
            yield from (kind,) if isinstance(kind, str) else (*kind, kind["kind"])


def names_written(content: dict[str, Any]) -> set[str]:
    """Members of Python's own in what the reader found, and the words that tell kinds, forms and types."""
    items, python = content["items"], content["items"]["python"]
    names = {*python, *python["environment"], *names_of_entries(python["items"]), *tags_in(items)}
    for item in ("data", "rng", "optimizer", "closed"):
        names |= {*items.get(item, ())}
    if "rng" in items:
        names |= {*items["data"]["loader"], *names_of_numbers(items["rng"]), *names_of_numbers(items["data"]["start"])}
    return {re.sub(r"[<\[].*", "", name) for name in names if not name.startswith("test_format.")} - {""}


def unnamed(names: set[str]) -> list[str]:
    """Those that the document does not have, as code or in a piece of JSON."""
    return sorted(name for name in names if not re.search(rf'[`"]{re.escape(name)}[`"<\[]', SECTION))


def test_whatever_is_written_is_named_in_the_document(checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in _environment.VARIABLES:
        monkeypatch.setenv(variable, "1")
    cairn.save(tmp_path / "one", {name: given for name, (given, _) in trees().items()})
    names = names_written(checkpoint[1]) | names_written(read(tmp_path / "one")) | set(_environment._PACKAGES)
    assert len(names) > 100 and not unnamed(names)


def test_a_member_without_its_name_would_be_found(checkpoint: Any) -> None:
    content = {**checkpoint[1], "items": {**checkpoint[1]["items"], "data": {**checkpoint[1]["items"]["data"], "shard": 1}}}
    assert unnamed(names_written(content)) == ["shard"]
