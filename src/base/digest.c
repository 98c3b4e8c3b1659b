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

static int hex_value(char digit)
{
    return digit >= '0' && digit <= '9' ? digit - '0' : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool cn_digest_parse(const char *hex, size_t size, struct cn_digest *ret_digest)
{
    struct cn_digest digest;
    if (size != 32) return false;
    for (size_t i = 0; i < 16; i++) {
        int high = hex_value(hex[2 * i]), low = hex_value(hex[2 * i + 1]);
        if (high < 0 || low < 0) return false;
        digest.bytes[i] = (uint8_t)(high << 4 | low);
    }
    *ret_digest = digest;
    return true;
}

struct cn_digest cn_digest_blocks(const void *data, size_t size)
{
    struct cn_digest_stream stream;
    cn_digest_stream_init(&stream);
    cn_digest_stream_add(&stream, data, size);
    return cn_digest_stream_end(&stream);
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
