/*
 * Forward and backward of a batch's share, by hand. Shapes: n = sequences * context rows, d = width.
 *
 *  1. A lane writes to its own memory and gradients alone, so two lanes run at the same time without a lock.
 *  2. Every sum runs in one fixed order.
 *  3. The backward pass visits the blocks in reverse; d_stream always holds the gradient of the residual stream.
 */
#include "gpt/lane.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What one block's backward pass needs of its forward pass. */
struct block {
    float *normed1, *scaled1, *deviation1; /* [n][d], [n][d], [n]: layer norm before and after its scale, 1 / deviation */
    float *qkv, *attention, *heads;        /* [n][3 d], [sequences][heads][context][context], [n][d] */
    float *normed2, *scaled2, *deviation2;
    float *hidden, *active; /* [n][4 d]: before and after GELU */
    float *mask1, *mask2;   /* [n][d]: dropout, 0 or 1 / (1 - p) */
};

struct gpt_lane {
    const struct gpt_model *model;
    size_t sequences, rows;
    float *gradients, *own_gradients;
    float *memory; /* all that follows is carved from it */
    struct block *blocks;
    float *stream, *mask0, *normed, *scaled, *deviation; /* the residual stream; embedding dropout; final norm */
    float *logits, *d_stream, *d_branch, *d_wide;        /* [n][vocabulary], [n][d], [n][d], [n][4 d] */
    float *transposed, *scores;                          /* a weight turned round; [context][context] */
};

/* --------------------------------------------------------------------------------------------------------- the pieces */

static const float *weight(const struct gpt_lane *lane, size_t tensor)
{
    return lane->model->parameters + lane->model->tensors[tensor].offset;
}

static float *gradient(struct gpt_lane *lane, size_t tensor)
{
    return lane->gradients + lane->model->tensors[tensor].offset;
}

static size_t block_tensor(size_t layer, size_t which)
{
    return BLOCKS + layer * BLOCK_TENSORS + which;
}

/* y[n][out] = x[n][in] W[in][out] + bias */
static void linear(const struct gpt_lane *lane, size_t tensor, const float *x, float *y)
{
    size_t in = lane->model->tensors[tensor].shape[0], out = lane->model->tensors[tensor].shape[1];
    const float *bias = weight(lane, tensor + 1);

    for (size_t row = 0; row < lane->rows; row++) memcpy(y + row * out, bias, out * sizeof(float));
    gpt_multiply(&(struct gpt_product){ .rows = lane->rows,
                                        .columns = out,
                                        .depth = in,
                                        .a = x,
                                        .a_row = in,
                                        .a_column = 1,
                                        .b = weight(lane, tensor),
                                        .b_row = out,
                                        .c = y,
                                        .c_row = out,
                                        .add = 1 });
}

/* dW += x^T dy, dbias += sum of dy, dx = dy W^T */
static void linear_backward(struct gpt_lane *lane, size_t tensor, const float *x, const float *dy, float *dx)
{
    size_t in = lane->model->tensors[tensor].shape[0], out = lane->model->tensors[tensor].shape[1];
    float *d_bias = gradient(lane, tensor + 1);

    for (size_t row = 0; row < lane->rows; row++)
        for (size_t j = 0; j < out; j++) d_bias[j] += dy[row * out + j];
    gpt_multiply(&(struct gpt_product){ .rows = in,
                                        .columns = out,
                                        .depth = lane->rows,
                                        .a = x,
                                        .a_row = 1,
                                        .a_column = in,
                                        .b = dy,
                                        .b_row = out,
                                        .c = gradient(lane, tensor),
                                        .c_row = out,
                                        .add = 1 });
    gpt_transpose(weight(lane, tensor), in, out, out, lane->transposed);
    gpt_multiply(&(struct gpt_product){ .rows = lane->rows,
                                        .columns = in,
                                        .depth = out,
                                        .a = dy,
                                        .a_row = out,
                                        .a_column = 1,
                                        .b = lane->transposed,
                                        .b_row = in,
                                        .c = dx,
                                        .c_row = in });
}

/* scaled = normed * weight + bias, where normed is x with mean 0 and deviation 1 in every row. */
static void norm(const struct gpt_lane *lane, size_t tensor, const float *x, float *normed, float *scaled, float *deviation)
{
    size_t d = lane->model->config.width;
    const float *scale = weight(lane, tensor), *bias = weight(lane, tensor + 1);

    for (size_t row = 0; row < lane->rows; row++, x += d, normed += d, scaled += d) {
        float mean = 0.0f, variance = 0.0f;
        for (size_t j = 0; j < d; j++) mean += x[j];
        mean /= (float)d;
        for (size_t j = 0; j < d; j++) variance += (x[j] - mean) * (x[j] - mean);
        deviation[row] = 1.0f / sqrtf(variance / (float)d + 1e-5f);
        for (size_t j = 0; j < d; j++) {
            normed[j] = (x[j] - mean) * deviation[row];
            scaled[j] = normed[j] * scale[j] + bias[j];
        }
    }
}

/* Adds the gradient through a norm to dx. */
static void norm_backward(struct gpt_lane *lane, size_t tensor, const float *normed, const float *deviation, const float *dy, float *dx)
{
    size_t d = lane->model->config.width;
    const float *scale = weight(lane, tensor);
    float *d_scale = gradient(lane, tensor), *d_bias = gradient(lane, tensor + 1);

    for (size_t row = 0; row < lane->rows; row++, normed += d, dy += d, dx += d) {
        float mean = 0.0f, mean_normed = 0.0f;
        for (size_t j = 0; j < d; j++) {
            d_scale[j] += dy[j] * normed[j];
            d_bias[j] += dy[j];
        }
        for (size_t j = 0; j < d; j++) {
            mean += dy[j] * scale[j];
            mean_normed += dy[j] * scale[j] * normed[j];
        }
        mean /= (float)d;
        mean_normed /= (float)d;
        for (size_t j = 0; j < d; j++) dx[j] += deviation[row] * (dy[j] * scale[j] - mean - normed[j] * mean_normed);
    }
}

static void fill_mask(struct gpt_lane *lane, struct gpt_random *random, float *mask)
{
    size_t count = lane->rows * lane->model->config.width;
    uint64_t drop_below = (uint64_t)(lane->model->config.dropout * 65536.0f);
    float keep = 1.0f / (1.0f - lane->model->config.dropout);

    for (size_t i = 0; i < count; i += 4) { /* count is a multiple of 4: gpt_model_init sees to it */
        uint64_t word = gpt_random_next(random);
        for (size_t j = 0; j < 4; j++, word >>= 16) mask[i + j] = (word & 0xffff) < drop_below ? 0.0f : keep;
    }
}

/* Masks x in place; without a mask x stays. */
static void drop(const struct gpt_lane *lane, const float *mask, int training, float *x)
{
    size_t count = lane->rows * lane->model->config.width;

    for (size_t i = 0; training && i < count; i++) x[i] *= mask[i];
}

static void add(const struct gpt_lane *lane, const float *branch, float *stream)
{
    size_t count = lane->rows * lane->model->config.width;

    for (size_t i = 0; i < count; i++) stream[i] += branch[i];
}

/* ---------------------------------------------------------------------------------------------------------- attention */

/* One head of one sequence: where its queries are in qkv (keys d further, values 2 d further), its weights, its output. */
struct head {
    size_t offset, attention, output;
};

static struct head find_head(const struct gpt_lane *lane, size_t index)
{
    const struct gpt_config *c = &lane->model->config;
    size_t sequence = index / c->heads, head = index % c->heads, size = c->width / c->heads;

    return (struct head){ sequence * c->context * 3 * c->width + head * size, index * c->context * c->context,
                          sequence * c->context * c->width + head * size };
}

/* Row i may look at columns 0 .. i: softmax over those, zero beyond. */
static void causal_softmax(float *scores, size_t context, float scale)
{
    for (size_t i = 0; i < context; i++, scores += context) {
        float most = scores[0], sum = 0.0f;
        for (size_t j = 1; j <= i; j++) most = scores[j] > most ? scores[j] : most;
        for (size_t j = 0; j <= i; j++) {
            scores[j] = expf((scores[j] - most) * scale);
            sum += scores[j];
        }
        for (size_t j = 0; j < context; j++) scores[j] = j <= i ? scores[j] / sum : 0.0f;
    }
}

static void attend(struct gpt_lane *lane, struct block *block)
{
    const struct gpt_config *c = &lane->model->config;
    size_t d = c->width, size = d / c->heads, t = c->context;

    for (size_t index = 0; index < lane->sequences * c->heads; index++) {
        struct head head = find_head(lane, index);
        const float *q = block->qkv + head.offset;
        float *attention = block->attention + head.attention;

        gpt_transpose(q + d, t, size, 3 * d, lane->transposed);
        gpt_multiply(&(struct gpt_product){ .rows = t,
                                            .columns = t,
                                            .depth = size,
                                            .a = q,
                                            .a_row = 3 * d,
                                            .a_column = 1,
                                            .b = lane->transposed,
                                            .b_row = t,
                                            .c = attention,
                                            .c_row = t });
        causal_softmax(attention, t, 1.0f / sqrtf((float)size));
        gpt_multiply(&(struct gpt_product){ .rows = t,
                                            .columns = size,
                                            .depth = t,
                                            .a = attention,
                                            .a_row = t,
                                            .a_column = 1,
                                            .b = q + 2 * d,
                                            .b_row = 3 * d,
                                            .c = block->heads + head.output,
                                            .c_row = d });
    }
}

/* From d_heads [n][d] to d_qkv [n][3 d]. */
static void attend_backward(struct gpt_lane *lane, const struct block *block, const float *d_heads, float *d_qkv)
{
    const struct gpt_config *c = &lane->model->config;
    size_t d = c->width, size = d / c->heads, t = c->context;
    float scale = 1.0f / sqrtf((float)size);

    for (size_t index = 0; index < lane->sequences * c->heads; index++) {
        struct head head = find_head(lane, index);
        const float *q = block->qkv + head.offset, *attention = block->attention + head.attention;
        const float *dy = d_heads + head.output;
        float *dq = d_qkv + head.offset, *scores = lane->scores;

        gpt_multiply(&(struct gpt_product){ .rows = t,
                                            .columns = size,
                                            .depth = t,
                                            .a = attention,
                                            .a_row = 1,
                                            .a_column = t,
                                            .b = dy,
                                            .b_row = d,
                                            .c = dq + 2 * d,
                                            .c_row = 3 * d });
        gpt_transpose(q + 2 * d, t, size, 3 * d, lane->transposed);
        gpt_multiply(&(struct gpt_product){ .rows = t,
                                            .columns = t,
                                            .depth = size,
                                            .a = dy,
                                            .a_row = d,
                                            .a_column = 1,
                                            .b = lane->transposed,
                                            .b_row = t,
                                            .c = scores,
                                            .c_row = t });
        for (size_t i = 0; i < t; i++) {
            float sum = 0.0f;
            for (size_t j = 0; j <= i; j++) sum += attention[i * t + j] * scores[i * t + j];
            for (size_t j = 0; j < t; j++) scores[i * t + j] = attention[i * t + j] * (scores[i * t + j] - sum) * scale;
        }
        gpt_multiply(&(struct gpt_product){ .rows = t,
                                            .columns = size,
                                            .depth = t,
                                            .a = scores,
                                            .a_row = t,
                                            .a_column = 1,
                                            .b = q + d,
                                            .b_row = 3 * d,
                                            .c = dq,
                                            .c_row = 3 * d });
        gpt_multiply(&(struct gpt_product){ .rows = t,
                                            .columns = size,
                                            .depth = t,
                                            .a = scores,
                                            .a_row = 1,
                                            .a_column = t,
                                            .b = q,
                                            .b_row = 3 * d,
                                            .c = dq + d,
                                            .c_row = 3 * d });
    }
}

/* ------------------------------------------------------------------------------------------------- forward and backward */

static void embed(struct gpt_lane *lane, const uint8_t *tokens)
{
    const struct gpt_config *c = &lane->model->config;
    const float *token = weight(lane, TOKEN_EMBEDDING), *position = weight(lane, POSITION_EMBEDDING);

    for (size_t row = 0; row < lane->rows; row++) {
        size_t at = row % c->context, id = tokens[row / c->context * (c->context + 1) + at];
        for (size_t j = 0; j < c->width; j++) lane->stream[row * c->width + j] = token[id * c->width + j] + position[at * c->width + j];
    }
}

static void embed_backward(struct gpt_lane *lane, const uint8_t *tokens)
{
    const struct gpt_config *c = &lane->model->config;
    float *token = gradient(lane, TOKEN_EMBEDDING), *position = gradient(lane, POSITION_EMBEDDING);

    for (size_t row = 0; row < lane->rows; row++) {
        size_t at = row % c->context, id = tokens[row / c->context * (c->context + 1) + at];
        for (size_t j = 0; j < c->width; j++) {
            token[id * c->width + j] += lane->d_stream[row * c->width + j];
            position[at * c->width + j] += lane->d_stream[row * c->width + j];
        }
    }
}

static void forward(struct gpt_lane *lane, const uint8_t *tokens, int training)
{
    const struct gpt_config *c = &lane->model->config;
    size_t final = block_tensor(c->layers, 0), d = c->width;

    embed(lane, tokens);
    drop(lane, lane->mask0, training, lane->stream);
    for (size_t layer = 0; layer < c->layers; layer++) {
        struct block *block = &lane->blocks[layer];

        norm(lane, block_tensor(layer, NORM1_WEIGHT), lane->stream, block->normed1, block->scaled1, block->deviation1);
        linear(lane, block_tensor(layer, ATTENTION_WEIGHT), block->scaled1, block->qkv);
        attend(lane, block);
        linear(lane, block_tensor(layer, PROJECTION_WEIGHT), block->heads, lane->d_branch);
        drop(lane, block->mask1, training, lane->d_branch);
        add(lane, lane->d_branch, lane->stream);

        norm(lane, block_tensor(layer, NORM2_WEIGHT), lane->stream, block->normed2, block->scaled2, block->deviation2);
        linear(lane, block_tensor(layer, EXPAND_WEIGHT), block->scaled2, block->hidden);
        gpt_gelu(block->hidden, lane->rows * 4 * d, block->active);
        linear(lane, block_tensor(layer, CONTRACT_WEIGHT), block->active, lane->d_branch);
        drop(lane, block->mask2, training, lane->d_branch);
        add(lane, lane->d_branch, lane->stream);
    }
    norm(lane, final, lane->stream, lane->normed, lane->scaled, lane->deviation);
    gpt_transpose(weight(lane, TOKEN_EMBEDDING), c->vocabulary, d, d, lane->transposed); /* the head is the embedding, turned */
    gpt_multiply(&(struct gpt_product){ .rows = lane->rows,
                                        .columns = c->vocabulary,
                                        .depth = d,
                                        .a = lane->scaled,
                                        .a_row = d,
                                        .a_column = 1,
                                        .b = lane->transposed,
                                        .b_row = c->vocabulary,
                                        .c = lane->logits,
                                        .c_row = c->vocabulary });
}

/* Returns the summed loss and turns the logits into their gradients. */
static double cross_entropy(struct gpt_lane *lane, const uint8_t *tokens)
{
    const struct gpt_config *c = &lane->model->config;
    float share = 1.0f / (float)(lane->model->sequences * c->context);
    double loss = 0.0;

    for (size_t row = 0; row < lane->rows; row++) {
        float *logits = lane->logits + row * c->vocabulary;
        size_t target = tokens[row / c->context * (c->context + 1) + row % c->context + 1];
        float most = logits[0], sum = 0.0f, wanted = logits[target];

        for (size_t j = 1; j < c->vocabulary; j++) most = logits[j] > most ? logits[j] : most;
        for (size_t j = 0; j < c->vocabulary; j++) {
            logits[j] = expf(logits[j] - most);
            sum += logits[j];
        }
        loss += log((double)sum) + (double)most - (double)wanted;
        for (size_t j = 0; j < c->vocabulary; j++) logits[j] *= share / sum;
        logits[target] -= share;
    }
    return loss;
}

static void block_backward(struct gpt_lane *lane, size_t layer)
{
    const struct block *block = &lane->blocks[layer];
    size_t d = lane->model->config.width, count = lane->rows * d;

    memcpy(lane->d_branch, lane->d_stream, count * sizeof(float));
    drop(lane, block->mask2, 1, lane->d_branch);
    linear_backward(lane, block_tensor(layer, CONTRACT_WEIGHT), block->active, lane->d_branch, lane->d_wide);
    gpt_gelu_backward(block->hidden, lane->d_wide, 4 * count, lane->d_wide);
    linear_backward(lane, block_tensor(layer, EXPAND_WEIGHT), block->scaled2, lane->d_wide, lane->d_branch);
    norm_backward(lane, block_tensor(layer, NORM2_WEIGHT), block->normed2, block->deviation2, lane->d_branch, lane->d_stream);

    memcpy(lane->d_wide, lane->d_stream, count * sizeof(float));
    drop(lane, block->mask1, 1, lane->d_wide);
    linear_backward(lane, block_tensor(layer, PROJECTION_WEIGHT), block->heads, lane->d_wide, lane->d_branch);
    attend_backward(lane, block, lane->d_branch, lane->d_wide);
    linear_backward(lane, block_tensor(layer, ATTENTION_WEIGHT), block->scaled1, lane->d_wide, lane->d_branch);
    norm_backward(lane, block_tensor(layer, NORM1_WEIGHT), block->normed1, block->deviation1, lane->d_branch, lane->d_stream);
}

static void backward(struct gpt_lane *lane, const uint8_t *tokens)
{
    const struct gpt_config *c = &lane->model->config;
    size_t d = c->width;

    gpt_multiply(&(struct gpt_product){ .rows = c->vocabulary,
                                        .columns = d,
                                        .depth = lane->rows,
                                        .a = lane->logits,
                                        .a_row = 1,
                                        .a_column = c->vocabulary,
                                        .b = lane->scaled,
                                        .b_row = d,
                                        .c = gradient(lane, TOKEN_EMBEDDING),
                                        .c_row = d,
                                        .add = 1 });
    gpt_multiply(&(struct gpt_product){ .rows = lane->rows,
                                        .columns = d,
                                        .depth = c->vocabulary,
                                        .a = lane->logits,
                                        .a_row = c->vocabulary,
                                        .a_column = 1,
                                        .b = weight(lane, TOKEN_EMBEDDING),
                                        .b_row = d,
                                        .c = lane->d_branch,
                                        .c_row = d });
    memset(lane->d_stream, 0, lane->rows * d * sizeof(float));
    norm_backward(lane, block_tensor(c->layers, 0), lane->normed, lane->deviation, lane->d_branch, lane->d_stream);
    for (size_t layer = c->layers; layer-- > 0;) block_backward(lane, layer);
    drop(lane, lane->mask0, 1, lane->d_stream);
    embed_backward(lane, tokens);
}

double gpt_lane_run(struct gpt_lane *lane, const uint8_t *tokens, int training, uint64_t seed)
{
    if (training) {
        struct gpt_random random;
        gpt_random_seed(&random, seed);
        fill_mask(lane, &random, lane->mask0);
        for (size_t layer = 0; layer < lane->model->config.layers; layer++) {
            fill_mask(lane, &random, lane->blocks[layer].mask1);
            fill_mask(lane, &random, lane->blocks[layer].mask2);
        }
    }
    forward(lane, tokens, training);
    double loss = cross_entropy(lane, tokens);
    if (training) {
        memset(lane->gradients, 0, lane->model->count * sizeof(float));
        backward(lane, tokens);
    }
    return loss;
}

/* ------------------------------------------------------------------------------------------------------------- memory */

static float *carve(float **ret_next, size_t *ret_total, size_t count)
{
    float *at = *ret_next;

    *ret_total += count;
    if (at != NULL) *ret_next += count;
    return at;
}

/* Hands out lane->memory; with none it only counts. Returns the floats needed. */
static size_t lay_out(struct gpt_lane *lane)
{
    const struct gpt_config *c = &lane->model->config;
    size_t n = lane->rows, d = c->width, total = 0, widest = 4 * d * d;
    float *next = lane->memory;

    for (size_t layer = 0; layer < c->layers; layer++) {
        struct block *block = &lane->blocks[layer];
        float **wide[] = {
            &block->normed1, &block->scaled1, &block->heads, &block->normed2, &block->scaled2, &block->mask1, &block->mask2
        };
        for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) *wide[i] = carve(&next, &total, n * d);
        block->deviation1 = carve(&next, &total, n);
        block->deviation2 = carve(&next, &total, n);
        block->qkv = carve(&next, &total, 3 * n * d);
        block->attention = carve(&next, &total, n * c->heads * c->context);
        block->hidden = carve(&next, &total, 4 * n * d);
        block->active = carve(&next, &total, 4 * n * d);
    }
    float **wide[] = { &lane->stream, &lane->mask0, &lane->normed, &lane->scaled, &lane->d_stream, &lane->d_branch };
    for (size_t i = 0; i < sizeof(wide) / sizeof(wide[0]); i++) *wide[i] = carve(&next, &total, n * d);
    lane->d_wide = carve(&next, &total, 4 * n * d);
    lane->deviation = carve(&next, &total, n);
    lane->logits = carve(&next, &total, n * c->vocabulary);
    lane->scores = carve(&next, &total, c->context * c->context);
    if (widest < c->vocabulary * d) widest = c->vocabulary * d;
    if (widest < c->context * d) widest = c->context * d;
    lane->transposed = carve(&next, &total, widest);
    return total;
}

struct gpt_lane *gpt_lane_new(const struct gpt_model *model, size_t sequences, float *gradients)
{
    struct gpt_lane *lane = calloc(1, sizeof(*lane));

    if (lane == NULL) return NULL;
    lane->model = model;
    lane->sequences = sequences;
    lane->rows = sequences * model->config.context;
    lane->blocks = calloc(model->config.layers, sizeof(*lane->blocks));
    if (gradients == NULL) gradients = lane->own_gradients = calloc(model->count, sizeof(float));
    lane->gradients = gradients;
    if (lane->blocks != NULL) lane->memory = calloc(lay_out(lane), sizeof(float));
    if (lane->memory == NULL || lane->gradients == NULL) {
        gpt_lane_free(lane);
        return NULL;
    }
    lay_out(lane);
    return lane;
}

void gpt_lane_free(struct gpt_lane *lane)
{
    if (lane == NULL) return;
    free(lane->own_gradients);
    free(lane->memory);
    free(lane->blocks);
    free(lane);
}

const float *gpt_lane_gradients(const struct gpt_lane *lane)
{
    return lane->gradients;
}
