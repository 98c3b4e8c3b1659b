"""Cairn: save, keep and bring back the state of a training run.

CheckpointManager is all that a training loop needs; save and load handle single folders; Checkpoint looks into any of them.
"""

from __future__ import annotations

import sys

if sys.platform != "linux":
    raise ImportError("cairn runs on Linux only: its guarantees rest on how Linux file systems rename, lock and sync")

from ._checkpoint import Array, Checkpoint, Item
from ._data import Data, data
from ._errors import (
    CancelledError,
    CorruptError,
    EarlyWriteError,
    Error,
    ExistsError,
    FencedError,
    ForeignError,
    ForkedError,
    FormatError,
    GoneError,
    LimitError,
    LockedError,
    MismatchError,
    NoSpaceError,
    NotFoundError,
    OutOfMemory,
    PathError,
    StorageError,
    TornCorruptError,
    TornStateError,
    TruncatedError,
    UnsafeError,
    UnstorableError,
    UnsupportedError,
    UsageError,
    VersionError,
)
from ._folder import load, save
from ._manager import CheckpointManager
from ._native import version
from ._policy import Keep, Save
from ._report import Report, Restored
from ._rng import RNG
from ._sample import sample_seed
from ._values import Values
from ._verify import ResumeDiffers, ResumeProof, verify_resume

__version__ = version()
__all__ = [
    "RNG",
    "Array",
    "CancelledError",
    "Checkpoint",
    "CheckpointManager",
    "CorruptError",
    "Data",
    "EarlyWriteError",
    "Error",
    "ExistsError",
    "FencedError",
    "ForeignError",
    "ForkedError",
    "FormatError",
    "GoneError",
    "Item",
    "Keep",
    "LimitError",
    "LockedError",
    "MismatchError",
    "NoSpaceError",
    "NotFoundError",
    "OutOfMemory",
    "PathError",
    "Report",
    "Restored",
    "ResumeDiffers",
    "ResumeProof",
    "Save",
    "StorageError",
    "TornCorruptError",
    "TornStateError",
    "TruncatedError",
    "UnsafeError",
    "UnstorableError",
    "UnsupportedError",
    "UsageError",
    "Values",
    "VersionError",
    "data",
    "load",
    "sample_seed",
    "save",
    "verify_resume",
]
