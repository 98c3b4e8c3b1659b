"""What one process measures of one saver with one state: session.py SAVER STATE SCALE FOLDER prints {figure: [samples]} as one line of JSON.

Seconds, unless the name says bytes. A save is followed until it is durable: what the saver did not sync itself is synced here, and counted.
"""
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import memory
import numpy
import plain
import savers
import states
import torch
from timing import size_of, sync, timed

COMPUTE_S = 0.5  # what training does between a save and its next step
REST_S = 1.0  # before a save and before the raw writer, less in a trial: a disk may be slower right behind what was written or removed


def touch(loaded: savers.Loaded) -> int:
    """Reads a byte of each page."""
    total = 0
    for array in loaded.values():
        view = array.detach().numpy() if isinstance(array, torch.Tensor) else numpy.asarray(array)
        total += int(view.reshape(-1).view(numpy.uint8)[::4096].sum())
    return total


class Session:
    """One process's measurements."""

    def __init__(self, saver: savers.Saver, state: states.State, folder: Path, rest_s: float) -> None:
        self.saver, self.state, self.folder, self.rest_s = saver, state, folder, rest_s
        self.samples: dict[str, list[float]] = defaultdict(list)
        self.plain = plain.Plain(state.flat().values()) if isinstance(saver, savers.Cairn) else None

    def run(self) -> None:
        """All of them."""
        before = memory.current_bytes()
        memory.reset_peak()
        self.saver.open(self.state, self.folder)
        for step, which in enumerate(self._plan(), 1):
            self.state.change()
            time.sleep(self.rest_s)
            if self.plain is not None and which in ("first", "later"):
                self._save_beside_ceilings(step, which)
            else:
                self._save(step, which)
        self.samples["extra_bytes"].append(memory.peak_bytes() - before)
        self.samples["written_bytes"].append(size_of(self.saver.path(step)))
        if self.saver.loads:
            self._load(step)
        self.saver.close()

    def _plan(self) -> Iterable[str]:
        """What each save is: the "first" one, a "later" one, or one behind which something is "computed" before the state is changed again. A lazy saver is
        lazy from its third save on, and those before are none of its."""
        if isinstance(self.saver, savers.CairnLazy):
            return ("eager", "eager", "computed", "computed", "later", "later")
        return ("first", "later", "later", "computed") if self.saver.is_async else ("first", "later", "later")

    def _save(self, step: int, which: str) -> None:
        start = time.perf_counter()
        self.saver.save(step)
        stall = time.perf_counter() - start
        if which == "computed":
            time.sleep(COMPUTE_S)
            self.samples["hidden_stall"].append(stall + timed(self.saver.wait_until_safe))
            self.saver.wait()
            return
        self.saver.wait_until_safe()
        safe = time.perf_counter() - start
        self.saver.wait()
        if not self.saver.syncs:
            sync(self.saver.path(step))
        durable = time.perf_counter() - start
        for name, value in (("stall", stall), ("safe", safe), ("durable", durable)):
            self.samples[f"{which}_{name}"].append(value)

    def _save_beside_ceilings(self, step: int, which: str) -> None:
        """The same tensors are copied plainly right before the save and right after it: the machine's memory is not as fast from one minute to the next. Files
        of the same sizes are written by two threads and by four."""
        assert self.plain is not None
        before = self.plain.copy(2)
        self._save(step, which)
        copy = min(before, self.plain.copy(2))
        stall, durable = (self.samples[f"{which}_{figure}"][-1] for figure in ("stall", "durable"))
        self.samples[f"{which}_copy"].append(copy)
        self.samples[f"{which}_stall_by_copy"].append(stall / copy)
        for threads in (2, 4) if step % 2 else (4, 2):
            time.sleep(self.rest_s)
            write = self._write(step, self.folder / "plain", threads)
            self.samples[f"{which}_write_{threads}"].append(write)
            self.samples[f"{which}_durable_by_write_{threads}"].append(durable / write)
            self.samples[f"{which}_durable_by_copy_and_write_{threads}"].append(durable / (copy + write))

    def _write(self, step: int, target: Path, threads: int) -> float:
        seconds = self.plain.write(self.saver.path(step), target, threads)
        for found in sorted(target.rglob("*"), reverse=True):
            found.rmdir() if found.is_dir() else found.unlink()
        target.rmdir()
        return seconds

    def _load(self, step: int) -> None:
        path = self.saver.path(step)
        for name in ("first_load", "cold_load"):  # a virtual machine may have to take the memory of the first one from its host
            plain.drop(path)
            self.samples[name].append(timed(lambda: touch(self.saver.load(step))))
        plain.fill(path)
        self.samples["warm_load"].append(timed(lambda: touch(self.saver.load(step))))
        if hasattr(self.saver, "map"):
            self.samples["warm_map"].append(min(timed(lambda: self.saver.map(step)) for _ in range(3)))
            self.samples["warm_map_touched"].append(timed(lambda: touch(self.saver.map(step))))
            plain.drop(path)
            self.samples["cold_map_touched"].append(timed(lambda: touch(self.saver.map(step))))
        plain.fill(path)
        before = memory.current_bytes()
        memory.reset_peak()
        self.samples["warm_fill"].append(timed(lambda: self.saver.fill(step)))
        self.samples["fill_extra_bytes"].append(memory.peak_bytes() - before)
        self.samples["warm_fill"].append(timed(lambda: self.saver.fill(step)))
        plain.drop(path)
        self.samples["cold_fill"].append(timed(lambda: self.saver.fill(step)))
        if self.plain is not None:
            self._read_plainly(path)

    def _read_plainly(self, path: Path) -> None:
        assert self.plain is not None
        for threads in (2, 4):
            plain.drop(path)
            self.samples[f"cold_read_{threads}"].append(self.plain.read(path, threads))
            plain.drop(path)
            self.samples[f"cold_read_anew_{threads}"].append(self.plain.read_anew(path, threads))
        plain.fill(path)
        self.samples["warm_read_digested"].append(min(self.plain.read_digested(path, 2) for _ in range(2)))


def main() -> None:
    """See the head of this file."""
    saver, name, scale, folder = savers.ALL[sys.argv[1]](), sys.argv[2], float(sys.argv[3]), Path(sys.argv[4])
    session = Session(saver, states.make(name, scale), folder, REST_S * min(scale, 1))
    session.run()
    print(json.dumps({"bytes": session.state.bytes, "samples": session.samples}), flush=True)
    os._exit(0)  # a peer's threads and processes are not waited for


if __name__ == "__main__":
    main()
