"""Gives the same files to Cairn and to the safetensors crate (through its binding) and holds their answers against each other.

run.py READER FILES FINDINGS: READER is the built reader.c; FILES mutations are tried besides the corner cases; a file on which the two differ without
one of the classes of differences.py is kept in the folder FINDINGS. DIFF_SEED chooses another sequence (1).
Compared are: accepted or refused; names, dtypes, shapes and every byte of every tensor; __metadata__ against Python's JSON parser.
"""

from __future__ import annotations

import importlib.metadata
import os
import struct
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable

import safetensors

import differences
import mutate

CRATE = "0.8.0"
CODES = {0: "OK", -1: "FORMAT", -2: "TRUNCATED", -3: "LIMIT", -4: "UNSUPPORTED", -5: "UNSAFE", -6: "CORRUPT", -7: "PATH", -8: "USAGE", -9: "IO", -23: "NOMEM"}
REFUSALS = {"FORMAT", "TRUNCATED", "LIMIT", "UNSUPPORTED"}
Tensor = tuple[str, tuple[int, ...], bytes]  # dtype, shape, bytes


@dataclass
class Answer:
    code: str
    message: str = ""
    tensors: dict[str, Tensor] = field(default_factory=dict)
    metadata: list[tuple[str, str]] = field(default_factory=list)


class Cairn:
    """The reader, as a process that answers file by file."""

    def __init__(self, reader: str, scratch: str) -> None:
        self.command = [reader, scratch]
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def take(self, size: int) -> bytes:
        data = self.process.stdout.read(size)
        if len(data) != size:
            raise EOFError(f"the reader ended with {self.process.wait()}")
        return data

    def number(self, form: str) -> int:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def text(self) -> str:
        return self.take(self.number("<I")).decode()

    def tensor(self) -> tuple[str, Tensor]:
        name, dtype = self.text(), self.text()
        shape = tuple(self.number("<Q") for _ in range(self.number("<I")))
        return name, (dtype, shape, self.take(self.number("<Q")))

    def read(self, content: bytes) -> Answer:
        try:
            self.process.stdin.write(struct.pack("<I", len(content)) + content)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise EOFError(f"the reader ended with {self.process.wait()}") from None
        answer = Answer(CODES.get(code := self.number("<i"), str(code)), self.text())
        if answer.code == "OK":
            answer.metadata = [(self.text(), self.text()) for _ in range(self.number("<I"))]
            tensors = [self.tensor() for _ in range(self.number("<I"))]
            answer.tensors = dict(tensors)
            if len(answer.tensors) != len(tensors):
                answer.message = "a name is there twice"
        return answer


def crate(content: bytes) -> Answer:
    try:
        tensors = safetensors.deserialize(content)
    except safetensors.SafetensorError as error:
        return Answer("refused", str(error))
    except BaseException as error:  # a panic is none of Exception's
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return Answer("refused", f"PANIC {error}")
    return Answer("OK", "", {name: (one["dtype"], tuple(one["shape"]), bytes(one["data"])) for name, one in tensors})


def unlike(ours: Answer, theirs: Answer, content: bytes) -> str:
    """What differs between two answers that both accept; "" for nothing."""
    if ours.message or ours.tensors.keys() != theirs.tensors.keys():
        return f"names: {sorted(ours.tensors)!r:.200} and {sorted(theirs.tensors)!r:.200} {ours.message}"
    for name, one in ours.tensors.items():
        for what, left, right in zip(("dtype", "shape", "bytes"), one, theirs.tensors[name]):
            if left != right:
                return f"{what} of {name!r:.100}: {left!r:.100} and {right!r:.100}"
    expected = [(key, value) for key, value in differences.Header(content).metadata]
    return "" if sorted(ours.metadata) == sorted(expected) else f"metadata: {ours.metadata!r:.200} and {expected!r:.200}"


@dataclass
class Tally:
    findings: Path
    we_accept: Callable[[bytes], bool]
    both_accept: int = 0
    both_refuse: int = 0
    panics: int = 0
    classes: Counter = field(default_factory=Counter)
    codes: Counter = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    def problem(self, label: str, content: bytes, what: str) -> None:
        self.findings.mkdir(parents=True, exist_ok=True)
        path = self.findings / (label.replace(" ", "-").replace("/", "-") + ".safetensors")
        path.write_bytes(content)
        self.problems.append(f"{label}: {what} ({path})")

    def hold(self, label: str, content: bytes, ours: Answer, theirs: Answer) -> None:
        self.codes[ours.code] += 1
        self.panics += theirs.message.startswith("PANIC")
        if ours.code != "OK" and ours.code not in REFUSALS:
            self.problem(label, content, f"Cairn says {ours.code}: {ours.message}")
        elif ours.code == "OK" and theirs.code == "OK":
            self.both_accept += 1
            if different := unlike(ours, theirs, content):
                self.problem(label, content, different)
        elif ours.code != "OK" and theirs.code != "OK":
            self.both_refuse += 1
        elif known := differences.classify(content, ours.code, ours.message, self.we_accept):
            self.classes[known] += 1
        elif ours.code == "OK":
            self.problem(label, content, f"CAIRN ACCEPTS WHAT THE CRATE REFUSES: {theirs.message:.300}")
        else:
            self.problem(label, content, f"the crate accepts what Cairn refuses: {ours.code}: {ours.message:.300}")


def files(count: int, seed: int):
    yield from mutate.CORNERS.items()
    for number, make in enumerate(mutate.SEEDS):
        yield f"seed {number}", make().content()
    for number in range(count):
        yield f"mutation {seed}/{number}", mutate.mutated(seed, number)


def report(tally: Tally, total: int) -> int:
    failed = len(tally.problems)
    for problem in tally.problems[:20]:
        print(f"not ok - differential: {problem}")
    if failed > 20:
        print(f"    and {failed - 20} more")
    for one in differences.ALL:
        seen = tally.classes[one.name]
        failed += not seen
        print(f"{'ok' if seen else 'not ok'} - differential: known difference, {one.name}: {seen} files")
    if not tally.both_accept > total // 8 or not tally.both_refuse > total // 8:
        failed += 1
        print("not ok - differential: hardly any file is accepted, or refused: the mutations are of no use")
    print(f"{'not ok' if tally.problems else 'ok'} - differential: {total} files, {tally.both_accept} accepted by both, {tally.both_refuse} refused by both, "
          f"{sum(tally.classes.values())} differ as intended, {len(tally.problems)} otherwise")  # fmt: skip
    print(f"    Cairn's answers: {dict(tally.codes)}; panics of the crate: {tally.panics}")
    return failed != 0


def main() -> int:
    reader, count, findings = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
    if (version := importlib.metadata.version("safetensors")) != CRATE:
        print(f"not ok - differential: the crate is {version}, not {CRATE}")
        return 1
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="cairn-differential-", dir=memory) as scratch:
        cairn, total = Cairn(reader, f"{scratch}/x.safetensors"), 0
        tally = Tally(findings, lambda content: cairn.read(content).code == "OK")
        for label, content in files(count, int(os.environ.get("DIFF_SEED", "1"))):
            total += 1
            try:
                ours = cairn.read(content)
            except EOFError as error:
                tally.problem(label, content, str(error))
                cairn.start()
                continue
            tally.hold(label, content, ours, crate(content))
        cairn.process.stdin.close()
        if cairn.process.wait():
            tally.problem("the end", b"", f"the reader ended with {cairn.process.returncode}")
    return report(tally, total)


if __name__ == "__main__":
    sys.exit(main())
