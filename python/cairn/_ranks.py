"""Processes that train together: who they are, and how they come to one decision.

A `Group` is what a framework gives: a number for each rank, and a few exchanges. `Ranks` is what a manager needs of it. Rules:

1. Rank 0 alone opens a run, writes and decides by the clock. All ranks come to the same result, or raise.
2. Whatever fails on one rank is raised on all of them: nobody waits for a rank that has gone another way.
3. Exchanges are in making the ranks known to each other, in `save` and in `restore`, and nowhere else.
"""

from __future__ import annotations

import itertools
import os
import pickle
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol, TypeVar

from ._errors import Error, make

T = TypeVar("T")
ABSENT_AFTER_S = 60.0  # until a rank that has not come is named


class Group(Protocol):
    """Processes 0 to size - 1. Every exchange is called by all of them, in the same order."""

    rank: int
    size: int

    def gather(self, value: Any) -> list[Any] | None:
        """Everybody's value by rank, at rank 0; None elsewhere."""

    def broadcast(self, value: T) -> T:
        """Rank 0's value, everywhere."""

    def largest(self, numbers: list[int]) -> list[int]:
        """Place by place the largest of all ranks' numbers (64 bits, signed)."""

    def close(self) -> None:
        """This process exchanges nothing more."""


class Alone:
    """A group of one."""

    rank, size = 0, 1

    def gather(self, value: Any) -> list[Any] | None:
        return [value]

    def broadcast(self, value: T) -> T:
        return value

    def largest(self, numbers: list[int]) -> list[int]:
        return numbers

    def close(self) -> None:
        pass


class Torch:
    """The ranks of torch.distributed, over gloo, whatever the training itself goes over: what is exchanged is small and lies in main memory."""

    def __init__(self, name: str) -> None:
        self._torch: Any = sys.modules["torch"]
        distributed = self._torch.distributed
        self.rank, self.size = int(distributed.get_rank()), int(distributed.get_world_size())
        _roll_call(distributed, name, self.rank, self.size)
        self._group = distributed.new_group(backend="gloo")

    def gather(self, value: Any) -> list[Any] | None:
        into: list[Any] | None = [None] * self.size if self.rank == 0 else None
        self._torch.distributed.gather_object(value, into, dst=0, group=self._group)
        return into

    def broadcast(self, value: T) -> T:
        box = [value]
        self._torch.distributed.broadcast_object_list(box, src=0, group=self._group)
        return box[0]

    def largest(self, numbers: list[int]) -> list[int]:
        tensor = self._torch.tensor(numbers, dtype=self._torch.int64)
        self._torch.distributed.all_reduce(tensor, self._torch.distributed.ReduceOp.MAX, group=self._group)
        return [int(number) for number in tensor.tolist()]

    def close(self) -> None:
        if self._torch.distributed.is_initialized():
            self._torch.distributed.destroy_process_group(self._group)


_calls = itertools.count()


def _roll_call(distributed: Any, name: str, rank: int, size: int) -> None:
    """Waits until all ranks have come here, and for the same run. Goes over the store that the group was made with, for a collective would name nobody."""
    store = distributed.PrefixStore(f"cairn/{next(_calls)}", distributed.distributed_c10d._get_default_store())
    store.set(str(rank), name)
    try:
        store.wait([str(other) for other in range(size)], timedelta(seconds=ABSENT_AFTER_S))
    except RuntimeError:
        absent = [other for other in range(size) if not store.check([str(other)])]
        who = f"rank {absent[0]} is" if len(absent) == 1 else f"ranks {', '.join(map(str, absent))} are"
        message = f"{name}: {who} absent after {ABSENT_AFTER_S:g} s: every rank must make the CheckpointManager, and in the same order if there are several"
        raise make("USAGE", message) from None
    names = [store.get(str(other)).decode() for other in range(size)]
    others = [f"{other} of rank {at}" for at, other in enumerate(names) if other != names[0]]
    if others:
        raise make("USAGE", f"{names[0]} is the run of rank 0, and {', '.join(others)}: all ranks name the same directory")


def join(directory: str | os.PathLike[str]) -> Ranks:
    """The ranks that train together, all here. UsageError names those that do not come, or come for another run."""
    return Ranks(Alone() if are_alone() else Torch(os.path.abspath(directory)))


def are_alone() -> bool:
    """Whether this process trains by itself."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    return distributed is None or not distributed.is_available() or not distributed.is_initialized() or distributed.get_world_size() == 1


class Ranks:
    """What a manager needs of a group. `stop_asked`: on this rank, by a signal or a call; `stops`: on all of them, and the state was saved since."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self.rank, self.size = group.rank, group.size
        self.save_asked = self.stop_asked = self.stops = False

    def close(self) -> None:
        """Of this rank alone."""
        self._group.close()

    def agree(self, step: int, wants: Callable[[], bool]) -> bool:
        """Whether all of them save `step`: if one of them wants to, or was asked to. One small exchange. What `wants` raises on one of them is
        raised by all, and so is UsageError where they call for different steps."""
        own = self._attempt(wants)
        if self.size == 1:
            return bool(own.value_or_raise(0))
        step = step if own.error is None else 0
        wanted = own.value or self.save_asked or self.stop_asked
        save, stop, failed, high, low = self._group.largest([bool(wanted), self.stop_asked, 0 if own.error is None else self.rank + 1, step, -step])
        if failed:
            self._exchange(own, Outcome(own.rank, None, own.error).to_be_sent())
        if high != -low:
            raise make("USAGE", f"save({step}) on rank {self.rank}: some ranks save step {-low}, some {high}; all of them call save with the same step")
        self.save_asked, self.stop_asked = False, bool(stop)
        return bool(save)

    def saved(self) -> None:
        """What all of them wanted to save has begun, or failed: whoever wants to stop has little time."""
        self.stops, self.stop_asked = self.stops or self.stop_asked, False

    def lead(self, make_value: Callable[[], T]) -> T:
        """What rank 0 makes, everywhere; what it raises is raised everywhere."""
        own = self._attempt(make_value) if self.rank == 0 else None
        shared = self._group.broadcast(own.to_be_sent() if own is not None else None)
        outcome = own or shared
        assert outcome is not None
        value: T = outcome.value_or_raise(self.rank)
        return value

    def collect(self, make_value: Callable[[], T]) -> list[T]:
        """What every rank makes, by rank, at rank 0; nothing elsewhere. What one of them raises is raised by all."""
        own = self._attempt(make_value)
        return [outcome.value for outcome in self._exchange(own, own.to_be_sent())]

    def every(self, make_value: Callable[[], T]) -> T:
        """What this rank makes, while all make theirs. What one of them raises is raised by all."""
        own = self._attempt(make_value)
        self._exchange(own, Outcome(own.rank, None, own.error).to_be_sent())
        value: T = own.value
        return value

    def _exchange(self, own: Outcome, sent: Outcome) -> list[Outcome]:
        outcomes = self._group.gather(sent) or []
        failed = self._group.broadcast(next((outcome for outcome in outcomes if outcome.error is not None), None))
        own.value_or_raise(self.rank)
        if failed is not None:
            failed.value_or_raise(self.rank)
        return outcomes

    def _attempt(self, make_value: Callable[[], T]) -> Outcome:
        try:
            return Outcome(self.rank, make_value())
        except Exception as error:
            return Outcome(self.rank, None, error)


class Outcome:
    """What became of a rank's part: a value, or an error."""

    def __init__(self, rank: int, value: Any, error: Exception | None = None) -> None:
        self.rank, self.value, self.error = rank, value, error

    def to_be_sent(self) -> Outcome:
        """The same, with an error that any process can read."""
        if self.error is None:
            return self
        try:
            pickle.loads(pickle.dumps(self.error))
        except Exception:  # an exception whose class needs more than its arguments, or that holds an open file
            return Outcome(self.rank, None, Error(f"{type(self.error).__name__}: {self.error}"))
        return self

    def value_or_raise(self, here: int) -> Any:
        """The value. An error of another rank says whose it is."""
        if self.error is None:
            return self.value
        if self.rank == here:
            raise self.error
        raise self._named() from self.error

    def _named(self) -> Error:
        message = f"rank {self.rank}: {self.error}"
        if not isinstance(self.error, Error):
            return Error(f"rank {self.rank}: {type(self.error).__name__}: {self.error}")
        named = type(self.error)(message)
        vars(named).update(vars(self.error))
        if isinstance(named, OSError) and isinstance(self.error, OSError):
            named.errno = self.error.errno
        return named
