/* Statistics of F64, F32, F16 and BF16 tensors: largest magnitude, norm, NaN and Inf counts.
 *
 * The same numbers on every processor: 16 fixed double lanes per block (element i goes to lane i % 16), no fused multiply-add, lanes
 * combined in order 0..15, blocks combined in block order. NaN and Inf are counted and take no part in the rest. The caller's
 * arithmetic - rounding, subnormal numbers taken for zero - does not matter (floatenv.h). */
#ifndef CN_BASE_STATS_H
#define CN_BASE_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cairn.h"
#include "base/digest.h"

struct cn_stats {
    double max_abs;
    double sum_squares;
    uint64_t nan_count, inf_count;
};

bool cn_stats_known(cairn_dtype dtype);
/* data: whole elements of dtype, any alignment. */
struct cn_stats cn_stats_of(cairn_dtype dtype, const void *data, size_t size);
struct cn_stats cn_stats_of_at(enum cn_simd level, cairn_dtype dtype, const void *data, size_t size);
double cn_stats_norm(const struct cn_stats *stats);
void cn_stats_add(struct cn_stats *total, const struct cn_stats *block);

#endif
