"""python -m cairn: the program `cairn`, and verify-resume, which is Python's."""

from __future__ import annotations

import sys

from . import _program

if __name__ == "__main__":
    if sys.argv[1:2] == ["verify-resume"]:
        from ._verify_script import main

        sys.exit(main(sys.argv[2:]))
    _program.main()
