"""What a state is made of: each of its entries, an *item*, knows how to be saved and how to be filled again.

Saving asks an item for its `Part`: tensors as they lie in memory, and values. Restoring gives it a `Found`, what a checkpoint holds of it, and gets a
`Part` to fill back: the item's own memory where it can be written in place, else new memory. When all of it is filled and checked, `finish` puts it where
it belongs. Items of torch are in _torch.py; _filling.py goes through all of them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, TypeAlias

from . import _arrays, _device, _tree
from ._data import Data
from ._errors import Error, UnstorableError, make
from ._loader import is_torch_loader
from ._native import FRESH, TRAINABLE, VOLATILE, Device, Gate, State, TensorInfo
from ._report import some
from ._rng import RNG
from ._values import Values

_SNAPSHOT_DEPTH = 4  # of containers in which a state_dict is looked for
Sizes: TypeAlias = tuple[int, int]  # how many ranks a checkpoint was saved by, and how many there are now


@dataclass(slots=True)
class Part:
    """One item's share of a save or a restore."""

    tensors: list[tuple[str, Any, int]] = field(default_factory=list)  # name, array, flags
    aliases: list[tuple[str, str]] = field(default_factory=list)  # second name, first name
    values: dict[str, object] = field(default_factory=dict)  # as they are stored; in a restore only their names count
    kinds: dict[str, object] = field(default_factory=dict)
    forms: dict[str, object] = field(default_factory=dict)
    facts: dict[str, object] = field(default_factory=dict)  # what else a restore should know
    notes: list[str] = field(default_factory=list)  # what a user should know of this item
    unnamed: list[Any] = field(default_factory=list)  # parameters of torch that an optimizer trains and no module of the state has
    file_stem: str | None = None  # of its files, where that is not the item's name

    @classmethod
    def of(cls, flat: _tree.Flat, flags: int = 0) -> Part:
        return cls([(name, array, flags) for name, array in flat.tensors.items()], [], flat.values, flat.kinds, flat.forms)


@dataclass(slots=True)
class Found:
    """What a checkpoint holds of one item."""

    item: str
    tensors: dict[str, TensorInfo]
    aliases: list[str]  # second names of tensors
    values: list[str]
    kinds: dict[str, object]
    forms: dict[str, str]
    tree: dict[str, object]  # its values as stored, with references for tensors
    facts: dict[str, Any] = field(default_factory=dict)
    sizes: Sizes = (1, 1)
    is_there: bool = True  # else the checkpoint has no such item

    def form(self, name: str) -> str:
        """What a tensor comes back as."""
        return self.forms.get(name, "torch")

    def empty(self, name: str, beside: Any = None) -> Any:
        """New memory for a tensor, to be filled. beside: a tensor whose device it should lie on."""
        info = self.tensors[name]
        made = _device.empty_beside(beside, info.dtype, tuple(info.shape)) if beside is not None and self.form(name) == "torch" else None
        return _arrays.empty(info.dtype, tuple(info.shape), self.form(name)) if made is None else made


class Item(Protocol):
    """An entry of the state. `rank` says when it is finished: what others rest on comes first, random numbers last."""

    name: str
    rank: int

    def is_quiet(self) -> bool:
        """Whether `capture` calls nobody's code, which might draw random numbers."""

    def capture(self) -> Part:
        """What is saved now. Raises UnstorableError."""

    def prepare(self, found: Found) -> Part:
        """What is to be filled from a checkpoint."""

    def finish(self) -> Any:
        """What was prepared is filled. Returns what r.state shows."""


class Loaded:
    """Memory for all that a checkpoint holds of an item, and the tree that it makes when it is filled. What stands in the item's own memory and has another
    dtype or shape is bound all the same: so that the difference is told."""

    def __init__(self, found: Found, own: Callable[[str], Any] = lambda name: None, beside: Callable[[str], Any] = lambda name: None) -> None:
        """`own` gives an array that stands in the item's own memory and may be filled there, or None; `beside` a tensor whose device new memory should lie on,
        or None."""
        self._found, self._beside = found, beside
        self._templates = {name: own(name) for name in found.tensors}
        self.arrays = {name: self._place(name) for name in found.tensors}

    def _place(self, name: str) -> Any:
        template = self._templates[name]
        if template is not None and (_device.is_filled_in_place(template) or not _fits(template, self._found, name)):
            return template
        return self._found.empty(name, self._beside(name))

    def part(self, flags: int) -> Part:
        """What is to be filled."""
        tensors = [(name, array, flags | (FRESH if array is not self._templates[name] else 0)) for name, array in self.arrays.items()]
        return Part(tensors, values=dict.fromkeys(self._found.values))

    def tree(self) -> Any:
        """What it makes, filled."""
        arrays = {
            name: array if array is self._templates[name] else _arrays.finish(array, self._found.form(name), self._templates[name])
            for name, array in self.arrays.items()
        }
        return _tree.rebuild(self._found.item, self._found.tree, arrays, self._found.kinds)


@dataclass(slots=True)
class Given:
    """A tree that is there already, where Loaded has one to be filled."""

    given: Any

    def tree(self) -> Any:
        """What was given."""
        return self.given


def _fits(array: Any, found: Found, name: str) -> bool:
    info = found.tensors[name]
    return _arrays.stored_as(array, f"{found.item}/{name}") == (info.dtype, tuple(info.shape))


class Stateful:
    """Any object with state_dict() and load_state_dict(): schedulers, scalers, loaders, averages."""

    def __init__(self, name: str, target: Any, rank: int = 2) -> None:
        self.name, self.target, self.rank = name, target, rank
        self._loaded: Loaded | Given | None = None

    def is_quiet(self) -> bool:
        return False

    def capture(self) -> Part:
        return Part.of(_tree.flatten(self.name, self._state()))

    def _state(self) -> Any:
        try:
            return self.target.state_dict()
        except Error:
            raise
        except Exception as error:
            raise UnstorableError(f"{self.name}: its state_dict failed: {type(error).__name__}: {error}") from error

    def prepare(self, found: Found) -> Part:
        self._loaded = Loaded(found, beside=self._beside(found))
        return self._loaded.part(0)

    def _beside(self, found: Found) -> Callable[[str], Any]:
        """Where new memory for its tensors should lie: see Loaded. To ask for its state may begin something, as in a loader: it lies in main memory."""
        return lambda name: None

    def give(self, tree: Any, sizes: Sizes) -> Part:
        """In the place of `prepare`: what `finish` loads."""
        self._loaded = Given(tree)
        return Part()

    def finish(self) -> Any:
        assert self._loaded is not None
        self.target.load_state_dict(self._loaded.tree())
        self._loaded = None
        return self.target


class OwnPosition(Stateful):
    """A DataLoader that keeps its position itself, and makes its iterator when it is asked for batches: nobody sets the random numbers again behind that."""

    def prepare(self, found: Found) -> Part:
        part = super().prepare(found)
        if found.is_there and getattr(self.target, "generator", None) is None:
            part.notes.append(
                f"{self.name}: its next iterator draws from torch's random numbers, which the run had done before, so what follows differs: wrap it, "
                "cairn.data(loader), or give it a generator of its own"
            )
        return part


class Variables(Stateful):
    """A program's own."""

    target: Values

    def _beside(self, found: Found) -> Callable[[str], Any]:
        own = _tree.flatten(self.name, self.target.state_dict()).tensors if found.tensors and _device.is_used() else {}
        return own.get

    def prepare(self, found: Found) -> Part:
        part = super().prepare(found)
        self._notes = part.notes
        return part

    def finish(self) -> Any:
        assert self._loaded is not None
        loaded, self._loaded = self._loaded.tree(), None
        self._notes += [f"{self.name}: {note}" for note in self.target.load_state_dict(loaded).notes]
        return self.target


class Place(Stateful):
    """Where a loop stands in its data. What keeps its loader from going on there is raised before anything is touched; with another number of ranks it goes
    to the place that is nearest, and that is told."""

    target: Data[Any]

    def prepare(self, found: Found) -> Part:
        part = super().prepare(found)
        if found.is_there:
            self._look(_tree.decode(found.tree), found.sizes, part)
        return part

    def give(self, tree: Any, sizes: Sizes) -> Part:
        part = super().give(tree, sizes)
        self._look(tree, sizes, part)
        return part

    def _look(self, state: Any, sizes: Sizes, part: Part) -> None:
        self._sizes = sizes
        taken, where = self.target.taken_over(state, *sizes)
        self.target.check(taken)
        if where:
            part.notes.append(f"{self.name}: saved by {ranks(sizes[0])}, restored by {sizes[1]}, so its place is not exact: {where}")

    def finish(self) -> Any:
        assert self._loaded is not None
        taken, _ = self.target.taken_over(self._loaded.tree(), *self._sizes)
        self.target.load_state_dict(taken)
        self._loaded = None
        return self.target


class Tree:
    """Containers and arrays of the caller's own, filled where they are. What cannot be changed - jax's arrays, tuples - is new in r.state. Its arrays must
    be in the checkpoint, and of the same dtype and shape; what the checkpoint holds besides is added, and other keys that it lacks stay."""

    rank = 2

    def __init__(self, name: str, tree: Any) -> None:
        if tree is None:
            raise UnstorableError(f"{name}: there is nothing to save in None: leave it out")
        if not _arrays.framework_of(tree) and not _tree.is_container(tree) and _tree.is_scalar(tree):
            raise UnstorableError(
                f"{name}: a bare {type(tree).__name__} cannot be given back to you: use cairn.Values({name}={tree!r}), or put it into a dict"
            )
        self.name, self.tree = name, tree
        self._loaded: Loaded | None = None
        self._notes: list[str] = []  # of the restore that was prepared

    def is_quiet(self) -> bool:
        return True

    def capture(self) -> Part:
        return Part.of(_tree.flatten(self.name, self.tree))

    def prepare(self, found: Found) -> Part:
        own = _tree.flatten(self.name, self.tree).tensors
        self._loaded = Loaded(found, own.get)
        part = self._loaded.part(0)
        part.tensors += [(name, array, TRAINABLE) for name, array in own.items() if name not in found.tensors]
        added = [name for name in found.tensors if name not in own]
        if own and added:
            part.notes.append(f"{self.name}: arrays of the checkpoint that were not in the state given, added: {some(added)}")
        self._notes = part.notes
        return part

    def finish(self) -> Any:
        assert self._loaded is not None
        loaded, self._loaded = self._loaded.tree(), None
        writing = _tree.Writing()
        self.tree = writing.write(self.tree, loaded)
        self._notes += [f"{self.name}: {note}" for note in writing.notes()]
        return self.tree


class RandomNumbers(Stateful):
    """The state of random number generators: set when all else is done, for whatever is done draws from them."""

    def __init__(self, name: str, target: Any) -> None:
        super().__init__(name, target, rank=9)

    def prepare(self, found: Found) -> Part:
        part = super().prepare(found)
        if found.is_there:
            self.target.check(_tree.decode(found.tree))
        return part

    def give(self, tree: Any, sizes: Sizes) -> Part:
        self.target.check(tree)
        return super().give(tree, sizes)

    def finish(self) -> Any:
        assert self._loaded is not None
        saved, self._loaded = self._loaded.tree(), None
        self.target.load_state_dict(saved)
        self.set_again = lambda: self.target.load_state_dict(saved)
        return self.target


class Loader:
    """A DataLoader that nobody counts: nothing of it can be saved, and a restore says so."""

    rank = 2

    def __init__(self, name: str, loader: Any) -> None:
        self.name, self.loader = name, loader

    def is_quiet(self) -> bool:
        return True

    def capture(self) -> Part:
        note = f"{self.name}: a DataLoader keeps no position, so this run does not resume exactly: wrap it, cairn.data(loader)"
        return Part(notes=[note])

    def prepare(self, found: Found) -> Part:
        return self.capture()

    def finish(self) -> Any:
        return self.loader


# --------------------------------------------------------------------------------------------------------- many of them


def named(state: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a state. Raises TypeError if it is no mapping of names."""
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TypeError('the state is a dict of names and what to save under them: {"model": model, "optimizer": optimizer}')
    return dict(state)


def refuse_snapshots(state: Mapping[str, object]) -> None:
    """Of a state that is saved again and again. Raises UsageError for what a state_dict() gave that does not follow what it was asked of."""
    for path, tree in _dicts_in(state, (), _SNAPSHOT_DEPTH):
        if tree.keys() == {"state", "param_groups"} and isinstance(tree["param_groups"], list):
            whose, what = "an optimizer", "optimizer"
        elif "last_epoch" in tree and ("_step_count" in tree or "num_bad_epochs" in tree):
            whose, what = "a scheduler", "scheduler"
        elif tree.keys() >= {"scale", "growth_factor", "_growth_tracker"}:
            whose, what = "a GradScaler", "scaler"
        else:
            continue
        raise make("USAGE", f"{_tree.join(path)}: {whose}'s state_dict() is what it was when it was asked for: give the {what} itself")


def _dicts_in(value: object, path: tuple[str, ...], depth: int) -> Iterator[tuple[tuple[str, ...], dict[Any, Any]]]:
    if type(value) is dict and path:
        yield path, value
    if depth:
        for key, child in value.items() if type(value) is dict else enumerate(value) if isinstance(value, list | tuple) else ():
            yield from _dicts_in(child, (*path, str(key)), depth - 1)


def items_of(state: Mapping[str, object]) -> list[Item]:
    """An item for each entry of the state, in its order. Raises UnstorableError for what cannot be one."""
    items: list[Item] = []
    torch = sys.modules.get("torch")
    if torch is not None:
        from . import _torch
    for name, target in named(state).items():
        if name in (PYTHON, RANKS):
            raise UnstorableError(f'"{name}" is what Cairn calls its own entry: choose another name')
        made = _torch.item_of(name, target) if torch is not None else None
        if made is None and isinstance(target, RNG):
            made = RandomNumbers(name, target)
        if made is None and isinstance(target, Data):
            made = Place(name, target)
        if made is None and isinstance(target, Values):
            made = Variables(name, target)
        if made is None and hasattr(target, "state_dict") and hasattr(target, "load_state_dict"):
            made = OwnPosition(name, target) if is_torch_loader(target) else Stateful(name, target)
        items.append(made or Tree(name, target))
    if torch is not None:
        _torch.acquaint(items)
    return items


PYTHON = "python"  # the item that says how the others come back
RANKS = "ranks"  # the item that holds what the ranks from 1 on have of their own, by rank and item; rank 0's stands in the items themselves
METADATA = "__metadata__"  # of a file that Cairn did not write


Row: TypeAlias = tuple[str, str, str, tuple[int, ...], int, object, int, tuple[int, ...] | None, int, Gate | Device | None]


class Away(NamedTuple):
    """Where arrays that lie on a device arrive, by the array's id, and the gate that these places stand behind."""

    places: Mapping[int, Any]
    gate: Gate


def bind(state: State, item: str, part: Part, early: Set[int] = frozenset(), away: Away | None = None) -> list[Row]:
    """Binds its tensors for a save. early: the ids of those that the caller may change as soon as a lazy save returns. Those that are away are bound where they
    arrive. Returns a row for each, as State.bind_many takes it."""
    rows: list[Row] = []
    for name, array, flags in part.tensors:
        place = away.places.get(id(array)) if away is not None else None
        if place is not None:
            _arrays.check_torch(array, f"{item}/{name}")
        elif id(array) in early:
            flags |= VOLATILE
        buffer = _arrays.buffer_of(array if place is None else place, f"{item}/{name}")
        rows.append(_row(item, name, buffer, flags, away.gate if away is not None and place is not None else None))
    return _bind_rows(state, item, part, rows)


def bind_to_fill(state: State, item: str, part: Part) -> list[Row]:
    """Binds its tensors for a restore, each where it lies. Returns a row for each, as State.bind_many takes it."""
    rows = []
    for name, array, flags in part.tensors:
        buffer, device = _device.place_of(array, f"{item}/{name}")
        rows.append(_row(item, name, buffer, flags, device))
    return _bind_rows(state, item, part, rows)


def _row(item: str, name: str, buffer: _arrays.Buffer, flags: int, via: Gate | Device | None) -> Row:
    return item, name, buffer.dtype, buffer.shape, buffer.address, buffer.owner, flags, buffer.strides, 0, via


def _bind_rows(state: State, item: str, part: Part, rows: list[Row]) -> list[Row]:
    state.bind_many(rows)
    for name, target in part.aliases:
        state.alias(item, name, target)
    return rows


def of_a_rank(items: list[Item]) -> list[Stateful]:
    """Those that differ from rank to rank: random generators and places in the data. All else is the same on all of them."""
    return [item for item in items if isinstance(item, RandomNumbers) or (isinstance(item, Stateful) and _is_loader(item.target))]


def _is_loader(target: object) -> bool:
    return isinstance(target, Data) or is_torch_loader(target)


def own_trees(items: list[Item]) -> dict[str, Any]:
    """What this rank has of its own, by item."""
    return {item.name: item.target.state_dict() for item in of_a_rank(items)}


def ranks(count: int) -> str:
    return f"{count} rank{'s' if count > 1 else ''}"
