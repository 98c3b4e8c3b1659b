"""What was bound for a save is used for the next one - and never where the state has become another."""

from __future__ import annotations

import collections
import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from state_help import same
from torch import nn

import cairn
from cairn import _capture


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6)
        self.norm = nn.BatchNorm1d(6)

    def forward(self, batch: Any) -> Any:
        return self.second(self.norm(self.first(batch)))


def training(kind: type[torch.optim.Optimizer] = torch.optim.AdamW, **options: Any) -> dict[str, Any]:
    torch.manual_seed(1)
    model = Net()
    state = {"model": model, "optimizer": kind(model.parameters(), lr=0.1, **options), "ema": {"model": {"w": torch.rand(3, 4)}}, "run": {"epoch": 0}}
    step(state)
    return state


def step(state: dict[str, Any]) -> None:
    state["model"](torch.rand(4, 6)).sum().backward()
    state["optimizer"].step()
    state["optimizer"].zero_grad()
    state["run"]["epoch"] += 1
    state["optimizer"].param_groups[0]["lr"] *= 0.9


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Those that were made: of captures for which what was bound before did not do."""
    made: list[Any] = []

    class Noted(_capture.Bound):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr(_capture, "Bound", Noted)
    return made


def expect(manager: cairn.CheckpointManager, state: dict[str, Any], number: int, scratch: Path) -> None:
    """Saves it, and looks whether that is what a folder by itself holds of the state."""
    cairn.save(scratch / f"{number}", state)
    manager.save(number, force=True)
    manager.wait_until_finished()
    expected, found = cairn.Checkpoint(scratch / f"{number}"), manager.checkpoint(number)
    assert same(found.state(), expected.state())
    assert [(row.item, row.name, row.dtype, row.shape, row.flags) for row in found.native.tensors] == [
        (row.item, row.name, row.dtype, row.shape, row.flags) for row in expected.native.tensors
    ]


def another_parameter(state: dict[str, Any]) -> None:
    state["model"].first.weight = nn.Parameter(torch.rand(6, 6))


def another_memory(state: dict[str, Any]) -> None:
    state["model"].first.weight.data = torch.rand(6, 6)


def another_view(state: dict[str, Any]) -> None:
    state["model"].first.weight.data = state["model"].first.weight.data.t()


def another_shape(state: dict[str, Any]) -> None:
    state["model"].first.weight.data = state["model"].first.weight.data.view(4, 9)


def another_dtype(state: dict[str, Any]) -> None:
    state["model"].first.weight.data = state["model"].first.weight.data.view(torch.int32).view(torch.float32).half()


def another_name(state: dict[str, Any]) -> None:
    state["model"].third = state["model"].second
    del state["model"].second


def another_buffer(state: dict[str, Any]) -> None:
    state["model"].register_buffer("mask", torch.ones(3))


def a_buffer_less(state: dict[str, Any]) -> None:
    state["model"].norm._non_persistent_buffers_set.add("running_mean")


def frozen(state: dict[str, Any]) -> None:
    state["model"].first.weight.requires_grad_(False)


def tied(state: dict[str, Any]) -> None:
    state["model"].second.weight = state["model"].first.weight


def a_hook(state: dict[str, Any]) -> None:
    state["model"].register_state_dict_post_hook(lambda module, found, prefix, metadata: found.update({"extra": torch.ones(2)}))



def a_layer_more(state: dict[str, Any]) -> None:
    state["model"].third = nn.Linear(2, 2)
    state["optimizer"].add_param_group({"params": state["model"].third.parameters()})


def another_group(state: dict[str, Any]) -> None:
    state["optimizer"].add_param_group({"params": [nn.Parameter(torch.ones(2))], "lr": 0.5})


def another_moment(state: dict[str, Any]) -> None:
    state["optimizer"].state[state["model"].first.weight]["exp_avg"] = torch.ones(6, 6)


def one_more_moment(state: dict[str, Any]) -> None:
    state["optimizer"].state[state["model"].first.weight]["more"] = torch.ones(6, 6)


def no_moments(state: dict[str, Any]) -> None:
    state["optimizer"].state.clear()


def a_rate_in_a_tensor(state: dict[str, Any]) -> None:
    state["optimizer"].param_groups[0]["lr"] = torch.tensor(0.25)


def another_average(state: dict[str, Any]) -> None:
    state["ema"]["model"]["w"] = torch.rand(3, 4)


def one_more_average(state: dict[str, Any]) -> None:
    state["ema"]["model"]["v"] = torch.rand(2)


def another_container(state: dict[str, Any]) -> None:
    state["ema"]["model"] = collections.OrderedDict(state["ema"]["model"])


def another_value(state: dict[str, Any]) -> None:
    state["run"]["best"] = 0.5


CHANGES = [
    another_parameter, another_memory, another_view, another_shape, another_dtype, another_name, another_buffer, a_buffer_less, frozen, tied, a_hook,
    a_layer_more, another_group, another_moment, one_more_moment, no_moments, a_rate_in_a_tensor, another_average, one_more_average, another_container,
    another_value,
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_what_has_changed_is_seen(change: Callable[[dict[str, Any]], None], bound: list[Any], tmp_path: Path) -> None:
    state = training()
    with cairn.CheckpointManager(tmp_path / "run", state, stop_signals=()) as manager:
        manager.restore()
        for number in (1, 2, 3):
            step(state)
            expect(manager, state, number, tmp_path)
        change(state)
        expect(manager, state, 4, tmp_path)
        expect(manager, state, 5, tmp_path)
    assert len(bound) - 5 <= 3, "once at the start, and where it changed; a folder by itself is bound each time"


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad], ids=lambda kind: kind.__name__)
def test_what_has_not_changed_is_used_again(kind: type[torch.optim.Optimizer], bound: list[Any], tmp_path: Path) -> None:
    state = training(kind)
    with cairn.CheckpointManager(tmp_path / "run", state, stop_signals=()) as manager:
        manager.restore()
        for number in range(1, 6):
            step(state)
            expect(manager, state, number, tmp_path)
    assert len(bound) - 5 == 1


def test_equal_values_of_other_kinds_are_told_apart(tmp_path: Path) -> None:
    """1, True and 1.0 are equal in Python, and not in a file."""
    config: dict[str, Any] = {"layers": 1}
    state: dict[str, Any] = {"model": nn.Linear(2, 2), "run": {1: torch.ones(1)}}
    with cairn.CheckpointManager(tmp_path / "run", state, config=config, stop_signals=()) as manager:
        for number, value in enumerate((1, True, 1.0), 1):
            config["layers"] = value
            state["run"].clear()
            state["run"][value] = torch.ones(1)
            expect(manager, state, number, tmp_path)
            said: Any = manager.checkpoint(number).native.values()["python"]
            assert type(said["config"]["layers"]) is type(value)
            assert [type(key) for key in manager.checkpoint(number).state()["run"]] == [type(value)]


def test_tied_weights_are_used_again(bound: list[Any], tmp_path: Path) -> None:
    state = training()
    tied(state)
    state["model"]._tied_weights_keys = ["second.weight"]
    with cairn.CheckpointManager(tmp_path / "run", state, stop_signals=()) as manager:
        for number in (1, 2, 3):
            expect(manager, state, number, tmp_path)
        state["model"]._tied_weights_keys = ["first.weight"]
        expect(manager, state, 4, tmp_path)
    assert len(bound) - 4 == 2


def test_arrays_of_others_and_complex_numbers_are_bound_each_time(tmp_path: Path) -> None:
    state = {"numbers": {"n": numpy.arange(4.0), "c": torch.ones(3, dtype=torch.complex64)}}
    with cairn.CheckpointManager(tmp_path / "run", state, stop_signals=()) as manager:
        expect(manager, state, 1, tmp_path)
        state["numbers"]["n"].resize(6, refcheck=False)
        state["numbers"]["c"].data = state["numbers"]["c"].data.conj() * 1j
        expect(manager, state, 2, tmp_path)


def test_what_was_replaced_is_let_go_by_the_next_save_and_at_the_end(tmp_path: Path) -> None:
    state = training()
    with cairn.CheckpointManager(tmp_path / "run", state, stop_signals=()) as manager:
        expect(manager, state, 1, tmp_path)
        assert manager._capturer._bound is not None
        before = manager._capturer._bound
        another_parameter(state)
        expect(manager, state, 2, tmp_path)
        assert manager._capturer._bound is not before
    assert manager._capturer._bound is None


def test_memory_is_ready_before_the_first_save(tmp_path: Path) -> None:
    """After `restore`, and once more when the optimizer has made its state."""
    model = nn.Linear(1024, 1024)
    state = {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}
    with cairn.CheckpointManager(tmp_path / "run", state, save=cairn.Save(every_steps=10), stop_signals=()) as manager:
        manager.restore()
        model(torch.rand(1, 1024)).sum().backward()
        state["optimizer"].step()
        assert not manager.save(1)
        run = manager._run
        assert run is not None
        run.reserve(manager._capturer.capture(manager._items, {})[0])  # returns when the memory is there
        ready = run.status().arena_bytes
        assert ready >= 3 * (4 << 20)
        manager.save(10)
        assert run.status().arena_bytes == ready


class Drawing:
    """Whose state_dict draws random numbers, as that of torchdata's loader does."""

    calls = 0

    def state_dict(self) -> dict[str, Any]:
        self.calls += 1
        return {"drawn": torch.rand(1).item()}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Hooked(nn.Linear):
    def get_extra_state(self) -> dict[str, Any]:
        return {"drawn": torch.rand(1).item()}

    def set_extra_state(self, state: dict[str, Any]) -> None: ...


def test_making_memory_ready_calls_nobody_s_code(tmp_path: Path) -> None:
    state = {"model": nn.Linear(2, 2), "hooked": Hooked(2, 2), "loader": Drawing(), "rng": cairn.RNG()}
    for fresh in (True, False):
        with cairn.CheckpointManager(tmp_path / "run", state, save=cairn.Save(every_steps=2), stop_signals=()) as manager:
            torch.manual_seed(7)
            restored = manager.restore()
            assert restored.fresh == fresh
            before, calls = torch.get_rng_state(), state["loader"].calls
            assert not manager.save(restored.step + 1)
            assert torch.equal(torch.get_rng_state(), before) and state["loader"].calls == calls
            assert manager.save(restored.step + 2)


def stale(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Which entries a save has warned of since."""
    told = [record.getMessage() for record in caplog.records if "the same jax arrays" in record.getMessage()]
    caplog.clear()
    return told


SAME = "the same jax arrays as {}: jax's arrays do not change, so give the new tree to save(step, state)"


def test_arrays_of_jax_that_nobody_gives_anew_are_told_once(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax").numpy

    def tree(value: float) -> dict[str, Any]:
        return {"w": jnp.full(3, value), "n": [jnp.full(2, value)], "at": numpy.full(2, value), "step": value}

    with cairn.CheckpointManager(tmp_path / "run", {"model": tree(0), "run": {"a": 1}}, stop_signals=()) as manager:
        assert manager.save(0, force=True) and not stale(caplog), "of a first save nothing is known"
        manager.save(1, force=True)
        assert stale(caplog) == ["model: " + SAME.format("at the last save")]
        manager.save(2, force=True)
        assert not stale(caplog), "once is enough"
        manager.save(3, {"model": tree(3)}, force=True)
        partly = tree(4) | {"n": manager._state["model"]["n"]}
        manager.save(4, {"model": partly}, force=True)
        assert not stale(caplog)
        manager.save(5, {"model": dict(partly)}, force=True)
        assert stale(caplog) == ["model: " + SAME.format("at the last save")]


def test_arrays_of_jax_as_they_were_restored_are_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    jax = pytest.importorskip("jax")
    run = tmp_path / "run"
    tree = {"w": jax.numpy.ones(3), "key": jax.random.key(1)}
    with cairn.CheckpointManager(run, {"model": tree}, stop_signals=()) as manager:
        manager.restore()
        assert manager.save(0, force=True) and not stale(caplog), "the state of step 0 is the one that was given"
    with cairn.CheckpointManager(run / "other", {"model": tree}, stop_signals=()) as manager:
        manager.restore()
        assert manager.save(1, force=True) and stale(caplog) == ["model: " + SAME.format("were given or restored")]
    for _ in range(2):
        with cairn.CheckpointManager(run, stop_signals=()) as manager:
            restored = manager.restore({"model": tree})
            manager.save(restored.step + 1, force=True)
            assert stale(caplog) == ["model: " + SAME.format("were given or restored")]
            manager.save(restored.step + 2, {"model": jax.tree_util.tree_map(lambda leaf: leaf.copy(), tree)}, force=True)
            assert not stale(caplog)


def test_no_array_of_jax_is_held_to_be_known_again(tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax").numpy
    with cairn.CheckpointManager(tmp_path / "run", stop_signals=()) as manager:
        tree = {"w": jnp.ones(3)}
        gone = weakref.ref(tree["w"])
        manager.save(1, {"model": tree}, force=True)
        manager.save(2, {"model": {"w": jnp.ones(3)}}, force=True)
        del tree
        manager.wait_until_finished()
        gc.collect()
        assert gone() is None


def test_a_dict_of_jax_arrays_that_is_kept_up_to_date_is_no_stale_one(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    jnp = pytest.importorskip("jax").numpy
    tree, rng = {"w": jnp.zeros(3)}, {"empty": {}, "n": numpy.zeros(2)}
    with cairn.CheckpointManager(tmp_path / "run", {"model": tree, "rng": rng}, stop_signals=()) as manager:
        manager.restore()
        for step in 1, 2, 3:
            tree["w"] = tree["w"] + 1
            manager.save(step, force=True)
    assert not stale(caplog)


def warnings_of(caplog: pytest.LogCaptureFixture, folder: Path, state: dict[str, Any], is_restored: bool = True) -> list[str]:
    """What the first save of a new run logs."""
    caplog.clear()
    with cairn.CheckpointManager(folder, state, stop_signals=()) as manager:
        if is_restored:
            assert manager.restore().fresh
        manager.save(1, force=True)
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.LBFGS], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("is_restored", [True, False])
def test_what_an_optimizer_trains_and_nothing_saves_is_told(kind: Any, is_restored: bool, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    model, scale = Net(), nn.Parameter(torch.ones(1))
    state = {"model": model, "optimizer": kind([*model.parameters(), scale], lr=0.1)}
    assert warnings_of(caplog, tmp_path / "run", state, is_restored) == [
        "optimizer: trains 1 parameter that no entry of the state holds, so it is not saved: float32 (1,)"
    ]


def test_a_module_that_was_forgotten_is_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    generator, critic = nn.Linear(2, 3), Net().double().requires_grad_(False)
    state = {"model": generator, "optimizer": torch.optim.Adam(generator.parameters()), "other": torch.optim.Adam(critic.parameters())}
    told = warnings_of(caplog, tmp_path / "run", state)
    assert told == [
        "other: trains 6 parameters that no entry of the state holds, so they are not saved: float64 (6, 6), float64 (6,), float64 (6, 6), float64 (6,) and 2 more"
    ]
    assert warnings_of(caplog, tmp_path / "all", state | {"critic": critic}) == []


def test_parameters_that_came_later_are_told(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    state = training()
    with cairn.CheckpointManager(tmp_path / "run", state, stop_signals=()) as manager:
        manager.save(1, force=True)
        assert not caplog.records
        state["optimizer"].add_param_group({"params": [nn.Parameter(torch.ones(2, 5))]})
        manager.save(2, force=True)
        assert "optimizer: trains 1 parameter" in caplog.text and "float32 (2, 5)" in caplog.text


class Own:
    """Parameters outside of any module, and an object that gives them."""

    def __init__(self) -> None:
        self.weight = nn.Parameter(torch.ones(3, 2))

    def state_dict(self) -> dict[str, Any]:
        return {"weight": self.weight.detach()}

    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class Turned(nn.Linear):
    """Is saved in another form than it is held."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self._register_state_dict_hook(lambda module, found, prefix, metadata: found.update({prefix + "weight": found[prefix + "weight"].detach().t().contiguous()}))


def test_what_lies_in_any_entry_is_saved(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    own, flat, turned, numbers = Own(), torch.zeros(8), Turned(), numpy.zeros(3)
    trained = [own.weight, nn.Parameter(flat[:4].view(2, 2)), nn.Parameter(torch.from_numpy(numbers)), nn.Parameter(torch.empty(0)), *turned.parameters()]
    state = {"own": own, "tree": {"flat": flat, "numbers": numbers}, "turned": turned, "optimizer": torch.optim.SGD(trained, lr=0.1)}
    assert warnings_of(caplog, tmp_path / "run", state) == []


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda module: torch.compile(module, backend="eager")], ids=["parallel", "compiled"])
def test_what_is_wrapped_is_saved(wrap: Callable[[nn.Module], Any], caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    model = wrap(Net())
    inner = Net()
    inner.first = wrap(inner.first)
    state = {"model": model, "inner": inner, "optimizer": torch.optim.AdamW([*model.parameters(), *inner.parameters()])}
    assert warnings_of(caplog, tmp_path / "run", state) == []


def test_an_adapter_s_base_is_known_by_its_digest(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    peft = pytest.importorskip("peft")
    model = peft.get_peft_model(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), peft.LoraConfig(r=1, target_modules=["0"]))
    assert warnings_of(caplog, tmp_path / "run", {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}) == []


def test_a_state_that_cannot_be_saved_yet_is_told_by_the_save(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "run", {"model": nn.LazyLinear(4)}, stop_signals=()) as manager:
        assert manager.restore().fresh
        with pytest.raises(cairn.UnstorableError, match="lazy"):
            manager.save(1, force=True)


@pytest.mark.parametrize("is_enabled", [True, False])
def test_garbage_is_collected_as_before(is_enabled: bool, tmp_path: Path) -> None:
    gc.enable() if is_enabled else gc.disable()
    try:
        cairn.save(tmp_path / "one", {"model": nn.Linear(2, 2)})
        assert gc.isenabled() == is_enabled
        with pytest.raises(cairn.UnstorableError):
            cairn.save(tmp_path / "two", {"run": {"f": lambda: 0}})
        assert gc.isenabled() == is_enabled
    finally:
        gc.enable()
