/*
 * The arithmetic that takes the time: matrix product, GELU, random numbers.
 *
 *  1. The same call gives the same bits, always, on one machine: the order of additions depends on the sizes alone.
 *  2. No -march flag is needed: the product is compiled twice and the processor is asked once which one it can run.
 *  3. Nothing here allocates.
 */
#include "gpt/kernels.h"

#include <math.h>
#include <string.h>

enum { LANES = 8, TILE_ROWS = 4, TILE_COLUMNS = 2 * LANES, DEPTH_BLOCK = 256 };

typedef float vector __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));

#define INLINE static inline __attribute__((always_inline))

/* ---------------------------------------------------------------------------------------------------- matrix product */

/* Four rows of c at once against a packed panel of b: eight sums stay in registers while depth runs. */
INLINE void multiply_tile(const float *a, size_t a_row, size_t a_column, const float *panel, size_t depth, float *c, size_t c_row)
{
    vector sum[TILE_ROWS][2];

    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < 2; j++) sum[i][j] = *(const vector *)(c + (size_t)i * c_row + (size_t)j * LANES);
    for (size_t k = 0; k < depth; k++) {
        vector left = *(const vector *)(panel + k * TILE_COLUMNS);
        vector right = *(const vector *)(panel + k * TILE_COLUMNS + LANES);
        for (int i = 0; i < TILE_ROWS; i++) {
            float factor = a[(size_t)i * a_row + k * a_column];
            sum[i][0] += factor * left;
            sum[i][1] += factor * right;
        }
    }
    for (int i = 0; i < TILE_ROWS; i++)
        for (int j = 0; j < 2; j++) *(vector *)(c + (size_t)i * c_row + (size_t)j * LANES) = sum[i][j];
}

/* What is left at the edges: fewer than four rows, or fewer than sixteen columns. */
INLINE void multiply_edge(const float *a, size_t a_column, const float *panel, size_t depth, float *c, size_t columns)
{
    float sum[TILE_COLUMNS] = { 0 };

    memcpy(sum, c, columns * sizeof(float));
    for (size_t k = 0; k < depth; k++)
        for (size_t j = 0; j < TILE_COLUMNS; j++) sum[j] += a[k * a_column] * panel[k * TILE_COLUMNS + j];
    memcpy(c, sum, columns * sizeof(float));
}

INLINE void multiply(const struct gpt_product *p)
{
    float panel[DEPTH_BLOCK * TILE_COLUMNS] __attribute__((aligned(64)));

    if (!p->add)
        for (size_t i = 0; i < p->rows; i++) memset(p->c + i * p->c_row, 0, p->columns * sizeof(float));
    for (size_t k = 0; k < p->depth; k += DEPTH_BLOCK) {
        size_t depth = p->depth - k < DEPTH_BLOCK ? p->depth - k : DEPTH_BLOCK;
        for (size_t j = 0; j < p->columns; j += TILE_COLUMNS) {
            size_t columns = p->columns - j < TILE_COLUMNS ? p->columns - j : TILE_COLUMNS;
            size_t i = 0;
            if (columns < TILE_COLUMNS) memset(panel, 0, sizeof(panel));
            for (size_t row = 0; row < depth; row++)
                memcpy(panel + row * TILE_COLUMNS, p->b + (k + row) * p->b_row + j, columns * sizeof(float));
            const float *a = p->a + k * p->a_column;
            if (columns == TILE_COLUMNS)
                for (; i + TILE_ROWS <= p->rows; i += TILE_ROWS)
                    multiply_tile(a + i * p->a_row, p->a_row, p->a_column, panel, depth, p->c + i * p->c_row + j, p->c_row);
            for (; i < p->rows; i++) multiply_edge(a + i * p->a_row, p->a_column, panel, depth, p->c + i * p->c_row + j, columns);
        }
    }
}

#if defined(__x86_64__)
__attribute__((target("avx2,fma"))) static void multiply_avx2(const struct gpt_product *product)
{
    multiply(product);
}
#endif

static void multiply_baseline(const struct gpt_product *product)
{
    multiply(product);
}

void gpt_multiply(const struct gpt_product *product)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
        multiply_avx2(product);
        return;
    }
#endif
    multiply_baseline(product);
}

void gpt_transpose(const float *from, size_t rows, size_t columns, size_t from_row, float *to)
{
    enum { BLOCK = 16 }; /* a block's lines of both matrices fit the first-level cache */

    for (size_t i = 0; i < rows; i += BLOCK)
        for (size_t j = 0; j < columns; j += BLOCK)
            for (size_t y = i; y < rows && y < i + BLOCK; y++)
                for (size_t x = j; x < columns && x < j + BLOCK; x++) to[x * rows + y] = from[y * from_row + x];
}

/* --------------------------------------------------------------------------------------------------------------- GELU */

/* tanh by its continued fraction, cut after the seventh power: plain arithmetic that the compiler turns into vectors.
 * The largest error is 1e-4, at the clamp. */
INLINE float tanh_fraction(float x)
{
    x = x > 4.97f ? 4.97f : x < -4.97f ? -4.97f : x;
    float square = x * x;
    float above = x * (135135.0f + square * (17325.0f + square * (378.0f + square)));
    float below = 135135.0f + square * (62370.0f + square * (3150.0f + square * 28.0f));
    return above / below;
}

static const float gelu_scale = 0.7978845608f; /* sqrt(2 / pi) */
static const float gelu_cube = 0.044715f;

void gpt_gelu(const float *restrict x, size_t count, float *restrict y)
{
    for (size_t i = 0; i < count; i++) y[i] = 0.5f * x[i] * (1.0f + tanh_fraction(gelu_scale * (x[i] + gelu_cube * x[i] * x[i] * x[i])));
}

void gpt_gelu_backward(const float *x, const float *dy, size_t count, float *dx)
{
    for (size_t i = 0; i < count; i++) {
        float t = tanh_fraction(gelu_scale * (x[i] + gelu_cube * x[i] * x[i] * x[i]));
        float slope = gelu_scale * (1.0f + 3.0f * gelu_cube * x[i] * x[i]);
        dx[i] = dy[i] * (0.5f * (1.0f + t) + 0.5f * x[i] * (1.0f - t * t) * slope);
    }
}

/* ----------------------------------------------------------------------------------------------------- random numbers */

/* Blackman and Vigna, "Scrambled linear pseudorandom number generators" (2018); seeded through splitmix64 as they advise. */
void gpt_random_seed(struct gpt_random *random, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = (seed += 0x9e3779b97f4a7c15u);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
        random->word[i] = z ^ (z >> 31);
    }
}

static uint64_t rotate(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

uint64_t gpt_random_next(struct gpt_random *random)
{
    uint64_t *word = random->word;
    uint64_t result = rotate(word[1] * 5, 7) * 9;
    uint64_t shifted = word[1] << 17;

    word[2] ^= word[0];
    word[3] ^= word[1];
    word[1] ^= word[2];
    word[0] ^= word[3];
    word[2] ^= shifted;
    word[3] = rotate(word[3], 45);
    return result;
}

float gpt_random_normal(struct gpt_random *random)
{
    double u = ((double)(gpt_random_next(random) >> 11) + 0.5) * 0x1p-53;
    double v = (double)(gpt_random_next(random) >> 11) * 0x1p-53;

    return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}
