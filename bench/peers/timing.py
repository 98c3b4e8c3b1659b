"""What the measurements share: how long something takes, and what makes a checkpoint durable."""
import os
import time
from collections.abc import Callable
from pathlib import Path


def timed(work: Callable[[], object]) -> float:
    """Seconds."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sync(path: Path) -> None:
    """Every file and folder of a checkpoint, and the folder it lies in."""
    for found in [path.parent, path, *path.rglob("*")]:
        descriptor = os.open(found, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def size_of(path: Path) -> int:
    """In bytes, of all files."""
    return sum(found.stat().st_size for found in [path, *path.rglob("*")] if found.is_file())
