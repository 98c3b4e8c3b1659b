"""Cairn saves, keeps and brings back the state of a training run."""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError(f"cairn runs on Linux only, not on {sys.platform}")

from cairn._errors import Error as Error
from cairn._native import version as _version

__version__ = _version()
