"""The Python that the documents show runs."""

from __future__ import annotations

import re
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
        "loader": DataLoader(torch.arange(16), batch_size=4), "DataLoader": DataLoader, "dataset": torch.arange(16),
        "evaluate": lambda model: 0.0, "make_model": lambda: (model, optimizer, scheduler),
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


def test_the_first_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (diff,) = re.findall(r"^```diff\n(.*?)^```", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    for side in "-", "+":
        code = "".join(line[1:] + "\n" for line in diff.splitlines() if line[0] in (" ", side))
        exec(code.replace("every_steps=500", "every_steps=3"), names())
    assert sorted(path.name for path in (tmp_path / "ckpts/gpt").glob("checkpoint-*")) == ["checkpoint-3", "checkpoint-6"]
