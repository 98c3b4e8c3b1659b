"""Readers that `make proof` alone installs (tests/readers.sh): mlx and fastsafetensors read every file of a folder, to the last bit."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from state_help import bits
from test_weights import gpt, llama, safetensors, step, trained, tuned

import cairn

pytestmark = pytest.mark.readers

Read = dict[str, tuple[str, tuple[int, ...], bytes]]  # by name: dtype, shape, bytes


def by_mlx(files: Iterable[Path]) -> Read:
    load = pytest.importorskip("mlx.core", exc_type=ImportError).load
    arrays = {name: array for file in files for name, array in load(str(file)).items()}
    return {name: (str(array.dtype).removeprefix("mlx.core."), tuple(array.shape), bytes(memoryview(array))) for name, array in arrays.items()}


def by_fastsafetensors(files: Iterable[Path]) -> Read:
    """All files at once, as vLLM reads a model's."""
    fast = pytest.importorskip("fastsafetensors", exc_type=ImportError)
    with fast.fastsafe_open(filenames=[str(file) for file in files], nogds=True, device="cpu") as opened:
        return told({name: opened.get_tensor(name) for name in opened.keys()})


def told(tensors: dict[str, torch.Tensor]) -> Read:
    return {name: (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape), bits(tensor)) for name, tensor in tensors.items()}


def weights_of(folder: Path, stem: str, read: Callable[[Iterable[Path]], Read]) -> Read:
    """What a reader finds of an item: in its file, or in those that the Hub's index names."""
    index = folder / f"{stem}.safetensors.index.json"
    if not index.exists():
        return read([folder / f"{stem}.safetensors"])
    places = json.loads(index.read_text())["weight_map"]
    files = sorted(set(places.values()))
    assert len(files) > 1 and all(read([folder / file]).keys() == {name for name in places if places[name] == file} for file in files)
    return read([folder / file for file in files])


def gpt_in_training() -> tuple[dict[str, Any], str, Read]:
    model = gpt()
    optimizer = torch.optim.AdamW(model.parameters())
    step(model, optimizer)
    return {"model": model, "optimizer": optimizer}, "model", told({name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"})


def llama_of_bfloat16() -> tuple[dict[str, Any], str, Read]:
    model = llama()
    return {"model": model}, "model", told(dict(model.state_dict()))


def adapter_in_training() -> tuple[dict[str, Any], str, Read]:
    model = tuned()
    optimizer = torch.optim.AdamW(trained(model))
    step(model, optimizer)
    names = {name: name.replace(".default.", ".") for name, _ in model.named_parameters() if "lora" in name}
    return {"model": model, "optimizer": optimizer}, "adapter_model", told({names[name]: tensor for name, tensor in model.named_parameters() if name in names})


def plain() -> tuple[dict[str, Any], str, Read]:
    """Every dtype that both readers know; mlx has no F64, and fastsafetensors no C64."""
    torch.manual_seed(1)
    whole = [torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.uint32, torch.int64, torch.uint64]
    typed = {str(dtype): torch.randint(0, 2 if dtype is torch.bool else 100, (61, 67)).to(dtype) for dtype in whole}
    typed |= {str(dtype): torch.randn(59, 71).to(dtype) for dtype in (torch.bfloat16, torch.float16, torch.float32)}
    odd = {"scalar": torch.tensor(2.5), "count": torch.tensor(-7), "empty": torch.empty(0), "none of three": torch.empty(0, 3, dtype=torch.bfloat16)}
    odd |= {"no numbers": torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]), "ünï cødé": torch.arange(6.0).reshape(1, 2, 1, 3)}
    other = {"statistics": {"mean": torch.randn(7), "count": torch.tensor(3)}, "alone": torch.arange(9)}
    return {"model": odd | {"typed": typed}, **other}, "model", told(odd | {f"typed/{name}": tensor for name, tensor in typed.items()})


@pytest.mark.parametrize("shard_bytes", [0, 500], ids=["whole", "shards"])
@pytest.mark.parametrize("make", [gpt_in_training, llama_of_bfloat16, adapter_in_training, plain])
@pytest.mark.parametrize("read", [by_mlx, by_fastsafetensors])
def test_each_file_is_read_to_the_last_bit(read: Callable[[Iterable[Path]], Read], make: Any, shard_bytes: int, tmp_path: Path) -> None:
    state, stem, weights = make()
    with cairn.CheckpointManager(tmp_path / "run", state, shard_bytes=shard_bytes) as manager:
        manager.save(1, force=True)
    cairn.save(tmp_path / "one", state, shard_bytes=shard_bytes)
    for folder in (tmp_path / "run" / "checkpoint-1", tmp_path / "one"):
        is_split = shard_bytes > 0 and stem == "model"  # an adapter is one file
        assert (folder / f"{stem}.safetensors.index.json").exists() == is_split
        assert weights_of(folder, stem, read) == weights
        files = sorted(folder.rglob("*.safetensors"))
        assert len(files) >= len(state) and all(read([file]) == told(safetensors.load_file(file)) for file in files)


@pytest.mark.parametrize("read", [by_mlx, by_fastsafetensors])
def test_a_reader_sees_a_bit_that_is_another(read: Callable[[Iterable[Path]], Read], tmp_path: Path) -> None:
    """What the others compare is what stands in the file."""
    cairn.save(tmp_path / "one", {"model": gpt()})
    data = bytearray((tmp_path / "one" / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "other.safetensors").write_bytes(data)
    ours, other = (read([file]) for file in (tmp_path / "one" / "model.safetensors", tmp_path / "other.safetensors"))
    assert ours.keys() == other.keys() and sum(ours[name] != other[name] for name in ours) == 1
