"""The Python that the documents show runs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch.utils.data import DataLoader

import cairn

ROOT = Path(__file__).parents[2]


class Letters(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters = torch.nn.Embedding(16, 4)


def names() -> dict[str, Any]:
    """What the pieces of code take for granted."""
    torch.set_num_threads(1)
    model = Letters()
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 100)

    def train(batch: torch.Tensor) -> None:
        model.letters(batch).sum().backward()
        optimizer.step()
        scheduler.step()

    return {
        "cairn": cairn, "model": model, "optimizer": optimizer, "scheduler": scheduler, "train": train, "epochs": 3, "loss": torch.tensor(0.5),
        "loader": DataLoader(torch.arange(16), batch_size=4), "evaluate": lambda model: 0.0,
    }  # fmt: skip


def test_the_page_on_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loop, looking = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/PYTHON.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    scope = names()
    exec(loop.replace("every_steps=500", "every_steps=3"), scope)
    assert scope["loop"].epoch == 3 and scope["step"] == 12
    save_file({"transformer.letters.weight": torch.ones(16, 4), "h.attn.bias": torch.ones(2)}, "model.safetensors")
    exec(looking.replace("checkpoint-900", "checkpoint-9"), scope)
    assert torch.equal(scope["model"].letters.weight, torch.ones(16, 4)) and scope["rows"].shape == (10, 4)
    assert cairn.Checkpoint("final").state()["model"]["letters.weight"].sum() == 64
    exec(loop.replace("every_steps=500", "every_steps=3").replace("epochs", "4"), names())  # goes on, and ends between two saves that are due
    assert cairn.CheckpointManager("ckpts/gpt").latest_step() == 16


def train_script(side: str) -> str:
    """The script of the first page, before ("-") or after ("+")."""
    (diff,) = re.findall(r"^```diff\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    return "".join(line[1:] + "\n" for line in diff.splitlines() if line[:1] in ("", " ", side))


def test_the_first_page_shows_a_script_that_can_be_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(side: str, folder: str) -> str:
        (tmp_path / folder).mkdir(exist_ok=True)
        monkeypatch.chdir(tmp_path / folder)
        torch.set_num_threads(1)
        exec(train_script(side), {"__name__": "__main__"})
        return capsys.readouterr().out

    before = run("-", "before")
    assert re.fullmatch(r"loss \d+\.\d{5,}\n", before) and not list((tmp_path / "before").iterdir())
    assert run("+", "whole") == before
    (tmp_path / "killed").mkdir()
    (tmp_path / "train.py").write_text(train_script("+"))
    at = {"CAIRN_KILL_AT_STEP": "170", "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}  # in the third epoch of five
    killed = subprocess.run([sys.executable, tmp_path / "train.py"], cwd=tmp_path / "killed", env=os.environ | at)
    assert killed.returncode == -signal.SIGKILL
    newest = max(int(path.name.split("-")[1]) for path in (tmp_path / "killed/ckpts/sines").glob("checkpoint-*"))
    assert 170 <= newest < 300, "it was killed before its end"
    assert run("+", "killed") == before
    assert (tmp_path / "killed/ckpts/sines/checkpoint-320").exists(), "the last state"
    assert run("+", "killed") == before, "and there is nothing left to do"
    written = {path.suffix for path in (tmp_path / "killed").rglob("checkpoint-*/**/*") if path.is_file()}
    assert written == {".safetensors", ".json"}, "and no pickle"


def test_the_tests_that_prove_it_are_there() -> None:
    for page in ("README.md", "docs/PYTHON.md"):
        named = re.findall(r"\btest_\w+\.py\b", (ROOT / page).read_text())
        assert len(named) >= 3 and all((ROOT / "tests/python" / name).exists() for name in named), named
