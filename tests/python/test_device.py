"""Saves of tensors that lie on an accelerator: copied by a stream of their own, waited for by the device, and right.

The stand-in for torch.cuda has streams that work in order, each on a thread, as slowly as a test wants; what trains on it is told by its stream, as kernels
are. Its tensors lie in main memory. What needs a real one is in test_gpu.py.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest

import cairn
from cairn import _arrays, _device, _native

torch = pytest.importorskip("torch")

LARGE = 1 << 20  # elements: 4 MiB
KEPT = 64 << 10  # bytes from which on a tensor may be late


class Event:
    def __init__(self) -> None:
        self.done = threading.Event()

    def synchronize(self) -> None:
        assert self.done.wait(60)


class Stream:
    """Does what it was told, in order, while its gate is open."""

    def __init__(self, device: Any = None) -> None:
        self.told: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.gate = threading.Event()
        self.gate.set()
        self.error: Exception | None = None
        self._worker = threading.Thread(target=self._work, daemon=True)
        self._worker.start()

    def _work(self) -> None:
        while (order := self.told.get()) is not None:
            assert self.gate.wait(60)
            order()

    def record_event(self) -> Event:
        event = Event()
        self.told.put(event.done.set)
        return event

    def wait_event(self, event: Event) -> None:
        self.told.put(event.synchronize)

    def wait_stream(self, other: Stream) -> None:
        self.wait_event(other.record_event())

    def finish(self) -> None:
        self.record_event().synchronize()


class Engine:
    """As torch.cuda is."""

    def __init__(self) -> None:
        self.training, self.current = Stream(), Stream()
        self.ours: Stream | None = None
        self.current = self.training
        self.registered: list[tuple[int, int]] = []
        self.code = 0  # of cudaHostRegister
        self.is_capturing = False
        self.waited = self.fails_at = 0

    def Stream(self, device: Any) -> Stream:
        self.ours = Stream()
        return self.ours

    def current_stream(self, device: Any = None) -> Stream:
        return self.current

    @contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self.current = self.current, stream
        yield
        self.current = before

    @contextmanager
    def device(self, device: Any) -> Iterator[None]:
        yield

    def is_current_stream_capturing(self) -> bool:
        return self.is_capturing

    def synchronize(self, device: Any) -> None:
        self.waited += 1
        if self.waited == self.fails_at:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def cudart(self) -> Engine:
        return self

    def cudaHostRegister(self, address: int, size: int, flags: int) -> int:
        self.registered.append((address, size))
        return self.code

    def cudaHostUnregister(self, address: int) -> int:
        self.registered = [entry for entry in self.registered if entry[0] != address]
        return 0


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    """All tensors of 1 KiB and more lie on it."""
    made = Engine()

    def engine_of(array: Any) -> Any:
        return made if isinstance(array, torch.Tensor) and array.nbytes >= 1024 else None

    def copy_all(places: list[Any], sources: list[Any]) -> None:
        made.current.told.put(lambda: [place.copy_(source) for place, source in zip(places, sources, strict=True)])

    def take_witnesses(tensors: list[Any]) -> Any:
        taken = torch.zeros_like(_device.witnesses_of(tensors))
        made.current.told.put(lambda: taken.copy_(_device.witnesses_of(tensors)))
        return taken

    monkeypatch.setattr(_device, "engine_of", engine_of)
    monkeypatch.setattr(_device, "take_witnesses", take_witnesses)
    monkeypatch.setattr(_device, "copy_all", copy_all)
    yield made
    for stream in (made.training, made.ours):
        if stream is not None:
            stream.gate.set()
            stream.told.put(None)


def set_to(value: float, *tensors: Any) -> Callable[[], object]:
    """A kernel."""

    def run() -> None:
        with torch.no_grad():
            for tensor in tensors:
                tensor.data.fill_(value)

    return run


def saved(manager: cairn.CheckpointManager, step: int, item: str = "model") -> dict[str, Any]:
    with manager.checkpoint(step) as checkpoint:
        return {info.name: checkpoint[item][info.name].read() for info in checkpoint.native.tensors if info.item == item}


def parameters(count: int = 3) -> Any:
    module = torch.nn.Module()
    for index in range(count):
        module.register_parameter(f"w{index}", torch.nn.Parameter(torch.full((LARGE,), 1.0)))
    module.register_buffer("small", torch.full((300,), 1.0))
    return module


def test_a_save_orders_copies_and_waits_for_none(tmp_path: Path, engine: Engine) -> None:
    """What the training stream was given before the save is in it, though it has not run yet; what it is given after is not."""
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "loop": cairn.Values(n=1)}) as manager:
        for step, value in ((1, 2.0), (2, 4.0), (3, 6.0)):
            engine.training.gate.clear()
            engine.training.told.put(set_to(value, *model.parameters(), model.small))
            assert manager.save(step, force=True)
            assert manager.poll().phase == "staging"
            engine.training.told.put(set_to(value + 1, *model.parameters(), model.small))
            engine.training.gate.set()
            manager.wait_until_finished()
            assert all((tensor == value).all() for tensor in saved(manager, step).values())
        engine.training.finish()
        assert (model.w0 == 7).all()
        assert manager.poll().arena_bytes < 80 << 20
    assert not engine.registered  # given back


def test_the_device_waits_for_the_copies_and_not_the_caller(tmp_path: Path, engine: Engine) -> None:
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        manager.wait_until_finished()
        assert engine.ours is not None
        engine.ours.gate.clear()  # no copy runs
        manager.save(2, force=True)
        engine.training.told.put(set_to(9.0, *model.parameters()))
        time.sleep(0.05)
        assert (model.w0 == 1).all()  # the kernel stands behind the copies
        engine.ours.gate.set()
        manager.wait_until_finished()
        assert all((tensor == 1).all() for tensor in saved(manager, 2).values())
        engine.training.finish()
        assert (model.w0 == 9).all()


class Counting(torch.optim.Optimizer):  # type: ignore[misc]
    """Its kernels set each parameter to the next number. What torch counts, it counts at once."""

    def __init__(self, parameters: Any, engine: Engine) -> None:
        super().__init__(parameters, {})
        self.engine, self.value = engine, 1.0

    def step(self, closure: Any = None) -> None:
        self.value += 1
        parameters = self.param_groups[0]["params"]
        self.engine.training.told.put(set_to(self.value, *parameters))
        torch._C._autograd._unsafe_set_version_counter(tuple(parameters), tuple(parameter._version + 1 for parameter in parameters))


class Steps:
    """A model whose optimizer steps on the engine's stream, saved lazily."""

    def __init__(self, path: Path, engine: Engine, **options: Any) -> None:
        self.model = parameters()
        self.optimizer = Counting(self.model.parameters(), engine)
        self.manager = cairn.CheckpointManager(path, {"model": self.model}, mode="lazy", on_error="warn", **options)
        self.number = 0

    @property
    def value(self) -> float:
        return self.optimizer.value

    def train_and_save(self) -> int:
        self.optimizer.step()
        self.number += 1
        self.manager.save(self.number, force=True)
        return self.number


@contextmanager
def late_copies_held(engine: Engine) -> Iterator[threading.Event]:
    """Late ones that are ordered meanwhile wait for this to be set; the small ones before them do not."""
    block, real = threading.Event(), _device.copy_all

    def copy_all(places: list[Any], sources: list[Any]) -> None:
        if sources and sources[0].numel() == LARGE:
            engine.current.told.put(lambda: block.wait(60))
        real(places, sources)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_device, "copy_all", copy_all)
        yield block


def three_saves(path: Path, engine: Engine) -> Steps:
    """Lazy from the next one on."""
    run = Steps(path, engine)
    for _ in range(3):
        run.train_and_save()
    run.manager.wait_until_finished()
    return run


def test_late_copies_are_waited_for_by_the_next_step_on_the_device(tmp_path: Path, engine: Engine) -> None:
    run = three_saves(tmp_path / "run", engine)
    for _ in range(3):
        with late_copies_held(engine) as block:
            step, value = run.train_and_save(), run.value
            run.optimizer.step()  # returns, though no late copy has run
            time.sleep(0.02)
            assert (run.model.w0 == value).all()
            block.set()
            run.manager.wait_until_finished()
        assert all((tensor == value).all() for name, tensor in saved(run.manager, step).items() if name != "small")
        engine.training.finish()
        assert (run.model.w0 == value + 1).all()
    run.manager.close()


def test_forward_and_backward_run_beside_late_copies(tmp_path: Path, engine: Engine) -> None:
    """With the late ones held up, the training stream finishes all the same."""
    run = three_saves(tmp_path / "run", engine)
    with late_copies_held(engine) as block:
        step, value = run.train_and_save(), run.value
        passed = threading.Event()
        engine.training.told.put(passed.set)
        assert passed.wait(30)
        block.set()
    run.manager.close()
    assert (saved(run.manager, step)["w0"] == value).all()


def test_a_step_that_becomes_part_of_a_graph_waits_here(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a graph cannot wait for what is outside of it."""
    run = three_saves(tmp_path / "run", engine)
    with late_copies_held(engine) as block:
        step, value = run.train_and_save(), run.value
        monkeypatch.setattr(Stream, "wait_event", lambda self, event: pytest.fail("a stream that is captured waits for a copy"))
        engine.is_capturing = True
        threading.Timer(0.05, block.set).start()
        run.optimizer.step()
        assert block.is_set() and run.manager._copies._room() is not None
    engine.is_capturing = False
    monkeypatch.undo()
    run.manager.close()
    assert (saved(run.manager, step)["w0"] == value).all()


def test_what_steps_in_a_graph_is_never_late(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its next step may be a replayed one, which asks nobody."""
    run = three_saves(tmp_path / "run", engine)
    with monkeypatch.context() as patched:
        patched.setattr(_device, "is_capturing", lambda: True)
        run.optimizer.step()
    for _ in range(3):
        step, value = run.train_and_save(), run.value
        engine.training.told.put(set_to(50.0, *run.model.parameters()))
        run.manager.wait_until_finished()
        assert all((tensor == value).all() for name, tensor in saved(run.manager, step).items() if name != "small")
        assert not run.manager._watch._guarded
    run.manager.close()


@pytest.mark.parametrize("how", ["counter", "bytes"])
def test_who_writes_before_the_step_fails_the_save(tmp_path: Path, engine: Engine, how: str) -> None:
    run = three_saves(tmp_path / "run", engine)
    with late_copies_held(engine) as block:
        step = run.train_and_save()
        if how == "counter":
            torch._C._autograd._unsafe_set_version_counter((run.model.w1,), (run.model.w1._version + 1,))
        else:
            engine.training.told.put(set_to(8.0, run.model.w1))  # what torch does not count
            engine.training.finish()
        block.set()
        run.optimizer.step()
        run.manager.wait_until_finished()
    assert step not in run.manager.all_steps()
    step = run.train_and_save()
    run.manager.close()
    assert step in run.manager.all_steps()


def test_what_checks_every_byte_copies_nothing_late(tmp_path: Path, engine: Engine) -> None:
    """The training stream waits for all of it."""
    run = Steps(tmp_path / "run", engine, check_early_writes=True)
    for _ in range(3):
        run.train_and_save()
    run.manager.wait_until_finished()
    with late_copies_held(engine) as block:
        step, value = run.train_and_save(), run.value
        engine.training.told.put(set_to(50.0, *run.model.parameters()))
        time.sleep(0.05)
        assert (run.model.w0 == value).all()
        block.set()
        run.manager.close()
    assert all((tensor == value).all() for name, tensor in saved(run.manager, step).items() if name != "small")


def test_a_late_tensor_may_be_given_other_memory(tmp_path: Path, engine: Engine) -> None:
    """What is copied is what it was."""
    run = three_saves(tmp_path / "run", engine)
    with late_copies_held(engine) as block:
        step, value = run.train_and_save(), run.value
        engine.training.finish()
        run.model.w0.data = torch.full((LARGE,), 123.0)
        block.set()
        run.manager.close()
    assert (saved(run.manager, step)["w0"] == value).all()


def test_a_model_that_came_back_to_main_memory_is_not_held_against_the_device(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    run = three_saves(tmp_path / "run", engine)
    run.train_and_save()
    run.manager.wait_until_finished()
    engine.training.finish()
    monkeypatch.setattr(_device, "engine_of", lambda array: None)
    with torch.no_grad():
        run.model.w1.add_(1)  # counted, and nobody copies any more
    run.manager.save(run.number + 1, force=True)
    run.manager.close()
    assert (saved(run.manager, run.number + 1)["w1"] == run.value + 1).all()


def test_tensors_here_and_there(tmp_path: Path, engine: Engine) -> None:
    """An optimizer's state in main memory beside weights on the device, odd dtypes and layouts among these."""
    shapes: dict[str, Any] = {
        "bf16": torch.arange(4096).to(torch.bfloat16).reshape(64, 64).T,
        "c128": torch.complex(torch.arange(512, dtype=torch.float64), torch.ones(512, dtype=torch.float64)),
        "bool": torch.arange(2048) % 3 == 0,
        "i64": torch.arange(4096)[::2],
        "conj": torch.complex(torch.arange(512.0), torch.ones(512)).conj(),
        "tiny": torch.arange(3.0),
        "none": torch.empty(0),
    }
    here = {"w": torch.zeros(100, dtype=torch.uint8), "n": 3}
    with cairn.CheckpointManager(tmp_path / "run", {"there": shapes, "here": here}) as manager:
        for step in (1, 2):
            shapes["tiny"] += 1
            manager.save(step, force=True)
            manager.wait_until_finished()
            with manager.checkpoint(step) as checkpoint:
                read = checkpoint.state()["there"]
            assert all(read[name].equal(tensor.resolve_conj()) for name, tensor in shapes.items())


@pytest.mark.parametrize("mode", ["eager", "lazy", "sync"])
def test_each_mode_is_right(tmp_path: Path, engine: Engine, mode: Any) -> None:
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}, mode=mode) as manager:
        for step in (1, 2, 3):
            engine.training.told.put(set_to(float(step), *model.parameters()))
            manager.save(step, force=True)
            engine.training.told.put(set_to(100.0, *model.parameters()))
    for step in (1, 2, 3):
        assert all((tensor == step).all() for name, tensor in saved(manager, step).items() if name != "small")


def test_a_device_that_fails_fails_the_save(tmp_path: Path, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}, on_error="warn") as manager:
        manager.save(1, force=True)
        manager.wait_until_finished()

        def synchronize(self: Event) -> None:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(Event, "synchronize", synchronize)
            patched.setattr(Stream, "wait_event", lambda self, event: None)
            manager.save(2, force=True)
            manager.wait_until_finished()
        manager.save(3, force=True)
    assert manager.all_steps() == [1, 3]
    assert "illegal memory access" in caplog.text and "fetch callback failed" in caplog.text


def test_copies_that_cannot_be_ordered_are_raised_and_lose_nothing(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)

        def refuse(places: list[Any], sources: list[Any]) -> None:
            raise RuntimeError("CUDA out of memory")

        with monkeypatch.context() as patched:
            patched.setattr(_device, "copy_all", refuse)
            with pytest.raises(RuntimeError, match="out of memory"):
                manager.save(2, force=True)
        assert manager.save(3, force=True)
    assert manager.all_steps() == [1, 3]


def test_memory_that_cannot_be_locked_is_said_and_used(tmp_path: Path, engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    engine.code = 2
    with cairn.CheckpointManager(tmp_path / "run", {"model": parameters()}) as manager:
        manager.save(1, force=True)
    assert manager.all_steps() == [1] and "could not be page-locked (cudaHostRegister says 2)" in caplog.text


def test_a_tensor_that_moved_is_copied_from_where_it_is(tmp_path: Path, engine: Engine) -> None:
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        model.w0.data = torch.full((LARGE * 2,), 5.0)
        manager.save(2, force=True)
    assert saved(manager, 2)["w0"].shape == (LARGE * 2,) and (saved(manager, 2)["w0"] == 5).all()


def test_witnesses_of_all_widths() -> None:
    tensors = [torch.arange(40).to(dtype) for dtype in (torch.uint8, torch.bfloat16, torch.float32, torch.float64, torch.complex128, torch.bool)]
    moves = [_device.Move(str(tensor.dtype), tensor, tensor.clone(), True) for tensor in tensors for _ in range(3)]
    for wrong in (None, *moves):
        order = _device.Order(None, None, moves, torch.zeros(len(moves) * 128, dtype=torch.uint8))
        order.take_witnesses()
        order.copy_late()
        if wrong is not None:
            wrong.place.view(torch.uint8)[0] ^= 1
        assert order.changed() == (None if wrong is None else wrong.name)


def test_copies_are_ordered_by_one_call(tmp_path: Path) -> None:
    """What the other tests have a stand-in for: of all dtypes and layouts at once, into rows."""
    sources = [torch.arange(12.0).reshape(3, 4).T, torch.arange(5), torch.tensor(True), torch.complex(torch.ones(3), torch.ones(3)).conj(), torch.ones(4).bfloat16()]
    places = [torch.zeros(source.shape, dtype=source.dtype) for source in sources]
    _device.copy_all(places, sources)
    assert all(place.equal(source.resolve_conj()) and place.is_contiguous() for place, source in zip(places, sources, strict=True))
    _device.copy_all([], [])
    assert _device.engine_of(sources[0]) is None and _device.engine_of(3) is None


def test_a_gate_holds_a_lazy_save_back(tmp_path: Path) -> None:
    gate, memory = _native.Gate(), torch.zeros(1 << 20)
    state = _native.State()
    state.bind("model", "w", "F32", memory.shape, memory.data_ptr(), memory, via=gate)
    run = _native.Run(str(tmp_path / "run"))
    gate.shut()
    run.save(state, 1, mode="lazy")
    memory.fill_(3)
    assert run.status().staged_bytes == 0
    gate.open()
    run.wait()
    gate.fail()
    run.save(state, 2, mode="lazy")
    with pytest.raises(cairn.Error, match="fetch callback failed"):
        run.wait()
    run.close()
    with cairn.Checkpoint(tmp_path / "run" / "checkpoint-1") as checkpoint:
        assert (checkpoint["model"]["w"].read() == 3).all()
    with pytest.raises(TypeError, match="a Gate or a Device is needed"):
        state.bind("model", "x", "F32", memory.shape, memory.data_ptr(), memory, via="open")  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------- filled where it lies


class Runtime:
    """As CUDA's is: the device of a thread, and copies, in memory that is the processor's. Called by the library's threads, so somebody must hold it until all
    is restored: its functions end with it, where CUDA's stay."""

    def __init__(self, ordinal: int = 2) -> None:
        self.here: dict[int, int] = {}  # by the thread's number
        self.copied: list[tuple[int, int]] = []  # bytes, kind
        self.wrong: list[str] = []
        self.ordinal, self.code = ordinal, 0
        functions = {
            "set": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(self._set),
            "copy": ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)(self._copy),
        }
        self.functions = functions
        self.device = _native.Device(ordinal, **{name: ctypes.cast(function, ctypes.c_void_p).value or 0 for name, function in functions.items()})

    def _set(self, ordinal: int) -> int:
        self.here[threading.get_native_id()] = ordinal
        return 0

    def _copy(self, to: int, source: int, size: int, kind: int) -> int:
        if self.here[threading.get_native_id()] != self.ordinal:
            self.wrong.append(f"copied by device {self.here}")
        self.copied.append((size, kind))
        if not self.code:
            ctypes.memmove(to, source, size)
        return self.code


@pytest.fixture
def runtime(monkeypatch: pytest.MonkeyPatch) -> Runtime:
    """Tensors of 4 MiB lie on its device."""
    made = Runtime()
    monkeypatch.setattr(_device, "device_of", lambda array: made.device if isinstance(array, torch.Tensor) and array.numel() == LARGE else None)
    monkeypatch.setattr(_arrays, "is_filled_in_place", lambda array: isinstance(array, torch.Tensor) and array.numel() != LARGE)
    return made


def test_a_restore_fills_a_device_where_the_tensors_lie(tmp_path: Path, runtime: Runtime) -> None:
    model, own = parameters(), {"x": torch.rand(LARGE), "z": torch.complex(torch.ones(LARGE, dtype=torch.float64), torch.ones(LARGE, dtype=torch.float64))}
    want = [tensor.detach().clone() for tensor in (*model.state_dict().values(), *own.values())]
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "own": own}) as manager:
        manager.save(1, force=True)
    for tensor in (*model.state_dict().values(), *own.values()):
        tensor.zero_()
    x, z = own["x"], own["z"]
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "own": own}) as manager:
        assert manager.restore().step == 1
    assert all(tensor.equal(other) for tensor, other in zip((*model.state_dict().values(), x, z), want, strict=True)) and own["x"] is x and own["z"] is z
    assert sum(size for size, kind in runtime.copied) == 4 * LARGE * 4 + LARGE * 16 and {kind for _, kind in runtime.copied} == {1}
    assert not runtime.wrong and set(runtime.here.values()) == {2}


def test_what_values_keep_on_a_device_comes_back_there(tmp_path: Path, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_device, "is_used", lambda: True)
    cairn.save(tmp_path / "one", {"run": cairn.Values(x=torch.full((LARGE,), 4.0))})
    run = cairn.Values(x=torch.zeros(LARGE))
    cairn.load(tmp_path / "one", into={"run": run})
    assert (run.x == 4).all() and sum(size for size, _ in runtime.copied) == LARGE * 4


def test_weights_are_loaded_to_where_they_are_wanted(tmp_path: Path, runtime: Runtime) -> None:
    cairn.save(tmp_path / "weights", {"model": parameters()})
    model = parameters()
    for tensor in model.state_dict().values():
        tensor.zero_()
    assert len(cairn.load(tmp_path / "weights", into=model).restored) == 4
    assert all((tensor == 1).all() for tensor in model.state_dict().values()) and sum(size for size, _ in runtime.copied) == 3 * LARGE * 4


def test_new_state_of_an_optimizer_comes_beside_its_parameters(tmp_path: Path, runtime: Runtime) -> None:
    """All of it but the steps, which load_state_dict has a place of its own for."""

    def made(value: float) -> tuple[Any, Any]:
        model = torch.nn.Linear(1024, 1024)
        with torch.no_grad():
            model.weight.fill_(value)
        return model, torch.optim.AdamW(model.parameters())

    model, optimizer = made(1.0)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as manager:
        manager.save(1, force=True)
    other, its_optimizer = made(2.0)
    with cairn.CheckpointManager(tmp_path / "run", {"model": other, "optimizer": its_optimizer}) as manager:
        manager.restore()
    assert sum(size for size, _ in runtime.copied) == 3 * LARGE * 4
    for mine, its in zip(model.parameters(), other.parameters(), strict=True):
        assert mine.equal(its) and all(value.equal(its_optimizer.state[its][kind]) for kind, value in optimizer.state[mine].items())


def test_a_device_that_fails_after_it_was_filled_leaves_a_mixture(tmp_path: Path, engine: Engine) -> None:
    model, runtime = parameters(), Runtime()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        engine.training.finish()
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(_device, "device_of", lambda array: runtime.device if array.numel() == LARGE else None)
            engine.waited, engine.fails_at = 0, 2
            with pytest.raises(cairn.TornStateError, match="illegal memory access.*a mixture"):
                manager.restore()
        with pytest.raises(cairn.TornStateError):
            manager.save(2, force=True)
        assert manager.restore().step == 1


def test_a_device_that_takes_nothing_fails_the_restore(tmp_path: Path, runtime: Runtime) -> None:
    model = parameters()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model}) as manager:
        manager.save(1, force=True)
        runtime.code = 700
        with pytest.raises(cairn.Error, match="its store callback failed with 700"):
            manager.restore()
        runtime.code = 0
        assert manager.restore().step == 1


RUNTIME = """
#include <string.h>
int mode = 1, device = -1;
int cudaSetDevice(int ordinal) { device = ordinal; return 0; }
int cudaMemcpy(void *to, const void *from, size_t size, int kind) { memcpy(to, from, size); return kind == 1 ? 0 : 1; }
int cudaThreadExchangeStreamCaptureMode(int *other) { int old = mode; mode = *other; *other = old; return 0; }
"""
USES = """
import ctypes, sys, torch
from cairn import _native, _runtime
assert _runtime.loaded() is None and _runtime.device(0) is None
with _runtime.waiting(): pass
_runtime.loaded.cache_clear(), _runtime.device.cache_clear()
library = ctypes.CDLL(sys.argv[1])
mode = ctypes.c_int.in_dll(library, "mode")
with _runtime.waiting(): assert mode.value == 2
assert mode.value == 1 and _runtime.loaded() is not None
source, target = torch.rand(3000), torch.zeros(3000)
state = _native.State()
state.bind("x", "w", "F32", (3000,), source.data_ptr(), source)
_native.save_folder("folder", state)
state = _native.State()
state.bind("x", "w", "F32", (3000,), target.data_ptr(), target, via=_runtime.device(3))
_native.load("folder", state)
assert target.equal(source) and ctypes.c_int.in_dll(library, "device").value == 3
import os
os.remove(sys.argv[1])  # an upgrade under a running process
_runtime.loaded.cache_clear()
assert (runtime := _runtime.loaded()) is None or runtime.address("Memcpy")
"""


@pytest.mark.parametrize("name", ["libcudart.so.12", "libcudart-d0da41ae.so.11.0"])
def test_the_runtime_that_torch_has_loaded_is_found(tmp_path: Path, name: str) -> None:
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", name, "-xc", "-"], input=RUNTIME, text=True, cwd=tmp_path, check=True)
    environment = os.environ | {"PYTHONPATH": str(Path(cairn.__file__).absolute().parents[1])}
    run = subprocess.run([sys.executable, "-c", USES, tmp_path / name], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_a_default_device_of_torch_s_does_not_matter(tmp_path: Path) -> None:
    """What is made here to be filled lies in main memory, whatever torch makes elsewhere."""
    model, own = torch.nn.Linear(64, 64), {"c": torch.complex(torch.ones(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64))}
    with torch.device("meta"), cairn.CheckpointManager(tmp_path / "run", {"model": model, "own": own}) as manager:
        manager.save(1, force=True)
        manager.wait_until_finished()
        with manager.checkpoint(1) as checkpoint:
            read = checkpoint.state()
        assert manager.restore().step == 1
    assert read["model"]["weight"].equal(model.weight) and read["own"]["c"].equal(own["c"])


def test_devices_and_their_tensors_as_the_library_takes_them() -> None:
    runtime, memory = Runtime(), torch.zeros(1 << 10)
    with pytest.raises(cairn.UsageError, match="no address"):
        _native.Device(0, 0, 0)
    with pytest.raises(cairn.UsageError, match="lies in a row"):
        _native.State().bind("model", "w", "F32", (4, 2), memory.data_ptr(), memory, strides=(4, 16), via=runtime.device)
    assert _arrays.finish(torch.ones(3), "torch", there := torch.empty(3, device="meta")) is there


def test_what_is_stored_is_told_without_its_bytes() -> None:
    kinds = [torch.float32, torch.bfloat16, torch.bool, torch.complex64, torch.complex128, torch.float8_e4m3fn, torch.int64]
    for dtype in kinds:
        tensor = torch.zeros((2, 3), dtype=dtype)
        buffer = _arrays.buffer_of(tensor, "x")
        assert _arrays.stored_as(tensor, "x") == (buffer.dtype, buffer.shape) == _arrays.stored_as(Elsewhere(tensor), "x")


class Elsewhere(torch.Tensor):  # type: ignore[misc]
    """A tensor whose bytes nobody can have."""

    @staticmethod
    def __new__(cls, tensor: Any) -> Any:
        return torch.Tensor._make_subclass(cls, tensor)

    @property
    def device(self) -> Any:
        return torch.device("cuda", 3)

    def cpu(self, *args: Any, **kwargs: Any) -> Any:
        pytest.fail("its bytes are asked for")
