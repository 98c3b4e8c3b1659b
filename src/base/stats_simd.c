/* Statistics of a block, compiled once per vector level like digest_simd.c. The loops are written for the compiler's vectoriser: eight
 * independent lanes, no branch on a value. Every level does the same additions in the same order, so the results are the same bits. */
#include "base/stats_simd.h"

#include <string.h>

#ifdef CN_SIMD_LEVEL
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define LEVEL(name) JOIN(name, CN_SIMD_LEVEL)

enum { LANES = 8 };

struct lanes {
    double squares[LANES], largest[LANES];
    uint64_t nan[LANES], inf[LANES];
};

/* Adds one element to its lane; exponent all ones means NaN or Inf, which count and add nothing. */
static inline void add_lane(struct lanes *lanes, int lane, double value, uint64_t odd, uint64_t nan)
{
    double finite = odd ? 0.0 : value;
    double magnitude = finite < 0 ? -finite : finite;
    lanes->squares[lane] += finite * finite;
    lanes->largest[lane] = magnitude > lanes->largest[lane] ? magnitude : lanes->largest[lane];
    lanes->nan[lane] += nan;
    lanes->inf[lane] += odd & (nan ^ 1);
}

static inline void add_f32_bits(struct lanes *lanes, int lane, uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    uint64_t odd = (bits & 0x7f800000u) == 0x7f800000u, nan = odd & ((bits & 0x007fffffu) != 0);
    add_lane(lanes, lane, (double)value, odd, nan);
}

static inline void add_f64_bits(struct lanes *lanes, int lane, uint64_t bits)
{
    double value;
    memcpy(&value, &bits, sizeof value);
    uint64_t odd = (bits & UINT64_C(0x7ff0000000000000)) == UINT64_C(0x7ff0000000000000);
    add_lane(lanes, lane, value, odd, odd & ((bits & UINT64_C(0x000fffffffffffff)) != 0));
}

/* Half to the bits of the float of the same value: exact, subnormals too. */
static inline uint32_t widen_half(uint32_t half)
{
    uint32_t sign = (half & 0x8000u) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ffu, bits;
    if (exponent == 31) return sign | 0x7f800000u | fraction << 13;
    if (exponent) return sign | (exponent + 112) << 23 | fraction << 13;
    float tiny = (float)fraction * 0x1p-24f;
    memcpy(&bits, &tiny, sizeof bits);
    return sign | bits;
}

static inline void add_element(struct lanes *lanes, int lane, cairn_dtype dtype, const unsigned char *at)
{
    uint64_t wide;
    uint32_t word;
    uint16_t half;
    switch (dtype) {
    case CAIRN_F64:
        memcpy(&wide, at, 8);
        add_f64_bits(lanes, lane, wide);
        break;
    case CAIRN_F32:
        memcpy(&word, at, 4);
        add_f32_bits(lanes, lane, word);
        break;
    case CAIRN_BF16:
        memcpy(&half, at, 2);
        add_f32_bits(lanes, lane, (uint32_t)half << 16);
        break;
    default: memcpy(&half, at, 2); add_f32_bits(lanes, lane, widen_half(half));
    }
}

/* Inlined once per dtype, so that the switch is gone from the loops. */
static inline __attribute__((always_inline)) void add_all(struct lanes *lanes, cairn_dtype dtype, size_t width, const unsigned char *data,
                                                          size_t count)
{
    size_t i = 0;
    for (; i + LANES <= count; i += LANES)
        for (int lane = 0; lane < LANES; lane++) add_element(lanes, lane, dtype, data + (i + (size_t)lane) * width);
    for (int lane = 0; i < count; i++, lane++) add_element(lanes, lane, dtype, data + i * width);
}

void LEVEL(cn_stats_level)(cairn_dtype dtype, const void *data, size_t size, struct cn_stats *ret_stats)
{
    struct lanes lanes;
    memset(&lanes, 0, sizeof lanes);
    if (dtype == CAIRN_F64) add_all(&lanes, CAIRN_F64, 8, data, size / 8);
    if (dtype == CAIRN_F32) add_all(&lanes, CAIRN_F32, 4, data, size / 4);
    if (dtype == CAIRN_BF16) add_all(&lanes, CAIRN_BF16, 2, data, size / 2);
    if (dtype == CAIRN_F16) add_all(&lanes, CAIRN_F16, 2, data, size / 2);
    struct cn_stats stats = { 0 };
    for (int lane = 0; lane < LANES; lane++) {
        stats.sum_squares += lanes.squares[lane];
        if (lanes.largest[lane] > stats.max_abs) stats.max_abs = lanes.largest[lane];
        stats.nan_count += lanes.nan[lane];
        stats.inf_count += lanes.inf[lane];
    }
    *ret_stats = stats;
}
#endif
