#ifndef GPT_TEXT_H
#define GPT_TEXT_H

#include "gpt/kernels.h"

#include <stddef.h>
#include <stdint.h>

/* A text as characters numbered from 0, split into a training part and a validation part (the last tenth). */
struct gpt_text {
    uint8_t *ids;
    size_t count, train_count;
    uint8_t characters[256]; /* id -> byte, ascending */
    size_t vocabulary;
    uint64_t fingerprint; /* of the bytes: a resume on another text is noticed */
};

/* path: a file, or a folder whose plain files are joined in the order of their names (links and subfolders skipped).
 * Returns 0, or -1 with one line in message. */
int gpt_text_load(struct gpt_text *text, const char *path, char *message, size_t message_bytes);
void gpt_text_done(struct gpt_text *text);

/* Where the training is in its data. epoch, position and order_seed are all of its state: saved, they bring it back. */
struct gpt_order {
    int64_t epoch;
    int64_t position;    /* windows used in this epoch */
    uint64_t order_seed; /* the epoch's order follows from it, and the next epoch's seed */
    uint32_t *windows;   /* a permutation of 0 .. count - 1, rebuilt from order_seed */
    size_t count, context;
};

/* Returns 0, or -1 when memory ran out or the text has not one window. */
int gpt_order_init(struct gpt_order *order, const struct gpt_text *text, size_t context, uint64_t seed);
void gpt_order_done(struct gpt_order *order);
/* Rebuilds the permutation after epoch, position and order_seed were restored. -1: they fit no such text. */
int gpt_order_resume(struct gpt_order *order);
/* The next `sequences` windows of context + 1 characters; a new epoch is shuffled anew. */
void gpt_order_batch(struct gpt_order *order, const struct gpt_text *text, size_t sequences, uint8_t *ret_tokens);

/* Window `index` of the validation part; it wraps around. */
void gpt_text_validation(const struct gpt_text *text, size_t index, size_t context, uint8_t *ret_tokens);

#endif
