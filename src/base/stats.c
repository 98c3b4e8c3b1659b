/* Statistics (see stats.h): the choice of the vector level, and how blocks add up. */
#include "base/stats.h"

#include <math.h>

#include "base/floatenv.h"
#include "base/stats_simd.h"
#include "base/tsan.h"

bool cn_stats_known(cairn_dtype dtype)
{
    return dtype == CAIRN_F64 || dtype == CAIRN_F32 || dtype == CAIRN_F16 || dtype == CAIRN_BF16;
}

struct cn_stats cn_stats_of_at(enum cn_simd level, cairn_dtype dtype, const void *data, size_t size)
{
    cn_tsan_reads(data, size);
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    struct cn_stats stats;
#if defined(__x86_64__)
    if (level == CN_SIMD_AVX512) {
        cn_stats_level2(dtype, data, size, &stats);
        return stats;
    }
    if (level == CN_SIMD_AVX2) {
        cn_stats_level1(dtype, data, size, &stats);
        return stats;
    }
#endif
    (void)level;
    cn_stats_level0(dtype, data, size, &stats);
    return stats;
}

struct cn_stats cn_stats_of(cairn_dtype dtype, const void *data, size_t size)
{
    return cn_stats_of_at(cn_simd_best(), dtype, data, size);
}

double cn_stats_norm(const struct cn_stats *stats)
{
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    volatile double norm = sqrt(stats->sum_squares); /* now, not on the way out */
    return norm;
}

void cn_stats_add(struct cn_stats *total, const struct cn_stats *block)
{
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    total->sum_squares += block->sum_squares;
    if (block->max_abs > total->max_abs) total->max_abs = block->max_abs;
    total->nan_count += block->nan_count;
    total->inf_count += block->inf_count;
}
