"""verify_resume: the proof, on the user's own code, that a resumed run goes on with the bits of one that was never stopped.

Three runs from the same start, each in a new process where that can be:

    reference   2k steps
    first       k steps, a checkpoint, and one step more, as a run does that is killed some time after a save
    resumed     restores that checkpoint and does the k steps that are left

`reference` and `first` begin with the same random numbers, whoever seeds nothing; `resumed` with others, as it will in earnest (_begin.py).
Every loss of `first` and `resumed` and the whole state at the end are compared with the reference. Where they differ, the states of `first` and `resumed`
at the checkpoint and one step behind it tell what differed first. Looking at a state calls what a save calls, so the reference is looked at when it is over.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import math
import multiprocessing
import os
import pickle
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

from . import _begin, _capture, _compare, _environment, _items, _native
from ._checkpoint import Checkpoint
from ._compare import Difference
from ._data import Data
from ._errors import Error, make
from ._manager import CheckpointManager
from ._rng import RNG

Role = Literal["reference", "first", "resumed"]
State = MutableMapping[str, Any]
PROCESS = "process-rng"  # the item of a snapshot that holds the generators of the process, whether the state has them or not
log = logging.getLogger("cairn")


@dataclass(frozen=True, slots=True)
class ResumeProof:
    """What was shown. It holds for processes like these: the same `environment` (kind of machine, versions, threads, world size)."""

    steps: int
    resumed_at: int
    leaves: int
    bytes: int
    new_processes: bool
    environment: Mapping[str, object]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = ", ".join(f"{name} {value}" for name, value in self.environment.items())
        how = "in a new process" if self.new_processes else "with new objects in the same process"
        first = f"the same bits: {self.steps} steps, and {self.resumed_at} of them, resumed {how}: {self.leaves} leaves, {self.bytes:,} bytes, every loss"
        return "\n".join((first, f"shown for {facts}", *self.notes))


class ResumeDiffers(Error):
    """A resumed run is not the run that was never stopped.

    `step`: after how many steps that was seen first, None before the first one. `differences`: of the leaves then; `hints`: what may be the cause.
    """

    def __init__(self, message: str, step: int | None = None, differences: Iterable[Difference] = (), hints: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.code = "MISMATCH"
        self.step, self.differences, self.hints = step, list(differences), list(hints)


def verify_resume(
    make_state: Callable[[], State],
    train_step: Callable[[State], Any],
    k: int,
    *,
    ignore: Iterable[str] = (),
    folder: str | os.PathLike[str] | None = None,
) -> ResumeProof:
    """Shows that a run of 2k steps that is resumed after k of them has the bits of one that is not: every loss, every leaf of the state, every generator.

        def make_state():                        # as your program begins: seeds, model, optimizer, data
            torch.manual_seed(0)
            ...
            return {"model": model, "optimizer": optimizer, "data": cairn.data(loader), "rng": cairn.RNG()}

        def train(state):                        # one optimizer step, and its loss; or a generator that yields the loss after each one
            while True:
                for batch in state["data"]:
                    ...
                    yield loss

        print(cairn.verify_resume(make_state, train, 20))

    Both must be found by name in a module that a new process can import, in a script behind `if __name__ == "__main__"`. Functions that cannot - of a
    notebook, inside of other functions - run in this process, with new objects; the proof says so, and is weaker: what hides in the process is found only if
    `make_state` does not set it.

    What you do not seed is the same in the runs that nobody stops, and other random numbers in the resumed one, in which all that matters must come out of
    the checkpoint. A set of texts has another order there, too, unless PYTHONHASHSEED is set.

    k: steps before and after the checkpoint; let it reach beyond an epoch's end. ignore: regular expressions for leaves that may differ, such as times.
    folder: for about nine copies of the state; by default below the system's place for temporary files, and removed.

    Raises ResumeDiffers, which names the leaf that differs first, with both values. It shows nothing for other machines, versions, numbers of threads or
    of processes.
    """
    if type(k) is not int or k < 1:
        raise ValueError(f"k is a number of optimizer steps, at least 1, not {k!r}")
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise make("USAGE", 'verify_resume starts new processes, which import this script: put the call behind if __name__ == "__main__":')
    scratch = Path(tempfile.mkdtemp(prefix="cairn-verify-", dir=folder))
    try:
        return _Proof(make_state, train_step, k, tuple(ignore), scratch).run()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@dataclass
class _Outcome:
    """What a run tells: its losses, first the one of `begin` + 1, and what is good to know."""

    begin: int
    losses: list[float]
    loose_loaders: int
    environment: dict[str, object]
    notes: list[str] = field(default_factory=list)
    numbers: bytes = b""  # that it began with: its generators, pickled


# ------------------------------------------------------------------------------------------------------------------ a run


@dataclass
class _Steps:
    """train_step, whichever of its two forms it has."""

    train_step: Callable[[State], Any]
    state: State
    going: Iterator[Any] | None = None

    def next(self) -> float:
        result: Any
        if self.going is None:
            result = self.train_step(self.state)
            if not isinstance(result, Iterator):
                return _loss(result)
            self.going = result
        result = next(self.going, None)
        if result is None:
            raise make("USAGE", "train_step, a generator, ended: it must go on, over as many epochs as are asked for")
        return _loss(result)


def _loss(value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError):
        raise TypeError(f"train_step gives the loss, a number, not a {type(value).__name__}") from None


@dataclass
class _Part:
    """One of the three runs. It travels to the process that it is done in."""

    role: Role
    make_state: Callable[[], State]
    train_step: Callable[[State], Any]
    k: int
    scratch: Path
    numbers: bytes | None = None  # to begin with

    def run(self) -> _Outcome:
        numbers = self._take_numbers()
        state = self.make_state()
        begin = self._restore(state) if self.role == "resumed" else 0
        steps, losses = _Steps(self.train_step, state), list[float]()
        if self.role != "resumed":
            self._snapshot(state, 0)
        for step in range(begin + 1, {"reference": 2 * self.k, "first": self.k + 1, "resumed": 2 * self.k}[self.role] + 1):
            losses.append(steps.next())
            if self.role == "first" and step == self.k:
                self._save(state)
                self._snapshot(state, step)
            elif step == 2 * self.k or (step == self.k + 1 and self.role != "reference"):
                self._snapshot(state, step)
        notes = [note for item in _items.items_of(state) for note in item.capture().notes]
        return _Outcome(begin, losses, _loose_loaders(), _environment.environment(), notes, numbers)

    def _take_numbers(self) -> bytes:
        """The first run begins with the numbers that the reference began with: those that its modules have seeded are the same already."""
        rng = RNG()
        if self.numbers is not None:
            rng.load_state_dict(pickle.loads(self.numbers), strict=False)
        return pickle.dumps(rng.state_dict())

    def _manager(self, state: State) -> CheckpointManager:
        return CheckpointManager(self.scratch / "run", state, mode="sync", stop_signals=())

    def _save(self, state: State) -> None:
        with self._manager(state) as manager:
            manager.save(self.k, force=True)

    def _restore(self, state: State) -> int:
        with self._manager(state) as manager:
            restored = manager.restore()
        for name, value in restored.state.items():
            if not hasattr(state[name], "load_state_dict"):
                state[name] = value  # arrays of jax, tuples: they came back as new ones
        self._snapshot(state, restored.step)
        return restored.step

    def _snapshot(self, state: State, step: int) -> None:
        items = [*_items.items_of(state), _items.RandomNumbers(PROCESS, RNG())]
        captured, _ = _capture.capture(items, {})
        _native.save_folder(os.fspath(self.scratch / f"{self.role}-{step}"), captured)


def _loose_loaders() -> int:
    """DataLoaders of the process that no cairn.data() holds."""
    gc, torch_data = importlib.import_module("gc"), sys.modules.get("torch.utils.data")
    if torch_data is None:
        return 0
    objects = gc.get_objects()
    held = {id(each._loader.loader) for each in objects if type(each) is Data}
    return sum(1 for each in objects if issubclass(type(each), torch_data.DataLoader) and id(each) not in held)


# ----------------------------------------------------------------------------------------------------------- processes


def _can_travel(function: Callable[..., Any]) -> bool:
    """Whether a new process finds it by its name."""
    main = sys.modules["__main__"]
    if getattr(function, "__module__", None) == "__main__" and not (getattr(main, "__file__", None) or getattr(main, "__spec__", None)):
        return False  # typed in
    try:
        return bool(pickle.dumps(function))
    except Exception:  # whatever its pickling raises: it cannot
        return False


def _work(part: _Part, answer: Connection) -> None:
    """The main function of a new process."""
    _begin.seed_imports(_begin.seed_of(part.role))
    try:
        answer.send(part.run())
    except BaseException:
        answer.send(traceback.format_exc())
        raise SystemExit(1) from None


def _in_new_process(part: _Part) -> _Outcome:
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(part, sender), name=f"cairn-{part.role}")
    with _hash_seed(part.role):
        process.start()
    sender.close()
    try:
        outcome = receiver.recv()
    except EOFError:
        process.join()
        raise Error(f"the {part.role} run ended with status {process.exitcode} before it told anything: what it wrote stands above") from None
    finally:
        process.join()
    if isinstance(outcome, str):
        raise Error(f"the {part.role} run failed:\n{outcome}")
    assert isinstance(outcome, _Outcome)
    return outcome


@contextlib.contextmanager
def _hash_seed(role: Role) -> Iterator[None]:
    """For processes that are started meanwhile."""
    before = os.environ.get(_begin.HASH_SEED)
    os.environ[_begin.HASH_SEED] = _begin.hash_seed(role)
    try:
        yield
    finally:
        if before is None:
            del os.environ[_begin.HASH_SEED]
        else:
            os.environ[_begin.HASH_SEED] = before


def _scramble() -> None:
    """Other random numbers than any run before had."""
    seed = int.from_bytes(os.urandom(4), "little")
    random.seed(seed)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


@contextlib.contextmanager
def _own_numbers_kept() -> Iterator[None]:
    rng = RNG()
    before = rng.state_dict()
    try:
        yield
    finally:
        rng.load_state_dict(before, strict=False)


# ----------------------------------------------------------------------------------------------------------- comparing


@dataclass
class _Proof:
    make_state: Callable[[], State]
    train_step: Callable[[State], Any]
    k: int
    ignore: tuple[str, ...]
    scratch: Path

    def run(self) -> ResumeProof:
        travels = _can_travel(self.make_state) and _can_travel(self.train_step)
        self.notes = () if travels else ("make_state and train_step cannot be imported by a new process: what hides in this one may have been missed",)
        for note in self.notes:
            log.warning("%s", note)
        with contextlib.nullcontext() if travels else _own_numbers_kept():
            reference = self._do("reference", travels)
            first = self._do("first", travels, reference.numbers)
            self._check_repeatable(reference, first)
            self._check_resumed(reference, first, self._do("resumed", travels))
        with Checkpoint(self.scratch / f"reference-{2 * self.k}") as end:
            leaves = sum(len(item) for name, item in end.items() if name != PROCESS)
            return ResumeProof(2 * self.k, self.k, leaves, end.info.tensor_bytes, travels, reference.environment, self.notes)

    def _do(self, role: Role, travels: bool, numbers: bytes | None = None) -> _Outcome:
        part = _Part(role, self.make_state, self.train_step, self.k, self.scratch, numbers)
        if travels:
            return _in_new_process(part)
        _scramble()
        return part.run()

    def _between(self, was: str, now: str) -> list[Difference]:
        """Leaves that differ. A generator of the process counts where the reference drew from it, and the state does not hold it."""
        with Checkpoint(self.scratch / was) as old, Checkpoint(self.scratch / now) as new:
            found = _compare.differing(old, new, self.ignore)
            holds_them = has_generators(new)
        moved = () if holds_them else self._moved()
        own = [each for each in found if not each.path.startswith(f"{PROCESS}/")]
        return own + [each for each in found if each.path.startswith(moved)] if moved else own

    def _moved(self) -> tuple[str, ...]:
        """Of the generators of the process, those that the reference drew from."""
        with Checkpoint(self.scratch / "reference-0") as old, Checkpoint(self.scratch / f"reference-{2 * self.k}") as new:
            paths = [each.path for each in _compare.differing(old, new)]
        return tuple({"/".join(path.split("/")[:3]) for path in paths if path.startswith(f"{PROCESS}/")})

    def _check_repeatable(self, reference: _Outcome, first: _Outcome) -> None:
        """Without a resume two runs must be one, or nothing can be shown."""
        differences = self._between("reference-0", "first-0")
        if differences:
            raise _differs("make_state() does not give the same state twice", 0, differences, [_SEED])
        at = _first_other(reference, first)
        if at is not None:
            loss = Difference("loss", "", repr(reference.losses[at - 1]), repr(first.losses[at - 1]))
            raise _differs("two runs from the same start differ without any resume", at, [loss], [_SEED, _KERNELS, _TIME, _OUTSIDE])

    def _check_resumed(self, reference: _Outcome, first: _Outcome, resumed: _Outcome) -> None:
        k, end = self.k, 2 * self.k
        last = self._between(f"reference-{end}", f"resumed-{end}")
        other = _first_other(reference, resumed)
        if other is None and not last:
            return
        restored = self._between(f"first-{k}", f"resumed-{k}")
        next_one = restored or self._between(f"first-{k + 1}", f"resumed-{k + 1}")
        step = k if restored else k + 1 if next_one else other or end
        differences = restored or next_one or last
        if not differences:
            assert other is not None
            differences = [Difference("loss", "", repr(reference.losses[other - 1]), repr(resumed.losses[other - k - 1]))]
        with Checkpoint(self.scratch / f"resumed-{end}") as checkpoint:
            causes = [*first.notes, *hints(checkpoint, differences, resumed.loose_loaders, bool(self._moved()))]
        raise _differs("the resumed run is not the one that was not stopped", step, differences, causes)


def _first_other(reference: _Outcome, other: _Outcome) -> int | None:
    """The step whose loss differs first."""
    for at, loss in enumerate(other.losses, other.begin + 1):
        expected = reference.losses[at - 1]
        if loss.hex() != expected.hex() and not (math.isnan(loss) and math.isnan(expected)):
            return at
    return None


def _differs(what: str, step: int, differences: list[Difference], causes: list[str]) -> ResumeDiffers:
    more = f" ({len(differences) - 1} more leaves differ, too)" if len(differences) > 1 else ""
    lines = [f"{what}: after step {step} {differences[0]}{more}", *(f"perhaps: {cause}" for cause in dict.fromkeys(causes))]
    return ResumeDiffers("\n".join(lines), step, differences, causes)


# --------------------------------------------------------------------------------------------------------------- causes

_SEED = "something draws before it is seeded: seed random, numpy and torch first of all"
_KERNELS = "kernels that give other bits each time: torch.use_deterministic_algorithms(True)"
_TIME = "a schedule, or a stop, that goes by the clock: let it go by steps"
_OUTSIDE = "something that training rests on is not in the state - a counter, a cache, an iterator -: put it in, cairn.Values(count=0)"
_NUMBERS = "random numbers are drawn, and their generators are not in the state: add cairn.RNG()"
_POSITION = "no cairn.data(loader) in the state: a DataLoader of torch forgets where it was"


def has_generators(checkpoint: Checkpoint) -> bool:
    """Whether a cairn.RNG() is in the state, by the form that it has in a checkpoint."""
    return any({"process", "generators"} <= set(_keys(checkpoint, item)) for item in checkpoint if item != PROCESS)


def has_position(checkpoint: Checkpoint) -> bool:
    """Whether a cairn.data() is in the state."""
    return any({"batches", "loader", "start"} <= set(_keys(checkpoint, item)) for item in checkpoint)


def _keys(checkpoint: Checkpoint, item: str) -> list[str]:
    tree = (checkpoint.native.values() or {}).get(item, {})
    return list(tree) if isinstance(tree, dict) else []


def hints(checkpoint: Checkpoint, differences: list[Difference], loose_loaders: int | None, draws: bool) -> list[str]:
    """What may be the cause, the likeliest first. loose_loaders: DataLoaders outside of cairn.data(), None where nobody knows."""
    causes: list[str] = []
    if draws and not has_generators(checkpoint):
        causes.append(_NUMBERS)
    if not has_position(checkpoint) and loose_loaders is None:
        causes.append(_POSITION)
    if loose_loaders:
        causes.append(f"{loose_loaders} DataLoader(s) that no cairn.data(...) wraps: one forgets where it was; wrap it and put it into the state")
    return [*causes, _OUTSIDE, _KERNELS, _TIME]
