"""A state of the library's of all that is to be saved.

From one save of a training run to the next nothing changes but values and what lies in the tensors. So what was bound for a save is used for the next, if
the items give the same tensors under the same names, and none of them has moved or become another view.
"""

from __future__ import annotations

import operator
import weakref
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from . import _arrays, _device, _garbage, _items, _lazy, _native
from ._items import Item, Part
from ._report import some

LateOf: TypeAlias = Callable[[list[_lazy.Large]], set[int]]


class Bound:
    """The parts of items, bound. `large`: the arrays in them that may be late."""

    def __init__(self, parts: list[tuple[str, Part]], large: list[_lazy.Large], late: set[int] | None, copies: _device.Copies | None) -> None:
        """late: the ids of those that are; None: no save is lazy. copies: by which tensors of a device come; None: they are copied here."""
        self.state = _native.State()
        self.large = large
        self._parts = self._told_of = parts
        self._about: dict[str, object] | None = None  # what was said of `_told_of`
        self._values: dict[tuple[str, str], object] = {}  # as they were set
        self.moves = _moves(parts, late or set(), copies)
        self._near = {id(each.array) for each in large if not each.is_away}
        self._away = {id(each.array) for each in large if each.is_away}
        self._order = self._order_of(late)
        away = _items.Away({id(move.tensor): move.place for move in self.moves}, copies.gate) if copies is not None and self.moves else None
        rows: list[_items.Row] = []
        for item, part in parts:
            rows += _items.bind(self.state, item, part, self._order[0], away)
            if part.file_stem is not None:
                self.state.set_file_stem(item, part.file_stem)
        self._arrays = [array for _, part in parts for _, array, _ in part.tensors]
        self._notes = _unsaved(parts, self._arrays, rows)
        self._memory = _native.tensor_memory(self._arrays) if all(map(_is_lasting, self._arrays, rows)) else None

    def set_values(self, parts: list[tuple[str, Part]], extra: Mapping[str, object]) -> list[str]:
        """Of the items, and of Python's own; returns notes. Whoever gives the same object again has not changed what is in it."""
        for item, part in parts:
            for name, value in part.values.items():
                self._set_value(item, name, value)
        if self._about is None or not all(map(_is_told_alike, self._told_of, parts)):
            self._told_of, self._about = parts, _about(parts)
        self._set_value(_items.PYTHON, "items", self._about)
        for name, value in extra.items():
            self._set_value(_items.PYTHON, name, value)
        return self._notes + [note for _, part in parts for note in part.notes]

    def _set_value(self, item: str, name: str, value: object) -> None:
        key = item, name
        if key not in self._values or self._values[key] is not value:
            self.state.set_value(item, name, value)
            self._values[key] = value

    def holds(self, parts: list[tuple[str, Part]]) -> bool:
        """Whether these are the same arrays, where they were."""
        if self._memory is None or len(parts) != len(self._parts):
            return False
        return all(map(_is_alike, self._parts, parts)) and _native.tensor_memory(self._arrays) == self._memory

    def is_ordered(self, late: set[int] | None) -> bool:
        """Whether it is what would be bound if these were late."""
        return self._order_of(late) == self._order

    def _order_of(self, late: set[int] | None) -> tuple[set[int], set[int]]:
        """Of the large arrays those that the library copies at once where others are late, and those of a device that are late."""
        if late is None and not self.moves:
            return set(), set()
        late = late or set()
        return self._near - late, self._away & late


def _moves(parts: list[tuple[str, Part]], late: set[int], copies: _device.Copies | None) -> list[_device.Move]:
    """What lies on a device."""
    if copies is None:
        return []
    found = [(f"{item}/{name}", array, id(array) in late) for item, part in parts for name, array, _ in part.tensors if _device.engine_of(array) is not None]
    return copies.lay_out(found)


def _is_lasting(array: Any, row: _items.Row) -> bool:
    """Whether the tensor itself was bound, and not what was made of it - but for the place that it comes to."""
    if row[9] is not None:
        return True
    return _arrays.framework_of(array) == "torch" and array.device.type == "cpu" and not array.is_complex() and array.data_ptr() == row[4]


def _is_alike(earlier: tuple[str, Part], later: tuple[str, Part]) -> bool:
    (name, old), (other_name, new) = earlier, later
    if name != other_name or old.aliases != new.aliases or old.file_stem != new.file_stem or list(old.values) != list(new.values):
        return False
    if len(old.unnamed) != len(new.unnamed) or not all(map(operator.is_, old.unnamed, new.unnamed)):
        return False
    if old.tensors is new.tensors:
        return True
    return len(old.tensors) == len(new.tensors) and all(
        one[0] == two[0] and one[1] is two[1] and one[2] == two[2] for one, two in zip(old.tensors, new.tensors, strict=True)
    )


def _is_told_alike(earlier: tuple[str, Part], later: tuple[str, Part]) -> bool:
    old, new = earlier[1], later[1]
    return old.kinds is new.kinds and old.forms is new.forms and old.facts is new.facts


def _unsaved(parts: list[tuple[str, Part]], arrays: list[Any], rows: list[_items.Row]) -> list[str]:
    """Tells what optimizers train and lies in no memory that is saved."""
    if not any(part.unnamed for _, part in parts):
        return []
    held = {row[4] for row in rows} | {_storage_of(array) for array in arrays if _arrays.framework_of(array) == "torch"} | {None}
    loose = [(item, [tensor for tensor in part.unnamed if _storage_of(tensor) not in held]) for item, part in parts]
    return [f"{item}: trains {_many(tensors)}" for item, tensors in loose if tensors]


def _storage_of(tensor: Any) -> int | None:
    """The address of the memory that a tensor of torch is a part of; None: it has none."""
    try:
        return int(tensor.untyped_storage().data_ptr()) or None
    except (RuntimeError, NotImplementedError, ValueError):  # a lazy one, or one of parts
        return None


def _many(tensors: list[Any]) -> str:
    what = "1 parameter" if len(tensors) == 1 else f"{len(tensors)} parameters"
    so = "it is" if len(tensors) == 1 else "they are"
    rows = [f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}" for tensor in tensors]
    return f"{what} that no entry of the state holds, so {so} not saved: {some(rows, 4)}"


class Seen:
    """The arrays of jax that entries of a state had when they were captured last. They do not change: who trains has others at each step, and whoever saves
    the same ones again has given nobody the new ones. None of them is held."""

    def __init__(self) -> None:
        self._step: int | None = None
        self._arrays: dict[str, list[weakref.ref[Any]]] = {}
        self._told: set[str] = set()

    def look(self, parts: list[tuple[str, Part]], step: int | None) -> list[str]:
        """Tells, once, of entries that have the very same ones still. What a run begins with is right for step 0, and so is that of a step for the same."""
        notes = []
        for item, part in parts:
            arrays = [array for name, array, _ in part.tensors if str(part.forms.get(name)).startswith("jax")] if part.forms else []
            earlier = self._arrays.get(item, [])
            is_same = bool(arrays) and len(arrays) == len(earlier) and all(ref() is array for ref, array in zip(earlier, arrays, strict=True))
            if not is_same:
                self._arrays[item] = [weakref.ref(array) for array in arrays]
                self._told.discard(item)
            elif step is not None and step != (self._step or 0) and item not in self._told:
                self._told.add(item)
                when = "were given or restored" if self._step is None else "at the last save"
                notes.append(f"{item}: the same jax arrays as {when}: jax's arrays do not change, so give the new tree to save(step, state)")
        self._step = step
        return notes


class Capturer:
    """Captures what is saved again and again. It holds the memory of the last state until it is given up, or another one is captured."""

    def __init__(self, copies: _device.Copies | None = None) -> None:
        self._bound: Bound | None = None
        self._copies = copies
        self._seen = Seen()

    def capture(
        self,
        items: list[Item],
        extra: Mapping[str, object],
        late_of: LateOf | None = None,
        others: Mapping[str, object] | None = None,
        step: int | None = None,
    ) -> tuple[_native.State, list[str]]:
        """See capture."""
        with _garbage.Kept():
            parts = _parts_of(items, others)
            bound = self._bind(parts, late_of)
            notes = bound.set_values(parts, extra)
            trees = {item.name for item in items if isinstance(item, _items.Tree)}
            return bound.state, notes + self._seen.look([each for each in parts if each[0] in trees] if trees else [], step)

    def _bind(self, parts: list[tuple[str, Part]], late_of: LateOf | None) -> Bound:
        """What is bound already, where that is what these would be."""
        bound = self._bound if self._bound is not None and self._bound.holds(parts) else None
        large = bound.large if bound is not None else _lazy.large_in(parts)
        late = None if late_of is None else late_of(large)
        if bound is None or not bound.is_ordered(late):
            self._bound = bound = None  # before memory is taken for another one
            self._bound = bound = Bound(parts, large, late, self._copies)
        return bound

    def start_copies(self) -> bool:
        """What was captured and lies on a device is on its way when this returns. Whether there is such."""
        moves = self._bound.moves if self._bound is not None else []
        if self._copies is not None:
            self._copies.start(moves)
        return bool(moves)

    def give_up(self) -> None:
        """What was bound is let go."""
        self._bound = None
        if self._copies is not None:
            self._copies.give_up()


def capture(items: list[Item], extra: Mapping[str, object]) -> tuple[_native.State, list[str]]:
    """A native state of all that is to be saved, and notes.

    extra: values beside what the items say of themselves. late_of: for a lazy save, which of large arrays are staged behind the caller: their ids. others:
    own_trees of the other ranks. step: that is saved; None: what a run begins with. Raises UnstorableError. What lies on a device is copied before this returns.
    """
    return Capturer().capture(items, extra)


def _parts_of(items: list[Item], others: Mapping[str, object] | None) -> list[tuple[str, Part]]:
    """What others rest on is captured first: optimizers ask for the names that modules have now."""
    ranks: list[Item] = [_items.Tree(_items.RANKS, dict(others))] if others else []
    parts = {item.name: item.capture() for item in sorted([*items, *ranks], key=lambda item: item.rank)}
    return [(item.name, parts[item.name]) for item in [*items, *ranks]]


def _about(parts: list[tuple[str, Part]]) -> dict[str, object]:
    """What Python's own item says of the others."""
    return {item: {key: value for key, value in (("kinds", part.kinds), ("forms", part.forms), ("facts", part.facts)) if value} for item, part in parts}
