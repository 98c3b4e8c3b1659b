"""Every generator of a process, seeded, and what they draw: shared by the tests of RNG and by the new processes these
start.

`python generators.py STATE`: loads the pickled state into fresh generators, and prints the digest of what they draw
then.
"""

from __future__ import annotations

import hashlib
import pickle
import random
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cairn._rng import RNG

DRAWS = 1000


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def given(number: int) -> dict[str, Any]:
    """One of each kind that can be given to RNG, by name."""
    return {
        "torch": torch.Generator().manual_seed(number),
        "own": random.Random(number),
        "legacy": np.random.RandomState(number),
        "pcg64": np.random.default_rng(number),
        "dxsm": np.random.Generator(np.random.PCG64DXSM(number)),
        "mt19937": np.random.Generator(np.random.MT19937(number)),
        "philox": np.random.Generator(np.random.Philox(number)),
        "sfc64": np.random.Generator(np.random.SFC64(number)),
    }


def from_numpy(generator: Any) -> list[Any]:
    """Of 32 and of 64 bits, and normals, of which the old ones keep every second for later."""
    integers = getattr(generator, "integers", None) or generator.randint
    return [
        integers(0, 1 << 30, DRAWS, dtype=np.int32).tobytes(),
        [float(generator.standard_normal()) for _ in range(DRAWS)],
        generator.random(DRAWS).tobytes(),
    ]


def from_python(generator: Any) -> list[Any]:
    return [
        [generator.random() for _ in range(DRAWS)],
        [generator.gauss(0, 1) for _ in range(DRAWS)],
        [generator.getrandbits(70) for _ in range(DRAWS)],
    ]


def from_torch(generator: torch.Generator) -> list[Any]:
    return [
        torch.rand(DRAWS, generator=generator).tolist(),
        [torch.randn((), generator=generator).item() for _ in range(DRAWS)],
        torch.randint(1 << 60, (DRAWS,), generator=generator).tolist(),
    ]


def draw(generators: dict[str, Any]) -> str:
    """The digest of the next 1,000 draws of some kinds from the global generators and from these."""
    drawn: list[Any] = [from_python(random), from_numpy(np.random), from_torch(torch.default_generator)]
    for generator in generators.values():
        if isinstance(generator, torch.Generator):
            drawn.append(from_torch(generator))
        elif isinstance(generator, random.Random):
            drawn.append(from_python(generator))
        else:
            drawn.append(from_numpy(generator))
        if isinstance(generator, np.random.Generator):
            drawn.append([from_numpy(child) for child in generator.spawn(2)])
    return hashlib.sha256(repr(drawn).encode()).hexdigest()


if __name__ == "__main__":
    generators = given(99)
    RNG(**generators).load_state_dict(pickle.loads(Path(sys.argv[1]).read_bytes()))
    print(draw(generators))
