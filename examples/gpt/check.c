/*
 * Is the backward pass the derivative of the forward pass?
 *
 * For a tensor with gradient g the loss is measured at two points along a direction u of length 1; their difference must be
 * <g, u>. u is g itself, limited to a random half of the entries: a wrong entry in either half is seen, and the loss, a sum of
 * floats, moves far enough to be measured.
 */
#include "gpt/check.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double step_length = 2e-3, tolerance = 0.01;

struct check {
    struct gpt_model *model;
    const uint8_t *tokens;
    struct gpt_random dropout; /* the same masks at every point */
    float *gradients, *weights;
};

/* The loss with the tensor's entries moved by `distance` along the direction (u, taken from g where chosen). */
static double loss_at(struct check *check, const struct gpt_tensor *tensor, const unsigned char *chosen, double length, double distance)
{
    float *w = check->model->parameters + tensor->offset;
    const float *g = check->gradients + tensor->offset;
    struct gpt_random dropout = check->dropout;

    for (size_t i = 0; i < tensor->count; i++)
        if (chosen[i]) w[i] = (float)((double)w[i] + distance * (double)g[i] / length);
    double loss = gpt_model_loss(check->model, check->tokens, &dropout);
    memcpy(w, check->weights + tensor->offset, tensor->count * sizeof(float));
    return loss;
}

/* Returns how far the two derivatives are apart, relative to the larger one. */
static double compare_tensor(struct check *check, const struct gpt_tensor *tensor, struct gpt_random *random, unsigned char *chosen)
{
    const float *g = check->gradients + tensor->offset;
    double square = 0.0;

    for (size_t i = 0; i < tensor->count; i++) {
        chosen[i] = gpt_random_next(random) >> 63 ? 1 : 0;
        square += chosen[i] ? (double)g[i] * (double)g[i] : 0.0;
    }
    double length = sqrt(square);
    if (length < 1e-9) return 1.0; /* a tensor without any gradient is a mistake in itself */
    double up = loss_at(check, tensor, chosen, length, step_length), down = loss_at(check, tensor, chosen, length, -step_length);
    double measured = (up - down) / (2.0 * step_length);
    return fabs(measured - length) / fmax(fabs(measured), length);
}

int gpt_check_gradients(struct gpt_model *model, struct gpt_order *order, const struct gpt_text *text)
{
    size_t bytes = model->count * sizeof(float), bad = 0;
    uint8_t *tokens = calloc(model->sequences, model->config.context + 1);
    unsigned char *chosen = calloc(model->count, 1);
    struct check check = { .model = model, .tokens = tokens, .gradients = malloc(bytes), .weights = malloc(bytes) };
    struct gpt_random random;
    double worst = 0.0;

    if (tokens != NULL && chosen != NULL && check.gradients != NULL && check.weights != NULL) {
        gpt_random_seed(&random, 7);
        for (size_t i = 0; i < model->count; i++) /* away from the start, where many gradients are almost nothing */
            model->parameters[i] += 0.1f * gpt_random_normal(&random);
        gpt_random_seed(&check.dropout, 8);
        gpt_order_batch(order, text, model->sequences, tokens);
        struct gpt_random dropout = check.dropout;
        gpt_model_loss(model, tokens, &dropout);
        memcpy(check.gradients, model->gradients, bytes);
        memcpy(check.weights, model->parameters, bytes);
        for (size_t i = 0; i < model->tensors_count; i++) {
            double apart = compare_tensor(&check, &model->tensors[i], &random, chosen);
            worst = apart > worst ? apart : worst;
            if (apart > tolerance) {
                printf("%s: gradient and finite difference are %.2g apart\n", model->tensors[i].name, apart);
                bad++;
            }
        }
        printf("gradients of %zu tensors checked, %zu wrong, largest relative difference %.2g\n", model->tensors_count, bad, worst);
    } else
        bad = 1;
    free(tokens);
    free(chosen);
    free(check.gradients);
    free(check.weights);
    return bad == 0 ? 0 : -1;
}
