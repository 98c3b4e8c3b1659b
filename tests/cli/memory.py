"""The program without memory: each allocation of a command fails, one after the other, and all that follow it. memory.py FOLDER SHIM, where FOLDER
holds a golden store and SHIM is tests/cli/failing_malloc.c, compiled; CAIRN names the program. Whatever fails, it is one line and status 3, or the
command went on without: then it printed what it always prints.
"""

from __future__ import annotations

import os
import subprocess
import sys

CAIRN = os.environ["CAIRN"]
COMMANDS = (
    ["ls"],
    ["ls", "golden"],
    ["ls", "--json", "golden"],
    ["show", "golden@20"],
    ["show", "--json", "golden@20"],
    ["verify", "--quick", "golden"],
    ["verify", "--json", "golden@20"],
    ["verify", "golden/checkpoint-20/training/kinds.safetensors"],
    ["diff", "golden@20", "golden@30"],
    ["diff", "--json", "golden@20", "golden@30"],
    ["tag", "golden@20", "--metric", "accuracy=0.5x"],
    ["du"],
    ["du", "--json"],
    ["keep", "--last", "1", "--dry-run", "--json", "golden"],
    ["ls", "nowhere"],
    ["ls", "--nonsense"],
)
MOST = 20_000  # allocations of a command
STEPS = 150  # where one has more than that, some are left out


def run(command: list[str], shim: str, fail_at: int) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"LD_PRELOAD": shim, "FAIL_AT": str(fail_at)}
    return subprocess.run([CAIRN, *command], capture_output=True, text=True, env=environment)


def count_allocations(command: list[str], shim: str, usual: subprocess.CompletedProcess[str]) -> int:
    """The least number with which the command does what it always does, and as much as that for a while."""
    low, high = 0, MOST
    while low + 1 < high:
        middle = (low + high) // 2
        ran = run(command, shim, middle)
        low, high = (low, middle) if (ran.returncode, ran.stdout) == (usual.returncode, usual.stdout) else (middle, high)
    return high


def problem_of(ran: subprocess.CompletedProcess[str], usual: subprocess.CompletedProcess[str]) -> str:
    if (ran.returncode, ran.stdout, ran.stderr) == (usual.returncode, usual.stdout, usual.stderr):
        return ""
    if ran.returncode != 3:
        return f"ended with {ran.returncode}"
    return "" if ran.stderr.count("\n") >= 1 and "memory" in ran.stderr else f"said {ran.stderr!r:.300}"


def main() -> int:
    os.chdir(sys.argv[1])
    failed = 0
    for command in COMMANDS:
        usual = run(command, sys.argv[2], 1 << 50)
        count = count_allocations(command, sys.argv[2], usual)
        problems = [
            f"{fail_at}: {problem}"
            for fail_at in range(0, count + 5, max(1, count // STEPS))
            if (problem := problem_of(run(command, sys.argv[2], fail_at), usual))
        ]
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} - out of memory: {' '.join(command)}, {count} allocations")
        for problem in problems[:5]:
            print(f"    {problem}")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
