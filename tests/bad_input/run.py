"""Gives every bad input to the program and holds what comes back against the table: run.py CAIRN [LABEL...]

Of each case: the right code and exit status; a message of one line, printable, at most 4 KiB; nothing on the disk changed; and in a plain build at
most 64 MiB and twice the header's bytes of memory, and 1 s of processor time. Prints `ok - ...` and `not ok - ...` lines.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import files
import stores

MEASURED = os.environ.get("CAIRN_TEST_MEASURE", "1") != "0"  # 0: a sanitizer's build
MIB = 1 << 20
EXITS = {"OK": 0, "WARN": 0, "FORMAT": 1, "TRUNCATED": 1, "LIMIT": 1, "UNSUPPORTED": 1, "UNSAFE": 1, "CORRUPT": 1, "PATH": 1, "USAGE": 2}


@dataclass
class Ran:
    status: int
    out: str
    err: str
    cpu_s: float
    peak_bytes: int


@dataclass
class Worst:
    cpu_s: float = 0
    peak_bytes: int = 0
    problems: list[str] = field(default_factory=list)


def limits() -> None:
    if MEASURED:
        resource.setrlimit(resource.RLIMIT_AS, (512 * MIB, 512 * MIB))
    resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def run(command: list[str], cwd: Path) -> Ran:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err, preexec_fn=limits)
        _, wait_status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(wait_status)
        out.seek(0)
        err.seek(0)
        return Ran(child.returncode, out.read().decode(), err.read().decode(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024)


def snapshot(folder: Path) -> dict[str, tuple]:
    seen = {}
    for path in sorted(folder.rglob("*")):
        info = path.lstat()
        seen[str(path)] = (info.st_ino, info.st_mode, info.st_size, info.st_mtime_ns)
    return seen


def check_message(text: str, problems: list[str], what: str) -> None:
    if len(text.encode()) > 4096:
        problems.append(f"{what}: a message of {len(text.encode())} bytes")
    if text.count("\n") > 1 or any(not c.isprintable() and c != "\n" for c in text):
        problems.append(f"{what}: a message that is not one printable line: {text!r:.200}")


def check_verify(case: files.Case, ran: Ran, problems: list[str]) -> None:
    try:
        result = json.loads(ran.out)["results"][0]
    except (ValueError, KeyError, IndexError):
        problems.append(f"verify --json printed no result: {ran.out:.200} {ran.err:.200}")
        return
    wanted = ["OK"] if case.outcome == "WARN" else case.outcome.split("|")
    told = [entry["message"] for entry in result["damage"]] + result["warnings"] + [result.get("message", "")]
    if result["code"] not in wanted:
        problems.append(f"verify says {result['code']}, not {case.outcome}: {told}")
    if ran.status != EXITS.get(result["code"], 3):
        problems.append(f"verify ended with {ran.status} at {result['code']}")
    if case.outcome == "WARN" and not result["warnings"]:
        problems.append("no warning")
    if case.outcome == "OK" and result["warnings"]:
        problems.append(f"a warning: {result['warnings']}")
    if not any(case.says in text for text in told):
        problems.append(f"no {case.says!r} in {told}")
    for text in told:
        check_message(text, problems, "verify")


def check_case(cairn: str, case: files.Case, worst: Worst) -> list[str]:
    problems: list[str] = []
    with tempfile.TemporaryDirectory(prefix="cairn-bad-") as name:
        folder = Path(name)
        case.make(folder)
        before = snapshot(folder)
        commands = {"verify": ["verify", "--quick", "--json", case.target], "show": ["show", case.target], "show --json": ["show", "--json", case.target]}
        for what, arguments in commands.items():
            ran = run([cairn, *arguments], folder)
            worst.cpu_s = max(worst.cpu_s, ran.cpu_s)
            if what != "show --json":  # its output is built as a tree, in proportion to what is shown
                worst.peak_bytes = max(worst.peak_bytes, ran.peak_bytes - 2 * case.header_bytes)
            if ran.status < 0 or ran.status > 3:
                problems.append(f"{what}: ended with {ran.status}: {ran.err:.300}")
            elif what == "verify":
                check_verify(case, ran, problems)
            elif (ran.status == 0) != (case.outcome in ("OK", "WARN")):
                problems.append(f"{what}: ended with {ran.status}, expected {case.outcome}")
            check_message(ran.err, problems, what)
            if ran.status and what.startswith("show") and not ran.err:
                problems.append(f"{what}: failed without a word")
            if MEASURED and what != "show --json" and ran.peak_bytes > 64 * MIB + 2 * case.header_bytes:
                problems.append(f"{what}: {ran.peak_bytes / MIB:.1f} MiB of memory")
            if MEASURED and ran.cpu_s > case.cpu_s:
                problems.append(f"{what}: {ran.cpu_s:.2f} s of processor time")
        if case.outcome == "WARN":
            strict = run([cairn, "verify", "--quick", "--strict", case.target], folder)
            if strict.status != 1 or "warning" not in strict.out:
                problems.append(f"--strict: ended with {strict.status}: {strict.out:.200}")
        if snapshot(folder) != before:
            problems.append("something was changed on the disk")
    return problems


def main() -> int:
    cairn, wanted = os.path.abspath(sys.argv[1]), sys.argv[2:]
    failed, worst = 0, Worst()
    for case in files.CASES:
        if wanted and not any(case.label.startswith(label) for label in wanted):
            continue
        problems = check_case(cairn, case, worst)
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} - bad input {case.label}: {case.outcome}", flush=True)
        for problem in problems:
            print(f"    {problem}")
    failed += stores.check_all(cairn, wanted, run)
    print(f"the most of all: {worst.cpu_s:.2f} s of processor time; {worst.peak_bytes / MIB:.1f} MiB beside twice the header")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
