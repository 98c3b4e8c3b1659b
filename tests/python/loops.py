"""A training loop over each kind of loader, that records what it is given and can be taken up anywhere: shared by the
tests of cairn.data.

`python loops.py KIND WORKERS SNAPSHOT`: takes up the pickled snapshot in a new process, and prints what is left of the
run.
"""

from __future__ import annotations

import pickle
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)
from torch.utils.data.distributed import DistributedSampler

from cairn._data import Data, data
from cairn._rng import RNG
from cairn._sample import sample_seed

SAMPLES = 13
EPOCHS = 2


class Numbers(Dataset[Any]):
    """Sample i is i, its seed, and what the global generators give, which are not the loader's in a worker."""

    def __init__(self, loads: Any = None) -> None:
        self.loads = loads  # how often each sample was loaded, in shared memory

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> tuple[int, float, int]:
        if self.loads is not None:
            self.loads[index] += 1
        return index, 0.0 if get_worker_info() else torch.rand(()).item() + random.random(), sample_seed(index) >> 1


class Stream(IterableDataset[Any]):
    """The same, one after the other, each worker its share, in an order that a generator of its own gives or, if
    `seeded`, sample_seed.
    """

    def __init__(self, seeded: bool) -> None:
        self.seeded = seeded
        self.generator = torch.Generator().manual_seed(3)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        generator = torch.Generator().manual_seed(sample_seed(-1)) if self.seeded else self.generator
        order = torch.randperm(SAMPLES, generator=generator).tolist()
        for index in order[first::step]:
            yield index, torch.rand(()).item() if info and not self.seeded else 0.0, sample_seed(index) >> 1


class EagerSampler(Sampler[int]):
    """Draws as soon as it is asked for an iterator."""

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.permutation(SAMPLES).tolist())

    def __len__(self) -> int:
        return SAMPLES


def loader(kind: str, workers: int = 0, persistent: bool = False, loads: Any = None) -> Any:
    """A new loader of 5 batches or so, with generators that are seeded as a program would."""
    own = torch.Generator().manual_seed(11)
    numbers = Numbers(loads)
    kwargs: dict[str, Any] = {"num_workers": workers, "persistent_workers": persistent}
    makers: dict[str, Callable[[], Any]] = {
        "sequential": lambda: DataLoader(numbers, 3, **kwargs),
        "shuffled": lambda: DataLoader(numbers, 3, shuffle=True, **kwargs),
        "generator": lambda: DataLoader(numbers, 3, shuffle=True, generator=own, **kwargs),
        "drop last": lambda: DataLoader(numbers, 2, shuffle=True, drop_last=True, **kwargs),
        "batch sampler": lambda: DataLoader(
            numbers, batch_sampler=BatchSampler(RandomSampler(numbers, generator=own), 3, False), **kwargs
        ),
        "replacement": lambda: DataLoader(
            numbers, 10, sampler=RandomSampler(numbers, True, 45, generator=own), **kwargs
        ),
        "weighted": lambda: DataLoader(numbers, 3, sampler=WeightedRandomSampler(range(1, SAMPLES + 1), 12), **kwargs),
        "subset": lambda: DataLoader(numbers, 3, sampler=SubsetRandomSampler(range(1, SAMPLES)), **kwargs),
        "eager": lambda: DataLoader(numbers, 3, sampler=EagerSampler(), **kwargs),
        "unbatched": lambda: DataLoader(torch.utils.data.Subset(numbers, range(5)), None, shuffle=True, **kwargs),
        "distributed": lambda: DataLoader(numbers, 3, sampler=DistributedSampler(numbers, 2, 1), **kwargs),
        "prefetch": lambda: DataLoader(numbers, 2, shuffle=True, prefetch_factor=4, **kwargs),
        "stream": lambda: DataLoader(Stream(False), 3, **kwargs),
        "seeded stream": lambda: DataLoader(Stream(True), 3, **kwargs),
        "list": lambda: [[index] for index in range(5)],
    }
    return makers[kind]()


@dataclass
class Run:
    """What a program holds: its data, generators, epoch; and what it has seen."""

    data: Data[Any]
    rng: RNG = field(default_factory=RNG)
    epoch: int = 0
    seen: list[Any] = field(default_factory=list)

    def snapshot(self) -> bytes:
        return pickle.dumps((self.data.state_dict(), self.rng.state_dict(), self.epoch, len(self.seen)))

    def take_up(self, snapshot: bytes) -> int:
        """What a manager does. Returns how many batches were seen before the snapshot."""
        position, rng, self.epoch, seen = pickle.loads(snapshot)
        self.data.load_state_dict(position)
        if self.data.defer_rng(lambda: self.rng.load_state_dict(rng)):
            scramble(8)  # whatever is drawn before the first batch does not matter
        else:
            self.rng.load_state_dict(rng)
        return int(seen)

    def train(self, saved: Callable[[Run], None] = lambda run: None) -> None:
        """To the end; `saved` is called wherever a program would save."""
        saved(self)
        while self.epoch < EPOCHS:
            if hasattr(self.data.sampler if hasattr(self.data, "sampler") else None, "set_epoch"):
                self.data.set_epoch(self.epoch)
            for batch in self.data:
                dropout = torch.rand(2).tolist() + [random.random(), float(np.random.rand())]
                self.seen.append((torch.utils.data.default_convert(batch), dropout))
                saved(self)
            self.epoch += 1
            saved(self)
        self.seen.append([torch.rand(20).tolist(), [random.random() for _ in range(20)], np.random.rand(20).tolist()])


def scramble(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def new(kind: str, workers: int, persistent: bool = False) -> Run:
    scramble(1)
    return Run(data(loader(kind, workers, persistent)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    run = new(sys.argv[1], int(sys.argv[2]))
    scramble(5)
    run.take_up(Path(sys.argv[3]).read_bytes())
    run.train()
    print(repr(run.seen))
