/* XXH3-128 from xxhash's header, compiled once per vector level: CN_SIMD_LEVEL 0 with the compiler's baseline, 1 with -mavx2, 2 with
 * -mavx512f (see the Makefile). Linking Debian's library instead would run at a third of the speed in some of its builds. */
#include "base/digest_simd.h"

#include <stddef.h>

#ifdef CN_SIMD_LEVEL
#define XXH_INLINE_ALL
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#include <xxhash.h>
#pragma GCC diagnostic pop

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)

void JOIN(cn_digest_level, CN_SIMD_LEVEL)(const void *data, size_t size, uint8_t ret_bytes[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits(data, size));
    for (int i = 0; i < 16; i++) ret_bytes[i] = canonical.digest[i];
}

#if CN_SIMD_LEVEL == 0
_Static_assert(sizeof(XXH3_state_t) <= 640, "the stream's room for xxhash's state");

void cn_digest_state_init(unsigned char state[640])
{
    XXH3_128bits_reset((XXH3_state_t *)(void *)state);
}

void cn_digest_state_add(unsigned char state[640], const void *data, size_t size)
{
    XXH3_128bits_update((XXH3_state_t *)(void *)state, data, size);
}

void cn_digest_state_end(const unsigned char state[640], uint8_t ret_bytes[16])
{
    XXH128_canonical_t canonical;
    XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest((const XXH3_state_t *)(const void *)state));
    for (int i = 0; i < 16; i++) ret_bytes[i] = canonical.digest[i];
}
#endif
#endif
