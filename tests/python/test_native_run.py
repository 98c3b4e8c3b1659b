"""Run: saving and restoring in every mode, callbacks, what stays alive and for how long, threads, signals, forks and the end of the program."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from native_help import bind, damage, make_run, save_that_fails, state_of

from cairn import _errors as errors
from cairn import _native as native

MIB = 1 << 20


def large(mib: int = 64) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.random.default_rng(1).standard_normal(mib * MIB // 4).astype(np.float32)


@contextmanager
def alarm_raises(after_s: float) -> Iterator[None]:
    """Ctrl-C, after a while."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    old = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, after_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, old)


# -------------------------------------------------------------------------------------------------------------- saving


@pytest.mark.parametrize("mode", ["eager", "sync", "lazy"])
def test_modes(tmp_path: Path, mode: str) -> None:
    array = large(8)
    before = array.copy()
    run = native.Run(tmp_path / "run")
    state = state_of(w=array)
    run.reserve(state)
    report = run.save(state, 3, mode=mode)  # type: ignore[arg-type]
    run.fence()
    array[:] = 0
    run.wait()
    assert report.step == 3 and not report.skipped and report.total_bytes == array.nbytes
    assert (report.name is None) == (mode != "sync")
    assert run.status().phase == "durable" and run.status().saves_done == 1
    assert run.restore(state, step=3).step == 3
    assert np.array_equal(array, before)
    run.close()


def test_everything_a_save_takes(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    run = native.Run(tmp_path / "run", best_metric="loss")
    state = state_of(w=np.ones(3))
    run.save(
        state,
        10,
        mode="sync",
        epoch=0.5,
        metrics={"loss": np.float32(0.25), "steps": 10},  # type: ignore[dict-item]
        attachments={"config.json": b'{"a":1}', "tokenizer.json": str(tmp_path / "tokenizer.json"), "sub/x.txt": tmp_path / "tokenizer.json"},
        tags=["release", "good"],
        config="lr: 3",
    )
    run.save(state, 11, mode="sync", inexact=True)
    run.close()
    exact, inexact = native.listing(tmp_path / "run")
    assert (exact.step, exact.epoch, exact.metrics, exact.tags) == (10, 0.5, {"loss": 0.25, "steps": 10.0}, ("release", "good"))
    assert exact.exact and exact.is_best and not inexact.exact
    assert (tmp_path / "run/checkpoint-10/config.json").read_bytes() == b'{"a":1}'
    assert (tmp_path / "run/checkpoint-10/sub/x.txt").read_text() == "{}"
    with native.Checkpoint("run@10", tmp_path) as checkpoint:
        assert "lr: 3" in (checkpoint.provenance() or "")


def test_keep_last(tmp_path: Path) -> None:
    run = native.Run(tmp_path / "run", keep_last=2)
    state = state_of(w=np.ones(3))
    for step in range(1, 6):
        run.save(state, step, mode="sync")
    run.close()
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [4, 5]


def test_if_running(tmp_path: Path) -> None:
    go = threading.Event()
    run = native.Run(tmp_path / "run", committed=lambda report: go.wait(10) and None)
    state = state_of(w=np.ones(3))
    run.save(state, 1)
    assert run.save(state, 2, if_running="skip").skipped
    with pytest.raises(errors.LockedError, match="step 1 still runs"):
        run.save(state, 2, if_running="error")
    go.set()
    assert not run.save(state, 2).skipped
    run.close()
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1, 2]


def test_what_fails_behind_is_raised_once(tmp_path: Path) -> None:
    run, state = save_that_fails(tmp_path / "run"), state_of(w=np.ones(3))
    with pytest.raises(errors.EarlyWriteError):
        run.save(state, 2)
    run.save(state, 2, mode="sync")
    with pytest.raises(errors.ExistsError):
        run.save(state, 2)
    run.close()
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [2]


def test_log_and_metrics(tmp_path: Path) -> None:
    run = native.Run(tmp_path / "run")
    run.log(1, {"loss": 3.0, "nan": float("nan")})
    run.save(state_of(w=np.ones(3)), 2, mode="sync", metrics={"loss": 2.0})
    run.log(3, {})
    run.close()
    rows = native.metrics(tmp_path / "run")
    assert [(step, row.get("loss")) for step, _, row in rows] == [(1, 3.0), (2, 2.0), (3, None)]
    assert rows[0][2]["nan"] != rows[0][2]["nan"]
    with (tmp_path / "run/metrics.jsonl").open("ab") as file:
        file.write(b'{"step":4,"te')
    with pytest.warns(RuntimeWarning, match="1 torn"):
        assert len(native.metrics(tmp_path / "run")) == 3


def test_close_is_final_and_repeats(tmp_path: Path) -> None:
    run = native.Run(tmp_path / "run")
    assert "open" in repr(run) and "run" in repr(run)
    run.close()
    run.close()
    assert "closed" in repr(run)
    state = state_of(w=np.ones(3))
    calls: list[Callable[[], object]] = [
        lambda: run.save(state, 1),
        lambda: run.restore(state),
        lambda: run.reserve(state),
        lambda: run.log(1, {}),
        run.fence,
        run.wait,
        run.status,
        run.cancel,
    ]
    for call in calls:
        with pytest.raises(errors.UsageError, match="closed"):
            call()


# ----------------------------------------------------------------------------------------------------------- restoring


def test_restore_reports_each_leaf(tmp_path: Path) -> None:
    make_run(tmp_path / "run", w=np.ones(3), gone=np.ones(2))
    run = native.Run(tmp_path / "run")
    state = state_of(w=np.zeros(3))
    bind(state, "buffer", np.zeros(2))
    bind(state, "moment", np.zeros(3), "optimizer", flags=native.OPTIMIZER)
    with pytest.raises(errors.MismatchError, match="moment"):
        run.restore(state)
    report = run.restore(state, allow_missing=True)
    assert sorted(report.leaves) == [
        ("model", "buffer", "new"),
        ("model", "gone", "unexpected"),
        ("model", "w", "restored"),
        ("optimizer", "moment", "missing"),
    ]
    assert report.counts == {"restored": 1, "missing": 1, "unexpected": 1, "converted": 0, "new": 1, "skipped": 0}
    assert [o for i, _, o in run.restore(state, items=["model"]).leaves if i == "optimizer"] == ["skipped"]
    run.close()


def test_restore_of_a_new_run_and_of_a_step(tmp_path: Path) -> None:
    array = np.ones(3)
    state = state_of(w=array)
    run = native.Run(tmp_path / "run")
    fresh = run.restore(state)
    assert fresh.fresh and fresh.step == 0 and fresh.name is None and fresh.leaves == []
    for step in (1, 2):
        array[:] = step
        run.save(state, step, mode="sync")
    assert run.restore(state, step=1).step == 1 and array[0] == 1
    with pytest.raises(errors.NotFoundError):
        run.restore(state, step=9)
    run.close()


def test_choose_is_asked_for_each_that_is_tried(tmp_path: Path) -> None:
    make_run(tmp_path / "run", steps=2)
    damage(tmp_path / "run/checkpoint-2/model.safetensors")
    array = np.zeros((3, 4), np.float32)
    state, seen, kept = state_of(w=array), [], []

    def choose(checkpoint: native.Checkpoint) -> native.State:
        assert checkpoint.info.entry is not None
        seen.append(checkpoint.info.entry.step)
        kept.append(checkpoint)
        with pytest.raises(errors.UsageError, match="cannot be mapped"):
            checkpoint.map(("model", "w"))
        with pytest.raises(errors.UsageError, match="by its own callbacks"):
            run.wait()
        return state

    run = native.Run(tmp_path / "run")
    report = run.restore(None, choose=choose)
    run.close()
    assert (report.step, report.skipped_damaged, seen) == (1, 1, [2, 1])
    assert array[1, 0] == 4
    with pytest.raises(errors.UsageError, match="closed"):
        kept[0].info
    state.set_value("extra", "x", 1)
    array[:] = 0
    assert native.load(tmp_path / "run/checkpoint-1", None, choose=lambda checkpoint: state).counts["restored"] == 1
    assert array[1, 0] == 4


def test_what_choose_raises_is_raised(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    state = state_of(w=np.zeros((3, 4), np.float32))
    run = native.Run(tmp_path / "run")
    with pytest.raises(ZeroDivisionError):
        run.restore(state, choose=lambda checkpoint: 1 // 0)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="State"):
        run.restore(None, choose=lambda checkpoint: 3)  # type: ignore[arg-type,return-value]
    assert run.restore(state).step == 1
    run.close()


# ----------------------------------------------------------------------------------------------------------- callbacks


def test_callbacks(tmp_path: Path) -> None:
    messages: list[str] = []
    statuses: list[native.Status] = []
    reports: list[native.SaveReport] = []
    run = native.Run(tmp_path / "run", message=messages.append, progress=statuses.append, committed=reports.append)
    array = np.ones(3)
    state = state_of(w=array)
    run.save(state, 1)
    run.wait()
    array[0] = np.nan
    run.save(state, 2, mode="sync")
    run.close()
    assert [(r.step, r.name, r.healthy) for r in reports] == [(1, "checkpoint-1", True), (2, "checkpoint-2", False)]
    assert statuses[-1].phase == "durable" and statuses[-1].step == 2
    assert any("NaN" in message or "unhealthy" in message for message in messages)


def test_what_a_callback_raises_goes_to_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: caught.append(unraisable.exc_value))
    run = native.Run(tmp_path / "run", committed=lambda report: 1 // 0)
    run.save(state_of(w=np.ones(3)), 1)
    run.wait()
    run.close()
    assert [type(error) for error in caught] == [ZeroDivisionError]


def test_a_callback_cannot_use_its_run(tmp_path: Path) -> None:
    said: list[str] = []

    def committed(report: native.SaveReport) -> None:
        try:
            run.wait()
        except errors.UsageError as error:
            said.append(str(error))
        said.append(run.status().phase)

    run = native.Run(tmp_path / "run", committed=committed)
    state = state_of(w=np.ones(3))
    run.save(state, 1)
    run.wait()
    run.save(state, 2, mode="sync")
    run.close()
    assert said[1::2] == ["committing"] * 2 and all("callbacks" in text for text in said[::2])


# ---------------------------------------------------------------------------------------------------------------- life


def test_a_lazy_save_holds_its_state(tmp_path: Path) -> None:
    array = large(8)
    watch = weakref.ref(array)
    run = native.Run(tmp_path / "run")
    run.save(state_of(w=array), 1, mode="lazy")
    run.save(state_of(w=np.ones(3)), 2, mode="lazy", if_running="skip")
    del array
    gc.collect()
    assert watch() is not None
    run.fence()
    assert watch() is None
    run.close()


def test_an_eager_save_holds_nothing(tmp_path: Path) -> None:
    array = large(8)
    watch = weakref.ref(array)
    run = native.Run(tmp_path / "run")
    run.save(state_of(w=array), 1)
    del array
    assert watch() is None
    run.close()


def test_a_run_that_is_dropped_is_closed(tmp_path: Path) -> None:
    run = native.Run(tmp_path / "run")
    run.save(state_of(w=large(8)), 1)
    with pytest.warns(ResourceWarning, match="run' was not closed"):
        del run
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1]
    native.Run(tmp_path / "run").close()


def test_a_run_in_a_cycle_is_closed(tmp_path: Path) -> None:
    class Owner:
        def __init__(self) -> None:
            self.steps: list[int] = []
            self.array = large(8)
            self.state = state_of(w=self.array)
            self.state.bind("model", "own", "F32", (1,), self.array.ctypes.data, self)
            self.run = native.Run(tmp_path / "run", committed=self.committed)

        def committed(self, report: native.SaveReport) -> None:
            self.steps.append(report.step)

    owner = Owner()
    watch, steps = weakref.ref(owner), owner.steps
    owner.run.save(owner.state, 1, mode="lazy")
    del owner
    with pytest.warns(ResourceWarning):
        gc.collect()
    assert watch() is None and steps == [1]
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1]


def test_what_a_dropped_run_fails_with_goes_to_the_hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    caught: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: caught.append(unraisable.exc_value))
    run = save_that_fails(tmp_path / "run")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        del run
    assert [type(error) for error in caught] == [errors.EarlyWriteError]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_nothing_leaks(tmp_path: Path) -> None:
    array = np.ones((4, 3), np.float32)
    value = {"a": [1, 2**70, "text", b"bytes", (1.5, None)], "b": native.Tagged("t", {1: 2})}
    make_run(tmp_path / "run", w=array)

    def once() -> None:
        state = state_of(w=array, t=array.T)
        state.set_value("extra", "v", value)
        state.value("extra", "v")
        for bad in ({"x": object()}, "\ud800"):
            with pytest.raises((TypeError, ValueError)):
                state.set_value("extra", "bad", bad)
        with pytest.raises(errors.MismatchError):
            native.load("run@1", state, store=tmp_path)
        native.load("run@1", state_of(w=array), store=tmp_path)
        with native.Checkpoint("run@1", tmp_path) as checkpoint:
            checkpoint.map(checkpoint.tensors[0])
            checkpoint.values()
            with pytest.raises(errors.NotFoundError):
                checkpoint.map(("model", "none"))
        native.listing(tmp_path / "run")
        native.metrics(tmp_path / "run")
        native.verify("run@1", tmp_path)

    for _ in range(30):
        once()
    gc.collect()
    counts, objects, memory = sys.getrefcount(array), len(gc.get_objects()), resident_bytes()
    for _ in range(200):
        once()
    gc.collect()
    assert sys.getrefcount(array) == counts
    assert len(gc.get_objects()) - objects < 50
    assert resident_bytes() - memory < 2 * MIB


def test_states_leak_nothing() -> None:
    array, value = np.ones((4, 3), np.float32), {"a": [1, 2**70, "text", (1.5, None)]}

    def fill(count: int) -> None:
        for _ in range(count):
            state = state_of(t=array.T)
            state.set_value("extra", "v", value)
            with pytest.raises(TypeError):
                state.set_value("extra", "w", [value, object()])

    fill(100)
    memory = resident_bytes()
    fill(4000)
    assert resident_bytes() - memory < 2 * MIB


def test_runs_leak_nothing(tmp_path: Path) -> None:
    array = np.ones(3, np.float32)
    state, seen = state_of(w=array), [0]

    def committed(report: native.SaveReport) -> None:
        seen[0] = report.step

    def once(number: int) -> None:
        run = native.Run(tmp_path / f"run{number}", committed=committed, message=print)
        run.save(state, 1, mode="lazy", metrics={"a": 1.0}, attachments={"a.txt": b"x"}, tags=["t"])
        run.close()

    once(0)
    before = sys.getrefcount(state), sys.getrefcount(committed)
    for number in range(1, 20):
        once(number)
    assert (sys.getrefcount(state), sys.getrefcount(committed)) == before and seen == [1]


# ------------------------------------------------------------------------------------------------- threads and signals


def test_others_run_during_a_save(tmp_path: Path) -> None:
    state, ticks, done = state_of(w=large(256)), [], threading.Event()

    def count() -> None:
        while not done.wait(0.001):
            ticks.append(time.monotonic())

    run, thread = native.Run(tmp_path / "run"), threading.Thread(target=count)
    thread.start()
    begin = time.monotonic()
    run.save(state, 1, mode="sync")
    end = time.monotonic()
    done.set()
    thread.join()
    run.close()
    longest = max(b - a for a, b in zip([begin, *ticks], [*ticks, end], strict=True))
    assert end - begin > 0.05 and longest < (end - begin) / 2


def test_threads_take_turns_on_a_run(tmp_path: Path) -> None:
    run, state = native.Run(tmp_path / "run"), state_of(w=large(32))
    failures: list[BaseException] = []

    def log(number: int) -> None:
        try:
            for step in range(50):
                run.log(number * 50 + step, {"x": 1.0})
                run.status()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=log, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for step in range(1, 4):
        run.save(state, step, mode="sync")
    for thread in threads:
        thread.join()
    run.close()
    assert not failures and len(native.metrics(tmp_path / "run")) == 200


def test_a_state_in_use_is_not_changed(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    state = state_of(w=np.zeros((3, 4), np.float32))

    def choose(checkpoint: native.Checkpoint) -> native.State:
        with pytest.raises(errors.UsageError, match="another call"):
            state.set_value("extra", "x", 1)
        return state

    assert native.load("run@1", state, store=tmp_path, choose=choose).counts["restored"] == 1
    state.set_value("extra", "x", 1)


def test_wait_can_be_interrupted(tmp_path: Path) -> None:
    go = threading.Event()
    run = native.Run(tmp_path / "run", committed=lambda report: go.wait(30) and None)
    run.save(state_of(w=np.ones(3)), 1)
    for call in (run.wait, run.close):
        began = time.monotonic()
        with alarm_raises(0.2), pytest.raises(KeyboardInterrupt):
            call()
        assert 0.1 < time.monotonic() - began < 2
    threading.Timer(0.3, go.set).start()
    began = time.monotonic()
    run.wait()
    assert 0.2 < time.monotonic() - began < 2
    run.close()
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1]


def test_wait_returns_as_soon_as_the_save_is_durable(tmp_path: Path) -> None:
    """Slices of a tenth of a second are for signals; they must not round the time up."""
    run, state, late_s = native.Run(tmp_path / "run", committed=lambda report: ended.append(time.monotonic())), state_of(w=large(4)), []
    ended: list[float] = []
    for step in range(1, 9):
        run.save(state, step)
        run.wait()
        late_s.append(time.monotonic() - ended[-1])
    run.close()
    assert sorted(late_s)[4] < 0.05


def test_who_waits_for_a_run_that_is_closed_is_told(tmp_path: Path) -> None:
    go, failures = threading.Event(), []
    run = native.Run(tmp_path / "run", committed=lambda report: go.wait(30) and None)
    run.save(state_of(w=np.ones(3)), 1)

    def log() -> None:
        try:
            run.log(1, {})
        except errors.UsageError as error:
            failures.append(str(error))

    closer = threading.Thread(target=run.close)
    closer.start()
    time.sleep(0.1)
    logger = threading.Thread(target=log, daemon=True)
    logger.start()
    time.sleep(0.1)
    go.set()
    closer.join(10)
    logger.join(10)
    assert not logger.is_alive() and failures == ["this run is closed"]


def test_cancel_from_another_thread(tmp_path: Path) -> None:
    run, state = native.Run(tmp_path / "run"), state_of(w=large(256))
    ended = threading.Event()

    def cancel() -> None:
        while not ended.wait(0.005):
            run.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    try:
        with pytest.raises(errors.CancelledError):
            for step in range(1, 20):
                run.save(state, step, mode="sync")
    finally:
        ended.set()
        thread.join()
    run.close()


def test_a_forked_child_is_told(tmp_path: Path) -> None:
    state = state_of(w=large(8))
    run = native.Run(tmp_path / "run")
    run.save(state, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if not child:
        code = 1
        try:
            signal.alarm(10)
            for call in (lambda: run.save(state, 2), run.status, run.wait, run.fence, run.close, lambda: run.log(1, {}), lambda: run.reserve(state)):
                try:
                    call()
                except errors.ForkedError:
                    continue
                os._exit(2)
            del run, call
            gc.collect()
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run.wait()
    run.save(state, 2, mode="sync")
    run.close()
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1, 2]


# --------------------------------------------------------------------------------------------------- end of the program


def run_script(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-W", "default::ResourceWarning", "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script), str(folder / "run")]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_a_run_left_open_is_closed_before_the_interpreter_goes(tmp_path: Path) -> None:
    result = run_script(
        """
        import sys, time
        import numpy as np
        from native_help import state_of
        from cairn import _native as native
        def committed(report):
            time.sleep(0.3)
            print("committed", report.step, flush=True)
        run = native.Run(sys.argv[1], committed=committed, progress=lambda status: None)
        run.save(state_of(w=np.ones(1 << 20)), 1)
        """,
        tmp_path,
    )
    assert (result.returncode, result.stdout) == (0, "committed 1\n"), result.stderr
    assert "was not closed" in result.stderr
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1]


def test_a_fork_at_exit_leaves_the_parents_run_alone(tmp_path: Path) -> None:
    result = run_script(
        """
        import os, sys
        import numpy as np
        from native_help import state_of
        from cairn import _native as native
        run = native.Run(sys.argv[1])
        run.save(state_of(w=np.ones(1 << 20)), 1)
        child = os.fork()
        if child:
            assert os.waitpid(child, 0)[1] == 0
            run.save(state_of(w=np.ones(1 << 20)), 2, mode="sync")
            run.close()
        """,
        tmp_path,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert [entry.step for entry in native.listing(tmp_path / "run")] == [1, 2]


@pytest.mark.parametrize("said", [None, "model/w", 7, RuntimeError("no answer")])
def test_who_counts_changes_is_asked_when_a_lazy_save_is_staged(tmp_path: Path, said: object) -> None:
    asked: list[threading.Thread] = []
    raised: list[object] = []

    def written() -> object:
        asked.append(threading.current_thread())
        if isinstance(said, Exception):
            raise said
        return said

    run = native.Run(tmp_path / "run", written=written)
    array = np.zeros(1 << 16, np.float32)
    run.save(state_of(w=array), 1)
    assert not asked, "an eager save is staged when it returns"
    hook, sys.unraisablehook = sys.unraisablehook, raised.append
    try:
        run.save(state_of(w=array + 1), 2, mode="lazy")
        if said is None:
            run.wait()
        else:
            with pytest.raises(errors.EarlyWriteError, match="model/w" if said == "model/w" else r"tensor '\?'"):
                run.wait()
    finally:
        sys.unraisablehook = hook
    assert len(asked) == 1 and asked[0] is not threading.main_thread()
    assert len(raised) == (said not in (None, "model/w"))
    run.close()
    assert [entry.step for entry in native.listing(tmp_path / "run")] == ([1, 2] if said is None else [1])
