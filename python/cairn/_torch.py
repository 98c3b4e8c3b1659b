"""Modules of torch as items of a state, and which item an object of torch's is. Imported only when torch has been."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from . import _arrays, _attachments, _device, _tree
from ._errors import UnstorableError
from ._items import Found, Item, Loaded, Loader, Part
from ._native import FRESH, FROZEN, TRAINABLE, VOLATILE
from ._optimizer import Names, OptimizerState, Scaler, Scheduler, is_same, unwrap_optimizer, unwrap_scheduler

_WRAPPERS = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}
_SHARDED = {"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine"}


def item_of(name: str, target: Any) -> Item | None:
    """The item of a module, an optimizer or a loader; None for anything else."""
    if isinstance(target, torch.nn.Module):
        return module_item(name, target)
    if isinstance(target, Optimizer):
        return OptimizerState(name, target)
    if isinstance(unwrap_scheduler(target), LRScheduler):
        return Scheduler(name, target)
    if isinstance(target, torch.amp.GradScaler):
        return Scaler(name, target)
    if isinstance(target, torch.utils.data.DataLoader) and not hasattr(target, "state_dict"):
        return Loader(name, target)
    return None


def module_item(name: str, target: Any) -> Module:
    if _attachments.is_peft(unwrap(name, target)):
        from ._peft import Adapter

        return Adapter(name, target)
    return Module(name, target)


def acquaint(items: Iterable[Item]) -> None:
    """Tells optimizers who knows the names of their parameters, and modules what others save of theirs."""
    modules = [item for item in items if isinstance(item, Module)]
    names = Names(modules)
    scheduled = {id(unwrap_optimizer(getattr(unwrap_scheduler(item.target), "optimizer", None))) for item in items if isinstance(item, Scheduler)}
    for item in items:
        if isinstance(item, OptimizerState):
            item.names, item.is_scheduled = names, id(item.optimizer) in scheduled
    for module in modules:
        module.saved_elsewhere = {id(parameter) for other in modules if type(other) is Module and other is not module for _, parameter in other.parameters()}


def bare(module: Any) -> Any:
    """The module without wrappers."""
    while (inner := _WRAPPERS.get(type(module).__name__)) and hasattr(module, inner):
        module = getattr(module, inner)
    return module


def unwrap(name: str, module: Any) -> Any:
    """The module without wrappers. Raises UnstorableError for what lies on many ranks."""
    module = bare(module)
    for path, child in module.named_modules():
        if {kind.__name__ for kind in type(child).__mro__} & _SHARDED:
            where = f"{name}/{path}" if path else name
            raise UnstorableError(f"{where}: a {type(child).__name__} lies on many ranks; saving sharded states is not supported yet")
    return module


def _prefixes(module: Any) -> list[tuple[str, str]]:
    """What wrappers inside of the module add to the names: longest first."""
    found = []
    for path, child in module.named_modules():
        inner = _WRAPPERS.get(type(child).__name__)
        if inner and path:
            found.append((f"{path}.{inner}.", f"{path}."))
    return sorted(found, key=lambda pair: -len(pair[0]))


_METHODS = ("state_dict", "load_state_dict", "get_extra_state", "_save_to_state_dict", "_load_from_state_dict")
_OWN_METHODS = [getattr(torch.nn.Module, method) for method in _METHODS]


def _is_plain(module: Any) -> bool:
    """Whether the state of this module, without its children, is its parameters and buffers as they lie in memory: no hook and no method of its own takes
    part in loading."""
    return not _has_hooks(module) and _is_plain_kind(type(module))


def _has_hooks(module: Any) -> bool:
    return bool(module._load_state_dict_pre_hooks or module._load_state_dict_post_hooks or module._state_dict_hooks or module._state_dict_pre_hooks)


def _is_plain_kind(kind: Any) -> bool:
    """Whether its methods that take part are torch's own."""
    if [getattr(kind, method) for method in _METHODS] == _OWN_METHODS:
        return True
    owners = [next(base for base in kind.__mro__ if method in vars(base)) for method in _METHODS]
    return all(owner is torch.nn.Module or owner.__module__.startswith("torch.nn.modules.") for owner in owners)


def _is_plain_tensor(tensor: Any) -> bool:
    """Whether no class of somebody's own has a say in what is copied into it."""
    return type(tensor) in (torch.Tensor, torch.nn.Parameter)


def _structure_of(module: Any) -> list[Any] | None:
    """What a plain module's state_dict, and which of it is tied, follows from, in objects that are the same ones as long as it does; None: it may follow from
    anything."""
    found: list[Any] = []
    kinds: dict[type, bool] = {}  # whether they are plain
    seen: set[int] = set()
    pending = [module]
    while pending:
        child = pending.pop()
        if child is None or id(child) in seen:
            continue
        seen.add(id(child))
        kind = type(child)
        if kind not in kinds:
            kinds[kind] = _is_plain_kind(kind)
        if not kinds[kind] or _has_hooks(child):
            return None
        found.append(child)
        for named in (child._parameters, child._buffers, child._modules):
            if named:
                found += named.keys()
                found += named.values()
        found += child._non_persistent_buffers_set
        found += [tensor.requires_grad for tensor in child._parameters.values() if tensor is not None]
        if hasattr(kind, _TIED) or _TIED in vars(child):
            found += getattr(child, _TIED, None) or ()
        pending += child._modules.values()
    return found


def _filled_directly(module: Any) -> set[int]:
    """The ids of parameters and buffers of which a plain module, in none but plain ones, makes its state."""
    found: set[int] = set()
    pending = [module]
    while pending:
        child = pending.pop()
        if _is_plain(child):
            found.update(map(id, (*child._parameters.values(), *child._buffers.values())))
            pending += [inner for inner in child._modules.values() if inner is not None]
    return found


_TIED = "_tied_weights_keys"  # of models of transformers


def _tied_patterns(module: Any) -> list[str]:
    """Names, or patterns of names, that stand for another's weights, as transformers' models say."""
    found: list[str] = []
    for path, child in module.named_modules():
        keys = getattr(child, _TIED, None) or ()
        found += [f"{path}.{key}" if path else key for key in keys]
    return found


class Module:
    """A module's parameters and buffers, under the names that it has without wrappers. Tied ones are stored once."""

    rank = 0

    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module = name, unwrap(name, module)
        self._wrapped = module
        self._loaded: Loaded | None = None
        self._copies: list[tuple[Any, Any]] = []
        self._metadata: Mapping[str, Any] = {}
        self.captures = 0  # how often it was looked at anew
        self._captured = Part()
        self._structure: list[Any] | None = None  # of the module when that was captured
        self.saved_elsewhere: set[int] = set()  # parameters that other entries save

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

    def split(self) -> tuple[dict[str, Any], list[tuple[str, str]], dict[str, object]]:
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

    def is_quiet(self) -> bool:
        return type(self) is Module and _structure_of(self.module) is not None

    def capture(self) -> Part:
        """What was captured before, as long as the module is made of the same parts."""
        structure = _structure_of(self.module) if type(self) is Module else None
        if not is_same(structure, self._structure):
            self._structure, self._captured = structure, self._capture()
            self.captures += 1
        return self._captured

    def _capture(self) -> Part:
        tensors, aliases, others = self.split()
        part = Part([(name, tensor, _flags(tensor)) for name, tensor in tensors.items()], aliases, kinds={"": _tree.MODULE})
        part.forms = {name: form for name, tensor in tensors.items() if (form := _arrays.form_of(tensor)) != "torch"}
        part.values = {name: _tree.plain(f"{self.name}/{name}", value) for name, value in others.items()}
        if not self._is_plain():
            part.facts["versions"] = self._versions()
        if getattr(self.module, "_hf_peft_config_loaded", False) is True:
            part.notes.append(
                f"{self.name}: adapters that transformers added (add_adapter) change the names of its weights, so from_pretrained does not find them in this "
                "folder; make the model by peft.get_peft_model for one that it opens"
            )
        return part

    def _is_plain(self) -> bool:
        return all(_is_plain(child) for child in self.module.modules())

    def _versions(self) -> dict[str, object]:
        """What load hooks ask for: the versions of the modules' state, other than the usual 1, by path."""
        said = getattr(self.module.state_dict(keep_vars=True), "_metadata", {})
        return {path: _tree.plain(f"{self.name}/{path}", dict(versions)) for path, versions in said.items() if versions != {"version": 1}}

    def to_be_loaded(self, tensors: Mapping[str, Any]) -> dict[str, Any]:
        """Copies of those in whose loading somebody's code has a say - a hook, a method, a class of tensors -, to be filled and given to `load`."""
        own = _filled_directly(self.module)
        return {
            name: tensor.detach().as_subclass(torch.Tensor).clone()
            for name, tensor in tensors.items()
            if id(tensor) not in own or not _is_plain_tensor(tensor)
        }

    def needless(self, tensors: Mapping[str, Any]) -> set[str]:
        """Names of those that a source of weights need not have."""
        return set()

    def load(self, state: dict[str, Any], versions: Mapping[str, Any]) -> None:
        """Through the module's load_state_dict: some of its state, by stored name. versions: of its modules' state, other than the usual 1, by path."""
        self._metadata = versions
        self._load(state)

    def prepare(self, found: Found) -> Part:
        tensors, aliases, others = self.split()
        tensors, aliases = _named_as_stored(tensors, aliases, found)
        self._copies = []
        if others or not self._is_plain() or not all(map(_is_plain_tensor, tensors.values())):
            return self._prepare_loading(found, tensors)
        part = Part(aliases=aliases, notes=_notes(self.name, self._wrapped))
        for name, tensor in tensors.items():
            place = tensor.detach()
            if not _device.is_filled_in_place(place):
                place = torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format)
                self._copies.append((tensor, place))
            part.tensors.append((name, place, _flags(tensor)))
        return part

    def _prepare_loading(self, found: Found, tensors: dict[str, Any]) -> Part:
        """Where the module has a say in loading: new memory, and what the checkpoint lacks is bound to be missed."""
        plain = {id(tensor) for child in self.module.modules() if _is_plain(child) for tensor in (*child._parameters.values(), *child._buffers.values())}
        shapes = {name: tensor for name, tensor in tensors.items() if name in found.tensors and id(tensor) in plain}
        self._loaded = Loaded(found, lambda name: _unlike(shapes.get(name), found, name))
        self._metadata = found.facts.get("versions", {})
        part = self._loaded.part(0)
        part.notes = _notes(self.name, self._wrapped)
        part.tensors = [(name, array, (flags & FRESH) | (_flags(tensors[name]) if name in tensors else 0)) for name, array, flags in part.tensors]
        for name, tensor in tensors.items():
            if name not in found.tensors:
                _arrays.check_torch(tensor, f"{self.name}/{name}")
                part.tensors.append((name, tensor.detach(), _flags(tensor)))
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
        known = {self._key(clean(key)) for key in own}
        named |= {name: value for name, value in state.items() if name not in known}
        named_with_versions = type(own)(named)
        if hasattr(own, "_metadata"):
            named_with_versions._metadata = {**own._metadata, **{path: _tree.decode(versions) for path, versions in self._metadata.items()}}
        self.module.load_state_dict(named_with_versions, strict=False)


def _unlike(tensor: Any, found: Found, name: str) -> Any:
    """The tensor, if a plain module's differs from the checkpoint in dtype or shape, where load_state_dict would cast in silence or fail half-way."""
    stored = found.tensors[name].dtype, tuple(found.tensors[name].shape)
    return tensor if tensor is not None and _arrays.stored_as(tensor, f"{found.item}/{name}") != stored else None


def _named_as_stored(
    tensors: dict[str, Any], aliases: list[tuple[str, str]], found: Found
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Tied tensors by that of their names which a checkpoint has: which one is the first follows from the order of a module's parts."""
    names = {first: [first] for first in tensors}
    for name, first in aliases:
        names[first].append(name)
    stored = {first: next((name for name in same if name in found.tensors), first) for first, same in names.items()}
    return {stored[first]: tensor for first, tensor in tensors.items()}, [
        (name, stored[first]) for first, same in names.items() for name in same if name != stored[first]
    ]


def _notes(name: str, module: Any) -> list[str]:
    """DDP puts gradients into other buckets after the first backward pass of a process. A sum of three ranks or more depends on the place in the bucket."""
    ddp = torch.nn.parallel.DistributedDataParallel
    if not isinstance(module, ddp) or torch.distributed.get_world_size(module.process_group) < 3:
        return []
    if module.find_unused_parameters or getattr(module, "_has_rebuilt_buckets", False):
        return []
    return [
        f"{name}: DistributedDataParallel sums the gradients of a process's first step in another order, so the last bits may differ after a resume: give it "
        "find_unused_parameters=True, or do one step before `restore`"
    ]


def _matches(name: str, patterns: list[str]) -> bool:
    return any(name == pattern or re.search(pattern, name) for pattern in patterns)


def _flags(tensor: Any) -> int:
    if not isinstance(tensor, torch.nn.Parameter):
        return VOLATILE
    return TRAINABLE if tensor.requires_grad else FROZEN
