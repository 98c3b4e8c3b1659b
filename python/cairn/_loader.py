"""A loader, whichever it is, from the side of whoever must bring it back to a place: makes its iterators and says what
decides them.

What is particular to torch's DataLoader is here: its indices and worker_init_fn are ours while it makes an iterator,
which keeps them; the loader itself stays as it was. Nothing here knows of states that are saved.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from ._errors import make
from ._indices import Indices
from ._rng import GivenRNG, HostRNG, known
from ._sample import MASK, InForce, WorkerInit, new_words

T = TypeVar("T")
# Where a loader keeps what draws for it, and what wants to know the epoch.
GENERATORS = (
    "generator",
    "sampler.generator",
    "batch_sampler.generator",
    "batch_sampler.sampler.generator",
    "dataset.generator",
)
LISTENERS = ("", "sampler", "batch_sampler", "batch_sampler.sampler", "dataset")


class Loader(Generic[T]):
    """Of batches T. `stateful`: it keeps its position itself; `selects`: its sampler says which samples a batch has;
    `keeps_workers`: from one epoch to the next.
    """

    def __init__(self, loader: Any) -> None:
        self.loader = loader
        is_torch = is_torch_loader(loader)
        self.stateful = all(callable(getattr(loader, name, None)) for name in ("state_dict", "load_state_dict"))
        self.workers: int = loader.num_workers if is_torch else 0
        self.indices = Indices(index_sampler_of(loader)) if is_torch and not self.stateful else None
        self.selects = self.indices is not None and not is_stream(loader)
        self.keeps_workers = self.indices is not None and self.workers > 0 and bool(loader.persistent_workers)
        self.words = new_words(shared=self.workers > 0)
        self.own: object = None  # the iterator that a loader with persistent workers keeps, once it is one of ours

    # ---------------------------------------------------------------------------------------------------- what it is

    def length(self) -> int | None:
        """In batches, None where it cannot be told. Loaders over an IterableDataset are not asked: they remember it,
        and warn when it turns out to be wrong.
        """
        if is_stream(self.loader):
            return None
        try:
            return len(self.loader)
        except (TypeError, NotImplementedError, AttributeError):
            return None

    def shape(self) -> dict[str, Any]:
        """What decides how its samples become batches, None for what cannot be told."""
        sizes = [
            getattr(each, "batch_size", None) for each in (self.loader, getattr(self.loader, "batch_sampler", None))
        ]
        batch_size = next((size for size in sizes if isinstance(size, int)), None)
        return {"length": self.length(), "batch_size": batch_size, "workers": self.workers}

    def generators(self) -> GivenRNG:
        """Those that belong to it."""
        return GivenRNG(**generators_of(self.loader))

    def rng(self) -> HostRNG:
        """Whatever it may draw from."""
        return HostRNG(**generators_of(self.loader))

    @contextmanager
    def undrawn(self) -> Iterator[HostRNG]:
        """Whatever draws meanwhile, the generators are afterwards as they were."""
        rng = self.rng()
        before = rng.state_dict()
        try:
            yield rng
        finally:
            rng.load_state_dict(before)

    def tell(self, epoch: int) -> None:
        for listener in found(self.loader, LISTENERS).values():
            if callable(getattr(listener, "set_epoch", None)):
                listener.set_epoch(epoch)

    def heard(self) -> int | None:
        """The epoch that its sampler was told, by whomever; None if nobody wants to know it, or that cannot be read."""
        for listener in found(self.loader, LISTENERS).values():
            epoch = getattr(listener, "epoch", None)
            if callable(getattr(listener, "set_epoch", None)) and isinstance(epoch, int):
                return epoch
        return None

    # --------------------------------------------------------------------------------------------------- an iterator

    def in_force(self) -> InForce:
        """While the loader is asked for something sample_seed() goes by our words."""
        return InForce(self.words)

    def iterator(self, seed: int, epoch: int, *, skip: int, reuses: bool) -> Iterator[T]:
        """A new iterator, from its batch number `skip` on.

        seed, epoch: for sample_seed(). reuses: of a loader that keeps its workers, the iterator has those of an earlier
        one. MismatchError if there are not as many batches.
        """
        self.words[0], self.words[1] = seed & MASK, epoch & MASK
        with self.in_force():
            if self.keeps_workers:
                self.have_workers(reuses)
            with self.dressed(skip if self.selects else 0):
                batches: Iterator[T] = iter(self.loader)
            walk = self.indices.walk if self.indices is not None and self.selects else None
            if walk is not None:
                walk.advance()
                return batches
            for passed in range(skip):  # no sampler, or the loader asks it late
                if next(batches, batches) is batches:
                    raise make(
                        "MISMATCH", f"data: {skip} batches were received, and the loader now ends after {passed}"
                    )
        return batches

    def passed(self) -> int | None:
        """The digest of the indices that the last iterator passed over; None if it passed over none in its sampler."""
        walk = self.indices.walk if self.indices is not None else None
        return walk.passed if walk else None

    def received(self, count: int) -> int | None:
        """To be told when batches were received. The digest of all indices of this iterator up to there, None if
        unknown.
        """
        walk = self.indices.walk if self.indices is not None and self.selects else None
        return walk.received(count) if walk else None

    def set_position(self, position: Any, *, running: bool) -> None:
        """A stateful loader its own state. Between two epochs it may make an iterator for that, which an uninterrupted
        run does not: not at the cost of draws.
        """
        if running:
            self.loader.load_state_dict(position)
            return
        with self.undrawn(), self.in_force(), self.dressed(0):
            self.loader.load_state_dict(position)
            self.loader.state_dict()

    def have_workers(self, running: bool) -> None:
        """The first iterator of a loader that keeps its workers draws a seed for them, the later ones draw none. So
        where workers run that are not to, they go; and where none do that should, they are started, with nothing to do.
        """
        if self.own is not None and not running:
            vars(self.loader)["_iterator"] = self.own = None
        elif self.own is None and running:
            with self.undrawn(), self.dressed(0, idle=True):
                iter(self.loader)

    @contextmanager
    def dressed(self, skip: int, *, idle: bool = False) -> Iterator[None]:
        """The loader with our indices and our worker_init_fn."""
        if not is_torch_loader(self.loader):
            yield
            return
        attributes = vars(self.loader)  # a loader refuses to have its samplers assigned
        if self.keeps_workers and attributes["_iterator"] is not self.own:
            attributes["_iterator"] = None  # workers that somebody started without us know no epoch
        ours: dict[str, Any] = {}
        if self.workers:
            ours["worker_init_fn"] = WorkerInit(self.words, attributes["worker_init_fn"])
        if self.indices is not None:
            self.indices.skip, self.indices.idle, self.indices.walk = skip, idle, None
            ours["sampler" if attributes["batch_sampler"] is None else "batch_sampler"] = self.indices
        theirs = {name: attributes[name] for name in ours}
        attributes.update(ours)
        try:
            yield
        finally:
            attributes.update(theirs)
        self.own = attributes["_iterator"] if self.keeps_workers else None


def is_torch_loader(loader: object) -> bool:
    torch_data = sys.modules.get("torch.utils.data")
    return torch_data is not None and isinstance(loader, torch_data.DataLoader)


def is_stream(loader: Any) -> bool:
    """A loader of torch over an IterableDataset, whose sampler only counts."""
    return is_torch_loader(loader) and isinstance(loader.dataset, sys.modules["torch.utils.data"].IterableDataset)


def index_sampler_of(loader: Any) -> Any:
    return loader.sampler if loader.batch_sampler is None else loader.batch_sampler


def found(loader: Any, paths: tuple[str, ...]) -> dict[str, Any]:
    """What there is at these paths of attributes; each object once, by the first of its paths."""
    objects: dict[str, Any] = {}
    for path in paths:
        each = loader
        for name in path.split(".") if path else ():
            each = getattr(each, name, None)
        if each is not None and all(each is not other for other in objects.values()):
            objects[path] = each
    return objects


def generators_of(loader: Any) -> dict[str, Any]:
    return {path: each for path, each in found(loader, GENERATORS).items() if known(each) is not None}


def base_seed_of(batches: object) -> int | None:
    """What a DataLoader's iterator seeds its workers with."""
    seed = getattr(batches, "_base_seed", None)
    return seed if isinstance(seed, int) else None
