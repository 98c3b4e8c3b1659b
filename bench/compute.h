/* A stand-in for a training step's arithmetic: products of matrices that stay in a core's own cache. */
#ifndef BENCH_COMPUTE_H
#define BENCH_COMPUTE_H

#include <stdint.h>

void compute_for(double seconds); /* on the caller's thread */

/* So many threads compute until they are stopped. */
struct workers;
struct workers *workers_start(int threads);
uint64_t workers_done(const struct workers *workers); /* products so far */
double workers_cpu_s(const struct workers *workers);
void workers_stop(struct workers *workers);

#endif
