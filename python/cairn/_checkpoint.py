"""Looking into a checkpoint, or into any .safetensors file or folder of them: nothing is read before it is asked for."""

from __future__ import annotations

import contextlib
import operator
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from . import _arrays, _filling, _garbage, _items, _native, _tree
from ._errors import Error, UnsupportedError
from ._native import TensorRef


class Array:
    """A tensor in a checkpoint. `array[...]` reads and checks that part alone; numpy(), torch() and __dlpack__ give all of it without a copy, mapped from
    the file, read-only and unchecked: `read`, `read_into`, Checkpoint.load_into and `cairn verify` check every byte. Valid as long as somebody holds it, also when the checkpoint is closed."""

    def __init__(self, checkpoint: _native.Checkpoint, info: _native.TensorInfo, form: str) -> None:
        self._checkpoint, self._info, self._form = checkpoint, info, form

    @property
    def shape(self) -> tuple[int, ...]:
        """In elements."""
        shape = tuple(self._info.shape)
        return shape[:-1] if self._is_pairs else shape

    @property
    def _is_pairs(self) -> bool:
        """complex128 is stored as pairs of F64."""
        return self._form.endswith("complex128")

    @property
    def dtype(self) -> str:
        """As safetensors names it: "F32"; "C128" is stored as pairs of F64."""
        return "C128" if self._is_pairs else self._info.dtype

    @property
    def info(self) -> _native.TensorInfo:
        """File, offset, digest and statistics."""
        return self._info

    def __repr__(self) -> str:
        return f"Array({self._info.item}/{self._info.name}, {self.dtype}, {self.shape})"

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a tensor without dimensions")
        return self.shape[0]

    def read(self) -> Any:
        """All of it in new memory, every byte checked: an array of the framework that saved it."""
        array = _arrays.empty(self._info.dtype, tuple(self._info.shape), self._form)
        self._checkpoint.read(self._info, _arrays.bytes_of(array))
        return _arrays.finish(array, self._form)

    def for_torch(self) -> Array:
        """The same tensor, given as tensors of torch, whatever saved it."""
        return Array(self._checkpoint, self._info, "torch.complex128" if self._is_pairs else "torch")

    def read_into(self, array: Any) -> None:
        """All of it into an array of torch or numpy, contiguous, of the same dtype and shape, every byte checked."""
        buffer = _arrays.buffer_of(array, self._info.name)
        if (buffer.dtype, buffer.shape) != (self._info.dtype, tuple(self._info.shape)):
            raise ValueError(f"{self!r} does not fit into a {buffer.dtype} array of shape {buffer.shape}")
        if buffer.strides is not None or not _arrays.is_filled_in_place(array):
            raise ValueError(f"{self!r} cannot be read into an array that is not contiguous, writable and in main memory")
        self._checkpoint.read(self._info, _arrays.bytes_of(array))

    def view(self) -> memoryview:
        """Its bytes, read-only and unchecked: mapped from the file where Cairn wrote it."""
        try:
            return memoryview(self._checkpoint.map(self._info))
        except UnsupportedError:  # a file that Cairn did not write may change under a map: it is read
            copy = bytearray(self._info.size_bytes)
            self._checkpoint.read(self._info, copy)
            return memoryview(copy)

    def numpy(self) -> Any:
        """Without a copy, read-only and unchecked (see `read`). Dtypes that numpy has not are those of ml_dtypes. Raises ImportError that says what to install."""
        return _arrays.numpy_view(self.view(), self._info.dtype, tuple(self._info.shape), self._form)

    def torch(self) -> Any:
        """Without a copy and unchecked (see `read`). Do not write into it: the memory is read-only."""
        return _arrays.torch_view(self.view(), self._info.dtype, tuple(self._info.shape), self._form)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        """As numpy(): unchecked."""
        array = self.numpy()
        if dtype is None or array.dtype == dtype:
            return array.copy() if copy else array
        if copy is False:
            raise ValueError(f"{self!r} as {dtype} is a copy")
        return array.astype(dtype)

    def __dlpack__(self, **options: Any) -> Any:
        """Without a copy where torch is imported; unchecked."""
        return self.torch().__dlpack__(**options) if "torch" in sys.modules else self.numpy().copy().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)

    def __getitem__(self, key: Any) -> Any:
        """Reads the box that the key - integers, slices, an ellipsis - lies in and no more, each block of it checked. In new memory, as of `read`."""
        start, extent, rest = _box(key, self.shape)
        if self._is_pairs:
            start, extent = [*start, 0], [*extent, 2]
        form = "numpy" if self._form.startswith("jax.key") else self._form
        box = _arrays.empty(self._info.dtype, tuple(extent), form)
        self._checkpoint.read_slice(self._info, start, extent, _arrays.bytes_of(box))
        return _arrays.finish(_arrays.pick(box, rest), form)


def _box(key: Any, shape: tuple[int, ...]) -> tuple[list[int], list[int], list[int | slice]]:
    """The box of a key, and what is left of the key within it."""
    start, extent, rest = list[int](), list[int](), list[int | slice]()
    for axis, (part, size) in enumerate(zip(_whole(key, len(shape)), shape, strict=True)):
        if isinstance(part, slice):
            chosen = range(size)[part]
            low, high = (min(chosen[0], chosen[-1]), max(chosen[0], chosen[-1]) + 1) if chosen else (0, 0)
            rest.append(slice(None, None, chosen.step))
        else:
            if not -size <= part < size:
                raise IndexError(f"index {part} is out of range for axis {axis} of size {size}")
            low = range(size)[part]
            high = low + 1
            rest.append(0)
        start.append(low)
        extent.append(high - low)
    return start, extent, rest


def _whole(key: Any, rank: int) -> list[Any]:
    """The key with a part for each dimension."""
    parts = [_integer_or_slice(part) for part in (key if isinstance(key, tuple) else (key,))]
    if len([part for part in parts if part is not ...]) > rank:
        raise IndexError(f"{len(parts)} indices for a tensor of {rank} dimensions")
    if parts.count(...) > 1:
        raise TypeError("an Array takes integers and slices, and one ellipsis")
    at = parts.index(...) if ... in parts else len(parts)
    return parts[:at] + [slice(None)] * (rank - len(parts) + (at < len(parts))) + parts[at + 1 :]


def _integer_or_slice(part: Any) -> Any:
    if part is ... or isinstance(part, slice):
        return part
    try:
        if not isinstance(part, bool):
            return operator.index(part)
    except TypeError:
        pass
    raise TypeError(f"an Array takes integers and slices, not {type(part).__name__}: for others take numpy() or torch() first")


class Item(Mapping[str, Any]):
    """An item of a checkpoint: tensors and values by name. A value inside of others is found by its path, "param_groups/0/lr"."""

    def __init__(self, checkpoint: Checkpoint, found: _items.Found) -> None:
        self._checkpoint, self._found = checkpoint, found

    def __getitem__(self, name: str) -> Any:
        info = self._checkpoint.native.find(self._found.item, name)
        if info is not None and self._checkpoint.file in (None, info.file):
            return Array(self._checkpoint.native, info, self._found.form(info.name))
        node: Any = self._found.tree
        try:
            for part in (name,) if name in node else _tree.split(name):
                node = node[int(part) if isinstance(node, list | tuple) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise KeyError(f"{self._checkpoint.info.path}: item {self._found.item} holds no {name!r}") from None
        return self._show(node)

    def _show(self, node: Any) -> Any:
        """A part of the tree: what lies beside tensors is shown with them, as Arrays."""
        if isinstance(node, TensorRef):
            return self[node.name]
        if type(node) is dict:
            return {key: self._show(child) for key, child in node.items()}
        return _tree.decode(node)

    def __iter__(self) -> Iterator[str]:
        yield from self._found.tensors
        yield from self._found.aliases
        yield from self._found.values

    def __len__(self) -> int:
        return len(self._found.tensors) + len(self._found.aliases) + len(self._found.values)

    @property
    def kind(self) -> str | None:
        """"module" for a module's weights; else as its container was called, None for a plain dict."""
        kind = self._found.kinds.get("")
        name = kind["kind"] if isinstance(kind, dict) else kind
        return name if isinstance(name, str) and name != "dict" else None

    @property
    def has_tensors(self) -> bool:
        """Whether there is a tensor in it."""
        return bool(self._found.tensors)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was noted of it for a restore."""
        return self._found.facts

    def __repr__(self) -> str:
        return f"Item({self._found.item!r}, {len(self._found.tensors)} tensors, {len(self._found.values)} values)"


class Checkpoint(Mapping[str, Item]):
    """A checkpoint, by path or as RUN@STEP, RUN@latest, RUN@best, RUN@TAG; or a .safetensors file, or a folder of them. It is not removed while it is open.

    checkpoint["model"]["h.0.attn.weight"] is an Array. A .safetensors file that lies in a checkpoint is that part of the checkpoint, which has its digests.
    Raises NotFoundError, CorruptError, ..."""

    def __init__(self, name: str | os.PathLike[str] | _native.Checkpoint, store: str | os.PathLike[str] | None = None) -> None:
        self.file: str | None = None  # of the checkpoint, where that alone was named
        self.unchecked = ""  # why there are no digests for a file that lies in a checkpoint
        self.native = name if isinstance(name, _native.Checkpoint) else self._open(os.fspath(name), store)
        self.info = self.native.info
        self._found: dict[str, _items.Found] | None = None

    def _open(self, name: str, store: str | os.PathLike[str] | None) -> _native.Checkpoint:
        folder, file = _checkpoint_around(name)
        if folder is not None:
            try:
                native = _native.Checkpoint(folder)
                if any(info.file == file for info in native.tensors):
                    self.file = file
                    return native
                self.unchecked = f"{name}: the bytes were not checked: checkpoint {folder} has no such file"
            except Error as error:
                self.unchecked = f"{name}: the bytes were not checked: as a checkpoint {folder} cannot be opened: {error}"
        return _native.Checkpoint(name, None if store is None else os.fspath(store))

    @property
    def _all(self) -> dict[str, _items.Found]:
        if self._found is None:
            with _garbage.Kept():
                found = dict(_filling.found_in(self.native))
                self._found = found if self.file is None else _in_file(found, self.file)
        return self._found

    @property
    def _entry(self) -> _native.Entry:
        if self.info.entry is None:
            raise UnsupportedError(f"{self.info.path}: Cairn did not write it, so it has no step, time, metrics or tags")
        return self.info.entry

    @property
    def path(self) -> Path:
        """As it was opened."""
        return Path(self.info.path, self.file or "")

    @property
    def step(self) -> int:
        """Optimizer steps completed."""
        return self._entry.step

    @property
    def epoch(self) -> float:
        """As the save was told."""
        return self._entry.epoch

    @property
    def metrics(self) -> dict[str, float]:
        """As of the save, and those that were marked later."""
        return dict(self._entry.metrics)

    @property
    def tags(self) -> tuple[str, ...]:
        """What it was marked with."""
        return self._entry.tags

    @property
    def time(self) -> datetime:
        """When it was saved, in UTC."""
        return datetime.fromtimestamp(self._entry.time_ns / 1e9, timezone.utc)

    @property
    def metadata(self) -> dict[str, str]:
        """What another program's .safetensors file says of itself; empty for Cairn's own."""
        said: Any = self.native.values().get(_items.METADATA, {}) if self.info.source != "checkpoint" else {}
        return dict(said)

    def __getitem__(self, item: str) -> Item:
        if item not in self._all:
            raise KeyError(f"{self.info.path}: no item {item!r}: it holds {', '.join(self._all) or 'nothing'}")
        return Item(self, self._all[item])

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    def __repr__(self) -> str:
        what = f"step {self.step}" if self.info.entry is not None else self.info.source
        count, size = self.info.tensors_count, self.info.tensor_bytes
        if self.file is not None:
            sizes = [info.size_bytes for found in self._all.values() for info in found.tensors.values()]
            count, size = len(sizes), sum(sizes)
        return f"Checkpoint({str(self.path)!r}, {what}, {count} tensors, {size:,} bytes)"

    def state(self) -> dict[str, Any]:
        """The whole tree in new memory, every byte checked, without templates: dicts, lists, values and arrays as they were saved. A module is its
        state_dict; a namedtuple or dataclass a dict by field, a defaultdict a dict, an enum its member's name."""
        return _filling.read_trees(self.native, self._all)

    def load_into(self, target: Any, **rules: Any) -> Any:
        """Fills a module, or a state as one gives it to CheckpointManager: see cairn.load."""
        from ._folder import load_from

        return load_from(self, target, **rules)

    def close(self) -> None:
        """Lets it go. Arrays that were taken from it stay valid."""
        self.native.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _checkpoint_around(file: str) -> tuple[str | None, str]:
    """The folder of the checkpoint that a weight file seems to lie in, and its name there."""
    above, name = os.path.split(file)
    folders = [(above or ".", name)]
    if os.path.basename(os.path.abspath(above)) == "training":
        folders.append((os.path.normpath(os.path.join(above, "..")), f"training/{name}"))
    if name.endswith(".safetensors") and os.path.isfile(file):
        for folder, inner in folders:
            with contextlib.suppress(OSError), open(os.path.join(folder, "manifest.json"), "rb") as manifest:
                if b'"cairn"' in manifest.read(64):  # others have files of that name, too
                    return folder, inner
    return None, name


def _in_file(found: Mapping[str, _items.Found], file: str) -> dict[str, _items.Found]:
    """Of each item what lies in this file: all of it, or tensors by name."""
    parts: dict[str, _items.Found] = {}
    for item, each in found.items():
        tensors = {name: info for name, info in each.tensors.items() if info.file == file}
        if tensors and len(tensors) == len(each.tensors):
            parts[item] = each
        elif tensors:
            parts[item] = _items.Found(item, tensors, [], [], {"": _tree.MODULE}, each.forms, {name: TensorRef(name) for name in tensors})
    return parts
