/* The state that is saved: float32 tensors in one stretch of memory, filled with values a training run could have. */
#ifndef BENCH_STATE_H
#define BENCH_STATE_H

#include <stdint.h>

#include "cairn.h"

struct state {
    cairn_state *bound;
    unsigned char *memory; /* whole blocks of 4 MiB, longer than the tensors by at least two of them */
    uint64_t memory_bytes;
    uint64_t bytes; /* of all tensors */
    uint64_t tensor_bytes;
    uint32_t tensors, frozen; /* the last `frozen` ones are bound as FROZEN */
};

void state_make(struct state *state, uint64_t bytes, uint32_t tensors, uint32_t frozen);
void state_free(struct state *state);
/* Changes every tensor that is not frozen a little, as a step would: no file stays the same. */
void state_step(struct state *state);

#endif
