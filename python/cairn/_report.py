"""What a restore did, leaf by leaf, and what differs from the process that saved."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(slots=True, repr=False)
class Report:
    """Leaves by what became of them, each as "item/name", of weights loaded into a module by their names in it; `differences` are settings as (saved, now); `notes` are sentences."""

    restored: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)  # bound and needed, not in the checkpoint; only with allow_missing
    unexpected: list[str] = field(default_factory=list)  # in the checkpoint, not bound
    converted: list[str] = field(default_factory=list)  # of another dtype, cast
    new: list[str] = field(default_factory=list)  # bound and not needed, not in the checkpoint: as it was
    skipped: list[str] = field(default_factory=list)  # excluded by the call
    differences: dict[str, tuple[object, object]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    bytes: int = 0
    seconds: float = 0.0
    skipped_damaged: int = 0  # newer checkpoints that were passed over

    @classmethod
    def of(cls, native: Any, asked_for: Collection[str] | None = None) -> Report:
        """asked_for: the items that were; None: all. Of others nothing is told."""
        report = cls(bytes=native.bytes, seconds=native.elapsed_ns / 1e9, skipped_damaged=native.skipped_damaged)
        for item, name, outcome in native.leaves:
            is_ours = item in ("python", "ranks")
            if not is_ours and (asked_for is None or item in asked_for):
                getattr(report, outcome).append(f"{item}/{name}")
        return report

    def lines(self) -> Iterable[str]:
        """What deserves to be read: nothing, if all was restored and nothing differs."""
        for what in ("missing", "unexpected", "converted", "new"):
            names = getattr(self, what)
            if names:
                yield f"{what}: {some(names)}"
        for key, (old, new) in self.differences.items():
            yield f"{key} was {_shown(old)}, is {_shown(new)}"
        if self.skipped_damaged:
            yield f"{self.skipped_damaged} newer checkpoint(s) passed over, for they are damaged"
        yield from self.notes

    def __repr__(self) -> str:
        counts = {"restored": self.restored, "missing": self.missing, "unexpected": self.unexpected, "converted": self.converted, "new": self.new}
        told = [f"{len(names)} {what}" for what, names in (counts | {"skipped": self.skipped}).items() if names]
        rest = {"settings differ": len(self.differences), "notes": len(self.notes), "damaged passed over": self.skipped_damaged}
        told += [f"{count} {what}" for what, count in rest.items() if count]
        return f"Report({', '.join(told) or 'nothing was there'})"

    def __str__(self) -> str:
        return "\n".join((f"{len(self.restored)} leaves restored, {self.bytes:,} bytes in {self.seconds:.2f} s", *self.lines()))


def _shown(value: object) -> str:
    return "not set" if value is None else repr(value)


def some(names: list[str], most: int = 8, between: str = ", ") -> str:
    """The first of them, and how many more there are."""
    return between.join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


@dataclass(slots=True, repr=False)
class Restored:
    """A restore's result. `step`: optimizer steps completed, 0 in a new run (`fresh`); `state`: the entries of the state by name, new where they cannot be
    changed in place; `path`: of the checkpoint."""

    step: int
    fresh: bool
    path: Path | None
    state: dict[str, Any]
    report: Report
    epoch: float = 0.0

    def __repr__(self) -> str:
        if self.fresh:
            return "Restored(step 0, a new run)"
        return f"Restored(step {self.step}, {str(self.path)!r}, [{', '.join(self.state)}], {self.report!r})"
