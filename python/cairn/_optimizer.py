"""Optimizers of torch, and what goes with them - schedulers, scalers -, as items of a state. Imported only when torch has been."""

from __future__ import annotations

import hashlib
import re
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from . import _arrays, _native, _tree
from ._errors import MismatchError, not_yet
from ._items import Found, Loaded, Part, Stateful
from ._native import OPTIMIZER
from ._report import some

if TYPE_CHECKING:
    from ._torch import Module


class Names:
    """By which names modules that are bound know their parameters."""

    def __init__(self, modules: list[Module]) -> None:
        self._modules = modules
        self._known: dict[int, str] = {}
        self._all: dict[int, list[str]] = {}
        self._made_of: list[int] | None = None

    def known(self, anew: bool = False) -> dict[int, str]:
        """By the parameter's id: the same dict as long as the names are, looked at anew when a module was captured anew."""
        made_of = [module.captures for module in self._modules]
        if anew or made_of != self._made_of:
            self._made_of = made_of
            self._all = {}
            for module in self._modules:
                for name, parameter in module.parameters():
                    self._all.setdefault(id(parameter), []).append(name if module.name == "model" else f"{module.name}.{name}")
            names = {parameter: same[0] for parameter, same in self._all.items()}
            self._known = self._known if names == self._known else names
        return self._known

    def as_stored(self, parameter: int, stored: set[str]) -> str:
        """That of its names under which a checkpoint has it; else the first. It was looked at before."""
        return next((name for name in self._all[parameter] if name in stored), self._all[parameter][0])


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


class Scheduler(Stateful):
    """A learning rate scheduler. Functions among its attributes are code: the scheduler that is restored has its own."""

    def capture(self) -> Part:
        part = Part.of(_tree.flatten(self.name, _without_code(self._state())))
        part.facts["class"] = _class_of(unwrap_scheduler(self.target))
        return part

    def prepare(self, found: Found) -> Part:
        _check_class(unwrap_scheduler(self.target), found)
        part = super().prepare(found)
        self._made_with, self._notes = self._schedule(self.target.state_dict()), part.notes
        return part

    def finish(self) -> Any:
        assert self._loaded is not None
        saved = self._schedule(self._loaded.tree())
        told = [f"{key} {saved[key]}, made with {made}" for key, made in self._made_with.items() if key in saved and saved[key] != made]
        if told:
            self._notes.append(_as_saved(self.name, told))
        return super().finish()

    def _schedule(self, state: Mapping[str, Any]) -> dict[str, object]:
        """What one of torch's own was made with: what of its state no step changes. What others keep there is theirs to know."""
        is_known = type(unwrap_scheduler(self.target)).__module__ == LRScheduler.__module__
        return dict(_schedule_in(state)) if is_known else {}


_CODE = (types.FunctionType, types.MethodType, types.BuiltinFunctionType)


def _without_code(state: Mapping[str, Any]) -> dict[str, Any]:
    """Also of schedulers within it."""
    return {
        name: [_without_code(inner) if isinstance(inner, Mapping) else inner for inner in value] if name == "_schedulers" and type(value) is list else value
        for name, value in state.items()
        if not isinstance(value, _CODE)
    }


_PROGRESS = {"last_epoch", "best", "num_bad_epochs", "cooldown_counter", "T_cur", "T_i", "base_lrs", "lr_lambdas"}  # base_lrs: its optimizer's to tell


def _schedule_in(state: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, object]]:
    """By name; those of schedulers within it by their place before."""
    for key, value in state.items():
        if key == "_schedulers":
            for place, inner in enumerate(value):
                yield from _schedule_in(inner, f"{above}{place}.")
        elif key == "_milestones" or not (key in _PROGRESS or key.startswith("_")):
            held = value if isinstance(value, list | tuple) else (value,)
            if not any(isinstance(each, torch.Tensor) for each in held):
                yield above + key.removeprefix("_"), value


def _as_saved(name: str, told: list[str]) -> str:
    return f"{name}: as saved, not as it was made: {some(told, between='; ')}"


class Scaler(Stateful):
    """A GradScaler: one that is off has no state, and takes none."""

    def prepare(self, found: Found) -> Part:
        part, is_on = super().prepare(found), self.target.is_enabled()
        if found.is_there and is_on and not found.tree:
            raise MismatchError(f"{self.name}: it was off when it was saved, and is on now: restore the others with items=...")
        if found.tree and not is_on:
            part.notes.append(f"{self.name}: it was on when it was saved, and is off now: its scale of {found.tree.get('scale')} is left out")
        return part


def is_same(structure: list[Any] | None, earlier: list[Any] | None) -> bool:
    """Whether each object is the one that was there, which the earlier list keeps from going."""
    return structure is not None and earlier is not None and _native.same_objects(structure, earlier)


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

    def _told_names(self) -> Iterator[tuple[Any, str]]:
        """Its parameters, with the names that it was told itself, if it was."""
        for group in self.optimizer.param_groups:
            names = group.get("param_names") or [""] * len(group["params"])
            yield from zip(group["params"], map(_without_wrappers, names), strict=True)

    def _is_plain(self) -> bool:
        """Whether its state_dict is torch's, and no hook takes part."""
        kind = type(self.optimizer)
        if kind.state_dict is not Optimizer.state_dict or kind.load_state_dict is not Optimizer.load_state_dict:
            return False
        return not isinstance(self.optimizer, torch.optim.LBFGS) and not self._has_hooks()

    def _has_hooks(self) -> bool:
        return any(getattr(self.optimizer, hooks, None) for hooks in _HOOKS)

    def _keys(self) -> list[str] | None:
        """The parameters' names; None: their positions count."""
        if not self._is_plain():
            return None
        for parameter, state in self.optimizer.state.items():
            if not isinstance(parameter, torch.Tensor) or not isinstance(state, dict):
                return None  # of none of them
            if any(isinstance(value, list | tuple | dict) for value in state.values()):
                return None  # of other parameters, too, for all that is known
        known = self.names.known()
        names = [known.get(id(parameter)) for parameter in self._parameters()]
        return None if None in names or len(set(names)) < len(names) else [name for name in names if name]

    def _keys_in(self, found: Found) -> list[str] | None:
        """The same, as a checkpoint calls them: of the names of one that several modules have, or that is tied, it has one."""
        stored = {name for group in _groups_of(found) for name in group["params"]}
        return None if self._keys() is None else [self.names.as_stored(id(parameter), stored) for parameter in self._parameters()]

    def _layout(self) -> str:
        """What positions rest on: a digest of the names, as far as they are known, and the shapes."""
        known = self.names.known()
        if any(map(torch.nn.parameter.is_lazy, self._parameters())):
            raise not_yet(f"{self.name}: it trains a lazy module's parameter, which has no shape yet: run one batch through the module first")
        rows = [f"{known.get(id(parameter), name)} {tuple(parameter.shape)}" for parameter, name in self._told_names()]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    def _state(self, keys: list[str] | None) -> dict[str, Any]:
        """Its state_dict, with names for positions where they count."""
        state = self.optimizer.state_dict()
        if type(self.optimizer).state_dict is Optimizer.state_dict and not self._has_hooks():  # which may want the names
            state["param_groups"] = [_nameless(group) for group in state["param_groups"]]
        if keys is None:
            return {**state, "layout": self._layout()}
        groups = [{**group, "params": [keys[index] for index in group["params"]]} for group in state["param_groups"]]
        return {"state": {keys[index]: inner for index, inner in state["state"].items()}, "param_groups": groups}

    def is_quiet(self) -> bool:
        return self._is_plain()

    def capture(self) -> Part:
        """Of what was captured before the groups' values alone are looked at anew, as long as the tensors and the parameters are the same."""
        structure = self._structure_now()
        if not is_same(structure, self._structure):
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
            if not isinstance(state, dict):
                return None
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
        groups: Any = [{key: value for key, value in group.items() if key not in _OF_PARAMETERS} for group in self.optimizer.param_groups]
        if not all(_is_plain_value(value) for group in groups for value in group.values()):
            flat = _tree.flatten(self.name, {"param_groups": groups})
            if flat.tensors:
                return None
            groups = flat.values["param_groups"]
        return [{**group, "params": old["params"]} for group, old in zip(groups, saved, strict=True)]

    def prepare(self, found: Found) -> Part:
        self.names.known(anew=True)
        if not found.tree:  # something to be missed
            return Part([("state", torch.empty(0, dtype=torch.uint8), OPTIMIZER)])
        _check_class(self.optimizer, found)
        keys = None if "layout" in found.tree else self._keys_in(found)
        notes = self._check(found, keys)
        own = _tree.flatten(self.name, self._state(keys)).tensors
        self._loaded, self._loaded_keys = Loaded(found, lambda name: _unless_unlike(own.get(name), found, name), self._beside(found, keys)), keys
        self._made_with = [_hyperparameters(group) for group in self.optimizer.param_groups]
        part = self._loaded.part(OPTIMIZER)
        part.notes += notes
        self._notes = part.notes
        return part

    def _beside(self, found: Found, keys: list[str] | None) -> Callable[[str], Any]:
        """By the name of a tensor of its state: the parameter that load_state_dict would put it beside."""
        if type(self.optimizer).load_state_dict is not Optimizer.load_state_dict:
            return lambda name: None
        parameters = self._parameters()
        owners = {_tree.join(("state", key)): parameters[place] for place, key in enumerate(keys or map(str, range(len(parameters))))}

        def beside(name: str) -> Any:
            path, _, kind = name.rpartition("/")
            owner = owners.get(path)
            return owner if kind != "step" and owner is not None and tuple(owner.shape) == tuple(found.tensors[name].shape) else None

        return beside

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
        sizes, saved = [len(group["params"]) for group in own], [len(group["params"]) for group in groups]
        if keys is None and sizes != saved:
            raise MismatchError(f"{self.name}: its parameter groups are of {_listed(sizes)} parameters, the checkpoint's of {_listed(saved)}")
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
            self._notes.append(_as_saved(self.name, told))

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


_WRAPPED = re.compile(r"(^|\.)(module|_orig_mod)\.(?=.)")


def _without_wrappers(name: str) -> str:
    """A parameter's name as an optimizer was told it by a wrapper."""
    shorter = _WRAPPED.sub(r"\1", name)
    return name if shorter == name else _without_wrappers(shorter)


def _nameless(group: dict[str, Any]) -> dict[str, Any]:
    """Without the names that it was told: they are those of this process, with what wrappers put before them."""
    return {key: value for key, value in group.items() if key != "param_names"}


_OF_PARAMETERS = ("params", "param_names")  # what else a group has are its hyperparameters


def _is_plain_value(value: object) -> bool:
    """Whether it is stored as it is."""
    return type(value) in _tree.PLAIN or (type(value) is tuple and all(type(each) in _tree.PLAIN for each in value))


def _hyperparameters(group: Mapping[str, Any]) -> dict[str, object]:
    """A group's, as plain values."""
    return {key: value.tolist() if isinstance(value, torch.Tensor) else value for key, value in group.items() if key not in _OF_PARAMETERS}


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


def _listed(sizes: list[int]) -> str:
    return " and ".join(map(str, sizes))


def _unless_unlike(tensor: Any, found: Found, name: str) -> Any:
    """An optimizer's own tensor, to be filled; one of another dtype or shape is replaced, as load_state_dict would."""
    stored = found.tensors[name].dtype, tuple(found.tensors[name].shape)
    return tensor if tensor is not None and _arrays.stored_as(tensor, f"{found.item}/{name}") == stored else None


def _uncast(loaded: Any, saved: Any) -> Any:
    """What was loaded, with the saved tensors where their dtype was changed."""
    if isinstance(loaded, torch.Tensor) and isinstance(saved, torch.Tensor):
        return loaded if loaded.dtype == saved.dtype else saved.to(loaded.device)
    if isinstance(loaded, dict) and isinstance(saved, dict):
        return {key: _uncast(value, saved[key]) if key in saved else value for key, value in loaded.items()}
    if type(loaded) in (list, tuple) and type(saved) is type(loaded) and len(loaded) == len(saved):
        return type(loaded)(_uncast(*pair) for pair in zip(loaded, saved, strict=True))
    return loaded
