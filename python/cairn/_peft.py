"""A PeftModel as an item: its adapter under peft's own names, its frozen base by digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from . import _arrays
from ._attachments import adapter_of, base_name
from ._errors import MismatchError, UnstorableError
from ._items import Found, Part
from ._torch import Module


class Adapter(Module):
    """The adapters of a PeftModel, what else it trains, and its buffers. The frozen parameters of its base are large and lie where they were loaded from: they are not saved, but a
    restore refuses a base of other bytes - or they are saved once, where the base is an entry of the state of its own."""

    def __init__(self, name: str, module: Any) -> None:
        super().__init__(name, module)
        self._known: tuple[object, str] = ((), "")  # the base's digest, and what it was made of

    def split(self) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, object]]:
        """As of a module, without the base."""
        tensors, aliases, others = super().split()
        names, adapters = self._names(tensors), self._of_adapters()
        kept = {names.get(id(tensor), name): tensor for name, tensor in tensors.items() if id(tensor) in names.keys() | adapters or not _is_frozen(tensor)}
        new = {name: names.get(id(tensor), name) for name, tensor in tensors.items()}
        return kept, [(alias, new[first]) for alias, first in aliases if new[first] in kept], others

    def _adapter(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """What peft would save, by its names: our tensors, and what it makes of them."""
        from peft import get_peft_model_state_dict

        return dict(get_peft_model_state_dict(self.module, state_dict=dict(tensors), adapter_name=adapter_of(self.module), save_embedding_layers=False))

    def _names(self, tensors: Mapping[str, Any]) -> dict[int, str]:
        own = {id(tensor) for tensor in tensors.values()}
        return {id(tensor): self._key(name) for name, tensor in self._adapter(self._state()).items() if id(tensor) in own}

    def _of_adapters(self) -> set[int]:
        """The ids of parameters of all adapters: peft freezes those that are not active."""
        parts = [getattr(self.module, "prompt_encoder", None)]
        for child in self.module.modules():
            kind = type(child)
            parts += [getattr(child, name, None) for name in (*getattr(kind, "adapter_layer_names", ()), *getattr(kind, "other_param_names", ()))]
        return {id(parameter) for part in parts if isinstance(part, torch.nn.Module) for parameter in part.parameters()}

    def _made(self) -> dict[str, Any]:
        """What peft's readers want besides: the embeddings that a prompt encoder gives."""
        state = self._state()
        own = {id(value) for value in state.values()}
        return {self._key(name): tensor for name, tensor in self._adapter(state).items() if id(tensor) not in own}

    def to_be_loaded(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """None: peft's own names are not those that its load_state_dict takes."""
        return {}

    def needless(self, tensors: Mapping[str, Any]) -> set[str]:
        """Adapters that are not active: a file is of one."""
        active, adapters = self._names(super().split()[0]), self._of_adapters()
        return {name for name, tensor in tensors.items() if id(tensor) in adapters and id(tensor) not in active and _is_frozen(tensor)}

    def capture(self) -> Part:
        for path, child in self.module.named_modules():
            if getattr(child, "merged", False) is True:
                raise UnstorableError(f"{self.name}/{path}: the adapter is merged into its base: call unmerge_adapter() before you save")
        part = super().capture()
        part.tensors += [(name, tensor.detach(), 0) for name, tensor in self._made().items()]
        part.file_stem = "adapter_model" if self.name == "model" else None
        frozen = self._frozen()
        is_saved = all(id(tensor) in self.saved_elsewhere for tensor in frozen.values())
        part.facts["base"] = {"name": base_name(self.module), "digest": None if is_saved else self._digest(frozen)}
        return part

    def prepare(self, found: Found) -> Part:
        if "base" in found.facts:
            self._check(found.facts["base"])
        part = super().prepare(found)
        bound = {name for name, _, _ in part.tensors}
        part.tensors += [(name, torch.empty_like(tensor), 0) for name, tensor in self._made().items() if name in found.tensors and name not in bound]
        return part

    def _frozen(self) -> dict[str, Any]:
        tensors, _, _ = super().split()
        names = self._names(tensors).keys() | self._of_adapters()
        return {name: tensor for name, tensor in tensors.items() if id(tensor) not in names and _is_frozen(tensor)}

    def _check(self, base: Mapping[str, Any]) -> None:
        """Before anything is touched."""
        frozen = self._frozen()
        if base["digest"] is None and not all(id(tensor) in self.saved_elsewhere for tensor in frozen.values()):
            raise MismatchError(f'{self.name}: its base was saved as an entry of the state of its own: bind it, too: {{"base": model.get_base_model()}}')
        if base["digest"] is not None and base["digest"] != self._digest(frozen):
            raise MismatchError(
                f"{self.name}: its base has other weights than the one that was trained on ({base['name'] or 'of no name'}): load that one before you restore"
            )

    def _digest(self, frozen: Mapping[str, Any]) -> str:
        """Of names, dtypes, shapes and bytes: made once, and again where torch has counted a change."""
        made_of = tuple((name, id(tensor), tensor._version, tensor.data_ptr()) for name, tensor in frozen.items())
        if self._known[0] != made_of:
            with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
                rows = pool.map(lambda name: f"{name} {_digest_of(frozen[name], f'{self.name}/{name}')}", sorted(frozen))
            self._known = made_of, hashlib.blake2b("\n".join(rows).encode(), digest_size=32).hexdigest()
        return self._known[1]


def _digest_of(tensor: Any, where: str) -> str:
    buffer = _arrays.buffer_of(tensor.detach().contiguous(), where)
    return f"{buffer.dtype} {buffer.shape} {hashlib.blake2b(_arrays.bytes_of(buffer.owner), digest_size=32).hexdigest()}"


def _is_frozen(tensor: Any) -> bool:
    return isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
