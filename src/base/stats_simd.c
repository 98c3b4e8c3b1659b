/* Statistics of a block, compiled once per vector level like digest_simd.c. Vectors of eight elements are written out, for the compiler finds none by
 * itself here; where the processor's are shorter it takes several. Every level does the same additions in the same order, so the results are the
 * same bits. Only magnitudes matter: an element's bits without its sign order like its value, so the largest is found among the bits. */
#include "base/stats_simd.h"

#include <string.h>

#ifdef CN_SIMD_LEVEL
#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define LEVEL(name) JOIN(name, CN_SIMD_LEVEL)
#define ALWAYS_INLINE static inline __attribute__((always_inline))

enum {
    LANES = 16,
    WIDTH = CN_SIMD_LEVEL == 2 ? 8 : 4, /* of a vector, in elements */
    PARTS = LANES / WIDTH,
    GROUPS = 1 << 24 /* so many groups of lanes do not overflow a lane's count */
};

typedef uint16_t halves __attribute__((vector_size(2 * WIDTH)));
typedef int32_t words __attribute__((vector_size(4 * WIDTH)));
typedef float singles __attribute__((vector_size(4 * WIDTH)));
typedef int64_t wides __attribute__((vector_size(8 * WIDTH)));
typedef double doubles __attribute__((vector_size(8 * WIDTH)));

/* Some of the lanes. largest, nan and odd are of elements of 16 and 32 bits, the wide ones of 64. odd are NaN and Inf, which count and add
 * nothing. */
struct part {
    doubles squares;
    words largest, nan, odd;
    wides wide_largest, wide_nan, wide_odd;
};

/* magnitude: bits without the sign; infinity: those of Inf. Leaves 0 where it was NaN or Inf. A comparison gives -1 where it holds. */
ALWAYS_INLINE void count_narrow(struct part *part, words *magnitude, int32_t infinity)
{
    words odd = *magnitude >= infinity;
    part->nan -= *magnitude > infinity;
    part->odd -= odd;
    *magnitude &= ~odd;
    words larger = *magnitude > part->largest;
    part->largest = (*magnitude & larger) | (part->largest & ~larger);
}

ALWAYS_INLINE void count_wide(struct part *part, wides *magnitude)
{
    const int64_t infinity = INT64_C(0x7ff0000000000000);
    wides odd = *magnitude >= infinity;
    part->wide_nan -= *magnitude > infinity;
    part->wide_odd -= odd;
    *magnitude &= ~odd;
    wides larger = *magnitude > part->wide_largest;
    part->wide_largest = (*magnitude & larger) | (part->wide_largest & ~larger);
}

ALWAYS_INLINE void add_narrow(struct part *part, cairn_dtype dtype, const unsigned char *at)
{
    words magnitude;
    singles values;
    halves narrow;
    if (dtype == CAIRN_F32) {
        memcpy(&magnitude, at, sizeof magnitude);
        magnitude &= 0x7fffffff;
    } else {
        memcpy(&narrow, at, sizeof narrow);
        magnitude = __builtin_convertvector(narrow, words) & 0x7fff;
    }
    const int32_t infinity = dtype == CAIRN_F32 ? 0x7f800000 : dtype == CAIRN_BF16 ? 0x7f80 : 0x7c00;
    count_narrow(part, &magnitude, infinity);
    magnitude = dtype == CAIRN_F32 ? magnitude : dtype == CAIRN_BF16 ? magnitude << 16 : magnitude << 13;
    memcpy(&values, &magnitude, sizeof values);
    doubles finite = __builtin_convertvector(values, doubles);
    if (dtype == CAIRN_F16) finite *= 0x1p112; /* the exponent's other bias: exact, subnormals too */
    part->squares += finite * finite;
}

ALWAYS_INLINE void add_wide(struct part *part, const unsigned char *at)
{
    wides magnitude;
    doubles finite;
    memcpy(&magnitude, at, sizeof magnitude);
    magnitude &= INT64_MAX;
    count_wide(part, &magnitude);
    memcpy(&finite, &magnitude, sizeof finite);
    part->squares += finite * finite;
}

ALWAYS_INLINE void add_group(struct part *parts, cairn_dtype dtype, size_t width, const unsigned char *at)
{
    for (int i = 0; i < PARTS; i++)
        if (dtype == CAIRN_F64)
            add_wide(&parts[i], at + (size_t)i * width * WIDTH);
        else
            add_narrow(&parts[i], dtype, at + (size_t)i * width * WIDTH);
}

/* The value of the bits that were found largest. */
ALWAYS_INLINE double largest_of(const struct part *part, cairn_dtype dtype, int lane)
{
    double value;
    int64_t wide = part->wide_largest[lane];
    if (dtype == CAIRN_F64) {
        memcpy(&value, &wide, sizeof value);
        return value;
    }
    float single;
    int32_t bits = part->largest[lane] << (dtype == CAIRN_F32 ? 0 : dtype == CAIRN_BF16 ? 16 : 13);
    memcpy(&single, &bits, sizeof single);
    return dtype == CAIRN_F16 ? (double)single * 0x1p112 : (double)single;
}

ALWAYS_INLINE void collect(struct cn_stats *stats, struct part *part, cairn_dtype dtype)
{
    for (int lane = 0; lane < WIDTH; lane++) {
        double largest = largest_of(part, dtype, lane);
        uint64_t nan = (uint64_t)part->wide_nan[lane] + (uint32_t)part->nan[lane];
        if (largest > stats->max_abs) stats->max_abs = largest;
        stats->nan_count += nan;
        stats->inf_count += (uint64_t)part->wide_odd[lane] + (uint32_t)part->odd[lane] - nan;
    }
    part->nan = part->odd = (words){ 0 };
    part->wide_nan = part->wide_odd = (wides){ 0 };
}

/* Inlined once per dtype, so that the choices are gone from the loop. The elements of the last, shorter group are followed by zeros, which change
 * nothing. */
ALWAYS_INLINE void add_all(struct cn_stats *stats, cairn_dtype dtype, size_t width, const unsigned char *data, size_t size)
{
    struct part parts[PARTS];
    unsigned char last[8 * LANES] = { 0 };
    size_t group = width * LANES, rest = size % group, done = 0;
    memset(parts, 0, sizeof parts);
    while (done < size - rest) {
        size_t stop = (size - rest - done) / group > GROUPS ? done + GROUPS * group : size - rest;
        for (; done < stop; done += group) add_group(parts, dtype, width, data + done);
        for (int i = 0; i < PARTS; i++) collect(stats, &parts[i], dtype);
    }
    memcpy(last, data + done, rest);
    add_group(parts, dtype, width, last);
    for (int i = 0; i < PARTS; i++) collect(stats, &parts[i], dtype);
    for (int lane = 0; lane < LANES; lane++) stats->sum_squares += parts[lane / WIDTH].squares[lane % WIDTH];
}

void LEVEL(cn_stats_level)(cairn_dtype dtype, const void *data, size_t size, struct cn_stats *ret_stats)
{
    struct cn_stats stats = { 0 };
    if (dtype == CAIRN_F64) add_all(&stats, CAIRN_F64, 8, data, size);
    if (dtype == CAIRN_F32) add_all(&stats, CAIRN_F32, 4, data, size);
    if (dtype == CAIRN_BF16) add_all(&stats, CAIRN_BF16, 2, data, size);
    if (dtype == CAIRN_F16) add_all(&stats, CAIRN_F16, 2, data, size);
    *ret_stats = stats;
}
#endif
