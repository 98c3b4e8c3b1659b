"""Any state comes back: every optimizer and scheduler of torch, modules of all kinds; what cannot be stored is refused by its path."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from state_help import bits, carry, same
from torch import nn
from torch.nn import functional as F
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader

import cairn

# ---------------------------------------------------------------------------------------------------------------- optimizers


def subclasses(module: Any, base: type) -> list[type]:
    """Every public class of a module that one can make: a new one is not forgotten."""
    found = [kind for name, kind in vars(module).items() if inspect.isclass(kind) and issubclass(kind, base) and not name.startswith("_")]
    return [kind for kind in dict.fromkeys(found) if kind is not base]


OPTIMIZERS: dict[str, dict[str, Any]] = {"LBFGS": {"lr": 0.1, "max_iter": 3}, "SGD": {"lr": 0.1, "momentum": 0.9}, "RMSprop": {"momentum": 0.5, "centered": True}}


def make_optimizer(kind: type, seed: int) -> tuple[nn.Module, Any]:
    torch.manual_seed(seed)
    model: nn.Module
    if kind.__name__ == "SparseAdam":
        model = nn.Embedding(6, 4, sparse=True)
    else:
        model = nn.Sequential(nn.Linear(4, 6, bias=kind.__name__ != "Muon"), nn.Tanh(), nn.Linear(6, 3, bias=kind.__name__ != "Muon"))
    return model, kind(model.parameters(), **OPTIMIZERS.get(kind.__name__, {}))


def train(model: nn.Module, optimizer: Any, step: int, scheduler: Any = None) -> None:
    numbers = torch.Generator().manual_seed(step)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        inputs = torch.randint(0, 6, (5,), generator=numbers) if isinstance(model, nn.Embedding) else torch.randn(5, 4, generator=numbers)
        loss = model(inputs).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
        scheduler.step(1.0)
    elif scheduler is not None:
        scheduler.step()


def parameters(model: nn.Module) -> list[bytes]:
    return [bits(parameter) for parameter in model.parameters()]


@pytest.mark.parametrize("kind", subclasses(torch.optim, torch.optim.Optimizer), ids=lambda kind: kind.__name__)
def test_every_optimizer_goes_on_with_the_same_bits(kind: type, tmp_path: Path) -> None:
    model, optimizer = make_optimizer(kind, 1)
    for step in range(3):
        train(model, optimizer, step)
    other, fresh = make_optimizer(kind, 2)
    carry(tmp_path, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": fresh})
    assert parameters(model) == parameters(other)
    for step in range(3, 6):
        train(model, optimizer, step)
        train(other, fresh, step)
        assert parameters(model) == parameters(other)
    assert same(optimizer.state_dict(), fresh.state_dict())


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, lambda epoch: 0.9**epoch),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, lambda epoch: 0.9),
    "StepLR": lambda o: lr_scheduler.StepLR(o, 2),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, [2, 4, 4]),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, total_iters=4),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, total_iters=4),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "SequentialLR": lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.LinearLR(o, 0.1, total_iters=2), lr_scheduler.CosineAnnealingLR(o, 9)], [4]),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, 9),
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.ConstantLR(o, 0.5, 4), lr_scheduler.ExponentialLR(o, 0.9)]),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, step_size_up=2, scale_fn=lambda x: 0.5**x),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, 5, 2.0),
    "SWALR": lambda o: torch.optim.swa_utils.SWALR(o, 0.05, anneal_epochs=4),
}


def test_no_scheduler_is_forgotten() -> None:
    known = {kind.__name__ for kind in subclasses(lr_scheduler, lr_scheduler.LRScheduler)} | {"SWALR"}
    assert known == set(SCHEDULERS)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_goes_on_with_the_same_bits(name: str, tmp_path: Path) -> None:
    def make(seed: int) -> tuple[nn.Module, Any, Any]:
        torch.manual_seed(seed)
        model = nn.Linear(4, 3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        return model, optimizer, SCHEDULERS[name](optimizer)

    model, optimizer, scheduler = make(1)
    for step in range(3):
        train(model, optimizer, step, scheduler)
    other, fresh, waiting = make(2)
    given = {"model": other, "optimizer": fresh, "scheduler": waiting}
    cairn.save(tmp_path / "saved", {"model": model, "optimizer": optimizer, "scheduler": scheduler})
    assert cairn.load(tmp_path / "saved", into=given).notes == [], "nothing is unlike what it was made with"
    for step in range(3, 6):
        train(model, optimizer, step, scheduler)
        train(other, fresh, step, waiting)
        assert [group["lr"] for group in optimizer.param_groups] == [group["lr"] for group in fresh.param_groups]
    assert parameters(model) == parameters(other)


class OwnSchedule(lr_scheduler.LRScheduler):
    """Keeps a function among its attributes, as many do."""

    def __init__(self, optimizer: Any) -> None:
        self.shape = lambda step: 0.5**step
        super().__init__(optimizer)

    def get_lr(self) -> list[float | torch.Tensor]:
        return [base * self.shape(self.last_epoch) for base in self.base_lrs]


def test_a_schedulers_functions_are_code(tmp_path: Path) -> None:
    optimizer, fresh = (torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1) for _ in range(2))
    schedule, waiting = OwnSchedule(optimizer), OwnSchedule(fresh)
    for _ in range(3):
        optimizer.step()
        schedule.step()
    carry(tmp_path, {"scheduler": schedule}, {"scheduler": waiting})
    assert waiting.last_epoch == 3 and callable(waiting.shape)


# ------------------------------------------------------------------------------------------------- optimizers by names, by position


class Half(torch.optim.Optimizer):
    """Momentum in float32 for weights in bfloat16, also in a list."""

    def __init__(self, parameters: Any, nested: bool = False) -> None:
        super().__init__(parameters, {"lr": 0.1})
        self.nested = nested

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                if not state:
                    momentum = torch.zeros_like(parameter, dtype=torch.float32)
                    state["momentum"] = [momentum] if self.nested else momentum
                momentum = state["momentum"][0] if self.nested else state["momentum"]
                momentum.mul_(0.9).add_(parameter.grad.float())
                parameter.data.add_(momentum.to(parameter.dtype), alpha=-group["lr"])


@pytest.mark.parametrize("nested", [False, True])
def test_float32_state_of_bfloat16_weights_stays(nested: bool, tmp_path: Path) -> None:
    model, other = (nn.Linear(4, 4).to(torch.bfloat16) for _ in range(2))
    optimizer, fresh = Half(model.parameters(), nested), Half(other.parameters(), nested)
    model(torch.randn(2, 4, dtype=torch.bfloat16)).sum().backward()
    optimizer.step()
    carry(tmp_path, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": fresh})
    state = fresh.state[other.weight]["momentum"]
    assert (state[0] if nested else state).dtype == torch.float32
    assert same(optimizer.state_dict(), fresh.state_dict())


class Pair(nn.Module):
    def __init__(self, swapped: bool = False, frozen: bool = False) -> None:
        super().__init__()
        for name in ("b", "a") if swapped else ("a", "b"):
            setattr(self, name, nn.Linear(3, 3))
        if frozen:
            self.added = nn.Linear(3, 3).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(torch.tanh(self.a(x)))


def trained_pair() -> tuple[Pair, torch.optim.Optimizer]:
    torch.manual_seed(3)
    model = Pair()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    model(torch.randn(2, 3)).sum().backward()
    optimizer.step()
    return model, optimizer


def moments(model: nn.Module, optimizer: Any) -> dict[str, dict[str, bytes]]:
    return {name: {key: bits(value) for key, value in optimizer.state[parameter].items()} for name, parameter in model.named_parameters() if optimizer.state.get(parameter)}


@pytest.mark.parametrize("order", ["reordered", "reversed group", "added frozen"])
def test_an_optimizer_is_known_by_names(order: str, tmp_path: Path) -> None:
    model, optimizer = trained_pair()
    other = Pair(swapped=order == "reordered", frozen=order == "added frozen")
    given = list(other.parameters())
    fresh = torch.optim.AdamW(reversed(given) if order == "reversed group" else given, lr=1.0)
    carry(tmp_path, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": fresh})
    assert moments(model, optimizer) == moments(other, fresh)
    assert fresh.param_groups[0]["lr"] == 0.01


@pytest.mark.parametrize("is_bound", [True, False], ids=["names", "positions"])
def test_a_rate_in_a_tensor_comes_back(is_bound: bool, tmp_path: Path) -> None:
    model, other = Pair(), Pair()

    def optimizer_of(module: Pair, rate: float) -> Any:
        groups = [{"params": module.a.parameters(), "lr": torch.tensor(rate)}, {"params": module.b.parameters(), "lr": rate / 2}]
        return torch.optim.SGD(groups, momentum=0.9, weight_decay=rate)

    optimizer, fresh = optimizer_of(model, 0.25), optimizer_of(other, 1.0)
    (model.a(torch.ones(3)).sum() + model.b(torch.ones(3)).sum()).backward()
    optimizer.step()
    with_model = {"model": model} if is_bound else {}
    carry(tmp_path, with_model | {"optimizer": optimizer}, ({"model": other} if is_bound else {}) | {"optimizer": fresh})
    assert moments(model, optimizer) == moments(other, fresh) and moments(other, fresh)
    assert same([group["lr"] for group in fresh.param_groups], [torch.tensor(0.25), 0.125]) and fresh.param_groups[1]["weight_decay"] == 0.25


def test_parameters_that_moved_between_groups_are_named(tmp_path: Path) -> None:
    model, _ = trained_pair()
    optimizer = torch.optim.SGD([{"params": model.a.parameters()}, {"params": model.b.parameters(), "lr": 0.5}], lr=0.1)
    other = Pair()
    fresh = torch.optim.SGD([{"params": other.b.parameters()}, {"params": other.a.parameters()}], lr=0.1)
    before = parameters(other)
    with pytest.raises(cairn.MismatchError, match=r"optimizer: parameters moved between its groups: b\.weight from 1 to 0, b\.bias .* a\.bias from 0 to 1"):
        carry(tmp_path, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": fresh})
    assert parameters(other) == before


def test_a_parameter_without_state_yet_is_told(tmp_path: Path) -> None:
    model, optimizer = trained_pair()
    other = Pair(frozen=True)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as manager:
        manager.save(1, force=True)
    with cairn.CheckpointManager(tmp_path / "run", {"model": other, "optimizer": torch.optim.AdamW(other.parameters())}) as manager:
        report = manager.restore().report
    assert any("added.weight, added.bias" in note and "without state" in note for note in report.notes)
    assert "model/added.weight" in report.new


@pytest.mark.parametrize("saved_by, restored", [("position", "names"), ("names", "position")])
def test_an_optimizer_whose_modules_are_not_bound_goes_by_position(saved_by: str, restored: str, tmp_path: Path) -> None:
    model, optimizer = trained_pair()
    other = Pair()
    fresh = torch.optim.AdamW(other.parameters())
    with_model: dict[str, Any] = {"model": model, "optimizer": optimizer}
    if saved_by == "position":
        carry(tmp_path, {"optimizer": optimizer}, {"optimizer": fresh})
        assert moments(model, optimizer) == moments(other, fresh)
        return
    with pytest.raises(cairn.MismatchError, match="optimizer: its state was saved by parameter names, and now they are not known: bind the modules"):
        carry(tmp_path, with_model, {"optimizer": fresh})


def test_positions_are_guarded_by_the_layout(tmp_path: Path) -> None:
    model, other = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4)), nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 4))
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=2)
    train(model, optimizer, 0)
    reordered = torch.optim.LBFGS([*other[1].parameters(), *other[0].parameters()], lr=0.1)
    with pytest.raises(cairn.MismatchError, match="optimizer: its state was saved by position, and the optimizer's parameters are others now, or in another order"):
        carry(tmp_path, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": reordered})


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.LBFGS])
def test_names_that_an_optimizer_was_told_are_not_stored(kind: Any, tmp_path: Path) -> None:
    """A wrapper puts its own before them, and they are those of one process."""

    def make(seed: int) -> tuple[nn.Module, Any]:
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        wrapped = nn.DataParallel(model)
        return wrapped, kind(wrapped.named_parameters(), lr=0.1)

    (model, optimizer), (other, fresh) = make(1), make(2)
    bare_model, bare = make(3)[0].module, None
    bare = kind(bare_model.parameters(), lr=0.1)

    def loss(module: nn.Module) -> torch.Tensor:
        module.zero_grad()
        total = module(torch.ones(2, 3)).square().sum()
        total.backward()
        return total

    optimizer.step(lambda: loss(model))
    carry(tmp_path, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": fresh})
    text = (tmp_path / "run/checkpoint-1/training/state.json").read_text()
    assert "module." not in text and "param_names" not in text
    assert fresh.param_groups[0]["param_names"] == ["module.0.weight", "module.0.bias", "module.1.weight", "module.1.bias"]
    carry(tmp_path / "bare", {"model": model, "optimizer": optimizer}, {"model": bare_model, "optimizer": bare})
    assert "param_names" not in bare.param_groups[0]
    bare.add_param_group({"params": [nn.Parameter(torch.ones(1))]}) if kind is torch.optim.AdamW else None
    for module, own in ((model, optimizer), (other, fresh)):
        own.step(lambda module=module: loss(module))
    assert parameters(model) == parameters(other)


def test_hooks_that_look_at_an_optimizers_names_are_given_them(tmp_path: Path) -> None:
    """As torch's documents show them."""

    def make(value: float) -> Any:
        optimizer = torch.optim.SGD([("a", nn.Parameter(torch.full((2,), value)))], lr=0.1, momentum=0.9)
        optimizer.register_load_state_dict_pre_hook(lambda own, state: seen.extend(state["param_groups"][0]["param_names"]))
        optimizer.param_groups[0]["params"][0].grad = torch.ones(2)
        optimizer.step()
        return optimizer

    seen: list[str] = []
    carry(tmp_path, {"optimizer": make(1.0)}, {"optimizer": make(2.0)})
    assert seen == ["a"]


def test_names_that_an_optimizer_was_told_tell_positions_apart(tmp_path: Path) -> None:
    """Where its module is no entry of the state."""

    def make(reverse: bool) -> Any:
        named = [(f"module.{name}", parameter) for name, parameter in (("a", nn.Parameter(torch.ones(3))), ("b", nn.Parameter(torch.ones(3))))]
        return torch.optim.AdamW(named[::-1] if reverse else named, lr=0.1)

    optimizer = make(False)
    for parameter in optimizer.param_groups[0]["params"]:
        parameter.grad = torch.ones(3)
    optimizer.step()
    carry(tmp_path, {"optimizer": optimizer}, {"optimizer": make(False)})
    with pytest.raises(cairn.MismatchError, match="saved by position, and the optimizer's parameters are others now, or in another order"):
        carry(tmp_path / "reversed", {"optimizer": optimizer}, {"optimizer": make(True)})


class Watched(torch.Tensor):
    """A tensor of somebody's own class, who wants to know what is copied into it."""

    copies = 0

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.copy_:
            cls.copies += 1
        return super().__torch_function__(function, types, args, kwargs or {})


def test_tensors_of_a_class_of_their_own_are_filled_by_load_state_dict(tmp_path: Path) -> None:
    def make(value: float) -> nn.Module:
        model = nn.Linear(2, 2)
        model.register_buffer("table", torch.full((3,), value).as_subclass(Watched))  # type: ignore[no-untyped-call]
        return model

    model, other = make(1.0), make(2.0)
    carry(tmp_path, {"model": model}, {"model": other})
    assert parameters(model) == parameters(other)
    assert isinstance(other.table, Watched) and (other.table.as_subclass(torch.Tensor) == 1).all() and Watched.copies == 1  # type: ignore[operator, union-attr]


def test_a_missing_optimizer_is_an_error(tmp_path: Path) -> None:
    model, optimizer = trained_pair()
    with pytest.raises(cairn.MismatchError, match="optimizer/state is not in the checkpoint"):
        carry(tmp_path, {"model": model}, {"model": model, "optimizer": optimizer})


class Named(torch.optim.SGD):
    """An optimizer of a class of one's own."""


@pytest.mark.parametrize(
    "saved_by, restored",
    [(torch.optim.AdamW, torch.optim.Adam), (torch.optim.AdamW, torch.optim.SGD), (torch.optim.SGD, torch.optim.AdamW), (torch.optim.SGD, Named), (torch.optim.LBFGS, torch.optim.SGD)],
    ids=lambda kind: kind.__name__,
)
def test_an_optimizer_of_another_class_is_refused_before_anything_is_touched(saved_by: Any, restored: Any, tmp_path: Path) -> None:
    model, other = Pair(), Pair()
    before = parameters(other)
    match = rf"^optimizer: saved by {saved_by.__name__}, and this one is {restored.__name__}: restore the others with items=\.\.\., or load what fits by hand$"
    with pytest.raises(cairn.MismatchError, match=match):
        carry(
            tmp_path,
            {"model": model, "optimizer": saved_by(model.parameters(), lr=0.1)},
            {"model": other, "optimizer": restored(other.parameters(), lr=0.1)},
        )
    assert parameters(other) == before
    carry(tmp_path / "others", {"model": model, "optimizer": saved_by(model.parameters(), lr=0.1)}, {"model": other, "optimizer": restored(other.parameters())}, items=["model"])
    assert parameters(other) == parameters(model)


def test_a_scheduler_of_another_class_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    weights = {"w": torch.zeros(1)}
    with pytest.raises(cairn.MismatchError, match="^scheduler: saved by StepLR, and this one is CosineAnnealingLR: "):
        carry(
            tmp_path,
            {"net": {"w": torch.ones(1)}, "scheduler": lr_scheduler.StepLR(optimizer, 2)},
            {"net": weights, "scheduler": lr_scheduler.CosineAnnealingLR(optimizer, 9)},
        )
    assert weights["w"].item() == 0.0


def test_what_wraps_optimizers_and_schedulers_is_not_their_class(tmp_path: Path) -> None:
    accelerate = pytest.importorskip("accelerate")

    def make(wrap: bool) -> dict[str, Any]:
        model = nn.Linear(2, 2)
        optimizer = torch.optim.AdamW(model.parameters())
        scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.9**epoch)
        if wrap:
            accelerator = accelerate.Accelerator(cpu=True)
            model, optimizer, scheduler = accelerator.prepare(model, optimizer, scheduler)
        return {"model": model, "optimizer": optimizer, "scheduler": scheduler}

    for number, (wrapped, later) in enumerate([(True, False), (False, True)]):
        saved, fresh = make(wrapped), make(later)
        saved["scheduler"].step()
        carry(tmp_path / str(number), saved, fresh)
        assert getattr(fresh["scheduler"], "scheduler", fresh["scheduler"]).last_epoch == 1
    with pytest.raises(cairn.MismatchError, match="saved by AdamW, and this one is SGD"):
        other = make(False)
        carry(tmp_path / "other", make(True), other | {"optimizer": torch.optim.SGD(other["model"].parameters())})


# ------------------------------------------------------------------------------------------------- scalers, averages, loaders


def test_a_scaler_comes_back(tmp_path: Path) -> None:
    scaler, fresh = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2), torch.amp.GradScaler("cpu")
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    for _ in range(3):
        scaler.scale((weight * 2).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    carry(tmp_path, {"scaler": scaler}, {"scaler": fresh})
    assert fresh.state_dict() == scaler.state_dict() and fresh.get_scale() == scaler.get_scale() == 16.0


def test_a_scaler_that_was_off_gives_nothing_to_one_that_is_on(tmp_path: Path) -> None:
    weights = {"w": torch.zeros(1)}
    with pytest.raises(cairn.MismatchError, match="^scaler: it was off when it was saved, and is on now: restore the others with items="):
        carry(
            tmp_path,
            {"net": {"w": torch.ones(1)}, "scaler": torch.amp.GradScaler("cpu", enabled=False)},
            {"net": weights, "scaler": torch.amp.GradScaler("cpu")},
        )
    assert weights["w"].item() == 0.0
    carry(tmp_path / "off", {"scaler": torch.amp.GradScaler("cpu", enabled=False)}, {"scaler": torch.amp.GradScaler("cpu", enabled=False)})


def test_a_scaler_that_is_off_says_what_it_leaves_out(tmp_path: Path) -> None:
    cairn.save(tmp_path / "one", {"scaler": torch.amp.GradScaler("cpu", init_scale=8.0)})
    notes = cairn.load(tmp_path / "one", into={"scaler": torch.amp.GradScaler("cpu", enabled=False)}).notes
    assert notes == ["scaler: it was on when it was saved, and is off now: its scale of 8.0 is left out"]


def test_an_averaged_model_comes_back(tmp_path: Path) -> None:
    def make() -> tuple[nn.Module, Any]:
        model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        return model, torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9), use_buffers=True)

    (model, average), (other, fresh) = make(), make()
    for _ in range(3):
        model(torch.randn(4, 3))
        with torch.no_grad():
            model[0].weight.add_(1.0)
        average.update_parameters(model)
    carry(tmp_path, {"model": model, "ema": average}, {"model": other, "ema": fresh})
    assert same(average.state_dict(), fresh.state_dict()) and fresh.n_averaged == 3
    assert fresh.module[0].weight is not other[0].weight


@pytest.mark.parametrize("workers", [0, 1])
def test_a_stateful_loader_goes_on_where_it_was(workers: int, tmp_path: Path) -> None:
    loader_of = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def make(seed: int) -> Any:
        return loader_of(list(range(12)), batch_size=2, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(seed))

    loader, fresh = make(1), make(2)
    batches = iter(loader)
    for _ in range(2):
        next(batches)
    carry(tmp_path, {"data": loader}, {"data": fresh})
    assert [batch.tolist() for batch in fresh] == [batch.tolist() for batch in batches]


def test_a_stateful_loader_without_random_numbers_of_its_own_is_told(tmp_path: Path) -> None:
    loader_of = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
    told = []
    for number, options in enumerate(({}, {"generator": torch.Generator()})):
        with cairn.CheckpointManager(tmp_path / f"{number}", {"data": loader_of([1, 2, 3], **options)}) as manager:
            manager.save(1, force=True)
        with cairn.CheckpointManager(tmp_path / f"{number}", {"data": loader_of([1, 2, 3], **options)}) as manager:
            told.append(manager.restore().report.notes)
    assert told[0] == [
        "data: its next iterator draws from torch's random numbers, which the run had done before, so what follows differs: wrap it, cairn.data(loader), "
        "or give it a generator of its own"
    ]
    assert told[1] == []


@pytest.mark.parametrize(
    "samples, options, match",
    [(12, {}, "middle of epoch 0, whose rest this loader cannot give: length was 5 and is 6"), (10, {"generator": torch.Generator()}, "generator: is here, was not")],
)
def test_a_loader_that_cannot_go_on_is_refused_before_anything_is_touched(samples: int, options: dict[str, Any], match: str, tmp_path: Path) -> None:
    saved = cairn.data(DataLoader(range(10), 2))  # type: ignore[arg-type]
    batches = iter(saved)
    next(batches)
    fresh = {"net": {"w": torch.zeros(2)}, "train": cairn.data(DataLoader(range(samples), 2, **options))}  # type: ignore[arg-type]
    with pytest.raises(cairn.MismatchError, match=match):
        carry(tmp_path, {"net": {"w": torch.ones(2)}, "train": saved}, fresh)
    assert fresh["net"]["w"].tolist() == [0.0, 0.0] and fresh["train"].batch == 0


def test_where_no_position_was_saved_none_is_taken_and_nothing_touched(tmp_path: Path) -> None:
    saved, fresh = ({"net": {"w": torch.full((2,), value)}, "train": DataLoader(range(10), 2)} for value in (1.0, 0.0))  # type: ignore[arg-type]
    with pytest.raises(cairn.MismatchError, match="data: a state of version None"):
        carry(tmp_path, saved, fresh | {"train": cairn.data(fresh["train"])})
    assert fresh["net"]["w"].tolist() == [0.0, 0.0]
    assert carry(tmp_path / "other", {"net": saved["net"]}, fresh | {"train": cairn.data(fresh["train"])})["train"].batch == 0


# ------------------------------------------------------------------------------------------------------------------- modules


class Tied(nn.Module):
    def __init__(self, keys: Any) -> None:
        super().__init__()
        if keys is not None:
            self._tied_weights_keys = keys
        self.head, self.words = nn.Linear(3, 5, bias=False), nn.Embedding(5, 3)
        self.head.weight = self.words.weight


@pytest.mark.parametrize(
    "keys, stored",
    [(None, "head.weight"), (["head.weight"], "words.weight"), ([r"head\.w.*"], "words.weight"), ({"head.weight": "words.weight"}, "words.weight")],
    ids=["none", "list", "pattern", "dict"],
)
def test_tied_weights_are_stored_once(keys: Any, stored: str, tmp_path: Path) -> None:
    model, other = Tied(keys), Tied(keys)
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(model.words.weight, other.words.weight) and other.head.weight is other.words.weight
    with cairn.Checkpoint(tmp_path / "run" / "checkpoint-1") as checkpoint:
        assert [info.name for info in checkpoint.native.tensors] == [stored]
        assert bits(checkpoint["model"]["head.weight"].torch()) == bits(checkpoint["model"]["words.weight"].torch()) == bits(model.words.weight)
        assert set(checkpoint.state()["model"]) == {"head.weight", "words.weight"}


class Ordered(nn.Module):
    """One matrix under two names, made in this order."""

    def __init__(self, *names: str, hooked: bool = False) -> None:
        super().__init__()
        for name in names:
            setattr(self, name, nn.Embedding(5, 3) if name == "words" else nn.Linear(3, 5, bias=False))
        self.head.weight = self.words.weight
        if hooked:
            self.register_load_state_dict_post_hook(lambda module, keys: None)

    def forward(self, words: Any) -> Any:
        return self.head(self.words(words))


@pytest.mark.parametrize("hooked", [False, True])
def test_tied_weights_come_back_into_modules_of_another_order(hooked: bool, tmp_path: Path) -> None:
    def make(*names: str) -> dict[str, Any]:
        model = Ordered(*names, hooked=hooked)
        optimizer = torch.optim.AdamW(model.parameters())
        model(torch.arange(5)).sum().backward()
        optimizer.step()
        return {"model": model, "optimizer": optimizer}

    saved, fresh = make("head", "words"), make("words", "head")
    report = carry(tmp_path, saved, fresh)
    assert same(saved["model"].words.weight, fresh["model"].words.weight) and fresh["model"].head.weight is fresh["model"].words.weight
    assert same(saved["optimizer"].state_dict(), fresh["optimizer"].state_dict()) and report is not None


def test_state_of_a_module_in_two_entries_follows_in_any_order(tmp_path: Path) -> None:
    def make(is_turned: bool) -> dict[str, Any]:
        whole = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        optimizer = torch.optim.SGD(whole.parameters(), 0.1, momentum=0.9)
        whole(torch.rand(1, 2)).sum().backward()
        optimizer.step()
        entries = {"generator": whole, "encoder": whole[0]}
        return (dict(reversed(entries.items())) if is_turned else entries) | {"optimizer": optimizer}

    saved, fresh = make(False), make(True)
    carry(tmp_path, saved, fresh)
    assert same(saved["optimizer"].state_dict(), fresh["optimizer"].state_dict())


def test_a_hook_somewhere_casts_nothing_in_silence(tmp_path: Path) -> None:
    def make(dtype: torch.dtype) -> nn.Module:
        return nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)), nn.Linear(3, 3)).to(dtype)

    with pytest.raises(cairn.MismatchError, match=r"model/1.weight is BF16 \(3, 3\), in the checkpoint F64 \(3, 3\)"):
        carry(tmp_path, {"model": make(torch.float64)}, {"model": make(torch.bfloat16)})


def test_scripted_modules_are_modules(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model, other = (torch.jit.script(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))) for _ in range(2))
    model(torch.rand(3, 2))
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(model.state_dict(), other.state_dict())
    with cairn.Checkpoint(tmp_path / "run" / "checkpoint-1") as checkpoint:
        assert set(checkpoint["model"]) == set(model.state_dict())
        checkpoint.load_into(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_groups_of_other_sizes_are_told_before_anything_is_touched(tmp_path: Path) -> None:
    def make(first: int, value: float) -> dict[str, Any]:
        parameters = [nn.Parameter(torch.full((2,), value)) for _ in range(3)]
        return {"more": {"w": torch.full((2,), value)}, "optimizer": torch.optim.SGD([{"params": parameters[:first]}, {"params": parameters[first:]}], 0.1)}

    fresh = make(2, 0.0)
    with pytest.raises(cairn.MismatchError, match="optimizer: its parameter groups are of 2 and 1 parameters, the checkpoint's of 1 and 2"):
        carry(tmp_path, make(1, 1.0), fresh)
    assert fresh["more"]["w"].tolist() == [0.0, 0.0]


def test_an_optimizer_keeps_what_is_of_no_parameter(tmp_path: Path) -> None:
    def make(value: Any) -> dict[str, Any]:
        model = nn.Linear(2, 2)
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
        model(torch.rand(1, 2)).sum().backward()
        optimizer.step()
        optimizer.state["seen"] = value
        return {"model": model, "optimizer": optimizer}

    for number, (saved, fresh) in enumerate([({"count": 3}, {"count": 0}), (3, 0)]):
        one, other = make(saved), make(fresh)
        carry(tmp_path / f"{number}", one, other)
        assert other["optimizer"].state["seen"] == saved and same(one["optimizer"].state_dict(), other["optimizer"].state_dict())


def test_a_state_that_has_grown_is_replaced(tmp_path: Path) -> None:
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    optimizer.state[model.weight]["history"] = torch.ones(2)
    state = {"model": model, "optimizer": optimizer}
    with cairn.CheckpointManager(tmp_path / "run", state) as manager:
        manager.save(1, force=True)
        optimizer.state[model.weight]["history"] = torch.zeros(3)
        manager.restore()
    assert optimizer.state[model.weight]["history"].tolist() == [1.0, 1.0]


def test_an_optimizer_of_a_lazy_module_is_told_what_to_do(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved, fresh = nn.LazyLinear(3), nn.LazyLinear(3)
    optimizers = [torch.optim.AdamW(module.parameters()) for module in (saved, fresh)]
    saved(torch.rand(1, 2))
    cairn.save(tmp_path / "one", {"optimizer": optimizers[0]})
    with pytest.raises(cairn.UnstorableError, match="^optimizer: it trains a lazy module's parameter, which has no shape yet: run one batch"):
        cairn.load(tmp_path / "one", into={"optimizer": optimizers[1]})


class Waved(lr_scheduler.LRScheduler):
    """Keeps a function."""

    def __init__(self, optimizer: Any, wave: Callable[[int], float]) -> None:
        self.wave = wave
        super().__init__(optimizer)

    def get_lr(self) -> list[float]:
        return [rate * self.wave(self.last_epoch) for rate in self.base_lrs]


@pytest.mark.parametrize(
    "made",
    [
        lambda optimizer: lr_scheduler.MultiStepLR(optimizer, list(numpy.array([2, 4]))),
        lambda optimizer: lr_scheduler.SequentialLR(optimizer, [Waved(optimizer, lambda step: 1 / (1 + step)), Waved(optimizer, lambda step: 0.5**step)], [3]),
    ],
    ids=["milestones of numpy", "functions in schedulers of schedulers"],
)
def test_schedulers_that_hold_more_than_plain_values(made: Callable[[Any], Any], tmp_path: Path) -> None:
    def make(steps: int) -> dict[str, Any]:
        optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], 1.0)
        state = {"optimizer": optimizer, "schedule": made(optimizer)}
        return step(state, steps)

    def step(state: dict[str, Any], steps: int) -> dict[str, Any]:
        for _ in range(steps):
            state["optimizer"].step()
            state["schedule"].step()
        return state

    saved, fresh = make(3), make(0)
    carry(tmp_path, saved, fresh)
    rates = [step(state, 1)["schedule"].get_last_lr() for state in (saved, fresh)]
    assert rates[0] == rates[1] and rates[0] != [1.0] and saved["schedule"].last_epoch == fresh["schedule"].last_epoch == 4


class Refuses:
    def state_dict(self) -> Any:
        raise AttributeError("no attribute 'dl_state_dict'")

    def load_state_dict(self, state: Any) -> None:
        raise NotImplementedError


def test_what_state_dict_fails_with_names_the_entry(tmp_path: Path) -> None:
    with pytest.raises(cairn.UnstorableError, match="^data: its state_dict failed: AttributeError: no attribute 'dl_state_dict'") as told:
        cairn.save(tmp_path / "one", {"data": Refuses()})
    assert isinstance(told.value.__cause__, AttributeError)


class Forwards(nn.Module):
    """Asks a part of its, which is no model of transformers."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)

    @property
    def _tied_weights_keys(self) -> Any:
        return self.inner._tied_weights_keys


def test_a_module_may_ask_in_vain_what_is_tied(tmp_path: Path) -> None:
    model, other = Forwards(), Forwards()
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(model.state_dict(), other.state_dict())


class Shapes(nn.Module):
    """Tensors that are laid out in other ways than row by row, or hold nothing."""

    def __init__(self, fill: float) -> None:
        super().__init__()
        whole = torch.full((6, 8), fill)
        self.register_buffer("view", whole[1:3, ::2])
        self.register_buffer("column", whole.t()[2])
        self.register_buffer("images", torch.full((2, 3, 4, 5), fill).contiguous(memory_format=torch.channels_last))
        self.register_buffer("expanded", torch.full((1, 4), fill).expand(3, 4))
        self.register_buffer("scalar", torch.tensor(fill))
        self.register_buffer("empty", torch.empty(0, 7))
        self.register_buffer("kept", torch.full((2,), fill), persistent=False)
        self.weight = nn.Parameter(torch.full((2, 2), fill))


def test_views_and_layouts_keep_their_memory(tmp_path: Path) -> None:
    model, other = Shapes(1.5), Shapes(0.0)
    places = {name: (tensor.data_ptr(), tensor.stride()) for name, tensor in other.state_dict().items()}
    carry(tmp_path, {"model": model}, {"model": other})
    assert same(model.state_dict(), other.state_dict())
    assert places == {name: (tensor.data_ptr(), tensor.stride()) for name, tensor in other.state_dict().items()}
    assert other.kept.tolist() == [0.0, 0.0], "what a state_dict has not is not touched"
    with cairn.Checkpoint(tmp_path / "run" / "checkpoint-1") as checkpoint:
        assert {info.name: info.size_bytes for info in checkpoint.native.tensors}["view"] == 2 * 4 * 4, "views store their own bytes only"


def test_parameters_frozen_by_name_alone_may_change(tmp_path: Path) -> None:
    """An average without gradients changes at each save, whatever its flag says."""
    model = nn.Linear(600, 600).requires_grad_(False)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        for step in (1, 2, 3):
            model.weight.add_(1.0)
            saved = bits(model.weight)
            manager.save(step, force=True)
    other = nn.Linear(600, 600).requires_grad_(False)
    with cairn.CheckpointManager(tmp_path / "run", {"model": other}) as manager:
        manager.restore()
    assert bits(other.weight) == saved


def names_on_disk(tmp_path: Path) -> list[str]:
    with cairn.Checkpoint(tmp_path / "run" / "checkpoint-1") as checkpoint:
        return sorted(info.name for info in checkpoint.native.tensors if info.item == "model")


def test_wrappers_never_reach_the_disk(tmp_path: Path) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        wrapped: list[Callable[[nn.Module], Any]] = [
            nn.parallel.DistributedDataParallel,
            nn.DataParallel,
            lambda module: torch.compile(module, backend="eager"),
            lambda module: nn.parallel.DistributedDataParallel(torch.compile(module, backend="eager")),
        ]
        for number, wrap in enumerate(wrapped):
            folder = tmp_path / str(number)
            folder.mkdir()
            inside, other = nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Pair()), nn.Sequential(nn.Linear(3, 3), nn.ReLU(), Pair())
            plain = copy.deepcopy(inside)
            inside[0], inside[2].a = wrap(inside[0]), wrap(inside[2].a)
            model = wrap(inside)
            optimizer = torch.optim.AdamW(model.parameters())
            model(torch.ones(2, 3)).sum().backward()
            optimizer.step()
            fresh = torch.optim.AdamW(other.parameters())
            carry(folder, {"model": model, "optimizer": optimizer}, {"model": other, "optimizer": fresh})
            assert names_on_disk(folder) == sorted(plain.state_dict())
            assert parameters(model) == parameters(other)
            assert len(moments(other, fresh)) == len(list(other.parameters()))
            with cairn.Checkpoint(folder / "run" / "checkpoint-1") as checkpoint:  # and back into the wrapped one
                with torch.no_grad():
                    next(model.parameters()).zero_()
                checkpoint.load_into({"model": model, "optimizer": optimizer})
            assert parameters(model) == parameters(other)
    finally:
        torch.distributed.destroy_process_group()


class Scaled(nn.Linear):
    """Keeps tensors and values in an extra state, as modules of float8 training do."""

    def __init__(self, scale: float) -> None:
        super().__init__(3, 3)
        self.history, self.scale = torch.full((4,), scale), scale

    def get_extra_state(self) -> Any:
        return {"history": self.history, "scale": self.scale, "more": (None, [b"\0\1"])}

    def set_extra_state(self, state: Any) -> None:
        assert state["more"] == (None, [b"\0\1"])
        self.history, self.scale = state["history"], state["scale"]


class Hooked(nn.Linear):
    """Is saved in another form than it is held."""

    def __init__(self) -> None:
        super().__init__(3, 3)
        self._register_state_dict_hook(self._transpose)
        self._register_load_state_dict_pre_hook(self._transpose_back)
        self.versions: list[Any] = []

    @staticmethod
    def _transpose(module: Any, state: Any, prefix: str, metadata: Any) -> None:
        state[prefix + "turned"] = state.pop(prefix + "weight").detach().t().contiguous()
        metadata["turned"] = 7

    def _transpose_back(self, state: Any, prefix: str, metadata: Any, *others: Any) -> None:
        self.versions.append(metadata.get("turned"))
        state[prefix + "weight"] = state.pop(prefix + "turned").t()


def test_modules_that_have_a_say_are_loaded_by_their_own_code(tmp_path: Path) -> None:
    model, other = nn.Sequential(Scaled(2.0), Hooked(), nn.Linear(3, 3)), nn.Sequential(Scaled(1.0), Hooked(), nn.Linear(3, 3))
    carry(tmp_path, {"net": model}, {"net": other})
    assert same(list(model.parameters()), list(other.parameters()))
    assert same(model[0].history, other[0].history) and other[0].scale == 2.0
    assert other[1].versions == [7], "a load hook is given the version that was saved"


def test_an_extra_state_of_bytes_comes_back(tmp_path: Path) -> None:
    class Pickled(nn.Module):
        def __init__(self, data: bytes) -> None:
            super().__init__()
            self.data = data

        def get_extra_state(self) -> Any:
            import io

            return io.BytesIO(self.data)

        def set_extra_state(self, state: Any) -> None:
            self.data = state.read()

    other = Pickled(b"")
    carry(tmp_path, {"model": Pickled(b"\x80\x04.")}, {"model": other})
    assert other.data == b"\x80\x04."


@pytest.mark.parametrize(
    "normed",
    [
        lambda: nn.utils.spectral_norm(nn.Linear(4, 4)),
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)),
        lambda: nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(4, 4)),
    ],
    ids=["old spectral", "spectral", "weight", "orthogonal"],
)
def test_normed_weights_go_on_with_the_same_bits(normed: Callable[[], nn.Module], tmp_path: Path) -> None:
    torch.manual_seed(1)
    model, other = normed(), normed()
    optimizers = [torch.optim.SGD(module.parameters(), lr=0.1) for module in (model, other)]

    def step(module: nn.Module, optimizer: Any) -> None:
        optimizer.zero_grad()
        module(torch.ones(2, 4)).square().sum().backward()
        optimizer.step()

    step(model, optimizers[0])
    carry(tmp_path, {"model": model}, {"model": other})
    for _ in range(3):
        for module, optimizer in zip((model, other), optimizers, strict=True):
            step(module, optimizer)
    assert same(dict(model.state_dict()), dict(other.state_dict()))


def test_another_architecture_is_told_difference_by_difference(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    other = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 4), nn.Linear(4, 4, dtype=torch.float64))
    before = parameters(other)
    with pytest.raises(cairn.MismatchError) as told:
        carry(tmp_path, {"model": model, "old": nn.Linear(1, 1)}, {"model": other, "old": nn.Linear(1, 1, bias=False)})
    assert told.value.differences == [
        "model/0.weight is F32 (5, 4), in the checkpoint F32 (4, 4)",
        "model/0.bias is F32 (5,), in the checkpoint F32 (4,)",
        "model/1.weight is F32 (4, 5), in the checkpoint F32 (4, 4)",
        "model/2.weight is not in the checkpoint",
        "model/2.bias is not in the checkpoint",
        "old/bias is only in the checkpoint",
    ]
    assert all(difference in str(told.value) for difference in told.value.differences)
    assert parameters(other) == before


def test_another_architecture_of_a_module_with_hooks_is_told_before_anything_is_touched(tmp_path: Path) -> None:
    model, other = nn.Sequential(Hooked(), nn.Linear(3, 4)), nn.Sequential(Hooked(), nn.Linear(3, 5))
    before = parameters(other)
    with pytest.raises(cairn.MismatchError, match=r"model/1\.bias is .*; model/1\.weight is F32 \(5, 3\), in the checkpoint F32 \(4, 3\)"):
        carry(tmp_path, {"model": model}, {"model": other})
    assert parameters(other) == before


# ------------------------------------------------------------------------------------------------- refused before anything is written


def refused(tmp_path: Path, state: Any, match: str, kind: type[Exception] = cairn.UnstorableError) -> None:
    """By the path in the state, and nothing has been written, of what comes before it neither."""
    with cairn.CheckpointManager(tmp_path / "run", stop_signals=()) as manager:
        manager.poll()  # opens the run
        before = {path: path.stat().st_size for path in tmp_path.rglob("*")}
        with pytest.raises(kind, match=match):
            manager.save(1, state={"first": {"w": torch.ones(1 << 16)}} | state if isinstance(state, dict) else state, force=True)
    assert {path: path.stat().st_size for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.bfloat16, torch.float16, torch.uint16, torch.uint64])
def test_rare_dtypes_come_back(dtype: torch.dtype, tmp_path: Path) -> None:
    saved = torch.arange(1, 25, dtype=torch.float32).reshape(4, 6).to(dtype)
    fresh = torch.zeros(4, 6, dtype=dtype)
    carry(tmp_path, {"at": {"x": saved, "turned": saved.t()}}, {"at": {"x": fresh, "turned": torch.zeros(6, 4, dtype=dtype)}})
    assert bits(fresh) == bits(saved)


def test_complex_numbers_come_back(tmp_path: Path) -> None:
    saved = {str(dtype): torch.randn(3, 4, dtype=dtype) for dtype in (torch.complex64, torch.complex128)}
    saved |= {"conjugate": saved["torch.complex128"].conj().t(), "scalar": torch.tensor(1 + 2j, dtype=torch.complex128)}
    fresh = {name: torch.zeros(tensor.shape, dtype=tensor.dtype) for name, tensor in saved.items()}
    places = {name: tensor.data_ptr() for name, tensor in fresh.items()}
    carry(tmp_path, {"waves": saved}, {"waves": fresh})
    assert all(torch.equal(saved[name], fresh[name]) for name in saved)
    assert places == {name: tensor.data_ptr() for name, tensor in fresh.items()}


def test_tensors_that_cannot_be_stored_are_refused_by_their_path(tmp_path: Path) -> None:
    quantized = torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8)
    for tensor, match in (
        (torch.eye(3).to_sparse(), r"^data/x/0: a tensor of layout torch.sparse_coo is not stored: pass tensor.to_dense\(\)"),
        (torch.eye(3).to_sparse_csr(), "^data/x/0: a tensor of layout torch.sparse_csr"),
        (torch.empty(3, device="meta"), "^data/x/0: a tensor on the meta device has no bytes"),
        (quantized, r"^data/x/0: a quantized tensor is not stored: pass tensor.int_repr\(\)"),
        (torch.zeros(2, dtype=torch.complex32), "^data/x/0: torch.complex32 has no form in safetensors"),
        (torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "^data/x/0: a torch.nested.*NestedTensor is not stored"),
    ):
        refused(tmp_path, {"data": {"x": [tensor]}}, match)
    refused(tmp_path, {"model": nn.LazyLinear(3)}, "^model/weight: a lazy module's tensor has no bytes yet: run one batch")


def test_states_of_many_ranks_are_refused_by_name(tmp_path: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
    from torch.distributed.tensor import distribute_tensor

    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/meeting", rank=0, world_size=1)
    try:
        mesh = init_device_mesh("cpu", (1,))
        refused(tmp_path, {"data": {"x": distribute_tensor(torch.ones(4), mesh)}}, r"^data/x: a torch.distributed.tensor.DTensor is not stored")
        refused(tmp_path, {"model": fully_shard(nn.Linear(3, 3), mesh=mesh)}, "^model: a FSDPLinear lies on many ranks")
        inside = nn.Sequential(FullyShardedDataParallel(nn.Linear(3, 3), device_id=torch.device("cpu")))
        refused(tmp_path, {"model": inside}, "^model/0: a FullyShardedDataParallel lies on many ranks")
    finally:
        torch.distributed.destroy_process_group()


def test_what_is_a_state_of_long_ago_is_refused_by_the_manager(tmp_path: Path) -> None:
    model, optimizer = trained_pair()
    scheduler, plateau = lr_scheduler.StepLR(optimizer, 2), lr_scheduler.ReduceLROnPlateau(optimizer)
    for name, target, what in (
        ("optimizer", optimizer, "an optimizer's"),
        ("scheduler", scheduler, "a scheduler's"),
        ("scheduler", plateau, "a scheduler's"),
        ("scaler", torch.amp.GradScaler("cpu"), "a GradScaler's"),
    ):
        match = rf"^{name}: {what} state_dict\(\) is what it was when it was asked for: give the {name} itself$"
        with pytest.raises(cairn.UsageError, match=match) as told:
            cairn.CheckpointManager(tmp_path / "run", {"model": model.state_dict(), name: target.state_dict()})
        assert told.value.code == "USAGE"
    with pytest.raises(cairn.UsageError, match="^all/0/adam: an optimizer's"):
        cairn.CheckpointManager(tmp_path / "run", {"all": [{"adam": optimizer.state_dict()}]})
    assert not (tmp_path / "run").exists()


def test_a_state_dict_may_be_given_to_a_save(tmp_path: Path) -> None:
    model, optimizer = trained_pair()
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scheduler": lr_scheduler.StepLR(optimizer, 2).state_dict()}
    cairn.save(tmp_path / "one", state)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "own": {"state": 1, "param_groups": {}}, "more": {"last_epoch": 0}}) as manager:
        assert manager.save(1, state, force=True)
        assert manager.restore(state).step == 1


def test_names_that_no_item_can_have_are_refused(tmp_path: Path) -> None:
    refused(tmp_path, {"python": {"x": 1}}, '"python" is what Cairn calls its own entry')
    refused(tmp_path, {"state": {"x": 1}}, "state", cairn.UsageError)
    refused(tmp_path, {"a/b": {"x": 1}}, "a/b", cairn.Error)


# ---------------------------------------------------------------------------------------------------------------- half-way


class Strict:
    """Takes nothing that it has not given."""

    def __init__(self, **state: Any) -> None:
        self.state = state

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = {name: state[name] for name in self.state}


class Interrupted(Strict):
    def load_state_dict(self, state: dict[str, Any]) -> None:
        raise KeyboardInterrupt


@dataclasses.dataclass
class Bounded:
    """Particular about its values."""

    epoch: int = 0

    def __setattr__(self, name: str, value: int) -> None:
        if value > 3:
            raise ValueError(f"{name} is at most 3")
        super().__setattr__(name, value)


def test_what_an_entry_fails_with_half_way_is_a_torn_state_and_names_it(tmp_path: Path) -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    with pytest.raises(cairn.TornStateError, match=r"^average: its load_state_dict failed: KeyError: 'count'; the state is a mixture now: restore again before you go on$") as told:
        carry(tmp_path, {"model": model, "average": Strict(sum=1)}, {"model": other, "average": Strict(sum=0, count=0)})
    assert isinstance(told.value.__cause__, KeyError) and told.value.code == "TORN_STATE"
    with pytest.raises(cairn.TornStateError, match="^run: writing into it failed: ValueError: epoch is at most 3; the state is a mixture now"):
        carry(tmp_path / "tree", {"run": {"epoch": 9}}, {"run": Bounded()})
    cairn.save(tmp_path / "one", {"average": Strict(sum=1)})
    with pytest.raises(cairn.TornStateError, match="^average: "):
        cairn.load(tmp_path / "one", into={"average": Strict(sum=0, count=0)})
    with pytest.raises(KeyboardInterrupt):
        cairn.load(tmp_path / "one", into={"average": Interrupted()})
    with pytest.raises(cairn.MismatchError, match="^data: a state of version None"):
        cairn.load(tmp_path / "one", into={"average": cairn.data(DataLoader(range(4)))})  # type: ignore[arg-type]
