/* Copying past the caches (see copy.h): the choice of the vector level. */
#include "base/copy.h"

#include <string.h>

#include "base/copy_simd.h"
#include "base/tsan.h"

enum { WORTHWHILE_BYTES = 8 << 10 };

void cn_copy_at(enum cn_simd level, void *destination, const void *source, size_t size)
{
    cn_tsan_reads(source, size);
    cn_tsan_writes(destination, size);
#if defined(__x86_64__)
    if (level == CN_SIMD_AVX512) {
        cn_copy_level2(destination, source, size);
        return;
    }
    if (level == CN_SIMD_AVX2) {
        cn_copy_level1(destination, source, size);
        return;
    }
#endif
    (void)level;
    cn_copy_level0(destination, source, size);
}

void cn_copy(void *destination, const void *source, size_t size)
{
    if (size < WORTHWHILE_BYTES)
        memcpy(destination, source, size);
    else
        cn_copy_at(cn_simd_best(), destination, source, size);
}
