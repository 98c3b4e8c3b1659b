"""The program beside others: checkpoints that go while a run is verified, streams that are closed, removals that are refused.
beside.py FOLDER [SHIM]: FOLDER holds a golden store, SHIM is tests/cli/at_open.c, compiled; CAIRN names the program.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from check import Checks  # noqa: E402

CAIRN = os.environ["CAIRN"]
NOBODY = 65534
ENOUGH = 20  # moments in a row at which nothing comes of it any more
check = Checks("beside others")


# ---------------------------------------------------------------------------------------------------------- verify, while


def fresh_store() -> None:
    shutil.rmtree("golden")
    shutil.copytree("whole", "golden", symlinks=True, copy_function=os.link)


def verify(shim: str, at_open: int, command: str, *options: str) -> subprocess.CompletedProcess[str]:
    fresh_store()
    environment = os.environ | {"LD_PRELOAD": shim, "AT_OPEN": str(at_open), "AT_OPEN_RUN": command + " && touch happened"}
    return subprocess.run([CAIRN, "verify", *options, "golden"], capture_output=True, text=True, env=environment)


def verified_while(what: str, shim: str, first: int, command: str) -> int:
    """At every moment from the first on: of a checkpoint that goes it is said, or it is read to its end. The moment when it was listed."""
    said: dict[str, int] = {}
    wrong, listed = [], 0
    for at_open in range(first, 10_000):
        Path("happened").unlink(missing_ok=True)
        ran = verify(shim, at_open, command)
        if not Path("happened").exists():
            break
        lines = ran.stdout.splitlines()
        about = next((line for line in lines if line.startswith("golden/checkpoint-20: ")), "nothing")
        listed = at_open if about == "nothing" else listed
        said[about] = said.get(about, 0) + 1
        total = re.fullmatch(r"golden: \d+ checkpoints, 0 damaged(, 1 gone meanwhile)?", lines[-1] if lines else "")
        if ran.returncode or ran.stderr or not total or ("gone" in about) != bool(total[1]):
            wrong.append((at_open, ran.returncode, ran.stderr, ran.stdout))
        if said.get(about, 0) > ENOUGH and ": ok, " in about:
            break
    check(f"verify while {what}: no error at any moment", not wrong, wrong)
    check(f"verify while {what}: it is gone meanwhile", said.get("golden/checkpoint-20: gone meanwhile", 0) > 0, said)
    check(f"verify while {what}: or it is read", any(": ok, " in about for about in said), said)
    return listed


def verified_in_json(shim: str, first: int) -> None:
    gone, wrong = [], []
    for at_open in range(first, 10_000):
        Path("happened").unlink(missing_ok=True)
        ran = verify(shim, at_open, "mv golden/checkpoint-20 .", "--json")
        shutil.rmtree("checkpoint-20", ignore_errors=True)
        if not Path("happened").exists():
            break
        told = json.loads(ran.stdout)
        if ran.returncode or not told["ok"] or any(not result["ok"] for result in told["results"]):
            wrong.append((at_open, ran))
        gone += told.get("gone", [])
        if gone and not told["gone"]:
            break
    check("verify --json: no error at any moment", not wrong, wrong)
    check("verify --json names what is gone", set(gone) == {"golden/checkpoint-20"}, gone)


def closed_streams(shim: str) -> None:
    """What the program opens must not take the place of a stream that was closed: what is printed would be written into it."""
    for stream, script in ((0, "<&-"), (1, ">&-"), (2, "2>&-")):
        environment = os.environ | {"SHIM": shim, "AT_OPEN": "60", "AT_OPEN_RUN": f"readlink /proc/$PPID/fd/{stream} >link"}
        subprocess.run(["bash", "-c", f'LD_PRELOAD=$SHIM "$CAIRN" verify golden {script}'], env=environment, capture_output=True)
        link = Path("link").read_text().strip()
        check(f"a closed stream {stream} stays so", link == "/dev/null", link)
    ran = subprocess.run(["bash", "-c", '"$CAIRN" ls golden >&-'], capture_output=True, text=True)
    check("and printing to it fails", ran.returncode == 3 and "could not be written" in ran.stderr, ran)


def verified_while_damaged() -> None:
    """What is damaged and stays is damage, beside one that is being removed where it stands."""
    fresh_store()
    Path("golden/checkpoint-10/manifest.json").rename("golden/checkpoint-10/retired.json")
    os.unlink("golden/checkpoint-20/training/optimizer.safetensors")
    ran = subprocess.run([CAIRN, "verify", "golden"], capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    check("one that is being removed where it stands is no damage", not any(line.startswith("golden/checkpoint-10: DAMAGED") for line in lines), lines)
    check("one that lost a file is", ran.returncode == 1 and "golden/checkpoint-20: DAMAGED" in lines, lines)
    fresh_store()
    os.unlink("golden/checkpoint-20/training/optimizer.safetensors")
    Path("golden/checkpoint-20/retired.json").touch()
    Path("golden/checkpoint-40/retired.json").touch()
    Path("golden/checkpoint-40/manifest.json").unlink()
    Path("golden/checkpoint-40/manifest.json").symlink_to("nowhere")
    ran = subprocess.run([CAIRN, "verify", "golden"], capture_output=True, text=True)
    lines = ran.stdout.splitlines()
    check("a manifest.json beside a retired.json decides: it is there", ran.returncode == 1 and "golden/checkpoint-20: DAMAGED" in lines, lines)
    check("and where it is none, it is told", any(line.startswith("golden/checkpoint-40: passed over") for line in lines), lines)


# ------------------------------------------------------------------------------------------------------------ keep, refused


def as_nobody(scratch: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    who: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.getuid() == 0 else {}
    return subprocess.run([scratch / "cairn", *arguments], capture_output=True, text=True, cwd=scratch, **who)


def prepare(scratch: Path) -> None:
    """Two runs of an ordinary user, whom the system does not let move one folder of the first: 20, and 10 it does."""
    shutil.copy(CAIRN, scratch / "cairn")
    for name in ("first", "second"):
        shutil.copytree("whole", scratch / name, symlinks=True)
    for checkpoint in (scratch / "first").glob("checkpoint-*"):
        os.chmod(checkpoint, 0o755)
    if os.getuid() == 0:
        for path in (scratch, *scratch.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    os.chmod(scratch / "first" / "checkpoint-30~1", 0o555)


def kept(scratch: Path) -> None:
    prepare(scratch)
    ran = as_nobody(scratch, "keep", "--json", "--last", "1", "nowhere", "first", "second")
    told = json.loads(ran.stdout or "{}").get("runs", [])
    check("keep --json that is refused one removal ends with 3", ran.returncode == 3, ran)
    check("and prints all runs", [run["run"] for run in told] == ["nowhere", "first", "second"], ran)
    if len(told) == 3:
        nowhere, first, second = told
        check("what cannot be listed has a problem", nowhere["removed"] == [] and nowhere["kept"] is None and "nowhere" in nowhere["problem"], nowhere)
        refused = [message for message in first["messages"] if "checkpoint-30~1 was not removed" in message]
        check("what was refused is told, and why", len(refused) == 1 and "Permission denied" in refused[0], first)
        check("and so is what was removed", first["removed"] and first["kept"] and "Permission denied" in first["problem"], first)
        check("the others are as always", "checkpoint-30~1" in second["removed"] and "problem" not in second, second)
    check("each failure is a line, too", ran.stderr.count("\n") == 2, ran.stderr)
    ran = as_nobody(scratch, "keep", "--last", "1", "first", "second")
    check("without --json it counts what went and what stayed", ran.returncode == 3 and re.search(r"^first: 0 removed, \d+ kept$", ran.stdout, re.M) is not None, ran)


def main() -> int:
    os.chdir(sys.argv[1])
    shutil.copytree("golden", "whole", symlinks=True)
    if len(sys.argv) > 2:
        shim, prune = sys.argv[2], f"{CAIRN} tag --remove golden@20 release 2>/dev/null; {CAIRN} rm golden@20 >/dev/null 2>&1; true"
        listed = verified_while("one is moved away", shim, 1, "mv golden/checkpoint-20 . && rm -r checkpoint-20")
        verified_while("one is renamed", shim, listed, "mv golden/checkpoint-20 golden/checkpoint-20~1")
        verified_while("one is pruned", shim, listed, prune)
        verified_in_json(shim, listed)
        fresh_store()
        closed_streams(shim)
    verified_while_damaged()
    with tempfile.TemporaryDirectory() as scratch:
        kept(Path(scratch))
    return check.failed != 0


if __name__ == "__main__":
    sys.exit(main())
