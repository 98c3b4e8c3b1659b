"""Training runs that a test kills and resumes: trainers.py MODEL RUN STEPS LOG [--every N].

Each step adds a line "step loss" to LOG, the loss as the hexadecimal form of its bits; the end adds "end DIGEST" of parameters, optimizer and random
numbers. A run that was never interrupted and one that was, however often, write the same lines.
"""

from __future__ import annotations

import argparse
import glob
import hashlib
import os
import random
from collections.abc import Callable
from typing import Any

import numpy
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import cairn


class Tokens(Dataset):
    """Windows of random tokens, each with an augmentation of its own."""

    def __init__(self, count: int, length: int, words: int) -> None:
        self.tokens = torch.randint(0, words, (count, length + 1), generator=torch.Generator().manual_seed(7))

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        row = self.tokens[index].clone()
        numbers = torch.Generator().manual_seed(cairn.sample_seed(index) % 2**63)
        row[torch.randint(0, len(row), (2,), generator=numbers)] = 0
        return row[:-1], row[1:]


class Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.Dropout(0.1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, width = x.shape
        q, k, v = self.qkv(self.first(x)).view(batch, length, 3, 4, width // 4).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, dropout_p=0.1 if self.training else 0.0, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.mlp(self.second(x))


class GPT(nn.Module):
    _tied_weights_keys = ["head.weight"]

    def __init__(self, words: int = 64, width: int = 32, length: int = 16) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)
        self.head.weight = self.words.weight
        self.register_buffer("mask", torch.full((length, length), float("-inf")).triu(1))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.words(tokens) + self.places(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class Log:
    """What the test compares."""

    def __init__(self, path: str) -> None:
        self.file = open(path, "a", buffering=1)

    def step(self, step: int, loss: float) -> None:
        self.file.write(f"{step} {float(loss).hex()}\n")

    def end(self, state: dict[str, Any]) -> None:
        digest = hashlib.sha256()
        for name, value in sorted(leaves(state)):
            digest.update(name.encode())
            digest.update(value)
        self.file.write(f"end {digest.hexdigest()}\n")


def leaves(tree: Any, name: str = "") -> list[tuple[str, bytes]]:
    if isinstance(tree, torch.Tensor):
        return [(name, tree.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())]
    if hasattr(tree, "state_dict"):
        tree = tree.state_dict()
    if isinstance(tree, dict):
        return [leaf for key, value in tree.items() for leaf in leaves(value, f"{name}/{key}")]
    if isinstance(tree, list | tuple):
        return [leaf for key, value in enumerate(tree) for leaf in leaves(value, f"{name}/{key}")]
    return [(name, repr(tree).encode())]


def epochs(run: str, state: dict[str, Any], steps: int, log: Log, every: int, update: Callable[[Any], float], accumulate: int = 1, mode: Any = "eager") -> None:
    """The loop that all of them share: as it stands in the README, with gradient accumulation."""
    data, values = state["data"], state["run"]
    with cairn.CheckpointManager(run, state, mode=mode, save=cairn.Save(every_steps=every), keep=cairn.Keep(last=3)) as manager:
        step = manager.restore().step
        while step < steps:
            batches = []
            for batch in data:
                batches.append(batch)
                if len(batches) < accumulate:
                    continue
                loss, batches = update(batches if accumulate > 1 else batch), []
                step += 1
                values.average = 0.9 * values.average + 0.1 * loss
                log.step(step, loss)
                manager.save(step, metrics={"loss": loss})
                if step == steps:
                    break
            else:
                values.epoch += 1
    drawn = [torch.rand(3), random.random(), numpy.random.rand()] + ([torch.rand(3, device="cuda")] if torch.cuda.is_initialized() else [])
    log.end({name: value for name, value in state.items() if name not in ("data", "rng")} | {"next": drawn})


def train_gpt(run: str, steps: int, log: Log, every: int, device: str = "cpu", half: torch.dtype | None = None, mode: Any = "eager") -> None:
    model = GPT().to(device)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, fused=True)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=10)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [10])
    scaler = torch.amp.GradScaler(device, growth_interval=9, enabled=half is torch.float16)
    data = cairn.data(DataLoader(Tokens(88, 16, 64), batch_size=4, shuffle=True, num_workers=2))
    state = {"model": model, "ema": average, "optimizer": optimizer, "scheduler": scheduler, "data": data, "rng": cairn.RNG(), "run": cairn.Values(epoch=0, average=0.0)}
    state |= {"scaler": scaler} if scaler.is_enabled() else {}

    def update(batches: list[Any]) -> float:
        total = 0.0
        for tokens, targets in batches:
            with torch.autocast(device, half or torch.bfloat16, enabled=half is not None):
                loss = F.cross_entropy(model(tokens.to(device)).float().flatten(0, 1), targets.to(device).flatten()) / len(batches)
            scaler.scale(loss).backward()
            total += loss.item()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        scheduler.step()
        average.update_parameters(model)
        return total

    epochs(run, state, steps, log, every, update, accumulate=2, mode=mode)


def train_bf16(run: str, steps: int, log: Log, every: int) -> None:
    train_gpt(run, steps, log, every, half=torch.bfloat16)


def train_cuda(run: str, steps: int, log: Log, every: int, mode: Any = "eager") -> None:
    """With a scaled loss, its kernels such as give the same bits twice."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(True)
    torch.backends.cuda.enable_flash_sdp(False)
    torch.backends.cuda.enable_mem_efficient_sdp(False)
    train_gpt(run, steps, log, every, "cuda", torch.float16, mode)


def train_cuda_lazily(run: str, steps: int, log: Log, every: int) -> None:
    train_cuda(run, steps, log, every, "lazy")


class Images(Dataset):
    def __init__(self, count: int) -> None:
        numbers = torch.Generator().manual_seed(3)
        self.pixels = torch.randn(count, 3, 8, 8, generator=numbers)
        self.labels = torch.randint(0, 4, (count,), generator=numbers)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.pixels[index], self.labels[index]


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x + self.body(x))


def train_resnet(run: str, steps: int, log: Log, every: int) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), Residual(8), Residual(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(8, 4))
    model = model.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps + 1)
    data = cairn.data(DataLoader(Images(90), batch_size=8, shuffle=True, num_workers=2, drop_last=True, persistent_workers=True))
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "data": data, "rng": cairn.RNG(), "run": cairn.Values(epoch=0, average=0.0)}

    def update(batch: Any) -> float:
        loss = F.cross_entropy(model(batch[0].contiguous(memory_format=torch.channels_last)), batch[1])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        return loss.item()

    epochs(run, state, steps, log, every, update)


def train_lora(run: str, steps: int, log: Log, every: int) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import GPT2Config, GPT2LMHeadModel

    with torch.random.fork_rng():  # the base is what it always is, as if it were loaded
        torch.manual_seed(11)
        base = GPT2LMHeadModel(GPT2Config(vocab_size=64, n_positions=16, n_embd=32, n_layer=2, n_head=4))
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, target_modules=["c_attn"], fan_in_fan_out=True))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    data = cairn.data(DataLoader(Tokens(60, 16, 64), batch_size=4, shuffle=True, num_workers=1))
    state = {"model": model, "optimizer": optimizer, "data": data, "rng": cairn.RNG(), "run": cairn.Values(epoch=0, average=0.0)}

    def update(batch: Any) -> float:
        loss = F.cross_entropy(model(input_ids=batch[0]).logits.flatten(0, 1), batch[1].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.item()

    epochs(run, state, steps, log, every, update)


def train_jax(run: str, steps: int, log: Log, every: int) -> None:
    import jax
    import jax.numpy as jnp
    import optax

    def network(parameters: Any, x: Any, key: Any) -> Any:
        hidden = jax.nn.relu(x @ parameters["first"]["w"] + parameters["first"]["b"])
        hidden = jnp.where(jax.random.bernoulli(key, 0.9, hidden.shape), hidden / 0.9, 0.0)
        return hidden @ parameters["second"]["w"] + parameters["second"]["b"]

    def loss_of(parameters: Any, batch: Any, key: Any) -> Any:
        return optax.softmax_cross_entropy_with_integer_labels(network(parameters, batch[0], key), batch[1]).mean()

    first, second = jax.random.split(jax.random.key(torch.initial_seed()))
    parameters = {
        "first": {"w": jax.random.normal(first, (192, 32)) * 0.1, "b": jnp.zeros(32)},
        "second": {"w": jax.random.normal(second, (32, 4)) * 0.1, "b": jnp.zeros(4)},
    }
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-2, steps)))

    @jax.jit
    def update(parameters: Any, moments: Any, batch: Any, key: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, batch, key)
        updates, moments = optimizer.update(gradients, moments, parameters)
        return optax.apply_updates(parameters, updates), moments, loss

    images = Images(90)
    pixels, labels = images.pixels.flatten(1).numpy(), images.labels.numpy()
    tree: dict[str, Any] = {"model": parameters, "optimizer": optimizer.init(parameters), "keys": {"dropout": jax.random.key(torch.initial_seed() + 5)}}
    with cairn.CheckpointManager(run, save=cairn.Save(every_steps=every), keep=cairn.Keep(last=3)) as manager:
        restored = manager.restore(tree)
        step, tree = restored.step, restored.state
        while step < steps:
            rows = numpy.random.default_rng(step).permutation(len(pixels))[:8]
            tree["keys"]["dropout"], key = jax.random.split(tree["keys"]["dropout"])
            tree["model"], tree["optimizer"], loss = update(tree["model"], tree["optimizer"], (pixels[rows], labels[rows]), key)
            step += 1
            log.step(step, loss)
            manager.save(step, state=tree, metrics={"loss": loss})
    flat = jax.tree_util.tree_map(lambda leaf: torch.from_numpy(numpy.array(jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key) else leaf)), tree)
    log.end({"all": jax.tree_util.tree_leaves(flat)})


TRAINERS = {"gpt": train_gpt, "bf16": train_bf16, "cuda": train_cuda, "cuda-lazy": train_cuda_lazily, "resnet": train_resnet, "lora": train_lora, "jax": train_jax}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model", choices=TRAINERS)
    parser.add_argument("run")
    parser.add_argument("steps", type=int)
    parser.add_argument("log")
    parser.add_argument("--every", type=int, default=4)
    arguments = parser.parse_args()
    # what a resumed process starts with is not what the first one started with
    fresh = not glob.glob(f"{arguments.run}/checkpoint-*")
    seed = 1 if fresh else int.from_bytes(os.urandom(4), "little")
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    random.seed(seed)
    numpy.random.seed(seed)
    TRAINERS[arguments.model](arguments.run, arguments.steps, Log(arguments.log), arguments.every)


if __name__ == "__main__":
    main()
