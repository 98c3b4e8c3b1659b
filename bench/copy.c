/* The plain copy of memory: stores that pass the caches by, a core's share each (see raw.h). */
#include <pthread.h>
#include <string.h>

#include "bench.h"
#include "raw.h"

enum { MAX_THREADS = 16 };

#if defined(__x86_64__)
#include <immintrin.h>

enum { AHEAD = 1024 }; /* bytes the source is asked for beforehand */

static void copy_sse2(unsigned char *to, const unsigned char *from, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += 64) {
        __builtin_prefetch(from + at + AHEAD);
        for (int i = 0; i < 64; i += 16)
            _mm_stream_si128((__m128i *)(void *)(to + at + i), _mm_loadu_si128((const __m128i *)(const void *)(from + at + i)));
    }
    _mm_sfence();
}

__attribute__((target("avx512f"))) static void copy_avx512(unsigned char *to, const unsigned char *from, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += 256) {
        for (int i = 0; i < 256; i += 64) __builtin_prefetch(from + at + i + AHEAD);
        for (int i = 0; i < 256; i += 64) _mm512_stream_si512((__m512i *)(void *)(to + at + i), _mm512_loadu_si512(from + at + i));
    }
    _mm_sfence();
}

static void copy(unsigned char *to, const unsigned char *from, uint64_t size)
{
    uint64_t body = size / 256 * 256;
    if (__builtin_cpu_supports("avx512f"))
        copy_avx512(to, from, body);
    else
        copy_sse2(to, from, body);
    memcpy(to + body, from + body, size - body);
}
#else
static void copy(unsigned char *to, const unsigned char *from, uint64_t size)
{
    memcpy(to, from, size);
}
#endif

struct share {
    unsigned char *destination;
    uint64_t destination_bytes;
    const unsigned char *source;
    uint64_t begin, end;
};

static void *copy_share(void *user)
{
    const struct share *share = user;
    for (uint64_t at = share->begin; at < share->end;) {
        uint64_t place = at % share->destination_bytes, size = share->end - at;
        if (size > share->destination_bytes - place) size = share->destination_bytes - place;
        copy(share->destination + place, share->source + at, size);
        at += size;
    }
    return NULL;
}

double raw_copy(unsigned char *destination, uint64_t destination_bytes, const unsigned char *source, uint64_t size_bytes, int threads)
{
    struct share shares[MAX_THREADS] = { { 0 } }; /* zeroed for the analyser, which does not see that threads > 0 */
    pthread_t others[MAX_THREADS];
    double start = now_s();
    uint64_t part = (size_bytes / (uint64_t)threads + 4095) / 4096 * 4096;
    for (int i = 0; i < threads; i++) {
        uint64_t begin = part * (uint64_t)i < size_bytes ? part * (uint64_t)i : size_bytes;
        shares[i] = (struct share){ .destination_bytes = destination_bytes, .source = source, .begin = begin };
        shares[i].destination = destination;
        shares[i].end = size_bytes - begin < part ? size_bytes : begin + part;
        if (i && pthread_create(&others[i], NULL, copy_share, &shares[i])) die("a thread could not be started");
    }
    copy_share(&shares[0]);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    return now_s() - start;
}
