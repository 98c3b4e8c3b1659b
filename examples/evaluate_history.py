"""Looks at a run as it was at every kept step; with --follow also at what a trainer in another process saves meanwhile.

    python examples/evaluate_history.py README.md --run ckpts/gpt
"""

import argparse
from pathlib import Path

import torch
from torch.nn import functional as F
from train_gpt import GPT, Letters

import cairn


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluates every checkpoint of a run of train_gpt.py.")
    parser.add_argument("text", type=Path)
    parser.add_argument("--run", default="ckpts/gpt")
    parser.add_argument("--follow", type=float, default=0.0, metavar="SECONDS", help="wait so long for the next checkpoint")
    arguments = parser.parse_args()
    letters = Letters(arguments.text.read_bytes())
    windows = torch.utils.data.default_collate([letters[index] for index in range(32)])
    model = GPT().eval()
    manager = cairn.CheckpointManager(arguments.run)
    seen = 0
    while (checkpoint := manager.wait_for_new(arguments.follow)) is not None:
        checkpoint.load_into(model)
        with torch.no_grad():
            loss = F.cross_entropy(model(windows[0]).flatten(0, 1), windows[1].flatten())
        first = checkpoint["model"]["letters.weight"][0:1]  # one row is read, not the tensor
        print(f"step {checkpoint.step}: loss {loss:.6f}, saved with {checkpoint.metrics}, first letter's norm {first.norm():.4f}")
        checkpoint.close()
        seen += 1
    if not seen:
        parser.error(f"{arguments.run}: no checkpoint is there")


if __name__ == "__main__":
    main()
