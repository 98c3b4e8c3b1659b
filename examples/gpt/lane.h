#ifndef GPT_LANE_H
#define GPT_LANE_H

#include "gpt/model.h"

/* The order of the tensors in gpt_model.tensors: two embeddings, then these for every block, then the final norm. */
enum { TOKEN_EMBEDDING, POSITION_EMBEDDING, BLOCKS };
enum {
    NORM1_WEIGHT,
    NORM1_BIAS,
    ATTENTION_WEIGHT,
    ATTENTION_BIAS,
    PROJECTION_WEIGHT,
    PROJECTION_BIAS,
    NORM2_WEIGHT,
    NORM2_BIAS,
    EXPAND_WEIGHT,
    EXPAND_BIAS,
    CONTRACT_WEIGHT,
    CONTRACT_BIAS,
    BLOCK_TENSORS
};

/* Makes a lane for `sequences` sequences. gradients: [parameters], or NULL: the lane has its own. NULL: no memory. */
struct gpt_lane *gpt_lane_new(const struct gpt_model *model, size_t sequences, float *gradients);
void gpt_lane_free(struct gpt_lane *lane);
const float *gpt_lane_gradients(const struct gpt_lane *lane);

/* Forward, and with training also backward: clears and fills the lane's gradients, scaled by 1 / rows of the whole batch.
 * seed is that of this step's dropout. Returns the sum of the losses of the lane's rows. */
double gpt_lane_run(struct gpt_lane *lane, const uint8_t *tokens, int training, uint64_t seed);

#endif
