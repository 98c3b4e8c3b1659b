"""What calls are given, checked: an error says what was wanted."""

from __future__ import annotations

from typing import Any


def word(what: str, given: str, words: tuple[str, ...]) -> None:
    """Raises ValueError for what is none of the words."""
    if given not in words:
        raise ValueError(f"{what} is {', '.join(map(repr, words[:-1]))} or {words[-1]!r}, not {given!r}")


def number(name: str, value: Any) -> float:
    """A metric's value: a number, or an array of one element."""
    try:
        return float(value.item() if hasattr(value, "item") else value)
    except (TypeError, ValueError, RuntimeError):
        raise TypeError(f"metrics: {name!r} is to be a number, or an array of one element, not {type(value).__name__} {value!r:.60}") from None
