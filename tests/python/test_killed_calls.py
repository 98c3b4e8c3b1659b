"""examples/train_gpt.py, killed by strace before the N-th call of a kind that a thread makes after the first step: resumed in a new process, it ends with
the bits of a run that nobody killed - parameters, optimizer, random numbers, every loss.

strace counts the calls of each thread by itself, and each save has a thread of its own, which with one I/O thread makes all calls of the save: so N is a place
in a save. Every N of `POINTS` must be met: a run that ended before is no case, and fails.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from state_help import same

import cairn

HERE = Path(__file__).parent
STEPS = 6
SAMPLE = {"openat": (3, 30, 66), "pwrite64": (1, 6), "fsync": (2, 13), "renameat2": (1,), "unlinkat": (1, 9)}
POINTS = {"openat": range(1, 71), "pwrite64": range(1, 9), "fsync": range(1, 16), "renameat2": range(1, 3), "unlinkat": range(1, 12)}


class Trainers:
    """Starts one after the other (killed_run.py)."""

    def __init__(self, folder: Path) -> None:
        text = folder / "text"
        text.write_bytes((HERE.parents[1] / "README.md").read_bytes()[:2000])  # an epoch has four steps
        command = [sys.executable, HERE / "killed_run.py", text, str(STEPS)]
        alone = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | alone)

    def start(self, run: Path, is_held: bool) -> None:
        assert self.process.stdin is not None
        print(json.dumps([str(run), is_held]), file=self.process.stdin, flush=True)

    def told(self, what: str) -> int:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith(f"{what} "), f"the trainer says {line!r}, not {what}"
        return int(line.split()[1])

    def finish(self, run: Path) -> None:
        self.start(run, is_held=False)
        assert self.told("ended") == 0

    def close(self) -> None:
        self.process.communicate()


def outcome(run: Path) -> tuple[set[str], Any]:
    """Its lines and what its last checkpoint holds."""
    lines = run.with_suffix(".log").read_text().splitlines()
    assert sum(line.startswith("1 ") for line in lines) == 1, "the first step was saved, and is not done again"
    with cairn.Checkpoint(run / f"checkpoint-{STEPS}") as checkpoint:
        return set(lines), checkpoint.state()


@pytest.fixture(scope="module")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trainers]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    trainers = Trainers(tmp_path_factory.mktemp("text"))
    yield trainers
    trainers.close()


@pytest.fixture(scope="module")
def whole(trainers: Trainers, tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], Any]:
    run = tmp_path_factory.mktemp("whole") / "run"
    trainers.finish(run)
    return outcome(run)


def kill(trainers: Trainers, run: Path, call: str, number: int) -> str:
    """Returns what the trainer was killed before."""
    trainers.start(run, is_held=True)
    process, log = trainers.told("waits"), run.with_suffix(".strace")
    command = ["strace", "-f", "-qq", "-o", log, "-p", str(process), "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"]
    attached = subprocess.run(command, capture_output=True, text=True, timeout=120)
    if attached.returncode != 0:
        os.kill(process, signal.SIGKILL)
        trainers.told("ended")
        assert "ptrace(" in attached.stderr, attached.stderr
        pytest.skip(f"strace cannot attach: {attached.stderr.strip()}")
    status = trainers.told("ended")
    calls: dict[str, list[str]] = defaultdict(list)
    for thread, what in re.findall(rf"^(\d+) +({call}\(.*)", log.read_text(), re.MULTILINE):
        calls[thread].append(what)
    met = [made[-1] for made in calls.values() if len(made) == number and re.search(r"= \?$|<unfinished \.\.\.>$", made[-1])]
    assert status == -signal.SIGKILL and len(met) == 1, f"it ended with {status}, not before {call} number {number} of a thread"
    return met[0]


@pytest.mark.parametrize(
    "call, number",
    [pytest.param(call, number, marks=() if number in SAMPLE[call] else pytest.mark.long) for call, points in POINTS.items() for number in points],
)
def test_a_run_that_was_killed_before_a_call_ends_with_the_same_bits(call: str, number: int, trainers: Trainers, whole: tuple[set[str], Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    met = kill(trainers, run, call, number)
    assert not (run / f"checkpoint-{STEPS}").exists(), f"killed before {met}: it was through"
    trainers.finish(run)
    lines, state = outcome(run)
    wrong = sorted(lines ^ whole[0])
    assert not wrong, f"killed before {met}: {wrong[:3]} are of one run alone"
    assert same(state, whole[1]), f"killed before {met}: the last checkpoints differ"
