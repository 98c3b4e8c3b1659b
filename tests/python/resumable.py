"""States and training steps for verify_resume, good ones and such as forget something, and a script for `python -m cairn verify-resume`.

`python resumable.py KIND STEPS`: trains with a CheckpointManager in ./ckpts/run.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import numpy
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import cairn

calls, scale = 0, 1.0  # what no state should rest on


class Momentum:
    """SGD with momentum. Those of torch take more than a second to import, in each of the processes that are started here."""

    def __init__(self, parameters: Iterable[torch.Tensor]) -> None:
        self.parameters = list(parameters)
        self.param_groups = [{"lr": 1e-2}]
        self.momenta = [torch.zeros_like(each) for each in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        for parameter, momentum in zip(self.parameters, self.momenta, strict=True):
            momentum.mul_(0.9).add_(parameter.grad)
            parameter.sub_(momentum, alpha=self.param_groups[0]["lr"])
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        return {"param_groups": self.param_groups, "momenta": self.momenta}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.param_groups, self.momenta = state["param_groups"], state["momenta"]


def make_state(loader: str = "data", numbers: bool = True, seeds: bool = True) -> dict[str, Any]:
    torch.set_num_threads(1)
    if seeds:
        torch.manual_seed(1)
        random.seed(1)
        numpy.random.seed(1)
    model = nn.Sequential(nn.Linear(8, 16), nn.Dropout(0.2), nn.Linear(16, 1))
    optimizer = Momentum(model.parameters())
    samples = TensorDataset(torch.randn(24, 8, generator=torch.Generator().manual_seed(3)))
    batches = DataLoader(samples, batch_size=4, shuffle=True)
    state: dict[str, Any] = {"model": model, "optimizer": optimizer, "run": cairn.Values(epoch=0)}
    state["data"] = cairn.data(batches) if loader == "data" else batches
    return state | ({"rng": cairn.RNG()} if numbers else {})


def without_numbers() -> dict[str, Any]:
    return make_state(numbers=False)


def unseeded() -> dict[str, Any]:
    return make_state(seeds=False)


def scaled_by_luck() -> dict[str, Any]:
    """Each process draws a number for itself, which is in no checkpoint."""
    global scale
    scale = 1 + random.random()
    return unseeded()


def scaled_by_order() -> dict[str, Any]:
    """The order of a set of texts is another one in each process."""
    global scale
    scale = 1.0 + int(next(iter({str(number) for number in range(50)})))
    return make_state()


def train_scaled(state: dict[str, Any]) -> torch.Tensor:
    return update(state, torch.ones(4, 8), scale)


def plain_loader() -> dict[str, Any]:
    return make_state(loader="plain")


def update(state: dict[str, Any], inputs: torch.Tensor, scale: float = 1.0) -> torch.Tensor:
    loss = (state["model"](inputs) - inputs.sum(1, keepdim=True)).square().mean() * scale
    loss.backward()
    state["optimizer"].step()
    return loss


def train(state: dict[str, Any]) -> Iterator[torch.Tensor]:
    while True:
        for (inputs,) in state["data"]:
            yield update(state, inputs)
        state["run"].epoch += 1


def train_by_counter(state: dict[str, Any]) -> torch.Tensor:
    """Its learning rate falls with a counter that is no part of the state."""
    global calls
    calls += 1
    for group in state["optimizer"].param_groups:
        group["lr"] = 1e-2 / calls
    return update(state, torch.ones(4, 8))


def train_unrepeatably(state: dict[str, Any]) -> torch.Tensor:
    return update(state, torch.ones(4, 8), scale=1.0 + random.SystemRandom().random())


def train_shortly(state: dict[str, Any]) -> Iterator[torch.Tensor]:
    for (inputs,) in state["data"]:
        yield update(state, inputs)


def train_with_error(state: dict[str, Any]) -> float:
    raise RuntimeError("the data is not there")


def make_gpu_state() -> dict[str, Any]:
    torch.manual_seed(3)
    model = nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Dropout(0.1), nn.Linear(2048, 512)).cuda()
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters(), fused=True), "rng": cairn.RNG()}


def train_gpu(state: dict[str, Any]) -> torch.Tensor:
    loss = state["model"](torch.randn(64, 512, device="cuda")).square().mean()
    loss.backward()
    state["optimizer"].step()
    state["optimizer"].zero_grad()
    return loss


def make_jax_state() -> dict[str, Any]:
    import jax

    return {"model": {"w": jax.numpy.ones((3, 2))}, "key": jax.random.key(0), "moments": (jax.numpy.zeros((3, 2)), jax.numpy.zeros(()))}


def train_jax(state: dict[str, Any]) -> Any:
    import jax

    state["key"], key = jax.random.split(state["key"])
    noise = jax.random.normal(key, (3, 2))
    first, count = state["moments"]
    state["moments"] = (0.9 * first + noise, count + 1)
    state["model"]["w"] = state["model"]["w"] - 0.1 * state["moments"][0]
    return state["model"]["w"].sum()


def script(kind: str, steps: int) -> None:
    """A trainer of its own, that ends at `steps`."""
    state = {"good": make_state, "numbers": without_numbers, "loader": plain_loader, "counter": make_state, "clock": make_state}[kind]()
    if kind == "clock":
        state["clock"] = {"seen": random.SystemRandom().random()}
    count = 0
    with cairn.CheckpointManager("ckpts/run", state, save=cairn.Save(every_steps=4)) as manager:
        step = manager.restore().step
        while step < steps:
            for (inputs,) in state["data"]:
                count += 1
                loss = update(state, inputs, scale=1 / count if kind == "counter" else 1.0)
                step += 1
                manager.save(step, metrics={"loss": loss})
                if step == steps:
                    return
            state["run"].epoch += 1


if __name__ == "__main__":
    script(sys.argv[1], int(sys.argv[2]))
