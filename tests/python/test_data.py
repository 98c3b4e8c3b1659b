"""cairn.data: a run that was taken up anywhere sees what the uninterrupted one saw, to the last bit; what would not is
refused by name.
"""

from __future__ import annotations

import itertools
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any, TypeAlias

import loops
import numpy as np
import pytest
import torch
from loops import Run, data, loader, new, scramble
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

import cairn
from cairn._errors import MismatchError

EVERY = [
    "sequential",
    "shuffled",
    "generator",
    "drop last",
    "batch sampler",
    "replacement",
    "weighted",
    "subset",
    "eager",
    "unbatched",
    "distributed",
    "stream",
    "list",
]
IN_WORKERS = [
    *("shuffled", "generator", "prefetch", "stream"),
    *(pytest.param(kind, marks=pytest.mark.long) for kind in ("replacement", "weighted", "eager", "unbatched")),
]


def interrupted_everywhere(kind: str, workers: int, persistent: bool = False) -> None:
    snapshots: list[bytes] = []
    run = new(kind, workers, persistent)
    run.train(lambda run: snapshots.append(run.snapshot()))
    assert len(snapshots) == len(run.seen) - 1 + 1 + loops.EPOCHS
    for place, snapshot in enumerate(snapshots):
        other = new(kind, workers, persistent)
        scramble(100 + place)
        seen = other.take_up(snapshot)
        assert pickle.loads(other.snapshot())[0] == pickle.loads(snapshot)[0], "saved again before the first batch"
        other.train()
        assert repr(other.seen) == repr(run.seen[seen:]), f"taken up at snapshot {place}, {seen} batches seen"


@pytest.mark.parametrize("kind", EVERY)
def test_interrupted_everywhere(kind: str) -> None:
    interrupted_everywhere(kind, 0)


@pytest.mark.parametrize("kind", IN_WORKERS)
def test_interrupted_everywhere_with_workers(kind: str) -> None:
    interrupted_everywhere(kind, 2)


@pytest.mark.parametrize("kind", ["shuffled", "eager", "seeded stream"])
def test_interrupted_everywhere_with_persistent_workers(kind: str) -> None:
    interrupted_everywhere(kind, 2, persistent=True)


@pytest.mark.parametrize(("kind", "workers"), [("shuffled", 2), ("stream", 0)])
def test_taken_up_in_a_new_process(kind: str, workers: int, tmp_path: Path) -> None:
    snapshots: list[bytes] = []
    run = new(kind, workers)
    run.train(lambda run: snapshots.append(run.snapshot()))
    (tmp_path / "snapshot").write_bytes(snapshots[2])
    printed = subprocess.run(
        [sys.executable, loops.__file__, kind, str(workers), tmp_path / "snapshot"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert printed.stdout.strip() == repr(run.seen[2:])


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["sequential", "shuffled", "eager", "weighted"])
def test_wrapping_changes_nothing(kind: str, workers: int) -> None:
    """The batches and the generators afterwards are those of the bare loader, but for what sample_seed knows only
    inside Data.
    """

    def without_seeds(batches: Any) -> str:
        return repr([batch[:2] for batch in batches] + [torch.rand(5), random.random(), np.random.rand()])

    def bare(index: int) -> int:
        return 0

    expected = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "sample_seed", bare)
        scramble(1)
        loader_alone = loader(kind, workers)
        expected = [without_seeds(loader_alone) for _ in range(2)]
    scramble(1)
    wrapped = data(loader(kind, workers))
    assert [without_seeds(wrapped) for _ in range(2)] == expected


def in_the_middle(batches: int, **kwargs: Any) -> tuple[bytes, list[int]]:
    """A snapshot after so many batches of an epoch, and the samples of those batches."""
    run = new("shuffled", kwargs.get("workers", 0))
    iteration = iter(run.data)
    received = [index for _ in range(batches) for index in next(iteration)[0].tolist()]
    return run.snapshot(), received


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("persistent", [False, True])
def test_samples_passed_over_are_not_loaded(workers: int, persistent: bool) -> None:
    snapshot, received = in_the_middle(3, workers=workers)
    loads = RawArray("i", loops.SAMPLES)
    scramble(1)
    run = Run(data(loader("shuffled", workers, persistent and workers > 0, loads)))
    run.take_up(snapshot)
    left = [index for batch in run.data for index in batch[0].tolist()]
    assert sorted(received + left) == list(range(loops.SAMPLES))
    assert [loads[index] for index in received] == [0] * len(received)
    assert [loads[index] for index in left] == [1] * len(left)


def test_workers_that_are_started_beforehand_load_nothing() -> None:
    """A later epoch of persistent workers, taken up where none run."""
    run = new("shuffled", 2, persistent=True)
    list(run.data)
    iteration = iter(run.data)
    next(iteration)
    loads = RawArray("i", loops.SAMPLES)
    other = Run(data(loader("shuffled", 2, True, loads)))
    other.take_up(run.snapshot())
    left = [index for batch in other.data for index in batch[0].tolist()]
    assert [loads[index] for index in left] == [1] * (loops.SAMPLES - 3) and sum(loads) == loops.SAMPLES - 3


def test_the_position_is_of_batches_received_not_fetched() -> None:
    run = new("prefetch", 2)
    iteration = iter(run.data)
    assert (run.data.epoch, run.data.batch) == (0, 0)
    next(iteration)
    assert run.data.batch == 1 and run.data.state_dict()["batches"] == 1


def test_the_end_of_an_epoch_yields_nothing_once() -> None:
    run = new("shuffled", 0)
    batches = len(list(run.data))
    iteration = iter(run.data)
    for _ in range(batches):
        next(iteration)
    other = new("shuffled", 0)
    other.take_up(run.snapshot())
    assert (other.data.epoch, other.data.batch) == (1, batches)
    assert list(other.data) == []
    assert (other.data.epoch, other.data.batch) == (2, 0)
    assert len(list(other.data)) == batches


def test_generators_are_as_they_were_without_a_manager() -> None:
    """Who sets the generators before the loop, and gives nothing to defer, goes on exactly, too."""
    run = new("weighted", 0)
    iteration = iter(run.data)
    next(iteration)
    position, rng = run.data.state_dict(), run.rng.state_dict()
    expected = [repr(batch) for batch in iteration], torch.rand(3).tolist()
    other = new("weighted", 0)
    scramble(77)
    other.data.load_state_dict(position)
    other.rng.load_state_dict(rng)
    assert ([repr(batch) for batch in other.data], torch.rand(3).tolist()) == expected


def test_between_epochs_nothing_is_deferred() -> None:
    run = new("shuffled", 0)
    list(run.data)
    run.data.load_state_dict(run.data.state_dict())
    assert run.data.defer_rng(lambda: None) is False


def test_going_back_while_the_loop_runs() -> None:
    """A restore inside the loop (a loss that became NaN): the same loop goes on from there."""
    for workers, persistent in ((0, False), (2, False), (2, True)):
        run = new("shuffled", workers, persistent)
        saved, seen = b"", []
        for number, batch in enumerate(run.data):
            seen.append(repr(batch))
            if number == 1:
                saved = run.snapshot()
            if number == 3:
                run.take_up(saved)
        assert len(seen) == 2 + 2 + 3 and seen[2:4] == seen[4:6]
        assert run.data.epoch == 1


def test_going_back_over_the_end_of_an_epoch_while_the_loop_runs() -> None:
    run = new("shuffled", 0)
    first = run.snapshot()
    seen = [[repr(batch) for batch in run.data]]
    for number, batch in enumerate(run.data):
        if number == 0:
            run.take_up(first)
            continue
        seen.append(repr(batch))
    assert seen[1:] == seen[0] and run.data.epoch == 1


# ---------------------------------------------------------------------------------------------------- leaving a loop


def test_after_a_break_the_next_epoch_begins() -> None:
    run, bare = new("shuffled", 0), []
    for _ in run.data:
        break
    assert (run.data.epoch, run.data.batch, run.data.state_dict()["running"]) == (0, 1, True)
    bare = [batch[0].tolist() for batch in run.data]
    assert run.data.epoch == 2 and sorted(sum(bare, [])) == list(range(loops.SAMPLES))


def test_end_epoch_is_saved_as_between_two() -> None:
    run = new("shuffled", 0)
    for _ in run.data:
        break
    run.data.end_epoch()
    run.data.end_epoch()
    snapshot = run.snapshot()
    expected = [repr(batch) for batch in run.data]
    other = new("shuffled", 0)
    other.take_up(snapshot)
    assert other.data.epoch == 1 and [repr(batch) for batch in other.data] == expected


def test_two_iterations_at_once_are_refused() -> None:
    run = new("shuffled", 0)
    first = iter(run.data)
    next(first)
    with pytest.raises(RuntimeError, match="an iteration over this data is under way"):
        iter(run.data)
    next(first)
    run.data.end_epoch()
    with pytest.raises(RuntimeError, match="given up"):
        next(first)
    assert len(list(run.data)) == 5


def test_an_iteration_stays_at_its_end() -> None:
    iteration = iter(new("list", 0).data)
    assert len(list(iteration)) == 5
    assert next(iteration, None) is None


def test_workers_end_with_the_loop() -> None:
    run = new("shuffled", 2)
    iteration = iter(run.data)
    workers = iteration.batches._workers  # type: ignore[union-attr]
    next(iteration)
    del iteration
    assert not any(worker.is_alive() for worker in workers)


class Flaky(loops.Numbers):
    def __getitem__(self, index: int) -> Any:
        if index in (4, 12):
            raise OSError(f"sample {index}")
        return index


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_that_failed_is_passed_once_the_loop_went_on(workers: int) -> None:
    flaky = data(DataLoader(Flaky(), 2, num_workers=workers))
    iteration, seen, positions = iter(flaky), [], []
    while True:
        try:
            seen.append(next(iteration).tolist())
        except StopIteration:
            break
        except OSError:
            pass
        positions.append(flaky.batch)
    assert seen == [[0, 1], [2, 3], [6, 7], [8, 9], [10, 11]]
    assert positions == [1, 2, 2, 4, 5, 6, 6], "failed ones count with the next that is received"


# ---------------------------------------------------------------------------------------------------- what does not fit


def refused(other: Any, message: str, batches: int = 2) -> None:
    snapshot, _ = in_the_middle(batches)
    before = other.state_dict()
    with pytest.raises(MismatchError, match=message):
        other.load_state_dict(pickle.loads(snapshot)[0])
    assert other.state_dict() == before


def test_another_length_or_batch_size_is_named() -> None:
    refused(
        data(DataLoader(loops.Numbers(), 4, shuffle=True)),
        "middle of epoch 0.*length was 5 and is 4; batch_size was 3 and is 4",
    )
    refused(data(loader("list")), "batch_size was 3 and is None")
    refused(data(loader("generator")), "generator generator: is here, was not when")
    refused(data(loader("shuffled"), seed=4), "the seed was 1, and here it is 4")
    refused(data(Stateful()), "kept by cairn.data, and here by the loader itself")


def test_between_epochs_the_loader_may_change() -> None:
    run = new("shuffled", 0)
    list(run.data)
    other = data(DataLoader(loops.Numbers(), 4, shuffle=True))
    other.load_state_dict(run.data.state_dict())
    assert len(list(other)) == 4 and other.epoch == 2


def test_a_state_of_another_version_is_refused() -> None:
    with pytest.raises(MismatchError, match="version 9, and this is version 1"):
        data([1]).load_state_dict(data([1]).state_dict() | {"version": 9})


def test_streams_need_the_same_number_of_workers() -> None:
    run = new("stream", 2)
    next(iter(run.data))
    with pytest.raises(MismatchError, match="workers was 2 and is 0"):
        data(loader("stream", 0)).load_state_dict(run.data.state_dict())


def test_other_workers_are_told(caplog: pytest.LogCaptureFixture) -> None:
    snapshot, _ = in_the_middle(2)
    new("shuffled", 2).take_up(snapshot)
    assert "0 workers when the state was saved, 2 here" in caplog.text


# ---------------------------------------------------------------------------------------------- other numbers of ranks


def shared(ranks: int, rank: int = 0, **options: Any) -> Any:
    """What one of these ranks has of an epoch of 100 samples."""
    scramble(1)
    samples = range(100)
    sampler = DistributedSampler(samples, ranks, rank)  # type: ignore[arg-type]
    return data(DataLoader(samples, **{"batch_size": 4, "sampler": sampler} | options))  # type: ignore[arg-type]


def after(source: Any, batches: int) -> dict[str, Any]:
    """Its state when so many batches were received."""
    iteration = iter(source)
    for _ in range(batches):
        next(iteration)
    return pickle.loads(pickle.dumps(source.state_dict()))


@pytest.mark.parametrize("ranks", [1, 3, 4, 8])
@pytest.mark.parametrize("batches", range(1, 14))
def test_what_all_ranks_had_received_is_passed_over(ranks: int, batches: int) -> None:
    """Of what they had not, all is given, and at most a batch of each was received before."""
    state, left = after(shared(2), batches), set()
    for rank in range(ranks):
        source = shared(ranks, rank)
        taken, told = source.taken_over(state, 2, ranks)
        source.check(taken)
        source.load_state_dict(taken)
        assert told.endswith(f"each had received {batches} batches, goes on behind batch {source.batch} of each")
        left |= {sample for batch in source for sample in batch.tolist()}
        assert source.epoch == 1
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0)).tolist()
    assert set(order[8 * batches :]) <= left and len(left) < max(100 - 8 * batches, 0) + 4 * ranks
    assert batches < 13 or not left, "an epoch that was at its end is at its end"


def test_a_place_of_other_ranks_is_kept_exactly_from_there_on() -> None:
    first = shared(1)
    first.load_state_dict(first.taken_over(after(shared(2), 3), 2, 1)[0])
    again = shared(1)
    again.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
    iteration = iter(first)
    seen = [next(iteration).tolist() for _ in range(2)]
    assert [batch.tolist() for batch in again][:2] == seen
    third, state = shared(1), first.state_dict()
    assert state["batches"] == 8 and state["digest"] is not None and state["base_seed"] is not None
    third.load_state_dict(state)
    assert [batch.tolist() for batch in third] == [batch.tolist() for batch in iteration]


def test_ranks_that_do_not_share_the_epoch_go_on_where_they_were() -> None:
    source, other = data(loader("shuffled")), data(loader("shuffled"))
    state = after(source, 2)
    taken, told = other.taken_over(state, 2, 3)
    other.load_state_dict(taken)
    assert told.endswith("goes on behind batch 2 of each")
    scramble(5)
    assert len(list(other)) == len(source) - 2 and other.epoch == 1


@pytest.mark.parametrize(
    ("saved", "here"),
    [
        ("stream", "stream"),
        ("shuffled", "drop last"),
        ("shuffled", "list"),
        ("shuffled", "stateful"),
        ("stateful", "stateful"),
    ],
)
def test_where_it_cannot_be_told_the_epoch_begins_anew(saved: str, here: str) -> None:
    source, other, bare = (data(Stateful() if kind == "stateful" else loader(kind)) for kind in (saved, here, here))
    list(source)
    taken, told = other.taken_over(after(source, 2), 2, 1)
    other.load_state_dict(taken)
    assert told == "epoch 1, of which each had received 2 batches, begins anew, for it cannot be told"
    assert (other.epoch, other.batch) == (1, 0)
    assert len(list(other)) == len(list(bare)) and other.epoch == 2


def test_between_epochs_and_with_as_many_ranks_there_is_nothing_to_say() -> None:
    source, other = shared(2), shared(4)
    state = after(source, 3)
    assert source.taken_over(state, 2, 2) == (state, "")
    source.end_epoch()
    taken, told = other.taken_over(source.state_dict(), 2, 4)
    other.load_state_dict(taken)
    assert (taken, told, other.epoch) == (source.state_dict(), "", 1)


class Restless(loops.EagerSampler):
    """Its order comes from nowhere."""

    def __iter__(self) -> Iterator[int]:
        return iter(np.random.default_rng().permutation(loops.SAMPLES).tolist())


@pytest.mark.parametrize("workers", [0, 2])
def test_an_order_that_does_not_come_back_is_refused(workers: int) -> None:
    first, second = (data(DataLoader(loops.Numbers(), 3, sampler=Restless(), num_workers=workers)) for _ in range(2))
    iteration = iter(first)
    next(iteration)
    next(iteration)
    second.load_state_dict(first.state_dict())
    for _ in range(2):
        with pytest.raises(MismatchError, match="first 2 batches of epoch 0 are others"):
            iter(second)


class Drawing(loops.EagerSampler):
    """A batch sampler: always the same order, but a number of draws from torch that comes from nowhere."""

    draws = 0

    def __iter__(self) -> Iterator[int]:
        torch.rand(self.draws)
        return iter([[index] for index in range(loops.SAMPLES)])  # type: ignore[arg-type]


def test_workers_that_would_be_seeded_otherwise_are_refused() -> None:
    sampler = Drawing()
    first, second = (data(DataLoader(loops.Numbers(), batch_sampler=sampler)) for _ in range(2))
    next(iter(first))
    sampler.draws = 1
    second.load_state_dict(first.state_dict())
    with pytest.raises(MismatchError, match="epoch 0 seeded its workers with"):
        iter(second)


def test_a_sampler_that_ends_early_is_refused() -> None:
    class Shrinking(loops.EagerSampler):
        count = loops.SAMPLES

        def __iter__(self) -> Iterator[int]:
            return iter(range(self.count))

    sampler = Shrinking()
    run = Run(data(DataLoader(loops.Numbers(), 3, sampler=sampler)))
    iteration = iter(run.data)
    for _ in range(3):
        next(iteration)
    state = run.data.state_dict()
    sampler.count = 5
    run.data.load_state_dict(state)
    with pytest.raises(MismatchError, match="3 batches of this epoch were received, and the sampler now ends after 2"):
        next(iteration)


def test_what_cannot_be_wrapped() -> None:
    with pytest.raises(TypeError, match="generator is an iterator"):
        data(index for index in range(3))
    with pytest.raises(TypeError, match="already"):
        data(data([1]))
    with pytest.raises(ValueError, match="in_order"):
        data(DataLoader(loops.Numbers(), num_workers=1, in_order=False))


# ---------------------------------------------------------------------------------------------------- other loaders


class Lazy(DataLoader[Any]):
    """As some libraries wrap it: nothing happens before the first batch is asked for."""

    def __iter__(self) -> Any:
        for batch in super().__iter__():
            yield [("mine", batch)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_that_begins_late(workers: int) -> None:
    def lazy() -> Run:
        scramble(1)
        return Run(data(Lazy(loops.Numbers(), 3, shuffle=True, num_workers=workers)))

    snapshots: list[bytes] = []
    run = lazy()
    run.train(lambda run: snapshots.append(run.snapshot()))
    for snapshot in snapshots[::3]:
        other = lazy()
        scramble(9)
        seen = other.take_up(snapshot)
        other.train()
        assert repr(other.seen) == repr(run.seen[seen:])


class Stateful:
    """A loader that keeps its position itself."""

    def __init__(self) -> None:
        self.position = 0

    def __iter__(self) -> Iterator[int]:
        while self.position < 5:
            self.position += 1
            yield self.position - 1
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


def test_a_loader_with_a_state_keeps_its_position() -> None:
    first, second = data(Stateful()), data(Stateful())
    assert first.state_dict()["position"] is None
    iteration = iter(first)
    assert [next(iteration) for _ in range(3)] == [0, 1, 2]
    state = first.state_dict()
    assert (state["batches"], state["position"]) == (3, {"position": 3})
    second.load_state_dict(state)
    assert second.state_dict() == state
    assert list(second) == [3, 4] and list(second) == [0, 1, 2, 3, 4] and second.epoch == 2


def test_a_loader_that_accelerate_prepared_is_refused() -> None:
    prepared = type("DataLoaderShard", (DataLoader,), {"__module__": "accelerate.data_loader"})
    with pytest.raises(TypeError, match="^data: accelerate has prepared this loader, .*: give the DataLoader that was prepared, and move"):
        data(prepared(range(4), 2))



def test_torchdata() -> None:
    pytest.importorskip("torchdata", reason="torchdata is not installed: StatefulDataLoader was NOT tested")
    from torchdata.stateful_dataloader import StatefulDataLoader

    for workers in (0, 2):

        def stateful() -> Run:
            scramble(1)
            return Run(data(StatefulDataLoader(loops.Numbers(), 3, shuffle=True, num_workers=workers)))

        snapshots: list[bytes] = []
        run = stateful()
        run.train(lambda run: snapshots.append(run.snapshot()))
        for place, snapshot in enumerate(snapshots):
            other = stateful()
            scramble(9)
            seen = other.take_up(snapshot)
            other.train()
            assert repr(other.seen) == repr(run.seen[seen:]), f"{workers} workers, snapshot {place}"


def test_persistent_workers_from_before_are_not_used() -> None:
    bare = DataLoader(torch.arange(6), 2, num_workers=1, persistent_workers=True)  # type: ignore[arg-type]
    list(bare)
    workers = bare._iterator._workers  # type: ignore[union-attr]
    wrapped = data(bare)
    list(wrapped)
    again = bare._iterator
    list(wrapped)
    assert bare._iterator is again and again is not None
    assert [workers[0].is_alive(), again._workers[0].is_alive()] == [False, True]  # type: ignore[attr-defined]


def test_it_looks_like_the_loader() -> None:
    run = new("shuffled", 0)
    assert len(run.data) == 5 and run.data.batch_size == 3 and isinstance(run.data.dataset, loops.Numbers)
    assert repr(run.data) == "Data(DataLoader, epoch 0: not begun)"
    for _ in run.data:
        break
    assert repr(run.data) == "Data(DataLoader, epoch 0: 1 of 5 batches received)"
    with pytest.raises(AttributeError):
        print(run.data.nothing_of_this_name)
    with pytest.raises(TypeError):
        len(data(loader("stream")))


# --------------------------------------------------------------------------------------------------- the epoch's number


def test_set_epoch_reaches_the_sampler() -> None:
    run = new("distributed", 0)
    orders = []
    for epoch in (4, 0):
        run.data.set_epoch(epoch)
        assert run.data.epoch == epoch and run.data.sampler.epoch == epoch
        orders.append([batch[0].tolist() for batch in run.data])
    assert orders[0] != orders[1]
    iteration = iter(run.data)
    next(iteration)
    with pytest.raises(RuntimeError, match="middle of an epoch"):
        run.data.set_epoch(2)


def test_what_the_program_told_the_sampler_comes_back() -> None:
    run = new("distributed", 0)
    run.data.sampler.set_epoch(6)
    iteration = iter(run.data)
    next(iteration)
    state = run.data.state_dict()
    expected = [batch[0].tolist() for batch in iteration]
    other = new("distributed", 0)
    other.data.load_state_dict(state)
    assert [batch[0].tolist() for batch in other.data] == expected and other.data.sampler.epoch == 6


def test_set_epoch_after_a_load() -> None:
    snapshot, _ = in_the_middle(2)
    run = new("shuffled", 0)
    run.take_up(snapshot)
    run.data.set_epoch(0)
    assert run.data.batch == 2
    with pytest.raises(ValueError, match=r"set_epoch\(1\) after a load in epoch 0, 2 batches received"):
        run.data.set_epoch(1)
    snapshot, _ = in_the_middle(5)
    run.take_up(snapshot)
    run.data.set_epoch(1)  # of the epoch loaded nothing was left
    assert (run.data.epoch, run.data.batch, len(list(run.data))) == (1, 0, 5)


# ------------------------------------------------------------------------- loops over it, as docs/PYTHON.md names them


class Ahead:
    """A prefetcher: one batch ahead of whoever iterates it."""

    def __init__(self, loader: Any) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        ahead = next(batches, None)
        while ahead is not None:
            batch, ahead = ahead, next(batches, None)
            yield batch


def each(data: Any) -> Iterator[Any]:
    while True:
        yield from data


def kept_iterator(data: Any) -> Iterator[Any]:
    batches = iter(data)
    while True:
        try:
            yield next(batches)
        except StopIteration:
            batches = iter(data)


def numbered_by_data(data: Any) -> Iterator[Any]:
    while True:
        for batch in data:
            yield data.batch, batch


def numbered_by_enumerate(data: Any) -> Iterator[Any]:
    while True:
        yield from enumerate(data, 1)


def first_three(data: Any) -> Iterator[Any]:
    while True:
        yield from itertools.islice(data, max(3 - data.batch, 0))
        data.end_epoch()


def left_before_the_save(data: Any) -> Iterator[Any]:
    while True:
        for batch in data:
            is_last = data.batch == 3
            if is_last:
                data.end_epoch()
            yield batch
            if is_last:
                break


def left_behind_the_save(data: Any) -> Iterator[Any]:
    while True:
        for count, batch in enumerate(data, 1):
            yield batch
            if count == 3:
                break


def new_iterator_each_step(data: Any) -> Iterator[Any]:
    while True:
        yield next(iter(data))


EXACT: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Iterator[Any]]]] = {
    "for": (cairn.data, each),
    "an iterator that is kept": (cairn.data, kept_iterator),
    "endless": (cairn.data, lambda data: itertools.chain.from_iterable(itertools.repeat(data))),
    "zip as long as it": (cairn.data, lambda data: (pair[0] for _ in itertools.count() for pair in zip(data, range(6)))),
    "its own count": (cairn.data, numbered_by_data),
    "three of each epoch": (cairn.data, first_three),
    "left before the save": (cairn.data, left_before_the_save),
    "read ahead inside": (lambda loader: cairn.data(Ahead(loader)), each),
}
INEXACT: dict[str, Callable[[Any], Iterator[Any]]] = {
    "a new iterator each step": new_iterator_each_step,
    "read ahead outside": lambda data: each(Ahead(data)),
    "a list": lambda data: (batch for _ in itertools.count() for batch in list(data)),
    "cycle": itertools.cycle,
    "zip cut short": lambda data: (pair[0] for _ in itertools.count() for pair in zip(data, range(3))),
    "enumerate": numbered_by_enumerate,
    "left behind the save": left_behind_the_save,
}


Started: TypeAlias = tuple[dict[str, Any], Iterator[Any]]  # a state, and the steps of a loop over its data


def one_loader(made: Callable[[Any], Any], pattern: Callable[[Any], Iterator[Any]]) -> Started:
    torch.manual_seed(0)
    data = made(DataLoader(torch.arange(12), batch_size=2, shuffle=True))
    return {"data": data, "rng": cairn.RNG()}, pattern(data)


def first_difference(run: Callable[[], Started], folder: Path) -> int | None:
    """The step whose save is not gone on from exactly; None: there is none."""
    _, whole = run()
    seen = [repr(next(whole)) for _ in range(9)]
    for step in range(1, 9):
        state, going = run()
        for _ in range(step):
            next(going)
        cairn.save(folder / "one", state, replace=True)
        state, going = run()
        cairn.load(folder / "one", into=state)
        if [repr(batch) for batch in itertools.islice(going, 9 - step)] != seen[step:]:
            return step
    return None


@pytest.mark.parametrize("name", EXACT)
def test_loops_that_are_exact(name: str, tmp_path: Path) -> None:
    assert first_difference(lambda: one_loader(*EXACT[name]), tmp_path) is None


@pytest.mark.parametrize("name", INEXACT)
def test_loops_that_are_not(name: str, tmp_path: Path) -> None:
    assert first_difference(lambda: one_loader(cairn.data, INEXACT[name]), tmp_path) is not None


class Noisy(torch.utils.data.Dataset[Any]):
    """Draws from the global generator at each sample."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> Any:
        return index + torch.rand(1)


def two_side_by_side() -> Started:
    """With a generator for each, and a draw of the loop's own between the batches of one and of the other."""
    torch.manual_seed(0)
    one, other = (
        cairn.data(DataLoader(Noisy(), batch_size=2, shuffle=True, generator=torch.Generator().manual_seed(seed)))
        for seed in (1, 2)
    )
    beside = torch.Generator().manual_seed(3)

    def pairs() -> Iterator[Any]:
        while True:
            others = iter(other)
            for batch in one:
                yield batch, torch.rand(1), torch.rand(1, generator=beside), next(others)
            assert next(others, None) is None

    return {"one": one, "other": other, "rng": cairn.RNG(), "beside": cairn.RNG(beside)}, pairs()


def test_two_loaders_with_a_generator_each(tmp_path: Path) -> None:
    assert first_difference(two_side_by_side, tmp_path) is None
