"""The random number generators of a process: their states as plain values, and back, bit for bit.

A state is a tree of None, bool, int, float, str, bytes, list and dict, so that it is stored as it is: no pickle, no
tensor.

1. A load looks at everything first and sets everything then: what does not fit leaves each generator as it was.
2. A framework's generators are looked for only if the program imported it; nothing is imported or initialised from
   here.
"""

from __future__ import annotations

import importlib
import operator
import random
import struct
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from ._errors import make

VERSION = 1
WORDS = struct.Struct("<624I")  # the state of an MT19937
ACCELERATORS = ("cuda", "xpu", "mps")

State = dict[str, Any]


class Source(ABC):
    """One generator, or all that a device kind has."""

    kind: str

    @abstractmethod
    def read(self) -> State:
        """Its state in plain values, without the kind."""

    @abstractmethod
    def prepare(self, state: State) -> Callable[[], object]:
        """What sets the state when called. A ValueError says why it cannot be set; KeyError, TypeError: it is not such
        a state.
        """


class PythonRandom(Source):
    kind = "random.Random"

    def __init__(self, generator: Any) -> None:
        """generator: a random.Random, or the module itself, which has the same functions."""
        self.generator = generator

    def read(self) -> State:
        version, words, gauss = self.generator.getstate()
        return {"version": version, "words": WORDS.pack(*words[:-1]), "position": words[-1], "gauss": gauss}

    def prepare(self, state: State) -> Callable[[], object]:
        version = self.generator.getstate()[0]
        if state["version"] != version:
            raise ValueError(f"a state of version {state['version']}, and this Python writes version {version}")
        words = (*WORDS.unpack(sized(state["words"], WORDS.size)), operator.index(state["position"]))
        gauss = None if state["gauss"] is None else float(state["gauss"])
        return lambda: self.generator.setstate((version, words, gauss))


class NumpyState(Source):
    """numpy's RandomState, or the module numpy.random for the global one."""

    kind = "numpy.random.RandomState"

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def read(self) -> State:
        return {"state": plain(self.generator.get_state(legacy=False))}

    def prepare(self, state: State) -> Callable[[], object]:
        words = alike(self.generator.get_state(legacy=False), state["state"])
        return lambda: self.generator.set_state(words)


class NumpyGenerator(Source):
    """numpy's Generator. What it was seeded with and how many children it has had decides what spawn() gives, so they
    belong to it.
    """

    kind = "numpy.random.Generator"

    def __init__(self, generator: Any) -> None:
        self.bits = generator.bit_generator

    def read(self) -> State:
        seeds = self.bits.seed_seq
        family = None
        if type(seeds).__name__ == "SeedSequence":  # others are the user's own, with a state that nobody knows
            entropy = (
                seeds.entropy
                if seeds.entropy is None or isinstance(seeds.entropy, int)
                else [int(word) for word in seeds.entropy]
            )
            family = {
                "entropy": entropy,
                "spawn_key": [int(word) for word in seeds.spawn_key],
                "pool_size": int(seeds.pool_size),
                "n_children_spawned": int(seeds.n_children_spawned),
            }
        return {"state": plain(self.bits.state), "seeds": family}

    def prepare(self, state: State) -> Callable[[], object]:
        words = alike(self.bits.state, state["state"])
        if state["seeds"] is None:
            return lambda: setattr(self.bits, "state", words)
        seeds = sys.modules["numpy.random"].SeedSequence(**state["seeds"])
        return lambda: self.bits.__setstate__((words, seeds))


class TorchGenerator(Source):
    """A torch.Generator of any device; the state of a CPU's is 5,056 bytes, of a CUDA device's 16."""

    kind = "torch.Generator"

    def __init__(self, generator: Any) -> None:
        self.generator = generator

    def read(self) -> State:
        return {"device": self.generator.device.type, "state": from_tensor(self.generator.get_state())}

    def prepare(self, state: State) -> Callable[[], object]:
        device = self.generator.device.type
        if state["device"] != device:
            raise ValueError(f"of a {state['device']} device when it was saved, of a {device} device here")
        tensor = to_tensor(sized(state["state"], len(self.generator.get_state())))
        return lambda: self.generator.set_state(tensor)


class Accelerator(Source):
    """Every device of a kind that the process has in use."""

    def __init__(self, kind: str, module: Any) -> None:
        self.kind = kind
        self.module = module

    def states(self) -> list[bytes]:
        read_all = getattr(self.module, "get_rng_state_all", None)
        return [from_tensor(state) for state in (read_all() if read_all else [self.module.get_rng_state()])]

    def write(self, states: list[Any]) -> None:
        write_all = getattr(self.module, "set_rng_state_all", None)
        if write_all:
            write_all(states)
        else:
            self.module.set_rng_state(states[0])

    def read(self) -> State:
        return {"devices": self.states()}

    def prepare(self, state: State) -> Callable[[], object]:
        here, saved = self.states(), state["devices"]
        if len(saved) != len(here):
            raise ValueError(f"{len(saved)} devices when it was saved, {len(here)} here")
        tensors = [to_tensor(sized(words, len(own))) for words, own in zip(saved, here, strict=True)]
        return lambda: self.write(tensors)


class JaxKeys(Source):
    """The jax keys in a mutable mapping: a key is a value, and splitting it puts another one in its place, so only its
    holder can be set.
    """

    kind = "jax keys"

    def __init__(self, holder: MutableMapping[str, Any]) -> None:
        """TypeError for arrays that are no keys."""
        self.holder = holder
        self.read()

    def read(self) -> State:
        return {"keys": {name: from_key(key) for name, key in self.holder.items()}}

    def prepare(self, state: State) -> Callable[[], object]:
        saved = state["keys"]
        if saved.keys() != self.holder.keys():
            raise ValueError(
                f"the keys {', '.join(sorted(saved))} when it was saved, {', '.join(sorted(self.holder))} here"
            )
        keys = {}
        for name, key in saved.items():
            own = from_key(self.holder[name])
            if (key["impl"], key["shape"]) != (own["impl"], own["shape"]):
                was, now = (f"{each['impl'] or 'raw'} {each['shape']}" for each in (key, own))
                raise ValueError(f"{name} is {was} when it was saved, {now} here")
            keys[name] = to_key(key, len(own["data"]))
        return lambda: self.holder.update(keys)


class RNG:
    """The random number generators of the process, as one thing to save: `state = {..., "rng": cairn.RNG()}`.

    Those of the process are found at each call: Python's `random`; numpy's legacy global one, torch's of the CPU, and
    those of every CUDA, XPU or MPS device, each if the program imported or initialised it. Others are given, by
    position or by name:

        noise = torch.Generator().manual_seed(1)
        rng = cairn.RNG(noise, augment=np.random.default_rng(2))

    A torch.Generator, numpy.random.Generator or RandomState, random.Random, or - as jax keys are values that splitting
    replaces - a dict that holds jax keys, typed or raw: `keys = {"dropout": jax.random.key(0)}; rng = cairn.RNG(keys)`,
    and in the loop `keys["dropout"], key = jax.random.split(keys["dropout"])`. It comes back in that dict.
    """

    def __init__(self, *generators: Any, **named: Any) -> None:
        """TypeError for what is no such generator, ValueError for one that has no state (random.SystemRandom)."""
        given = {str(place): generator for place, generator in enumerate(generators)} | named
        self._given = {name: source(generator, name) for name, generator in given.items()}

    def _process(self) -> dict[str, Source]:
        return host() | accelerators()

    def __repr__(self) -> str:
        given = [f"{name}={each.kind}" for name, each in self._given.items()]
        return f"{type(self).__name__}({', '.join([*self._process(), *given])})"

    def state_dict(self) -> State:
        """Every state, some 10 KB: {"version", "process": {name: state}, "generators": {name or position: state}}."""
        groups = {"process": self._process(), "generators": self._given}
        return {"version": VERSION} | {
            group: {name: {"kind": each.kind} | each.read() for name, each in sources.items()}
            for group, sources in groups.items()
        }

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> list[str]:
        """Sets every generator to its saved state, or none of them.

        cairn.MismatchError names all that is in the way: a generator that was saved and is not here (or not imported,
        or not initialised), one that was given and has not been saved, one of another kind, another number of devices.
        With `strict=False` the first two are passed over. Returns what was passed over, a line each; among it are
        always generators of the process that were not in use when the state was saved, and so had drawn nothing: they
        stay as they are.
        """
        writes, passed = self._matched(state, strict)
        write_all(writes)
        return passed

    def check(self, state: Mapping[str, Any]) -> None:
        """Raises what load_state_dict would of a state that does not fit, and sets nothing."""
        self._matched(state, strict=True)

    def _matched(
        self, state: Mapping[str, Any], strict: bool
    ) -> tuple[list[tuple[Source, Callable[[], object]]], list[str]]:
        """What sets each generator, and what is passed over."""
        if state.get("version") != VERSION:
            raise make("MISMATCH", f"RNG: a state of version {state.get('version')}, and this is version {VERSION}")
        if "numpy" in sys.modules and "numpy" in state["process"]:
            importlib.import_module("numpy.random")  # numpy itself does that when it is used first
        sources = {("process", name): each for name, each in self._process().items()} | {
            ("generators", name): each for name, each in self._given.items()
        }
        saved = {(group, name): each for group in ("process", "generators") for name, each in state[group].items()}
        writes: list[tuple[Source, Callable[[], object]]] = []
        wrong: list[str] = []
        passed: list[str] = []
        for place in saved | sources:
            name = place[1] if place[0] == "process" else f"generator {place[1]}"
            if place not in sources:
                (wrong if strict else passed).append(f"{name}: was saved, is not here")
            elif place not in saved:
                (wrong if strict and place[0] == "generators" else passed).append(
                    f"{name}: is here, was not when the state was saved"
                )
            else:
                try:
                    writes.append((sources[place], checked(sources[place], saved[place])))
                except ValueError as error:
                    wrong.append(f"{name}: {error}")
        if wrong:
            raise make("MISMATCH", "RNG: " + "; ".join(wrong))
        return writes, passed


class HostRNG(RNG):
    """What loaders draw from: no accelerator."""

    def _process(self) -> dict[str, Source]:
        return host()


class GivenRNG(RNG):
    """The given ones alone."""

    def _process(self) -> dict[str, Source]:
        return {}


def host() -> dict[str, Source]:
    """The global generators of the processor, of what the program has imported."""
    found: dict[str, Source] = {"python": PythonRandom(random)}
    if "numpy.random" in sys.modules:
        found["numpy"] = NumpyState(sys.modules["numpy.random"])
    if "torch" in sys.modules:
        found["torch"] = TorchGenerator(sys.modules["torch"].default_generator)
    return found


def accelerators() -> dict[str, Source]:
    """Those in use: asking another one for its state would initialise it, for hundreds of megabytes, and break workers
    that fork later.
    """
    torch = sys.modules.get("torch")
    found: dict[str, Source] = {}
    for kind in ACCELERATORS if torch else ():
        module = getattr(torch, kind, None)
        in_use = torch.backends.mps.is_available if torch and kind == "mps" else getattr(module, "is_initialized", None)
        if in_use and in_use():
            found[kind] = Accelerator(kind, module)
    return found


def known(generator: object) -> Source | None:
    """What reads and sets this generator; None if it is no generator that we know."""
    numpy, torch = sys.modules.get("numpy.random"), sys.modules.get("torch")
    if isinstance(generator, random.Random):
        return PythonRandom(generator)
    if numpy and isinstance(generator, numpy.RandomState):
        return NumpyState(generator)
    if numpy and isinstance(generator, numpy.Generator):
        return NumpyGenerator(generator)
    if torch and isinstance(generator, torch.Generator):
        return TorchGenerator(generator)
    return None


def source(generator: Any, name: str) -> Source:
    """known(), and dicts of jax keys; an error for everything else."""
    if isinstance(generator, random.SystemRandom):
        raise ValueError(f"RNG: generator {name} is a SystemRandom: it has no state that could come back")
    if isinstance(generator, MutableMapping) and generator and all(is_jax(key) for key in generator.values()):
        return JaxKeys(generator)
    if is_jax(generator):
        raise TypeError(f"RNG: generator {name} is a jax key, which splitting replaces: give the dict that holds it")
    found = known(generator)
    if found is None:
        raise TypeError(
            f"RNG: generator {name} is a {type(generator).__name__}, not a torch.Generator, numpy.random.Generator or"
            " RandomState, random.Random, or dict of jax keys"
        )
    return found


def checked(each: Source, state: Any) -> Callable[[], object]:
    """prepare(), with one kind of error for whatever does not fit."""
    kind = state.get("kind") if isinstance(state, Mapping) else type(state).__name__
    if kind != each.kind:
        raise ValueError(f"{kind} when it was saved, {each.kind} here")
    try:
        return each.prepare(dict(state))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a state of {each.kind} ({error!r})") from error


def write_all(writes: list[tuple[Source, Callable[[], object]]]) -> None:
    """Calls each, or puts all back: a framework may find more wrong with a state than can be seen before."""
    undo = []
    try:
        for each, write in writes:
            undo.append(each.prepare(each.read()))
            write()
    except Exception as error:
        for step in undo:
            step()
        raise make("MISMATCH", f"RNG: {each.kind} takes no such state: {error}") from error


def sized(words: bytes, size: int) -> bytes:
    if len(words) != size:
        raise ValueError(f"a state of {len(words)} bytes when it was saved, of {size} here")
    return words


def plain(value: Any) -> Any:
    """A state of numpy in plain values: arrays become their bytes, little endian."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if hasattr(value, "tobytes") and hasattr(value, "astype") and value.ndim:
        return value.astype(value.dtype.newbyteorder("<")).tobytes()
    if isinstance(value, str):
        return value
    return float(value) if isinstance(value, float) else operator.index(value)


def alike(own: Any, saved: Any) -> Any:
    """The saved values in the form of the generator's own state, which tells names, dtypes and sizes."""
    if isinstance(own, dict):
        if saved.keys() != own.keys():
            raise ValueError(f"a state of {', '.join(saved)} when it was saved, of {', '.join(own)} here")
        return {name: alike(own[name], saved[name]) for name in own}
    if isinstance(saved, bytes):
        words = sys.modules["numpy"].frombuffer(sized(saved, own.nbytes), own.dtype.newbyteorder("<"))
        return words.astype(own.dtype).reshape(own.shape)
    if isinstance(own, str):
        if saved != own:
            raise ValueError(f"{saved} when it was saved, {own} here")
        return own
    return float(saved) if isinstance(own, float) else operator.index(saved)


def from_tensor(tensor: Any) -> bytes:
    return bytes(tensor.cpu().tolist())  # a few KB; .numpy() would want numpy to be there


def to_tensor(words: bytes) -> Any:
    torch = sys.modules["torch"]
    return torch.frombuffer(bytearray(words), dtype=torch.uint8)


def is_jax(value: object) -> bool:
    return "jax" in sys.modules and isinstance(value, sys.modules["jax"].Array)


def from_key(key: Any) -> State:
    """impl: the name of the algorithm of a typed key, None of a raw one; shape: of the array of keys; data: uint32,
    little endian.
    """
    jax, numpy = sys.modules["jax"], sys.modules["numpy"]
    typed = jax.dtypes.issubdtype(key.dtype, jax.dtypes.prng_key)
    words = numpy.asarray(jax.random.key_data(key) if typed else key)
    if words.dtype != numpy.uint32:
        raise TypeError(f"a jax array of {words.dtype} is no key")
    return {
        "impl": str(jax.random.key_impl(key)) if typed else None,
        "shape": list(key.shape),
        "data": words.astype("<u4").tobytes(),
    }


def to_key(state: State, size: int) -> Any:
    jax, numpy = sys.modules["jax"], sys.modules["numpy"]
    words = numpy.frombuffer(sized(state["data"], size), "<u4").astype(numpy.uint32)
    if state["impl"] is None:
        return jax.numpy.asarray(words.reshape(state["shape"]))
    return jax.random.wrap_key_data(jax.numpy.asarray(words.reshape(*state["shape"], -1)), impl=state["impl"])
