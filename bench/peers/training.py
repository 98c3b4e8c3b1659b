"""What a save costs training beside it: training.py SAVER THREADS SCALE FOLDER prints {"lost": [seconds], ...} as one line of JSON.

GPT-2 is trained by AdamW on THREADS cores. Each round times some steps alone, then steps with a save at their beginning until it is durable; what those
took longer than as many steps alone is lost. Whoever must wait before an optimizer's step does. What a peer does not sync is synced on a thread.
"""
import json
import os
import sys
import threading
import time
from pathlib import Path

import savers
import states
import torch
from timing import sync

ROUNDS, LEAST_S = 3, 4.0


class Training:
    """A model in training, and its saver."""

    def __init__(self, saver: savers.Saver, scale: float, folder: Path) -> None:
        self.saver, self.step = saver, 0
        self.state = states.make("gpt2", scale)
        self.tokens = torch.randint(0, 256, (1, 32))
        saver.open(self.state, folder)

    def train(self) -> None:
        """One step."""
        module, optimizer = self.state.module, self.state.optimizer
        module(input_ids=self.tokens, labels=self.tokens).loss.backward()
        self.saver.wait_until_safe()
        optimizer.step()
        optimizer.zero_grad()

    def alone(self, least_s: float) -> float:
        """Seconds of a step, of as many as last so long."""
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < least_s:
            self.train()
            count += 1
        return (time.perf_counter() - start) / count

    def beside_a_save(self, least_s: float) -> tuple[float, int]:
        """Seconds, and the steps done in them, from the call until the checkpoint is durable, and at least so long."""
        start, count = time.perf_counter(), 0
        self.step += 1
        self.saver.save(self.step)
        watcher = threading.Thread(target=self._finish, args=(self.step,))
        if not self.saver.syncs:
            watcher.start()
        while time.perf_counter() - start < least_s or watcher.is_alive() or (self.saver.syncs and not self.saver.is_done()):
            self.train()
            count += 1
        return time.perf_counter() - start, count

    def _finish(self, step: int) -> None:
        self.saver.wait()
        sync(self.saver.path(step))


def main() -> None:
    """See the head of this file."""
    saver, threads, scale, folder = savers.ALL[sys.argv[1]](), int(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(threads)
    training = Training(saver, scale, folder)
    least_s = LEAST_S * scale
    for _ in range(3):  # the first saves of a process cost more, and are in another table
        training.alone(0.1)
        training.beside_a_save(0.1)
    lost, alone_s = [], []
    for _ in range(ROUNDS):
        alone = training.alone(least_s)
        seconds, count = training.beside_a_save(least_s)
        alone = (alone + training.alone(least_s / 2)) / 2
        alone_s.append(alone)
        lost.append(seconds - count * alone)
    saver.close()
    print(json.dumps({"bytes": training.state.bytes, "samples": {"lost": lost, "step": alone_s}}), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
