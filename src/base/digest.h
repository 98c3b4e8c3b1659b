/* Digests: XXH3-128, seed 0, in the canonical big-endian form (docs/FORMAT.md, "Digests").
 *
 * The tensor rule: bytes are cut into blocks of CN_BLOCK_BYTES from their start, the digest is XXH3 over the concatenated block
 * digests - also for one block and for none. Attached and JSON files follow the same rule as a whole.
 *
 * xxhash is compiled once per vector level (digest_simd.c) and the level is chosen by the processor at run time. */
#ifndef CN_BASE_DIGEST_H
#define CN_BASE_DIGEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cn_digest {
    uint8_t bytes[16];
};

enum { CN_DIGEST_HEX_BYTES = 33 }; /* 32 lower-case hex digits and a NUL */

struct cn_digest cn_digest_of(const void *data, size_t size);
bool cn_digest_equal(const struct cn_digest *a, const struct cn_digest *b);
void cn_digest_hex(const struct cn_digest *digest, char ret_hex[CN_DIGEST_HEX_BYTES]);
bool cn_digest_parse(const char *hex, size_t size, struct cn_digest *ret_digest); /* exactly 32 lower-case digits */

/* The tensor rule over memory, and over a stream of unknown length. */
struct cn_digest cn_digest_blocks(const void *data, size_t size);

struct cn_digest_stream {
    _Alignas(64) unsigned char block[640], whole[640]; /* two XXH3 states */
    uint64_t block_bytes;                              /* in the open block */
};
void cn_digest_stream_init(struct cn_digest_stream *stream);
void cn_digest_stream_add(struct cn_digest_stream *stream, const void *data, size_t size);
struct cn_digest cn_digest_stream_end(struct cn_digest_stream *stream);

/* The vector levels: for tests, which hold all of them to the same digests. */
enum cn_simd { CN_SIMD_BASELINE, CN_SIMD_AVX2, CN_SIMD_AVX512, CN_SIMD_COUNT };
bool cn_simd_available(enum cn_simd level);
enum cn_simd cn_simd_best(void);
struct cn_digest cn_digest_of_at(enum cn_simd level, const void *data, size_t size);

#endif
