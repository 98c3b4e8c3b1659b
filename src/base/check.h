/* Checked arithmetic for sizes that come from disk or from callers. Each returns false on overflow and then leaves *result alone. */
#ifndef CN_BASE_CHECK_H
#define CN_BASE_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool cn_add(uint64_t a, uint64_t b, uint64_t *result)
{
    uint64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return false;
    *result = sum;
    return true;
}

static inline bool cn_mul(uint64_t a, uint64_t b, uint64_t *result)
{
    uint64_t product;
    if (__builtin_mul_overflow(a, b, &product)) return false;
    *result = product;
    return true;
}

/* alignment is a power of two; value must be far from UINT64_MAX (file offsets are: see CN_MAX_FILE_BYTES). */
static inline uint64_t cn_align_up(uint64_t value, uint64_t alignment)
{
    return (value + alignment - 1) & ~(alignment - 1);
}

static inline uint64_t cn_align_down(uint64_t value, uint64_t alignment)
{
    return value & ~(alignment - 1);
}

static inline uint64_t cn_min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t cn_max_u64(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
