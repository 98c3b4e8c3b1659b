"""Runs of examples/train_gpt.py, as it stands, for test_killed_calls.py: `killed_run.py TEXT STEPS` imports what it needs, which takes longer than the run,
and forks a process for each line ["RUN", is_held] of its input, one after the other. It prints "ended STATUS" of each.

In the process CheckpointManager has one I/O thread, and writes each loss and, at the end, a digest of the state and of the next random numbers to RUN.log.
One that is held prints "waits PID" when its first step is saved, and goes on when a tracer has attached to all of its threads.
"""

from __future__ import annotations

import ctypes
import json
import os
import random
import runpy
import sys
import time
from pathlib import Path
from typing import Any

import numpy
import torch
import torch._dynamo  # what an optimizer of torch imports
from trainers import Log

import cairn

EXAMPLE = Path(__file__).parents[2] / "examples/train_gpt.py"
THREADS = Path("/proc/self/task")
HELD_S = 60


def wait_for_a_tracer() -> None:
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1), 0, 0, 0)  # PR_SET_PTRACER: any, where Yama would let parents alone trace
    print("waits", os.getpid(), file=sys.__stdout__, flush=True)
    end = time.monotonic() + HELD_S
    while any("TracerPid:\t0\n" in status.read_text() for status in THREADS.glob("*/status")):
        if time.monotonic() > end:
            sys.exit(f"nobody traces it after {HELD_S} s")
        time.sleep(0.002)


def train(text: str, steps: str, run: str, is_held: bool) -> None:
    seed = 1 if not list(Path(run).glob("checkpoint-*")) else int.from_bytes(os.urandom(4), "little")
    random.seed(seed)  # a resumed process starts with others; the example seeds torch's alone
    numpy.random.seed(seed)
    log = Log(f"{run}.log")

    class Manager(cairn.CheckpointManager):
        def __init__(self, directory: str, state: dict[str, Any], **options: Any) -> None:
            super().__init__(directory, state, io_threads=1, **options)
            self.given = state

        def save(self, step: int, *, metrics: dict[str, Any], force: bool) -> bool:
            log.step(step, metrics["loss"].item())
            saved = super().save(step, metrics=metrics, force=force)
            if is_held and step == 1:
                self.wait_until_finished()
                wait_for_a_tracer()
            return saved

        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            kept = {name: value for name, value in self.given.items() if name not in ("data", "rng")}
            log.end(kept | {"next": [torch.rand(3), random.random(), numpy.random.rand()]})

    cairn.CheckpointManager = Manager
    sys.argv = [EXAMPLE.name, text, "--run", run, "--steps", steps, "--every", "1"]
    runpy.run_path(str(EXAMPLE), run_name="__main__")


def main() -> None:
    assert len(list(THREADS.iterdir())) == 1, "what is forked has one thread"
    for line in sys.stdin:
        process = os.fork()
        if process == 0:
            sys.stdout = sys.stderr  # what the example prints
            train(*sys.argv[1:3], *json.loads(line))
            break
        print("ended", os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)
    os._exit(0)  # for Python takes longer to end than the run took


if __name__ == "__main__":
    main()
