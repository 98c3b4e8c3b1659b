"""Looking into checkpoints: nothing is read before it is asked for, and what was taken stays."""

from __future__ import annotations

import collections
import copy
import datetime
import enum
import gc
import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy
import pytest
import torch
from state_help import bits, same
from torch import nn

import cairn

WRITER = """
import sys, torch, cairn
torch.set_num_threads(1)
model = torch.nn.Linear(3, 2)
with cairn.CheckpointManager(sys.argv[1], {"model": model}) as manager:
    step = manager.restore().step
    for line in sys.stdin:  # one more save for each line
        step += 1
        with torch.no_grad():
            model.weight.fill_(step)
        manager.save(step, metrics={"loss": 1 / step}, force=True)
        manager.wait_until_finished()
"""


def grown(folder: Path, steps: int = 3) -> nn.Module:
    """A run with a checkpoint for each step, whose weights are the step."""
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    with cairn.CheckpointManager(folder, {"model": model, "run": cairn.Values(epoch=0)}) as manager:
        for step in range(1, steps + 1):
            with torch.no_grad():
                model[0].weight.fill_(step)
            manager.save(step, metrics={"loss": torch.tensor(1 / step)}, force=True, tags=["first"] if step == 1 else ())
    return model


def test_every_kept_step_is_evaluated_in_four_lines(tmp_path: Path) -> None:
    grown(tmp_path / "run")
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    seen = {}
    for checkpoint in cairn.CheckpointManager(tmp_path / "run"):
        report = checkpoint.load_into(model)
        seen[checkpoint.step] = (model[0].weight.mean().item(), checkpoint.metrics["loss"], len(report.restored))
    assert seen == {step: (float(step), float(torch.tensor(1 / step)), 7) for step in (1, 2, 3)}


def test_what_is_known_of_a_checkpoint(tmp_path: Path) -> None:
    grown(tmp_path / "run")
    with cairn.Checkpoint("run@1", tmp_path) as checkpoint:
        assert (checkpoint.step, checkpoint.metrics, checkpoint.tags) == (1, {"loss": 1.0}, ("first",))
        assert checkpoint.path == tmp_path / "run" / "checkpoint-1"
        assert abs(checkpoint.time - datetime.datetime.now(datetime.timezone.utc)) < datetime.timedelta(minutes=10)
        assert list(checkpoint) == ["model", "run"] and len(checkpoint) == 2
        assert checkpoint["run"]["epoch"] == 0 and len(checkpoint["model"]) == 7
        assert "step 1" in repr(checkpoint) and "7 tensors" in repr(checkpoint["model"]) and "F32, (3, 4)" in repr(checkpoint["model"]["0.weight"])
        assert checkpoint["model"]["0.weight"].info.statistics == pytest.approx((1.0, 12**0.5, 0, 0))
        with pytest.raises(KeyError, match="no item 'optimizer': it holds model, run"):
            checkpoint["optimizer"]
        with pytest.raises(KeyError, match="item model holds no '0.wait'"):
            checkpoint["model"]["0.wait"]
    with pytest.raises(cairn.NotFoundError, match="3"):
        cairn.Checkpoint("run@7", tmp_path)


def test_values_inside_of_others_are_found_by_their_path(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.5)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    cairn.save(tmp_path / "one", {"model": model, "optimizer": optimizer, "run": {"a/b": torch.ones(1), "c": [1, {"d": 2}]}})
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        item = checkpoint["optimizer"]
        assert item["param_groups/0/lr"] == 0.5 and item["param_groups"][0]["lr"] == 0.5
        assert bits(item["state/weight/exp_avg"].read()) == bits(optimizer.state[model.weight]["exp_avg"])
        assert {name for name in item if name.startswith("state/bias")} == {"state/bias/step", "state/bias/exp_avg", "state/bias/exp_avg_sq"}
        assert isinstance(item["state"]["bias"]["exp_avg"], cairn.Array)
        assert checkpoint["run"]["c/1/d"] == 2 and checkpoint["run"]["a~1b"].read().item() == 1.0
        with pytest.raises(KeyError):
            item["param_groups/3"]


def arrays() -> dict[str, Any]:
    numbers = torch.Generator().manual_seed(1)
    return {
        "torch": torch.randn(5, 6, 7, generator=numbers), "half": torch.randn(5, 6, generator=numbers).bfloat16(), "complex": torch.randn(4, 5, dtype=torch.complex128, generator=numbers),
        "numpy": numpy.arange(60.0).reshape(3, 4, 5), "pairs": numpy.arange(12).reshape(3, 4) + 1j, "dates": numpy.arange(9).reshape(3, 3).astype("datetime64[h]"),
        "flags": torch.rand(4, 5, generator=numbers) > 0.5, "line": numpy.arange(9, dtype=numpy.int16),
    }  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> cairn.Checkpoint:
    folder = tmp_path_factory.mktemp("arrays") / "one"
    cairn.save(folder, {"data": arrays() | {"scalar": torch.tensor(2.5), "empty": numpy.zeros((0, 3)), "whole": numpy.array(7)}})
    return cairn.Checkpoint(folder)


@pytest.mark.parametrize("name", arrays())
def test_slices_are_as_numpy_has_them(name: str, opened: cairn.Checkpoint) -> None:
    whole, array = arrays()[name], opened["data"][name]
    rank = len(whole.shape)
    one = [0, -1, slice(None), slice(1, 3), slice(None, None, 2), slice(None, None, -1), slice(-1, 0, -2), slice(3, 1), slice(-2, None)]
    for key in (*one, ..., *itertools.islice(itertools.product(one, repeat=rank), 0, None, 7), (..., 1), (1, ...), (..., slice(None, None, -2)), ()):
        want = numpy.asarray(whole.view(torch.int16) if name == "half" else whole)[key]
        got = array[key]
        assert isinstance(got, torch.Tensor) == isinstance(whole, torch.Tensor)
        got = numpy.asarray(got.view(torch.int16) if name == "half" else got)
        assert want.shape == got.shape and want.dtype == got.dtype and want.tobytes() == got.tobytes(), key


def test_keys_that_name_no_box_are_refused(opened: cairn.Checkpoint) -> None:
    array = opened["data"]["torch"]
    for key in (numpy.array([1, 2]), True, None, "x", 1.5, (0, [1]), (..., 0, ...)):
        with pytest.raises(TypeError, match="an Array takes integers and slices"):
            array[key]
    for key in (5, (0, 0, 0, 0), (0, 6)):
        with pytest.raises(IndexError):
            array[key]
    for key, wanted in ((5, "index 5 is out of range for axis 0 of size 5"), ((0, -7), "index -7 is out of range for axis 1 of size 6"), ((..., 7), "axis 2 of size 7")):
        with pytest.raises(IndexError, match=wanted):
            array[key]


def test_a_slice_reads_its_box_alone(tmp_path: Path) -> None:
    """Damage outside of the box is not met; inside it is, with its file and place."""
    cairn.save(tmp_path / "one", {"model": {"w": numpy.zeros((4, 4 << 20), numpy.uint8)}})
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        info = checkpoint["model"]["w"].info
        file = tmp_path / "one" / info.file
        with open(file, "r+b") as damaged:
            damaged.seek(info.file_offset + (8 << 20) + 5)
            damaged.write(b"\1")
        assert not checkpoint["model"]["w"][1].any() and not checkpoint["model"]["w"][3, ::-2].any()
        with pytest.raises(cairn.CorruptError, match="model.safetensors") as told:
            checkpoint["model"]["w"][2, :3]
        assert told.value.offset is not None and info.file_offset + (8 << 20) <= told.value.offset < info.file_offset + (12 << 20)
        for read in (checkpoint["model"]["w"].read, checkpoint.state):
            with pytest.raises(cairn.CorruptError):
                read()


def test_arrays_of_all_shapes_and_libraries(opened: cairn.Checkpoint) -> None:
    data, whole = opened["data"], arrays()
    assert data["scalar"][()].item() == data["scalar"][...].item() == float(data["scalar"].torch()) == 2.5 and data["whole"][()] == 7
    with pytest.raises(TypeError, match="without dimensions"):
        len(data["scalar"])
    assert data["empty"].read().shape == data["empty"].torch().shape == data["empty"][:, 1:].shape[:1] + (3,) == (0, 3)
    assert len(data["torch"]) == 5 and data["complex"].shape == (4, 5) and data["dates"].numpy().dtype == "datetime64[h]"
    assert bits(data["torch"].torch()) == bits(whole["torch"]) == numpy.asarray(data["torch"]).tobytes()
    assert torch.equal(data["complex"].torch(), whole["complex"]) and (data["pairs"].numpy() == whole["pairs"]).all()
    assert bits(data["half"].torch()) == bits(whole["half"]) and data["half"].numpy().dtype.name == "bfloat16"
    assert [bits(row) for row in data["line"]] == [bits(row) for row in whole["line"]]
    assert torch.equal(torch.from_dlpack(data["torch"]), whole["torch"]) and numpy.from_dlpack(data["torch"]).tobytes() == bits(whole["torch"])
    assert numpy.asarray(data["line"], dtype=numpy.float32).dtype == numpy.float32
    assert not numpy.asarray(data["line"]).flags.writeable and numpy.array(data["line"]).flags.writeable
    with pytest.raises(ValueError, match="is a copy"):
        data["line"].__array__(numpy.float32, copy=False)


def test_an_array_is_read_into_memory_of_ones_own(opened: cairn.Checkpoint) -> None:
    place = torch.zeros(5, 6, 7)
    opened["data"]["torch"].read_into(place)
    assert same(place, arrays()["torch"])
    for wrong in (torch.zeros(5, 6, 8), torch.zeros(5, 6, 7, dtype=torch.float64), torch.zeros(7, 6, 5).permute(2, 1, 0), numpy.broadcast_to(numpy.float32(0), (5, 6, 7))):
        with pytest.raises(ValueError, match="fit into|cannot be read into"):
            opened["data"]["torch"].read_into(wrong)


def test_views_outlive_the_checkpoint_and_its_folder(tmp_path: Path) -> None:
    saved = torch.randn(300, 40)
    cairn.save(tmp_path / "one", {"model": {"w": saved}})
    checkpoint = cairn.Checkpoint(tmp_path / "one")
    views = [checkpoint["model"]["w"].numpy(), checkpoint["model"]["w"].torch(), numpy.asarray(checkpoint["model"]["w"]), torch.from_dlpack(checkpoint["model"]["w"])]
    checkpoint.close()
    for file in sorted((tmp_path / "one").rglob("*"), reverse=True):
        file.unlink() if file.is_file() else file.rmdir()
    del checkpoint
    gc.collect()
    assert all(bits(view) == bits(saved) for view in views)


def test_maps_are_not_checked_and_reads_are(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {"model": {"w": torch.zeros(8, 4)}})
    file = tmp_path / "one/model.safetensors"
    file.chmod(0o644)
    file.write_bytes(file.read_bytes()[:-1] + b"\1")
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        array = checkpoint["model"]["w"]
        assert all(bits(view)[-1] == 1 for view in (array.torch(), array.numpy(), numpy.asarray(array), torch.from_dlpack(array), array.view()))
        for read in (array.read, lambda: array[-1], lambda: array.read_into(torch.empty(8, 4)), checkpoint.state, lambda: cairn.load(file)):
            with pytest.raises(cairn.CorruptError, match="differs from its digest"):
                read()


def test_files_of_other_programs_are_looked_into(tmp_path: Path) -> None:
    save_file = pytest.importorskip("safetensors.torch").save_file
    saved = {"a.weight": torch.randn(3, 4), "b": torch.ones(2, dtype=torch.bfloat16)}
    save_file(saved, tmp_path / "x.safetensors", {"who": "somebody"})
    with cairn.Checkpoint(tmp_path / "x.safetensors") as checkpoint:
        (item,) = checkpoint
        assert same(checkpoint[item]["a.weight"].torch(), saved["a.weight"]) and same(checkpoint[item]["b"][:1], saved["b"][:1])
        assert same(checkpoint.state()[item], saved) and checkpoint.metadata == {"who": "somebody"}
        with pytest.raises(cairn.Error, match="Cairn did not write it, so it has no step"):
            checkpoint.metrics


def test_a_state_is_given_back_without_templates(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(4, 4)).sum().backward()
    optimizer.step()
    cairn.save(tmp_path / "one", {"model": model, "optimizer": optimizer, "run": cairn.Values(epoch=3, seen=[1, 2])})
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        state = checkpoint.state()
    assert same(state["model"], {name: tensor.detach() for name, tensor in model.state_dict().items()})
    assert state["run"] == {"epoch": 3, "seen": [1, 2]}
    other = copy.deepcopy(model)
    other.load_state_dict(state["model"])
    assert bits(state["optimizer"]["state"]["0.weight"]["momentum_buffer"]) == bits(optimizer.state[model[0].weight]["momentum_buffer"])
    assert same(cairn.load(tmp_path / "one"), state)


class Color(enum.Enum):
    RED = 1


class Pair(NamedTuple):
    x: int
    y: Any


def test_what_has_a_class_of_its_own_comes_back_plain_without_a_template(tmp_path: Path) -> None:
    kept = {"od": collections.OrderedDict(a=1), "count": collections.Counter("aab"), "queue": collections.deque([1]), "set": {1, 2}, "dtype": torch.float16, "path": Path("a")}
    saved = {"color": Color.RED, "pair": Pair(1, torch.ones(1)), "lists": collections.defaultdict(list, a=[1])}
    cairn.save(tmp_path / "one", {"v": {**kept, **saved}})
    plain = cairn.load(tmp_path / "one")["v"]
    for name, value in kept.items():
        assert type(plain[name]) is type(value) and plain[name] == value
    assert {name: plain[name] for name in saved} == {"color": "RED", "pair": {"x": 1, "y": torch.ones(1)}, "lists": {"a": [1]}}
    assert type(plain["pair"]) is type(plain["lists"]) is dict
    into = {"v": {**kept, "color": Color.RED, "pair": Pair(0, torch.zeros(1)), "lists": collections.defaultdict(list, a=[0])}}
    cairn.load(tmp_path / "one", into=into)
    assert into["v"]["pair"] == Pair(1, torch.ones(1)) and into["v"]["lists"].default_factory is list


def test_gradients_are_not_saved_unless_they_are_bound(tmp_path: Path) -> None:
    model, other = nn.Linear(2, 1), nn.Linear(2, 1)
    model(torch.ones(1, 2)).sum().backward()
    cairn.save(tmp_path / "plain", {"model": model})
    assert cairn.load(tmp_path / "plain", into={"model": other}).restored and other.weight.grad is None
    cairn.save(tmp_path / "bound", {"model": model, "grads": {name: parameter.grad for name, parameter in model.named_parameters()}})
    for parameter in other.parameters():
        parameter.grad = torch.zeros_like(parameter)
    cairn.load(tmp_path / "bound", into={"model": other, "grads": {name: parameter.grad for name, parameter in other.named_parameters()}})
    assert torch.equal(other.weight.grad, model.weight.grad)


@pytest.mark.parametrize("missing", ["torch", "numpy", "jax", "ml_dtypes"])
def test_a_framework_that_is_not_installed_is_named(missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = {"torch": torch.ones(3), "numpy": numpy.ones(3), "ml_dtypes": torch.ones(3, dtype=torch.bfloat16)}
    array = pytest.importorskip("jax").numpy.ones(3) if missing == "jax" else made[missing]
    cairn.save(tmp_path / "one", {"data": {"x": array}, "run": cairn.Values(epoch=3)})
    monkeypatch.setitem(sys.modules, missing, None)
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        read = checkpoint["data"]["x"].numpy if missing == "ml_dtypes" else checkpoint["data"]["x"].read
        with pytest.raises(ImportError, match=f": pip install {missing}"):
            read()
        if missing != "ml_dtypes":
            with pytest.raises(ImportError, match=f"this array would be one of {missing}, which is not installed: pip install {missing}"):
                checkpoint.state()
        assert checkpoint["run"]["epoch"] == 3, "what needs no framework is there"


def test_new_checkpoints_are_seen_while_another_process_writes(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "run")], stdin=subprocess.PIPE, text=True) as writer:
        assert writer.stdin is not None
        manager = cairn.CheckpointManager(tmp_path / "run")
        assert manager.wait_for_new(timeout=0.05) is None
        model = nn.Linear(3, 2)
        for step in (1, 2, 3):
            print(file=writer.stdin, flush=True)
            checkpoint = manager.wait_for_new(timeout=120)
            assert checkpoint is not None
            with checkpoint:
                assert checkpoint.step == step and checkpoint.metrics == {"loss": 1 / step}
                checkpoint.load_into(model)
                assert model.weight.unique().tolist() == [step]
        assert manager.wait_for_new(timeout=0.05) is None
        writer.stdin.close()
        assert writer.wait(timeout=60) == 0


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    model = grown(tmp_path / "run")
    file = tmp_path / "run" / "checkpoint-2" / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.unlink()  # which other checkpoints may share
    file.write_bytes(data)
    manager = cairn.CheckpointManager(tmp_path / "run")
    good = []
    for checkpoint in manager:
        try:
            checkpoint.load_into(model)
            good.append(checkpoint.step)
        except cairn.Error as error:
            assert "model.safetensors" in str(error) and error.offset is not None
            with pytest.raises(cairn.CorruptError, match=r"checkpoint-2.*model\.safetensors") as told:
                checkpoint.state()
            assert told.value.offset is not None
    assert good == [1, 3]
    (tmp_path / "run" / "checkpoint-1" / "manifest.json").write_text("{")
    assert manager.all_steps() == [2, 3], "what cannot be opened is not iterated over"
    with pytest.raises(cairn.CorruptError, match="manifest.json"):
        cairn.Checkpoint(tmp_path / "run" / "checkpoint-1")


def test_what_is_gone_meanwhile_is_skipped(tmp_path: Path) -> None:
    grown(tmp_path / "run")
    seen = []
    for checkpoint in cairn.CheckpointManager(tmp_path / "run"):
        seen.append(checkpoint.step)
        if checkpoint.step == 1:
            cairn._native.remove("run@2", tmp_path)
    assert seen == [1, 3]


@pytest.mark.parametrize("how", ["damaged", "truncated", "no manifest"])
def test_a_damaged_checkpoint_is_passed_over_aloud_and_later_ones_are_reached(tmp_path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    grown(tmp_path / "run")
    seen = []
    for checkpoint in cairn.CheckpointManager(tmp_path / "run"):
        seen.append(checkpoint.step)
        if checkpoint.step == 1:
            spoil(tmp_path / "run" / "checkpoint-2", how)
    assert seen == [1, 3]
    (line,) = [record.getMessage() for record in caplog.records if record.name == "cairn"]
    assert "checkpoint-2" in line and "passed over" in line


def spoil(folder: Path, how: str) -> None:
    """So that it is not opened."""
    if how == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        file = folder / ("manifest.json" if how == "damaged" else "model.safetensors")
        data = file.read_bytes()
        file.unlink()
        file.write_bytes(data[:-20])


def test_every_class_of_error_can_be_named() -> None:
    classes = {name for name, value in vars(cairn._errors).items() if isinstance(value, type) and issubclass(value, cairn.Error)}
    assert classes <= set(cairn.__all__) and all(getattr(cairn, name) is getattr(cairn._errors, name) for name in classes)
    assert {"TruncatedError", "PathError", "FormatError", "UnsafeError", "OutOfMemory"} <= classes


def test_another_checkpoint_in_its_place_is_never_read_for_it(tmp_path: Path) -> None:
    def make(value: float) -> dict[str, Any]:
        return {"model": torch.nn.Linear(2, 2).requires_grad_(False).apply(lambda module: torch.nn.init.constant_(module.weight, value)), "run": {"epoch": value}}

    cairn.save(tmp_path / "one", make(1.0))
    with cairn.Checkpoint(tmp_path / "one") as checkpoint:
        cairn.save(tmp_path / "one", make(2.0), replace=True)
        into = make(0.0)
        for attempt in (checkpoint.state, lambda: checkpoint.load_into(into["model"]), lambda: checkpoint.load_into(into)):
            with pytest.raises(cairn.GoneError, match="one: another checkpoint stands there by now: open it again"):
                attempt()
        assert (into["model"].weight == 0).all() and into["run"] == {"epoch": 0.0}
        assert (checkpoint["model"]["weight"].read() == 1).all(), "what is open stays readable"
    assert cairn.load(tmp_path / "one")["run"] == {"epoch": 2.0}
