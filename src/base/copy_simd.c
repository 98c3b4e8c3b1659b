/* A copy with stores that pass the caches by, compiled once per vector level like digest_simd.c: 16, 32 or 64 bytes a store. Where there are no such
 * stores it is a plain one. */
#include "base/copy_simd.h"

#include <stdint.h>
#include <string.h>

#ifdef CN_SIMD_LEVEL
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define COPY JOIN(cn_copy_level, CN_SIMD_LEVEL)

#if defined(__x86_64__)
#include <immintrin.h> /* IWYU pragma: keep */

#if CN_SIMD_LEVEL == 2
typedef __m512i unit;
#define LOAD(from) _mm512_loadu_si512(from)
#define STORE(to, value) _mm512_stream_si512((void *)(to), value)
#elif CN_SIMD_LEVEL == 1
typedef __m256i unit;
#define LOAD(from) _mm256_loadu_si256((const void *)(from))
#define STORE(to, value) _mm256_stream_si256((void *)(to), value)
#else
typedef __m128i unit;
#define LOAD(from) _mm_loadu_si128((const void *)(from))
#define STORE(to, value) _mm_stream_si128((void *)(to), value)
#endif

enum { STRIDE = 256, LINE = 64, AHEAD = 1024 }; /* AHEAD: how far before its turn the source is asked for */

void COPY(void *destination, const void *source, size_t size)
{
    unsigned char *to = destination;
    const unsigned char *from = source;
    size_t before = (size_t)(-(uintptr_t)to % sizeof(unit)); /* to where stores are aligned */
    if (before > size) before = size;
    memcpy(to, from, before);
    to += before, from += before, size -= before;
    for (; size >= STRIDE; to += STRIDE, from += STRIDE, size -= STRIDE) {
        for (size_t at = 0; at < STRIDE; at += LINE) __builtin_prefetch(from + at + AHEAD);
        for (size_t at = 0; at < STRIDE; at += sizeof(unit)) STORE(to + at, LOAD(from + at));
    }
    memcpy(to, from, size);
    _mm_sfence(); /* such stores become visible in no order of their own */
}
#else
void COPY(void *destination, const void *source, size_t size)
{
    memcpy(destination, source, size);
}
#endif
#endif
