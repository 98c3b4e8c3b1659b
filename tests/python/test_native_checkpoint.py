"""Checkpoint and View: looking, reading with checks, mapping without copies, and how long things stay open."""

from __future__ import annotations

import gc
import os
import threading
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from native_help import bind, damage, make_run, state_of

from cairn import _errors as errors
from cairn import _native as native

W = np.random.default_rng(4).standard_normal((30, 40)).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path: Path) -> native.Checkpoint:
    make_run(tmp_path / "run", steps=2, w=W, empty=np.zeros((0, 3), np.int64))
    return native.Checkpoint("run@2", tmp_path)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def test_info(checkpoint: native.Checkpoint, tmp_path: Path) -> None:
    info = checkpoint.info
    assert (info.source, info.tensors_count, info.items_count) == ("checkpoint", 2, 1)
    assert info.path == str(tmp_path / "run/checkpoint-2") and info.tensor_bytes == W.nbytes
    assert info.entry is not None and (info.entry.step, info.entry.metrics) == (2, {"loss": 0.5})
    assert info.run_id is not None and len(info.run_id) == 32 and info.parent_id is not None
    assert "tensors_count=2" in repr(info)


def test_tensors_and_files(checkpoint: native.Checkpoint) -> None:
    assert {tensor.name: tensor.shape for tensor in checkpoint.tensors} == {"w": (30, 40), "empty": (0, 3)}
    assert checkpoint.tensors is checkpoint.tensors
    w = checkpoint.find("model", "w")
    assert w is not None
    assert (w.item, w.dtype, w.flags, w.size_bytes, w.file) == ("model", "F32", native.TRAINABLE, W.nbytes, "model.safetensors")
    assert w.digest is not None and w.statistics is not None
    assert w.statistics.max_abs == pytest.approx(np.abs(W).max(), rel=1e-5) and w.statistics.nan_count == 0
    assert checkpoint.find("model", "none") is None
    files = {file.name: file for file in checkpoint.files}
    assert len(files) == checkpoint.info.files_count and "training/tensors.json" in files
    file = files["model.safetensors"]
    assert file.size_bytes >= W.nbytes and file.digest is not None


def test_read_and_slices(checkpoint: native.Checkpoint) -> None:
    w = checkpoint.find("model", "w")
    assert w is not None
    whole, part, box = np.zeros_like(W), bytearray(160), np.zeros((5, 7), np.float32)
    checkpoint.read(w, whole)
    checkpoint.read(("model", "w"), part, offset=160)
    checkpoint.read_slice(w, (3, 30), (5, 7), box)
    assert np.array_equal(whole, W) and part == W[1].tobytes() and np.array_equal(box, W[3:8, 30:37])
    checkpoint.read(("model", "empty"), bytearray())


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda c: c.read(("model", "w"), bytes(4)), BufferError),
        (lambda c: c.read(("model", "w"), np.zeros((4, 4), np.float32).T[1:]), (BufferError, ValueError)),
        (lambda c: c.read(("model", "w"), bytearray(8), W.nbytes - 4), errors.UsageError),
        (lambda c: c.read(("model", "none"), bytearray(8)), errors.NotFoundError),
        (lambda c: c.read("w", bytearray(8)), TypeError),
        (lambda c: c.read_slice(("model", "w"), (0,), (1,), bytearray(4)), errors.UsageError),
        (lambda c: c.read_slice(("model", "w"), (0, 0), (1, 2), bytearray(4)), errors.UsageError),
        (lambda c: c.read_slice(("model", "w"), (29, 0), (2, 1), bytearray(8)), errors.UsageError),
        (lambda c: c.map(("model", "none")), errors.NotFoundError),
    ],
)
def test_bad_reads(checkpoint: native.Checkpoint, call: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        call(checkpoint)  # type: ignore[operator]


def test_reads_are_checked(tmp_path: Path) -> None:
    make_run(tmp_path / "run", w=W)
    damage(tmp_path / "run/checkpoint-1/model.safetensors")
    with native.Checkpoint("run@1", tmp_path) as checkpoint:
        with pytest.raises(errors.CorruptError):
            checkpoint.read(("model", "w"), np.zeros_like(W))
        assert np.frombuffer(memoryview(checkpoint.map(("model", "w"))), np.float32)[0] == W[0, 0]


def test_a_view_is_a_buffer(checkpoint: native.Checkpoint) -> None:
    view = checkpoint.map(("model", "w"))
    shown = memoryview(view)
    assert (shown.format, shown.ndim, shown.shape, shown.readonly, len(view)) == ("B", 1, (W.nbytes,), True, W.nbytes)
    array = np.frombuffer(memoryview(view), np.float32).reshape(W.shape)
    assert np.array_equal(array, W) and not array.flags.writeable
    assert len(memoryview(checkpoint.map(("model", "empty")))) == 0
    with pytest.raises(TypeError):
        shown[0] = 1
    with pytest.raises(TypeError):
        native.View()


def test_a_view_outlives_its_checkpoint(tmp_path: Path) -> None:
    """It holds the files, and the lock that keeps others from removing them, until it is gone."""
    make_run(tmp_path / "run", steps=3, w=W)
    checkpoint = native.Checkpoint("run@1", tmp_path)
    gc.collect()
    opened = open_files()
    array = np.frombuffer(memoryview(checkpoint.map(("model", "w"))), np.float32).reshape(W.shape)
    checkpoint.close()
    checkpoint.close()
    del checkpoint
    gc.collect()
    assert open_files() == opened and np.array_equal(array, W)
    with pytest.raises(errors.LockedError):
        native.remove("run@1", tmp_path)
    del array
    assert open_files() < opened
    native.remove("run@1", tmp_path)


def test_what_is_closed_says_so(checkpoint: native.Checkpoint) -> None:
    view = checkpoint.map(("model", "w"))
    with checkpoint as same:
        assert same is checkpoint
    for call in (
        lambda: checkpoint.info,
        lambda: checkpoint.tensors,
        lambda: checkpoint.files,
        lambda: checkpoint.find("model", "w"),
        checkpoint.values,
        checkpoint.provenance,
        lambda: checkpoint.map(("model", "w")),
        lambda: checkpoint.read(("model", "w"), bytearray(4)),
        lambda: checkpoint.read_slice(("model", "w"), (0, 0), (1, 1), bytearray(4)),
    ):
        with pytest.raises(errors.UsageError, match="closed"):
            call()
    assert len(view) == W.nbytes


def test_closing_while_others_read(tmp_path: Path) -> None:
    big = np.random.default_rng(5).standard_normal((4096, 2048)).astype(np.float32)
    make_run(tmp_path / "run", w=big)
    for _ in range(5):
        checkpoint = native.Checkpoint("run@1", tmp_path)
        outs = [np.zeros_like(big) for _ in range(3)]
        threads = [threading.Thread(target=checkpoint.read, args=(("model", "w"), out)) for out in outs]
        for thread in threads:
            thread.start()
        checkpoint.close()
        for thread in threads:
            thread.join()
        assert all(np.array_equal(out, big) or not out.any() for out in outs)


def test_a_dropped_checkpoint_is_closed(checkpoint: native.Checkpoint) -> None:
    before = open_files()
    for _ in range(5):
        native.Checkpoint(checkpoint.info.path)
    assert open_files() == before


def test_what_others_wrote(tmp_path: Path) -> None:
    safetensors.numpy.save_file({"w": W}, tmp_path / "model.safetensors", metadata={"format": "np"})
    target = np.zeros_like(W)
    with native.Checkpoint(tmp_path / "model.safetensors") as checkpoint:
        info = checkpoint.info
        assert (info.source, info.entry, info.run_id) == ("file", None, None)
        (tensor,) = checkpoint.tensors
        assert tensor.digest is None and checkpoint.provenance() is None
        assert checkpoint.values() == {"__metadata__": {"format": "np"}}
        checkpoint.read(tensor, target)
        assert np.array_equal(target, W)
        with pytest.raises(errors.UnsupportedError):
            checkpoint.map(tensor)
    state = native.State()
    target[:] = 0
    bind(state, "w", target)
    native.load(tmp_path / "model.safetensors", state)
    assert np.array_equal(target, W)


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    with pytest.raises(errors.NotFoundError, match="3"):
        native.Checkpoint("run@3", tmp_path)
    with pytest.raises(errors.UsageError):
        native.Checkpoint("run", tmp_path)
    with pytest.raises(TypeError):
        native.Checkpoint(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="null"):
        native.Checkpoint("a\0b")
