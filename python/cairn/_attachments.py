"""The files beside the weights that make a checkpoint a folder which model loaders open: config.json, tokenizer.json, adapter_config.json.

They come from the objects' own writers, never from a pickle, and nothing is looked up elsewhere.
"""

from __future__ import annotations

import copy
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ._errors import UsageError


class Pretrained(Protocol):
    """A tokenizer, a processor, a config: writes its files into a folder."""

    def save_pretrained(self, save_directory: str, /) -> Any: ...


Attachments: TypeAlias = Mapping[str, str | bytes | os.PathLike[str] | Pretrained]
"""By the file's name its path or its bytes; by any name an object whose files are attached under their own names."""


class Attached:
    """What a run attaches to each of its checkpoints. What a tokenizer writes is kept, for it does not change."""

    def __init__(self, given: Attachments | None) -> None:
        self._written: dict[int, tuple[object, dict[str, bytes]]] = {}
        self._config: tuple[list[object], str, dict[str, bytes]] = ([], "", {})  # what the files of a model's config were made of, also as text, and they
        self._given: dict[str, str | bytes] = {}
        for name, data in (given or {}).items():
            if isinstance(data, bytes):
                self._given[name] = data
            elif hasattr(data, "save_pretrained"):
                self._given |= self._files_of(data)
            else:
                self._given[name] = os.fspath(data)

    def files(self, state: Mapping[str, Any]) -> dict[str, str | bytes]:
        """By name: a path, or the bytes. Those of entry "model" are found by themselves; what was given goes first."""
        return {**self._of_model(state.get("model")), **self._given}

    def _files_of(self, target: Any) -> dict[str, bytes]:
        if id(target) not in self._written:
            self._written[id(target)] = target, written_by(target)
        return self._written[id(target)][1]

    def _of_model(self, model: Any) -> dict[str, str | bytes]:
        torch = sys.modules.get("torch")
        if torch is None or not isinstance(model, torch.nn.Module):
            return {}
        from ._torch import bare

        model = bare(model)
        files: dict[str, str | bytes] = {}
        for owned in ("tokenizer", "processor"):
            if hasattr(found := _of(model, owned), "save_pretrained"):
                files |= self._files_of(found)
        if is_peft(model):
            return files | _of_adapter(model)
        return files | self._files_of_config(model)

    def _files_of_config(self, model: Any) -> dict[str, bytes]:
        """Written anew when something in the config has changed: that is done quickly, writing is not."""
        if not hasattr(_of(model, "config"), "to_json_string"):
            return {}
        generation = _of(model, "generation_config")
        made_of = [type(model), model.dtype, vars(model.config), vars(generation) if generation is not None else None]
        text = repr(made_of)  # for 1 and True are equal
        if (made_of, text) != self._config[:2]:
            self._config = copy.deepcopy(made_of), text, _of_config(model)
        return self._config[2]


def _of(module: Any, name: str) -> Any:
    """An attribute of a module; None: it has none. A module of torch's own way to say that takes longer than all of the rest."""
    kind, torchs = type(module), sys.modules["torch"].nn.Module
    is_usual = kind.__getattr__ is torchs.__getattr__ and kind.__getattribute__ is torchs.__getattribute__
    if name in vars(module) or hasattr(kind, name) or not is_usual:
        return getattr(module, name, None)
    return module._modules.get(name)


def is_peft(model: Any) -> bool:
    """Whether peft made it."""
    peft = sys.modules.get("peft")
    return peft is not None and isinstance(model, getattr(peft, "PeftModel", ()))


def adapter_of(model: Any) -> str:
    """The adapter of a PeftModel that its files are about."""
    return "default" if "default" in model.peft_config else str(next(iter(model.peft_config)))


def written_by(target: Any) -> dict[str, bytes]:
    """The files that save_pretrained writes. Raises UsageError where it writes none."""
    with tempfile.TemporaryDirectory(prefix="cairn-") as folder:
        target.save_pretrained(folder)
        files = {str(file.relative_to(folder)): file.read_bytes() for file in sorted(Path(folder).rglob("*")) if file.is_file()}
    if not files:
        raise UsageError(f"save_pretrained of a {type(target).__name__} wrote no file to attach")
    return files


def _of_config(model: Any) -> dict[str, bytes]:
    """As transformers' own save_pretrained would have it: with the class that the weights are of, and their dtype."""
    config = copy.deepcopy(model.config)
    config.architectures = [type(model).__name__.removeprefix("FSDP")]
    config.dtype = str(model.dtype).removeprefix("torch.")
    files = {"config.json": config.to_json_string().encode()}
    generation: Any = getattr(model, "generation_config", None)
    if hasattr(generation, "to_json_string") and model.can_generate():
        files["generation_config.json"] = generation.to_json_string().encode()
    return files


def _of_adapter(model: Any) -> dict[str, bytes]:
    config = copy.deepcopy(model.peft_config[adapter_of(model)])
    config.inference_mode = True
    config.base_model_name_or_path = base_name(model)
    return written_by(config)


def base_name(model: Any) -> str | None:
    """Where the base of a PeftModel came from, as peft or the base itself tells."""
    said = model.peft_config[adapter_of(model)].base_model_name_or_path
    return said or getattr(getattr(model.get_base_model(), "config", None), "name_or_path", None) or None
