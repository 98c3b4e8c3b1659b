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
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self, SupportsFloat

from . import _environment, _items, _native
from ._attachments import Attached, Attachments
from ._checkpoint import Checkpoint
from ._errors import Error, MismatchError, NotFoundError, UsageError
from ._policy import Keep, Save
from ._report import Report, Restored

Mode = Literal["eager", "sync"]
Differing = Literal["keep", "override", "error"]
log = logging.getLogger("cairn")


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
    call, or by `close`. Without `state` nothing is opened for writing before `restore` or `save`: a reader beside the trainer uses it like that.

    directory: the run's folder, made if it is missing; the folder above it is the store. mode: "eager", or "sync" to return when durable. config: recorded
    with secrets redacted and compared at a restore; differing says what to do about a key that differs: "keep" what it is now, "override" it by what was
    saved, or "error", for all or by key. attachments: files to lie beside the weights, by name: paths, or their bytes; or a tokenizer, whose files are
    attached. A transformers or peft model as entry "model" attaches its config by itself. shard_bytes: larger files are split, with the Hub's index; 0: 5 GB. on_commit: called with the
    checkpoint's path when one is durable, on a thread of its own. on_error "warn" logs a failed save and goes on, `tolerate` times in a row at most.
    take_over: go on though another process writes the run; that one is fenced. stop_signals: each makes the next `save` save, then `should_stop` true.
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
        on_commit: Callable[[Path], None] | None = None,
        on_error: Literal["raise", "warn"] = "raise",
        tolerate: int = 0,
        take_over: bool = False,
        stop_signals: Iterable[signal.Signals] = (signal.SIGTERM, signal.SIGUSR1),
        arena_bytes: int = 0,
        io_threads: int = 0,
        shard_bytes: int = 0,
    ) -> None:
        if mode not in ("eager", "sync"):
            raise ValueError(f'mode is "eager" or "sync", not {mode!r}')
        if on_error not in ("raise", "warn"):
            raise ValueError(f'on_error is "raise" or "warn", not {on_error!r}')
        self.directory = Path(directory)
        self._save_rule, self._keep_rule, self._mode = save or Save(), keep or Keep(), mode
        self._config, self._differing = config, differing
        self._attached = Attached(attachments)
        self._on_commit, self._on_error, self._tolerate = on_commit, on_error, tolerate
        self._take_over, self._arena_bytes, self._io_threads, self._shard_bytes = take_over, arena_bytes, io_threads, shard_bytes
        self._stop_signals = tuple(stop_signals)
        self._handlers: dict[signal.Signals, Any] = {}
        self._run: _native.Run | None = None
        self._closed = False
        self._last_step: int | None = None
        self._failures = 0
        self._position = (0, 0)
        self._state = _items.named(state) if state is not None else {}
        self._items = _items.items_of(self._state)
        if state is not None:
            self._open()

    # --------------------------------------------------------------------------------------------------------- opening, closing

    def _open(self) -> _native.Run:
        if self._closed:
            raise UsageError(f"{self.directory}: the manager is closed")
        if self._run is None:
            self._run = _native.Run(
                os.fspath(self.directory),
                keep_last=self._keep_rule.last or 0,
                keep_best=self._keep_rule.best,
                best_metric=self._keep_rule.metric,
                best_is_max=self._keep_rule.mode == "max",
                save_every_steps=self._save_rule.every_steps or 0,
                save_every_ms=round((self._save_rule.every_seconds or 0) * 1000),
                message=log.warning,
                committed=self._committed,
                take_over=self._take_over,
                arena_bytes=self._arena_bytes,
                io_threads=self._io_threads,
                shard_bytes=self._shard_bytes,
            )
            self._watch_signals()
            atexit.register(self._close_at_exit)
        return self._run

    def close(self) -> None:
        """Waits for the save that may still run, and gives the run back. Raises what that save, or an earlier one, failed with."""
        if self._closed:
            return
        self._closed = True
        atexit.unregister(self._close_at_exit)
        self._unwatch_signals()
        if self._run is not None:
            run, self._run = self._run, None
            run.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close()
        except Error as failed:
            if error is None:
                raise
            log.error("the last save failed, too: %s", failed)

    def _close_at_exit(self) -> None:
        """A program whose last save failed does not end as if all were well."""
        try:
            self.close()
        except Error as error:
            log.critical("the last save failed: %s", error)
            print(f"cairn: the last save failed: {error}", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)

    def __repr__(self) -> str:
        names = ", ".join(self._state)
        return f"CheckpointManager({os.fspath(self.directory)!r}, [{names}], {'closed' if self._closed else f'last step {self._last_step}'})"

    # ------------------------------------------------------------------------------------------------------------------ signals

    def _watch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in self._stop_signals:
                self._handlers[number] = signal.signal(number, self._on_signal)

    def _unwatch_signals(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number, handler in self._handlers.items():
                if signal.getsignal(number) == self._on_signal:
                    signal.signal(number, handler if handler is not None else signal.SIG_DFL)
        self._handlers = {}

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._run is not None:
            self._run.request_stop()
        earlier = self._handlers.get(signal.Signals(number))
        if callable(earlier):
            earlier(number, frame)

    @property
    def should_stop(self) -> bool:
        """A stop was asked for, and the state was saved since."""
        return self._run is not None and self._run.should_stop()

    def request_save(self) -> None:
        """The next `save` saves, whatever the rules say."""
        self._open().request_save()

    def request_stop(self) -> None:
        """The next `save` saves, then `should_stop` is true."""
        self._open().request_stop()

    # ------------------------------------------------------------------------------------------------------------------- saving

    def should_save(self, step: int) -> bool:
        """Whether `save(step)` would save. Asking changes nothing."""
        return self._open().is_due(step)

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
        """Saves if the rules say so, or by force; True if it did. step: optimizer steps completed. state: entries whose values are given anew at each save,
        as jax's are. metrics: by name; what tells the best apart is among them. Raises what an earlier save failed with, and UnstorableError before anything is
        written for what cannot be saved."""
        self._check_step(step)
        run = self._open()
        if not run.is_due(step) and not force:
            return False
        items = self._items_with(state)
        captured, notes = _items.capture(items, self._facts())
        options: dict[str, Any] = {
            "mode": self._mode,
            "epoch": epoch,
            "metrics": {name: _number(value) for name, value in (metrics or {}).items()},
            "attachments": self._attached.files(self._state),
            "tags": tuple(tags),
            "config": json.dumps(_environment.redact(self._config), default=repr) if self._config is not None else None,
        }
        self._attempt(run, captured, step, options)
        self._last_step = step
        for note in notes:
            log.warning("%s", note)
        return True

    def _check_step(self, step: int) -> None:
        if type(step) is not int or step < 0:
            raise TypeError(f"save({step!r}): the step is the number of optimizer steps completed, an int: save(step + 1) after step `step`")
        if self._last_step is not None and step <= self._last_step:
            raise UsageError(
                f"{self.directory}: step {step} is not beyond {self._last_step}, the last one: the step is the number of optimizer steps completed, "
                "so count up before you save: save(step + 1) after step `step`"
            )

    def _items_with(self, state: Mapping[str, Any] | None) -> list[_items.Item]:
        if state is None and not self._items:
            raise UsageError("there is nothing to save: give the state to CheckpointManager(directory, state), or to save(step, state)")
        if state is None:
            return self._items
        self._state |= _items.named(state)
        self._items = _items.items_of(self._state)
        return self._items

    def _facts(self) -> dict[str, object]:
        return {"environment": _environment.environment(), "config": json.loads(json.dumps(_environment.redact(self._config or {}), default=repr))}

    def _attempt(self, run: _native.Run, captured: _native.State, step: int, options: dict[str, Any]) -> object:
        """A failure may be an earlier save's, told now; this one has not begun then."""
        for is_last in (False, True):
            try:
                return run.save(captured, step, **options)
            except Error as error:
                self._failures += 1
                if self._on_error == "raise" or self._failures > self._tolerate or isinstance(error, UsageError):
                    raise
                log.warning("a save failed, %d in a row: %s", self._failures, error)
                if is_last:
                    return None
        return None

    def _committed(self, report: Any) -> None:
        self._failures = 0
        if self._on_commit is not None:
            self._on_commit(self.directory / report.name)

    def wait_until_finished(self) -> None:
        """Returns when the save that runs is durable. Raises what it failed with."""
        if self._run is not None:
            self._run.wait()

    def poll(self) -> Any:
        """How far the job is that runs, at once. Raises what a finished save failed with."""
        run = self._open()
        status = run.status()
        if status.phase == "failed":
            run.wait()
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

        state: entries to fill besides those of the manager, as templates. items: these alone. Raises MismatchError, which names every difference, before
        anything is touched; CorruptError where only damaged checkpoints are there; TornStateError if it failed half-way: then the state is a mixture."""
        if isinstance(state, int):
            raise TypeError(f"restore({state}): name the step, restore(step={state})")
        run = self._open()
        if state is not None:
            self._state |= _items.named(state)
            self._items = _items.items_of(self._state)
        wanted = None if items is None else list(items)
        chosen = [item for item in self._items if wanted is None or item.name in wanted]
        filling: _items.Filling | None = None

        def choose(checkpoint: _native.Checkpoint) -> _native.State:
            nonlocal filling
            filling = _items.Filling(chosen, checkpoint, allow_missing)
            self._refuse_differing(filling)
            return filling.state

        native = run.restore(_native.State(), step=step, allow_missing=allow_missing, items=wanted, choose=choose)
        if native.fresh or filling is None:
            self._last_step = None
            return Restored(0, True, None, dict(self._state), Report())
        self._state |= {name: value for name, value in filling.finish().items() if name in filling.found}
        report = Report.of(native)
        self._compare(filling, report)
        self._last_step = native.step
        path = self.directory / (native.name or "")
        log.info("%s restored: %s", path, report)
        return Restored(native.step, False, path, dict(self._state), report, native.epoch)

    def _differences(self, filling: _items.Filling) -> dict[str, tuple[object, object]]:
        """Of the config, by key: (saved, now)."""
        now: Any = self._facts()["config"]
        return _environment.differences(filling.python.get("config", {}), now)

    def _policy_for(self, key: str) -> Differing:
        return self._differing if isinstance(self._differing, str) else self._differing.get(key, "keep")

    def _refuse_differing(self, filling: _items.Filling) -> None:
        """Before anything is touched."""
        wrong = {key: pair for key, pair in self._differences(filling).items() if self._policy_for(key) == "error"}
        if wrong:
            told = ", ".join(f"{key} was {old!r} and is {new!r} now" for key, (old, new) in wrong.items())
            raise MismatchError(f"{self.directory}: the config differs: {told}; `differing` says that this is an error")

    def _compare(self, filling: _items.Filling, report: Report) -> None:
        report.notes += [note for _, part in filling.parts for note in part.notes]
        report.new += [item for item in filling.absent if item not in {name.split("/")[0] for name in report.missing}]
        report.differences = _environment.differences(filling.python.get("environment", {}), _environment.environment())
        for key, pair in self._differences(filling).items():
            report.differences[f"config.{key}"] = pair
            if self._policy_for(key) == "override":
                self._override(key, pair[0])
        for line in report.lines():
            log.warning("%s", line)

    def _override(self, key: str, value: object) -> None:
        *above, last = key.split(".")
        place: Any = self._config if self._config is not None else {}
        for name in above:
            place = place[name]
        if value != _environment.REDACTED:
            place[last] = value

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
        """The next checkpoint that this manager has not given yet, as soon as it is durable; None after `timeout` seconds."""
        native, self._position = _native.wait_for_new(os.fspath(self.directory), self._position, math.inf if timeout is None else timeout)
        return None if native is None else Checkpoint(native)




def _number(value: Any) -> float:
    return float(value.item() if hasattr(value, "item") else value)
