"""python -m cairn verify-resume SCRIPT: the proof on a training script as it is, killed and resumed in a folder of its own.

The reference runs to its end, or to step K. Then the script runs again, saves at a random step, is killed as soon as that checkpoint is durable, and is
started once more. Every checkpoint that both runs have is compared leaf by leaf; the last one they always have. How the script is told: _trial.py;
with which random numbers it begins: _begin.py.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import _begin, _compare, _environment, _filling, _native, _trial, _verify
from ._checkpoint import Checkpoint
from ._errors import Error

SAME, DIFFERS, BAD_USE, COULD_NOT = range(4)
_TAIL = 20  # lines of a failed script that are shown

_EPILOG = """The script must save with cairn.CheckpointManager, restore with it at its start, and end by itself or with --steps; its runs are put
into a folder of their own, whatever else it writes is written. What is shown holds for the same kind of machine, versions, threads and world size.
exit status: 0 the same bits, 1 they differ, 2 bad use, 3 it could not be tried."""


class _CouldNot(Exception):
    """It is not known whether the bits are the same."""


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    own, arguments_of_script = list(arguments), list[str]()
    if "--" in own:
        at = own.index("--")
        own, arguments_of_script = own[:at], own[at + 1 :]
    parser = argparse.ArgumentParser(
        "python -m cairn verify-resume", usage="%(prog)s [OPTION...] SCRIPT [-- ARG...]", description="Shows that a training script, killed and resumed, ends with the same bits.", epilog=_EPILOG
    )
    parser.add_argument("script", metavar="SCRIPT", help="a Python file")
    parser.add_argument("--steps", metavar="K", type=_positive, help="stop after K optimizer steps; else the script ends by itself")
    parser.add_argument("--kill-at", metavar="N", type=_positive, help="the step to be killed after; by default a random one")
    parser.add_argument("--ignore", metavar="REGEX", type=_pattern, action="append", default=[], help="leaves that may differ, such as times; may be given again")
    parser.add_argument("--folder", metavar="FOLDER", help="for the checkpoints, which stay there; else a temporary one, which stays if they differ")
    parsed = parser.parse_args(own, argparse.Namespace(arguments=arguments_of_script))
    if not Path(parsed.script).is_file():
        parser.error(f"{parsed.script}: no such script")
    if parsed.steps and parsed.kill_at and parsed.kill_at >= parsed.steps:
        parser.error(f"--kill-at {parsed.kill_at} is not before --steps {parsed.steps}")
    return parsed


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is no number of steps, from 1 on")
    return int(text)


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text} is no regular expression: {error}") from None
    return text


def main(arguments: Sequence[str]) -> int:
    """Exit status 0 the same, 1 differs, 2 bad use (by argparse), 3 could not."""
    asked = _parse(arguments)
    folder = Path(asked.folder or tempfile.mkdtemp(prefix="cairn-verify-"))
    folder.mkdir(parents=True, exist_ok=True)
    try:
        status = _Script([asked.script, *asked.arguments], folder, asked.steps, asked.kill_at, asked.ignore).verify()
    except (_CouldNot, Error, OSError) as error:
        print(f"could not verify: {error}", file=sys.stderr)
        status = COULD_NOT
    if asked.folder or status == DIFFERS:
        print(f"both runs are in {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return status


@dataclass
class _Script:
    command: list[str]
    folder: Path
    steps: int | None
    kill_at: int | None
    ignore: list[str]

    def verify(self) -> int:
        self._start("reference", "reference", 0)
        last = self._last("reference")
        kill_at = self.kill_at or (random.randrange(1, last) if last > 1 else 1)
        if kill_at >= last:
            raise _CouldNot(f"the script's last checkpoint is of step {last}: there is no step before it to be killed after")
        self._start("killed", "resumed", -signal.SIGKILL, kill_at)
        killed = self._last("resumed")
        self._start("resumed", "resumed", 0)
        return self._judge(killed)

    def _start(self, what: str, place: str, status: int, kill_at: int | None = None) -> None:
        """Runs the script to its end, whose status must be this one."""
        environment = {**os.environ, _trial.DIRECTORY_PREFIX: str(self.folder / place), _begin.HASH_SEED: _begin.hash_seed(what)}
        environment |= {name: str(step) for name, step in ((_trial.STOP_AT_STEP, self.steps), (_trial.KILL_AT_STEP, kill_at)) if step}
        output, begun = self.folder / f"{what}.log", time.monotonic()
        with open(output, "wb") as file:
            command = [sys.executable, _begin.__file__, str(_begin.seed_of(what)), *self.command]
            ended = subprocess.run(command, env=environment, stdout=file, stderr=subprocess.STDOUT, check=False).returncode
        print(f"{what}: {time.monotonic() - begun:.1f} s{f', killed after step {kill_at}' if kill_at else ''}", flush=True)
        if ended != status:
            tail = "\n".join(output.read_text(errors="replace").splitlines()[-_TAIL:])
            wanted = "it was to be killed, and ended with status 0: does it save with save(step) at every step?" if kill_at and not ended else f"status {ended}"
            raise _CouldNot(f"the {what} run: {wanted}\n{tail}")

    def _runs(self, place: str) -> dict[str, Path]:
        """The runs of a program, by where they would lie without this."""
        root = self.folder / place
        return {f"/{file.parent.relative_to(root)}": file.parent for file in sorted(root.rglob("run.json"))}

    def _last(self, place: str) -> int:
        steps = [entry.step for run in self._runs(place).values() for entry in _native.listing(os.fspath(run)) if entry.standing == "current"]
        if not steps:
            raise _CouldNot("the script made no checkpoint: it is to save with cairn.CheckpointManager (see --steps)")
        return max(steps)

    def _judge(self, killed: int) -> int:
        """All that both have, the oldest first."""
        resumed, compared, leaves = self._runs("resumed"), 0, 0
        for name, run in self._runs("reference").items():
            if name not in resumed:
                raise _CouldNot(f"{name} is a run of the reference alone: give the script a directory that does not change from run to run")
            own, other = _checkpoints(run), _checkpoints(resumed[name])
            if max(own) != max(other):
                raise _CouldNot(f"{name}: the last checkpoint is of step {max(own)}, and resumed of step {max(other)}")
            for step in sorted(own.keys() & other.keys()):
                with Checkpoint(own[step]) as was, Checkpoint(other[step]) as now:
                    found = _compare.differing(was, now, self.ignore)
                    if found:
                        return self._tell(name, step, killed, found, now)
                    compared, leaves = compared + 1, sum(len(item) for item in now.values())
        facts = ", ".join(f"{key} {value}" for key, value in _facts(own[max(own)]).items())
        print(f"the same bits: {compared} checkpoint(s) compared, the last one of step {max(own)}, {leaves} leaves\nshown for {facts}")
        return SAME

    def _tell(self, run: str, step: int, killed: int, found: list[_compare.Difference], now: Checkpoint) -> int:
        print(f"{run}: the bits differ at step {step}: {found[0]}" + (f" ({len(found) - 1} more leaves differ, too)" if len(found) > 1 else ""))
        if step <= killed:
            print("this is before the kill: two runs of the script differ without any resume")
        for cause in _verify.hints(now, found, None, draws=True):
            print(f"perhaps: {cause}")
        return DIFFERS


def _checkpoints(run: Path) -> dict[int, Path]:
    return {entry.step: run / entry.name for entry in _native.listing(os.fspath(run)) if entry.standing == "current"}


def _facts(checkpoint: Path) -> dict[str, object]:
    """What the reference said of the process that saved it."""
    with Checkpoint(checkpoint) as opened:
        return dict(_filling.about(opened.native).get("environment", _environment.environment()))
