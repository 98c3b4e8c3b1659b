"""Where a training loop stands in its data, to the batch, and how it gets there again.

A loader of torch prefetches, draws from the global generators when an iterator is made, and forgets both. So Data
1. counts the batches that the loop received, not those that the loader fetched;
2. keeps the state of the generators from before the epoch's iterator was made; after a load it makes the iterator again
   from that state: the order of the samples and the seeds of the workers are those of the interrupted epoch;
3. passes over the batches received before, in the sampler where there is one, so that their samples are not loaded;
   else by receiving them again;
4. gives every generator back as it found it, and lets the saved ones be set (defer_rng) before anything of the next
   batch is drawn;
5. compares what the sampler gave and how the workers are seeded with what it was: another order is an error, not
   another run.
"""

from __future__ import annotations

import logging
import random
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from typing import Any, Generic, TypeVar

from ._errors import make
from ._loader import Loader, base_seed_of
from ._sample import MASK

T = TypeVar("T")
VERSION = 1

log = logging.getLogger("cairn")


def data(loader: Iterable[T], *, seed: int | None = None) -> Data[T]:
    """A loader that knows which of its batches you have received: `data = cairn.data(loader)`.

    `for batch in data:` is one epoch, as before; after a restore it is what was left of the interrupted one.

    loader: a DataLoader of torch, or anything else that begins anew each time it is iterated.
    seed: what cairn.sample_seed() starts from; by default what the process was seeded with when the first epoch began
    (nothing is drawn for it).

    A resume is exact for the samples, their order and their batches, and for what is drawn from the global generators
    and from those of the loader, its samplers and its dataset (attribute `generator`). It is not for
    - what a worker draws from its own generators. They are seeded as before, but draws for samples that are passed over
      are not made, and persistent workers draw on from epoch to epoch: seed an augmentation with sample_seed(index);
    - a dataset or sampler that draws from the training process's global generators in the middle of an epoch and
      remembers it (a shuffle buffer): its draws mix with the model's. Give it a generator of its own.
    Samples of an IterableDataset, and of loaders that are not torch's, are loaded again and dropped. A loader with
    state_dict and load_state_dict of its own (StatefulDataLoader) keeps its position itself; Data keeps the rest.

    A batch counts when the loop is given it: train on it before you save, and read none ahead. `next(iter(data))` at each
    step, itertools.cycle and a prefetcher around it are not exact; docs/PYTHON.md says what to write instead.

    TypeError for an iterator, which can be walked once only, and for a loader that accelerate prepared; ValueError for a loader with in_order=False, whose order
    nobody can repeat.
    """
    return Data(loader, seed=seed)


@dataclass
class Position:
    """Where a loop stands, and what its epoch began with. Saved field by field."""

    epoch: int = 0
    batches: int = 0  # received in this epoch
    running: bool = False  # from iter() to the end of the epoch; also after a break
    seed: int | None = None  # of sample_seed
    told: int | None = None  # the epoch that samplers were told
    reuses: bool = False  # this epoch, or the next one, has the persistent workers of an epoch before
    base_seed: int | None = None  # of workers that this epoch started
    digest: int | None = 0  # of the indices of the batches received; None: unknown
    start: dict[str, Any] | None = None  # the generators, before this epoch's iterator


class Data(Generic[T]):
    """What cairn.data() returns. Attributes of the loader are found here, too (`data.dataset`)."""

    def __init__(self, loader: Iterable[T], *, seed: int | None = None) -> None:
        if isinstance(loader, Data):
            raise TypeError("data: this is a cairn.data(...) already")
        if isinstance(loader, Iterator):
            raise TypeError(
                f"data: a {type(loader).__name__} is an iterator, to be walked once: give what it is made of"
            )
        if type(loader).__module__.partition(".")[0] == "accelerate":
            raise TypeError(
                "data: accelerate has prepared this loader, and keeps its place elsewhere: give the DataLoader that was prepared, and move its"
                " batches to the device in the loop"
            )
        self._loader: Loader[T] = Loader(loader)
        if self._loader.workers and not getattr(loader, "in_order", True):
            raise ValueError(
                "data: with in_order=False no resume can repeat the order of the batches: use in_order=True"
            )
        self._asked_seed = seed
        self._at = Position(seed=seed)
        self._live: Callable[[], Iteration[T] | None] = nobody
        self._opened = False
        self._failed = 0  # batches since that raised an error: passed, once another one is received
        self._loaded = False  # into the middle of an epoch, and nothing was iterated since
        self._restore: Callable[[], object] | None = None
        self._own_position: Any = None  # a stateful loader's, not given to it yet

    # ------------------------------------------------------------------------------------------------- as the loader

    def __len__(self) -> int:
        return len(self._loader.loader)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._loader.loader, name)

    def __repr__(self) -> str:
        length = self._loader.length()
        of = "" if length is None else f" of {length}"
        where = f"{self.batch}{of} batches received" if self._at.running else "not begun"
        return f"Data({type(self._loader.loader).__name__}, epoch {self.epoch}: {where})"

    @property
    def epoch(self) -> int:
        """The number of this epoch, or of the next one between two; from 0."""
        return self._at.epoch

    @property
    def batch(self) -> int:
        """How many batches of this epoch were received."""
        return self._at.batches

    def __iter__(self) -> Iteration[T]:
        """One epoch; after a load in the middle of one, what is left of that: nothing, if all had been received.

        Coming here after a `break` begins the next epoch. RuntimeError while another iteration is under way.
        """
        if self._live() is not None:
            raise RuntimeError(
                "data: an iteration over this data is under way; a second one needs a loader and cairn.data(...) of its"
                " own. If the first was given up (by an error, in a notebook), call data.end_epoch()"
            )
        if self._at.running and not self._loaded:
            self.end_epoch()
        iteration = Iteration(self)
        iteration.batches = self._open()
        self._live = weakref.ref(iteration)
        return iteration

    def set_epoch(self, epoch: int) -> None:
        """This is epoch number `epoch`: for sample_seed, and for what has a set_epoch of its own: the loader, its
        samplers (DistributedSampler), its dataset.

        After a load in the middle of an epoch only the number of that one fits - or the next, if all its batches had
        been received -, else ValueError.
        """
        if self._live() is not None:
            raise RuntimeError("data: set_epoch in the middle of an epoch")
        nothing_left = self.batch == self._loader.length() and epoch == self.epoch + 1
        if self._loaded and epoch != self.epoch and not nothing_left:
            raise ValueError(
                f"data: set_epoch({epoch}) after a load in epoch {self.epoch}, {self.batch} batches received"
            )
        if not self._loaded or epoch != self.epoch:
            self.end_epoch()
        self._at.epoch = self._at.told = epoch
        self._loader.tell(epoch)

    def end_epoch(self) -> None:
        """The rest of this epoch is not wanted: what is saved from here on continues with the next one.

        For loops that leave an epoch early and save after that: behind a `break` alone a state is still in the middle
        of the epoch. Between two epochs nothing happens.
        """
        self._live = nobody
        if self._at.running:
            self._at = Position(
                self.epoch + 1, seed=self._at.seed, told=self._at.told, reuses=self._loader.keeps_workers
            )
            self._failed, self._loaded, self._own_position = 0, False, None

    # ----------------------------------------------------------------------------------------------- saved and loaded

    def state_dict(self) -> dict[str, Any]:
        """The position in plain values, some 10 KB (and what a stateful loader adds)."""
        own = self._own_position
        if self._loader.stateful and self._opened and own is None:  # earlier it would make an iterator to have a state
            own = self._loader.loader.state_dict()
        position = vars(self._at) | ({} if self._at.running else {"told": self._told()})
        return {
            "version": VERSION,
            **position,
            "loader": self._loader.shape(),
            "stateful": self._loader.stateful,
            "position": own,
            "generators": self._loader.generators().state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes to a saved position: the next iteration, or one that is under way, continues there.

        cairn.MismatchError, with nothing changed, if the loader cannot continue there: another length or batch size in
        the middle of an epoch, other generators, another seed than the one that was asked for.
        """
        self._compare(state)
        at = Position(**{field.name: state[field.name] for field in fields(Position)})
        self._loader.generators().load_state_dict(state["generators"])
        self._at, self._own_position = at, state["position"]
        self._loaded, self._failed, self._restore = at.running, 0, None
        at.seed = self._asked_seed if at.seed is None else at.seed
        at.reuses = at.reuses and self._loader.keeps_workers
        if at.reuses and not self._loader.selects:
            log.warning(
                "data: what an IterableDataset's copies in persistent workers keep from epoch to epoch is not saved"
            )
        if at.running and state["loader"]["workers"] != self._loader.workers:
            message = "data: %s workers when the state was saved, %s here: only what workers draw by themselves differs"
            log.warning(message, state["loader"]["workers"], self._loader.workers)
        if at.told is not None:
            self._loader.tell(at.told)
        iteration = self._live()
        if iteration is not None:
            iteration.batches = None

    def check(self, state: Mapping[str, Any]) -> None:
        """Raises what load_state_dict would, and changes nothing."""
        self._compare(state)
        self._loader.generators().check(state["generators"])

    def defer_rng(self, restore: Callable[[], object]) -> bool:
        """Offers what sets the random generators to their saved states; True if it was taken, and will be called once.

        In the middle of an epoch making the iterator and passing over batches draws, and so does what a program does
        before its loop: the generators are to be set just before the next batch is asked for. Between two epochs
        (False) they must be set before the iterator is made: at once.
        """
        if self._loaded:
            self._restore = restore
        return self._loaded

    def _compare(self, state: Mapping[str, Any]) -> None:
        """Raises, by name and with both values, what keeps this loader from continuing there."""
        _check_version(state)
        saved, here = state["loader"], self._loader.shape()
        if state["stateful"] != self._loader.stateful:
            whose = {True: "the loader itself", False: "cairn.data"}
            was, now = whose[state["stateful"]], whose[self._loader.stateful]
            raise make("MISMATCH", f"data: the position was kept by {was}, and here by {now}")
        if self._asked_seed is not None and state["seed"] not in (None, self._asked_seed):
            raise make("MISMATCH", f"data: the seed was {state['seed']}, and here it is {self._asked_seed}")
        if not state["running"]:
            return  # the next epoch may be another one
        names = ["length", "batch_size"] + ([] if self._loader.selects else ["workers"])
        wrong = [f"{name} was {saved[name]} and is {here[name]}" for name in names if saved[name] != here[name]]
        if wrong:
            where = f"the middle of epoch {state['epoch']}"
            raise make("MISMATCH", f"data: saved in {where}, whose rest this loader cannot give: {'; '.join(wrong)}")

    # ---------------------------------------------------------------------------------------- another number of ranks

    def taken_over(self, state: Mapping[str, Any], was: int, now: int) -> tuple[dict[str, Any], str]:
        """Where one of `now` ranks goes on for a state of one of `was`, as a state of this loader, and what that is in
        words: "" where it is the same.

        In the middle of an epoch it is that epoch. Passed over are as many batches as before, if length and batch size
        are what they were; what all ranks together had received, in whole batches, if the lengths say that they share
        the epoch; nothing, where neither can be told.
        """
        _check_version(state)
        if not state["running"] or was == now:
            return dict(state), ""
        batches = self._batches_for(state, was, now)
        place = {"batches": batches or 0, "digest": None, "base_seed": None, "position": None}
        kept = {"loader": self._loader.shape(), "stateful": self._loader.stateful}
        now_at = "begins anew, for it cannot be told" if batches is None else f"goes on behind batch {batches} of each"
        epoch = f"epoch {state['epoch']}, of which each had received {state['batches']} batches"
        return {**state, **place, **kept}, f"{epoch}, {now_at}"

    def _batches_for(self, state: Mapping[str, Any], was: int, now: int) -> int | None:
        """How many are to be passed over; None: it cannot be told."""
        shapes = state["loader"], self._loader.shape()
        (length, size), (own_length, own_size) = ((shape["length"], shape["batch_size"]) for shape in shapes)
        is_known = None not in (length, own_length) and (size is None) == (own_size is None)
        if not is_known or state["stateful"] or self._loader.stateful:
            return None
        if (length, size) == (own_length, own_size):
            return int(state["batches"])
        step, own_step = was * (size or 1), now * (own_size or 1)  # samples that all ranks receive at a time
        if abs(length * step - own_length * own_step) >= step + own_step:
            return None  # more than the last batches of one epoch explain
        if state["batches"] >= length:
            return int(own_length)
        return int(min(state["batches"] * step // own_step, own_length))

    # ------------------------------------------------------------------------------------------------------- an epoch

    def _next(self, iteration: Iteration[T]) -> T:
        if self._live() is not iteration:
            raise RuntimeError("data: this iteration was given up by end_epoch()")
        if iteration.batches is None:
            iteration.batches = self._open()  # there was a load in the middle of it
        self._set_deferred()
        try:
            with self._loader.in_force():
                batch = next(iteration.batches)
        except StopIteration:
            iteration.over = True
            self.end_epoch()
            raise
        except Exception:
            self._failed += 1
            raise
        count, self._failed = self._failed + 1, 0
        self._at.batches += count
        self._at.digest = self._loader.received(count)
        return batch

    def _open(self) -> Iterator[T]:
        return self._continue() if self._loaded else self._begin()

    def _begin(self) -> Iterator[T]:
        self._set_deferred()
        at = self._at
        at.seed = process_seed() if at.seed is None else at.seed
        at.told = self._told()
        at.start = self._loader.rng().state_dict()
        batches = self._iterator()
        at.base_seed = None if at.reuses else base_seed_of(batches)
        at.running = True
        return batches

    def _continue(self) -> Iterator[T]:
        """The iterator of the epoch that was interrupted, from where it was; the generators stay as they are."""
        at = self._at
        assert at.start is not None
        with self._loader.undrawn() as rng:
            rng.load_state_dict(at.start)
            batches = self._iterator()
        passed, base_seed = self._loader.passed(), base_seed_of(batches)
        if None not in (passed, at.digest) and passed != at.digest:
            order = f"the sampler's first {at.batches} batches of epoch {at.epoch} are others than those received"
            raise make("MISMATCH", f"data: {order}: what decides the order is not in the state, or was changed")
        if not at.reuses and at.base_seed is not None and base_seed != at.base_seed:
            raise make("MISMATCH", f"data: epoch {at.epoch} seeded its workers with {at.base_seed}, now {base_seed}")
        at.base_seed = None if at.reuses else base_seed
        self._loaded = False
        return batches

    def _iterator(self) -> Iterator[T]:
        skip = self._at.batches
        if self._loader.stateful:
            own, self._own_position, skip = self._own_position, None, 0
            if own is not None:
                self._loader.set_position(own, running=self._loaded)
        self._opened = True
        return self._loader.iterator(self._at.seed or 0, self.epoch, skip=skip, reuses=self._at.reuses)

    def _set_deferred(self) -> None:
        restore, self._restore = self._restore, None
        if restore is not None:
            restore()

    def _told(self) -> int | None:
        heard = self._loader.heard()
        return self._at.told if heard is None else heard


class Iteration(Iterator[T]):
    """One epoch under way. It owns the loader's iterator, whose workers end with it."""

    def __init__(self, source: Data[T]) -> None:
        self.source = source
        self.batches: Iterator[T] | None = None
        self.over = False

    def __next__(self) -> T:
        if self.over:
            raise StopIteration
        return self.source._next(self)


def _check_version(state: Mapping[str, Any]) -> None:
    if state.get("version") != VERSION:
        raise make("MISMATCH", f"data: a state of version {state.get('version')}, and this is version {VERSION}")


def nobody() -> None:
    """A weak reference to no iteration."""


def process_seed() -> int:
    """What the program seeded torch with, else a number that Python's generator decides; nothing is drawn."""
    if "torch" in sys.modules:
        return int(sys.modules["torch"].initial_seed()) & MASK
    generator = random.Random()
    generator.setstate(random.getstate())
    return generator.getrandbits(64)
