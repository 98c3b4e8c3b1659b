"""A trainer of several ranks over gloo, each a process of its own: what test_ranks.py starts, kills and compares.

`python ranked.py '{"rank": 0, "size": 2, "store": PATH, "run": FOLDER, ...}'` writes FOLDER.log.RANK, a line per step.
"""

from __future__ import annotations

import hashlib
import json
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

import cairn
from cairn import _errors, _ranks


class Log:
    def __init__(self, facts: dict[str, Any]) -> None:
        self.file = open(f"{facts['run']}.log.{facts['rank']}", "a", buffering=1)

    def __call__(self, *words: object) -> None:
        self.file.write(" ".join(str(word) for word in words) + "\n")


def join(facts: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{facts['store']}", rank=facts["rank"], world_size=facts["size"])


def make_state(facts: dict[str, Any]) -> dict[str, Any]:
    seed = 100 + facts["rank"] + facts.get("seed", 0)
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    network = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
    model = DistributedDataParallel(network, find_unused_parameters=facts.get("same_buckets", False))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    samples = TensorDataset(torch.randn(96, 8, generator=torch.Generator().manual_seed(3)))
    sampler = DistributedSampler(samples, facts["size"], facts["rank"], shuffle=True)
    data = cairn.data(DataLoader(samples, batch_size=4, sampler=sampler))
    return {"model": model, "optimizer": optimizer, "data": data, "rng": cairn.RNG(), "run": cairn.Values(epoch=0)}


def update(state: dict[str, Any], inputs: torch.Tensor) -> float:
    noise = torch.rand(()) + random.random() + numpy.random.rand()
    loss = (state["model"](inputs) - inputs[:, :4] * noise).square().mean()
    state["optimizer"].zero_grad()
    loss.backward()
    state["optimizer"].step()
    return loss.item()


def train(facts: dict[str, Any], log: Log) -> None:
    """Tells each step's loss, and at the end of what it holds."""
    state = make_state(facts)
    with cairn.CheckpointManager(facts["run"], state, save=cairn.Save(every_steps=4), keep=cairn.Keep(last=2)) as manager:
        restored = manager.restore()
        step = restored.step
        log("begin", step)
        while step < facts["steps"] and not manager.should_stop:
            state["data"].set_epoch(state["run"].epoch)
            for (inputs,) in state["data"]:
                loss = update(state, inputs)
                step += 1
                log(step, loss.hex())
                manager.save(step, metrics={"loss": loss})
                if step == facts["steps"] or manager.should_stop:
                    break
            else:
                state["run"].epoch += 1
        weights = torch.cat([each.detach().flatten() for each in state["model"].parameters()])
        log("end", step, weights.double().sum().item().hex(), torch.rand(()).item(), random.random(), numpy.random.rand())


def small(facts: dict[str, Any], **options: Any) -> tuple[dict[str, Any], cairn.CheckpointManager]:
    state: dict[str, Any] = {"model": {"w": torch.zeros(3)}, "rng": cairn.RNG()}
    return state, cairn.CheckpointManager(facts["run"], state, **options)


def told(log: Log, call: Callable[[], Any]) -> None:
    """What a call gives or raises."""
    begun = time.monotonic()
    try:
        log("gave", call())
    except Exception as error:
        log("raised", type(error).__name__, f"{time.monotonic() - begun:.1f}", error)


def stop_by_signal(facts: dict[str, Any], log: Log) -> None:
    """Rank 1 alone is told to stop; nothing is due."""
    _, manager = small(facts)
    with manager:
        for step in range(1, 6):
            if step == 3 and facts["rank"] == facts["size"] - 1:
                signal.raise_signal(signal.SIGTERM)
            log(step, manager.save(step), manager.should_stop)


def clocks(facts: dict[str, Any], log: Log) -> None:
    """Rank 0's clock counts, whatever the others think."""
    _, manager = small(facts, save=cairn.Save(every_seconds=0.2 if facts["rank"] == 0 else 1e-3))
    with manager:
        for step in range(1, 31):
            time.sleep(0.02 if facts["rank"] == 0 else 0.001)
            log(step, manager.save(step))


def failing(facts: dict[str, Any], log: Log) -> None:
    """One failure after the other, each on one rank."""
    state, manager = small(facts)
    with manager:
        bad = {"model": {"w": torch.zeros(3), "f": print}} if facts["rank"] == 0 else {}
        told(log, lambda: manager.save(1, {**state, **bad}, force=True))
        told(log, lambda: manager.save(1, {"model": {"w": torch.zeros(3)}}, force=facts["rank"] == 1))
        state["rng"].state_dict = broken if facts["rank"] == 1 else state["rng"].state_dict
        told(log, lambda: manager.save(2, force=True))
        vars(state["rng"]).pop("state_dict", None)
        told(log, lambda: manager.save(3 + facts["rank"], force=True))
        told(log, lambda: manager.save("x" if facts["rank"] == 1 else 3, force=True))
        if facts["rank"] == 0:
            manager._judge.put_off(_errors.make("IO", "the disk is gone", 5))  # what a save of before failed with, behind the caller
        told(log, lambda: manager.save(4, force=True))
        told(log, lambda: manager.save(9, force=True))
        told(log, lambda: manager.should_save(12))
        manager.wait_until_finished()
        dist.barrier()
        told(log, lambda: manager.all_steps())


def broken() -> None:
    raise RuntimeError("a generator that cannot be read")


def restoring(facts: dict[str, Any], log: Log) -> None:
    """What is restored into another model on rank 1 alone; what rank 1 alone calls in a wrong way."""
    state = {"model": nn.Linear(4 if facts["rank"] == 1 else 3, 1)}
    with cairn.CheckpointManager(facts["run"], state) as manager:
        told(log, lambda: manager.restore().step)
        told(log, lambda: manager.restore(items=["modell" if facts["rank"] == 1 else "model"]).step)
    with cairn.CheckpointManager(facts["run"]) as manager:  # whose ranks meet when they are asked something
        if facts["rank"] == 0:
            manager.should_save(1)
        told(log, lambda: manager.restore({"model": nn.Linear(3, 1)}, items="model").step)


def restoring_more(facts: dict[str, Any], log: Log) -> None:
    """Random numbers and weights, no data."""
    state = make_state(facts)
    del state["data"]
    with cairn.CheckpointManager(facts["run"], state) as manager:
        told(log, lambda: manager.restore().step)


def restoring_data(facts: dict[str, Any], log: Log) -> None:
    """Everything, in the middle of an epoch; tells the place, what is held, and each sample of the epoch's rest."""
    state = make_state({**facts, "seed": 1000})
    with cairn.CheckpointManager(facts["run"], state) as manager:
        restored = manager.restore(step=8)
        log("at", restored.step, state["data"].epoch, state["data"].batch, state["run"].epoch)
        log("holds", digest(state["model"].module, state["optimizer"]))
        log(*(note for note in restored.report.notes if note.startswith("data:")))
        log("rest", *(row[0].item().hex() for (rows,) in state["data"] for row in rows))
        log("then", state["data"].epoch, len(list(state["data"])))


def digest(model: nn.Module, optimizer: torch.optim.Optimizer) -> str:
    """Of parameters, and of what the optimizer keeps of each."""
    tensors = [*model.parameters(), *(tensor for each in optimizer.state.values() for tensor in each.values())]
    return hashlib.sha256(b"".join(tensor.detach().numpy().tobytes() for tensor in tensors)).hexdigest()


def absent(facts: dict[str, Any], log: Log) -> None:
    """Some ranks never make a manager."""
    _ranks.ABSENT_AFTER_S = 1.0
    if facts["rank"] in facts["absent"]:
        time.sleep(2.5)
    else:
        told(log, lambda: small(facts)[1])


def elsewhere(facts: dict[str, Any], log: Log) -> None:
    told(log, lambda: small({**facts, "run": f"{facts['run']}-{facts['rank']}"})[1])


def locked(facts: dict[str, Any], log: Log) -> None:
    """Rank 0 cannot open the run."""
    told(log, lambda: small(facts)[1])


def sharded(facts: dict[str, Any], log: Log) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import Shard, distribute_tensor

    mesh = init_device_mesh("cpu", (facts["size"],))
    spread = distribute_tensor(torch.arange(8.0), mesh, [Shard(0)])
    model = fully_shard(nn.Linear(4, 4), mesh=mesh)
    told(log, lambda: cairn.CheckpointManager(facts["run"], {"model": model}))
    with cairn.CheckpointManager(facts["run"], {"model": {"w": spread}}) as manager:
        told(log, lambda: manager.save(1, force=True))


def pace(facts: dict[str, Any], log: Log) -> None:
    """What a save that is not due costs."""
    _, manager = small(facts)
    with manager:
        times = []
        for step in range(1, 201):
            begun = time.perf_counter()
            manager.save(step)
            times.append(time.perf_counter() - begun)
        log(f"{sorted(times)[100] * 1e6:.0f}")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    join(given)
    for what in given["what"]:  # one after the other, each with a run of its own
        facts = {**given, "run": f"{given['run']}-{what}"}
        globals()[what](facts, Log(facts))
        if what != "absent":
            dist.barrier()
    dist.destroy_process_group()
