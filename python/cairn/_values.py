"""A trainer's own loop variables, as one thing to save."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ._tree import Writing


class LoadedValues(NamedTuple):
    """What a load found to differ."""

    missing: list[str]  # here, not in the saved state: as they were given
    unexpected: list[str]  # in the saved state, not given here: kept, and saved again
    notes: list[str] = []  # that, and what differs inside of values, as a report says it


class Values:
    """Loop variables that a restore writes back: `run = cairn.Values(epoch=0, best=math.inf)`, then `run.epoch += 1`.

    A bare number in a dict of state could be saved, but not given back to the variable it came from; an attribute can.
    Every name is given once, at the start; assigning to another one is an AttributeError, which finds the misspelt
    ones. Iterating gives the names.
    """

    def __init__(self, **values: Any) -> None:
        """ValueError for a name that begins with "_" or is one of this class's own (state_dict, load_state_dict)."""
        for name in values:
            check_name(name)
        vars(self).update(values)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(self._unknown(name))  # only asked for what is not there

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in vars(self):
            raise AttributeError(self._unknown(name))
        vars(self)[name] = value

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"Values: {name} is part of what is saved, and stays")

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self))

    def __repr__(self) -> str:
        return f"Values({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    def state_dict(self) -> dict[str, Any]:
        """The values by name, in the order they were given. A list or dict among them is the one in use, not a copy."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> LoadedValues:
        """Writes the saved values back. A list or dict is filled in place, so that whoever holds it sees it, too; keys of a dict that were not saved stay.

        ValueError, with nothing written, if the state has a name that cannot be one of Values.
        """
        for name in state:
            check_name(name)
        own = vars(self)
        differs = LoadedValues([name for name in own if name not in state], [name for name in state if name not in own])
        writing = Writing()
        writing.write(own, state)
        return differs._replace(notes=writing.notes())

    def _unknown(self, name: str) -> str:
        return f"Values: no {name!r} among {', '.join(vars(self)) or 'none'}; name it where Values is made"


def check_name(name: str) -> None:
    if name.startswith("_") or hasattr(Values, name):
        raise ValueError(f"Values: {name!r} cannot be the name of a value")
