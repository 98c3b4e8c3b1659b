"""The command `cairn`: the program that was built beside the package takes this process over."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn


def main() -> NoReturn:
    """Run the program with the arguments of this process."""
    program = Path(__file__).with_name("bin") / "cairn"
    os.execv(program, ["cairn", *sys.argv[1:]])
