"""What besides the state decides which bits a run computes: versions, switches, world size - recorded with every checkpoint, compared at a restore."""

from __future__ import annotations

import logging
import math
import platform
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from ._native import variables, version

_PACKAGES = ("torch", "numpy", "jax", "jaxlib", "optax", "flax", "transformers", "peft", "torchdata", "accelerate")
VARIABLES = ("CUBLAS_WORKSPACE_CONFIG", "PYTHONHASHSEED", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NCCL_ALGO", "NCCL_PROTO", "XLA_FLAGS", "TF32_OVERRIDE")
_PYTHON, _MACHINE = platform.python_version(), platform.machine()
_OPTION = re.compile(r"--?[A-Za-z]")  # "-1" is a number
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+"), re.compile(r"[A-Z]+|[a-z]+")  # of a name: "accessToken", "APIKey", "HF_TOKEN"; and "HFtoken"
_SECRETS = frozenset("token key apikey secret secrets password passwords passwd pwd credential credentials".split())  # tokens and keys are counted things
_PASSWORD = re.compile(r"(://[^/@\s:]*):[^/\s]*@")  # of a URL
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
REDACTED = "(redacted)"
_NO_NUMBERS = ("nan", "inf", "-inf")

log = logging.getLogger("cairn")


def environment() -> dict[str, object]:
    """Facts of this process, flat: {"python": "3.11.7", "torch": "2.13.0", "torch.deterministic_algorithms": False, ...}."""
    facts: dict[str, object] = {"cairn": version(), "python": _PYTHON, "machine": _MACHINE, "world_size": world_size()}
    for package in _PACKAGES:
        said = getattr(sys.modules.get(package), "__version__", None)
        if isinstance(said, str):
            facts[package] = str(said)  # torch's is a class of its own
    return facts | variables(VARIABLES) | _torch_facts()


def world_size() -> int:
    """Processes that train together, by torch.distributed; 1 where nobody has begun that."""
    torch = sys.modules.get("torch")
    distributed = getattr(torch, "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return int(distributed.get_world_size())
    return 1


def _torch_facts() -> dict[str, object]:
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return {}
    facts: dict[str, object] = {
        "torch.threads": torch.get_num_threads(),
        "torch.deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch.float32_matmul_precision": torch.get_float32_matmul_precision(),
        "torch.cudnn.deterministic": torch.backends.cudnn.deterministic,
        "torch.cudnn.benchmark": torch.backends.cudnn.benchmark,
    }
    if (torch.version.cuda or torch.version.hip) and torch.cuda.is_available():
        facts |= {"torch.cuda": torch.version.cuda, "gpu": torch.cuda.get_device_name(), "gpus": torch.cuda.device_count()}
    return facts


def arguments(command: Sequence[str] | None = None) -> dict[str, object]:
    """The command line by option, with secrets redacted: {"script": "train.py", "--lr": "0.1", "--bf16": True, "1": "data.txt"}. An option's value is what
    follows it, unless that is an option, too; what is given several times is a list; what follows no option is told by its place. The same
    dict for the same command: it is not to be changed."""
    return _arguments(tuple(command if command is not None else sys.argv or [""]))


@cache
def _arguments(command: tuple[str, ...]) -> dict[str, object]:
    script, *words = command
    found: dict[str, object] = {"script": script}
    option: str | None = None
    for place, word in enumerate(words, 1):
        name, equals, value = word.partition("=")
        if _OPTION.match(word):
            option = None if equals else word
            _note(found, name, value if equals else True)
        elif option is not None:
            _note(found, option, word, instead=True)
            option = None
        else:
            _note(found, name if equals else str(place), value if equals else word)  # hydra's way: lr=0.1
    return {_without_password(name): redact(value, name) for name, value in found.items()}


def _note(found: dict[str, object], name: str, value: object, instead: bool = False) -> None:
    """instead: of the True that the option's name alone meant."""
    earlier = found.get(name)
    if earlier is None or (instead and earlier is True):
        found[name] = value
    elif instead and isinstance(earlier, list):
        earlier[-1] = value
    else:
        found[name] = [*earlier, value] if isinstance(earlier, list) else [earlier, value]


def redact(config: object, name: str = "") -> Any:
    """The same for JSON, without secrets: text under a name that has one of their words in it - a number is none -, and passwords in URLs. An object is told
    by its repr without addresses, which are others in each run."""
    if isinstance(config, Mapping):
        return {key: redact(value, str(key)) for key, value in config.items()}
    if isinstance(config, set | frozenset):
        return [redact(value, name) for value in sorted(config, key=repr)]
    if isinstance(config, list | tuple):
        return [redact(value, name) for value in config]
    if isinstance(config, float) and not math.isfinite(config):
        return repr(config)  # JSON has no such number
    if config is None or isinstance(config, bool | int | float):
        return config
    text = config if isinstance(config, str) else _ADDRESS.sub("", repr(config))
    return REDACTED if text and _is_secret(name) else _without_password(text)


def _is_secret(name: str) -> bool:
    return any(word.lower() in _SECRETS for words in _WORDS for word in words.findall(name))


def _without_password(text: str) -> str:
    return _PASSWORD.sub(rf"\1:{REDACTED}@", text)


def _is_hidden(value: object) -> bool:
    """Whether something of it was redacted."""
    return any(map(_is_hidden, value)) if isinstance(value, list) else isinstance(value, str) and REDACTED in value


def is_below(key: str, name: str) -> bool:
    """Whether the key is of that name, or lies below: "optimizer.lr" below "optimizer"."""
    return key == name or key.startswith(f"{name}.")


def warn_of_names(rules: Mapping[str, str], config: Mapping[str, object]) -> None:
    """Names of `differing` that do nothing."""
    leaves = dict(_leaves(redact(config)))
    for name, rule in rules.items():
        values = [value for key, value in leaves.items() if is_below(key, name)]
        is_fact = any(is_below(fact, name) for fact in (*environment(), *_PACKAGES, *VARIABLES))
        if not values and not is_fact:
            log.warning("differing names %s, which the config does not have", name)
        elif not values and rule == "override":
            log.warning('differing names %s, which no config can override: it is "keep" or "error"', name)
        elif values and all(value == REDACTED for value in values):
            log.warning("differing names %s, which is called like a secret: it is neither recorded nor compared; give it another name if it is none", name)


def _leaves(config: Mapping[str, object], above: str = "") -> Iterator[tuple[str, object]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _leaves(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def differences(saved: Mapping[str, object], now: Mapping[str, object]) -> dict[str, tuple[object, object]]:
    """Keys whose values differ, as (saved, now); None for one that is not there. Nested mappings are compared key by key: "model.layers". What is redacted
    on one side is the same as any text."""
    found: dict[str, tuple[object, object]] = {}
    for key in dict.fromkeys((*saved, *now)):
        old, new = saved.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found |= {f"{key}.{inner}": pair for inner, pair in differences(old, new).items()}
        elif REDACTED in (old, new) and isinstance(old, str) and isinstance(new, str):
            continue
        elif _plain(old) != _plain(new) or type(_plain(old)) is not type(_plain(new)):
            found[key] = (old, new)
    return found


def override(config: dict[str, Any], saved: Mapping[str, object], is_asked: Callable[[str], bool], above: str = "") -> None:
    """Puts into the config what was saved, key by key, where that was asked for. What was redacted stays as it is."""
    for key, old in saved.items():
        if isinstance(old, Mapping) and isinstance(config.get(key), dict):
            override(config[key], old, is_asked, f"{above}{key}.")
        elif not _is_hidden(old) and is_asked(f"{above}{key}") and _plain(redact(config.get(key), key)) != _plain(old):
            config[key] = _unwritten(old, config.get(key))


def _unwritten(saved: object, now: object) -> object:
    """A saved value with the numbers that JSON has not, but where text is now."""
    if isinstance(saved, list):
        beside = now if isinstance(now, list | tuple) else ()
        return [_unwritten(value, beside[place] if place < len(beside) else None) for place, value in enumerate(saved)]
    return float(str(saved)) if saved in _NO_NUMBERS and not isinstance(now, str) else saved


def _plain(value: object) -> object:
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value
