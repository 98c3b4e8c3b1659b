/* Digests (see digest.h): the choice of the vector level, and everything built on one XXH3 over plain memory. */
#include "base/digest.h"

#include <string.h>

#include "base/digest_simd.h"
#include "base/tsan.h"
#include "base/limits.h"

bool cn_simd_available(enum cn_simd level)
{
    if (level == CN_SIMD_BASELINE) return true;
#if defined(__x86_64__)
    if (level == CN_SIMD_AVX2) return __builtin_cpu_supports("avx2");
    if (level == CN_SIMD_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx512dq");
#endif
    return false;
}

enum cn_simd cn_simd_best(void)
{
    if (cn_simd_available(CN_SIMD_AVX512)) return CN_SIMD_AVX512;
    return cn_simd_available(CN_SIMD_AVX2) ? CN_SIMD_AVX2 : CN_SIMD_BASELINE;
}

struct cn_digest cn_digest_of_at(enum cn_simd level, const void *data, size_t size)
{
    cn_tsan_reads(data, size);
    struct cn_digest digest;
#if defined(__x86_64__)
    if (level == CN_SIMD_AVX512) {
        cn_digest_level2(data, size, digest.bytes);
        return digest;
    }
    if (level == CN_SIMD_AVX2) {
        cn_digest_level1(data, size, digest.bytes);
        return digest;
    }
#endif
    (void)level;
    cn_digest_level0(data, size, digest.bytes);
    return digest;
}

struct cn_digest cn_digest_of(const void *data, size_t size)
{
    return cn_digest_of_at(cn_simd_best(), data, size);
}

bool cn_digest_equal(const struct cn_digest *a, const struct cn_digest *b)
{
    return !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static const char hex_digits[] = "0123456789abcdef";

void cn_digest_hex(const struct cn_digest *digest, char ret_hex[CN_DIGEST_HEX_BYTES])
{
    for (size_t i = 0; i < 16; i++) {
        ret_hex[2 * i] = hex_digits[digest->bytes[i] >> 4];
        ret_hex[2 * i + 1] = hex_digits[digest->bytes[i] & 15];
    }
    ret_hex[32] = 0;
}

/* Without a branch for each digit: those of a digest cannot be foreseen. */
enum { IS_DIGIT = 16 };
static const uint8_t hex_values[256] = {
    ['0'] = IS_DIGIT | 0,  ['1'] = IS_DIGIT | 1,  ['2'] = IS_DIGIT | 2,  ['3'] = IS_DIGIT | 3,
    ['4'] = IS_DIGIT | 4,  ['5'] = IS_DIGIT | 5,  ['6'] = IS_DIGIT | 6,  ['7'] = IS_DIGIT | 7,
    ['8'] = IS_DIGIT | 8,  ['9'] = IS_DIGIT | 9,  ['a'] = IS_DIGIT | 10, ['b'] = IS_DIGIT | 11,
    ['c'] = IS_DIGIT | 12, ['d'] = IS_DIGIT | 13, ['e'] = IS_DIGIT | 14, ['f'] = IS_DIGIT | 15,
};

bool cn_digest_parse(const char *hex, size_t size, struct cn_digest *ret_digest)
{
    struct cn_digest digest;
    unsigned all = IS_DIGIT;
    if (size != 32) return false;
    for (size_t i = 0; i < 16; i++) {
        unsigned high = hex_values[(unsigned char)hex[2 * i]], low = hex_values[(unsigned char)hex[2 * i + 1]];
        all &= high & low;
        digest.bytes[i] = (uint8_t)(high << 4 | (low & 15));
    }
    if (!(all & IS_DIGIT)) return false;
    *ret_digest = digest;
    return true;
}

void cn_digest_stream_init(struct cn_digest_stream *stream)
{
    cn_digest_state_init(stream->block);
    cn_digest_state_init(stream->whole);
    stream->block_bytes = 0;
}

static void end_block(struct cn_digest_stream *stream)
{
    struct cn_digest block;
    cn_digest_state_end(stream->block, block.bytes);
    cn_digest_state_add(stream->whole, block.bytes, sizeof block.bytes);
    cn_digest_state_init(stream->block);
    stream->block_bytes = 0;
}

void cn_digest_stream_add(struct cn_digest_stream *stream, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        size_t take = CN_BLOCK_BYTES - stream->block_bytes < size ? (size_t)(CN_BLOCK_BYTES - stream->block_bytes) : size;
        cn_digest_state_add(stream->block, at, take);
        stream->block_bytes += take;
        at += take;
        size -= take;
        if (stream->block_bytes == CN_BLOCK_BYTES) end_block(stream);
    }
}

struct cn_digest cn_digest_stream_end(struct cn_digest_stream *stream)
{
    struct cn_digest digest;
    if (stream->block_bytes) end_block(stream);
    cn_digest_state_end(stream->whole, digest.bytes);
    return digest;
}

/* Each block at the best vector level, which a stream does not have. */
struct cn_digest cn_digest_blocks(const void *data, size_t size)
{
    struct cn_digest_stream stream;
    cn_digest_stream_init(&stream);
    for (size_t at = 0; at < size; at += CN_BLOCK_BYTES) {
        struct cn_digest block = cn_digest_of((const char *)data + at, size - at < CN_BLOCK_BYTES ? size - at : (size_t)CN_BLOCK_BYTES);
        cn_digest_state_add(stream.whole, block.bytes, sizeof block.bytes);
    }
    return cn_digest_stream_end(&stream);
}
