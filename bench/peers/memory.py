"""How much memory a process and those it started hold, from /proc."""
import contextlib
import os
import time
from pathlib import Path


def _status(process: int | str, key: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    return 0


def _children_bytes() -> int:
    """Of processes that were started and run: what they alone hold, and their share of what is shared."""
    total = 0
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # threads and processes come and go
            for child in (task / "children").read_text().split():
                for line in Path(f"/proc/{child}/smaps_rollup").read_text().splitlines():
                    total += int(line.split()[1]) * 1024 if line.startswith("Pss:") else 0
    return total


def current_bytes() -> int:
    """Resident now."""
    return _status(os.getpid(), "VmRSS") + _children_bytes()


def reset_peak() -> None:
    """The peak is what is resident from now on."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most that was resident since, and what the children hold now."""
    return _status(os.getpid(), "VmHWM") + _children_bytes()


def settle(seconds: float = 0.3) -> None:
    """Returns when nothing has touched new memory for so long."""
    before, since = 0, time.monotonic()
    while time.monotonic() - since < seconds:
        now = _status(os.getpid(), "VmRSS")
        if now > before:
            before, since = now, time.monotonic()
        time.sleep(0.02)
