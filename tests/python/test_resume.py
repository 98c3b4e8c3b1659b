"""A run that was killed, at random steps and in mid-epoch, ends with the bits of one that never was: each process is a new one."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

TRAINER = Path(__file__).with_name("trainers.py")
STEPS = 60
KILLS = 3 if os.environ.get("CAIRN_LONG") else 1  # make proof has more of them


def on_a_gpu() -> bool:
    torch = pytest.importorskip("torch")
    return bool(torch.cuda.is_available())


def start(model: str, folder: Path, name: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(TRAINER), model, str(folder / name), str(STEPS), str(folder / f"{name}.log")]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)


def finish(process: subprocess.Popen[str]) -> None:
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0, output[-3000:]


def kill_at(process: subprocess.Popen[str], log: Path, step: int) -> None:
    """Kills the trainer and its workers as soon as it has told that step."""
    while process.poll() is None and not (log.exists() and f"\n{step} " in log.read_text()):
        time.sleep(0.002)
    assert process.poll() is None, process.communicate()[0][-3000:]
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("model", ["gpt", pytest.param("resnet", marks=pytest.mark.long), "lora", pytest.param("bf16", marks=pytest.mark.long), "jax"])
def test_a_killed_run_ends_with_the_same_bits(model: str, tmp_path: Path) -> None:
    pytest.importorskip({"lora": "peft", "jax": "optax"}.get(model, "torch"))
    kill_and_compare(model, tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not on_a_gpu(), reason="no GPU")
@pytest.mark.parametrize("model", ["cuda", "cuda-lazy"])
def test_a_killed_run_on_a_gpu_ends_with_the_same_bits(model: str, tmp_path: Path) -> None:
    kill_and_compare(model, tmp_path)


def kill_and_compare(model: str, tmp_path: Path) -> None:
    reference = start(model, tmp_path, "whole")
    seed = random.randrange(1 << 32)
    steps = sorted(random.Random(seed).sample(range(5, STEPS - 2), KILLS))
    for step in steps:
        kill_at(start(model, tmp_path, "killed"), tmp_path / "killed.log", step)
    finish(start(model, tmp_path, "killed"))
    finish(reference)
    whole = (tmp_path / "whole.log").read_text().splitlines()
    killed = (tmp_path / "killed.log").read_text().splitlines()
    assert len(whole) == STEPS + 1 and len(killed) > len(whole), "steps after the last checkpoint are done again"
    wrong = [line for line in killed if line not in whole]
    assert not wrong, f"seed {seed}, killed at {steps}: {wrong[:3]} are not of the run that was not interrupted"
    assert killed[-1] == whole[-1]
