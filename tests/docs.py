"""The documents tell the truth: the commands they show run and print what they say, pieces of C compile, links lead somewhere. docs.py BUILD

In README.md, CONTRIBUTING.md, docs/*.md and tests/*/README.md an indented line that begins with `$ ` is a command; the indented lines after it are what it
prints, where `...` stands for anything. A document's commands run one after the other in a folder of its own with a store `ckpts`; those of `make`, and
what takes minutes, are only looked up (`make -n`). Python's are run by tests/python/test_docs.py. A fenced block of C is compiled with the names that it takes for granted. Of the man page the examples
are run, and those of --help.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from check import Checks

ROOT = Path(__file__).resolve().parent.parent
BUILD = Path(sys.argv[1]).resolve()
# The same recipe in small.
MAKE = {"demo": "make -C {root} --no-print-directory BUILD={build} demo DEMO='--small --dir {here}/demo'"}
LONG = ["build/sim"]  # a part of its own in make test
# Run by another test, which must name it.
ELSEWHERE = {"pip install .": "tests/python/test_install.py", "python -m cairn verify-resume": "tests/python/test_verify_resume.py"}
PRELUDE = """#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include "cairn.h"
static void die(const char *message) { fprintf(stderr, "%s\\n", message); exit(3); }
static void train(void) {}
static void warn(void *user, const char *message) { (void)user; fprintf(stderr, "%s\\n", message); }
int main(void)
{
    uint64_t shape[2] = { 1, 1 }, steps = 1000;
    int64_t position = 0;
    float memory[1] = { 0 }, *address = memory;
    cairn_state *state = NULL;  cairn_run *run = NULL;  cairn_error err = CAIRN_ERROR_INIT;
    cairn_tensor moments = CAIRN_TENSOR_INIT;
    (void)shape; (void)steps; (void)position; (void)address; (void)state; (void)run; (void)moments; (void)train; (void)die; (void)warn;
"""
check = Checks("docs")


def store(folder: Path) -> None:
    """ckpts/gpt-small, steps 100 to 1200, by the trainer of the examples."""
    model = "--layers 1 --heads 1 --width 16 --context 8 --batch 2 --quiet"
    command = f"{BUILD}/train_gpt --out ckpts/gpt-small --steps 1200 --save-every 100 --keep 0 {model}"
    subprocess.run(command.split(), cwd=folder, check=True)


def environment() -> dict[str, str]:
    keep = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CAIRN_STORE")}
    return keep | {"PATH": f"{BUILD}:{os.environ['PATH']}", "COLUMNS": "150", "LC_ALL": "C.UTF-8"}


def run(command: str, folder: Path, expected: list[str]) -> None:
    """expected: the lines that follow it in the document; none says nothing about its output."""
    for begin, test in ELSEWHERE.items():
        if command.startswith(begin):
            check(f"{command}: run by {test}", begin.split()[-1] in (ROOT / test).read_text())
            return
    target = re.match(r"make +([a-z0-9-]+)", command)
    if target and target[1] in MAKE:
        command = MAKE[target[1]].format(root=ROOT, build=BUILD, here=folder)
    elif command in LONG:
        command = f"make -C {ROOT} --no-print-directory -n {command}"
    elif command.startswith("build/"):
        command = f"{BUILD}/{command.removeprefix('build/')}"
    elif command.startswith("make"):
        command = f"make -C {ROOT} --no-print-directory -n {command.removeprefix('make')}"
    ran = subprocess.run(["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True)
    pattern = r"\n".join(".*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*?") for line in expected)
    printed = (ran.stdout + ran.stderr).rstrip("\n")
    finds = any("DAMAGED" in line or "=> " in line for line in expected)
    answered = ran.returncode == (1 if finds else 0)
    good = answered and (not expected or re.fullmatch(pattern, printed, re.DOTALL) is not None)
    check(command.replace(str(ROOT), ".").replace(str(BUILD), "build").replace(str(folder), "."), good, f"status {ran.returncode}:\n{printed}\nnot\n" + "\n".join(expected))


def commands(text: str) -> list[tuple[str, list[str]]]:
    found: list[tuple[str, list[str]]] = []
    inside = False
    for line in text.split("\n"):
        if line.startswith("    $ "):
            found.append((re.sub(r"  +#.*", "", line[6:]), []))
            inside = True
        elif inside and line.startswith("    "):
            found[-1][1].append(line[4:])
        else:
            inside = False
    return found


def compile_c(name: str, code: str, folder: Path) -> None:
    source = folder / "fragment.c"
    body = "\n".join(line for line in code.split("\n") if not line.startswith("#include"))
    names = {"weights": "float *weights = address;" if "address = weights" in code else "cairn_tensor weights = CAIRN_TENSOR_INIT;"}
    own = re.findall(r"^(?:cairn_\w+|uint64_t) +\*?(\w+)", body, re.MULTILINE)
    before = names["weights"] if re.search(r"\bweights\b", body) else ""
    if re.search(r"\breport\b", body) and "report" not in own:
        before += " cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;"
    if re.search(r"\bstep\b", body) and not re.search(r"uint64_t step\b", body):
        before += " uint64_t step = 0;"
    source.write_text(f"{PRELUDE}    {before}\n    {{\n{body}\n    }}\n    return 0;\n}}\n")
    ran = subprocess.run(["gcc", "-std=c99", "-Wall", "-Werror", "-Wno-unused-variable", "-Wno-unused-but-set-variable", f"-I{ROOT}/include", "-fsyntax-only", source], capture_output=True, text=True)
    check(f"{name} compiles", ran.returncode == 0, ran.stderr)


def document(path: Path) -> None:
    text = path.read_text()
    with tempfile.TemporaryDirectory(prefix="docs-", dir=BUILD) as name:
        folder = Path(name)
        found = commands(text)
        if any("ckpts" in command for command, _ in found):
            store(folder)
        for command, expected in found:
            run(command, folder, expected)
        for i, code in enumerate(re.findall(r"^```c\n(.*?)^```", text, re.DOTALL | re.MULTILINE)):
            compile_c(f"{path.relative_to(ROOT)}, C {i + 1}", code, folder)
        shutil.rmtree(folder / "demo", ignore_errors=True)


def links(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if not target.startswith("http"):
            check(f"{path.relative_to(ROOT)} leads to {target}", (path.parent / target).exists())


def architecture() -> None:
    """Every folder of the source and of the tests has its place in the table of layers."""
    text = (ROOT / "docs/ARCHITECTURE.md").read_text()
    of_tests = next(line for line in text.split("\n") if line.startswith("| tests/ "))
    for folder in sorted(path for top in ("src", "tests") for path in (ROOT / top).iterdir() if path.is_dir() and path.name != "__pycache__"):
        named = f"| src/{folder.name} |" in text if folder.parent.name == "src" else re.search(rf"\b{folder.name}\b", of_tests) is not None
        check(f"ARCHITECTURE.md knows {folder.relative_to(ROOT)}", named)


def examples() -> None:
    """Of the manual and of --help."""
    manual = [line.replace("\\&", "")[6:] for line in (ROOT / "man/cairn.1").read_text().split("\n") if line.startswith(".Dl $ ")]
    usage = []
    for command in re.findall(r"^  ([a-z]+) ", subprocess.run([BUILD / "cairn", "--help"], capture_output=True, text=True).stdout, re.MULTILINE):
        text = subprocess.run([BUILD / "cairn", command, "--help"], capture_output=True, text=True).stdout
        usage += re.findall(r"^Example: cairn (.*)", text, re.MULTILINE)
    for name, lines in (("manual", manual), ("--help", usage)):
        with tempfile.TemporaryDirectory(prefix="docs-", dir=BUILD) as folder:
            store(Path(folder))
            for line in lines:
                command = line.removeprefix("$ ") if name == "manual" else f"cairn -C ckpts {line}"
                command = command.replace("-C ckpts doctor /data/ckpts", "doctor ckpts").replace("@200~1", "@200").replace("-C ckpts -C ckpts", "-C ckpts")
                ran = subprocess.run(["bash", "-c", command], cwd=folder, env=environment(), capture_output=True, text=True)
                good = ran.returncode == (1 if " diff " in command else 0)
                check(f"{name}: {command}", good, f"status {ran.returncode}: {ran.stdout}{ran.stderr}")


def main() -> int:
    for path in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "tests").glob("*/README.md"))]:
        document(path)
        links(path)
    architecture()
    examples()
    return check.failed != 0


if __name__ == "__main__":
    sys.exit(main())
