"""Who stores later values: early.py SAVER SCALE FOLDER changes the state as soon as `save` returns, without waiting, and looks at what was saved.

Prints {"samples": {"later": [tensors that hold later values]}, "said": what the saver said of it} as one line of JSON.
"""
import json
import os
import sys
from pathlib import Path

import savers
import states
import torch

TENSORS, BEFORE, AFTER = 8, 1.0, 2.0


def fill(module: torch.nn.Module, value: float) -> None:
    """The last one first: who copies them in order meets what is new."""
    with torch.no_grad():
        for parameter in reversed(list(module.parameters())):
            parameter.fill_(value)


def main() -> None:
    """See the head of this file."""
    saver, scale, folder = savers.ALL[sys.argv[1]](), float(sys.argv[2]), Path(sys.argv[3])
    module = torch.nn.Module()
    for index in range(TENSORS):
        module.register_parameter(f"layer{index}", torch.nn.Parameter(torch.empty(max(int((8 << 20) * scale), 1 << 18))))
    fill(module, BEFORE)
    state = states.State(module, torch.optim.SGD(module.parameters(), lr=0.0))
    saver.open(state, folder)
    for step in (1, 2):  # as it should be done
        saver.save(step)
        saver.wait_until_safe()
        saver.wait()
        state.optimizer.step()
    said = ""
    saver.save(3)
    fill(module, AFTER)
    try:
        saver.wait_until_safe()
        saver.wait()
        loaded = saver.load(3)
        later = sum(bool((torch.as_tensor(loaded[name]) == AFTER).any()) for name in state.flat())
    except Exception as error:  # that is the question
        later, said = 0, f"{type(error).__name__}: {error}"
    print(json.dumps({"bytes": state.bytes, "samples": {"later": [later]}, "said": said}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
