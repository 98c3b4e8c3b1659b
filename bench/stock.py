"""What others do with the same state, for row_peers.c: one command a line on stdin, its seconds on stdout.

stock.py BYTES TENSORS says which peers are there ("torch safetensors"), then answers "save PEER PATH" and "load PEER PATH".
A save ends when its file and the folder above are synced, for only then it can be compared with a durable one. A load ends when every byte is in the
tensors that were there before.
"""
import os
import sys
import time

import torch

try:
    import safetensors.torch as safetensors
except ImportError:
    safetensors = None


def sync(path):
    for name in (path, os.path.dirname(path)):
        descriptor = os.open(name, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def save(peer, state, path):
    if peer == "torch":
        torch.save(state, path)
    else:
        safetensors.save_file(state, path)
    sync(path)


def load(peer, state, path):
    loaded = torch.load(path, mmap=True) if peer == "torch" else safetensors.load_file(path)
    for name, tensor in state.items():
        tensor.copy_(loaded[name])


def main():
    size, count = int(sys.argv[1]), int(sys.argv[2])
    state = {f"model.layers.{i}.weight": torch.rand(size // count // 4) for i in range(count)}
    print("torch safetensors" if safetensors else "torch", flush=True)
    for line in sys.stdin:
        verb, peer, path = line.rstrip("\n").split(" ", 2)
        start = time.monotonic()
        {"save": save, "load": load}[verb](peer, state, path)
        print(time.monotonic() - start, flush=True)


main()
