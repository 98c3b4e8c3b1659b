"""Objects of classes that were registered with jax as pytrees: what they say is data, and others like them with other data. jax is not imported for that."""

from __future__ import annotations

import enum
import sys
from typing import Any


def _tree_util() -> Any:
    return getattr(sys.modules.get("jax"), "tree_util", None)


def parts_of(value: object) -> tuple[list[object], list[object]] | None:
    """Names and children; None for what is no such object. An enum has neither, though it may be registered, and is more than that."""
    util = _tree_util()
    if util is None or value is None or isinstance(value, enum.Enum) or util.all_leaves([value]):
        return None
    pairs, _ = util.tree_flatten_with_path(value, is_leaf=lambda node: node is not value)
    names: list[object] = [_name_of(path[0], place) for place, (path, _) in enumerate(pairs)]
    return names if len(set(names)) == len(names) else list(map(str, range(len(names)))), [child for _, child in pairs]


def _name_of(entry: object, place: int) -> str:
    """What its class calls a child; else its place."""
    return next((str(getattr(entry, name)) for name in ("name", "key", "idx") if hasattr(entry, name)), str(place))


def with_parts(template: object, children: list[object]) -> Any:
    """An object like this one with other children. What is no data is the template's."""
    util = _tree_util()
    return util.tree_unflatten(util.tree_structure(template, is_leaf=lambda node: node is not template), children)
