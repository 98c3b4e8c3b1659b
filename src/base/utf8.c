/* UTF-8, strictly (see utf8.h; the table is RFC 3629's). */
#include "base/utf8.h"

#include <endian.h>
#include <string.h>

static bool is_tail(const char *text, size_t index, size_t size)
{
    return index < size && ((unsigned char)text[index] & 0xc0) == 0x80;
}

size_t cn_utf8_next(const char *text, size_t size, uint32_t *ret_code)
{
    static const uint32_t smallest[5] = { 0, 0, 0x80, 0x800, 0x10000 };
    if (!size) return 0;
    unsigned char first = (unsigned char)text[0];
    size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
    if (!length) return 0;
    uint32_t code = length == 1 ? first : first & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if (!is_tail(text, i, size)) return 0;
        code = code << 6 | ((unsigned char)text[i] & 0x3f);
    }
    if (code < smallest[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000)) return 0;
    if (ret_code) *ret_code = code;
    return length;
}

size_t cn_utf8_check(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        size_t length = cn_utf8_next(text + at, size - at, NULL);
        if (!length) return at;
        at += length;
    }
    return size;
}

size_t cn_utf8_encode(uint32_t code, char ret_bytes[4])
{
    if (code < 0x80) {
        ret_bytes[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6) ret_bytes[i] = (char)(0x80 | (code & 0x3f));
    ret_bytes[0] = (char)(code | (0xf00u >> length & 0xff));
    return length;
}

/* The high bits of those of eight bytes that do not. It may mark more behind the first of them, where a subtraction borrowed, and nothing before. */
static uint64_t mark_special(uint64_t word)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), high_bits = ones << 7;
    uint64_t quotes = (word ^ ones * '"') - ones, backslashes = (word ^ ones * '\\') - ones, controls = word - ones * ' ';
    uint64_t deletes = (word ^ ones * 0x7f) - ones;
    return (quotes | backslashes | controls | deletes | word) & high_bits;
}

size_t cn_utf8_plain(const char *text, size_t size)
{
    size_t at = 0;
    for (uint64_t word; size - at >= sizeof word; at += sizeof word) {
        memcpy(&word, text + at, sizeof word);
        uint64_t special = mark_special(le64toh(word));
        if (special) return at + (size_t)__builtin_ctzll(special) / 8;
    }
    while (at < size && !(mark_special((unsigned char)text[at]) & 0x80)) at++;
    return at;
}
