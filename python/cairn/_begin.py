"""Runs that are compared begin with the same random numbers; what a program seeds by itself is not touched.

Python's generator is seeded before the program, those of numpy and torch when it imports them: nothing is imported for it, and what a program sets up
before an import counts as ever. As a program of its own it imports nothing of Cairn either:

    python _begin.py SEED SCRIPT ARG...     runs the script as `python SCRIPT ARG...` does
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
import random
import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from types import ModuleType
from typing import Any

HASH_SEED = "PYTHONHASHSEED"
_SEEDS: dict[str, Callable[[Any, int], object]] = {
    "numpy.random": lambda module, seed: module.seed(seed),
    "torch": lambda module, seed: module.manual_seed(seed),
}


def seed_of(role: str) -> int:
    """Runs that are compared without a resume begin alike. A resumed one begins with other numbers and another order of sets, as it will in earnest: what
    it needs of the first one's must come out of the checkpoint."""
    return 1 if role == "resumed" else 0


def hash_seed(role: str) -> str:
    """PYTHONHASHSEED for such a run; what the user has set stands."""
    return os.environ.get(HASH_SEED) or str(seed_of(role))


def seed_imports(seed: int) -> None:
    """What holds generators and is imported from here on is seeded as soon as it is there."""
    sys.meta_path.insert(0, _Finder(seed))


class _Finder(MetaPathFinder):
    """See seed_imports."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> importlib.machinery.ModuleSpec | None:
        if name not in _SEEDS:
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        spec = next((spec for spec in others if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, name, self.seed)
        return spec


class _Loader(Loader):
    def __init__(self, loader: Loader, name: str, seed: int) -> None:
        self.loader, self.name, self.seed = loader, name, seed

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        _SEEDS[self.name](module, self.seed)


def _run(script: str, arguments: list[str]) -> None:
    """The script becomes the main module, here to stay: its threads and exit handlers outlive this call."""
    sys.argv = [script, *arguments]
    if not sys.flags.safe_path:
        sys.path[0] = os.path.dirname(os.path.realpath(script))
    file = os.path.abspath(script)
    main = ModuleType("__main__")
    main.__file__, main.__loader__ = file, importlib.machinery.SourceFileLoader("__main__", file)
    main.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = main
    with open(script, "rb") as source:
        code = compile(source.read(), file, "exec", dont_inherit=True)
    exec(code, main.__dict__)


if __name__ == "__main__":
    random.seed(int(sys.argv[1]))
    seed_imports(int(sys.argv[1]))
    _run(sys.argv[2], sys.argv[3:])
