"""Weights of a checkpoint, or of somebody's published file, into a module whose names, shapes or dtypes may be others.

All of it is matched before a byte of the module is touched. What fits as it is the library reads straight into the module's memory; what must be cast or
cut goes through blocks of a few megabytes: there is never a second copy of the model.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

import torch

from . import _arrays, _device, _filling, _native, _progress, _tree
from ._checkpoint import Array, Checkpoint
from ._errors import CorruptError, Error, MismatchError, UnstorableError, make
from ._report import Report, some
from ._torch import Module, module_item

OnShape: TypeAlias = Literal["error", "skip", "slice", "pad"]
Rename: TypeAlias = Mapping[str, str] | Callable[[str], str | None]
_BLOCK_ELEMENTS = 2 << 20  # of what is converted at a time

log = logging.getLogger("cairn")


@dataclass
class Rules:
    """How names, shapes and dtypes of a source become a module's: see cairn.load."""

    rename: Rename | None = None
    only: str | Iterable[str] | None = None
    skip: str | Iterable[str] | None = None
    on_shape: OnShape = "error"
    dtype: torch.dtype | None = None
    min_coverage: float = 0.95
    item: str | None = None

    def __post_init__(self) -> None:
        if self.on_shape not in ("error", "skip", "slice", "pad"):
            raise ValueError(f'on_shape is "error", "skip", "slice" or "pad", not {self.on_shape!r}')
        if self.dtype is not None and not (isinstance(self.dtype, torch.dtype) and self.dtype.is_floating_point):
            raise TypeError(f"dtype is a floating dtype of torch, for the module's floating tensors, not {self.dtype!r}")
        if not 0 <= self.min_coverage <= 1:
            raise ValueError(f"min_coverage is a share of the module's elements that `only` and `skip` ask for, 0 to 1, not {self.min_coverage!r}")
        self.only, self.skip = _patterns("only", self.only), _patterns("skip", self.skip)
        if self.rename is not None and not callable(self.rename) and not isinstance(self.rename, Mapping):
            raise TypeError(f"rename is {{regular expression: replacement}}, or a callable, not a {type(self.rename).__name__}")
        for pattern, replacement in {} if callable(self.rename) else (self.rename or {}).items():
            _try("rename", pattern, replacement)

    def asks_for(self, name: str) -> bool:
        """By `only` and `skip`."""
        return (self.only is None or _found(self.only, name)) and (self.skip is None or not _found(self.skip, name))

    def target_name(self, name: str) -> str | None:
        """The module's name for one of the source; None: it is left out."""
        return self.renamed(name) if self.asks_for(name) else None

    def renamed(self, name: str) -> str | None:
        """Whether it is asked for or not."""
        if callable(self.rename):
            return self.rename(name)
        for pattern, replacement in (self.rename or {}).items():
            name = re.sub(pattern, replacement, name)
        return name

    def idle(self, names: Iterable[str]) -> list[str]:
        """Patterns of `only` and `skip` that are in no name, of the source or of the module: told, for they may be mistyped."""
        rules = [(rule, pattern) for rule, patterns in (("only", self.only), ("skip", self.skip)) for pattern in patterns or ()]
        return [f"{rule}: {pattern!r} is in no name" for rule, pattern in rules if not any(_found((pattern,), name) for name in names)]

    def box(self, source: tuple[int, ...], target: tuple[int, ...]) -> tuple[int, ...] | None:
        """How much is taken over, in each dimension from the start; None: the shapes do not go together."""
        if source == target:
            return target
        pairs = list(zip(source, target, strict=False))
        may = self.on_shape in ("slice", "pad") and len(source) == len(target)
        if may and all(old >= new if self.on_shape == "slice" else old <= new for old, new in pairs):
            return tuple(min(pair) for pair in pairs)
        return None


def _patterns(rule: str, given: str | Iterable[str] | None) -> tuple[str, ...] | None:
    """As often as they are asked for: an iterator would be good for one name."""
    patterns = None if given is None else (given,) if isinstance(given, str | re.Pattern) else tuple(given)
    for pattern in patterns or ():
        if not isinstance(pattern, str | re.Pattern):
            raise TypeError(f"{rule} is a regular expression, or several, not {pattern!r}")
        _try(rule, pattern, "")
    return patterns


def _found(patterns: Iterable[str], name: str) -> bool:
    return any(re.search(pattern, name) for pattern in patterns)


def _try(rule: str, pattern: str, replacement: str) -> None:
    try:
        re.sub(pattern, replacement, "")
    except re.error as error:
        raise ValueError(f"{rule}: {pattern!r} is no regular expression, or {replacement!r} no replacement for it: {error}") from error


@dataclass
class Move:
    """One tensor on its way: the first `box` of the source fills that of the target."""

    source: Array
    target: Any
    box: tuple[int, ...]

    @property
    def is_whole(self) -> bool:
        return self.source.shape == tuple(self.target.shape)

    @property
    def is_exact(self) -> bool:
        """The library can read it straight into the module's memory."""
        if not self.is_whole or not _device.is_filled_in_place(self.target):
            return False
        return _arrays.torch_dtype_name(self.target) == self.source.dtype

    def convert(self) -> None:
        """Block by block."""
        target = self.target.detach()
        for block in blocks(self.box, _BLOCK_ELEMENTS):
            target[block].copy_(self.source[block])


def blocks(shape: tuple[int, ...], most: int) -> Iterator[tuple[slice | int, ...]]:
    """Keys that cover a shape, each of at most so many elements."""
    if not shape:
        yield ()
        return
    row = 1
    for size in shape[1:]:
        row *= size
    if row > most:
        for index in range(shape[0]):
            for rest in blocks(shape[1:], most):
                yield (index, *rest)
        return
    rows = max(1, most // max(row, 1))
    for start in range(0, shape[0], rows):
        yield (slice(start, min(start + rows, shape[0])), *(slice(0, size) for size in shape[1:]))


@dataclass
class Transfer:
    """One source into one module."""

    checkpoint: Checkpoint
    module: Any
    rules: Rules
    report: Report = field(default_factory=Report)
    left_out: set[str] = field(default_factory=set)  # names of the module that `only` and `skip` do not ask for
    values: dict[str, Any] = field(default_factory=dict)  # what the source holds beside tensors
    scales: dict[str, str] = field(default_factory=dict)  # names of the source's tensors that scale others, by what stands before the last dot
    misshapen: list[str] = field(default_factory=list)  # names of the module that `on_shape` skips

    def run(self) -> Report:
        """Fills the module. Raises MismatchError before anything is touched."""
        sources = self._source()
        item = self._item(sources)
        own, aliases, others = item.split()
        needless = item.needless(own) - set(map(self.rules.target_name, sources))
        own = {name: tensor for name, tensor in own.items() if name not in needless}
        for name, tensor in own.items():
            _arrays.check_torch(tensor, name)
        moves = self._match(own, dict(aliases), sources)
        self._check_coverage(own, moves)
        self.report.notes += (idle := self.rules.idle((*sources, *self.values, *own, *others)))
        if self.rules.dtype is not None:
            item.module.to(self.rules.dtype)
            cast, _, others = item.split()
            own = {name: cast[name] for name in own}
        given = item.to_be_loaded({name: own[name] for name in moves})
        moves = {name: replace(move, target=given.get(name, own[name])) for name, move in moves.items()}
        firsts = {move.source.info.name: name for name, move in reversed(moves.items())}  # a tied source may fill several
        exact = {name: move for name, move in moves.items() if move.is_exact and firsts[move.source.info.name] == name}
        self._fill(exact)
        self._finish(item, {name: move for name, move in moves.items() if name not in exact}, moves if given or (others and type(item) is Module) else {}, others)
        self.report.missing += [name for name in own if name not in moves]
        asked_for = self._missed()
        for line in ([f"not in it, left as they were: {some(asked_for)}"] if asked_for else []) + idle:
            log.warning("%s: %s", self.checkpoint.path, line)
        return self.report

    def _missed(self) -> list[str]:
        """What is missing, and nobody left out on purpose, as far as that is known."""
        if callable(self.rules.rename) and self.report.skipped:
            return []
        return [name for name in self.report.missing if name not in {*self.left_out, *self.misshapen} and self.rules.asks_for(name)]

    def _finish(self, item: Module, converted: Mapping[str, Move], loaded: Mapping[str, Move], others: Mapping[str, object]) -> None:
        """What the library does not read into place by itself. loaded: what goes through the module's load_state_dict, with what is no tensor."""
        try:
            what = "casting"
            self._convert(converted)
            what = "its load_state_dict"
            if loaded:
                item.load({name: move.target for name, move in loaded.items()} | self._values_for(others), self._versions())
        except Exception as error:
            said = str(error) if isinstance(error, Error) else f"{what} failed: {type(error).__name__}: {error}"
            offset = error.offset if isinstance(error, Error) else None
            cause = "CORRUPT" if isinstance(error, CorruptError) else ""
            raise make("TORN_STATE", f"{said}; the module is a mixture now: load all of it again before you use it", 0, offset, cause) from error

    def _values_for(self, others: Mapping[str, object]) -> dict[str, Any]:
        """What the module keeps beside tensors, as the source has it."""
        found = {given: value for name, value in self.values.items() if (given := self.rules.target_name(name)) in others and given is not None}
        self.report.restored += found
        self.report.missing += [name for name in others if name not in found]
        return found

    def _versions(self) -> Mapping[str, Any]:
        """Of the source's modules, where they are called alike."""
        return {} if self.rules.rename else self.checkpoint[self._source_item].facts.get("versions", {})

    def _source(self) -> dict[str, Array]:
        """The tensors of one item: of item "model", else of the only module, else of the only item that has any."""
        items = self.checkpoint
        name = self.rules.item
        if name is None:
            modules = [name for name in items if items[name].kind == _tree.MODULE] or [name for name in items if items[name].has_tensors]
            if "model" not in items and len(modules) != 1:
                raise MismatchError(f"{items.info.path}: it has {', '.join(modules) or 'nothing'} to load weights from: name the item, as in load(..., item=)")
            name = "model" if "model" in items else modules[0]
        self._source_item, held = name, {key: items[name][key] for key in items[name]}
        self.values = {key: value for key, value in held.items() if not isinstance(value, Array)}
        sources = {key: value.for_torch() for key, value in held.items() if isinstance(value, Array)}
        self.scales = {key.rpartition(".")[0]: key for key in sources if "scale" in key.rpartition(".")[2]}
        return sources

    def _item(self, sources: Iterable[str]) -> Module:
        """The module; of one of peft what it trains, under the names of its files, if the source has any of them."""
        item, module = module_item("model", self.module), Module("model", self.module)
        if type(item) is Module:
            return module
        own = item.split()[0].keys() - module.split()[0].keys()
        return module if own.isdisjoint(map(self.rules.target_name, sources)) else item

    def _match(self, own: Mapping[str, Any], aliases: Mapping[str, str], sources: Mapping[str, Array]) -> dict[str, Move]:
        moves: dict[str, Move] = {}
        givens: dict[str, str] = {}  # by which of its names each is filled
        wrong: list[str] = []
        self._leave_out(own, aliases, sources)
        for source, array in sources.items():
            given = self.rules.target_name(source)
            if given is None:
                self.report.skipped.append(source)
                continue
            name = aliases.get(given, given)
            if name in moves:
                self._check_second(name, moves[name].source, givens[name], array, given)
            elif name not in own:
                self.report.unexpected.append(source)
            else:
                givens[name] = given
                self._add(moves, wrong, name, array, own[name])
        if wrong:
            raise MismatchError(f"{self.checkpoint.info.path}: {some(wrong, 64, '; ')}; see `on_shape`, `skip`")
        return moves

    def _check_second(self, name: str, first: Array, first_given: str, second: Array, given: str) -> None:
        """Another tensor of the source for what is filled already: right where both are tied, here or there."""
        if second.info.name == first.info.name:
            return
        if given == first_given:
            raise MismatchError(f"{first.info.name} and {second.info.name} would both become {name}: correct `rename`")
        if not _are_equal(first, second):
            raise MismatchError(
                f"{self.checkpoint.info.path}: {first.info.name} and {second.info.name} differ, and are one tensor in the module, {name}: leave one out with `skip`"
            )

    def _leave_out(self, own: Mapping[str, Any], aliases: Mapping[str, str], sources: Iterable[str]) -> None:
        """What would be filled by a name of the source that is not asked for; and what is in no source, by its own name, where names are the source's."""
        targets = {source: aliases.get(name := self.rules.renamed(source) or "", name) for source in sources}
        self.left_out = {name for source, name in targets.items() if not self.rules.asks_for(source)}
        if not self.rules.rename:
            self.left_out |= {name for name in own if name not in targets.values() and not self.rules.asks_for(name)}
        self.left_out -= {name for source, name in targets.items() if self.rules.asks_for(source)}

    def _add(self, moves: dict[str, Move], wrong: list[str], name: str, array: Array, tensor: Any) -> None:
        box = self.rules.box(array.shape, tuple(tensor.shape))
        if box is None and self.rules.on_shape == "skip":
            self.report.skipped.append(array.info.name)
            self.misshapen.append(name)
        elif box is None:
            wrong.append(f"{name} is of shape {tuple(tensor.shape)}, in the source {array.shape}")
        elif _kind(array.dtype) != _kind(_arrays.torch_dtype_name(tensor)):
            wrong.append(f"{name} is {tensor.dtype}, in the source {array.dtype}, which is a number of another kind")
        elif why := self._why_not_cast(array, tensor):
            wrong.append(f"{name} is {tensor.dtype}, in the source {array.dtype}, {why}")
        else:
            moves[name] = Move(array, tensor, box)

    def _why_not_cast(self, array: Array, tensor: Any) -> str | None:
        """What keeps a cast from giving the numbers that are meant."""
        if array.dtype in ("C128", _arrays.torch_dtype_name(tensor)):
            return None
        try:
            _arrays.torch_dtype(array.dtype)
        except UnstorableError:
            return "which torch has not"
        scale = self.scales.get(array.info.name.rpartition(".")[0]) if array.dtype.startswith("F8") else None
        return None if scale is None else f"to be multiplied by {scale}, which a cast would not do: dequantize it first"

    def _check_coverage(self, own: Mapping[str, Any], moves: Mapping[str, Move]) -> None:
        total = sum(tensor.numel() for name, tensor in own.items() if name not in self.left_out)
        covered = sum(math.prod(move.box) for move in moves.values())
        if moves and covered >= self.rules.min_coverage * total:
            return
        missing = [name for name in own if name not in moves and (not moves or name not in self.left_out)]
        how, see = "no name of it is one of the module's", "`rename`"
        if self.misshapen:
            how, see = f"nothing of it has the shapes of the module, as {self.misshapen[0]} has not", "`on_shape`"
        if moves:
            what = "what `only` and `skip` leave of the module" if self.left_out else "the module"
            how = f"only {covered / max(total, 1):.1%} of {what} is in it, and min_coverage asks for {self.rules.min_coverage:.0%}"
            see = "`rename`, `min_coverage`"
        raise MismatchError(
            f"{self.checkpoint.info.path}: {how}; the module lacks {some(missing, 4) or 'nothing'}; not taken of the source: "
            f"{some(self.report.unexpected + self.report.skipped, 4) or 'nothing'}; see {see}"
        )

    def _fill(self, moves: Mapping[str, Move]) -> None:
        """In place, by the library's own threads."""
        if not moves:
            return
        state = _native.State()
        for name, move in moves.items():
            (buffer, device), info = _device.place_of(move.target, name), move.source.info
            state.bind(info.item, info.name, buffer.dtype, buffer.shape, buffer.address, buffer.owner, strides=buffer.strides, via=device)
        targets = [move.target for move in moves.values()]
        _device.wait_for(targets)
        choose = _filling.same(self.checkpoint.native, state)
        with _progress.counted(self._what) as figures, _device.current_kept():
            native = _native.load(self.checkpoint.info.path, state, choose=choose, figures=figures)
        _device.finish_filling(targets)
        _arrays.note_written(targets)
        self.report.bytes += native.bytes
        self.report.seconds += native.elapsed_ns / 1e9
        self.report.restored += moves

    def _convert(self, moves: Mapping[str, Move]) -> None:
        """Through blocks of a few megabytes."""
        with _progress.counted(self._what, sum(move.source.info.size_bytes for move in moves.values())) as figures:
            for name, move in moves.items():
                move.convert()
                self._tell(name, move)
                figures[0] += move.source.info.size_bytes

    @property
    def _what(self) -> str:
        return f"loading {self.checkpoint.path.name}"

    def _tell(self, name: str, move: Move) -> None:
        (self.report.restored if move.source.dtype == _arrays.torch_dtype_name(move.target) else self.report.converted).append(name)
        self.report.bytes += move.source.info.size_bytes
        if not move.is_whole:
            self.report.notes.append(f"{name}: {move.source.shape} of the source into {tuple(move.target.shape)}")


def _kind(dtype: str) -> str:
    """Between which dtypes a cast keeps the meaning."""
    return "float" if dtype.startswith(("F", "BF")) else "complex" if dtype.startswith("C") else "bool" if dtype == "BOOL" else "int"


def _are_equal(one: Array, other: Array) -> bool:
    """By their bytes."""
    if (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return all(_arrays.bytes_of(one[block]) == _arrays.bytes_of(other[block]) for block in blocks(one.shape, _BLOCK_ELEMENTS))
