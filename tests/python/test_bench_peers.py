"""The bench of the peers runs, on states of a thousandth of their size. What the figures are is not looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PEERS = "cairn,cairn-lazy,torch,safetensors,savez,dcp,dcp-cached,dcp-behind"  # those that the tests' environment has


@pytest.mark.long
def test_the_bench_of_the_peers_runs(tmp_path: Path) -> None:
    library, page = ROOT / "build/bench_plain.so", tmp_path / "page.md"
    subprocess.run(["make", "--no-print-directory", "build/bench_plain.so"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    page.write_text("before\n<!-- peers: begin -->\nof yesterday\n<!-- peers: end -->\nafter\n")
    options = ["--savers", PEERS, "--scale", "0.005", "--rounds", "1", "--idle", "0", "--dir", tmp_path, "--json", tmp_path / "r.json", "--page", page]
    run = subprocess.run(
        [sys.executable, ROOT / "bench/peers", *map(str, options)], env=os.environ | {"CAIRN_BENCH_PLAIN": str(library)}, capture_output=True, text=True
    )
    assert not run.returncode, run.stderr[-3000:]
    results = json.loads((tmp_path / "r.json").read_text())
    assert set(results["samples"]) == {"large", "gpt2", "small", "train-1", f"train-{os.cpu_count()}", "early"}
    assert all(set(results["samples"][state]) == set(PEERS.split(",")) for state in ("large", "gpt2", "small")), results["said"]
    assert set(results["samples"]["early"]) == {"cairn", "cairn-lazy", "dcp-cached", "dcp-behind"}, "whether a peer stores later values is a race"
    assert results["samples"]["early"]["cairn"]["later"] == results["samples"]["early"]["cairn-lazy"]["later"] == [0]
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "of yesterday" not in text and "### What was to be reached" in text
    assert not list(tmp_path.glob("cairn-bench-peers-*"))
