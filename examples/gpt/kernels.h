#ifndef GPT_KERNELS_H
#define GPT_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* A matrix product: c[rows][columns] = a[rows][depth] * b[depth][columns], or += when add is set.
 * Element (i, k) of a lies at a[i * a_row + k * a_column], so that a transposed a costs nothing; b and c are row-major. */
struct gpt_product {
    size_t rows, columns, depth;
    const float *a;
    size_t a_row, a_column;
    const float *b;
    size_t b_row;
    float *c;
    size_t c_row;
    int add;
};
void gpt_multiply(const struct gpt_product *product);

/* to[columns][rows] = from[rows][columns]; from_row is the distance of from's rows. */
void gpt_transpose(const float *from, size_t rows, size_t columns, size_t from_row, float *to);

void gpt_gelu(const float *x, size_t count, float *y);
/* dx = dy * gelu'(x); dx may be dy. */
void gpt_gelu_backward(const float *x, const float *dy, size_t count, float *dx);

/* xoshiro256**: a random generator whose whole state is four words, so that four words in a checkpoint bring it back. */
struct gpt_random {
    uint64_t word[4];
};
void gpt_random_seed(struct gpt_random *random, uint64_t seed);
uint64_t gpt_random_next(struct gpt_random *random);
float gpt_random_normal(struct gpt_random *random);

#endif
