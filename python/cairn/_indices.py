"""What stands in for a loader's sampler: it can go past batches that were received before, and knows which ones it
gave.
"""

from __future__ import annotations

import marshal
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any

from ._errors import make


class Indices:
    """A batch sampler (or a sampler, for a loader that does not batch) as it is, but for the batches passed over.

    A loader of torch keeps this object for as long as its workers live, so one Indices serves all epochs: `skip` and
    `idle` count for the walks begun after they were set.
    """

    def __init__(self, sampler: Any) -> None:
        self.sampler = sampler
        self.skip = 0
        self.idle = False  # gives nothing, and asks the sampler for nothing
        self.walk: Walk | None = None  # the last one begun

    def __iter__(self) -> Walk:
        # Loaders with workers begin two walks and use the second; a sampler that draws when it is asked for an iterator
        # must be asked as often.
        self.walk = Walk(iter(()), 0) if self.idle else Walk(iter(self.sampler), self.skip)
        return self.walk

    def __len__(self) -> int:
        return len(self.sampler)

    def __getattr__(self, name: str) -> Any:
        if name == "sampler":
            raise AttributeError(name)  # not set yet: a copy is being made
        return getattr(self.sampler, name)


class Walk(Iterator[Any]):
    """One way through a sampler."""

    def __init__(self, indices: Iterator[Any], skip: int) -> None:
        self.indices = indices
        self.skip = skip
        self.digest: int | None = 0  # of all given so far, those passed over included
        self.passed: int | None = None  # of those passed over, if any
        self.ahead: deque[int | None] = (
            deque()
        )  # the digest after each batch that the loader has asked for and not handed out

    def __next__(self) -> Any:
        self.advance()
        index = next(self.indices)
        self.digest = chained(self.digest, index)
        self.ahead.append(self.digest)
        return index

    def advance(self) -> None:
        """Passes over what is to be passed over, now. Later it would draw from generators that have been set to a later
        state.
        """
        skip, self.skip = self.skip, 0
        for passed in range(skip):
            try:
                self.digest = chained(self.digest, next(self.indices))
            except StopIteration:
                raise make(
                    "MISMATCH",
                    f"data: {skip} batches of this epoch were received, and the sampler now ends after {passed}",
                ) from None
        if skip:
            self.passed = self.digest

    def received(self, count: int) -> int | None:
        """The digest after `count` batches more were handed out; None where it cannot be told."""
        digest: int | None = None
        for _ in range(count):
            digest = self.ahead.popleft() if self.ahead else None
        return digest


def chained(digest: int | None, index: Any) -> int | None:
    """The CRC-32 of all indices up to this one. None, from then on, for indices that are no plain values.

    marshal writes numbers, texts and lists of them the same way in every process, and nothing else; version 2 knows no
    references, so equal is equal.
    """
    if digest is None:
        return None
    try:
        return zlib.crc32(marshal.dumps(index, 2), digest)
    except ValueError:
        return None
