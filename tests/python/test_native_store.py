"""Listing, following, marking, removing, verifying and probing, by name."""

from __future__ import annotations

import math
import os
import signal
import threading
import time
from array import array as numbers
from pathlib import Path

import numpy as np
import pytest
from native_help import bind, damage, make_run, state_of

from cairn import _errors as errors
from cairn import _native as native


def steps(path: Path) -> list[int]:
    return [entry.step for entry in native.listing(path)]


def test_listing_and_runs(tmp_path: Path) -> None:
    make_run(tmp_path / "b", steps=3)
    make_run(tmp_path / "a")
    (tmp_path / "b/checkpoint-9").mkdir()
    (tmp_path / "b/checkpoint-9/x").write_text("")
    assert native.runs(tmp_path) == ["a", "b"]
    entries = native.listing(str(tmp_path / "b"))
    assert [(e.step, e.standing, e.is_latest, e.is_head) for e in entries[:3]] == [
        (1, "current", False, False),
        (2, "current", False, False),
        (3, "current", True, True),
    ]
    assert (entries[3].name, entries[3].standing) == ("checkpoint-9", "foreign") and entries[3].problem
    assert entries[0].metrics == {"loss": 1.0} and abs(entries[0].time_ns / 1e9 - time.time()) < 60
    assert entries[0].name == "checkpoint-1" and len(entries[0].id) == 32 and entries[0].tensors == 1 and entries[0].healthy


def test_names_that_are_not_utf8_come_back_as_they_are(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    name = os.fsdecode(b"caf\xe9")
    (tmp_path / "run").rename(tmp_path / name)
    with native.Checkpoint(tmp_path / name / "checkpoint-1") as checkpoint:
        assert checkpoint.info.path == str(tmp_path / name / "checkpoint-1")
    with pytest.raises(errors.NotFoundError):
        native.listing(tmp_path / os.fsdecode(b"nowhere\xff"))


# ----------------------------------------------------------------------------------------------------------- following


def test_wait_for_new_goes_through_a_run(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=2)
    position, seen = (0, 0), []
    for _ in range(2):
        checkpoint, position = native.wait_for_new(tmp_path / "run", position, 0)
        assert checkpoint is not None and checkpoint.info.entry is not None
        seen.append(checkpoint.info.entry.step)
        checkpoint.close()
    began = time.monotonic()
    assert native.wait_for_new(tmp_path / "run", position, 0.25) == (None, position)
    assert 0.2 < time.monotonic() - began < 1 and seen == [1, 2]


def test_wait_for_new_waits_for_a_run_that_is_not_there(tmp_path: Path) -> None:
    thread = threading.Timer(0.3, make_run, (tmp_path / "run",))
    thread.start()
    checkpoint, _ = native.wait_for_new(tmp_path / "run", (0, 0), math.inf)
    thread.join()
    assert checkpoint is not None and checkpoint.info.entry is not None and checkpoint.info.entry.step == 1


def test_wait_for_new_can_be_interrupted(tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            native.wait_for_new(tmp_path / "run", (0, 0), 30)
    finally:
        signal.signal(signal.SIGALRM, old)
    assert time.monotonic() - began < 1


def test_wait_for_new_tells_where_to_go_on(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=2)
    damage(tmp_path / "run/checkpoint-1/training/tensors.json", 10)
    with pytest.raises(errors.CorruptError) as caught:
        native.wait_for_new(tmp_path / "run", (0, 0), 1)
    assert caught.value.position is not None and caught.value.position[1] == 1
    checkpoint, _ = native.wait_for_new(tmp_path / "run", caught.value.position, 1)
    assert checkpoint is not None and checkpoint.info.path.endswith("checkpoint-2")


@pytest.mark.parametrize(("position", "timeout", "error"), [((0,), 0, TypeError), ((0, -1), 0, OverflowError), ((0, 0), math.nan, ValueError)])
def test_bad_waits(tmp_path: Path, position: tuple[int, int], timeout: float, error: type[Exception]) -> None:
    with pytest.raises(error):
        native.wait_for_new(tmp_path / "run", position, timeout)


# ------------------------------------------------------------------------------------------------------------- tending


def test_mark(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=2)
    native.mark("run@1", tmp_path, add_tags=["release"], metrics={"accuracy": 0.5}, pin=True)
    entry = native.listing(tmp_path / "run")[0]
    assert (entry.tags, entry.metrics, entry.pinned) == (("release",), {"loss": 1.0, "accuracy": 0.5}, True)
    with pytest.raises(errors.MismatchError):
        native.mark("run@1", tmp_path, remove_tags=["other"], must_match=True)
    native.mark("run@release", tmp_path, remove_tags=["release"], pin=False)
    entry = native.listing(tmp_path / "run")[0]
    assert (entry.tags, entry.pinned) == ((), False)
    native.mark(tmp_path / "run/checkpoint-1")
    assert not native.listing(tmp_path / "run")[0].pinned


def test_remove_and_keep(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=6)
    with pytest.raises(errors.UsageError):
        native.remove("run@6", tmp_path)
    native.remove("run@2", tmp_path)
    assert sorted(native.keep(tmp_path / "run", 2, True)) == ["checkpoint-1", "checkpoint-3", "checkpoint-4"]
    assert steps(tmp_path / "run") == [1, 3, 4, 5, 6]
    messages: list[str] = []
    with native.Checkpoint("run@3", tmp_path):
        assert sorted(native.keep(tmp_path / "run", 2, message=messages.append)) == ["checkpoint-1", "checkpoint-4"]
    assert len(messages) == 1 and "checkpoint-3" in messages[0]
    assert steps(tmp_path / "run") == [3, 5, 6]


def test_drop_item(tmp_path: Path) -> None:
    state = state_of(w=np.ones(3))
    bind(state, "m", np.ones(3), "optimizer")
    run = native.Run(tmp_path / "run")
    for step in (1, 2):
        run.save(state, step, mode="sync")
    run.close()
    native.drop_item("run@1", "optimizer", tmp_path)
    assert native.listing(tmp_path / "run")[0].dropped == ("optimizer",)
    with pytest.raises(errors.UsageError):
        native.drop_item("run@1", "model", tmp_path)


# ----------------------------------------------------------------------------------------------------------- verifying


def test_verify_what_is_well(tmp_path: Path) -> None:
    make_run(tmp_path / "run", w=np.ones(1 << 20, np.float32))
    told: list[tuple[int, int]] = []
    report = native.verify("run@1", tmp_path, progress=lambda done, total: told.append((done, total)))
    assert (report.damages, report.findings, report.warnings, report.digests_known) == ([], 0, [], True)
    assert report.checked_bytes >= 4 << 20 and told and told[-1][0] == told[-1][1]
    assert native.verify(tmp_path / "run/checkpoint-1", quick=True).checked_bytes < 4 << 20


def test_verify_reports_damage(tmp_path: Path) -> None:
    make_run(tmp_path / "run", a=np.ones(1 << 21, np.float32), b=np.ones(1 << 20, np.float32))
    data = tmp_path / "run/checkpoint-1/model.safetensors"
    damage(data, 4096 + (5 << 20))
    damage(data)
    report = native.verify("run@1", tmp_path)
    assert report.damaged_blocks == report.findings == 2
    assert [(d.file, d.tensor, d.block, d.code) for d in sorted(report.damages, key=lambda d: d.offset)] == [
        ("model.safetensors", "model:a", 1, "CORRUPT"),
        ("model.safetensors", "model:b", 0, "CORRUPT"),
    ]
    assert all(d.offset and d.size_bytes and d.message and d.shared_with is None for d in report.damages)


def test_verify_of_what_is_not_there_is_an_error(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(errors.NotFoundError):
        native.verify("run@7", tmp_path)
    (tmp_path / "run/checkpoint-1/model.safetensors").unlink()
    report = native.verify("run@1", tmp_path)
    assert report.findings and report.damages[0].block is None


# ------------------------------------------------------------------------------------------------------ folder and place


def test_folder(tmp_path: Path) -> None:
    array = np.arange(5.0)
    report = native.save_folder(tmp_path / "c", state_of(w=array), attachments={"config.json": b"{}"}, config="x", io_mode="buffered", io_threads=2)
    assert report.healthy and not report.skipped and (tmp_path / "c/config.json").exists()
    target = np.zeros(5)
    restored = native.load("c", state_of(w=target), store=tmp_path)
    assert np.array_equal(target, array) and restored.bytes == array.nbytes
    with pytest.raises(errors.MismatchError):
        native.load(tmp_path / "c", state_of(other=target))
    assert native.load(tmp_path / "c", state_of(w=target, other=np.ones(2)), allow_missing=True).counts["missing"] == 1
    figures = numbers("Q", (0, 0))
    native.load(tmp_path / "c", state_of(w=target), figures=figures)
    assert list(figures) == [target.nbytes, target.nbytes]
    for wrong in numbers("Q", (0, 0, 0)), memoryview(bytearray(20))[1:17]:
        with pytest.raises(ValueError, match="figures: an array of two 64-bit numbers is needed"):
            native.load(tmp_path / "c", state_of(w=target), figures=wrong)
    with pytest.raises((TypeError, BufferError)):
        native.load(tmp_path / "c", state_of(w=target), figures=b"0123456789abcdef")


def test_probe(tmp_path: Path) -> None:
    report = native.probe(tmp_path)
    assert report.hard_links == 0 and report.free_bytes > 0 and report.file_sync_ns > 0
    assert os.listdir(tmp_path) == []
    with pytest.raises(errors.NotFoundError):
        native.probe(tmp_path / "nowhere")


def test_module() -> None:
    assert native.version().count(".") == 2
    assert (native.TRAINABLE, native.FROZEN, native.OPTIMIZER, native.VOLATILE) == (1, 2, 4, 8)
