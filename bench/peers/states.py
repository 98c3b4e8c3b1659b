"""What is saved: modules and optimizers of torch, their memory touched."""
from collections.abc import Iterator

import torch

NAMES = {"large": "2 GiB in 32 tensors", "gpt2": "GPT-2 small and its AdamW", "small": "10,000 tensors of 4 KiB"}


class State:
    """A module and its optimizer, and the same as what peers take: nested dicts of tensors."""

    def __init__(self, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.module, self.optimizer = module, optimizer
        self.bytes = sum(tensor.nbytes for tensor in self.flat().values())

    def tree(self) -> dict[str, dict[str, torch.Tensor]]:
        """{"model": by name, "optimizer": by kind and name}."""
        names = {parameter: name for name, parameter in self.module.named_parameters()}
        moments = {
            f"{kind}.{names[parameter]}": value
            for parameter, kinds in self.optimizer.state.items()
            for kind, value in kinds.items()
            if isinstance(value, torch.Tensor)
        }
        model = {name: parameter.detach() for name, parameter in self.module.named_parameters()}
        return {"model": model, "optimizer": moments} if moments else {"model": model}

    def flat(self) -> dict[str, torch.Tensor]:
        """The same, by one name each."""
        return {f"{part}.{name}": tensor for part, tensors in self.tree().items() for name, tensor in tensors.items()}

    def change(self) -> None:
        """A value of each tensor, through the optimizer's step, as training does: who watches it sees one."""
        self.optimizer.step()
        with torch.no_grad():
            for tensor in self._changing():
                tensor.view(-1)[0] += 1

    def _changing(self) -> Iterator[torch.Tensor]:
        for tensors in self.tree().values():
            yield from tensors.values()


def make(name: str, scale: float = 1.0) -> State:
    """One of NAMES; a smaller one for a trial."""
    if name == "gpt2":
        return _gpt2(scale)
    count, size = (32, int(2**31 / 32 * scale)) if name == "large" else (max(int(10_000 * scale), 1), 4096)
    module = torch.nn.Module()
    for index in range(count):
        module.register_parameter(f"layer{index}", torch.nn.Parameter(_filled(size // 4)))
    return State(module, torch.optim.SGD(module.parameters(), lr=0.0))


def _filled(count: int) -> torch.Tensor:
    """Random numbers, the same million of them over and over."""
    tensor = torch.empty(count)
    some = torch.rand(min(count, 1 << 20))
    for start in range(0, count, 1 << 20):
        part = tensor[start : start + (1 << 20)]
        part.copy_(some[: len(part)])
    return tensor


def gpt2(scale: float) -> torch.nn.Module:
    """124 million parameters at scale 1."""
    from transformers import GPT2Config, GPT2LMHeadModel

    layers = 12 if scale == 1 else 1
    return GPT2LMHeadModel(GPT2Config(n_layer=layers, vocab_size=max(int(50257 * scale), 256), n_embd=768 if scale == 1 else 192))


def _gpt2(scale: float) -> State:
    module = gpt2(scale)
    optimizer = torch.optim.AdamW(module.parameters(), lr=1e-4, fused=True)
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, 1e-3)
    optimizer.step()
    optimizer.zero_grad()
    return State(module, optimizer)
