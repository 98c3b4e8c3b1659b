"""cairn.sample_seed: spread evenly, always the same for a sample, wherever and however often it is asked for."""

from __future__ import annotations

import collections
import itertools
import threading
from multiprocessing.sharedctypes import RawArray
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from cairn._data import data
from cairn._sample import sample_seed

COUNT = 1 << 15


def seeds(seed: int = 1, epoch: int = 0, count: int = COUNT) -> list[int]:
    return [sample_seed(index, epoch=epoch, seed=seed) for index in range(count)]


def test_it_is_the_published_sequence() -> None:
    """The first outputs of SplitMix64 from state 0, as every implementation gives them, are what `mix` makes of its
    states.
    """
    from cairn._sample import GAMMA, mix

    assert [mix(GAMMA * n) for n in (1, 2, 3)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_it_stays_as_it_is() -> None:
    """Runs that exist depend on it."""
    assert [
        sample_seed(index, epoch=epoch, seed=seed) for seed, epoch, index in ((0, 0, 0), (1, 2, 3), (-1, 1 << 63, -1))
    ] == GOLDEN


GOLDEN = [0x238275BC38FCBE91, 0x8568F7C4E53B5A35, 0x16A4258D0EEFEF9D]


def test_bits_and_bytes_are_spread_evenly() -> None:
    drawn = seeds()
    for bit in range(64):
        ones = sum(seed >> bit & 1 for seed in drawn)
        assert abs(ones - COUNT / 2) < 5 * (COUNT / 4) ** 0.5, f"bit {bit}"
    for shift in range(0, 64, 8):
        counts = collections.Counter(seed >> shift & 255 for seed in drawn)
        chi_square = sum((counts[value] - COUNT / 256) ** 2 for value in range(256)) / (COUNT / 256)
        assert chi_square < 255 + 5 * (2 * 255) ** 0.5, f"byte at bit {shift}"


def test_neighbours_have_nothing_in_common() -> None:
    """One step of the index, the epoch or the seed changes half of the bits, and no two of their seeds meet."""
    for step in ((1, 0, 0), (0, 1, 0), (0, 0, 1)):
        changed = [
            (
                sample_seed(i, epoch=e, seed=s) ^ sample_seed(i + step[0], epoch=e + step[1], seed=s + step[2])
            ).bit_count()
            for i, e, s in itertools.product(range(20), repeat=3)
        ]
        assert abs(sum(changed) / len(changed) - 32) < 5 * 4 / len(changed) ** 0.5
    everything = [seed for run in range(4) for epoch in range(4) for seed in seeds(run, epoch, 4096)]
    assert len(set(everything)) == len(everything)


def test_what_it_refuses() -> None:
    with pytest.raises(RuntimeError, match="give epoch= and seed= elsewhere"):
        sample_seed(1)
    with pytest.raises(RuntimeError):
        sample_seed(1, epoch=0)
    for wrong in (1.0, "1", None):
        with pytest.raises(TypeError):
            sample_seed(wrong, epoch=0, seed=0)  # type: ignore[arg-type]
    assert sample_seed(torch.tensor(5), epoch=0, seed=0) == sample_seed(5, epoch=0, seed=0)  # type: ignore[arg-type]


class Seeds(Dataset[Any]):
    """Its samples are their seeds, asked for twice."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        first, second = sample_seed(index), sample_seed(index)
        assert first == second
        return torch.tensor([index, first - (1 << 63)])


class Init:
    """A worker_init_fn of the user's, which is called as before."""

    def __init__(self) -> None:
        self.calls = RawArray("i", 2)

    def __call__(self, worker: int) -> None:
        assert torch.utils.data.get_worker_info().id == worker  # type: ignore[union-attr]
        assert sample_seed(0) >= 0
        self.calls[worker] += 1


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 2, "worker_init_fn": Init()},
        {"num_workers": 1, "persistent_workers": True, "multiprocessing_context": "spawn", "worker_init_fn": Init()},
    ],
    ids=["here", "fork", "persistent", "init", "spawn"],
)
def test_it_is_the_same_in_every_kind_of_worker(options: dict[str, Any]) -> None:
    wrapped = data(DataLoader(Seeds(), 2, shuffle=True, **options), seed=7)
    for epoch in range(3):
        got = {int(index): int(seed) + (1 << 63) for batch in wrapped for index, seed in batch}
        assert got == {index: sample_seed(index, epoch=epoch, seed=7) for index in range(6)}
    if "worker_init_fn" in options:
        starts = 1 if "persistent_workers" in options else 3
        assert list(options["worker_init_fn"].calls)[: options["num_workers"]] == [starts] * options["num_workers"]


def test_by_default_it_starts_from_the_seed_of_torch() -> None:
    state = torch.get_rng_state()
    torch.manual_seed(1234)
    wrapped = data(DataLoader(Seeds()))
    assert [int(seed) + (1 << 63) for ((_, seed),) in wrapped] == [
        sample_seed(index, epoch=0, seed=1234) for index in range(6)
    ]
    assert wrapped.state_dict()["seed"] == 1234
    torch.set_rng_state(state)


def test_two_loaders_in_turn_keep_apart() -> None:
    first, second = iter(data(DataLoader(Seeds()), seed=1)), iter(data(DataLoader(Seeds()), seed=2))
    for index, pair in enumerate(zip(first, second, strict=True)):
        assert [int(batch[0, 1]) + (1 << 63) for batch in pair] == [
            sample_seed(index, epoch=0, seed=seed) for seed in (1, 2)
        ]
    with pytest.raises(RuntimeError):
        sample_seed(0)


def test_a_thread_of_ones_own_gives_epoch_and_seed() -> None:
    got: list[int] = []
    thread = threading.Thread(target=lambda: got.append(sample_seed(3, epoch=1, seed=2)))
    thread.start()
    thread.join()
    assert got == [sample_seed(3, epoch=1, seed=2)]
