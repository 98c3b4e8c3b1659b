"""Trains a small GPT on the text of a file, letter by letter, and resumes where it was killed: run it, kill it with `kill -9`, run it again.

    python examples/train_gpt.py README.md --run ckpts/gpt --steps 400
"""

import argparse
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import cairn

LENGTH, WIDTH, LAYERS = 64, 64, 2


class Letters(Dataset):
    """Windows of LENGTH letters, each with the letter that follows."""

    def __init__(self, text: bytes) -> None:
        self.text = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()

    def __len__(self) -> int:
        return (len(self.text) - 1) // LENGTH

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        window = self.text[index * LENGTH : (index + 1) * LENGTH + 1]
        return window[:-1], window[1:]


class GPT(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(256, WIDTH), nn.Embedding(LENGTH, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 4 * WIDTH, dropout=0.1, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 256)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(letters.shape[1])
        x = self.letters(letters) + self.places(torch.arange(letters.shape[1]))
        return self.head(self.layers(x, mask=mask, is_causal=True))


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a small GPT, and goes on where it was killed.")
    parser.add_argument("text", type=Path)
    parser.add_argument("--run", default="ckpts/gpt")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--every", type=int, default=50, help="steps between two checkpoints")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    model = GPT()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, arguments.steps)
    data = cairn.data(DataLoader(Letters(arguments.text.read_bytes()), batch_size=8, shuffle=True))
    loop = cairn.Values(epoch=0)
    state = {"model": model, "optimizer": optimizer, "scheduler": scheduler, "data": data, "rng": cairn.RNG(), "loop": loop}

    save, keep = cairn.Save(every_steps=arguments.every), cairn.Keep(last=2, best=1, metric="loss")
    with cairn.CheckpointManager(arguments.run, state, save=save, keep=keep) as manager:
        step = manager.restore().step
        print(f"epoch {loop.epoch}, step {step}")
        while step < arguments.steps and not manager.should_stop:
            for letters, targets in data:
                loss = F.cross_entropy(model(letters).flatten(0, 1), targets.flatten())
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                scheduler.step()
                step += 1
                if step % 50 == 0:
                    print(f"step {step}: loss {loss.item():.6f}")
                manager.save(step, metrics={"loss": loss}, force=step == arguments.steps)
                if step == arguments.steps or manager.should_stop:
                    break
            else:
                loop.epoch += 1


if __name__ == "__main__":
    main()
