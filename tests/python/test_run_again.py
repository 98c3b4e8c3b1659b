"""A program that has come to its end is run again: it restores its last step, trains nothing, and saves by force after its loop. Whoever counts wrongly saves
that step, too, after another one of training: that stays an error."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cairn


def test_a_finished_program_may_be_run_again(tmp_path: Path) -> None:
    state: dict[str, Any] = {"model": {"w": np.zeros(8, np.float32)}, "run": cairn.Values(epoch=0)}
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        assert mngr.save(4, force=True) and mngr.save(5, force=True)
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        assert mngr.restore().step == 5
        assert not mngr.save(5, force=True) and not mngr.save(5, state={"run": cairn.Values(epoch=7)}, force=True)
        with pytest.raises(cairn.UsageError, match=r"save\(step \+ 1\)"):
            mngr.save(5)
        with pytest.raises(cairn.UsageError, match=r"step 5 was restored.*save\(step \+ 1\)"):
            mngr.save(5, state={"model": {"w": np.ones(8, np.float32)}}, force=True)
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        assert mngr.restore(step=4).step == 4
        state["model"]["w"][7] += 1  # counted wrongly: that was a step
        with pytest.raises(cairn.UsageError, match=r"step 4 was restored.*save\(step \+ 1\)"):
            mngr.save(4, force=True)
        assert mngr.save(5, force=True) and not mngr.save(5, force=True)
    assert mngr.all_steps() == [4, 5]


@pytest.mark.parametrize("kind", ["torch", "jax"])
def test_so_may_one_of_torch_and_jax(tmp_path: Path, kind: str) -> None:
    state = {"torch": trained_by_torch, "jax": trained_by_jax}[kind]()
    with cairn.CheckpointManager(tmp_path / "run", state) as mngr:
        assert mngr.save(3, force=True)
    torch = pytest.importorskip("torch")
    again = {"torch": trained_by_torch, "jax": trained_by_jax}[kind]()
    with cairn.CheckpointManager(tmp_path / "run", again) as mngr:
        restored = mngr.restore()
        torch.rand(1)
        if kind == "torch":
            again["meter"].seen += 1
        assert not mngr.save(3, restored.state if kind == "jax" else None, force=True)
        if kind == "torch":
            again["optimizer"].step()
        changed = {"tree": {"w": restored.state["tree"]["w"] + 1}} if kind == "jax" else None
        with pytest.raises(cairn.UsageError, match="step 3 was restored"):
            mngr.save(3, changed, force=True)
        assert mngr.save(4, changed, force=True)


class Meter:
    """What counts something besides the training."""

    def __init__(self, seen: Any) -> None:
        self.seen = seen

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def trained_by_torch() -> dict[str, Any]:
    torch = pytest.importorskip("torch")
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 2), torch.nn.BatchNorm2d(4)).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 3, 4, 4)).sum().backward()
    optimizer.step()
    lot = {"z": torch.tensor([1 + 2j, float("nan")], dtype=torch.complex128), "n": np.arange(6).reshape(2, 3).T}
    return {"model": model, "optimizer": optimizer, "rng": cairn.RNG(), "lot": lot, "meter": Meter(torch.zeros(3))}


def trained_by_jax() -> dict[str, Any]:
    jax = pytest.importorskip("jax")
    return {"tree": {"w": jax.numpy.ones((3, 4), jax.numpy.bfloat16)}, "keys": {"key": jax.random.key(3)}}
