"""Bad inputs: stores of Cairn that somebody or something damaged, forged or mounted oddly. Each is a change to a fresh copy of the golden store and
what each command must then say of it. The labels W1..W11 are those of the project's list of known bad inputs; "own" ones are ours.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "golden"))
from reader import tensor_rule  # noqa: E402

SECRET = "a line that nobody may see"


@dataclass
class Check:
    command: str  # "verify golden@20"
    status: int
    says: str = ""  # a regular expression for what it prints, on either stream


@dataclass
class Store:
    label: str
    change: Callable[[Path], None]  # given the run's folder
    checks: list[Check]


def sealed(path: Path, change: Callable[[str], str]) -> None:
    """Changes a sealed file's text and seals it again: what an attacker can do, too."""
    text = path.read_text()
    body = change(text[: text.rindex('\n"digest":')])
    path.unlink()
    path.write_text(body + '\n"digest":"' + tensor_rule((body + "\n").encode()) + '"}\n')


def manifest(old: str, new: str, step: str = "20") -> Callable[[Path], None]:
    def change(run: Path) -> None:
        path = run / f"checkpoint-{step}" / "manifest.json"
        sealed(path, lambda text: replaced(text, old, new))

    return change


def replaced(text: str, old: str, new: str) -> str:
    found = re.sub(old, lambda match: new, text, count=1)
    assert found != text, old
    return found


def swapped(name: str, make: Callable[[Path], None]) -> Callable[[Path], None]:
    """A file of step 20 gives way to something else."""

    def change(run: Path) -> None:
        path = run / "checkpoint-20" / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
        make(path)

    return change


def flipped(name: str, at: int) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        path = run / name
        data = bytearray(path.read_bytes())
        data[at] ^= 1
        path.unlink()
        path.write_bytes(data)

    return change


def to_secret(link: Callable[[str, Path], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        secret = path.parents[2] / "secret"
        secret.write_text(SECRET)
        link(str(secret), path)

    return make


def cut(name: str, size: int) -> Callable[[Path], None]:
    return lambda run: os.truncate(run / name, size)


def together(*changes: Callable[[Path], None]) -> Callable[[Path], None]:
    def change(run: Path) -> None:
        for one in changes:
            one(run)

    return change


MODEL, MANIFEST, TABLE, STATE = "model-00001-of-00004.safetensors", "manifest.json", "training/tensors.json", "training/state.json"
OTHERS_WELL = [Check("verify golden@30", 0), Check("show golden@30", 0), Check("ls golden", 0)]


def damaged(label: str, change: Callable[[Path], None], says: str, shows: int = 1) -> Store:
    """Step 20 is damaged: verify and show say so and what, the others are well, and no command falls over."""
    return Store(label, change, [Check("verify golden@20", 1, says), Check("verify golden/checkpoint-20", 1, says), Check("show golden/checkpoint-20", shows), *OTHERS_WELL])


STORES = [
    Store("W0 as it should be", lambda run: None, [Check("verify golden", 0), Check("ls golden", 0), Check("keep golden --last 9", 0)]),
    *(
        Store(f"W1 {what} of the manifest", change, [Check("verify golden/checkpoint-20", 1), Check("ls golden", 0, "damaged"), Check("show golden@20", 1, "checkpoint-20 cannot be read: checkpoint-20/manifest.json"), *OTHERS_WELL])
        for what, change in [
            ("the first byte", flipped("checkpoint-20/manifest.json", 0)),
            ("a bit in the middle", flipped("checkpoint-20/manifest.json", 600)),
            ("a bit of the digest", flipped("checkpoint-20/manifest.json", -20)),
            ("the last byte", flipped("checkpoint-20/manifest.json", -1)),
            ("all but the first 100 bytes", cut("checkpoint-20/manifest.json", 100)),
            ("every byte", cut("checkpoint-20/manifest.json", 0)),
        ]
    ),
    Store("W1 a manifest with more behind", lambda run: (run / "checkpoint-20/manifest.json").open("a").write(" ") and None, [Check("verify golden/checkpoint-20", 1), *OTHERS_WELL]),
    Store("W1 a manifest of 2 MiB", lambda run: (run / "checkpoint-20/manifest.json").write_text("{" + " " * (2 << 20)) and None, [Check("verify golden/checkpoint-20", 1, "LIMIT"), *OTHERS_WELL]),
    Store("W2 no manifest", lambda run: (run / "checkpoint-20/manifest.json").unlink(), [Check("show golden@20", 1, "checkpoint-20 cannot be read: manifest.json: it is missing"), Check("verify golden", 1, "checkpoint-20: DAMAGED\n  TRUNCATED: manifest.json: it is missing"), *OTHERS_WELL]),
    Store("W3 a newer version", manifest('"version":1', '"version":2'), [Check("verify golden/checkpoint-20", 3, "newer|version"), Check("show golden/checkpoint-20", 3), *OTHERS_WELL]),
    Store("W3 a feature that is not known", manifest('"requires":\\[\\]', '"requires":["delta"]'), [Check("verify golden/checkpoint-20", 3, "delta"), *OTHERS_WELL]),
    Store("W3 a newer run.json", lambda run: sealed(run / "run.json", lambda text: replaced(text, '"version":1', '"version":2')), [Check("ls golden", 3, "version"), Check("keep golden --last 1", 3), Check("rm golden@10", 3)]),
    damaged("W5 a data file that is a symlink", swapped(MODEL, to_secret(os.symlink)), "PATH"),
    damaged("W5 a data file that is another's hard link", swapped(MODEL, to_secret(os.link)), "TRUNCATED|CORRUPT"),
    damaged("W5 a data file that is a FIFO", swapped(MODEL, os.mkfifo), "PATH"),
    damaged("W5 a data file that is a folder", swapped(MODEL, os.mkdir), "PATH"),
    damaged("W5 a table that is a symlink", swapped(TABLE, to_secret(os.symlink)), "PATH"),
    damaged("W5 a table that is a FIFO", swapped(TABLE, os.mkfifo), "PATH"),
    damaged("W5 training/ that is a symlink", lambda run: ((run / "checkpoint-20/training").rename(run / "moved"), os.symlink("../moved", run / "checkpoint-20/training")) and None, "PATH"),
    damaged("W5 a config that is a symlink to a secret", swapped("config.json", to_secret(os.symlink)), "PATH", shows=0),
    Store("W5 a manifest that is a symlink", lambda run: swapped(MANIFEST, lambda path: os.symlink("../checkpoint-30/manifest.json", path))(run), [Check("verify golden/checkpoint-20", 1), Check("rm golden/checkpoint-20", 3), *OTHERS_WELL]),
    Store("W5 a manifest that is a FIFO", swapped(MANIFEST, os.mkfifo), [Check("verify golden/checkpoint-20", 1), *OTHERS_WELL]),
    Store("W5 a manifest that is a folder", swapped(MANIFEST, os.mkdir), [Check("verify golden/checkpoint-20", 1), *OTHERS_WELL]),
    Store("W5 a run.json that is a symlink", lambda run: ((run / "run.json").rename(run.parent / "r.json"), os.symlink("../r.json", run / "run.json")) and None, [Check("ls golden", 1), Check("rm golden@10", 1)]),
    Store("W5 a checkpoint that is a symlink to another", lambda run: (shutil.rmtree(run / "checkpoint-20"), os.symlink("checkpoint-30", run / "checkpoint-20")) and None, [Check("ls golden", 0, "foreign"), Check("rm golden/checkpoint-20", 1, "symbolic link"), *OTHERS_WELL]),
    Store("W5 `latest` that leads out of the store", lambda run: ((run / "latest").unlink(), os.symlink("/etc", run / "latest")) and None, [Check("show golden@latest", 0, "step 40"), Check("verify golden", 0)]),
    Store("W5 `best` that leads upwards", lambda run: ((run / "best").unlink(), os.symlink("../golden/checkpoint-10", run / "best")) and None, [Check("show golden@best", 3), Check("keep golden --last 9", 0)]),
    Store("W5 `best` that leads to itself", lambda run: ((run / "best").unlink(), os.symlink("best", run / "best")) and None, [Check("show golden@best", 3), Check("ls golden", 0)]),
    damaged("own: a data file is missing", lambda run: (run / "checkpoint-20" / MODEL).unlink(), "TRUNCATED.*missing"),
    damaged("own: a data file is one byte short", cut("checkpoint-20/training/optimizer.safetensors", 88095), "TRUNCATED"),
    damaged("own: two data files have changed places", lambda run: ((run / "checkpoint-20" / MODEL).rename(run / "x"), (run / "checkpoint-20/model-00002-of-00004.safetensors").rename(run / "checkpoint-20" / MODEL), (run / "x").rename(run / "checkpoint-20/model-00002-of-00004.safetensors")) and None, "CORRUPT|TRUNCATED"),
    damaged("own: a data file of another step", lambda run: (run / "checkpoint-20/training/optimizer.safetensors").unlink() or shutil.copy(run / "checkpoint-40/training/optimizer.safetensors", run / "checkpoint-20/training/optimizer.safetensors") and None, "CORRUPT", shows=0),
    damaged("own: a table of another step", lambda run: (run / "checkpoint-20" / TABLE).unlink() or shutil.copy(run / "checkpoint-30" / TABLE, run / "checkpoint-20" / TABLE) and None, "CORRUPT"),
    damaged("own: values of another step", lambda run: (run / "checkpoint-20" / STATE).unlink() or shutil.copy(run / "checkpoint-30" / STATE, run / "checkpoint-20" / STATE) and None, "CORRUPT"),
    damaged("own: a header without its first brace", flipped("checkpoint-20/training/optimizer.safetensors", 8), "CORRUPT"),
    damaged("own: a header's length", flipped("checkpoint-20/training/optimizer.safetensors", 2), "CORRUPT|TRUNCATED"),
    damaged("own: one bit of the last tensor", flipped("checkpoint-20/training/optimizer.safetensors", -1), "CORRUPT", shows=0),
    damaged("own: a table forged behind a good seal", lambda run: sealed(run / "checkpoint-20" / TABLE, lambda text: replaced(text, '"F32"', '"I32"')), "CORRUPT"),
    damaged("own: a config of a gibibyte that is a hole", cut("checkpoint-20/config.json", 1 << 30), "CORRUPT", shows=0),
    Store("own: a file of the manifest that leads upwards", manifest('"config.json"', '"../../secret"'), [Check("verify golden/checkpoint-20", 1, "PATH"), *OTHERS_WELL]),
    Store("own: a file of the manifest that is absolute", manifest('"config.json"', '"/etc/passwd"'), [Check("verify golden/checkpoint-20", 1, "PATH"), *OTHERS_WELL]),
    Store("own: escape sequences in a tag", manifest('"tags":\\["release"\\]', '"tags":["a\\u001b[31m"]'), [Check("ls golden", 0, "damaged"), Check("verify golden/checkpoint-20", 1, "FORMAT"), Check("keep golden --last 9", 0), *OTHERS_WELL]),
    Store("own: escape sequences in a metric", manifest('"loss":', '"l\\u001b[31m":'), [Check("ls golden", 0, "u001b"), Check("show golden@20", 0, "u001b"), Check("ls golden --json", 0), Check("show golden@30", 0)]),
    Store("own: 99,999 files in a manifest", lambda run: sealed(run / "checkpoint-20/manifest.json", lambda text: replaced(text, '"files":\\[', '"files":[' + ",".join('{"name":"f%d","kind":"attached","size":0,"digest":"%s"}' % (i, "0" * 32) for i in range(9_000)) + ",")), [Check("verify golden/checkpoint-20", 1), *OTHERS_WELL]),
    Store("own: another run's checkpoint", manifest('"run":"[0-9a-f]{32}"', '"run":"' + "7" * 32 + '"'), [Check("ls golden", 0, "foreign"), Check("rm golden/checkpoint-20", 3, "by hand"), *OTHERS_WELL]),
    Store("own: two folders with one id", lambda run: shutil.copytree(run / "checkpoint-20", run / "checkpoint-21") and None, [Check("ls golden", 0), Check("keep golden --last 9", 0), Check("verify golden", 0)]),
    Store("own: names that are almost ours", lambda run: [shutil.copytree(run / "checkpoint-20", run / name) for name in ("checkpoint-020", "checkpoint--1", "checkpoint-99999999999999999999", "checkpoint-20~0", "checkpoint-20 ", "checkpoint-\u0662", "Checkpoint-20")] and None, [Check("ls golden", 0, "foreign"), Check("keep golden --last 1", 0), Check("verify golden", 0)]),
    Store("own: marks that cannot be read are a pin", lambda run: (run / "checkpoint-10/marks.1.json").write_text("{") and None, [Check("ls golden", 0, "pinned"), Check("rm golden@10", 2), Check("show golden@10", 0)]),
    Store("own: marks with the highest number there is", lambda run: (run / "checkpoint-10/marks.18446744073709551615.json").write_text("{") and None, [Check("ls golden", 0), Check("tag golden@10 x", 1, "marks"), Check("show golden@10", 0)]),
    Store("own: marks that are a FIFO", lambda run: os.mkfifo(run / "checkpoint-10/marks.1.json"), [Check("ls golden", 0), Check("show golden@10", 0), Check("keep golden --last 1 --dry-run", 0)]),
    Store("own: terms that are no numbers", lambda run: [(run / ".cairn/terms" / name).write_text("x") for name in ("-1", "01", "x", "18446744073709551616")] and None, [Check("ls golden", 0), Check("keep golden --last 9", 0)]),
    Store("own: run.json is missing", lambda run: (run / "run.json").unlink(), [Check("ls golden", 1, "run.json is missing: put it back"), Check("show golden/checkpoint-20", 0), Check("verify golden/checkpoint-20", 0), Check("rm golden/checkpoint-20", 1, "run.json is missing: put it back")]),
    Store("own: run.json is empty", cut("run.json", 0), [Check("ls golden", 1), Check("keep golden --last 1", 1), Check("show golden/checkpoint-20", 0)]),
    Store("own: the run is a file", lambda run: shutil.rmtree(run) or run.write_text("x") and None, [Check("ls golden", 3), Check("verify golden", 2, "not a safetensors file: text"), Check("show golden@20", 3), Check("keep golden --last 1", 3), Check("du golden", 3)]),
    Store("own: no run at all", lambda run: shutil.rmtree(run), [Check("ls golden", 3), Check("verify golden", 3), Check("diff golden@1 golden@2", 3), Check("tag golden@1 x", 3), Check("rm golden@1", 3), Check("ls", 0, "no runs")]),
    Store("own: a store that is not there", lambda run: None, [Check("ls -C nowhere", 3, "nowhere"), Check("du -C nowhere", 3, "nowhere"), Check("verify -C nowhere golden@1", 3), Check("show -C nowhere x@1", 3, "nowhere")]),
    Store("own: odd names", lambda run: None, [Check("show @", 3), Check("show golden@", 3), Check("show @20", 3), Check("show golden@20@20", 3), Check("show golden@-1", 3), Check("show golden@+20", 3), Check("show golden@020", 3), Check("show golden@99999999999999999999", 3), Check("show golden@20~", 3), Check("show golden@20~7", 3), Check("show .", 2), Check("rm .", 2), Check("rm /", 2), Check("show " + "n" * 5000, 3), Check("show golden@" + "t" * 5000, 3)]),
    Store("W11 saved in 1970", manifest('"time":"[^"]*"', '"time":"1970-01-01T00:00:00.000000000Z"'), [Check("verify golden", 0), Check("ls golden", 0, "1970-01-01"), Check("keep golden --last 9", 0)]),
    Store("W11 saved in 2100", manifest('"time":"[^"]*"', '"time":"2100-12-31T23:59:59.999999999Z"'), [Check("verify golden", 0), Check("ls golden", 0, "2100-12-31"), Check("keep golden --last 9", 0)]),
    Store("W11 saved before its parent", together(manifest('"time":"[^"]*"', '"time":"2030-01-01T00:00:00.000000000Z"', "10"), manifest('"time":"[^"]*"', '"time":"2001-01-01T00:00:00.000000000Z"', "40")), [Check("show golden@latest", 0, "step 40"), Check("keep golden --last 1", 0), Check("show golden@latest", 0, "step 40")]),
    Store("W11 a time that is none", manifest('"time":"[^"]*"', '"time":"2026-13-41T25:61:61.000000000Z"'), [Check("verify golden/checkpoint-20", 1, "FORMAT"), *OTHERS_WELL]),
]


def command_line(cairn: str, check: Check) -> list[str]:
    return [cairn, *check.command.split(" ")]


def check_store(cairn: str, store: Store, run: Callable) -> list[str]:
    problems = []
    with tempfile.TemporaryDirectory(prefix="cairn-bad-") as name:
        folder = Path(name)
        with tarfile.open(HERE.parent / "golden/store-0.1.0.tar.gz") as tar:
            tar.extractall(folder)
        store.change(folder / "golden")
        for check in store.checks:
            ran = run(command_line(cairn, check), folder)
            shown = check.command if len(check.command) < 60 else check.command[:60] + "..."
            if ran.status != check.status:
                problems.append(f"{shown}: ended with {ran.status}, not {check.status}: {ran.out[-300:]!r} {ran.err[:300]!r}")
            if not re.search(check.says, ran.out + ran.err):
                problems.append(f"{shown}: no {check.says!r} in {ran.out[-300:]!r} {ran.err[:300]!r}")
            if any(not c.isprintable() and c != "\n" for c in ran.out + ran.err) or any(len(line.encode()) > 4096 for line in ran.err.split("\n")):
                problems.append(f"{shown}: something unprintable or too long: {ran.err[:200]!r}")
            if ran.status and not ran.err and not ran.out:
                problems.append(f"{shown}: failed without a word")
            if SECRET in ran.out + ran.err:
                problems.append(f"{shown}: shows what it must not")
            if ran.cpu_s > 1 or ran.peak_bytes > 64 << 20:
                problems.append(f"{shown}: {ran.cpu_s:.2f} s, {ran.peak_bytes / (1 << 20):.1f} MiB")
    return problems


def check_all(cairn: str, wanted: list[str], run: Callable) -> int:
    failed = 0
    for store in STORES:
        if wanted and not any(store.label.startswith(label) for label in wanted):
            continue
        problems = check_store(cairn, store, run)
        failed += bool(problems)
        print(f"{'not ok' if problems else 'ok'} - bad input {store.label}", flush=True)
        for problem in problems:
            print(f"    {problem}")
    return failed
