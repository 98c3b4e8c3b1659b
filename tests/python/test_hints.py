"""What a manager says by itself, and once: where nothing is wrong that could be raised, and yet something else was meant."""

from __future__ import annotations

import datetime
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import cairn

Caplog = pytest.LogCaptureFixture


def state_of() -> dict[str, Any]:
    return {"model": {"w": np.zeros(8, np.float32)}, "run": cairn.Values(epoch=0)}


def told(caplog: Caplog, part: str) -> list[str]:
    """The warnings that say this."""
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING and part in record.getMessage()]


# ------------------------------------------------------------------------------------------------------- the metric of `keep`


def test_metrics_that_lack_the_one_to_choose_by_are_told_once(tmp_path: Path, caplog: Caplog) -> None:
    keep = cairn.Keep(last=1, best=1, metric="val_loss")
    with cairn.CheckpointManager(tmp_path / "run", state_of(), keep=keep) as mngr:
        mngr.save(1, force=True)
        assert not told(caplog, "val_loss"), "metrics may come later"
        for step in (2, 3):
            mngr.save(step, metrics={"val/loss": 1 / step, "train": 0}, force=True)
        (line,) = told(caplog, "val_loss")
        assert "Keep(best=1, metric='val_loss')" in line and "val/loss, train" in line and "checkpoint-2" in line
        caplog.clear()
    (line,) = told(caplog, "val_loss")
    assert "no checkpoint since step 1 has" in line, "and at the end, with what came of it"


def test_a_metric_that_never_came_is_told_at_the_end(tmp_path: Path, caplog: Caplog) -> None:
    with cairn.CheckpointManager(tmp_path / "a", state_of(), keep=cairn.Keep(last=1, best=2)) as mngr:
        mngr.save(1, force=True)
    assert len(told(caplog, "no checkpoint since step 1 has metric 'loss'")) == 1


def test_nothing_is_said_of_metrics_where_all_is_as_it_should_be(tmp_path: Path, caplog: Caplog) -> None:
    keep = cairn.Keep(last=1, best=1)
    with cairn.CheckpointManager(tmp_path / "given", state_of(), keep=keep) as mngr:
        mngr.save(1, metrics={"loss": 1.0, "other": 2.0}, force=True)
        mngr.save(2, force=True)
    with cairn.CheckpointManager(tmp_path / "marked", state_of(), keep=keep) as mngr:
        mngr.save(1, force=True)
        mngr.wait_until_finished()
        cairn._native.mark("marked@1", tmp_path, metrics={"loss": 1.0})  # as an evaluator beside it does
    with cairn.CheckpointManager(tmp_path / "unasked", state_of(), keep=cairn.Keep(last=1)) as mngr:
        mngr.save(1, metrics={"other": 2.0}, force=True)
    with cairn.CheckpointManager(tmp_path / "unsaved", state_of(), keep=keep):
        pass
    assert not caplog.records


# --------------------------------------------------------------------------------------------------------------- no rule at all


def test_that_nothing_is_saved_without_a_rule_is_told_once(tmp_path: Path, caplog: Caplog) -> None:
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        assert mngr.save(1, force=True) and not mngr.save(1, force=True) and not caplog.records
        assert not mngr.save(2) and not mngr.save(3)
    (line,) = told(caplog, "save")
    assert "save(2)" in line and "save=cairn.Save(every_steps=...)" in line and "force=True" in line


def test_a_rule_that_is_not_due_says_nothing(tmp_path: Path, caplog: Caplog) -> None:
    for rule in (cairn.Save(every_steps=100), cairn.Save(every_seconds=1000)):
        with cairn.CheckpointManager(tmp_path / "run", state_of(), save=rule) as mngr:
            mngr.restore()
            assert not mngr.save(1)
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        mngr.request_save()
        assert mngr.save(1)
    assert not caplog.records


# ------------------------------------------------------------------------------------------------------------- no such run yet


def test_that_there_is_no_such_run_is_told_once(tmp_path: Path, caplog: Caplog) -> None:
    mngr = cairn.CheckpointManager(tmp_path / "t" / "typo")
    assert mngr.all_steps() == [] and [checkpoint for checkpoint in mngr] == [] and mngr.latest_step() is None and mngr.best_step() is None
    (line,) = told(caplog, "no such run")
    assert str(tmp_path / "t" / "typo") in line
    caplog.clear()
    assert [checkpoint for checkpoint in cairn.CheckpointManager(tmp_path / "t" / "typo")] == []
    assert len(told(caplog, "no such run")) == 1, "once for each manager"


def test_nothing_is_said_of_a_run_that_is_there_or_waited_for(tmp_path: Path, caplog: Caplog) -> None:
    reader = cairn.CheckpointManager(tmp_path / "run")
    assert reader.wait_for_new(timeout=0.01) is None
    with cairn.CheckpointManager(tmp_path / "run", state_of()) as mngr:
        assert mngr.all_steps() == [] and mngr.latest_step() is None and reader.all_steps() == []
    assert not caplog.records


# --------------------------------------------------------------------------------------------------------- what cannot be saved


@pytest.mark.parametrize("how", ["restore", "save"])
def test_what_cannot_be_saved_is_told_before_the_first_save(tmp_path: Path, caplog: Caplog, how: str) -> None:
    state = state_of() | {"extra": {"begun": datetime.datetime(2024, 1, 1)}}
    with cairn.CheckpointManager(tmp_path / "run", state, save=cairn.Save(every_steps=1000)) as mngr:
        if how == "restore":
            mngr.restore()
            assert len(told(caplog, "extra/begun")) == 1
        assert not mngr.save(1) and not mngr.save(2)
    (line,) = told(caplog, "cannot be saved as it is")
    assert "extra/begun" in line and "datetime" in line


@pytest.mark.parametrize("kind", ["lazy", "made by hand", "in a dict"])
def test_a_lazy_module_is_no_reason_to_warn(tmp_path: Path, caplog: Caplog, kind: str) -> None:
    """It gets its bytes with the first batch."""
    torch = pytest.importorskip("torch")
    model = torch.nn.LazyLinear(3) if kind == "lazy" else torch.nn.Module()
    if kind != "lazy":
        model.w = torch.nn.parameter.UninitializedParameter()
    state = {"model": {"w": model.w} if kind == "in a dict" else model, "other": {"begun": datetime.date(2024, 1, 1)} if kind == "made by hand" else {"a": 1}}
    with cairn.CheckpointManager(tmp_path / "run", state, save=cairn.Save(every_steps=2)) as mngr:
        mngr.restore()
        assert not mngr.save(1)
        with pytest.raises(cairn.UnstorableError, match="no bytes yet|other/begun"):
            mngr.save(2)
    assert len(told(caplog, "cannot be saved")) == (kind == "made by hand"), "and hides nothing else"
    assert not told(caplog, "no bytes yet")
