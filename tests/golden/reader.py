#!/usr/bin/env python3
"""A second reader of Cairn's format: written from docs/FORMAT.md, Python's standard library only. It reads a run and verifies every digest.

usage: reader.py RUN            verify all its checkpoints; exit status 1 at the first difference
       reader.py --dump CKPT    print what is in one, as JSON
       reader.py --python CKPT  print what the Python package saved in one, item by item
"""

from __future__ import annotations

import json
import re
import struct
import sys
from pathlib import Path
from pprint import pformat
from typing import Any, NamedTuple

from xxh3 import xxh3_128

BLOCK = 4 << 20
MARKS = re.compile(r"marks\.([1-9]\d*)\.json")
CHECK = re.compile(rb'"check":"([0-9a-f]{16})"\}\Z')
SEAL = re.compile(rb'"digest":"([0-9a-f]{32})"\}\n\Z')
BITS = {"F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64}
BITS |= {name: 8 for name in "BOOL U8 I8 F8_E5M2 F8_E4M3 F8_E8M0 F8_E4M3FNUZ F8_E5M2FNUZ".split()}


class Damage(Exception):
    pass


class Tagged(NamedTuple):
    """What JSON and Python's plain types have no form for: "$tensor" and its name, "$map" and its pairs, a $type and its value."""

    type: str
    value: Any


class Array(NamedTuple):
    """A tensor, and as what Python has it."""

    form: str
    dtype: str
    shape: list[int]
    data: bytes


def need(condition: bool, what: str) -> None:
    if not condition:
        raise Damage(what)


def blocks_of(data: bytes) -> list[bytes]:
    return [xxh3_128(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]


def tensor_rule(data: bytes) -> str:
    return xxh3_128(b"".join(blocks_of(data))).hex()


def refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    need(len({key for key, _ in pairs}) == len(pairs), "a member is given twice")
    return dict(pairs)


def sealed(path: Path, kind: str) -> dict[str, Any]:
    data = path.read_bytes()
    match = SEAL.search(data)
    need(match is not None and len(data) - match.start() == 45, f"{path}: no digest line")
    need(tensor_rule(data[: match.start()]) == match[1].decode(), f"{path}: its digest differs")
    content = json.loads(data.decode("utf-8"), object_pairs_hook=refuse_twice)
    need(content["cairn"] == kind and content["version"] == 1, f"{path}: not {kind} version 1")
    return content


def header(data: bytes, name: str) -> tuple[int, dict[str, Any]]:
    (length,) = struct.unpack_from("<Q", data)
    need((8 + length) % 4096 == 0 and 8 + length <= len(data), f"{name}: header length")
    content = json.loads(data[8 : 8 + length].decode("utf-8"), object_pairs_hook=refuse_twice)
    need(content.pop("__metadata__") == {"format": "pt"}, f"{name}: __metadata__")
    return 8 + length, content


def check_data_file(folder: Path, entry: dict[str, Any], rows: list[dict[str, Any]]) -> int:
    name = entry["name"]
    data = (folder / name).read_bytes()
    start, tensors = header(data, name)
    need(start == entry["header_size"] and xxh3_128(data[:start]).hex() == entry["header_digest"], f"{name}: header digest")
    need(list(tensors) == [row["name"] for row in rows], f"{name}: its tensors are not those of tensors.json")
    order = [(-BITS[row["dtype"]], row["name"].encode()) for row in rows]
    need(order == sorted(order), f"{name}: tensors out of order")
    parts, end = [xxh3_128(data[:start])], start
    for row in rows:
        told = tensors[row["name"]]
        count = BITS[row["dtype"]]
        for extent in row["shape"]:
            count *= extent
        need(count == 8 * row["size"] and told["dtype"] == row["dtype"] and told["shape"] == row["shape"], f"{row['name']}: dtype, shape or size")
        need(row["offset"] == end and told["data_offsets"] == [end - start, end - start + row["size"]], f"{row['name']}: place")
        end += row["size"]
        blocks = blocks_of(data[row["offset"] : end])
        need([block.hex() for block in blocks] == row["blocks"], f"{row['name']}: a block's digest differs")
        need(xxh3_128(b"".join(blocks)).hex() == row["digest"], f"{row['name']}: its digest")
        parts.append(bytes.fromhex(row["digest"]))
    need(end == len(data), f"{name}: bytes after the last tensor")
    need(xxh3_128(b"".join(parts)).hex() == entry["digest"], f"{name}: the file's digest")
    return len(rows)


def value(node: Any, tensors: set[str]) -> Any:
    """A value of state.json as Python has it."""
    if isinstance(node, list):
        return [value(item, tensors) for item in node]
    if not isinstance(node, dict):
        return node
    form = next(iter(node), "")
    if not form.startswith("$"):
        need(not any(key.startswith("$") for key in node), "a $ key in a plain map")
        return {key: value(item, tensors) for key, item in node.items()}
    inner = node[form]
    if form == "$tensor":
        need(inner in tensors, f"a reference to {inner}, which is no tensor of the item")
        return Tagged(form, inner)
    if form == "$map":
        return Tagged(form, [(value(k, tensors), value(v, tensors)) for k, v in inner])
    if form == "$tuple":
        return tuple(value(item, tensors) for item in inner)
    if form == "$int":
        return int(inner)
    if form == "$f":
        return struct.unpack(">d", bytes.fromhex(inner))[0]
    if form == "$bytes":
        import base64

        return base64.b64decode(inner, validate=True)
    if form == "$type":
        return Tagged(inner, value(node["value"], tensors))
    raise Damage(f"unknown form {form}")


def check_indexes(folder: Path, entries: list[dict[str, Any]], rows: list[dict[str, Any]], files: list[dict[str, Any]]) -> None:
    for entry in entries:
        if not entry["name"].endswith(".index.json"):
            continue
        index = json.loads((folder / entry["name"]).read_text())
        prefix = entry["name"].rpartition("/")[0]
        for name, file in index["weight_map"].items():
            path = f"{prefix}/{file}" if prefix else file
            need(any(row["name"] == name and files[row["file"]]["name"] == path for row in rows), f"{entry['name']}: {name}")
        shards = {f"{prefix}/{file}" if prefix else file for file in index["weight_map"].values()}
        need(index["metadata"]["total_size"] == sum(row["size"] for row in rows if files[row["file"]]["name"] in shards), f"{entry['name']}: total_size")


def read_checkpoint(folder: Path, run_id: str) -> dict[str, Any]:
    manifest = sealed(folder / "manifest.json", "checkpoint")
    need(manifest["requires"] == [] and manifest["run"] == run_id, f"{folder}: run or features")
    table, state = sealed(folder / "training/tensors.json", "tensors"), sealed(folder / "training/state.json", "state")
    rows, files = [row for row in table["tensors"] if row["item"] not in manifest["dropped"]], table["files"]
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and not MARKS.fullmatch(path.name)}
    need(found == {entry["name"] for entry in manifest["files"]} | {"manifest.json"}, f"{folder}: other files than the manifest says")
    count = 0
    for entry in manifest["files"]:
        data = (folder / entry["name"]).read_bytes()
        need(len(data) == entry["size"], f"{entry['name']}: size")
        if entry["kind"] == "tensors":
            index = [file["name"] for file in files].index(entry["name"])
            count += check_data_file(folder, entry, [row for row in rows if row["file"] == index])
        else:
            need(tensor_rule(data) == entry["digest"], f"{entry['name']}: digest")
    need(count == len(rows), "tensors in no file")
    check_indexes(folder, manifest["files"], rows, files)
    items = {}
    for item, tree in state["items"].items():
        items[item] = value(tree, {row["name"] for row in table["tensors"] if row["item"] == item})
    return {"manifest": manifest, "files": files, "tensors": rows, "items": items, "marks": read_marks(folder, manifest)}


class Tree:
    """An item of the Python package's, with the containers that it had."""

    def __init__(self, folder: Path, content: dict[str, Any], item: str) -> None:
        said = content["items"]["python"]["items"].get(item, {})
        self.kinds, self.forms = said.get("kinds", {}), said.get("forms", {})
        self.rows = {row["name"]: (folder / content["files"][row["file"]]["name"], row) for row in content["tensors"] if row["item"] == item}
        root = self.kinds.get("")
        stored = content["items"].get(item, {})
        built = {key: self.build(node, (key,)) for key, node in (nested(stored) if item == "model" and root != "module" else stored).items()}
        if isinstance(root, dict):
            self.root = container(built, root)
        else:
            self.root = built["value"] if root == "root" else built if root in (None, "module") else Tagged(root, built)

    def build(self, node: Any, path: tuple[str, ...]) -> Any:
        if not holds_tensors(node):
            return plain(node)
        if isinstance(node, Tagged):
            file, row = self.rows[node.value]
            return Array(self.forms.get(row["name"], "torch"), row["dtype"], row["shape"], file.read_bytes()[row["offset"] : row["offset"] + row["size"]])
        parts = {key: self.build(child, (*path, key)) for key, child in node.items()}
        kind = self.kinds.get("/".join(part.replace("~", "~0").replace("/", "~1") for part in path))
        return parts if kind is None else container(parts, kind)


def container(parts: dict[str, Any], kind: dict[str, Any]) -> Any:
    """What was taken apart."""
    if not kind["keys"]:
        listed = [parts[str(place)] for place in range(len(parts))]
        made = {"list": listed, "tuple": tuple(listed), "deque": Tagged("deque", [listed, kind.get("maxlen")])}
        return made.get(kind["kind"], Tagged(kind["kind"], listed))
    keys = [(plain(key), key if isinstance(key, str) else repr(key)) for key in kind["keys"]]
    need(sorted(part for _, part in keys) == sorted(parts), f"{kind['kind']}: other parts than keys")
    mapped = {key: parts[part] for key, part in keys}
    return mapped if kind["kind"] == "dict" else Tagged(kind["kind"], mapped)


def holds_tensors(node: Any) -> bool:
    return (isinstance(node, Tagged) and node.type == "$tensor") or (isinstance(node, dict) and any(holds_tensors(child) for child in node.values()))


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Of item `model`, where it is no module: names are paths."""
    top: dict[str, Any] = {}
    for name, child in flat.items():
        *above, last = (part.replace("~1", "/").replace("~0", "~") for part in name.split("/"))
        node = top
        for part in above:
            node = node.setdefault(part, {})
        node[last] = child
    return top


def plain(node: Any) -> Any:
    """A value with its maps as dicts."""
    if isinstance(node, Tagged):
        return {plain(key): plain(child) for key, child in node.value} if node.type == "$map" else Tagged(node.type, plain(node.value))
    if isinstance(node, dict):
        return {key: plain(child) for key, child in node.items()}
    return type(node)(plain(child) for child in node) if type(node) in (list, tuple) else node


def read_python(folder: Path, content: dict[str, Any]) -> dict[str, Any]:
    """What the package's own Checkpoint.state() gives, without it."""
    return {item: Tree(folder, content, item).root for item in dict.fromkeys((*content["items"], *content["items"]["python"]["items"])) if item != "python"}


def read_marks(folder: Path, manifest: dict[str, Any]) -> dict[str, Any]:
    """Tags, pin and metrics as they count now."""
    numbers = [int(match[1]) for path in folder.iterdir() if (match := MARKS.fullmatch(path.name))]
    if not numbers:
        return {"tags": manifest["tags"], "pinned": False, "metrics": manifest["metrics"]}
    marks = sealed(folder / f"marks.{max(numbers)}.json", "marks")
    return {"tags": marks["tags"], "pinned": marks["pinned"], "metrics": {**manifest["metrics"], **marks["metrics"]}}


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The rows of metrics.jsonl that count."""
    rows: list[dict[str, Any]] = []
    term = 0
    for line in path.read_bytes().split(b"\n")[:-1] if path.exists() else []:
        match = CHECK.search(line)
        if match is None or xxh3_128(line[: match.start()]).hex()[:16] != match[1].decode():
            continue
        row = json.loads(line)
        if row["term"] < term or (row["term"] > term and "resumed" not in row):
            continue
        if "resumed" in row:
            term = row["term"]
            rows = [kept for kept in rows if kept["step"] <= row["resumed"]]
        else:
            rows.append(row)
    return rows


def on_line(head: dict[str, Any], term: int, step: int) -> bool:
    return step <= head["step"] if term == head["term"] else any(t == term and step <= s for t, s in head["lineage"])


def read_run(run: Path) -> list[tuple[str, dict[str, Any], bool]]:
    run_id = sealed(run / "run.json", "run")["id"]
    checkpoints = [(path.name, read_checkpoint(path, run_id)) for path in run.iterdir() if re.fullmatch(r"checkpoint-(0|[1-9]\d*)(~[1-9]\d*)?", path.name)]
    checkpoints.sort(key=lambda c: (c[1]["manifest"]["term"], c[1]["manifest"]["step"]))
    top = checkpoints[-1][1]["manifest"]
    return [(name, content, on_line(top, content["manifest"]["term"], content["manifest"]["step"])) for name, content in checkpoints]


def main(arguments: list[str]) -> int:
    try:
        if arguments[:1] in (["--dump"], ["--python"]):
            folder = Path(arguments[1])
            content = read_checkpoint(folder, sealed(folder.parent / "run.json", "run")["id"])
            print(pformat(read_python(folder, content), width=150) if arguments[0] == "--python" else json.dumps(content, indent=1, default=repr))
            return 0
        for name, content, current in read_run(Path(arguments[0])):
            marks = content["marks"]
            said = "".join(f", {tag}" for tag in marks["tags"]) + (", pinned" if marks["pinned"] else "")
            print(f"{name}: {len(content['tensors'])} tensors verified, {'current' if current else 'superseded'}{said}")
        for row in read_metrics(Path(arguments[0]) / "metrics.jsonl"):
            print(f"  step {row['step']}: {row['metrics']}")
    except (Damage, KeyError, ValueError, OSError, struct.error) as problem:
        print(f"reader.py: {problem!r}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
