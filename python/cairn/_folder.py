"""One folder, no run: save and load."""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from . import _attachments, _capture, _checks, _environment, _filling, _items, _native, _progress
from ._checkpoint import Checkpoint
from ._errors import MismatchError, UsageError
from ._report import Report, some

if TYPE_CHECKING:
    import torch

    from ._transfer import OnShape, Rename

log = logging.getLogger("cairn")


def save(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    *,
    replace: bool = False,
    config: Mapping[str, Any] | None = None,
    attachments: _attachments.Attachments | None = None,
    shard_bytes: int = 0,
) -> None:
    """Saves a state as one folder of standard files, durably. replace: what stands there is replaced in one step. attachments and shard_bytes: as of
    CheckpointManager. Raises ExistsError, UnstorableError."""
    _checks.config(config)
    facts = {"environment": _environment.environment(), "config": _environment.redact(config or {})}
    captured, notes = _capture.capture(_items.items_of(state), facts)
    for note in notes:
        log.warning("%s", note)
    _native.save_folder(
        os.fspath(path),
        captured,
        replace=replace,
        attachments=_attachments.Attached(attachments).files(state),
        config=json.dumps(_environment.redact(config), default=repr) if config is not None else None,
        shard_bytes=shard_bytes,
    )


def load(
    source: str | os.PathLike[str],
    into: Any = None,
    *,
    store: str | os.PathLike[str] | None = None,
    item: str | None = None,
    rename: Rename | None = None,
    only: str | Iterable[str] | None = None,
    skip: str | Iterable[str] | None = None,
    on_shape: OnShape = "error",
    dtype: torch.dtype | None = None,
    min_coverage: float = 0.95,
    allow_missing: bool = False,
) -> Any:
    """Loads a checkpoint, a .safetensors file or a folder of them, every byte checked where digests are known: also those of one file of a checkpoint.

    into None: the whole tree in new memory. A mapping: a state, filled as CheckpointManager.restore does; returns the Report. A module: weights by name,
    in place, without a second copy of the model; returns the Report. The rules are for a module:

    item: whose tensors; else "model", or the only module. rename: from names of the source to the module's, {regular expression: replacement}, all that
    match applied in order, or a callable, whose None leaves one out. only, skip: regular expressions, searched for in names of the source. on_shape: what
    to do about another shape: "error", "skip", "slice" a larger source, "pad" a smaller one into the start of the tensor, the rest of which stays as it
    is. dtype: the module's floating tensors become this first; values are cast to what the module holds. min_coverage: the least share of the module's
    elements, of those that `only` and `skip` ask for, that must be filled; none at all is always an error. Raises MismatchError before anything is touched.
    """
    rules = {"item": item, "rename": rename, "only": only, "skip": skip, "on_shape": on_shape, "dtype": dtype, "min_coverage": min_coverage}
    with Checkpoint(source, store) as checkpoint:
        if into is not None:
            return load_from(checkpoint, into, allow_missing=allow_missing, **rules)
        _refuse_rules(rules)
        if checkpoint.unchecked:
            log.warning("%s", checkpoint.unchecked)
        return checkpoint.state()


def load_from(checkpoint: Checkpoint, target: Any, *, allow_missing: bool = False, **rules: Any) -> Report:
    """See load."""
    report = _load_from(checkpoint, target, allow_missing, rules)
    report.notes += [checkpoint.unchecked] if checkpoint.unchecked else []
    return report


def _load_from(checkpoint: Checkpoint, target: Any, allow_missing: bool, rules: dict[str, Any]) -> Report:
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(target, torch.nn.Module):
        from ._transfer import Rules, Transfer

        return Transfer(checkpoint, target, Rules(**rules)).run()
    if not isinstance(target, Mapping):
        raise TypeError(f"into is a module, or a state: a dict of names and what to fill, not a {type(target).__name__}")
    _refuse_rules(rules)
    if checkpoint.file is None and target and not any(name in checkpoint for name in target):
        held = ", ".join(map(repr, checkpoint)) or "nothing"
        raise MismatchError(f"{checkpoint.path}: it holds {held}, and nothing of {', '.join(map(repr, target))}: entries are filled by their names")
    absent = [] if checkpoint.file is None else [name for name in target if name not in checkpoint]
    if absent and not allow_missing:
        raise MismatchError(f"{checkpoint.path}: this file of the checkpoint has nothing of {', '.join(absent)}: load the folder")
    target = {name: part for name, part in target.items() if name not in absent}
    filling: list[_filling.Filling] = []

    def choose(found: _native.Checkpoint) -> _native.State:
        _filling.check_same(checkpoint.native, found)
        filling.append(_filling.Filling(_items.items_of(target), found, allow_missing))
        return filling[-1].state

    with _progress.counted(f"loading {checkpoint.path.name}") as figures:
        native = _native.load(checkpoint.info.path, _native.State(), allow_missing=allow_missing, choose=choose, figures=figures)
    filling[-1].finish()
    report = Report.of(native)
    report.notes += filling[-1].told()
    report.new += absent
    if report.missing:
        log.warning("%s: not in it, left as they were: %s", checkpoint.path, some(report.missing))
    return report


def _refuse_rules(rules: Mapping[str, Any]) -> None:
    given = [name for name, value in rules.items() if value not in (None, "error", 0.95)]
    if given:
        raise UsageError(f"{', '.join(given)}: for loading into a module; a state is filled as it was saved")
