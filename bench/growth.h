/* How cost grows: a durable save over the size of the state; a save and a listing over the checkpoints kept. */
#ifndef BENCH_GROWTH_H
#define BENCH_GROWTH_H

#include "bench.h"

struct growth_point {
    double x;           /* bytes, or checkpoints */
    double ours, other; /* seconds: of the save; of the plain writer, or of the listing */
};

struct growth {
    struct growth_point size[16], kept[16];
    int sizes_count, kept_count;
};

/* States from 1 MiB to bench->options.size_bytes, each four times the one before; kept: 1, 10, 100 ... bench->options.checkpoints. */
void growth_measure(struct bench *bench, struct growth *growth);

#endif
