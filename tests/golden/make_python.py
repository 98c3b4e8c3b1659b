"""Writes the golden run of the Python package: python make_python.py FOLDER, with tests/python and the package on PYTHONPATH."""

from __future__ import annotations

import sys
from pathlib import Path

from test_format import training, trees

import cairn


def main(folder: Path) -> None:
    state = training()
    batches = state.pop("batches")  # kept until the save: an iteration that is given up is at its end
    state |= {name: given for name, (given, _) in trees().items() if name != "model"}
    with cairn.CheckpointManager(folder / "golden", state, mode="sync", config={"rate": 0.5, "api_key": "x"}, stop_signals=()) as manager:
        manager.save(1, metrics={"loss": 0.5}, force=True)
    del batches


if __name__ == "__main__":
    main(Path(sys.argv[1]))
