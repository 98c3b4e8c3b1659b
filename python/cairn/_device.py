"""Tensors that lie on an accelerator, on their way to page-locked memory, from where the library writes them.

A stream of our own waits for what the training stream was given before the save, and copies. The training stream waits for the copies in turn: at once, or
for what is staged late before the next optimizer step. All of this waiting is the device's: `save` returns when the copies are ordered, and a step that
comes too soon waits on the device, not in Python. What waits for the last copy is a thread of ours; the library's threads stand at a gate until then.

Whoever trains on several streams has the one that `save` is called on wait for the others before, and the others for it after that, as for any kernel.
Devices without streams of torch.cuda's kind are none here: their tensors are copied by `Tensor.cpu` before a save returns.

Late tensors have witnesses, too: some elements, copied on the training stream at the save, that must be what arrives.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

from . import _arrays, _runtime
from ._errors import make
from ._native import Device, Gate

log = logging.getLogger("cairn")

_ALIGNMENT = 512  # bytes
_WITNESSES = 16  # numbers of each late tensor
_WITNESS_BYTES = _WITNESSES * 8  # at most
_PORTABLE = 1  # page-locked for every device of the process


def engine_of(array: Any) -> Any:
    """The streams of the device that a torch tensor's bytes lie on: the module torch.cuda. None: it has none, or its bytes lie in main memory."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(array, torch.Tensor) or array.device.type != "cuda" or not array.numel():
        return None
    return torch.cuda


def is_used() -> bool:
    """Whether something may lie on a device by now."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized())


def device_of(array: Any) -> Device | None:
    """By what the library writes into an array where it lies; None: it lies in main memory, or cannot be reached by the library, as what does not lie in a row."""
    is_there = engine_of(array) is not None and can_be_late(array)
    return _runtime.device(array.device.index) if is_there else None


def is_filled_in_place(array: Any) -> bool:
    """Whether a restore can write into the array."""
    return _arrays.is_filled_in_place(array) or device_of(array) is not None


def place_of(array: Any, where: str) -> tuple[_arrays.Buffer, Device | None]:
    """The memory of an array that is to be filled, and the device that this is of. Raises UnstorableError."""
    device = device_of(array)
    if device is None:
        return _arrays.buffer_of(array, where), None
    return _arrays.Buffer(*_arrays.stored_as(array, where), array.data_ptr(), array.detach()), device


def empty_beside(tensor: Any, dtype: str, shape: tuple[int, ...]) -> Any:
    """New memory on a tensor's device for what is stored as (dtype, shape), to be filled there; None: it is to be had in main memory."""
    if device_of(tensor) is None:
        return None
    return sys.modules["torch"].empty(shape, dtype=_arrays.torch_dtype(dtype), device=tensor.device)


def wait_for(arrays: Iterable[Any]) -> None:
    """Returns when the devices that these lie on have done what they were told."""
    for device, engine in {array.device: engine for array in arrays if (engine := engine_of(array)) is not None}.items():
        with _runtime.waiting():
            engine.synchronize(device)


def finish_filling(arrays: Iterable[Any]) -> None:
    """The library has filled them: returns when that has arrived. Raises TornStateError."""
    try:
        wait_for(arrays)
    except Exception as error:
        said = f"the device failed while its tensors were filled: {error}"
        raise make("TORN_STATE", f"{said}; the state is a mixture now: restore again before you go on") from error


@contextmanager
def current_kept() -> Iterator[None]:
    """The device that this thread works with is the same one afterwards."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        yield
        return
    with torch.cuda.device(torch.cuda.current_device()):
        yield


def is_capturing() -> bool:
    """Whether what this thread tells a device becomes a part of a graph, to be done when that is replayed."""
    torch = sys.modules.get("torch")
    return torch is not None and bool(torch.cuda.is_initialized() and torch.cuda.is_current_stream_capturing())


@dataclass(slots=True, frozen=True)
class Move:
    """A tensor, and the place that it is copied to."""

    name: str
    tensor: Any
    place: Any
    is_late: bool


class Memory:
    """Pages that a device copies into by itself."""

    def __init__(self, size_bytes: int, engine: Any, device: Any) -> None:
        self.size_bytes, self._engine, self._device = size_bytes, engine, device
        self._pages = _arrays.pages(size_bytes)
        self._address = self.bytes(0, size_bytes).data_ptr()
        self._is_locked = False
        self._locker = Thread(target=self._lock, name="cairn-pages")
        self._locker.start()  # a second for some GiB, which training need not wait for

    def _lock(self) -> None:
        """Memory that is not locked is copied into all the same, only slower, and the caller waits for it."""
        try:
            with self._engine.device(self._device), _runtime.waiting():
                failed = int(self._engine.cudart().cudaHostRegister(self._address, self.size_bytes, _PORTABLE))
            self._is_locked, reason = not failed, f"cudaHostRegister says {failed}"
        except Exception as error:
            reason = repr(error)
        if not self._is_locked:
            log.warning("%d bytes of memory could not be page-locked (%s): saves hold training for as long as the device's copies take", self.size_bytes, reason)

    def bytes(self, offset: int, count: int) -> Any:
        """A part of it, as a tensor of bytes."""
        torch = sys.modules["torch"]
        return torch.frombuffer(self._pages, dtype=torch.uint8, count=count, offset=offset)

    def place(self, offset: int, like: Any) -> Any:
        """A tensor in main memory, row-major, of the dtype and shape of another."""
        return self.bytes(offset, like.numel() * like.element_size()).view(like.dtype).reshape(like.shape)

    def wait(self) -> None:
        """Returns when it is as good as it will be."""
        self._locker.join()

    def give_back(self) -> None:
        """To be called when no copy is under way."""
        self.wait()
        if self._is_locked:
            self._is_locked = False
            with self._engine.device(self._device), _runtime.waiting():
                self._engine.cudart().cudaHostUnregister(self._address)


class Copies:
    """What is copied, save after save, and who waits for it."""

    def __init__(self) -> None:
        self.gate = Gate()
        self._memory: Memory | None = None
        self._streams: dict[Any, Any] = {}  # ours, by device
        self._untold: list[tuple[Any, Any, Any]] = []  # (engine, device, event) of late copies: the training stream was not told to wait for them
        self._arriving: Thread | None = None
        self._lock = Lock()  # of these two
        self._unchecked: list[tuple[str, Any, int]] = []  # name, late tensor, torch's counter at the save: until its stream waits
        self._written: str | None = None  # a late tensor that changed too early

    # --------------------------------------------------------------------------------------------------------------- memory

    def lay_out(self, tensors: list[tuple[str, Any, bool]]) -> list[Move]:
        """A place for each (name, tensor, is_late), in memory that is kept from layout to layout. Witnesses come first."""
        offsets, size = [], len(tensors) * _WITNESS_BYTES
        for _, tensor, _ in tensors:
            size = -(-size // _ALIGNMENT) * _ALIGNMENT
            offsets.append(size)
            size += tensor.numel() * tensor.element_size()
        if tensors and (self._memory is None or self._memory.size_bytes < size):
            self._give_memory_back()
            self._memory = Memory(size, engine_of(tensors[0][1]), tensors[0][1].device)
        return [Move(name, tensor, self._room().place(offset, tensor), late) for offset, (name, tensor, late) in zip(offsets, tensors, strict=True)]

    def _room(self) -> Memory:
        assert self._memory is not None
        return self._memory

    def _give_memory_back(self) -> None:
        self.wait()
        memory, self._memory = self._memory, None
        if memory is not None:
            memory.give_back()

    def give_up(self) -> None:
        """No more saves."""
        self._give_memory_back()
        self._streams.clear()

    # --------------------------------------------------------------------------------------------------------------- copies

    def start(self, moves: list[Move]) -> None:
        """All copies are ordered when this returns, and the training streams wait for those that are not late. The gate is shut until they have arrived."""
        self.wait()
        self._untold, self._unchecked, self._written = [], [], None
        if not moves:
            return
        self._room().wait()
        self.gate.shut()
        try:
            orders = self._orders(moves)
            self._unchecked = [(move.name, move.tensor, _version_of(move.tensor)) for move in moves if move.is_late]
            self._arriving = Thread(target=self._arrive, args=(orders,), name="cairn-copies")
            self._arriving.start()
        except BaseException:
            self.gate.fail()
            raise

    def _orders(self, moves: list[Move]) -> list[Order]:
        orders, at = [], 0
        for device in dict.fromkeys(move.tensor.device for move in moves):
            own = [move for move in moves if move.tensor.device == device]
            late = [move for move in own if move.is_late]
            order = Order(engine_of(own[0].tensor), device, late, self._room().bytes(at, len(late) * _WITNESS_BYTES) if late else None)
            at += len(late) * _WITNESS_BYTES
            self._give(order, [move for move in own if not move.is_late])
            orders.append(order)
        return orders

    def _give(self, order: Order, early: list[Move]) -> None:
        engine, device = order.engine, order.device
        if device not in self._streams:
            self._streams[device] = engine.Stream(device)
        training, ours = engine.current_stream(device), self._streams[device]
        order.take_witnesses()
        ours.wait_stream(training)
        with engine.stream(ours):
            order.copy(early)
            training.wait_event(ours.record_event())
            order.copy_late()
            order.arrived = ours.record_event()
        if order.late:
            self._untold.append((engine, device, order.arrived))

    def _arrive(self, orders: list[Order]) -> None:
        """On a thread of ours."""
        try:
            for order in orders:
                with order.engine.device(order.device), _runtime.waiting():
                    order.arrived.synchronize()
                changed = order.changed()
                with self._lock:
                    self._written = self._written or changed
        except BaseException as error:
            log.error("copies from the device failed: %s", error)
            self.gate.fail()
        else:
            self.gate.open()

    def wait(self) -> None:
        """Returns when nothing is under way."""
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.join()

    def fence(self) -> None:
        """From here on the training streams may write: on the device they wait for the late copies first. What was written before is found."""
        with self._lock:
            self._check()
            self._unchecked = []
        for engine, device, event in self._untold:
            with engine.device(device):
                is_captured = engine.is_current_stream_capturing()
            if is_captured:  # a step becomes a part of a graph, which can wait for nothing outside
                with _runtime.waiting():
                    event.synchronize()
            else:
                engine.current_stream(device).wait_event(event)
        self._untold = []

    def _check(self) -> None:
        self._written = self._written or next((name for name, tensor, version in self._unchecked if _version_of(tensor) != version), None)

    def written(self) -> str | None:
        """The name of a late tensor that was written to before its stream waited; None: nothing is known to have been. All has arrived."""
        with self._lock:
            self._check()
            return self._written


class Order:
    """Copies that one device was told to make, those of late tensors last. It keeps what they read."""

    def __init__(self, engine: Any, device: Any, late: list[Move], witness_room: Any) -> None:
        self.engine, self.device, self.late = engine, device, late
        self.arrived: Any = None  # an event after the last copy
        self._watched = _by_width(late)
        self._witness_places = _witness_places(self._watched, witness_room)
        self._witnesses: list[Any] = []
        self._sources: list[Any] = []

    def take_witnesses(self) -> None:
        """On the training stream."""
        self._witnesses = [take_witnesses([move.tensor for move in moves]) for moves in self._watched]

    def copy(self, moves: list[Move]) -> None:
        """On our stream."""
        sources = [move.tensor.detach() for move in moves]  # its bytes stay where they are though the tensor be given others
        self._sources += sources
        copy_all([move.place for move in moves], sources)

    def copy_late(self) -> None:
        """On our stream."""
        copy_all(self._witness_places, self._witnesses)
        self.copy(self.late)

    def changed(self) -> str | None:
        """The name of a late tensor of which something else arrived than was there at the save."""
        for moves, expected in zip(self._watched, self._witness_places, strict=True):
            wrong: list[int] = (witnesses_of([move.place for move in moves]) != expected).any(1).nonzero().flatten().tolist()
            if wrong:
                return moves[wrong[0]].name
        return None


def copy_all(places: list[Any], sources: list[Any]) -> None:
    """Without waiting."""
    if places:
        sys.modules["torch"]._foreach_copy_(places, sources, non_blocking=True)


def _numbers(tensor: Any) -> Any:
    """Its bytes as whole numbers of its elements' width, 8 at most."""
    torch = sys.modules["torch"]
    return tensor.detach().reshape(-1).view({1: torch.uint8, 2: torch.int16, 4: torch.int32}.get(tensor.element_size(), torch.int64))


def _by_width(moves: list[Move]) -> list[list[Move]]:
    """So that the witnesses of each group are taken by one kernel."""
    groups: dict[int, list[Move]] = {}
    for move in moves:
        groups.setdefault(min(move.tensor.element_size(), 8), []).append(move)
    return list(groups.values())


def _witness_places(groups: list[list[Move]], room: Any) -> list[Any]:
    places, at = [], 0
    for group in groups:
        like = _numbers(group[0].place)
        size = len(group) * _WITNESSES * like.element_size()
        places.append(room[at : at + -(-size // 8) * 8][:size].view(like.dtype).reshape(len(group), _WITNESSES))
        at += -(-size // 8) * 8
    return places


def witnesses_of(tensors: list[Any]) -> Any:
    """Some numbers of each, spread over it: a row for each tensor. All are as wide."""
    numbers = [_numbers(tensor) for tensor in tensors]
    return sys.modules["torch"].stack([flat[:: len(flat) // _WITNESSES][:_WITNESSES] for flat in numbers])


def take_witnesses(tensors: list[Any]) -> Any:
    """The same, on the device, without waiting."""
    return witnesses_of(tensors)


def can_be_late(tensor: Any) -> bool:
    """Whether a tensor of an accelerator may be copied late: what does not lie in a row would be copied at once, into memory of the device's."""
    return bool(tensor.layout is sys.modules["torch"].strided and tensor.is_contiguous() and not tensor.is_conj() and not tensor.is_neg())


def _version_of(tensor: Any) -> int:
    """torch's counter of changes."""
    return 0 if tensor.is_inference() else int(tensor._version)
