"""A reader that knows nothing of Cairn, for contenders.py: the stock safetensors package maps files of a run while others remove them.

    stock_reader.py RUN SECONDS      needs numpy and safetensors; prints and ends as reader.c
"""
import os
import random
import sys
import time

import numpy
from safetensors import safe_open

GOLDEN, FIRST, SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB  # those of mix() in state.c
MASK = 2**64 - 1


def mix(numbers):
    numbers = numbers + numpy.uint64(GOLDEN)
    numbers = (numbers ^ (numbers >> numpy.uint64(30))) * numpy.uint64(FIRST)
    numbers = (numbers ^ (numbers >> numpy.uint64(27))) * numpy.uint64(SECOND)
    return numbers ^ (numbers >> numpy.uint64(31))


def unshift(number, shift):
    """Undoes number ^= number >> shift."""
    found = number
    for _ in range(64 // shift):
        found = number ^ (found >> shift)
    return found


def unmix(number):
    number = unshift(number, 31) * pow(SECOND, -1, 2**64) & MASK
    number = unshift(number, 27) * pow(FIRST, -1, 2**64) & MASK
    return (unshift(number, 30) - GOLDEN) & MASK


def is_whole(words):
    """Every word follows from the first."""
    start = unmix(int(words[0]))
    return bool((words == mix(numpy.uint64(start) + numpy.arange(len(words), dtype=numpy.uint64))).all())


def main(run, seconds):
    opened = late = 0
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        folders = [name for name in os.listdir(run) if name.startswith("checkpoint-")]
        if not folders:
            continue
        folder = os.path.join(run, random.choice(folders))
        try:
            name = random.choice([name for name in os.listdir(folder) if name.endswith(".safetensors")])
            file = safe_open(os.path.join(folder, name), framework="np")
        except (FileNotFoundError, IndexError):
            late += 1
            continue
        with file:
            opened += 1
            for _ in range(4):
                for tensor in file.keys():
                    words = file.get_tensor(tensor)
                    if words.dtype == numpy.uint64 and not is_whole(words):
                        print(f"{folder}/{name}: {tensor} is wrong")
                        return 1
                time.sleep(0.002)
    print(f"opened {opened}, came too late for {late}")
    return 0 if opened else 1


if __name__ == "__main__":
    numpy.seterr(over="ignore")
    sys.exit(main(*sys.argv[1:]))
