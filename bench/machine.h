/* The machine: what it is, its clocks, and whether anybody else is using it. */
#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

struct machine {
    char processor[96], kernel[64], file_system[32], date[32];
    int cores;
    uint64_t memory_bytes;
};

void machine_describe(struct machine *machine, const char *dir);

double now_s(void);         /* monotonic */
double process_cpu_s(void); /* of all threads of this process */

/* Processor seconds that others used: all of the machine's but those of this process and its ended children. */
double others_cpu_s(void);

/* Waits until others use less than 3 % of the machine for a second. false: it did not come to that within the minutes; at
 * once for 0. */
bool machine_wait_idle(double minutes);

#endif
