"""Files for the differential test: seeds that are well formed, corner cases, and mutations of the seeds by the shape of the JSON and by bytes.

A header is a list of (key, value) pairs, so that a key may come twice; an object within it is such a list, too (class Pairs). Raw stands for text
that goes into the JSON as it is.
"""

from __future__ import annotations

import json
import random
import struct
from typing import Callable

BITS = {
    "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8,
    "I16": 16, "U16": 16, "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64, "U64": 64,
}  # fmt: skip
DTYPES = list(BITS)


class Pairs(list):
    """A JSON object as its (key, value) pairs."""


class Raw(str):
    """Text that is put into the JSON as it is."""


class File:
    """A file before it is written: the header's pairs, the data, and how the bytes are put together."""

    def __init__(self, header: Pairs, data: bytes) -> None:
        self.header, self.data = header, data
        self.before, self.behind = "", ""
        self.blank = lambda: ""
        self.escape = False

    def text(self, value: object) -> str:
        blank = self.blank
        if isinstance(value, Raw):
            return value
        if isinstance(value, Pairs):
            return "{" + ",".join(f"{blank()}{self.text(key)}{blank()}:{blank()}{self.text(item)}" for key, item in value) + blank() + "}"
        if isinstance(value, list):
            return "[" + ",".join(f"{blank()}{self.text(item)}{blank()}" for item in value) + "]"
        if isinstance(value, str) and self.escape:
            return '"' + "".join("\\u%04x" % ord(c) if ord(c) < 0x10000 else json.dumps(c)[1:-1] for c in value) + '"'
        return json.dumps(value, ensure_ascii=False)

    def content(self) -> bytes:
        raw = (self.before + self.text(self.header) + self.behind).encode("utf-8", "surrogatepass")
        return struct.pack("<Q", len(raw)) + raw + self.data

    def entries(self) -> list[int]:
        return [i for i, (key, value) in enumerate(self.header) if key != "__metadata__" and isinstance(value, Pairs)]


def size_of(dtype: str, shape: list[int]) -> int:
    count = 1
    for extent in shape:
        count *= extent
    return count * BITS[dtype] // 8


def entry(dtype: object, shape: object, begin: object, end: object) -> Pairs:
    return Pairs([("dtype", dtype), ("shape", shape), ("data_offsets", [begin, end])])


def make(tensors: list[tuple[str, str, list[int]]], metadata: object = None) -> File:
    """A file of these (name, dtype, shape), one behind the other."""
    header, at = Pairs(), 0
    if metadata is not None:
        header.append(("__metadata__", Pairs(metadata.items()) if isinstance(metadata, dict) else metadata))
    for name, dtype, shape in tensors:
        size = size_of(dtype, shape)
        header.append((name, entry(dtype, list(shape), at, at + size)))
        at += size
    return File(header, bytes(i * 37 + 11 & 255 for i in range(at)))


SEEDS: list[Callable[[], File]] = [
    lambda: make([(f"t.{dtype}", dtype, [4, 2]) for dtype in DTYPES], {"format": "pt"}),
    *(lambda dtypes=DTYPES[i : i + 4]: make([(f"layer.{n}.{d}", d, [2, 2]) for n, d in enumerate(dtypes)]) for i in range(0, len(DTYPES), 4)),
    lambda: make([("scalar", "F32", []), ("scalar8", "U8", []), ("one", "I64", [1, 1, 1])]),
    lambda: make([("empty", "F32", [0]), ("full", "U8", [3]), ("empty2", "F64", [2, 0, 5]), ("empty3", "F4", [0])]),
    lambda: make([], {"format": "pt", "who": "me", "": "", "path": "a/b\\c", "text": 'quote " and \n and \t'}),
    lambda: make([]),
    lambda: make([("a", "U8", [1])]),
    lambda: make([("\u00e9", "U8", [2]), ("e\u0301", "U8", [2]), ("\U0001f600", "I8", [1]), ("\u202e\u200d", "I8", [1])]),
    lambda: make([("../../x", "U8", [1]), ("/abs", "U8", [1]), ("", "U8", [1]), ("a b\tc", "U8", [1]), ("n" * 1100, "U8", [1])]),
    lambda: make([("w", "BF16", [3, 5, 2])], {"format": "np"}),
    lambda: make([("half", "F6_E2M3", [4]), ("packed", "F4", [2, 3]), ("third", "F6_E3M2", [2, 2, 2])]),
    lambda: make([("deep", "I16", [1] * 64), ("deep2", "I16", [1] * 40 + [2])]),
    lambda: make([(f"block.{i}.weight", "F16", [i + 1]) for i in range(12)], {"format": "pt"}),
    lambda: make([("__metadata", "U8", [1]), ("metadata", "U8", [1]), ("__metadata__ ", "U8", [1]), ("dtype", "U8", [1])], {"format": "pt"}),
    lambda: make([("z", "F64", [2]), ("y", "F32", [3]), ("x", "U16", [1]), ("w", "BOOL", [5])], {}),
]

# --------------------------------------------------------------------------------------------------------------- mutations

ODD_NUMBERS = [
    0, 1, 2, 3, 7, -1, 1 << 31, (1 << 32) - 1, 1 << 32, 1 << 53, (1 << 63) - 1, 1 << 63, (1 << 64) - 1, 1 << 64, 1 << 70, 10**30,
    Raw("-0"), Raw("1.0"), Raw("0.0"), Raw("-0.0"), Raw("1e0"), Raw("1E0"), Raw("0e0"), Raw("1e2"), Raw("01"), Raw("+1"), Raw("1."), Raw(".5"), Raw("0x1"),
    Raw("1e999"), Raw("NaN"), Raw("Infinity"), True, False, None, "1", "", 1.5, -1.5, [], [1], Pairs(), Pairs([("1", 1)]),
]  # fmt: skip
ODD_NAMES = [
    "", " ", "a", "__metadata__", "__metadata", "a\0b", "\0", "\x7f", "\x1b[2J", "\u00e9", "e\u0301", "\u2028", "\ufeff", "\uffff", "\U0010ffff", "n" * 1023,
    "n" * 1024, "n" * 3000, "../../etc/passwd", "C:\\x", '"', "\\", "/", Raw('"\\ud800"'), Raw('"\\udc00\\ud800"'), Raw('"\\ud83d\\ude00"'),
    Raw('"\\/"'), Raw('"\\x41"'), Raw('"\\u00"'), Raw('"\\u0041"'), Raw('"\x01"'), Raw('"\n"'), Raw("'a'"), Raw("a"), Raw("1"), Raw("null"),
]  # fmt: skip
ODD_DTYPES = [
    "F128", "f32", "F32 ", " F32", "", "32", "BF16X", "FLOAT", "F8_E4M3FN", "F8_E4M3B11FNUZ", "I4", "U4", "C128", "F6", "F8", "None", None, 1, True, [], ["F32"],
    Pairs(), Pairs([("F32", None)]), Pairs([("U8", None)]), Pairs([("U8", Pairs())]), Pairs([("U8", None), ("I8", None)]), Pairs([("F128", None)]),
    Raw('"\\u00468_E8M0"'), Raw('"U\\u0038"'), Raw('"F32\\u0000"'),
]  # fmt: skip
ODD_VALUES = [None, True, 0, 1.5, "x", [], [1], Pairs(), Pairs([("a", "b")]), Raw("1e999"), Raw("NaN"), Raw("-"), Raw(""), Raw("[" * 200 + "]" * 200), "\0", "\U0001f600"]
BLANKS = [" ", "\t", "\n", "\r", "  ", " \n\t"]


def nested(rng: random.Random) -> Raw:
    depth = rng.choice([3, 58, 60, 61, 62, 63, 64, 65, 66, 100, 120, 124, 126, 127, 128, 129, 300])
    return Raw("[" * depth + "]" * depth) if rng.random() < 0.5 else Raw('{"a":' * depth + "1" + "}" * depth)


def pick(rng: random.Random, file: File) -> Pairs | None:
    """One of the entries that are objects."""
    entries = file.entries()
    return file.header[rng.choice(entries)][1] if entries else None


def field(one: Pairs, key: str) -> int | None:
    return next((i for i, (name, _) in enumerate(one) if name == key), None)


def edit(rng: random.Random, file: File, key: str, change: Callable[[object], object]) -> None:
    one = pick(rng, file)
    at = None if one is None else field(one, key)
    if at is not None:
        one[at] = (key, change(one[at][1]))


def change_dtype(rng: random.Random, file: File) -> None:
    edit(rng, file, "dtype", lambda _: rng.choice(ODD_DTYPES) if rng.random() < 0.6 else rng.choice(DTYPES))


def change_shape(rng: random.Random, file: File) -> None:
    def change(shape: object) -> object:
        if not isinstance(shape, list) or rng.random() < 0.1:
            return rng.choice(ODD_VALUES)
        shape, how = list(shape), rng.randrange(6)
        if how == 0:
            shape.insert(rng.randint(0, len(shape)), 1)
        elif how == 1:
            rng.shuffle(shape)
        elif how == 2:
            shape += [1] * rng.choice([1, 10, 62, 63, 64, 65, 100])
        elif how == 3:
            shape.insert(rng.randint(0, len(shape)), rng.choice(ODD_NUMBERS))
        elif shape:
            shape[rng.randrange(len(shape))] = rng.choice(ODD_NUMBERS)
        return shape

    edit(rng, file, "shape", change)


def change_offsets(rng: random.Random, file: File) -> None:
    def change(offsets: object) -> object:
        if not isinstance(offsets, list) or rng.random() < 0.1:
            return rng.choice(ODD_VALUES)
        offsets, how = list(offsets), rng.randrange(6)
        if how == 0:
            return offsets[::-1]
        if how == 1:
            return [n + rng.choice([-1, 1, 8]) if isinstance(n, int) else n for n in offsets]
        if how == 2:
            return offsets + [rng.choice(ODD_NUMBERS)]
        if how == 3:
            return offsets[:-1]
        if offsets:
            at = rng.randrange(len(offsets))
            offsets[at] = rng.choice(ODD_NUMBERS) if how == 4 or not isinstance(offsets[at], int) else offsets[at] + rng.choice([-2, -1, 1, 2])
        return offsets

    edit(rng, file, "data_offsets", change)


def change_fields(rng: random.Random, file: File) -> None:
    one = pick(rng, file)
    if not one:
        return
    how = rng.randrange(6)
    if how <= 1:
        rng.shuffle(one)
    elif how == 2:
        one.insert(rng.randint(0, len(one)), (rng.choice(["extra", "strides", "Dtype", "dtype\0", "", "offsets"]), nested(rng) if rng.random() < 0.3 else rng.choice(ODD_VALUES)))
    elif how == 3:
        del one[rng.randrange(len(one))]
    elif how == 4:
        one.insert(rng.randint(0, len(one)), rng.choice(one))
    else:
        at = rng.randrange(len(one))
        one[at] = (rng.choice(ODD_NAMES), one[at][1])


def change_entry(rng: random.Random, file: File) -> None:
    entries = file.entries()
    if not entries:
        return
    at = rng.choice(entries)
    name, one = file.header[at]
    how = rng.randrange(7)
    if how == 0:
        file.header[at] = (name, [value for _, value in one] + [0] * rng.choice([0, 0, 0, 1]))
    elif how == 1:
        file.header[at] = (name, rng.choice(ODD_VALUES))
    elif how == 2:
        file.header.insert(rng.randint(0, len(file.header)), (name, one))
    elif how == 3:
        other = file.header[rng.choice(entries)]
        file.header[at] = (other[0], one)
    elif how == 4:
        del file.header[at]
    else:
        file.header[at] = (rng.choice(ODD_NAMES), one)


def change_order(rng: random.Random, file: File) -> None:
    rng.shuffle(file.header)


def add_empty(rng: random.Random, file: File) -> None:
    """Empty tensors at an edge of another tensor, or within it."""
    ends = [value for _, one in file.header if isinstance(one, Pairs) for key, two in one if key == "data_offsets" and isinstance(two, list) for value in two if isinstance(value, int)]
    at = rng.choice(ends or [0]) + rng.choice([0, 0, 0, 1])
    shape = rng.choice([[0], [0, 3], [3, 0], [0, 1 << 63], [0, 1 << 63, 4], [1 << 63, 4, 0], [1 << 62, 0, 1 << 62]])
    file.header.insert(rng.randint(0, len(file.header)), (f"empty{rng.randrange(1000)}", entry(rng.choice(DTYPES), shape, at, at)))


def add_tensor(rng: random.Random, file: File) -> None:
    """One more behind the others, sometimes with a hole or bits that fill no byte."""
    dtype, shape = rng.choice(DTYPES), [rng.randrange(1, 5) for _ in range(rng.randrange(4))]
    size, gap = size_of(dtype, shape), rng.choice([0, 0, 0, 0, 1])
    at = len(file.data) + gap
    file.header.append((rng.choice(ODD_NAMES) if rng.random() < 0.3 else f"more{rng.randrange(1000)}", entry(dtype, shape, at, at + size)))
    file.data += bytes(gap + size)


def change_metadata(rng: random.Random, file: File) -> None:
    values = [Pairs(), None, [], "x", 1, Pairs([("a", "b")]), Pairs([("a", "b"), ("a", "c")]), Pairs([("a", 1)]), Pairs([("a", None)]), Pairs([("a", Pairs())]),
              Pairs([("format", "pt"), ("long", "v" * 3000)]), Pairs([("a", "b\0c")]), Pairs([("a\0b", "c")]), Pairs([("a\0b", "c"), ("a\0c", "d")]), Pairs([("a", nested(rng))]),
              Pairs([(str(i), str(i)) for i in range(100)]), Pairs([(rng.choice(ODD_NAMES), rng.choice(ODD_NAMES)) for _ in range(4)])]  # fmt: skip
    at = field(file.header, "__metadata__")
    if at is None or rng.random() < 0.15:
        file.header.insert(rng.randint(0, len(file.header)), ("__metadata__", rng.choice(values)))
    else:
        file.header[at] = ("__metadata__", rng.choice(values))


def change_spelling(rng: random.Random, file: File) -> None:
    how = rng.randrange(5)
    if how == 0:
        file.blank = lambda: rng.choice(BLANKS) if rng.random() < 0.3 else ""
    elif how == 1:
        file.escape = True
    elif how == 2:
        file.before = rng.choice([*BLANKS, "\ufeff", "\0", "\x0b", "\u00a0", ","])
    elif how == 3:
        file.behind = rng.choice([" " * rng.randrange(100), *BLANKS, "\0", "{}", ",", "}", "\x0c", "//", "\u00a0"])
    else:
        file.blank = lambda: rng.choice(["\0", "\x0b", "\u00a0", "/**/", ","]) if rng.random() < 0.02 else ""


def change_data(rng: random.Random, file: File) -> None:
    how = rng.randrange(3)
    if how == 0:
        file.data += rng.randbytes(rng.choice([1, 2, 8, 100]))
    elif how == 1:
        file.data = file.data[: -rng.choice([1, 2, 8])]
    else:
        file.data = rng.randbytes(len(file.data))


STRUCTURE = [
    change_dtype, change_shape, change_shape, change_offsets, change_offsets, change_fields, change_fields, change_entry, change_entry, change_order,
    change_order, add_empty, add_empty, add_tensor, add_tensor, change_metadata, change_metadata, change_spelling, change_spelling, change_data,
]  # fmt: skip
TOKENS = [b'"', b"{", b"}", b"[", b"]", b",", b":", b"\\", b"0", b"1", b"-", b".", b"e", b" ", b"\n", b"\0", b"\xff", b"\xc3\xa9", b"\xed\xa0\x80", b"\xc0\x80", b"\\u0000", b"\\ud800",
          b"null", b"true", b'"dtype":"U8",', b'"shape":[],', b'"x":{},', b'"data_offsets":[0,0]']  # fmt: skip


def change_bytes(rng: random.Random, content: bytes) -> bytes:
    raw, how = bytearray(content), rng.randrange(8)
    length = int.from_bytes(raw[:8], "little") if len(raw) >= 8 else 0
    head = min(len(raw), 8 + length)
    if how <= 1 and head > 8:
        for _ in range(rng.choice([1, 1, 1, 2, 8])):
            raw[rng.randrange(8, head)] ^= 1 << rng.randrange(8)
    elif how == 2 and raw:
        raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif how == 3:
        del raw[rng.randint(0, len(raw)) :]
    elif how == 4:
        raw += rng.randbytes(rng.choice([1, 7, 64, 500]))
    elif how == 5:
        wrong = rng.choice([length + rng.choice([-2, -1, 1, 2]), 0, 1, rng.randrange(1 << 64), 100_000_000, 100_000_001, (1 << 64) - 8, (1 << 64) - 1, 1 << 63])
        raw[:8] = (wrong % (1 << 64)).to_bytes(8, "little")
    elif head > 8:  # into the JSON, and N with it
        at = rng.randrange(8, head)
        cut = rng.choice([0, 0, 1, 2, 5])
        piece = rng.choice(TOKENS) if how == 6 else bytes(raw[at : at + rng.randrange(40)])
        raw[at : at + cut] = piece
        raw[:8] = ((length + len(piece) - min(cut, len(content) - at)) % (1 << 64)).to_bytes(8, "little")
    return bytes(raw)


def mutated(seed: int, number: int) -> bytes:
    """File `number` of the sequence `seed`."""
    rng = random.Random(f"{seed}/{number}")
    file = rng.choice(SEEDS)()
    for _ in range(rng.choice([0, 1, 1, 1, 1, 2, 2, 3])):
        rng.choice(STRUCTURE)(rng, file)
    content = file.content()
    for _ in range(rng.choice([0, 0, 0, 0, 1, 1, 2])):
        content = change_bytes(rng, content)
    return content


# ------------------------------------------------------------------------------------------------------------ corner cases


def framed(text: str | bytes, data: bytes = b"", blanks: int = 0) -> bytes:
    raw = text if isinstance(text, bytes) else text.encode()
    return struct.pack("<Q", len(raw) + blanks) + raw + b" " * blanks + data


ONE = '"dtype":"U8","shape":[1],"data_offsets":[0,1]'


def many(count: int, name: str = "%x") -> bytes:
    return framed("{" + ",".join('"%s":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % (name % i) for i in range(count)) + "}")


def depth(levels: int) -> bytes:
    """The header's own object and the entry's are two of the levels."""
    return framed('{"w":{%s,"x":%s}}' % (ONE, "[" * (levels - 2) + "]" * (levels - 2)), b"x")


def metadata(pairs: int) -> bytes:
    return framed(json.dumps({"__metadata__": {str(i): "" for i in range(pairs)}}))


CORNERS: dict[str, bytes] = {
    "no bytes": b"",
    "seven bytes": bytes(7),
    "a header of no bytes": bytes(8),
    "no tensors": framed("{}"),
    "no tensors, a byte of data": framed("{}", b"x"),
    "an empty name": framed('{"":{%s}}' % ONE, b"x"),
    "a name of a mebibyte": framed('{"%s":{%s}}' % ("n" * (1 << 20), ONE), b"x"),
    "a name twice": framed('{"a":{%s},"a":{%s}}' % (ONE, ONE), b"x"),
    "a name twice, by escape": framed('{"a":{%s},"\\u0061":{%s}}' % (ONE, ONE), b"x"),
    "a name twice, the first one is no tensor": framed('{"a":1,"a":{%s}}' % ONE, b"x"),
    "a name twice, the first one beyond the data": framed('{"a":{"dtype":"U8","shape":[1],"data_offsets":[7,8]},"a":{%s}}' % ONE, b"x"),
    "a key of __metadata__ twice": framed('{"__metadata__":{"a":"b","a":"c"},"a":{%s}}' % ONE, b"x"),
    "__metadata__ twice": framed('{"__metadata__":{},"__metadata__":{}}'),
    "an unknown field": framed('{"a":{%s,"x":1}}' % ONE, b"x"),
    "an entry as a list": framed('{"a":["U8",[1],[0,1]]}', b"x"),
    "a dtype as an object": framed('{"a":{"dtype":{"U8":null},"shape":[1],"data_offsets":[0,1]}}', b"x"),
    "a NUL in a name": framed('{"a\\u0000b":{%s}}' % ONE, b"x"),
    "a NUL in a key of __metadata__": framed('{"__metadata__":{"a\\u0000b":"c"}}'),
    "a NUL in a value of __metadata__": framed('{"__metadata__":{"a":"b\\u0000c"}}'),
    "64 dimensions": framed('{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % ",".join(["1"] * 64), b"x"),
    "65 dimensions": framed('{"a":{"dtype":"U8","shape":[%s],"data_offsets":[0,1]}}' % ",".join(["1"] * 65), b"x"),
    "64 levels": depth(64),
    "65 levels": depth(65),
    "127 levels": depth(127),
    "128 levels": depth(128),
    "65,536 pairs of metadata": metadata(65_536),
    "65,537 pairs of metadata": metadata(65_537),
    "80,000 tensors": many(80_000),
    "500,000 tensors": many(500_000),
    "20,000 tensors with names of 2,000 bytes": many(20_000, "n" * 2000 + "%x"),
    "a header of 100,000,000 bytes": framed('{"a":{%s}}' % ONE, b"x", 100_000_000 - len(ONE) - 8),
    "a header of 100,000,001 bytes": framed('{"a":{%s}}' % ONE, b"x", 100_000_001 - len(ONE) - 8),
    "elements around 2^64 bits": framed('{"a":{"dtype":"F64","shape":[288230376151711743,0],"data_offsets":[0,0]}}'),
    "elements beyond 2^64 before the zero": framed('{"a":{"dtype":"U8","shape":[4294967296,4294967296,0],"data_offsets":[0,0]}}'),
    "elements beyond 2^64 after the zero": framed('{"a":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}'),
    "bits beyond 2^64": framed('{"a":{"dtype":"U64","shape":[2305843009213693952],"data_offsets":[0,0]}}'),
    "2^61 bytes are 2^64 bits": framed('{"a":{"dtype":"U8","shape":[2305843009213693952],"data_offsets":[0,2305843009213693952]}}'),
    "offsets at the end of 64 bits": framed('{"a":{"dtype":"U8","shape":[0],"data_offsets":[18446744073709551615,18446744073709551615]}}'),
}
