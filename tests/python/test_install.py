"""`pip install .` gives the package and the program, from what git tracks alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_package_installs_and_runs(tmp_path: Path) -> None:
    sources, target = tmp_path / "sources", tmp_path / "target"
    sources.mkdir()
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    subprocess.run(["tar", "--null", "--files-from=-", "-cf", tmp_path / "sources.tar"], cwd=ROOT, input=files, check=True)
    subprocess.run(["tar", "-xf", tmp_path / "sources.tar", "-C", sources], check=True)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-build-isolation", "--no-deps", "--target", target, "."]
    quick = {**os.environ, "OPT": "-O0"}  # how well it is compiled does not matter here
    done = subprocess.run(install, cwd=sources, env=quick, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    environment = {**os.environ, "PYTHONPATH": str(target)}
    program = "import cairn; cairn.save('folder', {'loop': cairn.Values(epoch=3)}); print(cairn.__version__, cairn.__file__)"
    told = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    assert str(target) in told
    verified = subprocess.run([target / "bin/cairn", "verify", "folder"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout + verified.stderr
