"""Saves, restores and loads of what lies on a real GPU: `pytest -m gpu`. Without one each of them is skipped aloud."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import resumable

import cairn

torch = pytest.importorskip("torch")
nn = torch.nn

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")]

MiB = 1 << 20
WIDTH = 8192  # a weight of 256 MiB, which takes some milliseconds to copy


@pytest.fixture(autouse=True)
def seeded() -> Iterator[None]:
    torch.manual_seed(1)
    yield
    torch.cuda.synchronize()


def small() -> tuple[Any, Any]:
    model = nn.Sequential(nn.Linear(512, 2048), nn.GELU(), nn.Dropout(0.1), nn.Linear(2048, 512)).cuda()
    return model, torch.optim.AdamW(model.parameters(), fused=True)


def large() -> tuple[Any, Any]:
    """1 GiB with its moments and gradients."""
    model = nn.Linear(WIDTH, WIDTH, bias=False).cuda()
    return model, torch.optim.AdamW(model.parameters(), fused=True)


def train(model: Any, optimizer: Any) -> None:
    """One step, of which nothing is waited for."""
    width = next(model.parameters()).shape[-1]
    model(torch.randn(64, width, device="cuda")).square().mean().backward()
    optimizer.step()
    optimizer.zero_grad()


def bits_of(model: Any) -> dict[str, Any]:
    """Copies on the device, ordered behind what it was told so far."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def saved(manager: cairn.CheckpointManager, step: int, item: str = "model") -> dict[str, Any]:
    with manager.checkpoint(step) as checkpoint:
        return {info.name: checkpoint[item][info.name].read() for info in checkpoint.native.tensors if info.item == item}


def check(manager: cairn.CheckpointManager, step: int, bits: dict[str, Any]) -> None:
    found = saved(manager, step)
    wrong = [name for name, tensor in bits.items() if not found[name].equal(tensor.cpu())]
    assert not wrong, f"step {step}"


def train_and_save(manager: cairn.CheckpointManager, model: Any, step: Callable[[], None], count: int) -> dict[int, dict[str, Any]]:
    """Each save with a step right behind it; what each must hold."""
    bits = {}
    for number in range(1, count + 1):
        step()
        bits[number] = bits_of(model)
        manager.save(number, force=True)
    step()
    return bits


# ------------------------------------------------------------------------------------------------------------------ saves


@pytest.mark.parametrize("mode", ["eager", "lazy", "sync"])
def test_training_resumes_to_the_same_bits(tmp_path: Path, mode: Any) -> None:
    model, optimizer = small()
    state = {"model": model, "optimizer": optimizer, "rng": cairn.RNG()}
    with cairn.CheckpointManager(tmp_path / "run", state, mode=mode) as manager:
        bits = train_and_save(manager, model, lambda: train(model, optimizer), 6)
        for _ in range(4):
            train(model, optimizer)
    for step, tensors in bits.items():
        check(manager, step, tensors)
    other, its_optimizer = small()
    with cairn.CheckpointManager(tmp_path / "run", {"model": other, "optimizer": its_optimizer, "rng": cairn.RNG()}) as manager:
        assert manager.restore().step == 6
        for _ in range(5):
            train(other, its_optimizer)
    assert all(one.equal(two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize("mode", ["eager", "lazy"])
def test_steps_of_a_large_model_right_behind_each_save(tmp_path: Path, mode: Any) -> None:
    """The copies take longer than a step: what it writes waits on the device."""
    model, optimizer = large()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode=mode, keep=cairn.Keep(last=8)) as manager:
        bits = train_and_save(manager, model, lambda: train(model, optimizer), 6)
    assert manager.all_steps() == list(bits)
    for step, tensors in bits.items():
        check(manager, step, tensors)


@pytest.mark.parametrize("mode", ["eager", "lazy"])
def test_a_save_does_not_wait_for_the_gpu(tmp_path: Path, mode: Any) -> None:
    """Kernels of some hundreds of milliseconds stand before the save, which returns while they run."""
    model, optimizer = large()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode=mode) as manager:
        for step in (1, 2, 3):
            train(model, optimizer)
            manager.save(step, force=True)
        manager.wait_until_finished()
        torch.cuda.synchronize()
        torch.cuda._sleep(1_000_000_000)
        train(model, optimizer)
        bits, event = bits_of(model), torch.cuda.current_stream().record_event()
        manager.save(4, force=True)
        train(model, optimizer)  # ordered, too, while nothing was saved yet
        assert not event.query()
    check(manager, 4, bits)


def test_who_writes_to_a_late_tensor_fails_the_save(tmp_path: Path) -> None:
    """Through `.data`, which torch does not count: the witnesses find it."""
    model, optimizer = large()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode="lazy", on_error="warn", keep=cairn.Keep(last=8)) as manager:
        for step in (1, 2, 3, 4):
            train(model, optimizer)
            bits = bits_of(model)
            manager.save(step, force=True)
            manager.wait_until_finished()
        assert manager.all_steps() == [1, 2, 3, 4]
        train(model, optimizer)
        manager.save(5, force=True)
        model.weight.data.fill_(7.0)
        manager.wait_until_finished()
        assert manager.all_steps() == [1, 2, 3, 4]
        train(model, optimizer)
        bits = bits_of(model)
        manager.save(6, force=True)
        model.weight.data.fill_(8.0)  # the manager is eager now
    assert manager.all_steps() == [1, 2, 3, 4, 6]
    check(manager, 6, bits)


def test_what_is_no_optimizers_is_copied_at_once(tmp_path: Path) -> None:
    """Statistics of BatchNorm, an average and a tensor of one's own change as soon as `save` has returned."""
    model = nn.Sequential(nn.Linear(512, 65536), nn.BatchNorm1d(65536)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.9))
    own = {"ones": torch.zeros(64 * MiB // 4, device="cuda")}
    state = {"model": model, "optimizer": optimizer, "ema": average, "own": own}
    with cairn.CheckpointManager(tmp_path / "run", state, mode="lazy", keep=cairn.Keep(last=8)) as manager:
        bits = {}
        for step in range(1, 6):
            train(model, optimizer)
            average.update_parameters(model)
            bits[step] = bits_of(model), bits_of(average), own["ones"].clone()
            manager.save(step, force=True)
            average.update_parameters(model)
            model(torch.randn(64, 512, device="cuda"))
            own["ones"].add_(1)
    for step, (of_model, of_average, ones) in bits.items():
        check(manager, step, of_model)
        found = saved(manager, step, "ema")
        assert all(found[name].equal(tensor.cpu()) for name, tensor in of_average.items())
        assert saved(manager, step, "own")["ones"].equal(ones.cpu())


@pytest.mark.parametrize("mode", ["eager", "lazy"])
def test_training_on_another_stream(tmp_path: Path, mode: Any) -> None:
    model, optimizer = large()
    torch.cuda.synchronize()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode=mode, keep=cairn.Keep(last=8)) as manager, torch.cuda.stream(torch.cuda.Stream()):
        bits = train_and_save(manager, model, lambda: train(model, optimizer), 5)
        torch.cuda.synchronize()
    for step, tensors in bits.items():
        check(manager, step, tensors)


def test_all_dtypes_and_layouts(tmp_path: Path) -> None:
    numbers = torch.arange(4096, device="cuda")
    state = {
        "bf16": numbers.to(torch.bfloat16).reshape(64, 64).T,
        "f16": numbers.half().reshape(4, 32, 32).permute(2, 0, 1),
        "channels": numbers.float().reshape(4, 16, 8, 8).to(memory_format=torch.channels_last),
        "c64": torch.complex(numbers.float(), numbers.float()),
        "c128": torch.complex(numbers.double(), numbers.double()),
        "conj": torch.complex(numbers.float(), numbers.float()).conj(),
        "bool": numbers % 3 == 0,
        "f8": numbers.float().to(torch.float8_e4m3fn),
        "i64": numbers[::2],
        "row": numbers.float()[3].expand(5),
        "tiny": torch.tensor(3.0, device="cuda"),
        "none": torch.empty(0, device="cuda"),
        "here": torch.arange(5.0),
    }
    with cairn.CheckpointManager(tmp_path / "run", {"own": state}) as manager:
        for step in (1, 2):
            manager.save(step, force=True)
    with manager.checkpoint(2) as checkpoint:
        read = checkpoint.state()["own"]
    assert all(is_same(read[name], tensor.cpu()) for name, tensor in state.items())
    others = {name: torch.zeros(tensor.shape, dtype=tensor.dtype, device=tensor.device) for name, tensor in state.items()}
    others["channels"] = torch.zeros_like(state["channels"])
    addresses = {name: tensor.data_ptr() for name, tensor in others.items()}
    with cairn.CheckpointManager(tmp_path / "run", {"own": others}) as manager:
        manager.restore()
    for name, tensor in others.items():
        assert tensor.data_ptr() == addresses[name] and tensor.device == state[name].device and is_same(tensor, state[name]), name


def is_same(one: Any, other: Any) -> bool:
    """Of dtype, shape and bits."""
    if one.dtype != other.dtype or one.is_complex():
        return one.dtype == other.dtype and is_same(torch.view_as_real(one.resolve_conj()), torch.view_as_real(other.resolve_conj()))
    return bool(one.shape == other.shape and one.contiguous().view(-1).view(torch.uint8).equal(other.contiguous().view(-1).view(torch.uint8)))


def test_a_save_takes_no_memory_of_the_device(tmp_path: Path) -> None:
    model, optimizer = large()
    train(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode="lazy") as manager:
        for step in range(1, 5):
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            manager.save(step, force=True)
            manager.wait_until_finished()
            assert torch.cuda.max_memory_allocated() - before < MiB
            train(model, optimizer)


# ---------------------------------------------------------------------------------------------------------- captured graphs


def captured(model: Any, optimizer: Any) -> Callable[[], None]:
    """A step as a graph that is replayed: no hook of torch's is called, and nothing counted."""
    given = torch.randn(64, next(model.parameters()).shape[-1], device="cuda")

    def step() -> None:
        optimizer.zero_grad(set_to_none=False)
        model(given).square().mean().backward()
        optimizer.step()

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def test_replayed_steps_are_saved_eagerly(tmp_path: Path) -> None:
    model = nn.Linear(4096, 4096, bias=False).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), capturable=True)
    step = captured(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode="lazy", keep=cairn.Keep(last=8)) as manager:
        bits = train_and_save(manager, model, step, 6)
    assert manager.all_steps() == list(bits)
    for number, tensors in bits.items():
        check(manager, number, tensors)


def test_steps_are_replayed_between_ordinary_ones(tmp_path: Path) -> None:
    """An optimizer that was seen stepping, and whose step is then captured, is never late again."""
    model = nn.Linear(WIDTH, WIDTH, bias=False).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), capturable=True)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}, mode="lazy", keep=cairn.Keep(last=20)) as manager:
        bits = {}
        for number in range(1, 5):
            train(model, optimizer)
            bits[number] = bits_of(model)
            manager.save(number, force=True)
        replay = captured(model, optimizer)
        for number in range(5, 9):
            train(model, optimizer)
            replay()
            bits[number] = bits_of(model)
            manager.save(number, force=True)
            replay()
    assert manager.all_steps() == list(bits)
    for number, tensors in bits.items():
        check(manager, number, tensors)


@pytest.mark.parametrize("mode", ["eager", "lazy"])
def test_a_step_is_captured_while_a_save_is_under_way(tmp_path: Path, mode: Any) -> None:
    """Neither disturbs the other, also while memory is still being page-locked, and a late copy on its way."""
    model = nn.Linear(WIDTH, WIDTH, bias=False).cuda()
    optimizer = torch.optim.AdamW(model.parameters(), capturable=True)
    state = {"model": model, "optimizer": optimizer}
    train(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", state, mode=mode, on_error="warn", keep=cairn.Keep(last=20)) as manager:
        manager.save(1, force=True)
        captured(model, optimizer)
        bits = {}
        for number in range(2, 6):
            train(model, optimizer)
            bits[number] = bits_of(model)
            manager.save(number, force=True)
        graph = torch.cuda.CUDAGraph()
        given = torch.randn(64, WIDTH, device="cuda")
        with torch.cuda.graph(graph):
            model(given).square().mean().backward()
            optimizer.step()
        graph.replay()
        manager.wait_until_finished()
        train(model, optimizer)
        bits[6] = bits_of(model)
        manager.save(6, force=True)
    there = manager.all_steps()
    assert {2, 3, 4, 6} <= set(there)
    for number in set(there) & set(bits):
        check(manager, number, bits[number])


# --------------------------------------------------------------------------------------------------------------- restores


def test_a_restore_fills_what_is_there_and_reads_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parameters stay where they are; the device is not asked for the bytes that are to be replaced, and holds nothing twice but one tensor."""
    model, optimizer = small()
    train(model, optimizer)
    state = {"model": model, "optimizer": optimizer, "own": {"x": torch.rand(MiB, device="cuda")}}
    with cairn.CheckpointManager(tmp_path / "run", state) as manager:
        manager.save(1, force=True)
    bits, x = bits_of(model), state["own"]["x"].clone()
    for _ in range(3):
        train(model, optimizer)
    state["own"]["x"].zero_()
    addresses = [parameter.data_ptr() for parameter in model.parameters()]

    def refuse(self: Any, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError(f"{tuple(self.shape)} is copied to main memory")

    real = torch.Tensor.cpu
    with cairn.CheckpointManager(tmp_path / "run", state) as manager:
        with monkeypatch.context() as patched:
            patched.setattr(torch.Tensor, "cpu", lambda self, *args, **kwargs: refuse(self) if self.numel() > 8192 else real(self, *args, **kwargs))
            assert manager.restore().step == 1
    assert [parameter.data_ptr() for parameter in model.parameters()] == addresses
    assert all(tensor.equal(bits[name]) for name, tensor in model.state_dict().items()) and state["own"]["x"].equal(x)
    assert all(value.is_cuda for each in optimizer.state.values() for value in each.values())


def test_from_the_device_to_main_memory_and_back(tmp_path: Path) -> None:
    model, optimizer = small()
    train(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as manager:
        manager.save(1, force=True)
    there = model.cpu()
    its_optimizer = torch.optim.AdamW(there.parameters(), fused=True)
    want = bits_of(there)
    with torch.no_grad():
        for parameter in there.parameters():
            parameter.zero_()
    with cairn.CheckpointManager(tmp_path / "run", {"model": there, "optimizer": its_optimizer}) as manager:
        assert manager.restore().step == 1
        assert all(tensor.equal(want[name]) for name, tensor in there.state_dict().items())
        for parameter in there.parameters():
            parameter.grad = torch.ones_like(parameter)
        its_optimizer.step()
        want = bits_of(there)
        manager.save(2, force=True)
    model, optimizer = small()
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "optimizer": optimizer}) as manager:
        assert manager.restore().step == 2
    assert all(tensor.cpu().equal(want[name]) for name, tensor in model.state_dict().items())
    train(model, optimizer)


def test_a_run_of_a_gpu_is_not_resumed_without_one_in_silence(tmp_path: Path) -> None:
    """Its random numbers cannot be had there: that is an error by name; its weights are read all the same."""
    model, optimizer = small()
    train(model, optimizer)
    with cairn.CheckpointManager(tmp_path / "run", {"model": model, "rng": cairn.RNG()}) as manager:
        manager.save(1, force=True)
    script = f"""
import torch, cairn
assert not torch.cuda.is_available()
model = torch.nn.Sequential(torch.nn.Linear(512, 2048), torch.nn.GELU(), torch.nn.Dropout(0.1), torch.nn.Linear(2048, 512))
manager = cairn.CheckpointManager({str(tmp_path / "run")!r}, {{"model": model, "rng": cairn.RNG()}})
try:
    manager.restore()
except cairn.MismatchError as error:
    print("refused:", error)
print("weights of step", manager.restore(items=["model"]).step, float(model[0].weight.sum().double()))
"""
    run = subprocess.run([sys.executable, "-c", script], env=os.environ | {"CUDA_VISIBLE_DEVICES": ""}, capture_output=True, text=True)
    assert "refused:" in run.stdout and "cuda" in run.stdout, run.stdout + run.stderr
    assert "weights of step 1" in run.stdout, run.stderr


@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_weights_are_loaded_into_a_model_on_the_device(tmp_path: Path, dtype: Any) -> None:
    source = nn.Sequential(nn.Linear(1000, 3000), nn.Linear(3000, 500))
    cairn.save(tmp_path / "weights", {"model": source})
    model = nn.Sequential(nn.Linear(1000, 3000), nn.Linear(3000, 500)).cuda()
    report = cairn.load(tmp_path / "weights", into=model, dtype=dtype)
    assert len(report.restored) + len(report.converted) == 4
    want = [tensor.to(dtype or torch.float32) for tensor in source.state_dict().values()]
    assert all(tensor.is_cuda and tensor.cpu().equal(other) for tensor, other in zip(model.state_dict().values(), want, strict=True))


def test_verify_resume() -> None:
    proof = cairn.verify_resume(resumable.make_gpu_state, resumable.train_gpu, 4)
    assert proof.new_processes and "the same bits: 8 steps" in str(proof)


# -------------------------------------------------------------------------------------------------------------------- jax

JAX = """
import os, sys
os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
import jax, jax.numpy as jnp, numpy, cairn
assert jax.default_backend() == "gpu", jax.default_backend()
mode = sys.argv[2]
tree = {"model": {"w": jnp.arange(1 << 20, dtype=jnp.float32), "b": jnp.ones(3, jnp.bfloat16)}, "key": jax.random.key(3)}
step = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1 if not jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else jax.random.split(x)[0], tree), donate_argnums=0)
want = {}
with cairn.CheckpointManager(sys.argv[1], mode=mode, on_error="warn", keep=cairn.Keep(last=9)) as manager:
    manager.restore(tree)
    for number in range(1, 6):
        tree = step(tree)
        want[number] = numpy.array(tree["model"]["w"]), numpy.array(jax.random.key_data(tree["key"]))
        manager.save(number, state=tree, force=True)
        tree = step(tree)  # gives its memory away
there = manager.all_steps()
assert there == [1, 2, 3, 4, 5] if mode == "eager" else {1, 2} <= set(there), there
for checkpoint in manager:
    w, key = want[checkpoint.step]
    read = checkpoint.state()
    assert (numpy.array(read["model"]["w"]) == w).all() and (numpy.array(jax.random.key_data(read["key"])) == key).all()
with cairn.CheckpointManager(sys.argv[1]) as manager:
    restored = manager.restore(tree)
    w = restored.state["model"]["w"]
    assert w.devices() == {jax.devices()[0]} and (numpy.array(w) == want[restored.step][0]).all()
print("ok", there)
"""


@pytest.mark.parametrize("mode", ["eager", "lazy"])
def test_jax_arrays_that_are_donated_right_after_the_save(tmp_path: Path, mode: str) -> None:
    pytest.importorskip("jax")
    run = subprocess.run([sys.executable, "-c", JAX, str(tmp_path / "run"), mode], capture_output=True, text=True)
    assert run.returncode == 0 and run.stdout.startswith("ok"), run.stdout + run.stderr[-3000:]
