"""Where Cairn and the safetensors crate differ on purpose. README.md beside this tells the same to people.

A disagreement is intended when one of these classes takes it: Cairn's code and message are those of the class, and the header has what the class is
about. What no class takes is a finding.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Callable

from mutate import File, Pairs

FIELDS = {"dtype", "shape", "data_offsets"}


class Header:
    """The JSON of a file by Python's own parser, keys that come twice and all."""

    def __init__(self, content: bytes) -> None:
        self.length = int.from_bytes(content[:8], "little")
        text = content[8 : 8 + self.length].decode("utf-8", "surrogatepass")
        self.members: Pairs = json.loads(text, object_pairs_hook=Pairs)
        if not isinstance(self.members, Pairs):
            raise ValueError("no object")
        self.tensors = [(name, value) for name, value in self.members if name != "__metadata__"]
        self.metadata = [pair for name, value in self.members if name == "__metadata__" and isinstance(value, Pairs) for pair in value]

    def last_of_each(self) -> Pairs:
        """The members that the crate sees: of those with one name the last."""
        return Pairs(dict(self.members).items())

    def entries(self) -> list[Pairs]:
        return [value for _, value in self.tensors if isinstance(value, Pairs)]

    def values(self, key: str) -> list:
        return [value for one in self.entries() for name, value in one if name == key]


def twice(keys: list[str]) -> bool:
    return len(set(keys)) != len(keys)


@dataclass
class Difference:
    name: str
    code: str  # what Cairn says; the crate accepts the file
    says: str  # a pattern of Cairn's message
    holds: Callable[[Header], bool]


# The crate accepts, Cairn refuses.
REFUSED_BY_US = [
    Difference("a name twice", "FORMAT", "the name is given twice", lambda header: twice([name for name, _ in header.tensors])),
    Difference("a key of __metadata__ twice", "FORMAT", "a key of __metadata__ is given twice", lambda header: twice([key for key, _ in header.metadata])),
    Difference("an unknown field", "FORMAT", "an unknown field|a NUL in a key", lambda header: any(name not in FIELDS for one in header.entries() for name, _ in one)),
    Difference("an entry as a list", "FORMAT", "an object per tensor", lambda header: any(type(value) is list for _, value in header.tensors)),
    Difference("a dtype as an object", "FORMAT", "", lambda header: any(isinstance(value, Pairs) for value in header.values("dtype"))),
    Difference("a NUL in a name", "UNSUPPORTED", "holds a NUL", lambda header: any("\0" in name for name, _ in header.tensors)),
    Difference("a NUL in __metadata__", "UNSUPPORTED", "holds a NUL", lambda header: any("\0" in text for pair in header.metadata for text in pair)),
    Difference("more than 64 dimensions", "LIMIT", "more than 64 dimensions", lambda header: any(len(value) > 64 for value in header.values("shape"))),
    Difference("more than 65,536 pairs of metadata", "LIMIT", "more than 65536 pairs", lambda header: len(header.metadata) > 65_536),
    Difference("more tensors than the memory is for", "LIMIT", "more memory than", lambda header: len(header.tensors) > 80_000),
]

# The crate refuses, Cairn accepts: none. Whoever adds one says why in README.md.
ACCEPTED_BY_US: list[Difference] = []


# The same, where the message is about the entry that the crate never looks at: without that one Cairn must accept the file, too.
DROPPED = Difference("a name twice, the first one being wrong", "any", "", lambda header: twice([name for name, _ in header.tensors]))
ALL = [*REFUSED_BY_US, DROPPED, *ACCEPTED_BY_US]


def classify(content: bytes, code: str, message: str, we_accept: Callable[[bytes], bool]) -> str | None:
    """The class of a disagreement, or None. we_accept asks Cairn about another file."""
    try:
        header = Header(content)
    except (ValueError, RecursionError):
        return None
    for one in ACCEPTED_BY_US if code == "OK" else REFUSED_BY_US:
        if one.code == code and re.search(one.says, message) and one.holds(header):
            return one.name
    if code != "OK" and DROPPED.holds(header) and we_accept(File(header.last_of_each(), content[8 + header.length :]).content()):
        return DROPPED.name
    return None
