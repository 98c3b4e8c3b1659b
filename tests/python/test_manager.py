"""CheckpointManager from end to end: what it saves, keeps, brings back, refuses and says. Arrays of numpy stand for a model, for the manager does not care."""

from __future__ import annotations

import contextlib
import copy
import errno
import logging
import multiprocessing
import os
import pickle
import random
import resource
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cairn
from cairn import _native

Caplog = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """A test that fails leaves no handlers of signals to the next one."""
    yield
    for mngr in list(cairn._manager._open_managers):
        with contextlib.suppress(cairn.Error):
            mngr.close()


def state_of(value: float = 0.0, count: int = 8) -> dict[str, Any]:
    return {"model": {"w": np.full(count, value, np.float32)}, "run": cairn.Values(epoch=0)}


def make(path: Path, *steps: int, **options: Any) -> None:
    """A closed run that holds these steps; the weights of a checkpoint are its step."""
    state = state_of()
    with cairn.CheckpointManager(path, state, **options) as mngr:
        for step in steps:
            state["model"]["w"][:] = step
            assert mngr.save(step, force=True)


@contextlib.contextmanager
def no_file_larger_than(size: int) -> Iterator[None]:
    """Saves fail for real: the system refuses to write on, also for root."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def try_to_save(mngr: cairn.CheckpointManager, step: int) -> bool:
    """A save that fails, in the call itself where that was slow, else behind: False, True."""
    with no_file_larger_than(100):
        try:
            is_behind = mngr.save(step, force=True)
        except cairn.StorageError:
            return False
        assert mngr._run is not None
        while mngr._run.status().phase != "failed":
            time.sleep(0.002)
    return is_behind


def fail_behind(mngr: cairn.CheckpointManager, step: int) -> None:
    """A save that failed, and nobody was told."""
    assert any(try_to_save(mngr, step) for _ in range(100))


def damage(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 0xFF
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").write_bytes(data)


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})


# ----------------------------------------------------------------------------------------------------------------- restoring


def test_a_new_run_is_fresh_at_step_0_and_untouched(tmp_path: Path) -> None:
    state = state_of(3)
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        restored = mngr.restore()
        assert (restored.step, restored.fresh, restored.path) == (0, True, None)
        assert restored.state == state and (state["model"]["w"] == 3).all()
        assert mngr.latest_step() is None and mngr.best_step() is None and mngr.all_steps() == []


def test_a_restore_fills_in_place_and_tells_what_it_did(tmp_path: Path) -> None:
    make(tmp_path / "run", 5)
    state = state_of()
    weights = state["model"]["w"]
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        restored = mngr.restore()
        assert (restored.step, restored.fresh, restored.path) == (5, False, tmp_path / "run/checkpoint-5")
        assert state["model"]["w"] is weights and (weights == 5).all()
        assert sorted(restored.report.restored) == ["model/w", "run/epoch"] and not restored.report.missing


def test_a_bare_step_is_refused_with_the_right_call(tmp_path: Path) -> None:
    make(tmp_path / "run", 7)
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        with pytest.raises(TypeError, match=r"restore\(step=7\)"):
            mngr.restore(7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="dict of names"):
            mngr.restore("model")  # type: ignore[arg-type]


def test_a_step_is_restored_by_name_and_the_run_goes_back_to_it(tmp_path: Path) -> None:
    make(tmp_path / "run", 2, 4, 6)
    state = state_of()
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        with pytest.raises(cairn.NotFoundError, match="3"):
            mngr.restore(step=3)
        assert mngr.restore(step=4).step == 4 and (state["model"]["w"] == 4).all()
        assert mngr.save(5, force=True)
        mngr.wait_until_finished()
        assert mngr.all_steps() == [2, 4, 5]


def test_only_the_items_asked_for_are_filled(tmp_path: Path) -> None:
    make(tmp_path / "run", 5)
    state = state_of()
    state["run"].epoch = 9
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        mngr.restore(items=["model"])
        assert (state["model"]["w"] == 5).all() and state["run"].epoch == 9
        state["model"]["w"][:] = 0
        mngr.restore(items="run")
        assert (state["model"]["w"] == 0).all() and state["run"].epoch == 0
        with pytest.raises(cairn.UsageError, match=r"no optimiser"):
            mngr.restore(items=["model", "optimiser"])


def test_templates_given_to_restore_come_back_in_its_state(tmp_path: Path) -> None:
    make(tmp_path / "run", 5)
    with cairn.CheckpointManager(tmp_path / "run") as mngr:
        with pytest.raises(cairn.UsageError, match="nothing to fill"):
            mngr.restore()
        restored = mngr.restore({"model": {"w": np.zeros(8, np.float32)}})
        assert (restored.state["model"]["w"] == 5).all()
        assert restored.report.unexpected == ["run/epoch"]
        assert mngr.save(6, {"model": restored.state["model"]}, force=True)


def test_what_is_missing_is_named_and_must_be_allowed(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(3, 2)
    make(tmp_path / "run", 5)
    state = state_of() | {"net": model, "optimizer": torch.optim.SGD(model.parameters(), lr=0.1)}
    before = model.weight.clone()
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        with pytest.raises(cairn.MismatchError, match="net/|optimizer/"):
            mngr.restore()
        assert (state["model"]["w"] == 0).all(), "nothing was touched"
        restored = mngr.restore(allow_missing=True)
        assert restored.step == 5 and (model.weight == before).all()
        assert {"net/weight", "net/bias"} <= set(restored.report.missing)
        assert any(name.startswith("optimizer") for name in restored.report.missing)


def test_a_loader_without_a_position_is_reported_as_inexact(tmp_path: Path, caplog: Caplog) -> None:
    data = pytest.importorskip("torch.utils.data")
    make(tmp_path / "run", 5)
    loader = data.DataLoader([1, 2, 3])
    with cairn.CheckpointManager(tmp_path / "run", state_of() | {"data": loader}) as mngr:
        restored = mngr.restore()
        assert any("data:" in note and "cairn.data(loader)" in note for note in restored.report.notes)
        mngr.save(6, force=True)
    assert sum("cairn.data(loader)" in record.message for record in caplog.records) == 2


def test_a_damaged_checkpoint_is_passed_over_aloud_and_only_damaged_ones_are_an_error(tmp_path: Path, caplog: Caplog) -> None:
    make(tmp_path / "run", 2, 4)
    damage(tmp_path / "run/checkpoint-4")
    state = state_of()
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        restored = mngr.restore()
        assert restored.step == 2 and restored.report.skipped_damaged == 1 and (state["model"]["w"] == 2).all()
        assert any("checkpoint-4" in record.message and record.name == "cairn" for record in caplog.records)
        with pytest.raises(cairn.CorruptError, match=r"checkpoint-4: .* \(bytes 4096-4127 of model\.safetensors\)") as told:
            mngr.restore(step=4)
        assert told.value.offset == 4096, "one that was asked for by its step has no other in its place"
    damage(tmp_path / "run/checkpoint-2")
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr, pytest.raises(cairn.CorruptError, match="model.safetensors") as told:
        mngr.restore()
    assert told.value.offset == 4096


def test_damage_that_is_met_half_way_is_a_corrupt_error_too(tmp_path: Path) -> None:
    state = {"model": {"w": np.ones(1 << 22, np.float32)}}
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        mngr.save(1, force=True)
    damage(tmp_path / "run/checkpoint-1")
    with cairn.CheckpointManager(tmp_path / "run", state, io_threads=1) as mngr:
        with pytest.raises(cairn.CorruptError, match=r"a mixture now.*checkpoint-1: .*model\.safetensors") as told:
            mngr.restore(step=1)
        assert type(told.value) is cairn.TornCorruptError and told.value.code == "TORN_STATE" and told.value.offset
        with pytest.raises(cairn.TornStateError) as again:
            mngr.save(2, force=True)
        assert not isinstance(again.value, cairn.CorruptError), "the refused save met no damage"


def test_one_of_which_an_item_was_dropped_is_passed_over(tmp_path: Path, caplog: Caplog) -> None:
    state = {"model": {"w": np.zeros(8, np.float32)}, "average": {"w": np.zeros(8, np.float32)}}
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        for step in (20, 30, 40):
            state["model"]["w"][:] = state["average"]["w"][:] = step
            mngr.save(step, force=True)
    _native.drop_item(f"{tmp_path}/run/checkpoint-30", "average")
    damage(tmp_path / "run/checkpoint-40")
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        restored = mngr.restore()
        assert restored.step == 20 and (state["model"]["w"] == 20).all() and (state["average"]["w"] == 20).all()
        assert any("checkpoint-30 is passed over, for something was dropped of it" in record.message for record in caplog.records)
        with pytest.raises(cairn.MismatchError, match="average/w is not in the checkpoint"):
            mngr.restore(step=30)
        (tmp_path / "run/checkpoint-20/model.safetensors").unlink()
        with pytest.raises((cairn.CorruptError, cairn.TornStateError), match="checkpoint-20: model.safetensors: it is missing"):
            mngr.restore()  # what the last one failed with


def test_one_whose_optimizer_was_dropped_is_passed_over(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as mngr:
        for step in (1, 2, 3):
            model(torch.ones(2)).sum().backward()
            optimizer.step()
            mngr.save(step, force=True)
    _native.drop_item(f"{tmp_path}/run/checkpoint-2", "optimizer")
    damage(tmp_path / "run/checkpoint-3")
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as mngr:
        assert mngr.restore().step == 1
        assert mngr.restore(step=2, items=["model"]).step == 2
        assert list(mngr.checkpoint(2).state()) == ["model"]


def test_an_older_one_that_does_not_fit_makes_nothing_good(tmp_path: Path) -> None:
    """What a damaged checkpoint had begun to overwrite is a mixture, whatever the others hold."""
    weights = {"a": np.zeros(1 << 22, np.float32)}
    with cairn.CheckpointManager(tmp_path / "run", {"model": weights}, io_threads=1) as mngr:
        mngr.save(1, force=True)
        weights["b"] = np.zeros(8, np.float32)
        mngr.save(2, force=True)
    damage(tmp_path / "run/checkpoint-2")
    with cairn.CheckpointManager(tmp_path / "run", {"model": weights}, io_threads=1) as mngr:
        with pytest.raises(cairn.TornStateError, match="a mixture now.*checkpoint-1: model/b is not in the checkpoint") as told:
            mngr.restore()
        assert isinstance(told.value, cairn.TornCorruptError), "that is what made it one"
        assert isinstance(told.value.__cause__, cairn.MismatchError) and told.value.__cause__.differences == ["model/b is not in the checkpoint"]
        with pytest.raises(cairn.TornStateError):
            mngr.save(3, force=True)


def test_random_numbers_that_do_not_fit_are_told_before_anything_is_touched(tmp_path: Path) -> None:
    weights = np.ones(8, np.float32)
    with cairn.CheckpointManager(tmp_path / "run", {"model": {"w": weights}, "rng": cairn.RNG()}) as mngr:
        mngr.save(1, force=True)
    weights[:] = 5
    with cairn.CheckpointManager(tmp_path / "run", {"model": {"w": weights}, "rng": cairn.RNG(x=np.random.default_rng(1))}) as mngr:
        with pytest.raises(cairn.MismatchError, match="RNG: generator x: is here, was not when the state was saved"):
            mngr.restore()
        assert (weights == 5).all()
        assert mngr.restore(items=["model"]).step == 1 and mngr.save(2, force=True), "the state is no mixture"


def test_manifests_that_cannot_be_read_never_look_like_a_new_run(tmp_path: Path) -> None:
    make(tmp_path / "run", 2)
    (tmp_path / "run/checkpoint-2/manifest.json").write_text("{")
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr, pytest.raises(cairn.CorruptError):
        mngr.restore()


# -------------------------------------------------------------------------------------------------------- config, environment


def test_secrets_are_redacted_on_the_disk(tmp_path: Path) -> None:
    make(tmp_path / "run", 1, config={"lr": 0.1, "hub": {"api_token": "s3cr3t"}, "tokens": 512})
    folder = tmp_path / "run/checkpoint-1/training"
    written = "".join(file.read_text(errors="replace") for file in folder.iterdir())
    assert "s3cr3t" not in written and "(redacted)" in written and "512" in written


def test_a_config_that_differs_is_reported_key_by_key(tmp_path: Path) -> None:
    make(tmp_path / "run", 1, config={"lr": 0.1, "net": {"layers": 2, "a.b": 1}, "password": "a"})
    config = {"lr": 0.2, "net": {"layers": 3, "a.b": 2}, "password": "b", "new": 1}
    with cairn.CheckpointManager(tmp_path / "run", state_of(), config=config) as mngr:
        differences = mngr.restore().report.differences
    assert differences == {"config.lr": (0.1, 0.2), "config.net.layers": (2, 3), "config.net.a.b": (1, 2), "config.new": (None, 1)}
    assert config["lr"] == 0.2, "kept as it is now"


def test_what_is_to_be_overridden_is_written_into_the_config(tmp_path: Path) -> None:
    make(tmp_path / "run", 1, config={"lr": 0.1, "net": {"layers": 2, "a.b": 1}, "password": "a", "gone": 4})
    config: dict[str, Any] = {"lr": 0.2, "net": {"layers": 3, "a.b": 2}, "password": "b", "new": 1}
    with cairn.CheckpointManager(tmp_path / "run", state_of(), config=config, differing="override") as mngr:
        mngr.restore()
    assert config == {"lr": 0.1, "net": {"layers": 2, "a.b": 1}, "password": "b", "new": 1, "gone": 4}


def test_a_key_may_have_its_own_rule_and_an_error_touches_nothing(tmp_path: Path) -> None:
    make(tmp_path / "run", 1, config={"lr": 0.1, "net": {"layers": 2, "width": 8}})
    config: dict[str, Any] = {"lr": 0.2, "net": {"layers": 3, "width": 9}}
    state = state_of()
    with cairn.CheckpointManager(tmp_path / "run", state, config=config, differing={"net": "error", "net.width": "override"}) as mngr:
        with pytest.raises(cairn.MismatchError, match="net.layers was 2 and is 3 now") as caught:
            mngr.restore()
        assert "width" not in str(caught.value) and (state["model"]["w"] == 0).all()
        config["net"]["layers"] = 2
        mngr.restore()
        assert config == {"lr": 0.2, "net": {"layers": 2, "width": 8}}


def test_versions_switches_and_world_size_that_differ_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    make(tmp_path / "run", 1)
    monkeypatch.setattr(np, "__version__", "0.0")
    monkeypatch.setattr(cairn._environment, "world_size", lambda: 4)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
            report = mngr.restore().report
    finally:
        torch.use_deterministic_algorithms(False)
    expected = {"numpy", "world_size", "CUBLAS_WORKSPACE_CONFIG", "torch.deterministic_algorithms"}
    assert set(report.differences) == expected
    assert "world_size was 1, is 4" in str(report).splitlines()


# -------------------------------------------------------------------------------------------------------------------- saving


def test_a_save_is_due_when_a_multiple_was_crossed(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of(), save=cairn.Save(every_steps=10)) as mngr:
        assert not mngr.save(7) and not mngr.should_save(9)
        assert mngr.should_save(13) and mngr.should_save(13) and mngr.save(13)
        assert not mngr.save(14) and mngr.save(15, force=True) and not mngr.save(19) and mngr.save(20)
        mngr.wait_until_finished()
        assert mngr.all_steps() == [13, 15, 20]


def test_a_save_is_due_when_its_time_has_come(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of(), save=cairn.Save(every_seconds=0.2)) as mngr:
        assert not mngr.save(1)
        time.sleep(0.25)
        assert mngr.save(2) and not mngr.save(3)


def test_without_a_rule_only_force_and_requests_save(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        assert not mngr.save(1)
        mngr.request_save()
        assert mngr.save(2) and not mngr.save(3) and not mngr.should_stop
        mngr.request_stop()
        assert not mngr.should_stop and mngr.save(4) and mngr.should_stop
    assert mngr.should_stop, "for what comes after the with"


def test_steps_are_those_completed(tmp_path: Path) -> None:
    make(tmp_path / "run", 5)
    with cairn.CheckpointManager(tmp_path / "run", state_of(), save=cairn.Save(every_steps=100)) as mngr:
        step = mngr.restore().step
        with pytest.raises(cairn.UsageError, match=r"save\(step \+ 1\) after step `step`"):
            mngr.save(step)  # not due, but wrong all the same
        for wrong in (-1, 2.0, "6", True, None):
            with pytest.raises(TypeError, match="optimizer steps completed"):
                mngr.save(wrong)  # type: ignore[arg-type]
        assert mngr.save(step + 1, force=True)
        with pytest.raises(cairn.UsageError, match="step 4 is before 6"):
            mngr.save(4)


def test_steps_may_be_integers_of_numpy_and_torch(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        for step in (np.int64(4), np.uint8(5), torch.tensor(6), np.array(7)):
            assert mngr.save(step, force=True) and not mngr.should_save(step)
        mngr.wait_until_finished()
        assert mngr.all_steps() == [4, 5, 6, 7] and "last step 7" in repr(mngr)
        assert mngr.restore(step=np.int64(5)).step == 5 and mngr.restore(step=torch.tensor(6)).step == 6
        with pytest.raises(TypeError, match=r"restore\(step=5\)"):
            mngr.restore(np.int64(5))  # type: ignore[arg-type]


def test_what_is_no_step_is_refused_with_what_is_wanted(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    make(tmp_path / "run", 5)
    with cairn.CheckpointManager(tmp_path / "run", state_of(), save=cairn.Save(every_steps=2)) as mngr:
        mngr.restore()
        for wrong in (-1, True, "6", np.bool_(True), torch.tensor(True), torch.tensor([6, 7]), np.array([6]), torch.tensor(6.0), 6.0, np.float32(6)):
            for name, call in {"save(": mngr.save, "should_save(": mngr.should_save, "restore(step=": lambda step: mngr.restore(step=step)}.items():
                with pytest.raises(TypeError, match="optimizer steps completed, an int of 0 or more") as told:
                    call(wrong)  # type: ignore[operator]
                assert str(told.value).startswith(name), told.value
                is_float = not isinstance(wrong, str) and "float" in f"{getattr(wrong, 'dtype', type(wrong))}"
                assert (f"{name}int(step))" in str(told.value)) == is_float
        for step in (1 << 63, 1 << 64, 1 << 100):
            for call in (mngr.save, mngr.should_save, lambda step: mngr.restore(step=step)):
                with pytest.raises(cairn.UsageError, match="at most 9223372036854775807"):
                    call(step)
        assert mngr.save((1 << 63) - 1, force=True)


def test_one_tag_is_a_tag(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        mngr.save(1, force=True, tags="best-so-far")
        mngr.save(2, force=True, tags=["a", "b"])
    assert mngr.checkpoint(1).tags == ("best-so-far",) and mngr.checkpoint(2).tags == ("a", "b")


def test_a_step_that_is_saved_already_is_not_saved_again(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of(), save=cairn.Save(every_steps=2)) as mngr:
        assert mngr.save(2) and not mngr.save(2) and not mngr.save(2, force=True)


def test_a_run_that_holds_checkpoints_is_restored_first(tmp_path: Path) -> None:
    make(tmp_path / "run", 5)
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        with pytest.raises(cairn.UsageError) as caught:
            mngr.save(6, force=True)
    assert "call restore() before the first save" in str(caught.value) and "cairn_" not in str(caught.value)


def test_without_last_all_stay(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of(), keep=cairn.Keep(best=1)) as mngr:
        for step in (1, 2, 3):
            mngr.save(step, metrics={"loss": step}, force=True)
        mngr.wait_until_finished()
        assert mngr.all_steps() == [1, 2, 3] and mngr.best_step() == 1


def test_metrics_may_be_numbers_or_arrays_of_one_element(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    loss = (torch.ones(1, requires_grad=True) * 2).sum()
    with cairn.CheckpointManager(tmp_path / "run", state_of(), keep=cairn.Keep(best=1)) as mngr:
        metrics = {"loss": loss, "numpy": np.float32(0.5), "array": np.ones(1), "int": 3, "nan": float("nan")}
        mngr.save(1, metrics=metrics, force=True)
        mngr.wait_until_finished()
        found = mngr.checkpoint(1).metrics
        assert found.pop("nan") != 0 and found == {"loss": 2.0, "numpy": 0.5, "array": 1.0, "int": 3.0}
        for wrong in (torch.ones(2), "high", None):
            with pytest.raises(TypeError, match="metrics: 'loss'"):
                mngr.save(2, metrics={"loss": wrong}, force=True)


def test_the_last_and_the_best_stay_and_nan_is_never_the_best(tmp_path: Path) -> None:
    keep = cairn.Keep(last=2, best=2, metric="accuracy", mode="max")
    with cairn.CheckpointManager(tmp_path / "run", state_of(), keep=keep) as mngr:
        for step, accuracy in enumerate((0.1, 0.9, float("nan"), 0.8, 0.2, 0.3, 0.4), 1):
            mngr.save(step, metrics={"accuracy": accuracy}, force=True)
        mngr.wait_until_finished()
        assert mngr.all_steps() == [2, 4, 6, 7]
        assert mngr.best_step() == 2 and mngr.latest_step() == 7
        assert [checkpoint.step for checkpoint in mngr] == [2, 4, 6, 7]


@pytest.mark.parametrize("wrong", [{"mode": "async"}, {"on_error": "ignore"}, {"differing": "merge"}, {"differing": {"lr": "merge"}}])
def test_words_that_are_none_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="'"):
        cairn.CheckpointManager(tmp_path / "run", **wrong)


@pytest.mark.parametrize(
    ("wrong", "wanted"),
    [
        ({"save": 5}, r"save is a cairn\.Save, as cairn\.Save\(every_steps=5\), not int 5"),
        ({"save": True}, r"save is a cairn\.Save, as cairn\.Save\(every_steps=500\), not bool True"),
        ({"keep": 3}, r"keep is a cairn\.Keep, as cairn\.Keep\(last=3\), not int 3"),
        ({"keep": cairn.Save}, r"keep is a cairn\.Keep, as cairn\.Keep\(last=3\), not type"),
        ({"attachments": ["a.json"]}, r'attachments is a dict of file names and paths or bytes, as \{"config\.json": "path/to/config\.json"\}, not list'),
        ({"attachments": "a.json"}, "attachments is a dict of file names"),
    ],
)
def test_rules_and_attachments_of_a_wrong_kind_are_refused(tmp_path: Path, wrong: dict[str, Any], wanted: str) -> None:
    with pytest.raises(TypeError, match=wanted):
        cairn.CheckpointManager(tmp_path / "run", **wrong)


def test_a_state_that_is_none_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="dict of names"):
        cairn.CheckpointManager(tmp_path / "run", [1, 2])  # type: ignore[arg-type]
    with pytest.raises(cairn.UnstorableError, match=r"cairn.Values\(epoch=3\)"):
        cairn.CheckpointManager(tmp_path / "run", {"epoch": 3})
    assert not (tmp_path / "run").exists()
    state = state_of() | {"extra": {"deep": [1, {"function": lambda: 0}]}}
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        with pytest.raises(cairn.UnstorableError, match="extra/deep/1/function"):
            mngr.save(1, force=True)
    assert not list((tmp_path / "run").glob("checkpoint-*")), "and that is no save which failed: close says nothing"


# ------------------------------------------------------------------------------------------------------ commits and failures


def test_on_commit_is_called_for_each_and_what_it_raises_is_logged(tmp_path: Path, caplog: Caplog) -> None:
    seen: list[Path] = []

    def on_commit(path: Path) -> None:
        seen.append(path)
        assert (path / "manifest.json").exists()
        if path.name == "checkpoint-1":
            raise RuntimeError("the tracker is away")

    with cairn.CheckpointManager(tmp_path / "run", state_of(), on_commit=on_commit) as mngr:
        mngr.save(1, force=True)
        mngr.save(2, force=True)
        mngr.wait_until_finished()
        assert [path.name for path in seen] == ["checkpoint-1", "checkpoint-2"]
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1 and "checkpoint-1" in told[0].message and told[0].exc_info


@pytest.mark.parametrize("call", ["save", "save not due", "wait_until_finished", "poll", "restore", "close"])
def test_a_failed_save_is_raised_by_the_next_call(tmp_path: Path, call: str) -> None:
    mngr = cairn.CheckpointManager(tmp_path / "run", state_of())
    fail_behind(mngr, 1)
    with pytest.raises(cairn.StorageError, match="step 1 was not saved"):
        {"save": lambda: mngr.save(2, force=True), "save not due": lambda: mngr.save(2)}.get(call, getattr(mngr, call, None))()  # type: ignore[misc]
    if call != "close":
        assert mngr.save(1, force=True), "the same step may be tried again"
        mngr.wait_until_finished()
        mngr.close()


def test_a_failure_that_no_later_save_made_good_is_raised_by_close(tmp_path: Path) -> None:
    mngr = cairn.CheckpointManager(tmp_path / "run", state_of())
    fail_behind(mngr, 1)
    with pytest.raises(cairn.StorageError):
        mngr.wait_until_finished()
    with pytest.raises(cairn.StorageError):
        mngr.close()
    mngr.close()


def test_failures_are_tolerated_as_often_as_was_said(tmp_path: Path, caplog: Caplog) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of(), on_error="warn", tolerate=2) as mngr:
        for step in (1, 2):
            try_to_save(mngr, step)
        assert mngr.save(3, force=True)
        mngr.wait_until_finished()
        assert [record.message.split(":")[0] for record in caplog.records] == ["a save failed, 1 in a row", "a save failed, 2 in a row"]
        for step in (4, 5):  # the good one began a new row
            try_to_save(mngr, step)
        with pytest.raises(cairn.StorageError, match="step 6"), no_file_larger_than(100):
            mngr.save(6, force=True)
            mngr.wait_until_finished()
        assert mngr.save(7, force=True)


FAILING = """
    import resource, sys
    import numpy as np
    import cairn
    how = sys.argv[2]
    def main():
        options = {"on_error": "warn", "tolerate": 9} if how == "tolerated" else {}
        mngr = cairn.CheckpointManager(sys.argv[1], {"model": {"w": np.ones(1000)}}, **options)
        if how != "good":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        if how in ("exit in with", "error in with"):
            with mngr:
                mngr.save(1, force=True)
                raise KeyError("mine") if how == "error in with" else SystemExit(0)
        mngr.save(1, force=True)
        if how in ("swallowed", "restored"):
            try:
                mngr.wait_until_finished()
            except cairn.Error:
                pass
        if how == "restored":
            mngr.restore()
        if how == "error":
            raise KeyError("mine")
        if how == "close":
            mngr.close()
        if how == "tolerated":
            mngr.wait_until_finished()
    main()
    print("to its end")
"""


@pytest.mark.parametrize("how", ["close", "no close", "error", "exit in with", "error in with", "swallowed", "restored", "tolerated", "good"])
def test_a_program_whose_last_save_failed_does_not_exit_with_0(tmp_path: Path, how: str) -> None:
    done = python(FAILING, tmp_path / "run", how)
    if how == "good":
        assert (done.returncode, done.stderr) == (0, "")
        return
    assert done.returncode == 1 and "step 1 was not saved" in done.stderr, done
    assert ("to its end" in done.stdout) == (how in ("no close", "swallowed", "restored", "tolerated"))
    assert ("KeyError: 'mine'" in done.stderr) == how.startswith("error")


IN_A_CHILD = """
    import contextlib
    import multiprocessing
    import resource
    import sys
    import threading
    import time
    import numpy as np
    import cairn
    def train(folder, how, queue):
        mngr = cairn.CheckpointManager(folder, {"model": {"w": np.ones(1000)}})
        if how == "failing":
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        def save_later():
            time.sleep(0.5)
            mngr.save(1, force=True)
        if how == "thread":
            threading.Thread(target=save_later).start()
        else:
            with contextlib.suppress(cairn.Error):  # it may have failed before it returns
                mngr.save(1, force=True)
        queue.put("to its end")
        if how == "raising":
            mngr.wait_until_finished()
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
            with mngr:
                mngr.save(2, force=True)
                raise KeyError("mine")
    if __name__ == "__main__":
        context = multiprocessing.get_context(sys.argv[3])
        queue = context.Queue()
        child = context.Process(target=train, args=(sys.argv[1], sys.argv[2], queue))
        child.start()
        print(queue.get(timeout=60))
        child.join()
        print(child.exitcode)
"""


@pytest.mark.parametrize(
    "how, method",
    [("failing", "fork"), ("good", "fork"), ("thread", "fork"), ("raising", "fork"), ("failing", "spawn"), ("thread", "spawn"), ("failing", "forkserver")],
)
def test_a_process_of_multiprocessing_ends_as_a_program_does(tmp_path: Path, how: str, method: str) -> None:
    script = tmp_path / "train.py"
    script.write_text(textwrap.dedent(IN_A_CHILD))
    command = [sys.executable, script, tmp_path / "run", how, method]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)})
    assert done.stdout == f"to its end\n{int(how in ('failing', 'raising'))}\n", done
    assert (" was not saved" in done.stderr) == (how in ("failing", "raising"))
    assert ("KeyError: 'mine'" in done.stderr) == (how == "raising")
    assert (tmp_path / "run/checkpoint-1").exists() == (how != "failing")


def test_one_manager_that_fails_at_the_end_does_not_cut_the_other_ones_save(tmp_path: Path) -> None:
    code = """
        import sys
        import numpy as np
        import cairn
        import resource
        first = cairn.CheckpointManager(sys.argv[1] + "/a", {"model": {"w": np.ones(1 << 22)}})
        second = cairn.CheckpointManager(sys.argv[1] + "/b", {"model": {"w": np.ones(1000)}})
        first.save(1, force=True)
        first.wait_until_finished()
        first.save(2, force=True)
        second.save(1, force=True)
        second.wait_until_finished()
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        second.save(2, force=True)
    """
    done = python(code, tmp_path)
    assert done.returncode == 1 and "/b: step 2 was not saved" in done.stderr, done
    assert (tmp_path / "a/checkpoint-1").exists()
    assert (tmp_path / "a/checkpoint-2").exists() != ("/a: step 2" in done.stderr), "durable, or told"


# ---------------------------------------------------------------------------------------------------------- following, looking


def test_a_reader_beside_the_trainer_writes_nothing(tmp_path: Path) -> None:
    reader = cairn.CheckpointManager(tmp_path / "run")
    assert reader.all_steps() == [] and not (tmp_path / "run").exists()
    assert reader.wait_for_new(timeout=0.01) is None
    with cairn.CheckpointManager(tmp_path / "run", state_of(4)) as mngr:
        mngr.save(1, force=True)
        mngr.save(2, force=True)
        first, second = reader.wait_for_new(timeout=10), reader.wait_for_new(timeout=10)
        assert first is not None and second is not None and (first.step, second.step) == (1, 2)
        assert (first["model"]["w"].numpy() == 4).all()
        assert reader.latest_step() == 2 and reader.wait_for_new(timeout=0.01) is None


def test_waiting_passes_a_damaged_checkpoint_after_telling_it_once(tmp_path: Path) -> None:
    make(tmp_path / "run", 1, 2)
    (tmp_path / "run/checkpoint-1/model.safetensors").write_bytes(b"short")
    reader = cairn.CheckpointManager(tmp_path / "run")
    with pytest.raises(cairn.CorruptError):
        reader.wait_for_new(timeout=5)
    found = reader.wait_for_new(timeout=5)
    assert found is not None and found.step == 2


def test_poll_tells_how_far_a_save_is(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        assert mngr.poll().phase == "idle"
        mngr.save(1, force=True)
        mngr.wait_until_finished()
        status = mngr.poll()
        assert (status.phase, status.step, status.saves_done) == ("durable", 1, 1)


def test_the_representation_tells(tmp_path: Path) -> None:
    assert "not opened for writing" in repr(cairn.CheckpointManager(tmp_path / "run"))
    with cairn.CheckpointManager(tmp_path / "run", state_of(), mode="sync") as mngr:
        assert repr(mngr) == f"CheckpointManager('{tmp_path}/run', [model, run], sync, nothing saved yet)"
        mngr.save(3, force=True)
        assert "last step 3" in repr(mngr)
    assert "closed" in repr(mngr)
    with pytest.raises(cairn.UsageError, match="closed"):
        mngr.save(4)


# ------------------------------------------------------------------------------------------------------- whose run it is


def test_one_process_writes_a_run_and_another_may_take_it_over(tmp_path: Path) -> None:
    mngr = cairn.CheckpointManager(tmp_path / "run", state_of())
    with pytest.raises(cairn.LockedError):
        cairn.CheckpointManager(tmp_path / "run", state_of())
    code = """
        import sys
        import numpy as np
        import cairn
        try:
            cairn.CheckpointManager(sys.argv[1], {"model": {"w": np.ones(8, np.float32)}})
        except cairn.Error as error:
            print(type(error).__name__)
        with cairn.CheckpointManager(sys.argv[1], {"model": {"w": np.ones(8, np.float32)}}, take_over=True) as mngr:
            mngr.restore()
            mngr.save(1, force=True)
    """
    done = python(code, tmp_path / "run")
    assert done.returncode == 0 and done.stdout == "LockedError\n", done
    assert mngr.save(1, force=True)
    with pytest.raises(cairn.FencedError):
        mngr.wait_until_finished()
    with pytest.raises(cairn.FencedError):
        mngr.close()


def test_a_manager_that_was_lost_in_this_process_is_named(tmp_path: Path) -> None:
    """As in a notebook, where a cell raised, or after `del manager`: nobody is left to close it."""
    mngr = cairn.CheckpointManager(tmp_path / "run", state_of(1))
    mngr.save(1, force=True)
    del mngr
    (tmp_path / "link").symlink_to(tmp_path)
    for place in (tmp_path / "run", tmp_path / "link" / "run"):
        with pytest.raises(cairn.LockedError, match=r"run: a CheckpointManager made earlier in this process has it open: close\(\) it, or take_over=True does"):
            cairn.CheckpointManager(place, state_of())


def test_taking_over_closes_the_manager_of_the_same_process(tmp_path: Path, caplog: Caplog) -> None:
    first, other = cairn.CheckpointManager(tmp_path / "run", state_of(1)), cairn.CheckpointManager(tmp_path / "other", state_of(2))
    assert first.save(1, force=True)
    state = state_of()
    with cairn.CheckpointManager(tmp_path / "run", state, take_over=True) as mngr:
        assert mngr.restore().step == 1 and (state["model"]["w"] == 1).all(), "its last save is durable first"
        assert mngr.save(2, force=True)
        with pytest.raises(cairn.UsageError, match="closed"):
            first.save(2, force=True)
        first.close()
    assert mngr.all_steps() == [1, 2] and other.save(1, force=True)
    assert not caplog.records, "nothing was lost, and nobody was fenced off"
    other.close()


def test_what_the_manager_that_is_closed_failed_with_is_logged(tmp_path: Path, caplog: Caplog) -> None:
    first = cairn.CheckpointManager(tmp_path / "run", state_of(1))
    fail_behind(first, 1)
    mngr = cairn.CheckpointManager(tmp_path / "run", state_of(), take_over=True)
    (line,) = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert "step 1 was not saved" in line and "made earlier in this process" in line
    assert list(cairn._outcome.unsaved) == [tmp_path / "run"], "the program does not end well"
    assert mngr.save(1, force=True)
    mngr.close()
    assert not cairn._outcome.unsaved, "but for a later save"


def test_two_runs_in_one_process_do_not_mind_each_other(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "a", state_of(1)) as first, cairn.CheckpointManager(tmp_path / "b", state_of(2)) as second:
        for step in (1, 2):
            first.save(step, force=True)
            second.save(step + 10, force=True)
    assert first.all_steps() == [1, 2] and second.all_steps() == [11, 12]


def test_folders_of_another_trainer_are_named_and_refused(tmp_path: Path) -> None:
    for step in (500, 1000):
        (tmp_path / f"run/checkpoint-{step}").mkdir(parents=True)
        (tmp_path / f"run/checkpoint-{step}/trainer_state.json").write_text("{}")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(cairn.ForeignError, match="run holds what Cairn did not write: .*; choose another folder") as told:
        cairn.CheckpointManager(tmp_path / "run", state_of())
    assert "checkpoint-500" in str(told.value) and "checkpoint-1000" in str(told.value)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EIO])
def test_a_place_that_can_only_be_read_is_told_what_works_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    make(tmp_path / "run", 3, 5)

    def refuse(*arguments: object, **options: object) -> None:
        raise cairn._errors.make("IO", "run/.cairn/lock: no", number)

    state = state_of()
    monkeypatch.setattr(cairn._native, "Run", refuse)
    with pytest.raises(cairn.StorageError, match="^run/.cairn/lock: no") as told:
        cairn.CheckpointManager(tmp_path / "run", state)
    assert told.value.errno == told.value.os_errno == number and told.value.code == "IO"
    newest = os.fspath(tmp_path / "run/checkpoint-5")
    assert str(told.value).endswith(f"; to read it only: cairn.load({newest!r}, into=state), or cairn.Checkpoint") == (number != errno.EIO)
    cairn.load(newest, into=state)
    assert (state["model"]["w"] == 5).all(), "and it does"
    with pytest.raises(cairn.StorageError, match="lock: no$"):
        cairn.CheckpointManager(tmp_path / "new", state)


def test_a_run_of_another_user_is_such_a_place() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        make(Path(folder) / "run", 1)
        for path in [Path(folder) / "run", *(Path(folder) / "run").rglob("*")]:
            if path.is_dir():
                path.chmod(0o555)

        def look() -> None:
            if os.geteuid() == 0:
                os.setuid(65534)
            with pytest.raises(cairn.StorageError, match="Permission denied; to read it only: cairn.load"):
                cairn.CheckpointManager(Path(folder) / "run", state_of())

        assert in_a_fork(look) == 0
        for path in [Path(folder) / "run", *(Path(folder) / "run").rglob("*")]:
            if path.is_dir():
                path.chmod(0o755)


def test_a_manager_is_not_copied_or_pickled(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be copied or pickled"):
                attempt(mngr)  # type: ignore[operator]


def in_a_fork(work: Any) -> int:
    """What os.waitpid says of a child that does this and then ends like a program."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        work()
        os._exit(0)
    except BaseException as error:
        os._exit(7 if isinstance(error, cairn.ForkedError) and "process" in str(error) else 8)


@pytest.mark.parametrize("is_opened", [True, False])
def test_saving_from_a_forked_worker_is_refused(tmp_path: Path, is_opened: bool) -> None:
    mngr = cairn.CheckpointManager(tmp_path / "run", state_of() if is_opened else None)
    assert in_a_fork(lambda: mngr.save(1, state_of(), force=True)) == 7
    assert in_a_fork(lambda: mngr.restore(state_of())) == 7
    assert in_a_fork(mngr.close) == 0
    assert in_a_fork(mngr.all_steps) == 0
    assert mngr.save(1, state_of(), force=True)
    mngr.close()
    assert mngr.all_steps() == [1]


def test_saving_from_a_worker_of_a_loader_is_refused(tmp_path: Path) -> None:
    data = pytest.importorskip("torch.utils.data")

    class Saving(data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> int:
            mngr.save(1, force=True)
            return index

    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        with pytest.raises(Exception, match="the manager belongs to process"):
            list(data.DataLoader(Saving(), num_workers=1))
        assert mngr.all_steps() == []


# ------------------------------------------------------------------------------------------------------------------ signals


def test_a_signal_makes_the_next_save_the_last(tmp_path: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGUSR1):
        path = tmp_path / number.name
        with cairn.CheckpointManager(path, state_of(), save=cairn.Save(every_steps=1000)) as mngr:
            assert not mngr.save(1)
            signal.raise_signal(number)
            assert not mngr.should_stop and mngr.save(2) and mngr.should_stop
        assert mngr.all_steps() == [2] and signal.getsignal(number) == signal.SIG_DFL


def test_handlers_are_chained_and_given_back(tmp_path: Path) -> None:
    called: list[int] = []
    earlier = signal.signal(signal.SIGUSR1, lambda number, frame: called.append(number))
    mine, interrupt = signal.getsignal(signal.SIGUSR1), signal.getsignal(signal.SIGINT)
    try:
        with cairn.CheckpointManager(tmp_path / "a", state_of()) as first, cairn.CheckpointManager(tmp_path / "b", state_of()) as second:
            signal.raise_signal(signal.SIGUSR1)
            assert called == [signal.SIGUSR1]
            assert first.save(1) and second.save(1), "each was told"
            assert signal.getsignal(signal.SIGINT) is interrupt
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def test_managers_that_close_in_another_order_lead_to_whoever_was_there(tmp_path: Path) -> None:
    called: list[int] = []
    earlier = signal.signal(signal.SIGUSR1, lambda number, frame: called.append(number))
    try:
        first, second = cairn.CheckpointManager(tmp_path / "a", state_of()), cairn.CheckpointManager(tmp_path / "b", state_of())
        first.close()
        signal.raise_signal(signal.SIGUSR1)
        assert called == [signal.SIGUSR1] and second.save(1)
        second.close()
        signal.raise_signal(signal.SIGUSR1)
        assert called == [signal.SIGUSR1] * 2
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def test_an_ignored_signal_is_heard_while_the_manager_is_open(tmp_path: Path) -> None:
    earlier = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
            signal.raise_signal(signal.SIGUSR1)
            assert mngr.save(1) and mngr.should_stop
        assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGUSR1, earlier)


def test_only_the_main_thread_watches_signals(tmp_path: Path) -> None:
    def work() -> None:
        with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
            seen.append((signal.getsignal(signal.SIGTERM), mngr.save(1, force=True)))

    seen: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.SIG_DFL, True)]


def test_no_signals_are_watched_where_none_are_named_or_nothing_is_written(tmp_path: Path) -> None:
    cairn.CheckpointManager(tmp_path / "run")
    with cairn.CheckpointManager(tmp_path / "run", state_of(), stop_signals=()):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_forked_worker_still_ends_when_it_is_terminated(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        worker = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
        worker.start()
        time.sleep(0.1)
        worker.terminate()
        worker.join(20)
        assert worker.exitcode == -signal.SIGTERM and not mngr.should_save(1)


INTERRUPTED = """
    import signal
    import sys
    import numpy as np
    import cairn
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started the tests with it ignored
    state = {"model": {"w": np.zeros(1 << 20, np.float32)}}
    with cairn.CheckpointManager(sys.argv[1], state, keep=cairn.Keep(last=2)) as mngr:
        step = mngr.restore().step
        assert (state["model"]["w"] == step).all()
        print("ready", flush=True)
        while True:
            step += 1
            state["model"]["w"][:] = step
            mngr.save(step, force=True)
"""


def test_ctrl_c_in_mid_save_leaves_the_store_whole(tmp_path: Path) -> None:
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    before = 0
    for _ in range(5):
        command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), str(tmp_path / "run")]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as trainer:
            assert trainer.stdout is not None and trainer.stdout.readline() == "ready\n", trainer.communicate()
            time.sleep(moments.uniform(0, 0.3))
            trainer.send_signal(signal.SIGINT)
            try:
                _, errors = trainer.communicate(timeout=60)
            finally:
                trainer.kill()  # one that goes on would be waited for
        assert trainer.returncode == -signal.SIGINT and "KeyboardInterrupt" in errors, f"seed {seed}: {errors}"
        state = {"model": {"w": np.zeros(1 << 20, np.float32)}}
        with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
            step = mngr.restore().step
            assert step >= before and (state["model"]["w"] == step).all() and not list((tmp_path / "run/.cairn/staging").iterdir()), f"seed {seed}"
        before = step
    assert before > 0, "something was saved at all"


class Picky:
    """Takes the states that it is told to."""

    def __init__(self) -> None:
        self.fails_with: BaseException | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"count": 1}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.fails_with is not None:
            raise self.fails_with


@pytest.mark.parametrize("failure, raised", [(KeyError("count"), cairn.TornStateError), (KeyboardInterrupt(), KeyboardInterrupt)])
def test_a_mixture_is_never_saved(failure: BaseException, raised: type[BaseException], tmp_path: Path) -> None:
    picky = Picky()
    state = {"model": {"w": np.zeros(8, np.float32)}, "picky": picky}
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        mngr.save(1, force=True)
        picky.fails_with = failure
        with pytest.raises(raised):
            mngr.restore()
        with pytest.raises(cairn.TornStateError, match="/run: the last restore failed half-way, and the state is a mixture: restore all of it again before you save$"):
            mngr.save(2, force=True)
        mngr.restore(items=["model"])
        with pytest.raises(cairn.TornStateError):
            mngr.save(2, force=True)
        picky.fails_with = None
        (tmp_path / "run/checkpoint-1").rename(tmp_path / "away")
        assert mngr.restore().fresh
        with pytest.raises(cairn.TornStateError):
            mngr.save(2, force=True)
        (tmp_path / "away").rename(tmp_path / "run/checkpoint-1")
        mngr.restore()
        assert mngr.save(2, force=True)


@pytest.mark.parametrize("place", ["notes", "notes/run"])
def test_a_file_where_a_run_should_be_is_named(place: str, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(cairn.NotFoundError, match="/notes(/run)?: it or what is above it is a file, and a run is a folder: give another name$"):
        cairn.CheckpointManager(tmp_path / place, state_of()).restore()
    assert (tmp_path / "notes").read_text() == "mine"
