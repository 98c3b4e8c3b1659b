"""Errors: a class for each code, with what the builtin ones carry."""

from __future__ import annotations

import copy
import errno
import pickle
import re
from pathlib import Path

import numpy as np
import pytest
from native_help import damage, make_run, save_that_fails, state_of

from cairn import _errors as errors
from cairn import _native as native

HEADER = Path(__file__).parents[2] / "include/cairn.h"


def test_each_code_of_the_header_has_its_class() -> None:
    codes = set(re.findall(r"CAIRN_E_(\w+) = -", HEADER.read_text()))
    assert codes == set(errors._CLASSES)
    assert len(set(errors._CLASSES.values())) == len(codes)


@pytest.mark.parametrize("code", errors._CLASSES)
def test_make_and_pickle(code: str) -> None:
    error = errors.make(code, "what happened", 13, 4096)
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is errors._CLASSES[code] and isinstance(same, errors.Error)
        assert (same.code, str(same), same.os_errno, same.offset) == (code, "what happened", 13, 4096)
        assert not isinstance(same, OSError) or same.errno == 13


@pytest.mark.parametrize("cause, kind", [("CORRUPT", errors.TornCorruptError), ("TRUNCATED", errors.TornCorruptError), ("IO", errors.TornStateError), ("", errors.TornStateError)])
def test_what_tore_a_state(cause: str, kind: type[errors.Error]) -> None:
    error = errors.make("TORN_STATE", "what happened", 0, 4096, cause)
    for same in (error, pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(same) is kind and (same.code, same.offset) == ("TORN_STATE", 4096)
        assert isinstance(same, errors.TornStateError) and isinstance(same, errors.CorruptError) == (kind is errors.TornCorruptError)


def test_builtin_bases() -> None:
    assert errors.make("NOTFOUND", "x").errno == errno.ENOENT  # type: ignore[attr-defined]
    assert errors.make("NOSPACE", "x").errno == errno.ENOSPC  # type: ignore[attr-defined]
    assert isinstance(errors.make("NOTFOUND", "x"), FileNotFoundError)
    assert isinstance(errors.make("EXISTS", "x"), FileExistsError)
    assert isinstance(errors.make("NOMEM", "x"), MemoryError)
    assert isinstance(errors.make("USAGE", "x"), ValueError)
    for code in ("CORRUPT", "FORMAT", "TRUNCATED"):
        assert isinstance(errors.make(code, "x"), errors.CorruptError)
    assert type(errors.make("FROM_A_LATER_LIBRARY", "x")) is errors.Error


def test_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere") as caught:
        native.listing(tmp_path / "nowhere")
    assert isinstance(caught.value, errors.NotFoundError) and caught.value.code == "NOTFOUND"
    assert caught.value.offset is None and caught.value.errno == errno.ENOENT


def test_corrupt_says_where(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    damage(tmp_path / "run/checkpoint-1/model.safetensors")
    with native.Checkpoint("run@1", tmp_path) as checkpoint, pytest.raises(errors.CorruptError, match="model.safetensors") as caught:
        checkpoint.read(("model", "w"), bytearray(48))
    assert caught.value.code == "CORRUPT" and caught.value.offset is not None


def test_truncated_is_corrupt(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    path = tmp_path / "run/checkpoint-1/model.safetensors"
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(data[:100])
    with pytest.raises(errors.CorruptError):
        native.load("run@1", state_of(w=np.zeros((3, 4), np.float32)), store=tmp_path)


def test_locked_foreign_exists_mismatch(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    run = native.Run(tmp_path / "run")
    with pytest.raises(errors.LockedError):
        native.Run(tmp_path / "run")
    with pytest.raises(errors.MismatchError, match="w"):
        run.restore(state_of(w=np.zeros(5, np.float32)))
    with pytest.raises(errors.UsageError, match="before the first save"):
        run.save(state_of(w=np.zeros(5, np.float32)), 2)
    run.close()
    (tmp_path / "other/checkpoint-5").mkdir(parents=True)
    (tmp_path / "other/checkpoint-5/pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(errors.ForeignError):
        native.Run(tmp_path / "other")
    native.save_folder(tmp_path / "folder", state_of(w=np.zeros(5)))
    with pytest.raises(FileExistsError):
        native.save_folder(tmp_path / "folder", state_of(w=np.zeros(5)))
    native.save_folder(tmp_path / "folder", state_of(w=np.zeros(5)), replace=True)


def test_early_write(tmp_path: Path) -> None:
    run = save_that_fails(tmp_path / "run")
    with pytest.raises(errors.EarlyWriteError):
        run.wait()
    assert run.status().saves_failed == 1
    run.close()


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda run, state: run.save(state, 1, mode="eagre"), errors.UsageError, "mode: 'eagre' is none of 'eager', 'sync', 'lazy'"),
        (lambda run, state: run.save(state, 1, if_running="x"), errors.UsageError, "if_running"),
        (lambda run, state: run.save(state, -1), OverflowError, "negative"),
        (lambda run, state: run.save(state, 2**64), OverflowError, "too big"),
        (lambda run, state: run.save(state, 2**63), errors.UsageError, "2\\^63"),
        (lambda run, state: run.save(state, 1.5), TypeError, "integer"),
        (lambda run, state: run.save(object(), 1), TypeError, "State"),
        (lambda run, state: run.save(state, 1, tags="release"), TypeError, "sequence of str"),
        (lambda run, state: run.save(state, 1, tags=["a b"]), errors.UsageError, "a b"),
        (lambda run, state: run.save(state, 1, tags=[3]), TypeError, "must be str"),
        (lambda run, state: run.save(state, 1, metrics=[1]), TypeError, "mapping"),
        (lambda run, state: run.save(state, 1, metrics={"a": "x"}), TypeError, "number|float"),
        (lambda run, state: run.save(state, 1, metrics={"a\0": 1.0}), ValueError, "NUL"),
        (lambda run, state: run.save(state, 1, attachments={"config.json": 3}), TypeError, "path|int"),
        (lambda run, state: run.save(state, 1, attachments={"c.json": "/nowhere/at/all"}), errors.NotFoundError, "c.json"),
        (lambda run, state: run.restore(None), TypeError, "State"),
        (lambda run, state: run.restore(state, choose=3), TypeError, "choose must be callable"),
        (lambda run, state: run.log(3, {"a": 1.0}) or run.log(2**63, {}), errors.UsageError, "2\\^63|steps"),
        (lambda run, state: native.Run("x", io_mode="fast"), errors.UsageError, "io_mode"),  # type: ignore[arg-type]
        (lambda run, state: native.Run("x", message=3), TypeError, "message must be callable"),  # type: ignore[arg-type]
        (lambda run, state: native.Run("x", keep_last=2**32), OverflowError, "limit"),
        (lambda run, state: native.dtype_bits("F33"), errors.UsageError, "F33"),
    ],
)
def test_bad_calls(tmp_path: Path, call: object, error: type[Exception], match: str) -> None:
    run = native.Run(tmp_path / "run")
    with pytest.raises(error, match=match):
        call(run, state_of(w=np.ones(3)))  # type: ignore[operator]
    run.save(state_of(w=np.ones(3)), 1, mode="sync")
    run.close()
