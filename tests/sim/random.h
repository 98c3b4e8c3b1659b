/* Seeded random numbers (splitmix64): the same seed gives the same run, anywhere. */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct sim_random {
    uint64_t state;
};

static inline uint64_t sim_random_next(struct sim_random *random)
{
    uint64_t z = random->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* 0 .. count - 1 */
static inline uint64_t sim_random_below(struct sim_random *random, uint64_t count)
{
    return sim_random_next(random) % count;
}

/* Once in `times`, on average. */
static inline bool sim_random_once_in(struct sim_random *random, uint64_t times)
{
    return !sim_random_below(random, times);
}

/* True with a chance of so many of 100. */
static inline bool sim_random_percent(struct sim_random *random, unsigned percent)
{
    return sim_random_below(random, 100) < percent;
}

/* A generator of its own for each purpose, so that a draw more in one place moves nothing elsewhere. */
static inline struct sim_random sim_random_fork(struct sim_random *random, uint64_t purpose)
{
    struct sim_random fork = { sim_random_next(random) ^ purpose * UINT64_C(0xd1342543de82ef95) };
    (void)sim_random_next(&fork);
    return fork;
}

#endif
