"""CheckpointManager: all that a training loop needs of Cairn."""

from __future__ import annotations

import atexit
import json
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self, SupportsFloat, SupportsIndex, TypeVar

from . import _capture, _device, _environment, _items, _lazy, _native, _progress, _ranks
from ._attachments import Attached, Attachments
from ._checkpoint import Checkpoint
from ._errors import EarlyWriteError, Error, FencedError, ForkedError, LockedError, NotFoundError, UsageError, make
from ._policy import Keep, Save
from ._report import Report, Restored
from ._trial import Trial

Mode = Literal["eager", "lazy", "sync"]
Differing = Literal["keep", "override", "error"]
_T = TypeVar("_T")
log = logging.getLogger("cairn")

_NO_ATTEMPT = (UsageError, ForkedError, LockedError)  # refused: nothing was to be saved that is lost now
_open_managers: list[CheckpointManager] = []  # not to be collected: a save may run, and somebody must be told what became of it
_unsaved: dict[Path, Error] = {}  # runs whose last save failed while something else went wrong: the program does not end well


class CheckpointManager:
    """Saves a run's state by rules, keeps what is to be kept, and brings it back exactly.

        state = {"model": model, "optimizer": optimizer, "data": data, "rng": cairn.RNG(), "run": run}
        with cairn.CheckpointManager("ckpts/gpt-small", state, save=cairn.Save(every_steps=500)) as mngr:
            step = mngr.restore().step
            for batch in data:
                train(batch)
                step += 1
                mngr.save(step)

    A step is the number of optimizer steps completed. `save` returns when the state is copied and goes on behind; what fails there is raised by the next
    call, or by `close`. Without `state` nothing is opened for writing before `restore` or `save`: a reader beside the trainer uses it like that. A program
    whose last save failed does not exit with 0.

    directory: the run's folder, made if it is missing; the folder above it is the store. mode: "eager"; "lazy" copies parameters and optimizer states
    while training goes on, and the next optimizer step waits for what is left of that (_lazy.py says what is copied when); "sync" returns when durable.
    config: recorded with secrets redacted and compared at a restore; differing says what to do about a key that differs: "keep" what it is now, "override"
    it by what was saved, or "error", for all or by key ("optimizer.lr", or "optimizer" for all below). attachments: files to lie beside the weights, by
    name: paths, or their bytes; or a tokenizer, whose files are attached. A transformers or peft model as entry "model" attaches its config by itself.
    shard_bytes: larger files are split, with the Hub's index; 0: 5 GB. on_commit: called with the checkpoint's path when one is durable, on a thread of the
    library's, one at a time; what it raises is logged. on_error "warn" logs a failed save and goes on, `tolerate` times in a row at most (None: always).
    take_over: go on though another process writes the run; that one is fenced. check_early_writes: lazy saves digest everything twice, to be sure that
    nothing writes too early; slow.

    stop_signals: each makes the next `save` save, then `should_stop` true. They are watched from the main thread only, while the manager is open for
    writing. An earlier handler of Python's is called after that; what was ignored, or would have ended the process, does not any more. Handlers that
    are not Python's are left alone.

    With several ranks of torch.distributed each makes the manager, and all of them call `restore` and `save`, with the same steps: rank 0 writes, its rules,
    metrics and clock count, and every rank's random generators and data position are saved with it. Each rank reads the checkpoint by itself, so all must
    see the directory. What fails on one of them is raised on all. Making the manager names ranks that are absent after 60 s; without `state` that is done by
    the first `restore` or `save`. All other calls are of one rank alone.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        state: Mapping[str, Any] | None = None,
        *,
        save: Save | None = None,
        keep: Keep | None = None,
        mode: Mode = "eager",
        config: dict[str, Any] | None = None,
        differing: Differing | Mapping[str, Differing] = "keep",
        attachments: Attachments | None = None,
        on_commit: Callable[[Path], object] | None = None,
        on_error: Literal["raise", "warn"] = "raise",
        tolerate: int | None = None,
        take_over: bool = False,
        stop_signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGUSR1),
        check_early_writes: bool = False,
        arena_bytes: int = 0,
        io_threads: int = 0,
        shard_bytes: int = 0,
    ) -> None:
        _check_word("mode", mode, ("eager", "lazy", "sync"))
        _check_word("on_error", on_error, ("raise", "warn"))
        for word in [differing] if isinstance(differing, str) else differing.values():
            _check_word("differing", word, ("keep", "override", "error"))
        _environment.warn_of_names(() if isinstance(differing, str) else differing, config or {})
        self._trial = Trial.of()
        self.directory = self._trial.place(directory)
        self._save_rule, self._keep_rule, self._mode = save or Save(), keep or Keep(), mode
        self._config, self._differing = config, differing
        self._attached = Attached(attachments)
        self._on_commit, self._on_error, self._tolerate = on_commit, on_error, tolerate
        self._take_over, self._arena_bytes, self._io_threads, self._shard_bytes = take_over, arena_bytes, io_threads, shard_bytes
        self._check_early_writes, self._stop_signals = check_early_writes, tuple(stop_signals)
        self._process = os.getpid()
        self._handlers: dict[int, Any] = {}  # those before ours; asked also by handlers that still lead to us
        self._run: _native.Run | None = None  # rank 0's
        self._ranks = _ranks.Ranks(_ranks.Alone())
        self._is_open = False
        self._closed = False
        self._stopped = False  # what should_stop was when we closed
        self._saved_step: int | None = None
        self._restored_step: int | None = None
        self._failures = 0  # in a row
        self._failure: Error | None = None  # of the last save
        self._untold: Error | None = None  # what a fence met, for the next call
        self._position = (0, 0)
        self._copies = _device.Copies()
        self._watch = _lazy.Watch(self._wait_before_step, self._copies, check_early_writes)
        self._capturer = _capture.Capturer(self._copies)
        self._is_grown = False  # optimizers have made their state: memory for saves was asked for since
        self._state: dict[str, Any] = {}
        self._items: list[_items.Item] = []
        self._take(state)
        if state is not None:
            self._open()

    # --------------------------------------------------------------------------------------------------------- opening, closing

    def _open(self) -> None:
        if self._closed:
            raise make("USAGE", f"{self.directory}: the manager is closed")
        if os.getpid() != self._process:
            raise make(
                "FORKED", f"{self.directory}: the manager belongs to process {self._process}, this is a fork of it (a DataLoader's worker?): save there"
            )
        if not self._is_open:
            self._ranks = _ranks.join(self.directory)
            self._ranks.lead(self._open_run)
            self._is_open = True
            _open_managers.append(self)
            self._watch_signals()
            if self._mode == "lazy":
                self._watch.watch()

    def _writer(self) -> _native.Run:
        """The run, which rank 0 alone has open."""
        self._open()
        if self._run is None:
            raise make("USAGE", f"{self.directory}: this is rank {self._ranks.rank}, and rank 0 alone knows: ask there")
        return self._run

    def _open_run(self) -> None:
        self._run = _native.Run(
            os.fspath(self.directory),
            keep_last=self._keep_rule.last or 0,
            keep_best=self._keep_rule.best if self._keep_rule.last is not None else 0,
            best_metric=self._keep_rule.metric,
            best_is_max=self._keep_rule.mode == "max",
            save_every_steps=self._save_rule.every_steps or 0,
            save_every_ms=round((self._save_rule.every_seconds or 0) * 1000),
            message=log.warning,
            committed=self._committed,
            written=self._watch.written,
            check_early_writes=self._check_early_writes,
            take_over=self._take_over,
            arena_bytes=self._arena_bytes,
            io_threads=self._io_threads,
            shard_bytes=self._shard_bytes,
        )

    def close(self) -> None:
        """Waits for the save that may still run, and gives the run back. Raises what the last save failed with, told before or not: a program that goes on
        after that, and means it, catches it here."""
        if self._closed or os.getpid() != self._process:
            return
        if self._run is not None:
            self._close_run(self._run)
        self._closed = True
        self._capturer.give_up()
        self._ranks.close()
        self._watch.close()
        self._unwatch_signals()
        if self in _open_managers:
            _open_managers.remove(self)
        if self._failure is not None:
            raise self._failure

    def _close_run(self, run: _native.Run) -> None:
        """Ctrl-C while we wait leaves it open: it can be closed again, and is at the end of the program."""
        self._stopped = self.should_stop
        try:
            with self._shown_saving(run):
                run.close()
        except Error as error:
            self._failure = error
        self._run = None

    def _shown_saving(self, run: _native.Run) -> AbstractContextManager[None]:
        """A bar while somebody waits for the save that runs."""
        return _progress.shown(f"saving {self.directory.name}", _progress.of_run(run))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except Error as failed:
            if error is None:
                raise
            if failed is not error:
                _unsaved[self.directory.absolute()] = failed  # for the other one may be an exit with 0
                log.error("the last save failed, too: %s", failed)

    def __repr__(self) -> str:
        names, path = ", ".join(self._state), os.fspath(self.directory)
        if self._closed or not self._is_open:
            return f"CheckpointManager({path!r}, [{names}], {'closed' if self._closed else 'not opened for writing'})"
        last = self._saved_step if self._saved_step is not None else self._restored_step
        return f"CheckpointManager({path!r}, [{names}], {self._mode}, {'nothing saved yet' if last is None else f'last step {last}'})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        raise TypeError(
            f"{self.directory}: a CheckpointManager cannot be copied or pickled, it belongs to its process: keep it out of what workers get (a dataset, a model)"
        )

    # ------------------------------------------------------------------------------------------------------------------ signals

    def _watch_signals(self) -> None:
        if threading.current_thread() is not threading.main_thread():
            return
        for number in self._stop_signals:
            if signal.getsignal(number) is None:
                log.warning("%s is handled outside of Python: left alone", signal.Signals(number).name)
            else:
                self._handlers[number] = signal.signal(number, self._on_signal)

    def _unwatch_signals(self) -> None:
        """Where somebody else stands now, who may call us, nothing is changed."""
        if threading.current_thread() is threading.main_thread():
            for number, earlier in self._handlers.items():
                while isinstance(other := getattr(earlier, "__self__", None), CheckpointManager) and other._closed:
                    earlier = other._handlers[number]
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, earlier)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        is_ours = not self._closed and os.getpid() == self._process  # else as if we were not there: a forked worker is ended by SIGTERM
        if is_ours:
            self._request_stop()
        earlier = self._handlers.get(number)
        if callable(earlier):
            earlier(number, frame)
        elif not is_ours and earlier == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    @property
    def should_stop(self) -> bool:
        """A stop was asked for, on any rank, and the state was saved since. All ranks say the same. It stays so when the manager is closed."""
        if self._ranks.size > 1:
            return self._ranks.stops
        return self._stopped if self._run is None else self._run.should_stop()

    def request_save(self) -> None:
        """The next `save` saves, whatever the rules say."""
        self._open()
        self._ranks.save_asked = True
        if self._run is not None:
            self._run.request_save()

    def request_stop(self) -> None:
        """The next `save` saves, then `should_stop` is true."""
        self._open()
        self._request_stop()

    def _request_stop(self) -> None:
        """Also from a signal's handler."""
        self._ranks.stop_asked = True
        if self._run is not None:
            self._run.request_stop()

    # ------------------------------------------------------------------------------------------------------------------- saving

    def should_save(self, step: int) -> bool:
        """Whether `save(step)` would save. Asking changes nothing. Of several ranks rank 0 knows, but not what another one was asked to."""
        return self._writer().is_due(step)

    def save(
        self,
        step: int,
        state: Mapping[str, Any] | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        force: bool = False,
        *,
        epoch: float = 0.0,
        tags: Iterable[str] = (),
    ) -> bool:
        """Saves if the rules say so, or by force; True if it did. A step that is saved already is not saved again.

        step: optimizer steps completed. state: entries whose values are given anew at each save, as jax's are. metrics: by name, numbers or arrays of one
        element; NaN is never the best. Raises what an earlier save failed with, and UnstorableError before anything is written for what cannot be saved.
        """
        self._open()
        if not self._ranks.agree(step, lambda: self._wants(step, force)):
            if not self._is_grown:
                self._is_grown = True
                self._reserve()
            return False
        self._is_grown = True
        try:
            trees = self._ranks.collect(lambda: self._own_trees(state))
            is_saved = self._ranks.lead(lambda: self._save(step, trees, epoch, metrics or {}, tuple(tags)))
        finally:
            self._ranks.saved()
        if is_saved:
            self._saved_step = step
        self._trial.saved(step, self.wait_until_finished)
        return is_saved

    def _reserve(self) -> None:
        """Memory for saves is made ready behind the caller, so that the first save need not wait for it: for what can be looked at without calling anybody's
        code. What cannot be saved as yet - a lazy module - is told by the save."""
        quiet = [item for item in self._items if item.is_quiet()]
        if self._run is not None and quiet:
            try:
                self._run.reserve(self._capturer.capture(quiet, {})[0])
            except Error as error:
                log.debug("%s: no memory was reserved: %s", self.directory, error)

    def _wants(self, step: int, force: bool) -> bool:
        """Whether this rank wants the step to be saved."""
        self._check_step(step)
        if self._run is None:
            return force
        if self._untold is not None or self._run.status().phase == "failed":
            self._collect(self._run)
        return self._run.is_due(step) or force or self._trial.wants(step)

    def _own_trees(self, state: Mapping[str, Any] | None) -> dict[str, Any]:
        """What rank 0 cannot know of this one."""
        items = self._items_with(state)
        return _items.own_trees(items) if self._ranks.rank else {}

    def _save(self, step: int, trees: list[dict[str, Any]], epoch: float, metrics: Mapping[str, SupportsFloat], tags: tuple[str, ...]) -> bool:
        """On rank 0. trees: what each rank has of its own, by rank."""
        run = self._writer()
        self._collect(run)
        if step == self._saved_step and self._failure is None:
            return False
        is_lazy = self._mode == "lazy" and self._watch.begin()
        others = {str(rank): tree for rank, tree in enumerate(trees) if rank}
        captured, notes = self._capturer.capture(self._items, self._facts(), self._watch.is_late if is_lazy else None, others)
        is_behind = self._capturer.start_copies()
        options: dict[str, Any] = {
            "mode": "sync" if self._mode == "sync" else "lazy" if is_lazy or is_behind else "eager",
            "epoch": epoch,
            "metrics": {name: _number(name, value) for name, value in metrics.items()},
            "attachments": self._attached.files(self._state),
            "tags": tags,
            "config": json.dumps(self._recorded(), default=repr) if self._config is not None else None,
        }
        for note in notes:
            log.warning("%s", note)
        self._watch.is_pending = is_lazy
        try:
            with self._shown_saving(run) if self._mode == "sync" else nullcontext():
                run.save(captured, step, **options)
        except Error as error:
            self._judge(error)
            return False
        return True

    def _check_step(self, step: int) -> None:
        if type(step) is not int or step < 0:
            raise TypeError(f"save({step!r}): the step is the number of optimizer steps completed, an int: save(step + 1) after step `step`")
        if step == self._restored_step and self._saved_step is None:
            raise make(
                "USAGE",
                f"{self.directory}: step {step} was restored, and the first save after that has the same step: the step is the number of optimizer steps "
                "completed, so count up before you save: save(step + 1) after step `step`",
            )
        last = max((known for known in (self._saved_step, self._restored_step) if known is not None), default=-1)
        if step < last:
            raise make("USAGE", f"{self.directory}: step {step} is before {last}, the last one: restore an older step to go back")

    def _items_with(self, state: Mapping[str, Any] | None) -> list[_items.Item]:
        self._take(state)
        if not self._items:
            raise make("USAGE", "there is nothing to save: give the state to CheckpointManager(directory, state), or to save(step, state)")
        return self._items

    def _take(self, state: Mapping[str, Any] | None) -> None:
        """Entries that are given later join those of the manager, or stand in for them."""
        if state is not None:
            _items.items_of(_items.named(state))  # refuses what is no state
            joined = self._state | _items.named(state)
            self._items = _items.items_of(joined)
            self._state = joined

    def _recorded(self) -> Any:
        """The config as it is written down."""
        return _environment.redact(self._config or {})

    def _facts(self) -> dict[str, object]:
        config = json.loads(json.dumps(self._recorded(), default=repr)) if self._config is not None else {}
        return {"environment": _environment.environment(), "arguments": _environment.arguments(), "config": config}

    # ----------------------------------------------------------------------------------------------------- what became of a save

    def _collect(self, run: _native.Run) -> None:
        """Waits for the save before; its failure is judged here, so that what fails later is the next one's."""
        untold, self._untold = self._untold, None
        if untold is not None:
            self._judge(untold)
        try:
            run.wait()
        except Error as error:
            self._judge(error)

    def _judge(self, error: Error) -> None:
        """Raises a save's failure, or lets it pass with a warning."""
        if isinstance(error, _NO_ATTEMPT):
            raise error
        self._failure = error
        self._failures += 1
        self._distrust(error)
        is_tolerated = self._on_error == "warn" and (self._tolerate is None or self._failures <= self._tolerate)
        if not is_tolerated or isinstance(error, FencedError):  # who was overtaken will never save again
            raise error
        log.warning("a save failed, %d in a row: %s", self._failures, error)

    def _distrust(self, error: Error) -> None:
        if isinstance(error, EarlyWriteError) and self._watch.is_trusted:
            self._watch.is_trusted = False
            log.warning("%s: saves are eager from now on, for the state is written to outside of optimizer steps", self.directory)

    def _wait_before_step(self) -> None:
        """Before an optimizer steps: on a device its stream waits, not we."""
        self._copies.fence()
        if self._watch.waits_here:
            self._wait_until_staged()

    def _wait_until_staged(self) -> None:
        """It must not fail because a save did."""
        try:
            if self._run is not None:
                self._run.fence()
        except Error as error:
            log.error("%s: a save failed: %s", self.directory, error)
            self._untold = error
            self._distrust(error)

    def _committed(self, report: _native.SaveReport) -> None:
        """On a thread of the library's."""
        self._trial.committed(report.step)
        self._failures, self._failure = 0, None
        _unsaved.pop(self.directory.absolute(), None)
        path = self.directory / (report.name or "")
        try:
            if self._on_commit is not None:
                self._on_commit(path)
        except Exception:
            log.exception("%s is saved; on_commit raised", path)

    def fence(self) -> None:
        """Returns when the save that runs is staged: the state may be changed. For who changes it without an optimizer of torch - a loop of one's own, a
        donated array of jax - while saves are lazy. Raises what an earlier save failed with."""
        if self._run is not None:
            self._watch.is_pending = False
            self._copies.fence()
            self._wait_until_staged()
            untold, self._untold = self._untold, None
            if untold is not None:
                self._judge(untold)

    def wait_until_finished(self) -> None:
        """Returns when the save that runs is durable. Raises what it failed with."""
        if self._run is not None:
            with self._shown_saving(self._run):
                self._collect(self._run)

    def poll(self) -> _native.Status:
        """How far the job is that runs, at once. Raises what a finished save failed with."""
        run = self._writer()
        status = run.status()
        if status.phase == "failed":
            self._collect(run)
        return status

    # ---------------------------------------------------------------------------------------------------------------- restoring

    def restore(
        self,
        state: Mapping[str, Any] | None = None,
        *,
        step: int | None = None,
        allow_missing: bool = False,
        items: Iterable[str] | None = None,
    ) -> Restored:
        """Brings back the newest healthy checkpoint that is whole, or that of a step. A new run: step 0, fresh True, nothing touched.

        step: one that is kept, else the newest; what came after it is left behind by the next save. state: entries to fill besides those of the manager, as
        templates. items: these alone. allow_missing: parameters and optimizer states that the checkpoint lacks stay as they are. Raises MismatchError, which
        names every difference, before anything is touched; CorruptError where only damaged checkpoints are there; TornStateError if it failed half-way: then the state is a mixture."""
        if isinstance(state, int):
            raise TypeError(f"restore({state}): name the step, restore(step={state})")
        self._take(state)
        chosen = self._chosen(items)
        names = None if items is None else [item.name for item in chosen]
        self._open()
        filling: _items.Filling | None = None
        native: _native.RestoreReport | None = None

        def choose(checkpoint: _native.Checkpoint) -> _native.State:
            nonlocal filling
            filling = _items.Filling(chosen, checkpoint, allow_missing, self._ranks.rank, self._ranks.size)
            self._refuse_differing(filling)
            return filling.state

        def fill() -> tuple[str | None, str | None]:
            nonlocal native
            run = self._writer()
            self._collect(run)
            with _progress.shown(f"restoring {self.directory.name}", _progress.of_run(run)):
                native = run.restore(_native.State(), step=step, allow_missing=allow_missing, items=names, choose=choose)
            return native.name, native.id

        def fill_alike() -> None:
            nonlocal native
            if native is None and name is not None:
                native = _native.load(self.directory / name, _native.State(), allow_missing=allow_missing, items=names, choose=choose)
                if native.id != identity:
                    raise make("GONE", f"{self.directory / name} is not the checkpoint that rank 0 reads: all ranks must see the same directory")

        name, identity = self._ranks.lead(fill)
        self._every_or_torn(fill_alike)
        self._saved_step, self._failure = None, None
        if name is None or filling is None or native is None:
            self._restored_step = None
            self._reserve()
            return Restored(0, True, None, dict(self._state), Report())
        restored = self._take_up(filling, native, self.directory / name)
        self._reserve()
        return restored

    def _take_up(self, filling: _items.Filling, native: _native.RestoreReport, path: Path) -> Restored:
        """What was filled becomes the state, and the report says what it is."""
        done = self._every_or_torn(filling.finish)
        self._state |= {item: value for item, value in done.items() if item in filling.found}
        report = Report.of(native)
        self._compare(filling, report)
        self._restored_step = native.step
        log.log(logging.INFO if self._ranks.rank == 0 else logging.DEBUG, "%s restored: %s", path, report)
        return Restored(native.step, False, path, dict(self._state), report, native.epoch)

    def _every_or_torn(self, make_value: Callable[[], _T]) -> _T:
        """On every rank. One that could, where another could not, holds what is of no run."""
        filled = False

        def attempt() -> _T:
            nonlocal filled
            value = make_value()
            filled = True
            return value

        try:
            return self._ranks.every(attempt)
        except Error as error:
            if not filled:
                raise
            raise make("TORN_STATE", f"{error}; this rank's state was filled, and is of no use alone: restore again, or stop") from error

    def _chosen(self, names: Iterable[str] | None) -> list[_items.Item]:
        """The items of these names; None: all."""
        if not self._items:
            raise make(
                "USAGE",
                f"{self.directory}: there is nothing to fill: give the state to CheckpointManager(directory, state), or to restore(state); "
                "checkpoint(step).state() reads all of a checkpoint into new memory",
            )
        if names is None:
            return self._items
        wanted = [names] if isinstance(names, str) else list(names)
        unknown = [name for name in wanted if name not in self._state]
        if unknown:
            raise make("USAGE", f"restore(items={wanted}): the state has {', '.join(self._state)}, and no {', '.join(unknown)}")
        return [item for item in self._items if item.name in wanted]

    def _differences(self, filling: _items.Filling) -> dict[str, tuple[object, object]]:
        """Of the config, by key: (saved, now)."""
        now: Any = self._facts()["config"]
        return _environment.differences(filling.python.get("config", {}), now)

    def _policy_for(self, key: str) -> Differing:
        """By the longest name given that the key is, or lies below."""
        if isinstance(self._differing, str):
            return self._differing
        given = [name for name in self._differing if key == name or key.startswith(f"{name}.")]
        return self._differing[max(given, key=len)] if given else "keep"

    def _refuse_differing(self, filling: _items.Filling) -> None:
        """Before anything is touched."""
        wrong = {key: pair for key, pair in self._differences(filling).items() if self._policy_for(key) == "error"}
        if wrong:
            told = ", ".join(f"{key} was {old!r} and is {new!r} now" for key, (old, new) in wrong.items())
            raise make("MISMATCH", f"{self.directory}: the config differs: {told}; `differing` says that this is an error")

    def _compare(self, filling: _items.Filling, report: Report) -> None:
        report.notes += filling.told()
        report.new += [item for item in filling.absent if item not in {name.split("/")[0] for name in report.missing}]
        report.differences = _environment.differences(filling.python.get("environment", {}), _environment.environment())
        arguments = _environment.differences(filling.python.get("arguments", {}), _environment.arguments())
        report.differences |= {f"arguments.{key}": pair for key, pair in arguments.items()}
        report.differences |= {f"config.{key}": pair for key, pair in self._differences(filling).items()}
        if self._config is not None:
            _environment.override(self._config, filling.python.get("config", {}), lambda key: self._policy_for(key) == "override")
        for line in report.lines() if self._ranks.rank == 0 else filling.notes:
            log.warning("%s", line)

    # ------------------------------------------------------------------------------------------------------------- looking back

    def _entries(self) -> list[Any]:
        try:
            return [entry for entry in _native.listing(os.fspath(self.directory)) if entry.standing == "current"]
        except NotFoundError:
            return []

    def all_steps(self) -> list[int]:
        """The steps that are kept, oldest first."""
        return [entry.step for entry in self._entries()]

    def latest_step(self) -> int | None:
        """The newest step, whatever its health; None in a new run."""
        return next((entry.step for entry in self._entries() if entry.is_latest), None)

    def best_step(self) -> int | None:
        """The best one by the metric of `keep`; None where nobody has reported it."""
        return next((entry.step for entry in self._entries() if entry.is_best), None)

    def __iter__(self) -> Iterator[Checkpoint]:
        """The checkpoints that are kept, oldest first, each open while it is looked at."""
        for entry in self._entries():
            with Checkpoint(self.directory / entry.name) as checkpoint:
                yield checkpoint

    def checkpoint(self, step: int) -> Checkpoint:
        """A checkpoint to look into. Raises NotFoundError, which names the newest steps."""
        return Checkpoint(f"{self.directory.name}@{step}", store=self.directory.parent)

    def wait_for_new(self, timeout: float | None = None) -> Checkpoint | None:
        """The next checkpoint that this manager has not given yet, as soon as it is durable; None after `timeout` seconds. One that is damaged is raised, once."""
        try:
            native, self._position = _native.wait_for_new(os.fspath(self.directory), self._position, math.inf if timeout is None else timeout)
        except Error as error:
            self._position = error.position or self._position
            raise
        return None if native is None else Checkpoint(native)


def _check_word(what: str, word: str, words: tuple[str, ...]) -> None:
    if word not in words:
        raise ValueError(f"{what} is {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {word!r}")


def _number(name: str, value: Any) -> float:
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"metrics: {name!r} is to be a number, or an array of one element, not {type(value).__name__} {value!r:.60}") from None


# ----------------------------------------------------------------------------------------------------------- the end of the program


def _close_all() -> None:
    """A program whose last save failed does not end as if all were well, whoever was to close the manager. Python has no other way to change the status by
    now: what was to run at exit and was registered before Cairn was imported does not."""
    for manager in list(_open_managers):
        try:
            manager.close()
        except Error as error:
            if manager._process == os.getpid():
                _unsaved[manager.directory.absolute()] = error
    for failed in _unsaved.values():
        log.critical("the last save failed: %s", failed)
        print(f"cairn: the last save failed: {failed}", file=sys.stderr)
    if _unsaved:
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


atexit.register(_close_all)
os.register_at_fork(after_in_child=_unsaved.clear)
