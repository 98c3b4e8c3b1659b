"""Lazy saves: what may be staged behind the training loop, and what tells that it was written to too early.

A tensor is staged late only if whoever changes it waits first. An optimizer does: torch calls our hook before any of them steps, and the hook waits until
the save is staged. So late are the parameters and the state of optimizers that were seen stepping through the hook, between each two of the last three
saves, and of which no step became a part of a CUDA graph, which calls no hook when it is replayed; arrays of jax are, for they never change. All else -
buffers, averages, learning rates in tensors, whatever is below 64 KiB - is copied before a save returns.

What writes without asking - manual SGD, an embedding that renormalises its rows - raises torch's counter of changes, which is looked at when the save is
staged; fused optimizers, `.data` and numpy do not raise it, and are left to the library's witnesses: 16 cache lines of each tensor. Both only ever make a
save fail. Neither sees a write through `.data` to a few rows of a parameter: CheckpointManager(check_early_writes=True) does, and is slow.

What lies on a device is copied by a stream of its own (_device.py): the optimizer's step waits for it there, and this process does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias
from weakref import ref

from . import _arrays, _device
from ._items import Part

_LEAST_BYTES = 64 << 10  # of what the library stages late


class Large(NamedTuple):
    """An array that a lazy save need not copy at once, if nobody changes it before it is staged: of which item, and what."""

    item: str
    name: str
    array: Any
    framework: str | None  # None: nothing tells that it was changed
    is_away: bool  # on a device


def large_in(parts: list[tuple[str, Part]]) -> list[Large]:
    """Those of a state: all but what the library copies anyway. It stays what it is as long as the arrays are the same and lie where they are."""
    found = []
    for item, part in parts:
        for name, array, _ in part.tensors:
            if _bytes_of(array) >= _LEAST_BYTES:
                framework = _arrays.framework_of(array)
                is_counted = framework == "jax" or (framework == "torch" and not array.is_inference())
                found.append(Large(item, name, array, framework if is_counted else None, _device.engine_of(array) is not None))
    return found


def _bytes_of(array: Any) -> int:
    try:
        return int(array.nbytes)
    except (AttributeError, RuntimeError, ValueError):
        return _LEAST_BYTES  # of what cannot be stored, as a sparse tensor: that is told when it is bound


Optimizers: TypeAlias = "dict[int, ref[Any]]"  # by id; whose reference is another one by now is gone


class Watch:
    """Watches optimizers step, and what a lazy save stages late."""

    def __init__(self, fence: Callable[[], None], copies: _device.Copies, checks_all: bool) -> None:
        """fence: returns when what is late may be written to; must not raise, for it is called in the middle of a training step. copies: of what lies on a
        device. checks_all: every byte of what is late is checked, which cannot be done on a device."""
        self._fence, self._copies, self._process = fence, copies, os.getpid()
        self._checks_all = checks_all
        self._hook: Any = None
        self._saves = 0
        self._stepping: Optimizers = {}  # since the last save
        self._stepped: Optimizers = {}  # between the two before
        self._captured: Optimizers = {}  # whose steps are parts of graphs, which call no hook when they are replayed
        self._guarded: set[int] = set()  # ids of tensors that may be late in the save that begins
        self._late: list[tuple[str, str, Any, int]] = []  # item, name, array, torch's counter at the save
        self.is_pending = False  # a lazy save may not be staged yet
        self.waits_here = False  # some of it is the library's to stage, not a device's to copy
        self.is_trusted = True  # nothing was written too early so far

    def watch(self) -> None:
        """From now on, if torch is there. The hook of all optimizers is called before those of each, and for optimizers that nobody gave to us, too. A compiled
        step must not remember what the hook found when it was compiled."""
        torch = sys.modules.get("torch")
        if self._hook is None and torch is not None:
            from torch.optim.optimizer import register_optimizer_step_pre_hook

            self._hook = register_optimizer_step_pre_hook(torch.compiler.disable(self._before_step))

    def close(self) -> None:
        """No longer."""
        hook, self._hook = self._hook, None
        if hook is not None:
            hook.remove()
        self._late.clear()

    def _before_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        if _device.is_capturing():
            self._captured[id(optimizer)] = ref(optimizer)
        self._stepping[id(optimizer)] = ref(optimizer)
        if self.is_pending and os.getpid() == self._process:
            self.is_pending = False
            self._fence()

    def begin(self) -> bool:
        """A save begins, and the one before is staged. Whether it may be lazy."""
        self.watch()
        stepping, self._stepping = self._stepping, {}
        steady = self._steady(stepping)
        self._stepped = stepping if self._saves else {}  # what was before the first save is no interval
        self._saves += 1
        self._late.clear()
        self.waits_here = False
        self._guarded = set()
        for optimizer in steady:
            self._guard(optimizer)
        return self.is_trusted and self._saves > 2

    def _steady(self, stepping: Optimizers) -> list[Any]:
        """The optimizers that were seen stepping in both of the last intervals."""
        found = []
        for key, known in stepping.items():
            optimizer = known()
            if optimizer is not None and self._stepped.get(key) is known and self._captured.get(key) is not known:
                found.append(optimizer)
        return found

    def _guard(self, optimizer: Any) -> None:
        """What its step changes: parameters, and tensors that stand in their state by themselves."""
        for group in optimizer.param_groups:
            self._guarded.update(map(id, group["params"]))
        for state in optimizer.state.values():
            if type(state) is dict or isinstance(state, Mapping):
                self._guarded.update(map(id, state.values()))

    def late_of(self, large: list[Large]) -> set[int]:
        """The ids of those that are staged late in the save that begins; they are watched then."""
        late = set()
        for item, name, array, framework, is_away in large:
            if framework == "torch":
                version = array._version if id(array) in self._guarded else None
            else:
                version = IMMUTABLE if framework == "jax" and not array.is_deleted() else None
            if version is None or (is_away and (self._checks_all or not _device.can_be_late(array))):
                continue
            late.add(id(array))
            if not is_away:
                self._late.append((item, name, array, version))
        self.waits_here = bool(self._late)
        return late

    def written(self) -> str | None:
        """What was written to since the save, or donated; None: nothing is known to have been. Called on a thread of the library, when all is staged."""
        late, self._late = self._late, []
        return next((f"{item}/{name}" for item, name, array, version in late if _version_of(array) != version), None) or self._copies.written()


IMMUTABLE = -1  # the counter of a jax array


def _version_of(array: Any) -> int | None:
    """torch's counter of changes. None: it has none, or a jax array is gone."""
    framework = _arrays.framework_of(array)
    if framework == "jax":
        return None if array.is_deleted() else IMMUTABLE
    return None if framework != "torch" or array.is_inference() else int(array._version)
