"""What calls are given, checked: an error says what was wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._policy import Keep, Save


def word(what: str, given: str, words: tuple[str, ...]) -> None:
    """Raises ValueError for what is none of the words."""
    if given not in words:
        raise ValueError(f"{what} is {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {given!r}")


def kind(what: str, given: object, wanted: type, example: str) -> None:
    """Raises TypeError for what is neither None nor of this class."""
    if given is not None and not isinstance(given, wanted):
        raise TypeError(f"{what} is a cairn.{wanted.__name__}, as {example}, not {type(given).__name__} {given!r:.60}")


def rules(save: object, keep: object) -> None:
    """Raises TypeError for the number alone that somebody meant."""
    kind("save", save, Save, f"cairn.Save(every_steps={save if type(save) is int else 500})")
    kind("keep", keep, Keep, f"cairn.Keep(last={keep if type(keep) is int else 3})")


def attachments(given: object) -> None:
    """Raises TypeError for what has no names."""
    if given is not None and not isinstance(given, Mapping):
        wanted = 'attachments is a dict of file names and paths or bytes, as {"config.json": "path/to/config.json"}'
        raise TypeError(f"{wanted}, not {type(given).__name__} {given!r:.60}")


def config(given: object) -> None:
    """Raises TypeError for what has no keys."""
    if given is not None and not isinstance(given, Mapping):
        wanted = "config is a dict of settings, as vars(arguments) makes one of a Namespace"
        raise TypeError(f"{wanted}, not {type(given).__name__} {given!r:.60}")


def number(name: str, value: Any) -> float:
    """A metric's value: a number, or an array of one element."""
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"metrics: {name!r} is to be a number, or an array of one element, not {type(value).__name__} {value!r:.60}") from None
