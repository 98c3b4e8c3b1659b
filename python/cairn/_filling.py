"""A restore from one checkpoint: what it holds, what is filled with it, and what keeps it from being filled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from . import _arrays, _device, _garbage, _items, _native, _progress, _tree
from ._data import Data
from ._errors import MismatchError, TornStateError, make
from ._items import Found, Item, Loaded, Part, RandomNumbers, Stateful, Tree
from ._native import OPTIMIZER, TRAINABLE, Checkpoint, State, TensorInfo, TensorRef
from ._report import some


class Filling:
    """A restore from one checkpoint: its native state, and what is to be done when that is filled. Raises MismatchError, which names all that differs."""

    def __init__(self, items: list[Item], checkpoint: Checkpoint, allow_missing: bool = False, rank: int = 0, size: int = 1) -> None:
        """rank, size: of this process among those that train together; its own generators and position are filled."""
        with _garbage.Kept():
            self._prepare(items, checkpoint, allow_missing, rank, size)

    def _prepare(self, items: list[Item], checkpoint: Checkpoint, allow_missing: bool, rank: int, size: int) -> None:
        self.state = State()
        self.python = about(checkpoint)
        self.found = dict(found_in(checkpoint))
        self.parts: list[tuple[Item, Part]] = []
        self.absent: list[str] = []
        self.notes: list[str] = []
        self._owners: list[Any] = []  # arrays that the library fills
        self._away: list[Any] = []  # and those of them that lie on devices
        items = self._take_own(items, checkpoint, rank, size)
        differences: list[str] = []
        for item in items:
            found = self.found.get(item.name)
            if found is None:
                self.absent.append(item.name)
                found = Found(item.name, {}, [], [], {}, {}, {}, is_there=False)
            found.sizes = self._sizes
            part = item.prepare(found)
            rows = _items.bind_to_fill(self.state, item.name, part)
            self._owners += [row[5] for row in rows]
            self._away += [row[5] for row in rows if row[9] is not None]
            for name, value in part.values.items():
                self.state.set_value(item.name, name, value)
            self.parts.append((item, part))
            differences += _differences(rows, checkpoint, allow_missing)
        if differences:
            raise mismatch(checkpoint.info.path, differences + self._unasked())
        _device.wait_for(self._away)  # for it may read what is to be overwritten

    def _unasked(self) -> list[str]:
        """What the checkpoint holds besides: a renamed tensor is told by both of its names."""
        bound = {(item.name, name) for item, part in self.parts for name, _, _ in part.tensors}
        bound |= {(item.name, name) for item, part in self.parts for name, _ in part.aliases}
        held = [(item.name, name) for item, _ in self.parts if item.name in self.found for name in self.found[item.name].tensors]
        return [f"{item}/{name} is only in the checkpoint" for item, name in held if (item, name) not in bound]

    def _take_own(self, items: list[Item], checkpoint: Checkpoint, rank: int, size: int) -> list[Item]:
        """Gives this rank's own to the items that have such, and returns the others, which all ranks fill alike."""
        saved = self.found.get(_items.RANKS)
        ranks: dict[str, Any] = read_trees(checkpoint, {_items.RANKS: saved})[_items.RANKS] if saved is not None and rank else {}
        count = 1 + (len(saved.tree) if saved is not None else 0)
        self._sizes = count, size
        if count != size:
            self.notes.append(_other_size(rank, size, count))
        if not rank:
            return items
        own: dict[str, Any] = ranks.get(str(rank), {})
        for item in _items.of_a_rank(items):
            if item.name in own:
                self.parts.append((item, item.give(own[item.name], self._sizes)))
            elif isinstance(item, RandomNumbers):
                self.parts.append((item, Part()))
                self.absent.append(item.name)
        taken = [item for item, _ in self.parts]
        return [item for item in items if item not in taken]

    def finish(self) -> dict[str, object]:
        """Puts everything where it belongs, what others rest on first. Returns the state as it is now, by name. Raises TornStateError."""
        done: dict[str, object] = {}
        _device.finish_filling(self._away)
        _arrays.note_written(self._owners)
        for item in sorted((item for item, _ in self.parts), key=lambda item: item.rank):
            if item.name not in self.absent:
                done[item.name] = _finish(item)
        self._set_numbers_at_first_batch()
        return {item.name: done.get(item.name) for item, _ in self.parts}

    def told(self) -> list[str]:
        """What a user should know of it."""
        return self.notes + [note for _, part in self.parts for note in part.notes]

    def _set_numbers_at_first_batch(self) -> None:
        """Making an iterator in mid-epoch draws random numbers that the interrupted run had drawn long before: they are set once more before the first batch,
        by whichever loader is asked first. What is drawn from then on goes on from there, so the others must not set them again."""
        waiting: list[Callable[[], object]] = [item.set_again for item, _ in self.parts if isinstance(item, RandomNumbers) and item.name not in self.absent]

        def set_once() -> None:
            while waiting:
                waiting.pop()()

        for item, _ in self.parts:
            if isinstance(item, Stateful) and isinstance(item.target, Data):
                item.target.defer_rng(set_once)


def _finish(item: Item) -> Any:
    """Whatever it fails with, something was filled by now."""
    try:
        return item.finish()
    except TornStateError:
        raise
    except Exception as error:
        what = "writing into it" if isinstance(item, Tree) else "its load_state_dict"
        said = f"{item.name}: {what} failed: {type(error).__name__}: {error}"
        raise make("TORN_STATE", f"{said}; the state is a mixture now: restore again before you go on") from error


def _other_size(rank: int, size: int, count: int) -> str:
    """What a restore at another world size is not."""
    now = f"saved by {_items.ranks(count)}, restored by {size}: this is no exact resume"
    if size < count:
        return f"{now}; random generators and data positions of ranks {size} to {count - 1} are not used"
    if rank < count:
        return now
    return f"{now}; rank {rank} was not there: its random generators stay as they are, and its data is where rank 0's is"


def _differences(rows: list[_items.Row], checkpoint: Checkpoint, allow_missing: bool) -> list[str]:
    """What keeps these tensors from being filled."""
    wrong = []
    for item, name, dtype, shape, _, _, flags, _, _, _ in rows:
        info = checkpoint.find(item, name)
        if info is None and flags & (TRAINABLE | OPTIMIZER) and not allow_missing:
            wrong.append(f"{item}/{name} is not in the checkpoint")
        elif info is not None and (info.dtype, tuple(info.shape)) != (dtype, shape):
            wrong.append(f"{item}/{name} is {dtype} {shape}, in the checkpoint {info.dtype} {tuple(info.shape)}")
    return wrong


def mismatch(path: str, differences: list[str]) -> MismatchError:
    """The error that names every difference."""
    error = MismatchError(f"{path}: {some(differences, 64, '; ')}; cairn.load takes over what fits, see rename, on_shape and allow_missing")
    error.code, error.differences = "MISMATCH", differences
    return error


def same(checkpoint: Checkpoint, state: State) -> Callable[[Checkpoint], State]:
    """For a load by path: the state, if what is found there is still that checkpoint. Raises GoneError."""

    def choose(found: Checkpoint) -> State:
        check_same(checkpoint, found)
        return state

    return choose


def check_same(checkpoint: Checkpoint, found: Checkpoint) -> None:
    """Raises GoneError if another one was put into its place."""
    one, other = checkpoint.info.entry, found.info.entry
    if (one and one.id) != (other and other.id):
        raise make("GONE", f"{checkpoint.info.path}: another checkpoint stands there by now: open it again")


def read_trees(checkpoint: Checkpoint, found: Mapping[str, Found]) -> dict[str, Any]:
    """Items in new memory, every byte checked, all of them read at once."""
    with _garbage.Kept():
        state = State()
        loaded = {item: Loaded(each) for item, each in found.items()}
        for item, each in loaded.items():
            _items.bind_to_fill(state, item, each.part(0))
        if any(each.arrays for each in loaded.values()):
            with _progress.counted(f"loading {Path(checkpoint.info.path).name}") as figures:
                _native.load(checkpoint.info.path, state, choose=same(checkpoint, state), figures=figures)
        return {item: each.tree() for item, each in loaded.items()}


def about(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the Python package said of itself when it saved; empty for a checkpoint of another program."""
    said = (checkpoint.values() or {}).get(_items.PYTHON, {})
    return said if isinstance(said, dict) else {}


def found_in(checkpoint: Checkpoint) -> Iterator[tuple[str, Found]]:
    """What a checkpoint holds, item by item."""
    infos: dict[str, dict[str, TensorInfo]] = {}
    for info in checkpoint.tensors:
        infos.setdefault(info.item, {})[info.name] = info
    values = checkpoint.values() or {}
    items = about(checkpoint).get("items", {})
    for item in dict.fromkeys((*infos, *values, *items)):
        if item == _items.PYTHON or (item == _items.METADATA and checkpoint.info.source != "checkpoint"):
            continue
        tree: Any = values.get(item, {})
        said = items.get(item, {})
        own = infos.get(item, {})
        if checkpoint.info.source != "checkpoint":  # names of somebody's weights are no paths
            tree, said = {name: TensorRef(name) for name in own}, {"kinds": {"": _tree.MODULE}}
        tensors, names = _tree.names_in(item, tree)
        if tensors and not own:
            continue  # it was dropped
        aliases = [name for name in tensors if name not in own]
        yield item, Found(item, own, aliases, names, said.get("kinds", {}), said.get("forms", {}), tree, said.get("facts", {}))
