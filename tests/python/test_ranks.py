"""Several ranks train together (torch.distributed, gloo): one of them writes, all of them resume, and whatever fails fails on all."""

from __future__ import annotations

import json
import pickle
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import ranked
import torch

import cairn

RANKED = Path(__file__).with_name("ranked.py")


class Job:
    """The processes of one start, which do one thing or several, each in a run of its own: `folder`/run-WHAT."""

    def __init__(self, what: str | list[str], folder: Path, size: int = 2, **more: Any) -> None:
        self.whats = [what] if isinstance(what, str) else what
        self.folder, self.size = folder, size
        folder.mkdir(exist_ok=True)
        store = folder / f"store.{random.randrange(1 << 32)}"
        self.processes = []
        for rank in range(size):
            facts = {"what": self.whats, "rank": rank, "size": size, "store": str(store), "run": str(folder / "run"), **more}
            with open(folder / f"out.{rank}", "w") as output:
                self.processes.append(subprocess.Popen([sys.executable, str(RANKED), json.dumps(facts)], stdout=output, stderr=subprocess.STDOUT))

    def output(self, rank: int) -> str:
        """What a rank printed."""
        return (self.folder / f"out.{rank}").read_text()[-6000:]

    def lines(self, what: str | None = None) -> list[list[str]]:
        """What each rank told."""
        paths = [self.folder / f"run-{what or self.whats[0]}.log.{rank}" for rank in range(self.size)]
        return [path.read_text().splitlines() if path.exists() else [] for path in paths]

    def finish(self) -> list[list[str]]:
        for rank, process in enumerate(self.processes):
            assert process.wait(timeout=240) == 0, self.output(rank)
        return self.lines()

    def kill_at(self, step: int) -> None:
        """As soon as rank 0 has told that step, and something can be resumed from."""
        run = self.folder / f"run-{self.whats[0]}"
        while not (any(run.glob("checkpoint-*")) and any(line.startswith(f"{step} ") for line in self.lines()[0])):
            assert all(process.poll() is None for process in self.processes), self.output(0)
            time.sleep(0.005)
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two ranks that do all that needs no other start."""
    whats = ["stop_by_signal", "clocks", "failing", "restoring", "elsewhere", "locked", "sharded", "pace"]
    folder = tmp_path_factory.mktemp("job")
    with cairn.CheckpointManager(folder / "run-restoring", {"model": torch.nn.Linear(3, 1)}, mode="sync") as manager:
        manager.save(7, force=True)
    with cairn.CheckpointManager(folder / "run-locked", {"model": {"w": torch.zeros(1)}}):
        started = Job(whats, folder)
        started.finish()
    return started


@pytest.mark.parametrize("error", [cairn.UnstorableError("model/f"), cairn.ResumeDiffers("a leaf", 3), cairn._errors.make("NOSPACE", "full", 28, 4096)])
def test_an_error_is_the_same_in_another_process(error: cairn.Error) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and str(again) == str(error) and vars(again) == vars(error)
    assert getattr(again, "errno", None) == getattr(error, "errno", None)


@pytest.mark.parametrize("size", [2, pytest.param(4, marks=pytest.mark.long)])
def test_killed_ranks_end_with_the_bits_of_those_that_never_were(size: int, tmp_path: Path) -> None:
    steps = 26  # an epoch is 12 batches of 2 ranks, 6 of 4
    facts = {"steps": steps, "same_buckets": size > 2}  # of two ranks the sums are the same in any order
    whole = Job("train", tmp_path / "whole", size, **facts).finish()
    at = random.randrange(6, 24)
    Job("train", tmp_path / "killed", size, **facts).kill_at(at)
    killed = Job("train", tmp_path / "killed", size, **facts, seed=1000).finish()
    for rank in range(size):
        begun = [line for line in killed[rank] if line.startswith("begin")]
        assert begun[0] == "begin 0" and int(begun[1].split()[1]) >= 4, "it was resumed"
        wrong = [line for line in killed[rank] if line not in whole[rank] and not line.startswith("begin")]
        assert not wrong, f"killed at {at}, rank {rank}: {wrong[:3]} are not of the run that was not interrupted"
        assert killed[rank][-1] == whole[rank][-1] and killed[rank][-1].startswith("end 26")
    assert len({line.split()[1] for lines in whole for line in lines if line.startswith("5 ")}) == size, "each rank has its own losses"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two ranks and 12 steps."""
    folder = tmp_path_factory.mktemp("trained")
    Job("train", folder, 2, steps=12).finish()
    return folder / "run-train"


def test_what_is_saved_opens_without_ranks(trained: Path) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters())
    with cairn.CheckpointManager(trained, {"model": model, "optimizer": optimizer, "rng": cairn.RNG()}) as manager:
        restored = manager.restore()
        report = restored.report
    assert restored.step == 12 and report.differences["world_size"] == (2, 1)
    assert any("saved by 2 ranks, restored by 1: this is no exact resume" in note and "ranks 1 to 1" in note for note in report.notes)
    assert not any(name.startswith("ranks/") for name in report.unexpected)
    with cairn.Checkpoint(trained / "checkpoint-12") as checkpoint:
        names = list(checkpoint["model"])
        ranks = checkpoint.state()["ranks"]
    assert sorted(names) == ["0.bias", "0.weight", "3.bias", "3.weight"]
    assert list(ranks) == ["1"] and set(ranks["1"]) == {"data", "rng"}


def test_another_number_of_ranks_is_told(trained: Path, tmp_path: Path) -> None:
    shutil.copytree(trained, tmp_path / "run-restoring_more", symlinks=True)
    job = Job("restoring_more", tmp_path, 3)
    assert [lines[-1] for lines in job.finish()] == ["gave 12"] * 3
    assert "saved by 2 ranks, restored by 3: this is no exact resume" in job.output(0) and "world_size was 2, is 3" in job.output(0)
    assert "rank 2 was not there: its random generators stay as they are" in job.output(2)
    assert "give it find_unused_parameters=True, or do one step before" in job.output(0)


def order(epoch: int = 0) -> list[str]:
    """The first number of each sample of an epoch, as all ranks together are given it."""
    samples = torch.randn(96, 8, generator=torch.Generator().manual_seed(3))
    return [samples[index][0].item().hex() for index in torch.randperm(96, generator=torch.Generator().manual_seed(epoch)).tolist()]


def held(run: Path, step: int) -> str:
    """What the parameters and the optimizer of a checkpoint are."""
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Dropout(0.2), torch.nn.Linear(32, 4))
    optimizer = torch.optim.AdamW(model.parameters())
    cairn.load(run / f"checkpoint-{step}", into={"model": model, "optimizer": optimizer})
    return ranked.digest(model, optimizer)


@pytest.mark.parametrize("size, batch", [(1, 16), pytest.param(3, 5, marks=pytest.mark.long), pytest.param(4, 4, marks=pytest.mark.long)])
def test_data_goes_on_at_the_same_place_with_another_number_of_ranks(size: int, batch: int, trained: Path, tmp_path: Path) -> None:
    """Two ranks had 8 batches of 4 each, 64 samples of 96."""
    shutil.copytree(trained, tmp_path / "run-restoring_data", symlinks=True)
    job = Job("restoring_data", tmp_path, size)
    lines = job.finish()
    for rank in range(size):
        at, holds, told, rest, then = lines[rank]
        assert at == f"at 8 0 {batch} 0" and holds == f"holds {held(trained, 8)}" and then == f"then 1 {96 // size // 4}"
        assert told.startswith(f"data: saved by 2 ranks, restored by {size}") and told.endswith(f"epoch 0, of which each had received 8 batches, goes on behind batch {batch} of each")
    left = {sample for rank in range(size) for sample in lines[rank][3].split()[1:]}
    assert left == set(order()[batch * size * 4 :]), "no sample is left out, and none given again but for whole batches"
    assert "data: saved by 2 ranks" in job.output(0)


def test_a_load_tells_where_data_goes_on(trained: Path) -> None:
    data = cairn.data(torch.utils.data.DataLoader(range(96), 4))  # type: ignore[arg-type]
    report = cairn.load(trained / "checkpoint-8", into={"data": data})
    assert data.batch == 16 and any(note.startswith("data: saved by 2 ranks, restored by 1") for note in report.notes)


def test_all_ranks_stop_when_one_is_told_to(job: Job) -> None:
    for lines in job.lines("stop_by_signal"):
        assert lines == ["1 False False", "2 False False", "3 True True", "4 False True", "5 False True"]


def test_the_clock_of_rank_0_counts(job: Job) -> None:
    first, second = job.lines("clocks")
    assert first == second and 1 <= sum(line.endswith("True") for line in first) <= 20


def test_a_failure_on_one_rank_is_one_on_all(job: Job) -> None:
    first, second = job.lines("failing")
    expected = [
        ("raised UnstorableError", "model/f: a builtin_function_or_method", "rank 0: model/f"),
        ("gave True", "", ""),
        ("raised", "rank 1: RuntimeError: a generator that cannot be read", "RuntimeError"),
        ("raised UsageError", "some ranks save step 3, some 4", "some ranks save step 3, some 4"),
        ("raised", "rank 1: TypeError: save('x')", "TypeError"),
        ("raised StorageError", "the disk is gone", "rank 0: the disk is gone"),
        ("gave True", "", ""),
        ("", "gave False", "raised UsageError"),
        ("gave [1, 9]", "", ""),
    ]
    for at, (both, on_first, on_second) in enumerate(expected):
        assert both in first[at] and on_first in first[at], first[at]
        assert both in second[at] and on_second in second[at], second[at]


def test_a_restore_that_fails_on_one_rank(job: Job) -> None:
    first, second = job.lines("restoring")
    assert first[0].startswith("raised TornStateError") and "rank 1: " in first[0] and "restore again, or stop" in first[0]
    assert second[0].startswith("raised MismatchError") and "weight" in second[0]
    for line in first[1], second[1]:
        assert line.startswith("raised UsageError") and "restore(items=['modell'])" in line, line
    assert "rank 1: " in first[1] and first[2] == second[2] and first[2].startswith("gave "), first[2]


def test_absent_ranks_are_named(tmp_path: Path) -> None:
    first, *others = Job("absent", tmp_path, 3, absent=[1, 2]).finish()
    assert first[0].startswith("raised UsageError") and 1 <= float(first[0].split()[2]) < 20 and "ranks 1, 2 are absent after 1 s" in first[0]
    assert others == [[], []]


def test_ranks_that_name_other_runs(job: Job) -> None:
    for lines in job.lines("elsewhere"):
        assert "raised UsageError" in lines[0] and "run-elsewhere-1 of rank 1: all ranks name the same directory" in lines[0]


def test_a_run_that_rank_0_cannot_open(job: Job) -> None:
    for rank, lines in enumerate(job.lines("locked")):
        assert "raised LockedError" in lines[0] and ("rank 0: " in lines[0]) == (rank == 1)


def test_sharded_states_are_refused_by_name(job: Job) -> None:
    first, second = job.lines("sharded")
    assert "raised UnstorableError" in first[0] and "model: a FSDPLinear lies on many ranks" in first[0]
    assert "raised UnstorableError" in first[1] and "model/w: a torch.distributed.tensor.DTensor" in first[1]
    assert "rank 0: model/w" in second[1]


def test_a_save_that_is_not_due_costs_one_small_exchange(job: Job) -> None:
    for lines in job.lines("pace"):
        assert float(lines[0]) < 20_000, "microseconds, in the middle, on a machine that may be busy"
