"""XXH3-128 with seed 0, in plain Python from the published specification: slow, and independent of Cairn's code."""

from __future__ import annotations

import struct

M32, M64 = (1 << 32) - 1, (1 << 64) - 1
P32_1, P32_2, P32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
P64_1, P64_2, P64_3, P64_4, P64_5 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671fcb79e64eccc0e578825ad07dccff7221"
    "b8084674f743248ee03590e6813a264c3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364eac5ac8334d3ebc3c581a0fffa1363eb"
    "170ddd51b7f0da49d316552629d4689e2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e"
)


def u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def u64(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 8], "little")


def swap(value: int, size: int) -> int:
    return int.from_bytes(value.to_bytes(size, "little"), "big")


def fold(a: int, b: int) -> int:
    product = a * b
    return (product & M64) ^ (product >> 64)


def avalanche(h: int) -> int:
    h ^= h >> 37
    h = h * 0x165667919E3779F9 & M64
    return h ^ h >> 32


def avalanche64(h: int) -> int:
    h = (h ^ h >> 33) * P64_2 & M64
    h = (h ^ h >> 29) * P64_3 & M64
    return h ^ h >> 32


def tiny(data: bytes) -> tuple[int, int]:
    """0 to 16 bytes: (low, high)."""
    n = len(data)
    if n == 0:
        return avalanche64(u64(SECRET, 64) ^ u64(SECRET, 72)), avalanche64(u64(SECRET, 80) ^ u64(SECRET, 88))
    if n <= 3:
        low = data[0] << 16 | data[n >> 1] << 24 | data[n - 1] | n << 8
        high = swap(low, 4)
        high = (high << 13 | high >> 19) & M32
        return avalanche64(low ^ u32(SECRET, 0) ^ u32(SECRET, 4)), avalanche64(high ^ u32(SECRET, 8) ^ u32(SECRET, 12))
    if n <= 8:
        keyed = (u32(data, 0) | u32(data, n - 4) << 32) ^ u64(SECRET, 16) ^ u64(SECRET, 24)
        product = keyed * (P64_1 + (n << 2))
        low, high = product & M64, product >> 64 & M64
        high = (high + (low << 1)) & M64
        low ^= high >> 3
        low = (low ^ low >> 35) * 0x9FB21C651E98DF25 & M64
        return low ^ low >> 28, avalanche(high)
    first, last = u64(data, 0), u64(data, n - 8)
    product = (first ^ last ^ u64(SECRET, 32) ^ u64(SECRET, 40)) * P64_1
    low, high = product & M64, product >> 64
    low = (low + ((n - 1) << 54)) & M64
    last ^= u64(SECRET, 48) ^ u64(SECRET, 56)
    high = (high + last + (last & M32) * (P32_2 - 1)) & M64
    low ^= swap(high, 8)
    product = low * P64_2
    return avalanche(product & M64), avalanche(((product >> 64) + high * P64_2) & M64)


def mix16(data: bytes, at: int, secret: int) -> int:
    return fold(u64(data, at) ^ u64(SECRET, secret), u64(data, at + 8) ^ u64(SECRET, secret + 8))


def mix32(low: int, high: int, data: bytes, first: int, second: int, secret: int) -> tuple[int, int]:
    low = (low + mix16(data, first, secret) & M64) ^ (u64(data, second) + u64(data, second + 8) & M64)
    high = (high + mix16(data, second, secret + 16) & M64) ^ (u64(data, first) + u64(data, first + 8) & M64)
    return low, high


def medium(data: bytes) -> tuple[int, int]:
    """17 to 240 bytes."""
    n = len(data)
    low, high = n * P64_1 & M64, 0
    if n <= 128:
        for i in range((n - 1) // 32, -1, -1):
            low, high = mix32(low, high, data, 16 * i, n - 16 * (i + 1), 32 * i)
    else:
        for i in range(4):
            low, high = mix32(low, high, data, 32 * i, 32 * i + 16, 32 * i)
        low, high = avalanche(low), avalanche(high)
        for i in range(4, n // 32):
            low, high = mix32(low, high, data, 32 * i, 32 * i + 16, 3 + 32 * (i - 4))
        low, high = mix32(low, high, data, n - 16, n - 32, 136 - 17 - 16)
    return avalanche(low + high & M64), -avalanche(low * P64_1 + high * P64_4 + n * P64_2 & M64) & M64


def accumulate(acc: list[int], lanes: tuple[int, ...], keys: tuple[int, ...]) -> None:
    for i in range(8):
        keyed = lanes[i] ^ keys[i]
        acc[i ^ 1] += lanes[i]
        acc[i] = acc[i] + (keyed & M32) * (keyed >> 32) & M64
    for i in range(8):
        acc[i] &= M64


KEYS = [struct.unpack_from("<8Q", SECRET, 8 * i) for i in range(17)]
LAST_KEYS = struct.unpack_from("<8Q", SECRET, 192 - 64 - 7)


def large(data: bytes) -> tuple[int, int]:
    """241 bytes and more."""
    n = len(data)
    acc = [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1]
    stripes = (n - 1) // 64
    for i in range(stripes):
        accumulate(acc, struct.unpack_from("<8Q", data, 64 * i), KEYS[i % 16])
        if i % 16 == 15:
            acc = [(a ^ a >> 47 ^ key) * P32_1 & M64 for a, key in zip(acc, KEYS[16])]
    accumulate(acc, struct.unpack_from("<8Q", data, n - 64), LAST_KEYS)

    def merge(secret: int, start: int) -> int:
        for i in range(4):
            start += fold(acc[2 * i] ^ u64(SECRET, secret + 16 * i), acc[2 * i + 1] ^ u64(SECRET, secret + 16 * i + 8))
        return avalanche(start & M64)

    return merge(11, n * P64_1 & M64), merge(192 - 64 - 11, ~(n * P64_2) & M64)


def xxh3_128(data: bytes) -> bytes:
    """The digest in canonical (big-endian) form: 16 bytes."""
    low, high = tiny(data) if len(data) <= 16 else medium(data) if len(data) <= 240 else large(data)
    return high.to_bytes(8, "big") + low.to_bytes(8, "big")
