"""What the library can fail with, as exceptions: one class per code, with the builtin one mixed in where it fits."""

from __future__ import annotations

import errno


class Error(Exception):
    """Whatever Cairn raises by itself.

    `code` is the library's name of what happened ("CORRUPT"), `os_errno` the number of the system's error or 0, `offset` the byte position in the
    file that the message names, or None.
    """

    code: str = ""
    os_errno: int = 0
    offset: int | None = None
    position: tuple[int, int] | None = None
    """Of what `wait_for_new` raises for a damaged checkpoint: (term, step), where to go on after it."""

    def __reduce__(self) -> tuple[object, ...]:
        return _again, (type(self), str(self), self.errno if isinstance(self, OSError) else None), vars(self)


class CorruptError(Error):
    """Something on the disk is not as it was written: bytes differ from their digest, or the file is malformed or too short."""


class FormatError(CorruptError):
    """A file is malformed."""


class TruncatedError(CorruptError):
    """A file ends too early, or is not there any more."""


class LimitError(Error):
    """Larger, longer or deeper than Cairn agrees to handle."""


class UnsupportedError(Error):
    """Well formed, but of a kind that is not known here; the message names it."""


class UnsafeError(Error):
    """To read it would run code, or leave the folder."""


class PathError(Error, ValueError):
    """A name that must not be used as a file name."""


class UsageError(Error, ValueError):
    """A call that cannot be meant."""


class StorageError(Error, OSError):
    """The system failed to read or write; `errno` says why."""


class NoSpaceError(StorageError):
    """The disk is full; the message says how many bytes are missing. Nothing is lost."""


class NotFoundError(Error, FileNotFoundError):
    """Nothing of that name."""


class ExistsError(Error, FileExistsError):
    """Something stands there already."""


class ForeignError(Error):
    """A folder of another tool is in the way."""


class VersionError(Error):
    """Written by a newer format."""


class MismatchError(Error, ValueError):
    """A dtype, a shape or a name differs between the state and the checkpoint. `differences` has each of them, where there are several."""

    differences: list[str] = []


class LockedError(Error):
    """Another live process writes this run, or reads what should go."""


class FencedError(Error):
    """Another process has taken the run over."""


class GoneError(Error):
    """Removed while it was looked at: list again."""


class ForkedError(Error, RuntimeError):
    """The run was opened by the parent process."""


class TornStateError(Error, RuntimeError):
    """A restore failed half-way: the bound memory is a mixture. Restore again, or stop."""


class TornCorruptError(TornStateError, CorruptError):
    """A restore met damage half-way: the bound memory is a mixture. Restore another step, or stop."""


class EarlyWriteError(Error, RuntimeError):
    """Something wrote into the state before its lazy save was staged: that save is not there."""


class CancelledError(Error):
    """Ended because it was asked to."""


class OutOfMemory(Error, MemoryError):
    """Memory ran out."""


class UnstorableError(Error, TypeError):
    """Something in the state has no form outside of its program: a function, an open file. Nothing was written. `is_lasting`: false of what has none yet."""

    is_lasting: bool = True


_CLASSES: dict[str, type[Error]] = {
    "FORMAT": FormatError,
    "TRUNCATED": TruncatedError,
    "LIMIT": LimitError,
    "UNSUPPORTED": UnsupportedError,
    "UNSAFE": UnsafeError,
    "CORRUPT": CorruptError,
    "PATH": PathError,
    "USAGE": UsageError,
    "IO": StorageError,
    "NOSPACE": NoSpaceError,
    "NOTFOUND": NotFoundError,
    "EXISTS": ExistsError,
    "FOREIGN": ForeignError,
    "VERSION": VersionError,
    "MISMATCH": MismatchError,
    "LOCKED": LockedError,
    "FENCED": FencedError,
    "GONE": GoneError,
    "FORKED": ForkedError,
    "TORN_STATE": TornStateError,
    "EARLY_WRITE": EarlyWriteError,
    "CANCELLED": CancelledError,
    "NOMEM": OutOfMemory,
}


def not_yet(message: str) -> UnstorableError:
    """For a lazy module's tensor, which gets its bytes with the first batch."""
    error = UnstorableError(message)
    error.is_lasting = False
    return error


def _again(kind: type[Error], message: str, number: int | None) -> Error:
    """An exception of another process; what it has besides is added by whoever unpickles."""
    error = kind(message)
    if isinstance(error, OSError):
        error.errno = number
    return error

# What the library advises, in this package's words.
_ADVICE = {
    "call cairn_restore before": "call restore() before",
    "call cairn_fence before": "call fence() before",
    "use cairn_checkpoint_read": "read it",
    "save with cairn_save,": "save it through its CheckpointManager,",
}

_DAMAGE = ("FORMAT", "TRUNCATED", "CORRUPT")
_ERRNOS = {"NOSPACE": errno.ENOSPC, "NOTFOUND": errno.ENOENT, "EXISTS": errno.EEXIST}


def make(code: str, message: str, os_errno: int = 0, offset: int | None = None, cause: str = "") -> Error:
    """The exception for a code of the library ("CORRUPT"), not raised yet; `Error` itself for a code that is not known. cause: of a TORN_STATE, what it
    failed with."""
    for said, meant in _ADVICE.items():
        message = message.replace(said, meant)
    kind = TornCorruptError if code == "TORN_STATE" and cause in _DAMAGE else _CLASSES.get(code, Error)
    error = kind(message)
    error.code = code
    error.os_errno = os_errno
    error.offset = offset
    if isinstance(error, OSError):
        error.errno = os_errno or _ERRNOS.get(code, errno.EIO)
    return error
