/* The state that the crash tests train. Every bit of it follows from one number, the chain, which is a value of the state itself: whoever reads a checkpoint
 * can tell whether it is whole. A training step makes the next chain of the bits it finds in the tensors, so a wrong bit is never made good again. */
#ifndef CRASH_STATE_H
#define CRASH_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "cairn.h"

enum {
    WEIGHTS = 3000,
    MOMENTS = 1100,
    FROZEN = 132 * 1024, /* its file is above 1 MiB, so checkpoints share it */
};

struct training {
    int64_t step;
    uint64_t chain;
    uint64_t weight[WEIGHTS], moment[MOMENTS], frozen[FROZEN];
    bool dies; /* the next save is killed half-way */
    cairn_state *state;
};

int training_begin(struct training *t, cairn_error *err); /* step 0 */
void training_end(struct training *t);
/* way tells apart what is trained after going back. */
void training_step(struct training *t, uint64_t way);

/* Does all that was restored follow from the chain? */
bool training_is_whole(const struct training *t);

/* Reads a checkpoint by cairn_checkpoint_read, or by cairn_checkpoint_map. Returns 0 if every bit is right; else a line about what is not in ret_problem. An
 * optimizer that was dropped is right. */
int checkpoint_is_whole(cairn_checkpoint *checkpoint, bool mapped, uint64_t *ret_chain, char *ret_problem, size_t size);

#endif
