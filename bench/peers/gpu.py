"""Saves of a training run on a GPU, by Cairn and by its peers: gpu.py [--rounds N] [--scale S] [--json FILE]; prints a table.

GPT-2 and its AdamW are trained on the device in bf16. Each round starts each saver in a process of its own, in another order: after three saves beside steps
(memory is made, page-locked and touched) some are timed. *Stall* is the time that `save` takes of the program; *lost* what steps beside a save take longer
than as many steps alone, the device's waiting with it; *durable* ends when every file and the folders are synced, by the bench where a peer does not. *Device
memory* is what a save takes of it for itself. Loads fill the same state again from files that are in the page cache, and *host memory* is what they take for
that; who gives arrays of main memory has them copied by the bench.
The plain copy is that of all tensors into page-locked memory, by one stream, with nothing beside it.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import memory
import savers
import states
import torch
from timing import sync, timed

WARM_UP, SAVES, LEAST_S = 3, 3, 0.7
BATCH, LENGTH = 8, 512


class PinnedDcp(savers.DcpCached):
    """Into page-locked memory that it keeps."""

    name = "DCP async, cached stager, pinned"

    def open(self, state: states.State, folder: Path) -> None:
        from torch.distributed.checkpoint.staging import DefaultStager, StagingOptions

        savers.Saver.open(self, state, folder)
        options = StagingOptions(use_pinned_memory=True, use_shared_memory=False, use_async_staging=self.stages_behind, use_non_blocking_copy=self.stages_behind)
        self.stager = DefaultStager(options)


class PinnedDcpBehind(PinnedDcp):
    """That stages on a thread."""

    name, stages_behind = "DCP async, staging behind, pinned", True
    answer: Any = None
    wait_until_safe = savers.DcpBehind.wait_until_safe
    wait = savers.DcpBehind.wait


class CairnOnGpu(savers.Cairn):
    """The device waits for what is copied, not the program."""

    def wait_until_safe(self) -> None:
        pass


class CairnLazyOnGpu(CairnOnGpu):
    """As CairnLazy is."""

    name, mode = "Cairn, lazy", "lazy"


class Safetensors(savers.Safetensors):
    """Loads onto the device by itself."""

    def load(self, step: int) -> savers.Loaded:
        from safetensors.torch import load_file

        return load_file(self.path(step), device="cuda")

    def fill(self, step: int) -> None:
        loaded = self.load(step)
        for name, tensor in self.state.flat().items():
            tensor.copy_(loaded[name])


class TorchSave(savers.TorchSave):
    """Its bytes are mapped, and copied to the device."""

    def fill(self, step: int) -> None:
        loaded = self.map(step)
        for name, tensor in self.state.flat().items():
            tensor.copy_(loaded[name])

    def map(self, step: int) -> savers.Loaded:
        return savers._flat(torch.load(self.path(step), mmap=True, map_location="cpu"))


ALL: dict[str, Callable[[], savers.Saver]] = {
    "cairn": CairnOnGpu,
    "cairn-lazy": CairnLazyOnGpu,
    "dcp-pinned": PinnedDcp,
    "dcp-behind": PinnedDcpBehind,
    "dcp-async": savers.DcpAsync,
    "dcp": savers.Dcp,
    "torch": TorchSave,
    "safetensors": Safetensors,
}
COLUMNS = {
    "first": "stall, first, ms", "stall": "stall, later, ms", "lost": "lost per save, ms", "durable": "durable, s", "device": "device memory, MiB",
    "fill": "load in place, warm, s", "fill_memory": "host memory, MiB",
}  # fmt: skip


class Training:
    """GPT-2 on the device."""

    def __init__(self, saver: savers.Saver, scale: float, folder: Path) -> None:
        self.saver, self.step = saver, 0
        with torch.device("cuda"):
            module = states.gpt2(scale)
        self.state = states.State(module, torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True))
        self.tokens = torch.randint(0, 256, (BATCH, LENGTH), device="cuda")
        for _ in range(3):
            self.train(guarded=False)
        torch.cuda.synchronize()
        saver.open(self.state, folder)

    def train(self, guarded: bool = True) -> None:
        """One step. Whoever must wait before the optimizer's does."""
        module, optimizer = self.state.module, self.state.optimizer
        with torch.autocast("cuda", torch.bfloat16):
            loss = module(input_ids=self.tokens, labels=self.tokens).loss
        loss.backward()
        if guarded:
            self.saver.wait_until_safe()
        optimizer.step()
        optimizer.zero_grad()

    def alone(self, count: int) -> float:
        """Seconds of so many steps."""
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(count):
            self.train()
        torch.cuda.synchronize()
        return time.perf_counter() - start

    def beside_a_save(self, count: int) -> tuple[float, float, float]:
        """Seconds of the call, of that and so many steps at least, less what they take by themselves, and until the checkpoint is durable."""
        alone = self.alone(count)
        start = time.perf_counter()
        self.step += 1
        self.saver.save(self.step)
        stall = time.perf_counter() - start
        ended: list[float] = []
        watcher = threading.Thread(target=self._finish, args=(self.step, ended))
        watcher.start()
        done = 0
        while done < count or watcher.is_alive():
            self.train()
            done += 1
        torch.cuda.synchronize()
        seconds = time.perf_counter() - start
        watcher.join()
        alone = (alone + self.alone(count)) / 2
        return stall, seconds - done * alone / count, ended[0] - start

    def _finish(self, step: int, ended: list[float]) -> None:
        if isinstance(self.saver, savers.Cairn):
            while not self.saver.is_done():
                time.sleep(0.001)
        else:
            self.saver.wait()
            sync(self.saver.path(step))
        ended.append(time.perf_counter())


def read_all(path: Path) -> None:
    """Into the page cache."""
    for found in [path, *path.rglob("*")]:
        if found.is_file():
            with found.open("rb", buffering=0) as file:
                while file.read(1 << 24):
                    pass


def memory_of_a_save(training: Training) -> int:
    """Bytes of the device that a save takes for itself."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    training.step += 1
    training.saver.save(training.step)
    training.saver.wait_until_safe()
    training.saver.wait()
    return torch.cuda.max_memory_allocated() - before


def plain_copy(tensors: list[torch.Tensor]) -> float:
    """Seconds."""
    places = [torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True) for tensor in tensors]

    def copy() -> None:
        for place, tensor in zip(places, tensors, strict=True):
            place.copy_(tensor, non_blocking=True)
        torch.cuda.synchronize()

    copy()
    return min(timed(copy) for _ in range(3))


def child(name: str, scale: float, folder: Path) -> None:
    """One process's measurements of one saver, as a line of JSON."""
    training = Training(ALL[name](), scale, folder)
    samples: dict[str, list[float]] = defaultdict(list)
    count = max(3, int(LEAST_S / (training.alone(10) / 10)))
    for number in range(WARM_UP + SAVES):
        stall, lost, durable = training.beside_a_save(count)
        if not number:
            samples["first"].append(stall * 1e3)
        if number >= WARM_UP:
            for figure, value in (("stall", stall * 1e3), ("lost", lost * 1e3), ("durable", durable)):
                samples[figure].append(value)
    samples["device"].append(memory_of_a_save(training) / 2**20)

    def fill() -> None:
        training.saver.fill(training.step)
        torch.cuda.synchronize()

    read_all(training.saver.path(training.step))
    before = memory.current_bytes()
    memory.reset_peak()
    samples["fill"].append(timed(fill))
    samples["fill_memory"].append((memory.peak_bytes() - before) / 2**20)
    samples["fill"] += [timed(fill) for _ in range(2)]
    samples["copy"].append(plain_copy(list(training.state.flat().values())))
    samples["step"].append(training.alone(count) / count * 1e3)
    training.saver.close()
    size = sum(tensor.nbytes for tensor in training.state.flat().values())
    print(json.dumps({"bytes": size, "device": torch.cuda.get_device_name(), "samples": samples}), flush=True)
    os._exit(0)


def run(name: str, scale: float) -> dict[str, Any]:
    """What a child says; {"failed": why}."""
    with tempfile.TemporaryDirectory(prefix="cairn-bench-gpu-") as folder:
        command = [sys.executable, __file__, "--child", name, "--scale", str(scale), "--dir", folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"bytes"')]
    return json.loads(lines[-1]) if lines else {"failed": "; ".join(done.stderr.strip().splitlines()[-1:])[:200]}


def shown(values: list[float]) -> str:
    """Median [lowest-highest]."""
    digits = 0 if max(values) >= 100 else 1 if max(values) >= 10 else 2
    numbers = [f"{value:.{digits}f}" for value in (statistics.median(values), min(values), max(values))]
    return numbers[0] if numbers[1] == numbers[2] else f"{numbers[0]} [{numbers[1]}-{numbers[2]}]"


def main() -> None:
    """See the head of this file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--dir", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        parser.error("there is no GPU here")
    if options.child:
        child(options.child, options.scale, options.dir)
    samples: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    said: dict[str, Any] = {}
    for number in range(options.rounds):
        for name in list(ALL)[:: -1 if number % 2 else 1]:
            answer = run(name, options.scale)
            print(name, answer.get("failed", "done"), file=sys.stderr, flush=True)
            for figure, values in answer.pop("samples", {}).items():
                samples[name][figure] += values
            said |= answer if "bytes" in answer else {name: answer["failed"]}
            if options.json:
                options.json.write_text(json.dumps({"torch": torch.__version__, **said, "samples": samples}, indent=1) + "\n")
    print(f"{said.get('device')}, torch {torch.__version__}, {said.get('bytes', 0) / 2**20:.0f} MiB; a step alone: {shown(samples['cairn']['step'])} ms; "
          f"plain copy to page-locked memory: {shown([value * 1e3 for each in samples.values() for value in each['copy']])} ms\n")  # fmt: skip
    print("| saves on a GPU |", *(f"{title} |" for title in COLUMNS.values()))
    print("| --- |" + " --- |" * len(COLUMNS))
    for name, figures in samples.items():
        print(f"| {ALL[name].name} |", *(f"{shown(figures[key])} |" for key in COLUMNS))  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
