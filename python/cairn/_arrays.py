"""Arrays of torch, numpy and jax as the bytes they are: dtype names of safetensors, addresses, strides.

No framework is imported here before one of its arrays is seen: whoever holds a torch tensor has imported torch.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import mmap
import sys
import warnings
from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

from ._errors import MismatchError, UnstorableError, not_yet

# torch's and numpy's names. complex128 and dates, which safetensors has not, are stored as the numbers that they are made of.
_STORED = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16",
    "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8",
    "uint64": "U64", "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL", "complex64": "C64",
    "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2", "float8_e8m0fnu": "F8_E8M0",
    "float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ",
}  # fmt: skip
_LEAST_PAGED_BYTES = 1 << 20  # of new memory that is asked for in pages


def _module(name: str) -> Any:
    try:
        return sys.modules.get(name) or importlib.import_module(name)
    except ImportError:
        raise ImportError(f"this array would be one of {name}, which is not installed: pip install {name}") from None


def pages(size_bytes: int) -> mmap.mmap:
    """New memory in whole pages, which a disk can read into, and huge ones where there are."""
    memory = mmap.mmap(-1, size_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError, AttributeError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memory


class Buffer(NamedTuple):
    """Memory of one array: `shape` in elements of `dtype`, `strides` in bytes, None for row-major. `owner` keeps the memory alive."""

    dtype: str
    shape: tuple[int, ...]
    address: int
    owner: object
    strides: tuple[int, ...] | None = None


def framework_of(value: object) -> str | None:
    """"torch", "numpy" or "jax" for an array of theirs, else None. Scalars of numpy are no arrays."""
    for name, module, kind in (("torch", "torch", "Tensor"), ("numpy", "numpy", "ndarray"), ("jax", "jax", "Array")):
        loaded = sys.modules.get(module)
        if loaded is not None and isinstance(value, getattr(loaded, kind, ())):
            return name
    return None


# ------------------------------------------------------------------------------------------------------------------- torch


@cache
def _torch_dtypes() -> tuple[dict[Any, str], dict[str, Any]]:
    torch = sys.modules["torch"]
    names = {getattr(torch, name): stored for name, stored in _STORED.items() if hasattr(torch, name)}
    return names, {stored: dtype for dtype, stored in names.items()}


def check_torch(tensor: Any, where: str) -> None:
    """Raises UnstorableError for a tensor whose bytes cannot be had as they are."""
    torch = sys.modules["torch"]
    kind = type(tensor)
    if torch.nn.parameter.is_lazy(tensor):
        raise not_yet(f"{where}: a lazy module's tensor has no bytes yet: run one batch through the module first")
    if kind.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__ or kind.__name__ == "FlatParameter":
        raise UnstorableError(f"{where}: a {kind.__module__}.{kind.__qualname__} is not stored yet: pass its full tensor or its parts")
    if tensor.layout is not torch.strided:
        raise UnstorableError(f"{where}: a tensor of layout {tensor.layout} is not stored: pass tensor.to_dense() or its parts")
    if tensor.is_quantized:
        raise UnstorableError(f"{where}: a quantized tensor is not stored: pass tensor.int_repr() with its scale and zero point")
    if tensor.is_meta:
        raise UnstorableError(f"{where}: a tensor on the meta device has no bytes: give it memory, as module.to_empty(device=\"cpu\") does")


def _torch_buffer(tensor: Any, where: str) -> Buffer:
    check_torch(tensor, where)
    torch = sys.modules["torch"]
    tensor = tensor.detach()
    if tensor.is_conj() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    if tensor.device.type != "cpu":
        tensor = tensor.cpu()
    if tensor.dtype is torch.complex128:
        tensor = torch.view_as_real(tensor)
    stored = _torch_dtypes()[0].get(tensor.dtype)
    if stored is None:
        raise UnstorableError(f"{where}: {tensor.dtype} has no form in safetensors")
    size = tensor.element_size()
    strides = None if tensor.is_contiguous() else tuple(stride * size for stride in tensor.stride())
    return Buffer(stored, tuple(tensor.shape), tensor.data_ptr(), tensor, strides)


def torch_dtype(dtype: str) -> Any:
    """torch's, of safetensors' name. Raises UnstorableError."""
    known = _torch_dtypes()[1].get(dtype)
    if known is None:
        raise UnstorableError(f"this version of torch has no dtype for {dtype}")
    return known


def _torch_empty(dtype: str, shape: tuple[int, ...], form: str) -> Any:
    torch = _module("torch")
    if form == "torch.complex128":
        return torch.empty(shape[:-1], dtype=torch.complex128, device="cpu")
    known = torch_dtype(dtype)
    size = math.prod(shape) * known.itemsize
    return torch.frombuffer(pages(size), dtype=known).reshape(shape) if size >= _LEAST_PAGED_BYTES else torch.empty(shape, dtype=known, device="cpu")


def torch_dtype_name(tensor: Any) -> str:
    """As safetensors would have it; "C128" for what is stored as pairs."""
    return "C128" if tensor.dtype is sys.modules["torch"].complex128 else _torch_dtypes()[0].get(tensor.dtype, str(tensor.dtype))


# ----------------------------------------------------------------------------------------------------------- numpy and jax


def _numpy_buffer(array: Any, where: str) -> Buffer:
    numpy = sys.modules["numpy"]
    name = array.dtype.name
    if isinstance(array, numpy.ma.MaskedArray):
        raise UnstorableError(f"{where}: a masked array is not stored: pass array.data and array.mask")
    if array.dtype.byteorder == ">":
        raise UnstorableError(f"{where}: big-endian bytes are not stored: pass array.astype(array.dtype.newbyteorder('='))")
    if name == "complex128":
        array = array.view(numpy.float64).reshape(*array.shape, 2) if array.flags.c_contiguous and array.ndim else _parts(array)
        name = "float64"
    elif array.dtype.kind in "mM":
        array, name = array.view(numpy.int64), "int64"
    stored = _STORED.get(name)
    if stored is None:
        raise UnstorableError(f"{where}: an array of dtype {array.dtype} has no form in safetensors")
    strides = None if array.flags.c_contiguous else tuple(array.strides)
    return Buffer(stored, tuple(array.shape), array.__array_interface__["data"][0], array, strides)


def _parts(array: Any) -> Any:
    """A complex array as pairs of floats that share its memory."""
    numpy = sys.modules["numpy"]
    return numpy.lib.stride_tricks.as_strided(
        array.real, (*array.shape, 2), (*array.strides, 8), subok=False, writeable=array.flags.writeable
    )


def _numpy_dtype(dtype: str) -> Any:
    numpy = _module("numpy")
    name = next(name for name, stored in _STORED.items() if stored == dtype)
    if hasattr(numpy, name) or name == "bool":
        return numpy.dtype(name)
    try:
        return numpy.dtype(getattr(__import__("ml_dtypes"), name))
    except (ImportError, AttributeError):
        raise ImportError(f"numpy has no dtype for {dtype}: pip install ml_dtypes, or read it as a torch tensor") from None


def _numpy_empty(dtype: str, shape: tuple[int, ...], form: str) -> Any:
    numpy = _module("numpy")
    if form == "numpy.complex128":
        return numpy.empty(shape[:-1], numpy.complex128)
    kind = numpy.dtype(form.removeprefix("numpy.")) if form.startswith("numpy.") else _numpy_dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    return numpy.frombuffer(pages(size), kind).reshape(shape) if size >= _LEAST_PAGED_BYTES else numpy.empty(shape, kind)


def _is_key(array: Any) -> bool:
    jax = sys.modules["jax"]
    return bool(jax.dtypes.issubdtype(array.dtype, jax.dtypes.prng_key))


def _jax_buffer(array: Any, where: str) -> Buffer:
    jax, numpy = sys.modules["jax"], __import__("numpy")
    if array.is_deleted():
        raise UnstorableError(f"{where}: this jax array was donated or deleted")
    if not array.is_fully_addressable:
        raise UnstorableError(f"{where}: this jax array lies on other hosts, too, which is not supported yet")
    return _numpy_buffer(numpy.asarray(jax.random.key_data(array) if _is_key(array) else array), where)


# ------------------------------------------------------------------------------------------------------------------ public


def buffer_of(array: object, where: str) -> Buffer:
    """The memory of an array, without a copy where it lies in main memory. `where` names it in errors. Raises UnstorableError."""
    framework = framework_of(array)
    if framework == "torch":
        return _torch_buffer(array, where)
    return _jax_buffer(array, where) if framework == "jax" else _numpy_buffer(array, where)


def stored_as(array: Any, where: str) -> tuple[str, tuple[int, ...]]:
    """The dtype and shape of its `buffer_of`. What lies on a device stays there."""
    if framework_of(array) == "torch" and array.device.type != "cpu":
        check_torch(array, where)
        array = sys.modules["torch"].empty((), dtype=array.dtype, device="cpu").expand(array.shape)
    buffer = buffer_of(array, where)
    return buffer.dtype, buffer.shape


def form_of(array: Any) -> str:
    """How an array comes back: its framework, and the dtype where safetensors has none: "torch", "numpy.complex128", "jax.key<threefry2x32>".
    "jax.weak" is one whose dtype gives way to others', as what was made of a Python number."""
    framework = framework_of(array) or "numpy"
    if framework == "jax":
        if _is_key(array):
            return f"jax.key<{sys.modules['jax'].random.key_impl(array)}>"
        return "jax.complex128" if array.dtype.name == "complex128" else "jax.weak" if array.weak_type else "jax"
    if framework == "torch":
        return "torch.complex128" if array.dtype is sys.modules["torch"].complex128 else "torch"
    return f"numpy.{array.dtype.name}" if array.dtype.kind in "mM" or array.dtype.name == "complex128" else "numpy"


def is_filled_in_place(array: Any) -> bool:
    """Whether an array in main memory can be written into: jax's are values, numpy's may be read-only."""
    framework = framework_of(array)
    if framework == "torch":
        return bool(array.device.type == "cpu" and not array.is_conj() and not array.is_neg())
    return framework == "numpy" and bool(array.flags.writeable)


def empty(dtype: str, shape: tuple[int, ...], form: str) -> Any:
    """Uninitialised memory for what is stored as (dtype, shape), in main memory; jax's arrays are made of numpy's by `finish`."""
    if form.startswith("torch"):
        return _torch_empty(dtype, shape, form)
    if form.startswith(("jax.key", "jax.weak")):
        return _numpy_empty(dtype, shape, "numpy")
    return _numpy_empty(dtype, shape, form.replace("jax", "numpy", 1))


def finish(array: Any, form: str, template: Any = None) -> Any:
    """What was filled, as the framework has it: on the template's sharding, or in the template, where it is a tensor of a device and can be written."""
    if form.startswith("jax"):
        jax = _module("jax")
        sharding = getattr(template, "sharding", None)
        made = _finish_jax(jax, array, form)
        return made if sharding is None else jax.device_put(made, sharding)
    if form.startswith("torch") and framework_of(template) == "torch" and template.device != array.device:
        try:
            template.detach().copy_(array)
            return template
        except RuntimeError:  # its elements share memory, or it is one of inference
            return array.to(template.device)
    return array


def _finish_jax(jax: Any, array: Any, form: str) -> Any:
    if form.startswith("jax.key"):
        return jax.random.wrap_key_data(array, impl=form[8:-1])
    if jax.dtypes.canonicalize_dtype(array.dtype) != array.dtype:
        raise MismatchError(f'{array.dtype} was saved with jax_enable_x64, and now it is off: jax.config.update("jax_enable_x64", True)')
    made = jax.numpy.asarray(array)
    if form != "jax.weak":
        return made
    weak = jax.numpy.full(array.shape, array.dtype.type(0).item())
    return weak.at[...].set(made) if weak.dtype == made.dtype else made


def note_written(arrays: Iterable[Any]) -> None:
    """Has torch count that the library wrote into tensors of its own."""
    torch: Any = sys.modules.get("torch")
    for array in arrays if torch is not None else ():
        if isinstance(array, torch.Tensor) and not array.is_inference():
            torch.autograd.graph.increment_version(array)


# ------------------------------------------------------------------------------------------------------------------- views


def copy_into(copy: Any, array: Any) -> None:
    """Fills memory that `empty` made for the array's form."""
    if framework_of(array) == "torch":
        copy.copy_(array.detach())
    elif framework_of(array) == "jax" and _is_key(array):
        copy[...] = sys.modules["jax"].random.key_data(array)
    else:
        copy[...] = array


def bytes_of(array: Any) -> memoryview:
    """The bytes of a contiguous array in main memory, to be filled."""
    if framework_of(array) == "torch":
        torch = sys.modules["torch"]
        array = torch.view_as_real(array) if array.dtype.is_complex else array
        return memoryview(array.reshape(-1).view(torch.uint8).numpy()) if array.numel() else memoryview(bytearray())
    numpy = sys.modules["numpy"]
    return memoryview(array.reshape(-1).view(numpy.uint8)) if array.size else memoryview(bytearray())


def pick(array: Any, key: list[int | slice]) -> Any:
    """array[key] for a key of zeros and of slices that have a step alone; torch knows no negative steps."""
    if framework_of(array) == "torch":
        array = array.flip([dim for dim, part in enumerate(key) if isinstance(part, slice) and part.step < 0])
        key = [slice(None, None, abs(part.step)) if isinstance(part, slice) else part for part in key]
    return array[tuple(key)]


def numpy_view(data: memoryview, dtype: str, shape: tuple[int, ...], form: str) -> Any:
    """The bytes of a tensor as a read-only numpy array, without a copy."""
    numpy = _module("numpy")
    if form.endswith("complex128"):
        return numpy.frombuffer(data, numpy.complex128).reshape(shape[:-1])
    kind = numpy.dtype(form.removeprefix("numpy.")) if form.startswith("numpy.") else _numpy_dtype(dtype)
    return numpy.frombuffer(data, kind).reshape(shape)


def torch_view(data: memoryview, dtype: str, shape: tuple[int, ...], form: str) -> Any:
    """The bytes of a tensor as a torch tensor, without a copy. It must not be written."""
    torch = _module("torch")
    known = torch.complex128 if form.endswith("complex128") else torch_dtype(dtype)
    shape = shape[:-1] if form.endswith("complex128") else shape
    _hush(torch)
    return torch.frombuffer(data, dtype=known).reshape(shape) if len(data) else torch.empty(shape, dtype=known)


@cache
def _hush(torch: Any) -> None:
    """torch warns once in a process of memory that is not writable, which the docstring says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.frombuffer(b"0", dtype=torch.uint8)
