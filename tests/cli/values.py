"""Plain values that no JSON object or C string can hold as they are: NUL bytes, keys that are no text, maps that look like what stands for a tensor, and
values too long to print. values.py FOLDER, which holds a golden store; CAIRN names the program.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent / "golden")]
from check import Checks  # noqa: E402
from reader import tensor_rule  # noqa: E402

CAIRN = os.environ["CAIRN"]
PAIR = {"$tuple": [1, "a\0"]}
ODD = {
    "nul": "a\0b",
    "before\0here": 1,
    "before\0there": 2,
    "controls": "\x1b[31m\x7f\x9b\u202e",
    "numbers": {"$map": [[3, "three"], ["3", "a text"], [PAIR, "a pair"], [None, 0], [True, 1], [0.5, 2]]},
    "tagged keys": {"$map": [["x", 1], [{"$type": "T", "value": "x"}, 2]]},
    "like a tensor": {"tensor": "wte.weight"},
    "like bytes": {"bytes": 5},
    "like a map": {"map": [[1, 2]]},
    "named tensor": {"tensor": {"$tensor": "wte.weight"}},
    "bytes": {"$bytes": "AAEC/v8="},
    "empty": {},
}
check = Checks("values")


def seal(path: Path, body: str) -> None:
    path.unlink()
    path.write_text(body + '\n"digest":"' + tensor_rule((body + "\n").encode()) + '"}\n')


def give(step: int, values: dict[str, Any]) -> None:
    """The checkpoint's item `extra` holds these values, as docs/FORMAT.md writes them."""
    folder = Path("golden", f"checkpoint-{step}")
    state = folder / "training/state.json"
    text = state.read_text()
    items = json.loads(text)["items"] | {"extra": values}
    seal(state, '{"cairn":"state","version":1,"items":' + json.dumps(items, separators=(",", ":")) + ",")
    data = state.read_bytes()
    manifest = folder / "manifest.json"
    text = manifest.read_text()
    entry = f'"name":"training/state.json","kind":"own","size":{len(data)},"digest":"{tensor_rule(data)}"'
    text = re.sub(r'"name":"training/state.json","kind":"own","size":\d+,"digest":"[0-9a-f]+"', lambda match: entry, text)
    seal(manifest, text[: text.rindex('\n"digest":')])


def cairn(*arguments: str) -> str:
    ran = subprocess.run([CAIRN, *arguments], capture_output=True)
    if ran.returncode > 1 or ran.stderr:
        check(" ".join(arguments), False, ran)
    return ran.stdout.decode()


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({key for key, _ in pairs}) < len(pairs):
        raise ValueError(f"a key stands there twice: {[key for key, _ in pairs]}")
    return dict(pairs)


def loads(text: str) -> Any:
    return json.loads(text, object_pairs_hook=once)


def read(node: Any) -> Any:
    """What a program makes of `values`, by the rules of cairn(1) alone: in the forms of docs/FORMAT.md."""
    if isinstance(node, list):
        return [read(item) for item in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {"tensor"} and isinstance(node["tensor"], str):
        return {"$tensor": node["tensor"]}
    if set(node) == {"bytes"} and isinstance(node["bytes"], int):
        return {"$bytes": node["bytes"]}
    if set(node) == {"map"} and isinstance(node["map"], list):
        return {"$map": [[read(key), read(value)] for key, value in node["map"]]}
    return {key: read(value) for key, value in node.items()}


EXPECTED = ODD | {
    "numbers": {"$map": [[3, "three"], ["3", "a text"], [[1, "a\0"], "a pair"], [None, 0], [True, 1], [0.5, 2]]},
    "tagged keys": {"$map": [["x", 1], ["x", 2]]},
    "like a tensor": {"$map": [["tensor", "wte.weight"]]},
    "like bytes": {"$map": [["bytes", 5]]},
    "like a map": {"$map": [["map", [[1, 2]]]]},
    "bytes": {"$bytes": 5},
}


def odd_values() -> None:
    give(20, ODD)
    give(10, {"numbers": {"$map": [[3, "three"], ["3", "another"]]}, "before\0here": 3})
    for command in ("ls", "ls golden", "show golden@20", "verify golden", "diff golden@10 golden@20", "diff golden@20 golden@10", "diff golden@20 golden@20", "du", "keep -n --last 1 golden"):
        text = cairn(*command.split(), "--json")
        try:
            loads(text)
            check(f"{command} --json is JSON, each key once", True)
        except ValueError as error:
            check(f"{command} --json is JSON, each key once", False, (error, text))
    extra = read(loads(cairn("show", "--json", "golden@20"))["values"]["extra"])
    for name, value in EXPECTED.items():
        check(f"show --json tells {name!r} as it is", json.dumps(extra.get(name)) == json.dumps(value), extra.get(name))
    rows = {row["name"]: row for row in loads(cairn("diff", "--json", "golden@10", "golden@20"))["differences"] if row["item"] == "extra"}
    check("diff --json tells both maps whole", [read(rows[""][side]).get("before\0here") for side in "ab"] == [3, 1], rows)
    shown = cairn("show", "golden@20")
    lines = [
        'extra/nul = "a\\u0000b"',
        "extra/before\\u0000here = 1",
        "extra/before\\u0000there = 2",
        'extra/numbers/3 = "three"',
        'extra/numbers/[1, "a\\u0000"] = "a pair"',
        "extra/numbers/null = 0",
    ]
    for line in lines:
        check(f"show prints {line}", f"  {line}\n" in shown, shown)


def long_values() -> None:
    """What fills screens is told by its beginning and its size; --all prints it."""
    text, numbers = "é" * 50_000, list(range(5000))
    give(20, {"text": text, "numbers": numbers, "map": {str(i): i for i in numbers}, "lists": [[text]], "short": 1})
    give(30, {"text": text + "!", "numbers": "gone", "map": 5, "lists": [[text, 1]], "short": 2})
    lines = cairn("diff", "golden@20", "golden@30").splitlines()
    check("diff prints no long line", max(map(len, lines)) < 250, [line[:100] for line in lines if len(line) >= 250])
    part = next((line for line in lines if line.startswith("extra:text: ")), "")
    check("diff of long texts shows where they part", part == 'extra:text: ...éééééééééé" -> ...éééééééééé!"', part)
    part = next((line for line in lines if line.startswith("extra:numbers: ")), "")
    check("diff says how much it cuts", re.search(r': \[0, 1, 2, .*\.\.\. \(28\.8 kB more\) -> "gone"$', part) is not None, part)
    rows = {row["name"]: row for row in loads(cairn("diff", "--json", "golden@20", "golden@30"))["differences"] if row["item"] == "extra"}
    check("diff --json leaves out long values, and tells their size", rows["numbers"].get("a_bytes") == 28_890 and "a" not in rows["numbers"] and rows["numbers"]["b"] == "gone", rows)
    check("and short ones stand there", (rows["short"]["a"], rows["short"]["b"]) == (1, 2), rows["short"])
    rows = {row["name"]: row for row in loads(cairn("diff", "--json", "--all", "golden@20", "golden@30"))["differences"] if row["item"] == "extra"}
    check("diff --json --all tells all of them", rows["numbers"]["a"] == numbers and rows["text"]["b"] == text + "!" and "a_bytes" not in rows["numbers"], len(str(rows)))
    lines = cairn("show", "golden@20").splitlines()
    check("show prints no long line", max(map(len, lines)) < 250, [line[:100] for line in lines if len(line) >= 250])
    check("show prints a page of a long list", "  extra/numbers/39 = 39" in lines and "  extra/numbers: 4960 more; --all shows them" in lines, len(lines))
    check("and of a long map", "  extra/map/39 = 39" in lines and "  extra/map: 4960 more; --all shows them" in lines, len(lines))
    lines = cairn("show", "--all", "golden@20").splitlines()
    check("show --all prints all", "  extra/numbers/4999 = 4999" in lines and f'  extra/text = "{text}"' in lines, len(lines))
    check("show --json does, too", loads(cairn("show", "--json", "golden@20"))["values"]["extra"]["text"] == text)


def main() -> int:
    os.chdir(sys.argv[1])
    odd_values()
    long_values()
    return check.failed != 0


if __name__ == "__main__":
    sys.exit(main())
