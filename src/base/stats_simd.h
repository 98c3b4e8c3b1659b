/* What stats_simd.c offers per vector level. */
#ifndef CN_BASE_STATS_SIMD_H
#define CN_BASE_STATS_SIMD_H

#include "base/stats.h"

void cn_stats_level0(cairn_dtype dtype, const void *data, size_t size, struct cn_stats *ret_stats);
void cn_stats_level1(cairn_dtype dtype, const void *data, size_t size, struct cn_stats *ret_stats);
void cn_stats_level2(cairn_dtype dtype, const void *data, size_t size, struct cn_stats *ret_stats);

#endif
