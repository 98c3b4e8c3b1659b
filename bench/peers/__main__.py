"""Cairn and what people use, in one run: `make bench-peers`, PEERS="--states small --rounds 3".

Every round starts each saver in a process of its own, in another order, with the same bytes; Cairn's processes measure the raw writer, reader and copy of
`make bench` right beside it. What is measured where: session.py, training.py, early.py. Results go to a file of JSON, and into a page by --page.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import page
import plain
import savers
import states

HERE = Path(__file__).parent
TRAINING = ("cairn", "cairn-lazy", "torch", "safetensors", "dcp-async", "dcp-cached", "dcp-behind", "dcp-process", "tc", "orbax")
EARLY = ("cairn", "cairn-lazy", "dcp-async", "dcp-cached", "dcp-behind", "dcp-process", "tc", "orbax")
ROOM = {"large": 16, "gpt2": 12, "small": 2}  # GiB on disk


class Bench:
    """The runs of child processes and what they said."""

    def __init__(self, options: argparse.Namespace, keep: Callable[[], object]) -> None:
        """keep: called after each table's round."""
        self.options, self._keep = options, keep
        self.samples: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
        self.bytes: dict[str, int] = {}
        self.said: dict[str, dict[str, str]] = defaultdict(dict)  # failures, and what was said of early writes

    def measure(self, table: str, script: str, saver: str, *arguments: object) -> None:
        """Runs a script for a saver; its samples join those of the table. A failure is part of the table."""
        if saver in self.said[table] and not self.samples[table][saver]:
            return  # it failed before
        with tempfile.TemporaryDirectory(prefix="cairn-bench-peers-", dir=self.options.dir) as folder:
            command = [sys.executable, HERE / script, saver, *map(str, arguments), folder]
            try:
                run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=self.options.limit, env=_environment())
                lines = [line for line in run.stdout.splitlines() if line.startswith('{"bytes"')]
                failure = _failure(run) if not lines else None
            except subprocess.TimeoutExpired:
                lines, failure = [], f"not done after {self.options.limit} s"
        print(f"{table:16} {savers.ALL[saver].name:28} {failure or 'done'}", file=sys.stderr, flush=True)
        if failure is not None:
            self.said[table][saver] = failure.replace(f"{folder}/", "")
            return
        answer = json.loads(lines[-1])
        self.bytes[table] = answer["bytes"]
        for figure, values in answer["samples"].items():
            self.samples[table][saver][figure] += values
        if answer.get("said"):
            self.said[table][saver] = answer["said"].replace(f"{folder}/", "")

    def run(self) -> None:
        """All that was asked for."""
        chosen = self.options.savers
        for number in range(self.options.rounds):
            for state in self.options.states:
                for saver in _turned(chosen, number):
                    self.measure(state, "session.py", saver, state, self.options.scale)
                self._keep()
        for number in range(self.options.training):
            for threads in sorted({1, os.cpu_count() or 1}):
                for saver in _turned([saver for saver in chosen if saver in TRAINING], number):
                    self.measure(f"train-{threads}", "training.py", saver, threads, self.options.scale)
                self._keep()
        for saver in [saver for saver in chosen if saver in EARLY]:
            self.measure("early", "early.py", saver, self.options.scale)

    def results(self, started: float, is_idle: bool) -> dict[str, Any]:
        """All of it, as JSON has it."""
        packages = ("torch", "safetensors", "torch_checkpointing", "orbax-checkpoint", "jax", "numpy")
        return {
            "machine": {
                "processor": _processor(),
                "cores": os.cpu_count(),
                "memory_bytes": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
                "kernel": f"{platform.system()} {platform.release()}",
                "date": time.strftime("%Y-%m-%d", time.gmtime()),
                "idle": is_idle,
            },
            "versions": {name: version for name in packages if (version := _version(name))},
            "rounds": self.options.rounds,
            "scale": self.options.scale,
            "seconds": round(time.monotonic() - started),
            "bytes": self.bytes,
            "samples": self.samples,
            "said": self.said,
        }


def _turned(names: list[str], number: int) -> list[str]:
    """Another order in each round."""
    turned = names[number % len(names) :] + names[: number % len(names)] if names else []
    return turned[::-1] if number % 2 else turned


def _environment() -> dict[str, str]:
    return os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "MASTER_ADDR": "127.0.0.1", "PYTHONWARNINGS": "ignore"}


def _failure(run: subprocess.CompletedProcess[str]) -> str:
    """The last line of a traceback that says what it was; or the signal that ended it."""
    if run.returncode < 0:
        return f"ended by {signal.Signals(-run.returncode).name}"
    lines = [line.strip() for line in run.stderr.splitlines() if line and not line.startswith((" ", "[", "Exception ignored"))]
    told = next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "it said nothing")
    return told.partition(": '/")[0][:200]  # without a path in a temporary folder


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _names(known: Any) -> Any:
    def split(text: str) -> list[str]:
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"{unknown[0]}: there are {', '.join(known)}")
        return names

    return split


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=_names(states.NAMES), default=list(states.NAMES), help=", ".join(f"{k}: {v}" for k, v in states.NAMES.items()))
    parser.add_argument("--savers", type=_names(savers.ALL), default=list(savers.ALL), help=", ".join(savers.ALL))
    parser.add_argument("--rounds", type=int, default=5, help="processes of each saver and state (5)")
    parser.add_argument("--training", type=int, default=1, help="processes of each saver that train beside it, of three saves each (1)")
    parser.add_argument("--scale", type=float, default=1.0, help="smaller states, for a trial (1)")
    parser.add_argument("--dir", type=Path, default=Path("build"), help="a folder on the disk to measure (build)")
    parser.add_argument("--idle", type=float, default=10.0, help="minutes to wait for an idle machine (10)")
    parser.add_argument("--limit", type=float, default=300.0, help="seconds a process may take (300)")
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--page", type=Path, help="a document whose table is written anew")
    return parser.parse_args()


def _keep(options: argparse.Namespace, bench: Bench, started: float, is_idle: bool) -> dict[str, Any]:
    """Writes down what there is so far, for a run that is interrupted."""
    results: dict[str, Any] = json.loads(json.dumps(bench.results(started, is_idle)))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    return results


def main() -> None:
    """See the head of this file."""
    options = _options()
    if options.page:
        try:
            page.insert(options.page, page.between(options.page))  # before an hour has gone
        except (OSError, ValueError) as error:
            sys.exit(f"--page: {error}")
    room = max((ROOM[state] for state in options.states), default=4) * options.scale
    if shutil.disk_usage(options.dir).free < room * 2**30:
        sys.exit(f"{options.dir}: the bench needs {room:.0f} GiB there; choose another --dir")
    started, is_idle = time.monotonic(), plain.wait_until_idle(options.idle)
    bench = Bench(options, lambda: _keep(options, bench, started, is_idle))
    bench.run()
    text = page.tables(_keep(options, bench, started, is_idle))
    print(text)
    if options.page:
        page.insert(options.page, text)


if __name__ == "__main__":
    main()
