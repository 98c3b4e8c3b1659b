"""A tree of Python containers as what a checkpoint holds: tensors and values by name, and what the containers were.

A name is a path of keys joined by '/', with '~' and '/' in a key written ~0 and ~1. A part of the tree without arrays is one value; a container with
arrays in it is taken apart, and `kinds` remembers what it was. Nothing is ever called or imported because a file says so: classes come back through
the object that the caller bound, or as plain stand-ins.
"""

from __future__ import annotations

import dataclasses
import enum
import io
import pathlib
import sys
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import Any

from . import _arrays, _pytree
from ._errors import UnstorableError
from ._native import Tagged, TensorRef
from ._report import some

PLAIN = (type(None), bool, int, float, str, bytes)
MODULE = "module"  # the kind of an item whose names are a module's
ROOT = "value"  # the name of what is an item by itself: an array, a list
_MIXED = object()  # said of a container with arrays in it: it was taken apart
_MAX_DEPTH = 50  # of containers, within what the library takes
_MAX_INLINE_BYTES = 1 << 20


def join(path: tuple[str, ...]) -> str:
    """The name of a path: ("a", "b/c") is "a/b~1c"."""
    return "/".join(part.replace("~", "~0").replace("/", "~1") for part in path)


def split(name: str) -> tuple[str, ...]:
    """The path of a name."""
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in name.split("/"))


@dataclasses.dataclass(slots=True)
class Flat:
    """One item, taken apart. `kinds` and `forms` are plain values: what containers were, and what arrays come back as where that is not "torch"."""

    tensors: dict[str, Any] = dataclasses.field(default_factory=dict)
    values: dict[str, object] = dataclasses.field(default_factory=dict)
    kinds: dict[str, object] = dataclasses.field(default_factory=dict)
    forms: dict[str, object] = dataclasses.field(default_factory=dict)


# ------------------------------------------------------------------------------------------------------------------- saving


def flatten(item: str, tree: object) -> Flat:
    """Takes the tree of an item apart. Raises UnstorableError, which names what cannot be stored by its path, before anything is saved."""
    flat = Flat()
    if not isinstance(tree, Mapping):
        flat.kinds[""] = "root"
        tree = {ROOT: tree}
    elif not all(isinstance(key, str) for key in tree):
        return _flatten_root(item, tree)
    elif type(tree) is not dict:
        flat.kinds[""] = _name_of(type(tree))
    if not _are_arrays_first([_add(flat, item, (key,), child) for key, child in tree.items()]):
        flat.kinds[""] = {"kind": _name_of(type(tree)), "keys": [str.__str__(key) for key in tree]}
    return flat


def _flatten_root(item: str, tree: object) -> Flat:
    """A map of other keys is a value by itself."""
    flat = Flat(kinds={"": "root"})
    _add(flat, item, (ROOT,), tree)
    return flat


def _add(flat: Flat, item: str, path: tuple[str, ...], child: object) -> object:
    value = _encode(flat, item, path, child)
    if value is not _MIXED:
        flat.values[join(path)] = value
    return value


def _are_arrays_first(encoded: list[object]) -> bool:
    """Whether no array comes behind a value: parts are stored in that order."""
    values = [value is not _MIXED for value in encoded]
    return values == sorted(values)


def _add_array(flat: Flat, name: str, array: object) -> object:
    flat.tensors[name] = array
    form = _arrays.form_of(array)
    if form != "torch":
        flat.forms[name] = form
    return _MIXED


def plain(item: str, value: object) -> object:
    """A value as it is stored, with small arrays in it as their bytes: for what no reader looks up by name."""
    return _encode(None, item, (), value)


def _inline(where: str, array: Any) -> Tagged:
    buffer = _arrays.buffer_of(array, where)
    copy = _arrays.empty(buffer.dtype, buffer.shape, _arrays.form_of(array))
    data = _arrays.bytes_of(copy)
    if len(data) > _MAX_INLINE_BYTES:
        raise UnstorableError(f"{where}: {len(data):,} bytes, where only small arrays can be stored: register it as a buffer")
    _arrays.copy_into(copy, array)
    return Tagged("array", [_arrays.form_of(array), buffer.dtype, list(buffer.shape), bytes(data)])


def _outline(parts: Any) -> Any:
    form, dtype, shape, data = parts
    array = _arrays.empty(dtype, tuple(shape), form)
    _arrays.bytes_of(array)[:] = data
    return _arrays.finish(array, form)


def _encode(flat: Flat | None, item: str, path: tuple[str, ...], value: object) -> object:
    """A value as it is stored, or _MIXED: it holds arrays, and all of it has been added to flat."""
    kind = type(value)
    if kind in PLAIN:
        return value
    if _arrays.framework_of(value):
        return _inline(f"{item}/{join(path)}", value) if flat is None else _add_array(flat, join(path), value)
    parts = _parts_of(value)
    if parts is None:
        return _encode_scalar(item, path, value)
    keys, children = parts
    _check_keys(item, path, keys)
    encoded = [_encode(flat, item, (*path, _part(key)), child) for key, child in zip(keys, children, strict=True)]
    if flat is None or _MIXED not in encoded:
        return _rebuild_plain(value, keys, encoded)
    if len({_part(key) for key in keys}) < len(keys):
        raise UnstorableError(f"{item}/{join(path)}: two of its keys would have one name, like 1 and '1': make them differ as text")
    for key, child in zip(keys, encoded, strict=True):
        if child is not _MIXED:
            flat.values[join((*path, _part(key)))] = child
    if isinstance(value, deque):
        flat.kinds[join(path)] = {"kind": "deque", "keys": [], "maxlen": value.maxlen}
    elif kind is not dict or any(type(key) is not str for key in keys) or not _are_arrays_first(encoded):
        flat.kinds[join(path)] = {"kind": _name_of(kind), "keys": [] if _is_sequence(value) else list(keys)}
    return _MIXED


def _check_keys(item: str, path: tuple[str, ...], keys: list[object]) -> None:
    if len(path) > _MAX_DEPTH:
        raise UnstorableError(f"{item}/{join(path[:4])}/...: more than {_MAX_DEPTH} levels of containers; does one hold itself?")
    for key in keys:
        if not all(type(part) in PLAIN for part in (key if type(key) is tuple else (key,))):
            raise UnstorableError(f"{item}/{join(path)}: a {_name_of(type(key))} cannot be stored as a key: use text or a number")


def is_container(value: object) -> bool:
    """Whether it has parts that are stored one by one."""
    return _parts_of(value) is not None or isinstance(value, set)


def is_scalar(value: object) -> bool:
    """Whether it is one plain value, which nobody can change in place."""
    return type(value) in PLAIN or isinstance(value, enum.Enum | frozenset | complex | pathlib.PurePath) or _of_a_framework(value) is not None


def _part(key: object) -> str:
    return key if isinstance(key, str) else repr(key)


def _name_of(kind: type) -> str:
    return kind.__name__ if kind.__module__ in ("builtins", "collections") else f"{kind.__module__}.{kind.__qualname__}"


def _is_namedtuple(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_sequence(value: object) -> bool:
    return isinstance(value, list | tuple | deque) and not _is_namedtuple(value)


def _parts_of(value: object) -> tuple[list[object], list[object]] | None:
    """Keys and children of a container; None for anything else."""
    if isinstance(value, Mapping):
        return [_plain_key(key) for key in value], list(value.values())
    if _is_namedtuple(value):
        return list(value._fields), list(value)  # type: ignore[attr-defined, call-overload]
    if _is_sequence(value):
        return list(range(len(value))), list(value)  # type: ignore[arg-type, call-overload]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value) if not _is_code(field) and hasattr(value, field.name)]
        return list(names), [getattr(value, name) for name in names]
    return _pytree.parts_of(value)


def _plain_key(key: Any) -> object:
    """A number of numpy's as Python has it, which is the same key."""
    if type(key) in PLAIN or type(key).__module__ != "numpy" or not hasattr(key, "item"):
        return key
    plain = key.item()
    return plain if type(plain) in PLAIN and plain == key else key


def _is_code(field: dataclasses.Field[Any]) -> bool:
    """What pytrees of jax declare to be no data: flax says pytree_node=False, jax and equinox static=True."""
    return not field.metadata.get("pytree_node", True) or bool(field.metadata.get("static", False))


def _rebuild_plain(value: object, keys: list[object], encoded: list[object]) -> object:
    kind = type(value)
    if kind is list:
        return encoded
    if kind is tuple:
        return tuple(encoded)
    if kind is dict:
        return dict(zip(keys, encoded, strict=True))
    if isinstance(value, deque):
        return Tagged("deque", [encoded, value.maxlen])
    if _is_sequence(value):
        return Tagged(_name_of(kind), list(encoded))
    return Tagged(_name_of(kind), dict(zip(keys, encoded, strict=True)))


def _encode_scalar(item: str, path: tuple[str, ...], value: object) -> object:
    kind = type(value)
    if isinstance(value, enum.Flag):
        return Tagged(_name_of(kind), value.value)
    if isinstance(value, enum.Enum):
        return Tagged(_name_of(kind), value.name)
    if kind in (set, frozenset):
        inner = [_encode(Flat(), item, (*path, "..."), member) for member in value]  # type: ignore[attr-defined]
        if _MIXED not in inner:
            return Tagged(kind.__name__, inner)
    if kind is complex:
        return Tagged("complex", [value.real, value.imag])  # type: ignore[attr-defined]
    if isinstance(value, pathlib.PurePath):
        return Tagged("Path", str(value))
    if kind is io.BytesIO:
        return Tagged("BytesIO", value.getvalue())  # type: ignore[attr-defined]
    if kind in (range, slice):
        return Tagged(kind.__name__, [value.start, value.stop, value.step])  # type: ignore[attr-defined]
    special = _of_a_framework(value)
    if special is not None:
        return special
    raise UnstorableError(f"{item}/{join(path)}: a {_name_of(kind)} cannot be stored{_advice(value)}")


def _of_a_framework(value: object) -> Tagged | None:
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if numpy is not None and isinstance(value, numpy.datetime64 | numpy.timedelta64):
        return Tagged(f"numpy.{value.dtype.name}", int(value.view("int64")))
    if numpy is not None and isinstance(value, numpy.number | numpy.bool_) and type(value.item()) in PLAIN:
        return Tagged(f"numpy.{value.dtype.name}", value.item())
    if numpy is not None and isinstance(value, numpy.dtype):
        return Tagged("numpy.dtype", value.str)
    if torch is not None and isinstance(value, torch.dtype | torch.device):
        return Tagged(f"torch.{type(value).__name__}", str(value).removeprefix("torch."))
    return None


def _advice(value: object) -> str:
    if hasattr(value, "state_dict") and hasattr(value, "load_state_dict"):
        return ": make it an entry of the state of its own"
    if hasattr(value, "state_dict"):
        return ": it has a state_dict() and no load_state_dict(): give it that one, too"
    if callable(value):
        return ": a function has no form outside of its program; keep it in the code"
    return ": keep plain values, containers and arrays in the state, or objects with state_dict() and load_state_dict() as entries of their own"


# ------------------------------------------------------------------------------------------------------------------ reading


def names_in(item: str, tree: Mapping[str, object]) -> tuple[list[str], list[str]]:
    """Of an item's tree as a checkpoint gives it: the names of its tensors and those of its values, by the rule of `flatten`."""
    tensors: list[str] = []
    values: list[str] = []
    for key, child in tree.items():
        if item == "model":  # whose names are no paths
            (tensors if isinstance(child, TensorRef) else values).append(key)
        else:
            _walk((key,), child, tensors, values)
    return tensors, values


def _walk(path: tuple[str, ...], node: object, tensors: list[str], values: list[str]) -> None:
    if isinstance(node, TensorRef):
        tensors.append(join(path))
    elif type(node) is dict and _holds_tensors(node):
        for key, child in node.items():
            _walk((*path, key), child, tensors, values)
    else:
        values.append(join(path))


def _holds_tensors(node: object) -> bool:
    if isinstance(node, TensorRef):
        return True
    return type(node) is dict and any(_holds_tensors(child) for child in node.values())


def decode(value: object) -> object:
    """A stored value as Python has it. What is tagged with a class of the caller's comes back as what it was made of."""
    if type(value) is list:
        return [decode(child) for child in value]
    if type(value) is tuple:
        return tuple(decode(child) for child in value)
    if type(value) is dict:
        return {key: decode(child) for key, child in value.items()}
    if isinstance(value, Tagged):
        return _decode_tagged(value.type, decode(value.value))
    return value


_MAKERS: dict[str, Callable[[Any], object]] = {
    "OrderedDict": OrderedDict,
    "Counter": Counter,
    "defaultdict": dict,
    "deque": lambda parts: deque(parts[0], parts[1]),
    "set": set,
    "frozenset": frozenset,
    "complex": lambda parts: complex(*parts),
    "range": lambda parts: range(*parts),
    "slice": lambda parts: slice(*parts),
    "Path": pathlib.Path,
    "BytesIO": io.BytesIO,
    "array": _outline,
    "torch.Size": lambda parts: sys.modules["torch"].Size(parts) if "torch" in sys.modules else tuple(parts),
    "torch.dtype": lambda name: getattr(sys.modules["torch"], name) if "torch" in sys.modules else name,
    "torch.device": lambda name: sys.modules["torch"].device(name) if "torch" in sys.modules else name,
    "numpy.dtype": lambda name: sys.modules["numpy"].dtype(name) if "numpy" in sys.modules else name,
}


def _decode_tagged(kind: str, value: Any) -> object:
    if kind in _MAKERS:
        return _MAKERS[kind](value)
    numpy = sys.modules.get("numpy")
    if kind.startswith("numpy.") and numpy is not None and type(value) in PLAIN:
        dtype = numpy.dtype(kind.removeprefix("numpy."))
        return numpy.int64(value).view(dtype) if dtype.kind in "mM" else dtype.type(value)
    return value


def rebuild(item: str, tree: Mapping[str, object], arrays: Mapping[str, Any], kinds: Mapping[str, Any]) -> Any:
    """An item's tree as it was: `tree` as a checkpoint gives it, `arrays` for the tensors in it, `kinds` for what its containers were."""
    root = kinds.get("")
    if item == "model" and root != MODULE:
        tree = _nest(tree)
    built = {key: _build(child, (key,), arrays, kinds) for key, child in tree.items()}
    if root == "root":
        return built.get(ROOT)
    if isinstance(root, dict):
        return _restore_container(built, root)
    return _MAKERS[root](built) if isinstance(root, str) and root in _MAKERS else built


def _nest(tree: Mapping[str, object]) -> dict[str, Any]:
    """The names of item "model" are no paths to the library; to us those of a plain tree are."""
    nested: dict[str, Any] = {}
    for name, leaf in tree.items():
        *folders, last = split(name)
        node = nested
        for folder in folders:
            node = node.setdefault(folder, {})
        node[last] = leaf
    return nested


def _build(node: object, path: tuple[str, ...], arrays: Mapping[str, Any], kinds: Mapping[str, Any]) -> object:
    if isinstance(node, TensorRef):
        return arrays[node.name]
    if type(node) is not dict or not _holds_tensors(node):
        return decode(node)
    parts = {key: _build(child, (*path, key), arrays, kinds) for key, child in node.items()}
    kind = kinds.get(join(path))
    return parts if kind is None else _restore_container(parts, kind)


def _restore_container(parts: dict[str, object], kind: Any) -> object:
    name, keys = kind["kind"], kind["keys"]
    if parts and not keys:  # a list, a tuple, a deque, or a class of their kind, which is a list without a template
        children = [parts[index] for index in sorted(parts, key=int)]
        return deque(children, kind["maxlen"]) if name == "deque" else tuple(children) if name == "tuple" else children
    ordered = {key: parts[_part(key)] for key in keys if _part(key) in parts}
    return OrderedDict(ordered) if name == "OrderedDict" else ordered


# --------------------------------------------------------------------------------------------------------------- writing back


class Writing:
    """Puts what was loaded into the containers that the caller holds. Keys that only one side has are noted."""

    def __init__(self) -> None:
        self._left: list[str] = []
        self._added: list[str] = []
        self._out: list[str] = []
        self._removed: list[str] = []

    def notes(self) -> list[str]:
        """What became of such keys. Where arrays are below one, it is told elsewhere."""
        told = {
            "not in the checkpoint, left as they are": self._left,
            "not in the checkpoint, taken out": self._removed,
            "only in the checkpoint, added": self._added,
            "only in the checkpoint, left out": self._out,
        }
        return [f"{what}: {some(names)}" for what, names in told.items() if names]

    def write(self, template: Any, loaded: Any, path: tuple[str, ...] = ()) -> Any:
        """Returns what stands there now: the template itself where it can be changed, else a new one of its class. Arrays that were filled in place are met
        as themselves. Keys that only the template has stay - but those of a Counter or a defaultdict, for which a key that is not there has a value.
        """
        if template is loaded:
            return template
        if isinstance(template, dict) and isinstance(loaded, Mapping):
            return self._write_dict(template, loaded, path)
        if isinstance(template, Mapping) and isinstance(loaded, Mapping):
            made: Any = type(template)
            return made(self._write_dict(dict(template), loaded, path))
        if isinstance(template, set) and isinstance(loaded, set):
            template.clear()
            template.update(loaded)
            return template
        if isinstance(template, list) and isinstance(loaded, list | tuple):
            template[:] = self._write_parts(template, loaded, path)
            return template
        if isinstance(template, deque) and isinstance(loaded, list | tuple | deque):
            kept = list(loaded)
            template.clear()
            template.extend(kept)
            return template
        if _is_namedtuple(template) and isinstance(loaded, Mapping):
            own = template._asdict()
            return type(template)(**own | self._write_fields(own, loaded, path))
        if dataclasses.is_dataclass(template) and isinstance(loaded, Mapping):
            return self._write_dataclass(template, loaded, path)
        if isinstance(loaded, Mapping) and (parts := _pytree.parts_of(template)) is not None:
            own = dict(zip(*parts, strict=True))
            return _pytree.with_parts(template, list((own | self._write_fields(own, loaded, path)).values()))
        if isinstance(template, enum.Flag) and isinstance(loaded, int):
            return type(template)(loaded)
        if isinstance(template, enum.Enum) and isinstance(loaded, str):
            return type(template)[loaded]
        if isinstance(template, tuple) and type(template).__new__ is tuple.__new__ and type(loaded) in (list, tuple):
            return tuple.__new__(type(template), self._write_parts(template, loaded, path))
        return loaded

    def _write_parts(self, template: Any, loaded: Any, path: tuple[str, ...]) -> list[Any]:
        pairs = enumerate(zip(template, loaded, strict=False))
        return [self.write(old, new, (*path, str(index))) for index, (old, new) in pairs] + list(loaded[len(template) :])

    def _write_dict(self, template: dict[Any, Any], loaded: Mapping[Any, Any], path: tuple[str, ...]) -> dict[Any, Any]:
        is_emptied = isinstance(template, Counter | defaultdict) and not holds_arrays(template)
        self._note(self._removed if is_emptied else self._left, path, template, loaded)
        if template and not is_emptied:
            self._note(self._added, path, loaded, template)
        new = {key: self.write(template[key], value, (*path, _part(key))) if key in template else value for key, value in loaded.items()}
        if is_emptied:
            template.clear()
        template.update(new)
        return template

    def _write_fields(self, own: Mapping[str, Any], loaded: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
        """The new values of those that both have."""
        self._note(self._left, path, own, loaded)
        self._note(self._out, path, loaded, own)
        return {name: self.write(value, loaded[name], (*path, name)) for name, value in own.items() if name in loaded}

    def _write_dataclass(self, template: Any, loaded: Mapping[str, Any], path: tuple[str, ...]) -> Any:
        fields = [field for field in dataclasses.fields(template) if hasattr(template, field.name)]
        names = [field.name for field in fields if not _is_code(field) or field.name in loaded]
        new = self._write_fields({name: getattr(template, name) for name in names}, loaded, path)
        new |= {field.name: loaded[field.name] for field in dataclasses.fields(template) if field not in fields and field.name in loaded}  # not set as yet
        try:
            for name, value in new.items():
                setattr(template, name, value)
        except dataclasses.FrozenInstanceError:
            return _another(template, new)
        return template

    def _note(self, told: list[str], path: tuple[str, ...], tree: Mapping[Any, Any], other: Mapping[Any, Any]) -> None:
        told += [join((*path, _part(key))) for key, value in tree.items() if key not in other and not holds_arrays(value)]


def _another(template: Any, new: Mapping[str, Any]) -> Any:
    """An object like this one with other fields: as its class makes it of them, if that leaves them as they were saved."""
    kind = type(template)
    with suppress(Exception):
        made = dataclasses.replace(template, **new)
        if all(getattr(made, name) is value for name, value in new.items()):
            return made
    kept = {name: value for name, value in getattr(template, "__dict__", {}).items() if not isinstance(getattr(kind, name, None), cached_property)}
    kept |= {field.name: getattr(template, field.name) for field in dataclasses.fields(template) if hasattr(template, field.name)}
    made = object.__new__(kind)
    for name, value in {**kept, **new}.items():
        object.__setattr__(made, name, value)
    return made


def holds_arrays(value: object) -> bool:
    """Whether an array lies anywhere in it."""
    parts = None if _arrays.framework_of(value) else _parts_of(value)
    return bool(_arrays.framework_of(value)) if parts is None else any(holds_arrays(child) for child in parts[1])
