"""One folder, no run: save and load, and loading somebody's published weights into a model of one's own."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from . import _arrays, _environment, _items, _native
from ._checkpoint import Array, Checkpoint
from ._errors import MismatchError, UsageError
from ._report import Report

OnShape = Literal["error", "skip", "slice", "pad"]
Rename = Mapping[str, str] | Callable[[str], str | None]
_BLOCK_BYTES = 16 << 20  # of what is converted on its way


def save(
    path: str | os.PathLike[str],
    state: Mapping[str, Any],
    *,
    replace: bool = False,
    config: Mapping[str, Any] | None = None,
    attachments: Mapping[str, str | bytes | os.PathLike[str]] | None = None,
) -> None:
    """Saves a state as one folder of standard files, durably. replace: what stands there is replaced in one step. Raises ExistsError, UnstorableError."""
    facts = {"environment": _environment.environment(), "config": _environment.redact(config or {})}
    captured, _ = _items.capture(_items.items_of(state), facts)
    _native.save_folder(
        os.fspath(path),
        captured,
        replace=replace,
        attachments={name: data if isinstance(data, bytes) else os.fspath(data) for name, data in (attachments or {}).items()},
        config=json.dumps(_environment.redact(config), default=repr) if config is not None else None,
    )


def load(
    source: str | os.PathLike[str],
    into: Any = None,
    *,
    store: str | os.PathLike[str] | None = None,
    rename: Rename | None = None,
    only: str | Iterable[str] | None = None,
    skip: str | Iterable[str] | None = None,
    on_shape: OnShape = "error",
    dtype: Any = None,
    min_coverage: float = 0.95,
    allow_missing: bool = False,
) -> Any:
    """Loads a checkpoint, a .safetensors file or a folder of them, every byte checked where digests are known.

    into None: the whole tree in new memory. A mapping: a state, filled as CheckpointManager.restore does; returns the Report. A module: weights by name,
    in place, without a second copy; returns the Report. For a module: rename maps names of the source to the module's - {regular expression: replacement},
    all that match are applied in order, or a callable, None leaves one out -; only and skip are regular expressions for names of the source; on_shape says what
    to do about another shape: "error", "skip", "slice" a larger source, "pad" a smaller one (what it does not cover stays as it is); dtype: leave out
    what is not of this dtype is never done - values are cast to the module's own, or dtype "exact" makes that an error. min_coverage: the least share of
    the module's elements that must come from the source; none at all is always an error.
    """
    with Checkpoint(source, store) as checkpoint:
        if into is None:
            return checkpoint.state()
        return load_from(
            checkpoint, into, rename=rename, only=only, skip=skip, on_shape=on_shape, dtype=dtype, min_coverage=min_coverage, allow_missing=allow_missing
        )


def load_from(checkpoint: Checkpoint, target: Any, *, allow_missing: bool = False, **rules: Any) -> Report:
    """See load."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(target, torch.nn.Module):
        return Transfer(checkpoint, target, **rules).run()
    if not isinstance(target, Mapping):
        raise TypeError(f"into is a module, or a state: a dict of names and what to fill, not a {type(target).__name__}")
    asked = [name for name, value in rules.items() if value not in (None, "error", 0.95)]
    if asked:
        raise UsageError(f"{', '.join(asked)}: for loading into a module; a state is filled as it was saved")
    filling: list[_items.Filling] = []

    def choose(found: _native.Checkpoint) -> _native.State:
        filling.append(_items.Filling(_items.items_of(target), found, allow_missing))
        return filling[-1].state

    native = _native.load(checkpoint.info.path, _native.State(), allow_missing=allow_missing, choose=choose)
    filling[-1].finish()
    return Report.of(native)


def _patterns(given: str | Iterable[str] | None) -> list[re.Pattern[str]]:
    return [re.compile(pattern) for pattern in ((given,) if isinstance(given, str) else given or ())]


@dataclass
class Transfer:
    """Weights of a checkpoint into a module whose names, shapes or dtypes may be others."""

    checkpoint: Checkpoint
    module: Any
    rename: Rename | None = None
    only: str | Iterable[str] | None = None
    skip: str | Iterable[str] | None = None
    on_shape: OnShape = "error"
    dtype: Any = None
    min_coverage: float = 0.95
    report: Report = field(default_factory=Report)
    taken: int = 0  # elements of the module that came from the source

    def __post_init__(self) -> None:
        if self.on_shape not in ("error", "skip", "slice", "pad"):
            raise ValueError(f'on_shape is "error", "skip", "slice" or "pad", not {self.on_shape!r}')
        self._only, self._skip = _patterns(self.only), _patterns(self.skip)

    def _source(self) -> dict[str, Array]:
        items = list(self.checkpoint)
        if not items:
            raise MismatchError(f"{self.checkpoint.info.path}: it holds nothing to load")
        item = self.checkpoint["model" if "model" in items else items[0]]
        return {name: value for name in item if isinstance(value := item[name], Array)}

    def _target_name(self, name: str) -> str | None:
        if (self._only and not any(pattern.search(name) for pattern in self._only)) or any(pattern.search(name) for pattern in self._skip):
            return None
        if callable(self.rename):
            return self.rename(name)
        for pattern, replacement in (self.rename or {}).items():
            name = re.sub(pattern, replacement, name)
        return name

    def run(self) -> Report:
        """Matches all of it before a byte is touched, then fills."""
        from ._torch import Module

        own, _, _ = Module("model", self.module)._split()
        pairs = self._match(own)
        self._check_coverage(own, pairs)
        exact = {name: array for name, array in pairs.items() if self._is_exact(array, own[name])}
        self._fill(exact, own)
        for name, array in pairs.items():
            if name not in exact:
                self._convert(array, own[name], name)
        self.report.missing = [name for name in own if name not in pairs]
        return self.report

    def _match(self, own: Mapping[str, Any]) -> dict[str, Array]:
        pairs: dict[str, Array] = {}
        wrong: list[str] = []
        for source, array in self._source().items():
            name = self._target_name(source)
            if name is None:
                self.report.skipped.append(source)
            elif name not in own:
                self.report.unexpected.append(source)
            elif name in pairs:
                raise MismatchError(f"{source} and {pairs[name].info.name} would both become {name}: correct `rename`")
            elif array.shape == tuple(own[name].shape) or self._fits(array, own[name]):
                pairs[name] = array
            elif self.on_shape == "skip":
                self.report.skipped.append(source)
            else:
                wrong.append(f"{name} is {tuple(own[name].shape)}, in the source {array.shape}")
        if wrong:
            raise MismatchError(f"{self.checkpoint.info.path}: shapes differ (see on_shape): {'; '.join(wrong[:8])}{' ...' if len(wrong) > 8 else ''}")
        return pairs

    def _fits(self, array: Array, tensor: Any) -> bool:
        if len(array.shape) != tensor.dim():
            return False
        sizes = list(zip(array.shape, tensor.shape, strict=True))
        if self.on_shape == "slice":
            return all(source >= target for source, target in sizes)
        return self.on_shape == "pad" and all(source <= target for source, target in sizes)

    def _check_coverage(self, own: Mapping[str, Any], pairs: Mapping[str, Array]) -> None:
        total = sum(tensor.numel() for tensor in own.values())
        covered = sum(own[name].numel() for name in pairs)
        missing = [name for name in own if name not in pairs]
        if not pairs or covered < self.min_coverage * total:
            unexpected = self.report.unexpected
            raise MismatchError(
                f"{self.checkpoint.info.path}: {'nothing' if not pairs else f'only {covered / max(total, 1):.1%}'} of the module is in it "
                f"(min_coverage {self.min_coverage:.0%}); the module has {', '.join(missing[:4])} ..., the source {', '.join(unexpected[:4]) or 'no more'} ...: "
                "see `rename`"
            )

    def _is_exact(self, array: Array, tensor: Any) -> bool:
        buffer = _arrays.buffer_of(tensor, array.info.name) if _arrays.is_filled_in_place(tensor) else None
        return buffer is not None and (buffer.dtype, buffer.shape) == (array.dtype, array.shape)

    def _fill(self, exact: Mapping[str, Array], own: Mapping[str, Any]) -> None:
        """In place, by the library's own threads."""
        if not exact:
            return
        state = _native.State()
        for name, array in exact.items():
            buffer = _arrays.buffer_of(own[name], name)
            state.bind(array.info.item, array.info.name, buffer.dtype, buffer.shape, buffer.address, buffer.owner, strides=buffer.strides)
        native = _native.load(self.checkpoint.info.path, state)
        self.report.bytes += native.bytes
        self.report.seconds += native.elapsed_ns / 1e9
        self.report.restored += exact

    def _convert(self, array: Array, tensor: Any, name: str) -> None:
        """Block by block through a little memory: another dtype, shape or device."""
        torch = sys.modules["torch"]
        if self.dtype == "exact" and array.shape == tuple(tensor.shape):
            raise MismatchError(f"{name} is {tensor.dtype}, in the source {array.dtype} (dtype='exact')")
        box = tuple(min(source, target) for source, target in zip(array.shape, tensor.shape, strict=True))
        with torch.no_grad():
            for rows in _blocks(box, array.info.size_bytes // max(array.shape[0], 1) if array.shape else 0):
                place = (rows, *(slice(0, size) for size in box[1:])) if box else ()
                tensor[place].copy_(array[place] if box else array.read())
        (self.report.converted if array.shape == tuple(tensor.shape) else self.report.restored).append(name)
        if array.shape != tuple(tensor.shape):
            self.report.notes.append(f"{name}: {array.shape} of the source into {tuple(tensor.shape)}")


def _blocks(box: tuple[int, ...], row_bytes: int) -> Iterable[slice]:
    if not box:
        return [slice(None)]
    rows = max(1, _BLOCK_BYTES // max(row_bytes, 1))
    return [slice(start, min(start + rows, box[0])) for start in range(0, box[0], rows)]
