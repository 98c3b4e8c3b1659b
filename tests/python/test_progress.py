"""A bar while somebody waits: under a terminal, with tqdm, in long waits; and nothing at all in any other case."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest

import cairn
from cairn import _progress

tqdm = pytest.importorskip("tqdm")


class Terminal:
    """A pseudo-terminal, and all that was written to it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))
        self.written = b""
        self.reader = threading.Thread(target=self._read)
        self.reader.start()

    def _read(self) -> None:
        try:
            while piece := os.read(self.master, 1 << 16):
                self.written += piece
        except OSError:  # nobody holds the other end any more
            pass

    def wait_for(self, text: str) -> None:
        """Until that is on it."""
        until = time.monotonic() + 20
        while text.encode() not in self.written:
            assert time.monotonic() < until, self.written
            time.sleep(0.005)

    def text(self) -> str:
        """When all is over; the other end is closed."""
        self.reader.join()
        os.close(self.master)
        return self.written.decode()


@contextmanager
def watched() -> Iterator[Terminal]:
    """sys.stderr is a terminal, and any wait a long one."""
    made = Terminal()
    with os.fdopen(made.slave, "w") as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", stream)
        patch.setattr(_progress, "DELAY_S", 0.0)
        patch.setattr(_progress, "INTERVAL_S", 0.001)
        yield made
    made.text()


def threads() -> list[str]:
    """Ours."""
    return [thread.name for thread in threading.enumerate() if thread.name == "cairn-progress"]


def test_a_long_wait_has_a_bar_that_goes_when_it_is_over() -> None:
    with watched() as terminal:
        with _progress.counted("restoring gpt", 4_000_000) as figures:
            terminal.wait_for("restoring gpt:   0%")
            figures[0] = 3_000_000
            terminal.wait_for("restoring gpt:  75%")
            assert "3.00M/4.00M" in terminal.written.decode() and threads() == ["cairn-progress"]
            figures[1] = 6_000_000  # the next checkpoint is tried
            terminal.wait_for("restoring gpt:  50%")
        assert threads() == []
        terminal.wait_for("\r" + " " * 20)
        assert terminal.written.decode().split("\r")[-1].strip() == "", "the bar is wiped"


def test_bars_of_the_caller_s_own_stay() -> None:
    with watched() as terminal:
        with tqdm.tqdm(total=10, desc="epoch", file=sys.stderr, mininterval=0) as own:
            own.update(3)
            with _progress.counted("saving gpt", 100):
                terminal.wait_for("saving gpt:   0%")
            own.update(4)
        terminal.wait_for("epoch:  70%")
        assert tqdm.tqdm.monitor is not None, "bars of others are looked after as before"


def test_what_fails_in_the_block_is_raised_and_the_bar_gone() -> None:
    with watched() as terminal:
        with pytest.raises(KeyboardInterrupt), _progress.counted("saving gpt", 100):
            terminal.wait_for("saving gpt:   0%")
            raise KeyboardInterrupt
        assert threads() == []


def test_figures_that_cannot_be_had_end_the_bar_alone() -> None:
    with watched() as terminal:
        asked = threading.Event()

        def figures() -> tuple[int, int]:
            asked.set()
            raise cairn.UsageError("the run is closed")

        with _progress.shown("saving gpt", figures):
            assert asked.wait(20)
        assert threads() == [] and terminal.written == b""


def test_nothing_is_drawn_before_anything_is_known() -> None:
    with watched() as terminal:
        asked = threading.Event()

        def figures() -> tuple[int, int]:
            asked.set()
            return 0, 0

        with _progress.shown("saving gpt", figures):
            assert asked.wait(20)
            time.sleep(0.05)
        assert terminal.written == b""


def test_what_a_run_did_before_is_not_what_one_waits_for(tmp_path: Path) -> None:
    with cairn.CheckpointManager(tmp_path / "gpt", {"a": {"w": numpy.ones(9)}}, mode="sync") as manager:
        manager.save(1, force=True)
        assert manager._run is not None and manager.poll().phase == "durable" and _progress.of_run(manager._run)() == (0, 0)


@pytest.mark.parametrize("stream", [None, object(), open(os.devnull, "w")], ids=["none", "other", "closed"])
def test_whatever_stands_for_the_standard_error_the_wait_is_done(stream: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    if hasattr(stream, "close"):
        stream.close()
    monkeypatch.setattr(sys, "stderr", stream)
    with _progress.counted("saving gpt", 100):
        assert threads() == []


def test_where_no_thread_can_be_started_a_wait_is_without_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    with watched() as terminal:
        monkeypatch.setattr(threading.Thread, "start", refused)
        with _progress.counted("saving gpt", 100):
            pass
        assert terminal.written == b""


# -------------------------------------------------------------------------------------------------------------- in whole programs

PROGRAM = """
import sys, threading, time
import numpy, cairn
from cairn import _lazy, _progress
{before}
state = {{"arrays": {{str(place): numpy.ones(2_000_000) for place in range(4)}}}}
manager = cairn.CheckpointManager({path!r}, state, stop_signals=())
manager.save(1, force=True)
{waits}
manager.close()
for _ in range(20):
    with cairn.CheckpointManager({path!r}, state, stop_signals=()) as manager:
        manager.restore()
print("tqdm" in sys.modules, threading.active_count(), flush=True)
"""
SOON = "_progress.DELAY_S, _progress.INTERVAL_S = 0.0, 0.001; import tqdm"
SLOW = "_lazy.Watch.written = lambda watch: time.sleep({})"  # asked when all is copied, before the save goes on


def run_program(path: Path, before: str, waits: str = "", **options: Any) -> str:
    """What it prints, with the standard error where `options` say."""
    code = PROGRAM.format(path=str(path), before=before, waits=waits)
    return subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True, **options).stdout.strip()


def on_terminal(path: Path, before: str, waits: str = "") -> tuple[str, str]:
    """What it prints, and what is on the terminal."""
    terminal = Terminal()
    printed = run_program(path, before, waits, stderr=terminal.slave)
    os.close(terminal.slave)
    return printed, terminal.text()


def test_restoring_and_closing_have_a_bar_on_a_terminal(tmp_path: Path) -> None:
    printed, text = on_terminal(tmp_path / "gpt", SOON)
    assert printed == "True 1", "the thread that tqdm has for bars which nobody looks after does not run"
    assert "restoring gpt:" in text and "/64.0M" in text
    assert text.split("\r")[-1].strip() == "", "nothing of it is left"


def test_waiting_for_a_save_has_a_bar_on_a_terminal(tmp_path: Path) -> None:
    assert "saving gpt:" in on_terminal(tmp_path / "gpt", f"{SOON}\n{SLOW.format(1)}", "manager.wait_until_finished()")[1]


def test_a_save_that_waits_has_a_bar(tmp_path: Path) -> None:
    state = {"arrays": {"w": numpy.ones(1_000_000)}}
    with watched() as terminal, cairn.CheckpointManager(tmp_path / "gpt", state, mode="sync", on_commit=lambda path: time.sleep(0.5)) as manager:
        manager.save(1, force=True)
        assert "saving gpt:" in terminal.written.decode() and threads() == []


LOADING = """
import sys
import torch, cairn, safetensors.torch
from cairn import _progress
_progress.DELAY_S, _progress.INTERVAL_S = 0.0, 0.001
model = torch.nn.Linear(4000, 4000)
cairn.save({path!r}, {{"model": model}})
safetensors.torch.save_file({{"weight": model.weight.detach().half().contiguous(), "bias": model.bias.detach().half()}}, {path!r} + ".safetensors")
import tqdm
for _ in range(20):
    {load}
"""


@pytest.mark.parametrize(
    "load",
    [
        pytest.param("cairn.load({path!r})", marks=pytest.mark.long),
        pytest.param("cairn.load({path!r}, into=model)", marks=pytest.mark.long),
        'cairn.load({path!r}, into={{"model": model}})',
        pytest.param('cairn.load({path!r} + ".safetensors", into=model)', marks=pytest.mark.long),
    ],
    ids=["new memory", "module", "state", "converted"],
)
def test_loading_has_a_bar_on_a_terminal(load: str, tmp_path: Path) -> None:
    pytest.importorskip("torch"), pytest.importorskip("safetensors")
    code = LOADING.replace("{load}", load).format(path=str(tmp_path / "gpt"))
    terminal = Terminal()
    subprocess.run([sys.executable, "-c", code], stderr=terminal.slave, check=True)
    os.close(terminal.slave)
    text = terminal.text()
    assert "loading gpt" in text and ("/32.0M" if "safetensors" in load else "/64.0M") in text and text.split("\r")[-1].strip() == ""


def test_a_program_that_ends_with_an_open_manager_ends_well(tmp_path: Path) -> None:
    printed, text = on_terminal(tmp_path / "gpt", f"{SOON}\n{SLOW.format(1)}", "raise SystemExit")
    assert printed == "" and (tmp_path / "gpt" / "checkpoint-1" / "manifest.json").exists()
    assert ("saving gpt:" in text or sys.version_info >= (3, 12)) and "Error" not in text


def test_a_short_wait_has_none(tmp_path: Path) -> None:
    assert on_terminal(tmp_path / "gpt", "_progress.DELAY_S = 60") == ("False 1", "")


def test_the_document_says_how_long_a_wait_is_before_it_has_one() -> None:
    page = Path(__file__).parents[2] / "docs/PYTHON.md"
    assert f"more than {_progress.DELAY_S} s" in page.read_text()


def test_without_a_terminal_there_is_nothing(tmp_path: Path) -> None:
    program = tmp_path / "gpt"
    with open(tmp_path / "stderr", "w") as stream:
        assert run_program(program, SOON.replace("; import tqdm", ""), "manager.wait_until_finished()", stderr=stream) == "False 1"
    assert (tmp_path / "stderr").read_text() == ""


def test_without_tqdm_there_is_nothing(tmp_path: Path) -> None:
    assert on_terminal(tmp_path / "gpt", SOON.replace("import tqdm", "sys.modules['tqdm'] = None")) == ("True 1", "")
