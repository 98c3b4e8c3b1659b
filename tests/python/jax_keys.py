"""jax keys in a dict: saved by cairn.RNG, and brought back there. Exits with 1 and a trace where that fails."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any

import jax

from cairn._errors import MismatchError
from cairn._rng import RNG


def drawn(keys: dict[str, Any]) -> dict[str, list[float]]:
    return {
        name: jax.random.normal(key.reshape(-1)[0] if name == "many" else key, 8).tolist() for name, key in keys.items()
    }


def refused(error: type[Exception], call: Any, words: str) -> None:
    try:
        call()
    except error as refusal:
        assert words in str(refusal), refusal
    else:
        raise AssertionError(f"not refused: {words}")


keys = {
    "typed": jax.random.key(1),
    "raw": jax.random.PRNGKey(2),
    "many": jax.random.split(jax.random.key(3), 4),
    "rbg": jax.random.key(4, impl="rbg"),
}
rng = RNG(keys)
state = pickle.loads(pickle.dumps(rng.state_dict()))
assert {type(value) for key in state["generators"]["0"]["keys"].values() for value in key.values()} <= {
    str,
    bytes,
    list,
    type(None),
}
expected = drawn(keys)
for name in ("typed", "raw", "rbg"):
    keys[name] = jax.random.split(keys[name])[0]
keys["many"] = jax.random.split(jax.random.key(9), 4)
assert all(drawn(keys)[name] != expected[name] for name in keys)
rng.load_state_dict(state)
assert drawn(keys) == expected and keys["typed"].dtype == jax.random.key(0).dtype

for wrong in ({"typed": keys["typed"]}, keys | {"typed": keys["raw"]}, keys | {"rbg": keys["typed"]}):
    held = dict(wrong)
    refused(MismatchError, partial(RNG(held).load_state_dict, state), "generator 0: ")
    assert all(held[name] is wrong[name] for name in held)
refused(TypeError, lambda: RNG(jax.random.key(0)), "give the dict that holds it")
refused(TypeError, lambda: RNG({"weights": jax.numpy.zeros(2)}), "is no key")
