"""Each example runs, is killed, and goes on to the end that it has without a kill."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"


def run(*arguments: object) -> str:
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, text=True, capture_output=True, timeout=300, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def kill_after_a_checkpoint(folder: Path, *arguments: object) -> None:
    process = subprocess.Popen([sys.executable, *map(str, arguments)], cwd=ROOT, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"})
    while process.poll() is None and not list(folder.glob("checkpoint-*")):
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert list(folder.glob("checkpoint-*")), "it ended without a checkpoint"


CASES = {
    "train_gpt.py": ("README.md", "--steps", 120, "--every", 15),
    "finetune_lora.py": ("--steps", 60),
    "jax_train.py": ("--steps", 120),
}


@pytest.mark.parametrize("name", [pytest.param(name, marks=() if name == "jax_train.py" else pytest.mark.long) for name in CASES])
def test_it_ends_as_if_it_had_not_been_killed(name: str, tmp_path: Path) -> None:
    whole = run(EXAMPLES / name, *CASES[name], "--run", tmp_path / "whole").splitlines()
    kill_after_a_checkpoint(tmp_path / "killed", EXAMPLES / name, *CASES[name], "--run", tmp_path / "killed")
    rest = run(EXAMPLES / name, *CASES[name], "--run", tmp_path / "killed").splitlines()
    assert whole[-1] == rest[-1] and rest != whole, (whole, rest)  # it went on, and did not begin anew


def test_finetuning_goes_on_with_the_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, for importing transformers and peft takes longer than the run."""

    def finetune(folder: str) -> str:
        monkeypatch.setattr(sys, "argv", ["finetune_lora.py", "--steps", "42", "--run", str(tmp_path / folder)])
        runpy.run_path(str(EXAMPLES / "finetune_lora.py"), run_name="__main__")
        return capsys.readouterr().out.splitlines()[-1]

    torch = pytest.importorskip("torch")
    pytest.importorskip("peft")
    torch.set_num_threads(1)
    whole = finetune("whole")
    monkeypatch.setenv("CAIRN_STOP_AT_STEP", "23")
    with pytest.raises(SystemExit):
        finetune("stopped")
    monkeypatch.delenv("CAIRN_STOP_AT_STEP")
    assert (tmp_path / "stopped/checkpoint-23").exists() and not (tmp_path / "stopped/checkpoint-42").exists()
    assert finetune("stopped") == whole and (tmp_path / "stopped/checkpoint-42").exists() and whole.startswith("step 40: loss ")


@pytest.mark.parametrize("kind", ["GPT2Model", "GPT2LMHeadModel"])
def test_a_published_base_is_fine_tuned(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("peft")
    base = getattr(transformers, kind)(transformers.GPT2Config(vocab_size=70, n_positions=40, n_embd=32, n_layer=1, n_head=2))
    base.save_pretrained(tmp_path / "base")
    monkeypatch.setattr(sys, "argv", ["finetune_lora.py", str(tmp_path / "base"), "--steps", "1", "--run", str(tmp_path / "run")])
    runpy.run_path(str(EXAMPLES / "finetune_lora.py"), run_name="__main__")
    assert f"{len(base.state_dict()) - (kind == 'GPT2LMHeadModel')} leaves restored" in capsys.readouterr().out
    assert (tmp_path / "run/checkpoint-1/adapter_model.safetensors").exists()


def test_a_run_is_looked_at_as_it_was(tmp_path: Path) -> None:
    run(EXAMPLES / "train_gpt.py", "README.md", "--steps", 45, "--every", 20, "--run", tmp_path / "run")
    lines = run(EXAMPLES / "evaluate_history.py", "README.md", "--run", tmp_path / "run").splitlines()
    assert [line.split(":")[0] for line in lines][-1] == "step 45" and len(lines) >= 2, lines
    losses = [float(line.split("loss ")[1].split(",")[0]) for line in lines]
    assert losses == sorted(losses, reverse=True), "it learns"
    mistyped = subprocess.run([sys.executable, EXAMPLES / "evaluate_history.py", "README.md", "--run", tmp_path / "runn"], capture_output=True, text=True)
    assert mistyped.returncode == 2 and mistyped.stderr.endswith("runn: no checkpoint is there\n")
