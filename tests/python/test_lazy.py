"""Lazy saves: a checkpoint holds the bits of the moment of its save, or that save has failed aloud.

Each test trains with saves in between, and between a save and the next step it does what might go wrong. What must be found wrong is found even when the
machine is slow: `held` keeps the library from saying that a save is staged until the wrong has been done.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import cairn
from cairn import _arrays, _capture, _items, _lazy

torch = pytest.importorskip("torch")
nn = torch.nn

Caplog = pytest.LogCaptureFixture
SMALL = 256  # a weight of 256 KiB is staged late; its bias of 1 KiB is copied
LARGE = 2048  # 16 MiB; with its moments the least arena, 12 MiB, does not hold it: staging waits for the disk


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


def nothing() -> None:
    """Between a save and the next step."""


def digest_of(array: Any) -> str:
    return hashlib.sha1(_arrays.bytes_of(array.cpu() if isinstance(array, torch.Tensor) else array)).hexdigest()


def bits_of(state: dict[str, Any]) -> dict[str, str]:
    """What a save of this moment must hold."""
    tensors = [(f"{item.name}/{name}", array) for item in _items.items_of(state) for name, array, _ in item.capture().tensors]
    return {name: digest_of(array.detach().contiguous() if isinstance(array, torch.Tensor) else array) for name, array in tensors}


class Training:
    """Trains and saves in turn."""

    def __init__(self, path: Path, state: dict[str, Any], **options: Any) -> None:
        self.manager = cairn.CheckpointManager(path, state, mode="lazy", on_error="warn", **options)
        self.state, self.step = state, 0
        self.bits: dict[int, dict[str, str]] = {}
        self.late: dict[int, set[str]] = {}  # what each save staged late

    def save(self) -> None:
        self.step += 1
        self.bits[self.step] = bits_of(self.state)
        watch = self.manager._watch
        late_of = watch.late_of

        def noted(large: list[_lazy.Large]) -> set[int]:
            late = late_of(large)
            self.late[self.step] = {f"{each.item}/{each.name}" for each in large if id(each.array) in late}
            return late

        self.late[self.step] = set()
        watch.late_of = noted  # type: ignore[method-assign]
        self.manager.save(self.step, self.state, force=True)
        watch.late_of = late_of  # type: ignore[method-assign]

    def run(self, train: Callable[[], None], between: Callable[[], None] = nothing, count: int = 4) -> Training:
        for _ in range(count):
            train()
            self.save()
            between()
        train()
        with contextlib.suppress(cairn.Error):
            self.manager.close()
        return self

    def check(self, failed: set[int] = frozenset()) -> None:  # type: ignore[assignment]
        """All but the failed are there, and right."""
        assert set(self.manager.all_steps()) == set(self.bits) - failed
        for checkpoint in self.manager:
            saved = {f"{info.item}/{info.name}": digest_of(checkpoint[info.item][info.name].read()) for info in checkpoint.native.tensors}
            assert saved == self.bits[checkpoint.step], f"step {checkpoint.step}"


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """While it is cleared no save says that it is staged. To be had before the manager."""
    opened = threading.Event()
    opened.set()
    written = _lazy.Watch.written

    def gated(self: _lazy.Watch) -> str | None:
        assert opened.wait(60)
        return written(self)

    monkeypatch.setattr(_lazy.Watch, "written", gated)
    return opened


def linear(width: int = SMALL) -> Any:
    return nn.Linear(width, width)


def stepper(model: Any, *optimizers: Any, width: int = SMALL) -> Callable[[], None]:
    """One training step, with clipping and all."""

    def train() -> None:
        model(torch.randn(4, width)).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        for optimizer in optimizers:
            optimizer.zero_grad()

    return train


def adam(model: Any, **options: Any) -> Any:
    return torch.optim.AdamW(model.parameters(), **{"lr": 1e-2, "fused": True} | options)


WEIGHTS = {"model/weight", "optimizer/state/weight/exp_avg", "optimizer/state/weight/exp_avg_sq"}

# ------------------------------------------------------------------------------------------------------------------- right


def test_fused_adamw_is_staged_late_from_the_third_save_on_and_right(tmp_path: Path) -> None:
    model = linear()
    training = Training(tmp_path / "run", {"model": model, "optimizer": adam(model)})
    training.run(stepper(model, training.state["optimizer"])).check()
    assert training.late == {1: set(), 2: set(), 3: WEIGHTS, 4: WEIGHTS}


def test_what_was_bound_for_eager_saves_is_used_by_the_first_lazy_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bound, init = list[int](), _capture.Bound.__init__

    def counted(self: _capture.Bound, *arguments: Any) -> None:
        bound.append(training.step)
        init(self, *arguments)

    monkeypatch.setattr(_capture.Bound, "__init__", counted)
    model = linear()
    training = Training(tmp_path / "run", {"model": model, "optimizer": adam(model)})
    train = stepper(model, training.state["optimizer"])
    train()
    training.save()
    del bound[:]  # moments that the first step made
    training.run(train).check()
    assert training.late[4] == WEIGHTS and not bound
    average = {"w": torch.ones(SMALL, SMALL)}
    training = Training(tmp_path / "other", {"model": model, "optimizer": adam(model), "average": average})
    training.run(stepper(model, training.state["optimizer"]), lambda: average["w"].mul_(0.5)).check()
    assert training.late[4] == WEIGHTS and bound[-1] == 3, "an array that nobody guards is copied at once from now on"


def test_what_cannot_be_stored_is_refused_by_a_lazy_save(tmp_path: Path) -> None:
    model, more = linear(), {"w": torch.ones(SMALL, SMALL)}
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "more": more}, mode="lazy") as manager:
        for step in (1, 2):
            manager.save(step, force=True)
        more["w"] = more["w"].to_sparse()
        with pytest.raises(cairn.UnstorableError, match="^more/w: a tensor of layout torch.sparse_coo"):
            manager.save(3, force=True)
        assert manager.all_steps() == [1, 2]


@pytest.mark.parametrize("is_bound", [True, False])
def test_a_step_waits_until_a_large_state_is_staged(tmp_path: Path, is_bound: bool) -> None:
    """Also that of an optimizer which nobody gave to the manager, and which raises no counter."""
    model = linear(LARGE)
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer}, arena_bytes=1)
    other = adam(model)

    def between() -> None:
        if not is_bound:
            other.step()

    def train() -> None:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()

    training.run(train, between, count=3).check()
    assert training.late[3] == WEIGHTS


def test_weights_that_do_not_lie_in_rows_are_staged_late_too(tmp_path: Path) -> None:
    model = nn.Conv2d(64, 64, 3).to(memory_format=torch.channels_last)
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer})

    def train() -> None:
        model(torch.randn(1, 64, 8, 8)).square().mean().backward()
        optimizer.step()

    training.run(train).check()
    assert training.late[4] == WEIGHTS and not model.weight.is_contiguous()


def test_batch_norm_changes_its_statistics_in_the_forward_pass(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 32768), nn.BatchNorm1d(32768))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer}, arena_bytes=1)
    training.run(stepper(model, optimizer, width=4), lambda: model(torch.randn(4, 4))).check()
    assert training.late[3] >= {"model/0.weight", "model/1.weight"} and not any("running" in name for name in training.late[3])


def test_a_frozen_base_is_compared_and_linked_not_copied(tmp_path: Path) -> None:
    model = nn.Sequential(linear(1024).requires_grad_(False), linear(1024))
    optimizer = adam(model[1])
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer})

    def between() -> None:
        training.manager.wait_until_finished()
        linked.append(training.manager.poll().linked_bytes)

    linked: list[int] = []
    training.run(stepper(model, optimizer, width=1024), between, count=5).check()
    assert training.late[5] == {name.replace("weight", "1.weight") for name in WEIGHTS}
    assert [size > 4 << 20 for size in linked] == [False, True, True, True, True]


def test_an_average_may_be_updated_at_once(tmp_path: Path) -> None:
    model = linear()
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    training = Training(tmp_path / "run", {"model": model, "ema": average, "optimizer": adam(model)})
    training.run(stepper(model, training.state["optimizer"]), lambda: average.update_parameters(model)).check()
    assert training.late[4] == WEIGHTS


def test_only_optimizers_that_step_regularly_are_relied_on(tmp_path: Path) -> None:
    first, second = linear(), linear()
    one, two = adam(first), adam(second)
    training = Training(tmp_path / "run", {"a": first, "b": second, "one": one, "two": two})
    steps = iter(range(99))

    def train() -> None:
        second(first(torch.randn(4, SMALL))).square().mean().backward()
        one.step()
        one.step()  # twice is as good as once
        if next(steps) in (0, 1, 4, 5, 6):
            two.step()

    training.run(train, count=7).check()
    is_late = [("a/weight" in names, "b/weight" in names) for names in training.late.values()]
    assert is_late == [(False, False), (False, False), (True, False), (True, False), (True, False), (True, True), (True, True)]


def test_a_step_may_be_compiled(tmp_path: Path) -> None:
    model = linear()
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer})
    training.run(torch.compile(stepper(model, optimizer), backend="eager"), count=6).check()
    assert training.late[6] == WEIGHTS


def test_an_optimizer_s_step_may_be_compiled_alone(tmp_path: Path) -> None:
    model = linear(LARGE)
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer}, arena_bytes=1)
    step = torch.compile(optimizer.step, backend="eager")

    def train() -> None:
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        step()

    training.run(train, count=3).check()
    assert training.late[3] == WEIGHTS


def test_a_scaler_that_skips_steps_makes_the_next_save_eager(tmp_path: Path) -> None:
    model = linear()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer, "scaler": scaler})
    steps = iter(range(99))

    def train() -> None:
        loss = model(torch.randn(4, SMALL)).square().mean()
        scaler.scale(loss * float("inf") if next(steps) == 4 else loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    training.run(train, count=7).check()
    assert [bool(names) for names in training.late.values()] == [False, False, True, True, False, False, True]


def test_an_optimizer_of_another_kind_is_copied_or_staged_as_it_stands(tmp_path: Path) -> None:
    model = linear()
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=2)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer})

    def closure() -> Any:
        optimizer.zero_grad()
        loss = model(torch.ones(4, SMALL)).square().mean()
        loss.backward()
        return loss

    training.run(lambda: optimizer.step(closure)).check()
    assert "model/weight" in training.late[4]


def test_a_rate_in_a_tensor_may_change_at_once(tmp_path: Path) -> None:
    model = linear()
    optimizer = torch.optim.AdamW(model.parameters(), lr=torch.tensor(0.1), foreach=False)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer, "scheduler": scheduler})
    training.run(stepper(model, optimizer), scheduler.step).check()
    assert training.late[4] == WEIGHTS


def test_parameters_that_get_other_memory_are_saved_as_they_were(tmp_path: Path) -> None:
    model = linear()
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer})

    def between() -> None:
        model.weight.data = torch.zeros(SMALL, SMALL)
        optimizer.load_state_dict(optimizer.state_dict())

    training.run(stepper(model, optimizer), between).check()


def test_a_loop_without_an_optimizer_has_nothing_late(tmp_path: Path) -> None:
    model = linear()
    training = Training(tmp_path / "run", {"model": model})

    def descend() -> None:
        model(torch.randn(4, SMALL)).square().mean().backward()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter -= 0.1 * parameter.grad
                parameter.grad = None

    training.run(descend, descend).check()
    assert not any(training.late.values())


# ---------------------------------------------------------------------------------------------------- failed, and aloud


def test_a_manual_step_beside_the_optimizer_fails_the_save_and_saves_stay_eager(tmp_path: Path, gate: threading.Event, caplog: Caplog) -> None:
    model = linear()
    training = Training(tmp_path / "run", {"model": model, "optimizer": adam(model)})

    def between() -> None:
        if training.step == 3:
            with torch.no_grad():
                model.weight.mul_(0.5)
        gate.set()

    def train() -> None:
        step()
        if training.step == 2:
            gate.clear()

    step = stepper(model, training.state["optimizer"])
    training.run(train, between, count=6).check(failed={3})
    assert [bool(names) for names in training.late.values()] == [False, False, True, False, False, False]
    told = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
    assert any("model/weight" in message and "written to before it was staged" in message for message in told)
    assert sum("saves are eager from now on" in message for message in told) == 1


def test_a_failure_met_in_a_step_is_raised_by_the_next_call_of_the_manager(tmp_path: Path, gate: threading.Event) -> None:
    model = linear()
    optimizer = adam(model)
    manager = cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode="lazy")
    train = stepper(model, optimizer)
    for step in (1, 2, 3):
        train()
        gate.clear() if step == 3 else None
        assert manager.save(step, force=True)
    nn.init.zeros_(model.weight)
    gate.set()
    train()
    with pytest.raises(cairn.EarlyWriteError, match="model/weight.*call fence"):
        manager.save(4)
    assert manager.save(4, force=True)
    manager.close()
    assert manager.all_steps() == [1, 2, 4]


def test_an_embedding_that_renormalises_its_rows_fails_the_save(tmp_path: Path, gate: threading.Event) -> None:
    model = nn.Embedding(1024, SMALL, max_norm=0.5)
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer})

    def train() -> None:
        model(torch.arange(1024)).sum().backward()
        optimizer.step()
        if training.step == 2:
            gate.clear()

    def between() -> None:
        if training.step == 3:
            model(torch.arange(1024))
        gate.set()

    training.run(train, between).check(failed={3})


def test_other_weights_loaded_in_place_fail_the_save(tmp_path: Path, gate: threading.Event) -> None:
    model = linear()
    training = Training(tmp_path / "run", {"model": model, "optimizer": adam(model)})
    step = stepper(model, training.state["optimizer"])

    def train() -> None:
        step()
        if training.step == 2:
            gate.clear()

    def between() -> None:
        if training.step == 3:
            model.load_state_dict(linear().state_dict())
        gate.set()

    training.run(train, between).check(failed={3})


@pytest.mark.parametrize(("where", "is_checked"), [(-1, False), (SMALL // 3, True)])
def test_a_write_through_data_raises_no_counter_and_fails_the_save(tmp_path: Path, where: int, is_checked: bool) -> None:
    """At a witness always; anywhere, if the library is to digest everything twice."""
    model = linear(LARGE)
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer}, arena_bytes=1, check_early_writes=is_checked)

    def between() -> None:
        if training.step == 3:
            for tensor in (model.weight, *(value for value in optimizer.state[model.weight].values() if value.numel() > 1)):
                tensor.data.view(-1)[where] = 7.0

    training.run(stepper(model, optimizer, width=LARGE), between, count=3).check(failed={3})


# ----------------------------------------------------------------------------------------------------------- jax, and the rest


def test_arrays_of_jax_are_held_until_they_are_staged(tmp_path: Path) -> None:
    jax = pytest.importorskip("jax")
    training = Training(tmp_path / "run", {"tree": {"w": jax.numpy.zeros((LARGE, LARGE)), "b": jax.numpy.zeros(8)}}, arena_bytes=1)
    update = jax.jit(lambda tree: jax.tree_util.tree_map(lambda leaf: leaf + 1, tree), donate_argnums=0)

    def train() -> None:
        training.state["tree"] = update(training.state["tree"])

    training.run(train).check()
    assert training.late[4] == {"tree/w"}


def test_a_donated_array_of_jax_fails_the_save(tmp_path: Path, gate: threading.Event) -> None:
    jax = pytest.importorskip("jax")
    manager = cairn.CheckpointManager(tmp_path / "run", mode="lazy")
    for step in (1, 2, 3):
        array = jax.numpy.full((SMALL, SMALL), step)
        gate.clear() if step == 3 else None
        assert manager.save(step, {"tree": {"w": array}}, force=True)
    array.delete()
    gate.set()
    with pytest.raises(cairn.EarlyWriteError, match="tree/w"):
        manager.fence()
    with pytest.raises(cairn.EarlyWriteError):
        manager.close()
    assert manager.all_steps() == [1, 2]


def test_a_fence_of_one_s_own_lets_a_loop_change_what_is_late(tmp_path: Path) -> None:
    model = linear(LARGE)
    optimizer = adam(model)
    training = Training(tmp_path / "run", {"model": model, "optimizer": optimizer}, arena_bytes=1)

    def between() -> None:
        training.manager.fence()
        model.weight.data.zero_()

    training.run(stepper(model, optimizer, width=LARGE), between, count=3).check()
    assert training.late[3] == WEIGHTS


def test_the_hook_goes_with_the_manager(tmp_path: Path) -> None:
    hooks = importlib.import_module("torch.optim.optimizer")._global_optimizer_pre_hooks
    before = len(hooks)
    model = linear()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}, mode="lazy"):
        assert len(hooks) == before + 1
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}):
        assert len(hooks) == before


def test_a_lazy_save_comes_back_before_its_bytes_are_staged(tmp_path: Path, gate: threading.Event) -> None:
    model = linear()
    optimizer = adam(model)
    train = stepper(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode="lazy") as manager:
        for step in (1, 2, 3):
            train()
            gate.clear() if step == 3 else None
            manager.save(step, force=True)
        assert manager.poll().phase == "staging"
        gate.set()
        train()
        assert manager.poll().phase != "staging"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_model_on_a_gpu_is_right(tmp_path: Path) -> None:
    model = linear().cuda()
    training = Training(tmp_path / "run", {"model": model, "optimizer": adam(model)})

    def train() -> None:
        model(torch.randn(4, SMALL, device="cuda")).square().mean().backward()
        training.state["optimizer"].step()

    training.run(train).check()
