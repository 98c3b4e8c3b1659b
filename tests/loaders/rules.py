#!/usr/bin/env python3
"""How model loaders pick files from a checkpoint's folder, restated, and held against what Cairn wrote there.

    rules.py RUN...       each run's checkpoints; prints `ok - ...` or `not ok - ...`; exit status 1 if one is not ok

The rules are those of vLLM, SGLang, TGI, mlx-lm, llama.cpp's converter, transformers and the Trainer's last-checkpoint rule as of 2026. Standard
library only. Besides, each rule must notice a poisoned copy of the folder: a rule that cannot fail proves nothing.
"""
import fnmatch
import json
import os
import re
import shutil
import struct
import sys
import tempfile


class Refused(Exception):
    """The loader would stop with an error."""


def names_in(path):
    """Tensor names of one safetensors file, checked as the reference reader does."""
    with open(path, "rb") as file:
        data = file.read()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    at = 0
    for entry in sorted(header.values(), key=lambda entry: entry["data_offsets"]):
        if entry["data_offsets"][0] != at:
            raise Refused(f"{path}: hole or overlap")
        at = entry["data_offsets"][1]
    if 8 + length + at != len(data):
        raise Refused(f"{path}: bytes after the last tensor")
    return list(header)


def top_level(folder, pattern="*.safetensors"):
    return sorted(n for n in os.listdir(folder) if fnmatch.fnmatchcase(n, pattern) and not n.startswith("."))


def some(files):
    if not files:
        raise Refused("no weights")
    return files


def index_of(folder):
    path = os.path.join(folder, "model.safetensors.index.json")
    if not os.path.isfile(path):
        return None
    with open(path, encoding="utf-8") as file:
        index = json.load(file)
    index["metadata"]  # transformers reads it without asking
    return index["weight_map"]


def vllm(folder):
    """vLLM and SGLang: every top-level *.safetensors; with an index those that it names; consolidated* means another format."""
    if top_level(folder, "consolidated*.safetensors"):
        raise Refused("consolidated files switch the loader to another format")
    files, index = top_level(folder), index_of(folder)
    return some([n for n in files if n in set(index.values())] if index is not None else files)


def tgi(folder):
    """TGI: every top-level *.safetensors but names that speak of training or of an adapter; a tensor in two files is an error."""
    files = [n for n in tgi_adapter(folder) if "adapter" not in n]
    seen = set()
    for name in files:
        for tensor in names_in(os.path.join(folder, name)):
            if tensor in seen:
                raise Refused(f"{tensor} is in two files")
            seen.add(tensor)
    return some(files)


def mlx_lm(folder):
    """mlx-lm: model*.safetensors, whatever the index says."""
    return some(top_level(folder, "model*.safetensors"))


def llama_cpp(folder):
    """llama.cpp: model*.safetensors; where there is an index its tensors and those of the files must be the same."""
    files, index = top_level(folder, "model*.safetensors"), index_of(folder)
    if index is not None:
        found = {tensor for name in files for tensor in names_in(os.path.join(folder, name))}
        if found != set(index):
            raise Refused("index and files differ")
    return some(files)


def transformers(folder):
    """transformers: model.safetensors, else what the index names, joined to the folder without a check."""
    if os.path.isfile(os.path.join(folder, "model.safetensors")):
        return ["model.safetensors"]
    index = index_of(folder)
    if index is None:
        raise Refused("no weights")
    for name, file in index.items():
        if os.path.basename(file) != file:
            raise Refused(f"{file} is a path")
        if name not in names_in(os.path.join(folder, file)):
            raise Refused(f"{name} is not in {file}")
    return sorted(set(index.values()))


def peft(folder):
    """peft, vLLM and llama.cpp, of an adapter: one file by its name."""
    names_in(os.path.join(folder, some(top_level(folder, "adapter_model.safetensors"))[0]))
    return ["adapter_model.safetensors"]


def tgi_adapter(folder):
    """TGI, of an adapter: every *.safetensors there, hidden ones, too, but names that speak of training."""
    return some(sorted(n for n in os.listdir(folder) if n.endswith(".safetensors") and not any(word in n for word in ("arguments", "args", "training"))))


RULES = {"vLLM and SGLang": vllm, "TGI": tgi, "mlx-lm": mlx_lm, "llama.cpp": llama_cpp, "transformers": transformers}
ADAPTER_RULES = {"peft, vLLM and llama.cpp": peft, "TGI": tgi_adapter}


def expected(folder):
    """What the checkpoint itself says: the data files of item model, and its tensors."""
    with open(os.path.join(folder, "training", "tensors.json"), encoding="utf-8") as file:
        table = json.load(file)
    files = [f["name"] for f in table["files"]]
    rows = [t for t in table["tensors"] if t["item"] == "model"]
    return sorted({files[t["file"]] for t in rows}), {t["name"] for t in rows}


def picks_rightly(rule, folder, files, tensors):
    try:
        found = rule(folder)
        names = [tensor for name in found for tensor in names_in(os.path.join(folder, name))]
    except Refused:
        return False
    return sorted(found) == files and len(names) == len(tensors) and set(names) == tensors


def poison(folder, files):
    """A stray weights file, as if the optimizer had been put beside the model; and, for those that read by name, bytes after a
    file's last tensor."""
    header = json.dumps({"stray": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    for name in ("model-stray.safetensors", "consolidated.safetensors"):
        with open(os.path.join(folder, name), "wb") as file:
            file.write(struct.pack("<Q", len(header)) + header + b"\0")
    path = os.path.join(folder, files[-1])
    data = open(path, "rb").read()
    os.unlink(path)
    with open(path, "wb") as file:
        file.write(data + b"polyglot")


def check_checkpoint(label, folder, report, rules=RULES):
    files, tensors = expected(folder)
    report(len(files) > 0, f"{label}: {len(tensors)} tensors in {len(files)} file(s)")
    report((index_of(folder) is not None) == (len(files) > 1), f"{label}: an index where, and only where, there are several files")
    report(not any("optimizer" in name for name in os.listdir(folder)), f"{label}: nothing at top level that a trainer takes for optimizer state")
    with tempfile.TemporaryDirectory() as scratch:
        bad = shutil.copytree(folder, os.path.join(scratch, "bad"))
        poison(bad, files)
        for name, rule in rules.items():
            report(picks_rightly(rule, folder, files, tensors), f"{label}: {name} finds exactly the model's files")
            report(not picks_rightly(rule, bad, files, tensors), f"{label}: {name} notices a poisoned folder")


def last_checkpoint(run):
    """The HF Trainer's rule: checkpoint-<digits>, a folder, the highest number; it asks for nothing inside."""
    found = [n for n in os.listdir(run) if re.fullmatch(r"checkpoint-(\d+)", n) and os.path.isdir(os.path.join(run, n))]
    return max(found, key=lambda n: int(n.split("-")[1]), default=None)


def main(runs):
    failed = 0

    def report(good, text):
        nonlocal failed
        failed += not good
        print(("ok - " if good else "not ok - ") + text)

    for run in runs:
        label = os.path.basename(run)
        name = last_checkpoint(run)
        report(name == os.readlink(os.path.join(run, "latest")), f"{label}: the Trainer's last checkpoint is ours, {name}")
        check_checkpoint(label, os.path.join(run, name), report)
    return failed != 0


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
