"""Modules and optimizers of torch as items of a state. Imported only when torch has been."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer

from . import _arrays, _tree
from ._errors import MismatchError, UnstorableError
from ._items import Found, Item, Loaded, Loader, Part
from ._native import FROZEN, OPTIMIZER, TRAINABLE, VOLATILE

_WRAPPERS = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}
_SHARDED = {"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine"}


def item_of(name: str, target: Any) -> Item | None:
    """The item of a module, an optimizer or a loader; None for anything else."""
    if isinstance(target, torch.nn.Module):
        return Module(name, target)
    if isinstance(target, Optimizer):
        return OptimizerState(name, target)
    if isinstance(target, torch.utils.data.DataLoader) and not hasattr(target, "state_dict"):
        return Loader(name, target)
    return None


def acquaint(items: Iterable[Item]) -> None:
    """Tells optimizers by which names the bound modules know their parameters."""
    names: dict[int, str] = {}
    modules = [item for item in items if isinstance(item, Module)]
    for module in modules:
        for name, parameter in module.parameters():
            names.setdefault(id(parameter), name if module.name == "model" else f"{module.name}.{name}")
    for item in items:
        if isinstance(item, OptimizerState):
            item.names = names


# ------------------------------------------------------------------------------------------------------------------ modules


def _unwrap(name: str, module: Any) -> Any:
    while (inner := _WRAPPERS.get(type(module).__name__)) and hasattr(module, inner):
        module = getattr(module, inner)
    if {kind.__name__ for kind in type(module).__mro__} & _SHARDED:
        raise UnstorableError(f"{name}: a {type(module).__name__} lies on many ranks; saving sharded states is not supported yet")
    return module


def _prefixes(module: Any) -> list[tuple[str, str]]:
    """What wrappers inside of the module add to the names: longest first."""
    found = []
    for path, child in module.named_modules():
        inner = _WRAPPERS.get(type(child).__name__)
        if inner and path:
            found.append((f"{path}.{inner}.", f"{path}."))
    return sorted(found, key=lambda pair: -len(pair[0]))


def _is_plain(module: Any) -> bool:
    """Whether the module's state is its parameters and buffers, as they lie in memory: no hook and no method of its own takes part in loading."""
    for child in module.modules():
        kind = type(child)
        if child._load_state_dict_pre_hooks or child._load_state_dict_post_hooks or child._state_dict_hooks or child._state_dict_pre_hooks:
            return False
        for method in ("state_dict", "load_state_dict", "get_extra_state", "_save_to_state_dict", "_load_from_state_dict"):
            owner = next(base for base in kind.__mro__ if method in vars(base))
            if owner is not torch.nn.Module and not owner.__module__.startswith("torch.nn.modules."):
                return False
    return True


def _tied_patterns(module: Any) -> list[str]:
    """Names, or patterns of names, that stand for another's weights, as transformers' models say."""
    found: list[str] = []
    for path, child in module.named_modules():
        keys = getattr(child, "_tied_weights_keys", None) or ()
        found += [f"{path}.{key}" if path else key for key in keys]
    return found


class Module:
    """A module's parameters and buffers, under the names that it has without wrappers. Tied ones are stored once."""

    rank = 0

    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module = name, _unwrap(name, module)
        self._loaded: Loaded | None = None
        self._copies: list[tuple[Any, Any]] = []

    def parameters(self) -> list[tuple[str, Any]]:
        """Every parameter under each of its names."""
        clean = self._cleaner()
        return [(clean(name), parameter) for name, parameter in self.module.named_parameters(remove_duplicate=False)]

    def _cleaner(self) -> Any:
        prefixes = _prefixes(self.module)

        def clean(name: str) -> str:
            for long, short in prefixes:
                name = name.replace(long, short, 1) if name.startswith(long) else name
            return name

        return clean

    def _key(self, name: str) -> str:
        return name if self.name == "model" else _tree.join((name,))

    def _state(self) -> dict[str, Any]:
        """Its state_dict with live tensors, by stored name."""
        clean = self._cleaner()
        return {self._key(clean(name)): value for name, value in self.module.state_dict(keep_vars=True).items()}

    def _split(self) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, object]]:
        """Tensors, each once; other names of theirs; what is no tensor."""
        state = self._state()
        patterns = _tied_patterns(self.module)
        names: dict[int, list[str]] = {}
        for name, value in state.items():
            if isinstance(value, torch.Tensor):
                names.setdefault(id(value), []).append(name)
        tensors: dict[str, Any] = {}
        aliases: list[tuple[str, str]] = []
        for group in names.values():
            first = next((name for name in group if not _matches(name, patterns)), group[0]) if len(group) > 1 else group[0]
            tensors[first] = state[first]
            aliases += [(name, first) for name in group if name != first]
        others = {name: value for name, value in state.items() if not isinstance(value, torch.Tensor)}
        return tensors, aliases, others

    def capture(self) -> Part:
        tensors, aliases, others = self._split()
        part = Part([(name, tensor, _flags(tensor)) for name, tensor in tensors.items()], aliases, kinds={"": _tree.MODULE})
        for name, value in others.items():
            flat = _tree.flatten(f"{self.name}/{name}", {_tree.ROOT: value})
            if flat.tensors:
                raise UnstorableError(f"{self.name}/{name}: an extra state with tensors inside is not stored yet")
            part.values[name] = flat.values[_tree.ROOT]
        return part

    def prepare(self, found: Found) -> Part:
        tensors, aliases, others = self._split()
        self._copies = []
        if others or not _is_plain(self.module):
            return self._prepare_loading(found, tensors)
        part = Part(aliases=aliases)
        for name, tensor in tensors.items():
            place = tensor.detach()
            if not _arrays.is_filled_in_place(place):
                place = torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format)
                self._copies.append((tensor, place))
            part.tensors.append((name, place, _flags(tensor)))
        return part

    def _prepare_loading(self, found: Found, tensors: dict[str, Any]) -> Part:
        """Where the module has a say in loading: new memory, and what the checkpoint lacks is bound to be missed."""
        self._loaded = Loaded(found)
        part = self._loaded.part(0)
        part.tensors = [(name, array, _flags(tensors[name]) if name in tensors else 0) for name, array, _ in part.tensors]
        part.tensors += [(name, tensor.detach(), _flags(tensor)) for name, tensor in tensors.items() if name not in found.tensors]
        return part

    def finish(self) -> Any:
        with torch.no_grad():
            for tensor, filled in self._copies:
                tensor.copy_(filled)
        self._copies = []
        if self._loaded is not None:
            loaded, self._loaded = self._loaded.tree(), None
            self._load({self._key(name): value for name, value in loaded.items()})
        return self.module

    def _load(self, state: dict[str, Any]) -> None:
        clean = self._cleaner()
        own = self.module.state_dict(keep_vars=True)
        named = {name: state[self._key(clean(name))] for name in own if self._key(clean(name)) in state}
        named |= {name: value for name, value in state.items() if name not in {self._key(clean(key)) for key in own}}
        named_with_versions = type(own)(named)
        if hasattr(own, "_metadata"):
            named_with_versions._metadata = own._metadata
        self.module.load_state_dict(named_with_versions, strict=False)


def _matches(name: str, patterns: list[str]) -> bool:
    return any(name == pattern or re.search(pattern, name) for pattern in patterns)


def _flags(tensor: Any) -> int:
    if not isinstance(tensor, torch.nn.Parameter):
        return VOLATILE
    return TRAINABLE if tensor.requires_grad else FROZEN


# --------------------------------------------------------------------------------------------------------------- optimizers


def unwrap_optimizer(optimizer: Any) -> Any:
    """The innermost one: what wrappers keep as .optimizer."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


_HOOKS = (
    "_optimizer_state_dict_pre_hooks",
    "_optimizer_state_dict_post_hooks",
    "_optimizer_load_state_dict_pre_hooks",
    "_optimizer_load_state_dict_post_hooks",
)


class OptimizerState:
    """An optimizer's state, by the names of its parameters where it can be told by them, else by their positions."""

    rank = 1

    def __init__(self, name: str, optimizer: Any) -> None:
        self.name, self.optimizer = name, unwrap_optimizer(optimizer)
        self.names: dict[int, str] = {}
        self._loaded: Loaded | None = None

    def _parameters(self) -> list[Any]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _keys(self) -> list[str] | None:
        """The parameters' names; None: their positions count."""
        kind = type(self.optimizer)
        if kind.state_dict is not Optimizer.state_dict or kind.load_state_dict is not Optimizer.load_state_dict:
            return None
        if isinstance(self.optimizer, torch.optim.LBFGS) or any(getattr(self.optimizer, hooks, None) for hooks in _HOOKS):
            return None
        for state in self.optimizer.state.values():
            if any(isinstance(value, list | tuple | dict) for value in state.values()):
                return None
        names = [self.names.get(id(parameter)) for parameter in self._parameters()]
        return None if None in names or len(set(names)) < len(names) else [name for name in names if name]

    def _layout(self) -> str:
        """What positions rest on: a digest of the names, as far as they are known, and the shapes."""
        rows = [f"{self.names.get(id(parameter), '')} {tuple(parameter.shape)}" for parameter in self._parameters()]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def _state(self) -> dict[str, Any]:
        """Its state_dict, with names for positions where they count."""
        state = self.optimizer.state_dict()
        keys = self._keys()
        if keys is None:
            return {**state, "layout": self._layout()}
        groups = [{**group, "params": [keys[index] for index in group["params"]]} for group in state["param_groups"]]
        return {"state": {keys[index]: inner for index, inner in state["state"].items()}, "param_groups": groups}

    def capture(self) -> Part:
        return Part.of(_tree.flatten(self.name, self._state()), OPTIMIZER)

    def prepare(self, found: Found) -> Part:
        if not found.tree:  # something to be missed
            return Part([("state", torch.empty(0, dtype=torch.uint8), OPTIMIZER)])
        self._check(found)
        own = _tree.flatten(self.name, self._state()).tensors
        self._loaded = Loaded(found, own.get)
        return self._loaded.part(OPTIMIZER)

    def _check(self, found: Found) -> None:
        """Refuses what cannot be told apart, before anything is touched."""
        layout = found.tree.get("layout")
        groups: Any = found.tree.get("param_groups", [])
        if (layout is None) != (self._keys() is not None):
            how = "by position" if layout is not None else "by name"
            raise MismatchError(
                f"{self.name}: its state was saved {how}, and now it is not kept so: bind the same optimizer, with the same modules beside it"
            )
        if layout is not None and layout != self._layout():
            raise MismatchError(
                f"{self.name}: its state was saved by position, and the optimizer's parameters are others now, or in another order"
            )
        if len(groups) != len(self.optimizer.param_groups):
            raise MismatchError(f"{self.name}: it has {len(self.optimizer.param_groups)} parameter groups, the checkpoint {len(groups)}")

    def finish(self) -> Any:
        assert self._loaded is not None
        tree, self._loaded = self._loaded.tree(), None
        tree.pop("layout", None)
        keys = self._keys()
        tree.setdefault("state", {})
        if keys is not None:
            positions = {name: index for index, name in enumerate(keys)}
            tree["state"] = {positions[name]: inner for name, inner in tree["state"].items() if name in positions}
            at = 0
            for group, own in zip(tree["param_groups"], self.optimizer.param_groups, strict=True):
                group["params"] = list(range(at, at + len(own["params"])))
                at += len(own["params"])
        self.optimizer.load_state_dict(tree)
        self._keep_dtypes(tree["state"])
        return self.optimizer

    def _keep_dtypes(self, saved: Mapping[int, Any]) -> None:
        """torch casts floating state to its parameter's dtype: fp32 moments of bf16 weights stay what they were."""
        parameters = self._parameters()
        for index, inner in saved.items():
            state = self.optimizer.state[parameters[index]] if isinstance(index, int) else {}
            for key, value in inner.items() if isinstance(inner, dict) else ():
                if isinstance(value, torch.Tensor) and isinstance(state.get(key), torch.Tensor) and state[key].dtype != value.dtype:
                    state[key] = value.to(state[key].device)
