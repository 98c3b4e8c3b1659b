#ifndef GPT_MODEL_H
#define GPT_MODEL_H

#include "gpt/kernels.h"

#include <stddef.h>
#include <stdint.h>

/* The shape of the model. width is a multiple of heads; a block has width 4 * width inside its MLP. */
struct gpt_config {
    size_t layers, heads, width, context, vocabulary;
    float dropout;
};

/* A parameter tensor. Its weights, gradients and Adam moments lie at the same offset of four arrays. */
struct gpt_tensor {
    char name[64];
    uint32_t rank;
    uint64_t shape[2];
    size_t offset, count;
    int decays; /* weight decay applies: matrices, not biases and norms */
    int frozen; /* left as it is by every update */
};

/* One worker's share of a batch: what the forward pass keeps for the backward pass, and the gradients. */
struct gpt_lane;

struct gpt_model {
    struct gpt_config config;
    struct gpt_tensor *tensors;
    size_t tensors_count;
    size_t count;                /* parameters */
    float *parameters;           /* [count] */
    float *gradients;            /* [count] */
    float *exp_avg, *exp_avg_sq; /* [count]: AdamW's moments */
    struct gpt_lane *lanes[2];
    size_t sequences; /* of a batch, even */
};

/* Returns 0, or -1 when memory ran out. gpt_model_done takes a half-built model. */
int gpt_model_init(struct gpt_model *model, const struct gpt_config *config, size_t sequences, struct gpt_random *random);
void gpt_model_done(struct gpt_model *model);

/* Mean loss (nats per character) over a batch: tokens is [sequences][context + 1], a token's target is the next one.
 * With dropout (NULL: none, and no gradients) also the gradients. Two threads; the result does not depend on their timing. */
double gpt_model_loss(struct gpt_model *model, const uint8_t *tokens, struct gpt_random *dropout);

/* Scales the gradients down to the norm `clip` and takes one AdamW step; step counts from 1. Returns the norm before. */
double gpt_model_update(struct gpt_model *model, uint64_t step, double learning_rate, double weight_decay, double clip);

#endif
