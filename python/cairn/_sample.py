"""One seed for each sample, that depends on the run's seed, the epoch and the index alone.

A DataLoader seeds each worker once per epoch, so what an augmentation draws depends on which samples the worker had
before. A resume does not load those again. sample_seed() is the way out: it is the same for whoever loads the sample,
however often, in whichever order.

How it knows seed and epoch: the Data that iterates keeps both in two words of shared memory. They are in force in the
training process while Data asks the loader for a batch, and in a worker from its start to its end (WorkerInit), so that
workers that outlive an epoch see the next one's number, however they were started. Data writes them before it starts an
epoch and workers get no task of it earlier, so none sees a number too soon.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, MutableSequence
from multiprocessing.sharedctypes import RawArray

MASK = (1 << 64) - 1
GAMMA = 0x9E3779B97F4A7C15  # 2^64 / the golden ratio, odd

Words = MutableSequence[int]  # seed, epoch

_words: Words | None = None


def sample_seed(index: int, *, epoch: int | None = None, seed: int | None = None) -> int:
    """A seed for what is random about sample `index` in this epoch, for use in a dataset: 64 bits, from 0 to 2^64 - 1.

        def __getitem__(self, index):
            rng = np.random.default_rng(cairn.sample_seed(index))  # or torch.Generator().manual_seed(...)
            return augment(self.images[index], rng)

    index, epoch and seed are integers, and count modulo 2^64. Where a `cairn.data(...)` is asking for the batch, in its
    workers as well, epoch and seed are its own; elsewhere - also in threads that the dataset started - RuntimeError
    unless both are given. Within an epoch different indices always have different seeds: the seeds are the SplitMix64
    sequence (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014, with the constants
    of Stafford's variant 13), started at a hash of seed and epoch; `index` is the place in it.
    """
    if epoch is None or seed is None:
        if _words is None:
            raise RuntimeError(
                "sample_seed() knows seed and epoch only while a cairn.data(...) loads: give epoch= and seed= elsewhere"
            )
        seed = _words[0] if seed is None else seed
        epoch = _words[1] if epoch is None else epoch
    start = mix(mix(operator.index(seed) + GAMMA) + (operator.index(epoch) + 1) * GAMMA)
    return mix(start + (operator.index(index) + 1) * GAMMA)


def mix(word: int) -> int:
    """A bijection of 64 bits, in which every bit of the result depends on every bit given."""
    word &= MASK
    word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ word >> 27) * 0x94D049BB133111EB) & MASK
    return word ^ word >> 31


def new_words(shared: bool) -> Words:
    """shared: workers will read them."""
    return RawArray("Q", 2) if shared else [0, 0]


class InForce:
    """`with InForce(words):` sample_seed() goes by these words, in this process and in those that it forks."""

    def __init__(self, words: Words) -> None:
        self.words = words
        self.before: Words | None = None

    def __enter__(self) -> None:
        global _words
        self.before, _words = _words, self.words

    def __exit__(self, *error: object) -> None:
        global _words
        _words = self.before


class WorkerInit:
    """The worker_init_fn of a loader, with seed and epoch in force before it. It travels to workers of any start
    method.
    """

    def __init__(self, words: Words, then: Callable[[int], object] | None) -> None:
        self.words = words
        self.then = then

    def __call__(self, worker: int) -> None:
        global _words
        _words = self.words
        if self.then is not None:
            self.then(worker)
