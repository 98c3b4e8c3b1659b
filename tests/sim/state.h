/* A small training state. All of it follows from the number of the attempt that saved it, so what comes back can be judged. */
#ifndef SIM_STATE_H
#define SIM_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cairn.h"

enum { SIM_WEIGHT_BYTES = 5000, SIM_BIAS_BYTES = 300, SIM_MOMENTS = 700, SIM_FROZEN_BYTES = (1 << 20) + 4096 };

struct sim_state {
    cairn_state *state;
    uint8_t *weight, *bias, *frozen; /* frozen: NULL in most runs, for a file of 1 MiB is the least that is shared */
    float *moments;
    int64_t attempt;
};

int sim_state_open(struct sim_state *state, bool with_frozen, cairn_error *err);
void sim_state_close(struct sim_state *state);
void sim_state_fill(struct sim_state *state, uint64_t attempt);
/* Is it what that attempt saved? */
bool sim_state_is(const struct sim_state *state, uint64_t attempt, bool with_optimizer);
/* The bytes of one tensor, for who reads them one by one. */
void sim_state_bytes(uint64_t attempt, const char *name, unsigned char *ret_bytes, uint64_t size);

#endif
