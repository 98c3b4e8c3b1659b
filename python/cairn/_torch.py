"""Modules and optimizers of torch as items of a state. Imported only when torch has been."""

from __future__ import annotations

import hashlib
import operator
import re
import types
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from . import _arrays, _attachments, _tree
from ._errors import MismatchError, UnstorableError
from ._items import Found, Item, Loaded, Loader, Part, Stateful
from ._native import FRESH, FROZEN, OPTIMIZER, TRAINABLE, VOLATILE
from ._report import some

_WRAPPERS = {"DistributedDataParallel": "module", "DataParallel": "module", "OptimizedModule": "_orig_mod"}
_SHARDED = {"FullyShardedDataParallel", "FSDPModule", "DeepSpeedEngine"}


def item_of(name: str, target: Any) -> Item | None:
    """The item of a module, an optimizer or a loader; None for anything else."""
    if isinstance(target, torch.nn.Module):
        return _module_item(name, target)
    if isinstance(target, Optimizer):
        return OptimizerState(name, target)
    if isinstance(unwrap_scheduler(target), LRScheduler):
        return Scheduler(name, target)
    if isinstance(target, torch.amp.GradScaler):
        return Scaler(name, target)
    if isinstance(target, torch.utils.data.DataLoader) and not hasattr(target, "state_dict"):
        return Loader(name, target)
    return None


def _module_item(name: str, target: Any) -> Module:
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


class Names:
    """By which names modules that are bound know their parameters."""

    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules
        self._known: dict[int, str] = {}
        self._made_of: list[int] | None = None

    def known(self, anew: bool = False) -> dict[int, str]:
        """By the parameter's id: the same dict as long as the names are, looked at anew when a module was captured anew."""
        made_of = [module.captures for module in self._modules]
        if anew or made_of != self._made_of:
            self._made_of = made_of
            names: dict[int, str] = {}
            for module in self._modules:
                for name, parameter in module.parameters():
                    names.setdefault(id(parameter), name if module.name == "model" else f"{module.name}.{name}")
            self._known = self._known if names == self._known else names
        return self._known


# ------------------------------------------------------------------------------------------------------------------ modules


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
    if module._load_state_dict_pre_hooks or module._load_state_dict_post_hooks or module._state_dict_hooks or module._state_dict_pre_hooks:
        return False
    if [getattr(type(module), method) for method in _METHODS] == _OWN_METHODS:
        return True
    owners = [next(base for base in type(module).__mro__ if method in vars(base)) for method in _METHODS]
    return all(owner is torch.nn.Module or owner.__module__.startswith("torch.nn.modules.") for owner in owners)


def _structure_of(module: Any) -> list[Any] | None:
    """What a plain module's state_dict follows from, in objects that are the same ones as long as it does; None: it may follow from anything."""
    found: list[Any] = []
    for child in module.modules():
        if not _is_plain(child):
            return None
        found.append(child)
        for named in (child._parameters, child._buffers, child._modules):
            found += named
            found += named.values()
        found += child._non_persistent_buffers_set
        found += [tensor.requires_grad for tensor in child._parameters.values() if tensor is not None]
    return found


def _is_same(structure: list[Any] | None, earlier: list[Any] | None) -> bool:
    """Whether each object is the one that was there, which the earlier list keeps from going."""
    return structure is not None and earlier is not None and len(structure) == len(earlier) and all(map(operator.is_, structure, earlier))


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
        self.name, self.module = name, unwrap(name, module)
        self._wrapped = module
        self._loaded: Loaded | None = None
        self._copies: list[tuple[Any, Any]] = []
        self._metadata: Mapping[str, Any] = {}
        self.captures = 0  # how often it was looked at anew
        self._captured = Part()
        self._structure: list[Any] | None = None  # of the module when that was captured
        self._patterns: list[str] = []
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
        is_tied_anew = bool(self._captured.aliases) and _tied_patterns(self.module) != self._patterns
        if not _is_same(structure, self._structure) or is_tied_anew:
            self._structure, self._patterns, self._captured = structure, _tied_patterns(self.module), self._capture()
            self.captures += 1
        return self._captured

    def _capture(self) -> Part:
        tensors, aliases, others = self.split()
        part = Part([(name, tensor, _flags(tensor)) for name, tensor in tensors.items()], aliases, kinds={"": _tree.MODULE})
        part.values = {name: _tree.plain(f"{self.name}/{name}", value) for name, value in others.items()}
        if not self._is_plain():
            part.facts["versions"] = self._versions()
        return part

    def _is_plain(self) -> bool:
        return all(_is_plain(child) for child in self.module.modules())

    def _versions(self) -> dict[str, object]:
        """What load hooks ask for: the versions of the modules' state, other than the usual 1, by path."""
        said = getattr(self.module.state_dict(keep_vars=True), "_metadata", {})
        return {path: _tree.plain(f"{self.name}/{path}", dict(versions)) for path, versions in said.items() if versions != {"version": 1}}

    def prepare(self, found: Found) -> Part:
        tensors, aliases, others = self.split()
        self._copies = []
        if others or not self._is_plain():
            return self._prepare_loading(found, tensors)
        part = Part(aliases=aliases, notes=_notes(self.name, self._wrapped))
        for name, tensor in tensors.items():
            place = tensor.detach()
            if not _arrays.is_filled_in_place(place):
                place = torch.empty_like(tensor, device="cpu", memory_format=torch.contiguous_format)
                self._copies.append((tensor, place))
            part.tensors.append((name, place, _flags(tensor)))
        return part

    def _prepare_loading(self, found: Found, tensors: dict[str, Any]) -> Part:
        """Where the module has a say in loading: new memory, and what the checkpoint lacks is bound to be missed."""
        plain = {id(tensor) for child in self.module.modules() if _is_plain(child) for tensor in (*child._parameters.values(), *child._buffers.values())}
        shapes = {name: tensor for name, tensor in tensors.items() if name in found.tensors and id(tensor) in plain}
        self._loaded = Loaded(found, lambda name: _of_other_shape(shapes.get(name), found, name))
        self._metadata = found.facts.get("versions", {})
        part = self._loaded.part(0)
        part.notes = _notes(self.name, self._wrapped)
        part.tensors = [(name, array, (flags & FRESH) | (_flags(tensors[name]) if name in tensors else 0)) for name, array, flags in part.tensors]
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
        known = {self._key(clean(key)) for key in own}
        named |= {name: value for name, value in state.items() if name not in known}
        named_with_versions = type(own)(named)
        if hasattr(own, "_metadata"):
            named_with_versions._metadata = {**own._metadata, **{path: _tree.decode(versions) for path, versions in self._metadata.items()}}
        self.module.load_state_dict(named_with_versions, strict=False)


def _of_other_shape(tensor: Any, found: Found, name: str) -> Any:
    """The tensor, if a plain module's differs from the checkpoint, where load_state_dict would fail half-way."""
    return tensor if tensor is not None and tuple(tensor.shape) != tuple(found.tensors[name].shape) else None


class Scheduler(Stateful):
    """A learning rate scheduler. Functions among its attributes are code: the scheduler that is restored has its own."""

    def capture(self) -> Part:
        code = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)
        state = {name: value for name, value in self.target.state_dict().items() if not isinstance(value, code)}
        part = Part.of(_tree.flatten(self.name, state))
        part.facts["class"] = _class_of(unwrap_scheduler(self.target))
        return part

    def prepare(self, found: Found) -> Part:
        _check_class(unwrap_scheduler(self.target), found)
        return super().prepare(found)


class Scaler(Stateful):
    """A GradScaler: one that is off has no state, and takes none."""

    def prepare(self, found: Found) -> Part:
        part, is_on = super().prepare(found), self.target.is_enabled()
        if found.is_there and is_on and not found.tree:
            raise MismatchError(f"{self.name}: it was off when it was saved, and is on now: restore the others with items=...")
        if found.tree and not is_on:
            part.notes.append(f"{self.name}: it was on when it was saved, and is off now: its scale of {found.tree.get('scale')} is left out")
        return part


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


# --------------------------------------------------------------------------------------------------------------- optimizers


def unwrap_optimizer(optimizer: Any) -> Any:
    """The innermost one: what wrappers keep as .optimizer."""
    while isinstance(getattr(optimizer, "optimizer", None), Optimizer):
        optimizer = optimizer.optimizer
    return optimizer


def unwrap_scheduler(scheduler: Any) -> Any:
    """The innermost one: what wrappers keep as .scheduler."""
    while isinstance(getattr(scheduler, "scheduler", None), LRScheduler):
        scheduler = scheduler.scheduler
    return scheduler


def _class_of(target: Any) -> str:
    return type(target).__qualname__


def _check_class(target: Any, found: Found) -> None:
    """One of another class would take the state of its namesakes, or fail half-way. Checkpoints of earlier versions do not say what saved them."""
    saved, own = found.facts.get("class"), _class_of(target)
    if saved not in (None, own):
        raise MismatchError(f"{found.item}: saved by {saved}, and this one is {own}: restore the others with items=..., or load what fits by hand")


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
        self.names = Names([])
        self.is_scheduled = False  # by an entry of the state
        self._captured = Part()
        self._structure: list[Any] | None = None  # of the optimizer when that was captured
        self._loaded: Loaded | None = None
        self._loaded_keys: list[str] | None = None
        self._made_with: list[dict[str, object]] = []  # its groups' hyperparameters before it is restored
        self._notes: list[str] = []  # of the restore that was prepared

    def _parameters(self) -> list[Any]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _is_plain(self) -> bool:
        """Whether its state_dict is torch's, and no hook takes part."""
        kind = type(self.optimizer)
        if kind.state_dict is not Optimizer.state_dict or kind.load_state_dict is not Optimizer.load_state_dict:
            return False
        return not isinstance(self.optimizer, torch.optim.LBFGS) and not any(getattr(self.optimizer, hooks, None) for hooks in _HOOKS)

    def _keys(self) -> list[str] | None:
        """The parameters' names; None: their positions count."""
        if not self._is_plain():
            return None
        for state in self.optimizer.state.values():
            if any(isinstance(value, list | tuple | dict) for value in state.values()):
                return None  # of other parameters, too, for all that is known
        known = self.names.known()
        names = [known.get(id(parameter)) for parameter in self._parameters()]
        return None if None in names or len(set(names)) < len(names) else [name for name in names if name]

    def _layout(self) -> str:
        """What positions rest on: a digest of the names, as far as they are known, and the shapes."""
        known = self.names.known()
        rows = [f"{known.get(id(parameter), '')} {tuple(parameter.shape)}" for parameter in self._parameters()]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def _state(self, keys: list[str] | None) -> dict[str, Any]:
        """Its state_dict, with names for positions where they count."""
        state = self.optimizer.state_dict()
        if keys is None:
            return {**state, "layout": self._layout()}
        groups = [{**group, "params": [keys[index] for index in group["params"]]} for group in state["param_groups"]]
        return {"state": {keys[index]: inner for index, inner in state["state"].items()}, "param_groups": groups}

    def is_quiet(self) -> bool:
        return self._is_plain()

    def capture(self) -> Part:
        """Of what was captured before the groups' values alone are looked at anew, as long as the tensors and the parameters are the same."""
        structure = self._structure_now()
        if not _is_same(structure, self._structure):
            self._structure, self._captured = structure, self._capture()
        elif structure is not None:
            groups = self._groups()
            if groups is None:
                return self._capture()
            self._captured = replace(self._captured, values={**self._captured.values, "param_groups": groups})
        return self._captured

    def _capture(self) -> Part:
        part = Part.of(_tree.flatten(self.name, self._state(self._keys())), OPTIMIZER)
        part.facts["class"] = _class_of(self.optimizer)
        known = self.names.known()
        part.unnamed = [parameter for parameter in self._parameters() if id(parameter) not in known]
        return part

    def _structure_now(self) -> list[Any] | None:
        """What its state_dict follows from but for the groups' values, in objects that are the same ones as long as it does; None: it may follow from anything."""
        if not self._is_plain():
            return None
        found: list[Any] = [self.names.known()]
        for group in self.optimizer.param_groups:
            found += group["params"]
            found.append(None)  # where the next group begins
        for parameter, state in self.optimizer.state.items():
            found.append(parameter)
            found += state
            found += state.values()
            if not all(map(_is_settled, state.values())):
                return None
        return found

    def _groups(self) -> list[object] | None:
        """The groups as they are stored; None: a tensor is among their values."""
        saved: Any = self._captured.values.get("param_groups")
        if saved is None:
            return None
        groups = [{key: value for key, value in group.items() if key != "params"} for group in self.optimizer.param_groups]
        flat = _tree.flatten(self.name, {"param_groups": groups})
        fresh: Any = flat.values.get("param_groups")
        return None if flat.tensors else [{**group, "params": old["params"]} for group, old in zip(fresh, saved, strict=True)]

    def prepare(self, found: Found) -> Part:
        self.names.known(anew=True)
        if not found.tree:  # something to be missed
            return Part([("state", torch.empty(0, dtype=torch.uint8), OPTIMIZER)])
        _check_class(self.optimizer, found)
        keys = None if "layout" in found.tree else self._keys()
        notes = self._check(found, keys)
        own = _tree.flatten(self.name, self._state(keys)).tensors
        self._loaded, self._loaded_keys = Loaded(found, lambda name: _unless_cast(own.get(name), found, name)), keys
        self._made_with = [_hyperparameters(group) for group in self.optimizer.param_groups]
        part = self._loaded.part(OPTIMIZER)
        part.notes += notes
        self._notes = part.notes
        return part

    def _check(self, found: Found, keys: list[str] | None) -> list[str]:
        """Refuses what cannot be told apart, before anything is touched. Returns what a user should know."""
        layout, groups = found.tree.get("layout"), _groups_of(found)
        own = self.optimizer.param_groups
        if layout is None and keys is None:
            raise MismatchError(f"{self.name}: its state was saved by parameter names, and now they are not known: bind the modules that have them beside it")
        if layout is not None and layout != self._layout():
            raise MismatchError(f"{self.name}: its state was saved by position, and the optimizer's parameters are others now, or in another order")
        if len(groups) != len(own):
            raise MismatchError(f"{self.name}: it has {len(own)} parameter groups, the checkpoint {len(groups) or 'none'}")
        return [] if keys is None else self._check_groups(groups, keys)

    def _check_groups(self, groups: list[Any], keys: list[str]) -> list[str]:
        """A parameter stays in its group, for schedulers count these; within one the order is free."""
        saved = {name: index for index, group in enumerate(groups) for name in group["params"]}
        sizes = [index for index, group in enumerate(self.optimizer.param_groups) for _ in group["params"]]
        own = dict(zip(keys, sizes, strict=True))
        moved = [f"{name} from {saved[name]} to {own[name]}" for name in own if name in saved and saved[name] != own[name]]
        if moved:
            raise MismatchError(f"{self.name}: parameters moved between its groups: {some(moved, 64)}")
        new, gone = [name for name in own if name not in saved], [name for name in saved if name not in own]
        notes = [f"{self.name}: not in the checkpoint, without state as yet: {some(new)}"] if new else []
        return notes + ([f"{self.name}: only in the checkpoint, left out: {some(gone)}"] if gone else [])

    def finish(self) -> Any:
        assert self._loaded is not None
        tree, self._loaded = self._loaded.tree(), None
        tree.pop("layout", None)
        tree.setdefault("state", {})
        self._tell_hyperparameters(tree["param_groups"])
        if self._loaded_keys is not None:
            self._number(tree, self._loaded_keys)
        self.optimizer.load_state_dict(tree)
        if type(self.optimizer).load_state_dict is Optimizer.load_state_dict:
            self._keep_dtypes(tree["state"])
        return self.optimizer

    def _tell_hyperparameters(self, groups: list[dict[str, Any]]) -> None:
        """Those of the code that give way to saved ones."""
        told = []
        for index, (group, made) in enumerate(zip(groups, self._made_with, strict=True)):
            where = f"group {index}: " if len(groups) > 1 else ""
            told += [f"{where}{key} {old}, made with {new}" for key, old, new in _unlike(_hyperparameters(group), made, self.is_scheduled)]
        if told:
            self._notes.append(f"{self.name}: as saved, not as it was made: {some(told, between='; ')}")

    def _number(self, tree: dict[str, Any], keys: list[str]) -> None:
        """Puts positions back for names."""
        positions = {name: index for index, name in enumerate(keys)}
        tree["state"] = {positions[name]: inner for name, inner in tree["state"].items() if name in positions}
        at = 0
        for group, own in zip(tree["param_groups"], self.optimizer.param_groups, strict=True):
            group["params"] = list(range(at, at + len(own["params"])))
            if "param_names" in own:
                group["param_names"] = own["param_names"]
            at += len(own["params"])

    def _keep_dtypes(self, saved: Mapping[Any, Any]) -> None:
        """torch casts floating state to its parameter's dtype: fp32 moments of bf16 weights stay what they were."""
        parameters = self._parameters()
        for index, inner in saved.items():
            if isinstance(index, int):
                state = self.optimizer.state
                state[parameters[index]] = _uncast(state[parameters[index]], inner)


def _hyperparameters(group: Mapping[str, Any]) -> dict[str, object]:
    """A group's, as plain values."""
    return {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in group.items() if key not in ("params", "param_names")}


def _unlike(saved: Mapping[str, object], made: Mapping[str, object], is_scheduled: bool) -> Iterator[tuple[str, object, object]]:
    """What differs between two groups that have it, but for what schedulers change all the time: a rate counts as it was at first."""
    changing = {"initial_lr"}
    if "base_momentum" in {*saved, *made}:
        changing |= {"momentum", "betas"}
    if is_scheduled and "initial_lr" not in {*saved, *made}:
        changing.add("lr")
    for key in made:
        if key in saved and key not in changing:
            old, new = (group.get("initial_lr", group[key]) if key == "lr" else group[key] for group in (saved, made))
            if old != new:
                yield key, old, new


def _is_settled(value: object) -> bool:
    """Whether it is a tensor, or a value that stays what it is as long as it is the same object."""
    return isinstance(value, torch.Tensor) or type(value) in _tree.PLAIN


def _groups_of(found: Found) -> list[Any]:
    """The parameter groups as a checkpoint holds them: a list, or by position where a tensor stands in one of them."""
    groups = found.tree.get("param_groups")
    if isinstance(groups, dict):
        return [groups[str(place)] for place in range(len(groups))]
    return groups if isinstance(groups, list) else []


def _unless_cast(tensor: Any, found: Found, name: str) -> Any:
    """An optimizer's own tensor, to be filled; one of another dtype is replaced, as load_state_dict would."""
    stored = found.tensors[name].dtype
    return tensor if tensor is not None and _arrays.buffer_of(tensor, f"{found.item}/{name}").dtype == stored else None


def _uncast(loaded: Any, saved: Any) -> Any:
    """What was loaded, with the saved tensors where their dtype was changed."""
    if isinstance(loaded, torch.Tensor) and isinstance(saved, torch.Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device)
    if isinstance(loaded, dict) and isinstance(saved, dict):
        return {key: _uncast(value, saved[key]) if key in saved else value for key, value in loaded.items()}
    if type(loaded) in (list, tuple) and type(saved) is type(loaded) and len(loaded) == len(saved):
        return type(loaded)(_uncast(*pair) for pair in zip(loaded, saved, strict=True))
    return loaded
