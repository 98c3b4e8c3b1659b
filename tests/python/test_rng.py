"""cairn.RNG: what is saved is plain, what comes back the same bits, what does not fit is named and changes nothing."""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import generators
import numpy as np
import pytest
import torch

from cairn._errors import MismatchError
from cairn._rng import RNG

PLAIN = (type(None), bool, int, float, str, bytes)


def is_plain(value: Any) -> bool:
    if type(value) is dict:
        return all(type(name) is str and is_plain(each) for name, each in value.items())
    return all(map(is_plain, value)) if type(value) in (list, tuple) else type(value) in PLAIN


def warmed_up(number: int) -> dict[str, Any]:
    """Generators in the middle of things: an odd number of normals drawn, half of a word used, children spawned."""
    generators.seed(number)
    given = generators.given(number)
    generators.draw(given)
    random.gauss(0, 1)
    np.random.standard_normal()
    given["own"].gauss(0, 1)
    given["legacy"].standard_normal()
    for name in ("pcg64", "philox", "sfc64"):
        given[name].integers(0, 10, 1, dtype=np.int32)
    return given


class Devices:
    """Stands in for torch.cuda, of which this machine has none."""

    def __init__(self, count: int) -> None:
        self.states = [torch.full((16,), device, dtype=torch.uint8) for device in range(count)]
        self.in_use = True

    def is_initialized(self) -> bool:
        return self.in_use

    def get_rng_state_all(self) -> list[torch.Tensor]:
        assert self.in_use
        return [state.clone() for state in self.states]

    def set_rng_state_all(self, states: list[torch.Tensor]) -> None:
        assert len(states) == len(self.states)
        self.states = [state.clone() for state in states]


def test_the_state_is_plain_and_small() -> None:
    given = warmed_up(1)
    state = RNG(**given).state_dict()
    assert is_plain(state)
    assert len(state["process"]["torch"]["state"]) == 5056
    assert len(state["process"]["python"]["words"]) == 2496
    assert state["process"]["python"]["gauss"] is not None
    assert state["generators"]["pcg64"]["state"]["state"]["state"] >= 1 << 64, "a state of 128 bits"
    assert len(pickle.dumps(RNG().state_dict())) < 12_000


def test_every_generator_goes_on_with_the_same_bits() -> None:
    given = warmed_up(2)
    rng = RNG(**given)
    state = copy.deepcopy(rng.state_dict())
    expected = generators.draw(given)
    assert generators.draw(given) != expected
    assert rng.load_state_dict(state) == []
    assert generators.draw(given) == expected


def test_a_new_process_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    given = warmed_up(3)
    (tmp_path / "state").write_bytes(pickle.dumps(RNG(**given).state_dict()))
    drawn = subprocess.run(
        [sys.executable, generators.__file__, tmp_path / "state"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert drawn.stdout.strip() == generators.draw(given)


def test_generators_are_named_by_their_place_or_name() -> None:
    rng = RNG(random.Random(1), noise=torch.Generator())
    assert list(rng.state_dict()["generators"]) == ["0", "noise"]
    assert repr(rng) == "RNG(python, numpy, torch, 0=random.Random, noise=torch.Generator)"


def test_without_numpy_and_torch_only_python_is_there() -> None:
    script = (
        "import sys; from cairn._rng import RNG; state = RNG().state_dict();"
        "print(list(state['process']), 'torch' in sys.modules, 'numpy' in sys.modules)"
    )
    printed = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert printed.stdout == "['python'] False False\n"


def before_and_after(rng: RNG, state: dict[str, Any], message: str) -> None:
    """The load is refused with this message, and nothing was set."""
    before = rng.state_dict()
    with pytest.raises(MismatchError, match=message):
        rng.load_state_dict(state)
    assert rng.state_dict() == before


@pytest.mark.parametrize("kind", ["torch", "own", "legacy", "pcg64"])
def test_another_kind_is_named(kind: str) -> None:
    state = RNG(x=generators.given(1)[kind]).state_dict()
    for other, generator in generators.given(2).items():
        generators.seed(5)
        if other in ("dxsm", "mt19937", "philox", "sfc64") and kind == "pcg64":
            before_and_after(RNG(x=generator), state, "generator x: .*(PCG64|a state of)")
        elif other != kind and not (kind == "pcg64" or other in ("dxsm", "mt19937", "philox", "sfc64")):
            before_and_after(RNG(x=generator), state, "generator x: .* when it was saved, .* here")


def test_what_is_missing_and_what_was_not_saved_are_all_named() -> None:
    state = RNG(a=random.Random(), b=torch.Generator()).state_dict()
    before_and_after(
        RNG(b=random.Random(), c=random.Random()),
        state,
        "RNG: generator a: was saved, is not here; generator b: torch.Generator when .*; generator c: is here, was not",
    )


def test_not_strict_passes_over_what_is_there_once_only() -> None:
    saved, here = random.Random(1), random.Random(2)
    state = RNG(a=random.Random(), b=saved).state_dict()
    passed = RNG(b=here, c=random.Random()).load_state_dict(state, strict=False)
    assert [line.split(":")[0] for line in passed] == ["generator a", "generator c"]
    assert here.random() == saved.random()


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(version=2),
        lambda state: state["process"]["python"].update(version=2),
        lambda state: state["process"]["python"].update(words=b"short"),
        lambda state: state["process"]["python"].pop("gauss"),
        lambda state: state["process"].update(python=None),
        lambda state: state["process"]["python"].update(position=700),
        lambda state: state["process"]["torch"].update(state=b""),
        lambda state: state["process"]["torch"].update(state=bytes(range(158)) * 32),
        lambda state: state["process"]["torch"].update(device="cuda"),
        lambda state: state["process"]["numpy"]["state"]["state"].update(key=b"12"),
        lambda state: state["process"]["numpy"]["state"].update(bit_generator="PCG64"),
    ],
)
def test_a_state_that_is_none_is_refused_whole(change: Any) -> None:
    generators.seed(7)
    state = RNG().state_dict()
    generators.draw({})
    change(state)
    before_and_after(RNG(), state, "RNG: ")


def test_accelerators(monkeypatch: pytest.MonkeyPatch) -> None:
    two, none = Devices(2), RNG().state_dict()
    monkeypatch.setattr(torch, "cuda", two)
    state = RNG().state_dict()
    assert is_plain(state) and state["process"]["cuda"]["devices"] == [bytes(16), bytes([1]) * 16]
    two.states = [torch.zeros(16, dtype=torch.uint8)] * 2
    assert RNG().load_state_dict(state) == []
    assert two.states[1].tolist() == [1] * 16
    assert RNG().load_state_dict(none) == ["cuda: is here, was not when the state was saved"]
    monkeypatch.setattr(torch, "cuda", Devices(3))
    before_and_after(RNG(), state, "cuda: 2 devices when it was saved, 3 here")
    torch.cuda.in_use = False  # type: ignore[attr-defined]
    before_and_after(RNG(), state, "cuda: was saved, is not here")


def test_what_is_no_generator_is_refused() -> None:
    with pytest.raises(ValueError, match="SystemRandom"):
        RNG(random.SystemRandom())
    for wrong in (7, None, torch.zeros(1), {}, {"a": 1}):
        with pytest.raises(TypeError, match="generator x"):
            RNG(x=wrong)


def test_jax_keys_come_back_in_their_dict() -> None:
    """In a process of its own: jax starts threads, and other tests fork workers."""
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: its keys were NOT tested")
    script = Path(__file__).with_name("jax_keys.py")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr


def test_numpy_s_numbers_come_back_where_nobody_has_asked_for_them_yet(tmp_path: Path) -> None:
    """numpy imports numpy.random when it is used first."""
    draw = "import sys, numpy, torch, cairn\npath = sys.argv[1]\n"
    first = "numpy.random.seed(3)\ncairn.save(path, {'rng': cairn.RNG()})\nprint(numpy.random.rand())"
    then = "assert 'numpy.random' not in sys.modules\ncairn.load(path, into={'rng': cairn.RNG()})\nprint(numpy.random.rand())"
    told = [subprocess.run([sys.executable, "-c", draw + rest, tmp_path / "one"], capture_output=True, text=True, check=True).stdout for rest in (first, then)]
    assert told[0] == told[1]
