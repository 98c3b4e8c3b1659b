/*
 * The model as a whole: its tensors, a batch split over two lanes, the optimizer.
 *
 *  1. All parameters lie in one array, and the gradients and moments in arrays of the same layout.
 *  2. The two lanes' results are added in a fixed order: the thread that is done first has no influence.
 */
#include "gpt/model.h"
#include "gpt/lane.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

/* ------------------------------------------------------------------------------------------------------------ tensors */

static void add_tensor(struct gpt_model *model, const char *name, size_t rows, size_t columns)
{
    struct gpt_tensor *tensor = &model->tensors[model->tensors_count++];

    snprintf(tensor->name, sizeof(tensor->name), "transformer.%s", name);
    tensor->rank = columns != 0 ? 2 : 1;
    tensor->shape[0] = rows;
    tensor->shape[1] = columns;
    tensor->offset = model->count;
    tensor->count = rows * (columns != 0 ? columns : 1);
    tensor->decays = tensor->rank == 2;
    model->count += tensor->count;
}

static void add_pair(struct gpt_model *model, const char *name, size_t in, size_t out)
{
    char full[48];

    snprintf(full, sizeof(full), "%s.weight", name);
    add_tensor(model, full, in, out);
    snprintf(full, sizeof(full), "%s.bias", name);
    add_tensor(model, full, out != 0 ? out : in, 0);
}

/* The names and the order of GPT-2's checkpoints, so that their readers find what they know. */
static void add_tensors(struct gpt_model *model)
{
    const struct gpt_config *c = &model->config;
    static const struct {
        const char *name;
        size_t in, out; /* in widths; out 0: a norm */
    } parts[] = { { "ln_1", 1, 0 }, { "attn.c_attn", 1, 3 }, { "attn.c_proj", 1, 1 },
                  { "ln_2", 1, 0 }, { "mlp.c_fc", 1, 4 },    { "mlp.c_proj", 4, 1 } };

    add_tensor(model, "wte.weight", c->vocabulary, c->width);
    add_tensor(model, "wpe.weight", c->context, c->width);
    for (size_t layer = 0; layer < c->layers; layer++)
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            char name[40];
            snprintf(name, sizeof(name), "h.%zu.%s", layer, parts[i].name);
            add_pair(model, name, parts[i].in * c->width, parts[i].out * c->width);
        }
    add_pair(model, "ln_f", c->width, 0);
}

/* Biases 0, norms 1, matrices normal with deviation 0.02, less where a block adds to the residual stream. */
static void fill_parameters(struct gpt_model *model, struct gpt_random *random)
{
    for (size_t i = 0; i < model->tensors_count; i++) {
        const struct gpt_tensor *tensor = &model->tensors[i];
        size_t which = i < BLOCKS ? BLOCK_TENSORS : (i - BLOCKS) % BLOCK_TENSORS;
        int adds = which == PROJECTION_WEIGHT || which == CONTRACT_WEIGHT;
        int is_scale = tensor->rank == 1 && (which == NORM1_WEIGHT || which == NORM2_WEIGHT);
        float deviation = adds ? 0.02f / sqrtf(2.0f * (float)model->config.layers) : 0.02f;

        for (size_t j = 0; j < tensor->count; j++)
            model->parameters[tensor->offset + j] = tensor->rank == 2 ? deviation * gpt_random_normal(random) : is_scale ? 1.0f : 0.0f;
    }
}

int gpt_model_init(struct gpt_model *model, const struct gpt_config *config, size_t sequences, struct gpt_random *random)
{
    *model = (struct gpt_model){ .config = *config, .sequences = sequences };
    model->tensors = calloc(BLOCKS + config->layers * BLOCK_TENSORS + 2, sizeof(*model->tensors));
    if (model->tensors == NULL) return -1;
    add_tensors(model);
    model->parameters = calloc(model->count, sizeof(float));
    model->gradients = calloc(model->count, sizeof(float));
    model->exp_avg = calloc(model->count, sizeof(float));
    model->exp_avg_sq = calloc(model->count, sizeof(float));
    if (model->parameters == NULL || model->gradients == NULL || model->exp_avg == NULL || model->exp_avg_sq == NULL) return -1;
    fill_parameters(model, random);
    model->lanes[0] = gpt_lane_new(model, sequences / 2, model->gradients);
    model->lanes[1] = gpt_lane_new(model, sequences / 2, NULL);
    return model->lanes[0] != NULL && model->lanes[1] != NULL ? 0 : -1;
}

void gpt_model_done(struct gpt_model *model)
{
    gpt_lane_free(model->lanes[0]);
    gpt_lane_free(model->lanes[1]);
    free(model->tensors);
    free(model->parameters);
    free(model->gradients);
    free(model->exp_avg);
    free(model->exp_avg_sq);
    *model = (struct gpt_model){ .count = 0 };
}

/* --------------------------------------------------------------------------------------------------------------- batch */

struct share {
    struct gpt_lane *lane;
    const uint8_t *tokens;
    int training;
    uint64_t seed;
    double loss;
};

static void *run_share(void *user)
{
    struct share *share = user;

    share->loss = gpt_lane_run(share->lane, share->tokens, share->training, share->seed);
    return NULL;
}

double gpt_model_loss(struct gpt_model *model, const uint8_t *tokens, struct gpt_random *dropout)
{
    size_t half = model->sequences / 2;
    struct share first = { model->lanes[0], tokens, dropout != NULL, 0, 0.0 };
    struct share second = { model->lanes[1], tokens + half * (model->config.context + 1), dropout != NULL, 0, 0.0 };
    pthread_t thread;

    if (dropout != NULL) {
        first.seed = gpt_random_next(dropout);
        second.seed = gpt_random_next(dropout);
    }
    int alone = pthread_create(&thread, NULL, run_share, &second) != 0;
    run_share(&first);
    if (alone)
        run_share(&second);
    else
        pthread_join(thread, NULL);
    if (dropout != NULL) {
        const float *other = gpt_lane_gradients(model->lanes[1]);
        for (size_t i = 0; i < model->count; i++) model->gradients[i] += other[i];
    }
    return (first.loss + second.loss) / (double)(model->sequences * model->config.context);
}

/* ---------------------------------------------------------------------------------------------------------- optimizer */

static double gradient_norm(const struct gpt_model *model)
{
    double sum[8] = { 0 }, total = 0.0; /* eight running sums, so that the processor need not wait for one */
    size_t i = 0;

    for (; i + 8 <= model->count; i += 8)
        for (size_t j = 0; j < 8; j++) sum[j] += (double)model->gradients[i + j] * (double)model->gradients[i + j];
    for (; i < model->count; i++) sum[0] += (double)model->gradients[i] * (double)model->gradients[i];
    for (size_t j = 0; j < 8; j++) total += sum[j];
    return sqrt(total);
}

double gpt_model_update(struct gpt_model *model, uint64_t step, double learning_rate, double weight_decay, double clip)
{
    const float beta1 = 0.9f, beta2 = 0.95f, epsilon = 1e-8f;
    double norm = gradient_norm(model);
    float scale = (float)(norm > clip ? clip / norm : 1.0);
    float step_size = (float)(learning_rate / (1.0 - pow((double)beta1, (double)step)));
    float correction = (float)(1.0 / (1.0 - pow((double)beta2, (double)step)));

    for (size_t t = 0; t < model->tensors_count; t++) {
        const struct gpt_tensor *tensor = &model->tensors[t];
        float shrink = (float)(1.0 - (tensor->decays ? learning_rate * weight_decay : 0.0));
        float *restrict w = model->parameters + tensor->offset;
        float *restrict m = model->exp_avg + tensor->offset;
        float *restrict v = model->exp_avg_sq + tensor->offset;
        const float *restrict g = model->gradients + tensor->offset;

        if (tensor->frozen) continue;
        for (size_t i = 0; i < tensor->count; i++) {
            float slope = g[i] * scale;
            m[i] = beta1 * m[i] + (1.0f - beta1) * slope;
            v[i] = beta2 * v[i] + (1.0f - beta2) * slope * slope;
            w[i] = w[i] * shrink - step_size * m[i] / (sqrtf(v[i] * correction) + epsilon);
        }
    }
    return norm;
}
