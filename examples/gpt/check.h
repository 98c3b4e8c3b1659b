#ifndef GPT_CHECK_H
#define GPT_CHECK_H

#include "gpt/model.h"
#include "gpt/text.h"

/* Compares every tensor's gradient with finite differences of the loss, dropout included, and prints one line.
 * Returns 0 when all agree, else -1. */
int gpt_check_gradients(struct gpt_model *model, struct gpt_order *order, const struct gpt_text *text);

#endif
