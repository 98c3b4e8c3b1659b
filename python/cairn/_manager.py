"""CheckpointManager: all that a training loop needs of Cairn."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, SupportsFloat, SupportsIndex

from . import _capture, _checks, _compare, _device, _items, _lazy, _native, _progress, _ranks, _settings
from ._attachments import Attached, Attachments
from ._errors import Error, TornStateError, make
from ._hints import Hints
from ._history import History
from ._opening import close_earlier, open_run
from ._outcome import Judge, note_unsaved
from ._outcome import close_at_exit as _close_at_exit
from ._outcome import open_managers as _open_managers
from ._policy import Keep, Save
from ._report import Report, Restored
from ._restoring import Restoring
from ._saving import Mode, Saver, Told
from ._settings import Differing, Settings
from ._signals import StopSignals
from ._steps import Steps, integer, step_of
from ._trial import Trial

log = logging.getLogger("cairn")


class CheckpointManager(History):
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
    it by what was saved, or "error", for all or by key ("optimizer.lr", or "optimizer" for all below); "error" also for versions, switches and world size
    as a report names them ("torch", "world_size"). attachments: files to lie beside the weights, by
    name: paths, or their bytes; or a tokenizer, whose files are attached. A transformers or peft model as entry "model" attaches its config by itself.
    shard_bytes: larger files are split, with the Hub's index; 0: 5 GB. on_commit: called with the checkpoint's path when one is durable, on a thread of the
    library's, one at a time; what it raises is logged. on_error "warn" logs a failed save and goes on, `tolerate` times in a row at most (None: always).
    take_over: go on though another process writes the run; that one is fenced. A manager of this process that has it open is closed. check_early_writes:
    lazy saves digest everything twice, to be sure that nothing writes too early; slow.

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
        _checks.rules(save, keep)
        _checks.attachments(attachments)
        _checks.config(config)
        _checks.word("mode", mode, ("eager", "lazy", "sync"))
        _checks.word("on_error", on_error, ("raise", "warn"))
        for word in [differing] if isinstance(differing, str) else differing.values():
            _checks.word("differing", word, _settings.WORDS)
        self._trial = Trial.of()
        super().__init__(self._trial.place(directory))
        self._save_rule, self._keep_rule, self._mode = save or Save(), keep or Keep(), mode
        self._options = {"arena_bytes": arena_bytes, "io_threads": io_threads, "shard_bytes": shard_bytes, "check_early_writes": check_early_writes}
        self._take_over, self._on_commit = take_over, on_commit
        self._settings = Settings(self.directory, config, differing)
        self._process = os.getpid()
        self._signals = StopSignals(stop_signals, self._request_stop)
        self._run: _native.Run | None = None  # rank 0's
        self._ranks = _ranks.Ranks(_ranks.Alone())
        self._is_open = False
        self._closed = False
        self._stopped = False  # what should_stop was when we closed
        self._steps = Steps(self.directory)
        self._copies = _device.Copies()
        self._watch = _lazy.Watch(self._wait_before_step, self._copies, check_early_writes)
        self._judge = Judge(self.directory, self._watch, on_error == "raise", tolerate)
        self._capturer = _capture.Capturer(self._copies)
        self._hints = Hints(self.directory, self._save_rule, self._keep_rule)
        self._saver = Saver(mode, self._capturer, self._watch, self._settings, Attached(attachments), self._judge, self._hints)
        self._is_grown = False  # optimizers have made their state: memory for saves was asked for since
        self._state: dict[str, Any] = {}
        self._items: list[_items.Item] = []
        self._take(state)
        _items.refuse_snapshots(self._state)
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
            if self._take_over:
                close_earlier(self.directory)
            self._ranks = _ranks.join(self.directory)
            self._ranks.lead(self._open_run)
            self._is_open = True
            _close_at_exit(self)
            self._signals.watch()
            if self._mode == "lazy":
                self._watch.watch()

    def _writer(self) -> _native.Run:
        """The run, which rank 0 alone has open."""
        self._open()
        if self._run is None:
            raise make("USAGE", f"{self.directory}: this is rank {self._ranks.rank}, and rank 0 alone knows: ask there")
        return self._run

    def _open_run(self) -> None:
        called: dict[str, Any] = {"committed": self._committed, "written": self._watch.written}
        self._run = open_run(self.directory, self._save_rule, self._keep_rule, take_over=self._take_over, **called, **self._options)

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
        self._signals.close()
        if self in _open_managers:
            _open_managers.remove(self)
        if self._judge.failure is not None:
            raise self._judge.failure

    def _close_run(self, run: _native.Run) -> None:
        """Ctrl-C while we wait leaves it open: it can be closed again, and is at the end of the program."""
        self._stopped = self.should_stop
        try:
            with self._shown_saving(run):
                run.close()
        except Error as error:
            self._judge.failure = error
        self._run = None
        self._hints.closed(self._entries)

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
                note_unsaved(self.directory, failed)  # for the other one may be an exit with 0
                log.error("the last save failed, too: %s", failed)

    def __repr__(self) -> str:
        names, path = ", ".join(self._state), os.fspath(self.directory)
        if self._closed or not self._is_open:
            return f"CheckpointManager({path!r}, [{names}], {'closed' if self._closed else 'not opened for writing'})"
        last = "nothing saved yet" if self._steps.last is None else f"last step {self._steps.last}"
        return f"CheckpointManager({path!r}, [{names}], {self._mode}, {last})"

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        raise TypeError(
            f"{self.directory}: a CheckpointManager cannot be copied or pickled, it belongs to its process: keep it out of what workers get (a dataset, a model)"
        )

    # ------------------------------------------------------------------------------------------------------------------ signals

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

    def should_save(self, step: SupportsIndex) -> bool:
        """Whether `save(step)` would save. Asking changes nothing. Of several ranks rank 0 knows, but not what another one was asked to."""
        return self._writer().is_due(step_of(step, "should_save({})"))

    def save(
        self,
        step: SupportsIndex,
        state: Mapping[str, Any] | None = None,
        metrics: Mapping[str, SupportsFloat] | None = None,
        force: bool = False,
        *,
        epoch: float = 0.0,
        tags: str | Iterable[str] = (),
    ) -> bool:
        """Saves if the rules say so, or by force; True if it did. A step that is saved already is not saved again, nor is by force the one that was restored
        while nothing is trained.

        step: optimizer steps completed, an int or an integer of numpy or torch. state: entries whose values are given anew at each save, as jax's are.
        metrics: by name, numbers or arrays of one element; NaN is never the best. Raises what an earlier save failed with, and UnstorableError before anything
        is written for what cannot be saved.
        """
        self._open()
        given, step = step, integer(step) or 0  # what is none is refused when all ranks are asked
        if not self._ranks.agree(step, lambda: self._wants(step_of(given, "save({})"), state, force)):
            if not self._is_grown:
                self._is_grown = True
                self._reserve()
            if self._run is not None:
                self._hints.not_saved(step)
            return False
        self._is_grown = True
        try:
            trees = self._ranks.collect(lambda: self._own_trees(state))
            told = Told(step, epoch, metrics or {}, (tags,) if isinstance(tags, str) else tuple(tags))
            is_saved = self._ranks.lead(lambda: self._save(told, trees))
        finally:
            self._ranks.saved()
        if is_saved:
            self._steps.saved = step
        self._trial.saved(step, self.wait_until_finished)
        return is_saved

    def _reserve(self) -> None:
        if self._run is not None:
            self._saver.reserve(self._run, self._items)

    def _wants(self, step: int, state: Mapping[str, Any] | None, force: bool) -> bool:
        """Whether this rank wants the step to be saved."""
        self._steps.check(step, lambda: force and (self._run is None or self._is_as_saved(step, state)))
        if self._run is None:
            return force
        if self._judge.has_news(self._run):
            self._judge.collect(self._run)
        return self._run.is_due(step) or force or self._trial.wants(step)

    def _is_as_saved(self, step: int, state: Mapping[str, Any] | None) -> bool:
        """Whether nothing was trained since this step was restored: a finished program was run again, and saves by force after its loop."""
        try:
            with self.checkpoint(step) as checkpoint:
                return _compare.is_held(_items.items_of(self._state | _items.named(state or {})), checkpoint)
        except Error:
            return False

    def _own_trees(self, state: Mapping[str, Any] | None) -> dict[str, Any]:
        """What rank 0 cannot know of this one."""
        items = self._items_with(state)
        return _items.own_trees(items) if self._ranks.rank else {}

    def _save(self, told: Told, trees: list[dict[str, Any]]) -> bool:
        """On rank 0. trees: what each rank has of its own, by rank."""
        run = self._writer()
        self._judge.collect(run)
        if told.step == self._steps.last and self._judge.failure is None:
            return False
        others = {str(rank): tree for rank, tree in enumerate(trees) if rank}
        return self._saver.save(run, self._items, self._state, others, told, lambda: self._shown_saving(run))

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

    # ----------------------------------------------------------------------------------------------------- what became of a save

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
            self._judge.put_off(error)

    def _committed(self, report: _native.SaveReport) -> None:
        """On a thread of the library's."""
        self._trial.committed(report.step)
        self._judge.committed()
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
            self._judge.tell()

    def wait_until_finished(self) -> None:
        """Returns when the save that runs is durable; on other ranks than 0 at once. Raises what it failed with."""
        if self._run is not None:
            with self._shown_saving(self._run):
                self._judge.collect(self._run)

    def poll(self) -> _native.Status:
        """How far the job is that runs, at once. Raises what a finished save failed with."""
        run = self._writer()
        status = run.status()
        if status.phase == "failed":
            self._judge.collect(run)
        return status

    # ---------------------------------------------------------------------------------------------------------------- restoring

    def restore(
        self,
        state: Mapping[str, Any] | None = None,
        *,
        step: SupportsIndex | None = None,
        allow_missing: bool = False,
        items: Iterable[str] | None = None,
    ) -> Restored:
        """Brings back the newest healthy checkpoint that is whole, or that of a step. A new run: step 0, fresh True, nothing touched.

        step: one that is kept, else the newest; what came after it is left behind by the next save. state: entries to fill besides those of the manager, as
        templates. items: these alone. allow_missing: parameters and optimizer states that the checkpoint lacks stay as they are. Raises MismatchError, which
        names every difference, before anything is touched; CorruptError where only damaged checkpoints are there, or the one asked for is damaged; TornStateError if it failed
        half-way (TornCorruptError, which is both, at damage): then the state is a mixture, and nothing is saved until a restore of all of it has succeeded."""
        asked = self._asked(state, step, items) if not self._is_open and _ranks.are_alone() else None  # before anything is made
        self._open()
        asked = asked or self._ranks.every(lambda: self._asked(state, step, items))
        restoring = Restoring(self.directory, self._ranks, self._settings, *asked, allow_missing)
        was_torn = self._steps.is_torn
        try:
            restored = self._restore(restoring)
        except TornStateError:
            self._steps.is_torn = True
            raise
        self._steps.is_torn = was_torn and (items is not None or restored.fresh)
        self._reserve()
        return restored

    def _asked(
        self, state: Mapping[str, Any] | None, step: SupportsIndex | None, items: Iterable[str] | None
    ) -> tuple[list[_items.Item], list[str] | None, int | None]:
        """What a call of restore is about: the items, their names where these alone, the step."""
        if (meant := integer(state)) is not None:
            raise TypeError(f"restore({meant}): name the step, restore(step={meant})")
        number = None if step is None else step_of(step, "restore(step={})")
        self._take(state)
        chosen = self._chosen(items)
        return chosen, None if items is None else [item.name for item in chosen], number

    def _restore(self, restoring: Restoring) -> Restored:
        path = restoring.fill(self._reader)
        self._steps.now_restored(None)
        if self._judge.failure is not None:
            note_unsaved(self.directory, self._judge.failure)  # until another save succeeds
            self._judge.failure = None
        return Restored(0, True, None, dict(self._state), Report()) if path is None else self._take_up(restoring, path)

    def _reader(self) -> _native.Run:
        run = self._writer()
        self._judge.collect(run)
        return run

    def _take_up(self, restoring: Restoring, path: Path) -> Restored:
        """What was filled becomes the state, and the report says what it is."""
        self._steps.is_torn = True  # until the end of it is known
        self._state |= restoring.finish()
        restored = restoring.restored(path, dict(self._state))
        self._steps.now_restored(restored.step)
        for line in restored.report.lines() if self._ranks.rank == 0 else restoring.notes:
            log.warning("%s", line)
        log.log(logging.INFO if self._ranks.rank == 0 else logging.DEBUG, "%s restored: %s", path, restored.report)
        return restored

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
