/* The groups of rows, a file each. A group adds its rows to the bench; the state given is the one of few large tensors, which they leave as it was but
 * for its values. */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include "bench.h"
#include "state.h"

/* Memory for plain code to read and copy into: as large as the state, 2 GiB at most. */
struct buffer {
    unsigned char *memory;
    uint64_t bytes;
};

void rows_save(struct bench *bench, struct state *state);
void rows_stall(struct bench *bench, struct state *state, const struct buffer *buffer);
void rows_train(struct bench *bench, struct state *state);
void rows_restore(struct bench *bench, struct state *state, const struct buffer *buffer);
void rows_open(struct bench *bench);
void rows_listing(struct bench *bench);
void rows_frozen(struct bench *bench);
void rows_memory(struct bench *bench, struct state *state);
void rows_peers(struct bench *bench, struct state *state);

#endif
