"""Bad inputs: files and folders that Cairn did not write. Each is a Case: what to make, and what the program must say of it.

The labels S1..S60 and I1..I9 are those of the project's list of known bad inputs; "own" ones are ours. The outcome is a code's name (cairn.h), OK,
or WARN: accepted, with a warning that --strict turns into a failure.
"""

from __future__ import annotations

import json
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

INDEX = "model.safetensors.index.json"


@dataclass
class Case:
    label: str
    outcome: str  # of several that are right: "CORRUPT|TRUNCATED"
    make: Callable[[Path], None]  # makes the input in an empty folder
    target: str = "x.safetensors"  # in that folder: what the program is given
    says: str = ""  # part of the message
    header_bytes: int = 0  # of large headers: what memory is measured against
    cpu_s: float = 1.0  # the most processor time


def entry(name: str, dtype: str = "U8", shape: object = (1,), offsets: object = (0, 1), **more: object) -> dict:
    return {name: {"dtype": dtype, "shape": list(shape) if isinstance(shape, tuple) else shape, "data_offsets": list(offsets) if isinstance(offsets, tuple) else offsets, **more}}


def framed(header: bytes | str, data: bytes = b"", length: int | None = None) -> bytes:
    raw = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    return struct.pack("<Q", len(raw) if length is None else length) + raw + data


def write(content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / "x.safetensors").write_bytes(content) and None


def header(label: str, outcome: str, text: bytes | str, data: int = 0, says: str = "", **more: object) -> Case:
    return Case(label, outcome, write(framed(text, bytes(data))), says=says, **more)


def tensors(label: str, outcome: str, entries: dict, data: int = 1, says: str = "") -> Case:
    return header(label, outcome, json.dumps(entries), data, says)


def raw(label: str, outcome: str, content: bytes, says: str = "") -> Case:
    return Case(label, outcome, write(content), says=says)


ONE = json.dumps(entry("w"))
FMT, TRN, LIM, UNS, PTH, KIND, OK, WARN = "FORMAT", "TRUNCATED", "LIMIT", "UNSUPPORTED", "PATH", "USAGE", "OK", "WARN"


def large_header(fill: Callable[[int], bytes], size: int) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        body = fill(size)
        with open(folder / "x.safetensors", "wb") as out:
            out.write(struct.pack("<Q", len(body)))
            out.write(body)

    return make


def many_tensors(count: int) -> bytes:
    return b"{" + b",".join(b'"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % i for i in range(count)) + b"}"


def sparse(folder: Path) -> None:
    """Claims 2^40 bytes and has them, as a hole: opening and listing must not read them."""
    text = json.dumps(entry("w", shape=(1 << 40,), offsets=(0, 1 << 40))).encode()
    with open(folder / "x.safetensors", "wb") as out:
        out.write(framed(text))
        out.truncate(8 + len(text) + (1 << 40))


def special(make: Callable[[Path], None]) -> Callable[[Path], None]:
    return lambda folder: make(folder / "x.safetensors")


FILES = [
    raw("S1 an empty file", TRN, b"", "fewer than 8 bytes"),
    raw("S2 seven bytes", TRN, b"\2\0\0\0\0\0\0", "fewer than 8 bytes"),
    raw("S3 a header of no bytes", FMT, bytes(8)),
    header("S4 a header of blanks", FMT, "    "),
    raw("S5 N = 2^63", LIM, struct.pack("<Q", 1 << 63), "at most 100000000"),
    raw("S5 N = 2^64 - 1", LIM, b"\xff" * 8),
    raw("S5 N = 2^64 - 8: N + 8 wraps", LIM, struct.pack("<Q", (1 << 64) - 8)),
    raw("S6 N one beyond the end", TRN, framed(ONE, b"\0", len(ONE) + 2)),
    raw("S6 N = 100,000,001", LIM, struct.pack("<Q", 100_000_001)),
    Case("S7 N = 100,000,000 exactly, blanks", WARN, large_header(lambda n: ONE.replace("1", "0").encode() + b" " * (n - len(ONE)), 100_000_000), header_bytes=100_000_000),
    header("S9 not UTF-8", FMT, b'{"\xff":{}}', says="UTF-8"),
    header("S10 not UTF-8 between tokens", FMT, b"{\xff}"),
    header("S11 overlong UTF-8", FMT, b'{"\xc0\x80":{}}', says="UTF-8"),
    header("S11 a surrogate in UTF-8", FMT, b'{"\xed\xa0\x80":{}}', says="UTF-8"),
    header("S12 a lone surrogate by escape", FMT, '{"\\ud800":{}}', says="escape"),
    header("S13 a list", FMT, "[]", says="object"),
    header("S13 null", FMT, "null"),
    header("S13 a number", FMT, "1"),
    header("S13 a string", FMT, '"x"'),
    header("S14 a byte order mark", FMT, b"\xef\xbb\xbf{}"),
    header("S15 white space before", OK, " \t\r\n" + ONE, 1),
    header("S16 white space behind", OK, ONE + " \n\t ", 1),
    header("S17 NULs behind", FMT, b"{}\0\0\0"),
    header("S18 a second value", FMT, "{}{}"),
    header("S19 a string without end", FMT, '{"abc'),
    header("S19 an object without end", FMT, ONE[:-1], 1),
    header("S20 a comma after the last", FMT, ONE[:-1] + ",}", 1),
    header("S20 a comment", FMT, "{/**/}"),
    header("S20 NaN", FMT, '{"w":NaN}'),
    header("S21 a name twice", FMT, '{"a":%s,"a":%s}' % (json.dumps(entry("a")["a"]), json.dumps(entry("a", offsets=(1, 2))["a"])), 2, "twice"),
    header("S21 a name twice, by escape", FMT, '{"a":%s,"\\u0061":%s}' % (json.dumps(entry("a")["a"]), json.dumps(entry("a", offsets=(1, 2))["a"])), 2, "twice"),
    header("S22 dtype twice", FMT, '{"w":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}'),
    tensors("S23 a number in __metadata__", FMT, {"__metadata__": {"a": 1}}, 0),
    tensors("S23 null in __metadata__", FMT, {"__metadata__": {"a": None}}, 0),
    tensors("S23 an object in __metadata__", FMT, {"__metadata__": {"a": {"b": "c"}}}, 0),
    tensors("S24 null for __metadata__", OK, {"__metadata__": None, **entry("w")}),
    tensors("S25 an empty name", WARN, entry(""), says="empty"),
    tensors("S26 a NUL in a name", UNS, entry("a\0b"), says="a\\u0000b"),
    tensors("S27 a name that would be a path", OK, {**entry("../../etc/passwd"), **entry("/abs", offsets=(1, 2)), **entry("C:\\x", offsets=(2, 3))}, 3),
    tensors("S28 control characters in a name", OK, entry("\x1b[2J\x1b]0;owned\x07\u202e\n")),
    tensors("S29 NFC and NFD twins", OK, {**entry("\u00e9"), **entry("e\u0301", offsets=(1, 2))}, 2),
    header("S31 no dtype", FMT, '{"w":{"shape":[0],"data_offsets":[0,0]}}', says="dtype"),
    header("S31 no shape", FMT, '{"w":{"dtype":"U8","data_offsets":[0,0]}}', says="shape"),
    header("S31 no data_offsets", FMT, '{"w":{"dtype":"U8","shape":[0]}}', says="data_offsets"),
    tensors("S32 an unknown field", FMT, entry("w", extra=1)),
    tensors("S33 dtype F128", UNS, entry("w", "F128", offsets=(0, 16)), 16, "F128"),
    tensors("S33 dtype f32", FMT, entry("w", "f32", offsets=(0, 4)), 4),
    tensors("S33 dtype 32", FMT, entry("w", "32", offsets=(0, 4)), 4),
    tensors("S33 dtype null", FMT, {"w": {"dtype": None, "shape": [1], "data_offsets": [0, 4]}}, 4),
    tensors("S34 an object for dtype", FMT, {"w": {"dtype": {"F32": None}, "shape": [1], "data_offsets": [0, 4]}}, 4),
    tensors("S35 three F4", FMT, entry("w", "F4", (3,), (0, 1))),
    tensors("S36 two F4", OK, entry("w", "F4", (2,), (0, 1))),
    header("S37 a dimension 2.0", FMT, '{"w":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}}', 2),
    header("S37 a dimension 1e3", FMT, '{"w":{"dtype":"U8","shape":[1e3],"data_offsets":[0,1000]}}', 1000),
    tensors("S38 a dimension -1", FMT, entry("w", shape=(-1,))),
    tensors("S38 a dimension 2^64", FMT, entry("w", shape=(1 << 64,))),
    tensors("S39 2^32 x 2^32", FMT, entry("w", shape=(1 << 32, 1 << 32), offsets=(0, 0)), 0),
    tensors("S40 an object for shape", FMT, entry("w", shape={})),
    tensors("S41 a zero dimension and a byte", FMT, entry("w", shape=(0,))),
    tensors("S41 [0, 2^63, 2^63]", OK, entry("w", shape=(0, 1 << 63, 1 << 63), offsets=(0, 0)), 0),
    tensors("S41 [2^63, 2^63, 0]", FMT, entry("w", shape=(1 << 63, 1 << 63, 0), offsets=(0, 0)), 0),
    tensors("S42 a size that is not the shape's", FMT, entry("w", "F32", (2,), (0, 4)), 4),
    tensors("S43 begin after end", FMT, entry("w", offsets=(1, 0))),
    tensors("S44 a negative offset", FMT, entry("w", offsets=(-1, 0))),
    tensors("S45 an end beyond the data", TRN, entry("w", shape=(2,), offsets=(0, 2)), 1, "(byte "),
    tensors("S46 the first tensor not at 0", FMT, entry("w", offsets=(1, 2)), 2),
    tensors("S47 a hole", FMT, {**entry("a"), **entry("b", offsets=(2, 3))}, 3),
    tensors("S48 an overlap", FMT, {**entry("a", shape=(2,), offsets=(0, 2)), **entry("b", shape=(2,), offsets=(1, 3))}, 3),
    tensors("S49 a byte after the last tensor", FMT, entry("w"), 2, "after the last tensor"),
    Case("S49 a zip behind the tensors", FMT, write(framed(ONE, b"\0PK\3\4" + bytes(40)))),
    tensors("S51 one offset", FMT, entry("w", offsets=(0,))),
    tensors("S51 three offsets", FMT, entry("w", offsets=(0, 1, 2))),
    tensors("S53 entries in another order than the data", OK, {**entry("b", offsets=(1, 2)), **entry("a")}, 2),
    tensors("S55 empty tensors that share an offset", OK, {**entry("a"), **entry("b", shape=(0,), offsets=(1, 1)), **entry("c", shape=(0, 7), offsets=(1, 1))}),
    tensors("S56 an empty one inside another", FMT, {**entry("a", shape=(2,), offsets=(0, 2)), **entry("b", shape=(0,), offsets=(1, 1))}, 2),
    raw("S57 cut in the data", TRN, framed(json.dumps(entry("w", "F64", (4,), (0, 32))), bytes(31))),
    Case("S58 a pickle with our ending", FMT, write(b"\x80\x02csystem\nos\n" + bytes(64))),
    Case("S59 80,000 tensors", OK, large_header(lambda n: many_tensors(80_000), 0), header_bytes=4_400_000),
    Case("S59 a million tensors", LIM, large_header(lambda n: many_tensors(1_000_000), 0), header_bytes=58_000_000, cpu_s=2.0),
    Case("S60 a FIFO", KIND, special(os.mkfifo), says="a named pipe"),
    Case("S60 a folder", "NOTFOUND", special(os.mkdir)),
    Case("S60 a symlink to itself", "IO", special(lambda path: os.symlink("x.safetensors", path))),
    Case("S60 nothing", "NOTFOUND", lambda folder: None),
    Case("own: a tebibyte that is a hole", OK, sparse),
    Case("own: /dev/zero behind a link", KIND, special(lambda path: os.symlink("/dev/zero", path))),
    Case("own: /proc/self/mem behind a link", TRN + "|" + PTH + "|IO", special(lambda path: os.symlink("/proc/self/mem", path))),
    header("own: nested 100,000 deep", FMT, '{"w":' + "[" * 100_000),
    header("own: __metadata__ nested 1,000 deep", FMT + "|" + LIM, '{"__metadata__":' + '{"a":' * 1000),
    header("own: 65 dimensions", LIM, '{"w":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % ",".join(["1"] * 65), 1),
    header("own: a name of a mebibyte, with a mistake behind it", FMT, '{"%s":{"dtype":"U8"}}' % ("n" * (1 << 20)), says="..."),
    header("own: an escape sequence in a dtype", FMT, '{"w":{"dtype":"\\u001b[31m","shape":[1],"data_offsets":[0,1]}}', 1),
    header("own: a field of 100,000 bytes", FMT, '{"w":{"%s":1}}' % ("f" * 100_000)),
    header("own: a number of 100,000 digits", FMT, '{"w":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % ("9" * 100_000), 1),
    header("own: 100,000 pairs in __metadata__", LIM, json.dumps({"__metadata__": {str(i): "" for i in range(100_000)}})),
    header("own: __metadata__ without format", WARN, json.dumps({"__metadata__": {"who": "me"}, **entry("w")}), 1, "format"),
    header("own: __metadata__ of a mebibyte of control characters", WARN, json.dumps({"__metadata__": {"a": "\x1b[2J" * 200_000}}), says="format"),
    header("own: keys that differ in a NUL", FMT, '{"w":{"dtype\\u0000":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
    header("own: a zero-width joiner in a key", FMT, '{"w":{"dt\u200dype":"U8","shape":[1],"data_offsets":[0,1]}}', 1),
    header("own: offsets as text", FMT, '{"w":{"dtype":"U8","shape":[1],"data_offsets":["0","1"]}}', 1),
    header("own: offsets around 2^64", FMT, '{"w":{"dtype":"U8","shape":[1],"data_offsets":[18446744073709551615,18446744073709551616]}}', 1),
    header("own: a rank of 64 ones", OK, '{"w":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % ",".join(["1"] * 64), 1),
    header("own: UTF-16", FMT, ONE.encode("utf-16")),
    raw("own: a length in big endian", LIM, struct.pack(">Q", len(ONE)) + ONE.encode() + b"\0"),
    raw("own: a gzip of one", TRN, b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03" + bytes(60)),
    raw("own: a Git LFS pointer", KIND, b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "git-lfs"),
    raw("own: a page of HTML", KIND, b"<!DOCTYPE html><html><body>Log in</body></html>", "HTML"),
]


def folder(label: str, outcome: str, index: str | dict | None, says: str = "", more: Callable[[Path], None] | None = None) -> Case:
    """A sharded folder: one.safetensors holds a and b, two.safetensors c."""

    def make(path: Path) -> None:
        path = path / "hub"
        path.mkdir()
        (path / "one.safetensors").write_bytes(framed(json.dumps({**entry("a"), **entry("b", offsets=(1, 2))}), bytes(2)))
        (path / "two.safetensors").write_bytes(framed(json.dumps(entry("c")), bytes(1)))
        if index is not None:
            (path / INDEX).write_text(index if isinstance(index, str) else json.dumps(index))
        if more:
            more(path)

    return Case(label, outcome, make, "hub", says)


WHOLE = {"a": "one.safetensors", "b": "one.safetensors", "c": "two.safetensors"}


def named(label: str, name: str) -> Case:
    return folder(f"I1 {label}", PTH, {"weight_map": {**WHOLE, "c": name}})


def replaced(path: Path, make: Callable[[Path], None]) -> None:
    (path / "two.safetensors").unlink()
    make(path / "two.safetensors")


FOLDERS = [
    folder("I0 as it should be", OK, {"metadata": {"total_size": 3}, "weight_map": WHOLE}),
    named("a path upwards", "../x.safetensors"),
    named("an absolute path", "/etc/passwd"),
    named("upwards from below", "a/../../b.safetensors"),
    named("a network path", "\\\\h\\s.safetensors"),
    named("a scheme", "file:x.safetensors"),
    named("an address", "https://h/x.safetensors"),
    named("a NUL", "two\0.safetensors"),
    named("no name", ""),
    named("a point", "."),
    named("two points", ".."),
    named("a folder below", "sub/two.safetensors"),
    named("a drive", "C:two.safetensors"),
    named("a hidden file", ".two.safetensors"),
    named("an option", "-two.safetensors"),
    named("another ending", "two.bin"),
    named("300 bytes", "t" * 300 + ".safetensors"),
    folder("I2 a number for a file", FMT, {"weight_map": {**WHOLE, "c": 2}}),
    folder("I3 in the map, not in the shard", FMT, {"weight_map": {**WHOLE, "d": "two.safetensors"}}, '"d"'),
    folder("I3 in the shard, not in the map", FMT, {"weight_map": {"a": "one.safetensors", "c": "two.safetensors"}}, '"b"'),
    folder("I4 in the other shard", FMT, {"weight_map": {**WHOLE, "c": "one.safetensors", "b": "two.safetensors"}}),
    folder("I5 a shard is missing", TRN, {"weight_map": {**WHOLE, "c": "three.safetensors"}}, "three.safetensors"),
    folder("I6 no weight_map", FMT, {"metadata": {"total_size": 3}}, "weight_map"),
    folder("I6 an empty index", FMT, ""),
    folder("I6 an index cut off", FMT, '{"weight_map":{"a":"one.safetensors",'),
    folder("I6 an index that is a list", FMT, "[]"),
    folder("I7 total_size is wrong", WARN, {"metadata": {"total_size": 999}, "weight_map": WHOLE}, "999"),
    folder("I8 a tensor in two shards", FMT, {"weight_map": WHOLE}, "two shards", lambda path: (path / "two.safetensors").write_bytes(framed(json.dumps(entry("a")), bytes(1))) and None),
    folder("I9 a shard that is the index", PTH, {"weight_map": {**WHOLE, "c": INDEX}}),
    folder("own: a name twice", FMT, '{"weight_map":{"a":"one.safetensors","b":"one.safetensors","c":"two.safetensors","\\u0063":"two.safetensors"}}', "twice"),
    folder("own: a shard that is a FIFO", KIND, {"weight_map": WHOLE}, "", lambda path: replaced(path, os.mkfifo)),
    folder("own: a shard that is a folder", PTH + "|FORMAT", {"weight_map": WHOLE}, "", lambda path: replaced(path, os.mkdir)),
    folder("own: a shard that links to itself", PTH, {"weight_map": WHOLE}, "", lambda path: replaced(path, lambda at: os.symlink("two.safetensors", at))),
    folder("own: a shard behind a link, as in the Hub's cache", OK, {"weight_map": WHOLE}, "", lambda path: (path / "two.safetensors").rename(path.parent / "blob") and replaced_link(path)),
    folder("own: a shard of 10 bytes", TRN, {"weight_map": WHOLE}, "two.safetensors", lambda path: (path / "two.safetensors").write_bytes(b"\x40" + bytes(9)) and None),
    folder("own: an index nested 1,000 deep", LIM, '{"x":' + "[" * 1000),
    folder("own: an index that is a folder", PTH + "|FORMAT", None, "", lambda path: (path / INDEX).mkdir()),
    folder("own: an index of 20,000 shards that are not there", TRN, {"weight_map": {str(i): f"{i}.safetensors" for i in range(20_000)}}),
    folder("own: no index and no model", "NOTFOUND", None),
]


def replaced_link(path: Path) -> None:
    os.symlink("../blob", path / "two.safetensors")


CASES = FILES + FOLDERS
