/* What the crash tests share: shell commands, random numbers, and how their cases are counted and told. */
#ifndef CRASH_CASES_H
#define CRASH_CASES_H

#include <stdbool.h>
#include <stdint.h>

/* Runs a command line; its exit status, 128 and the signal if one ended it. */
int shell(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same numbers for the same seed, everywhere. */
void random_seed(uint64_t seed);
uint64_t random_below(uint64_t limit); /* 0 where limit is 0 */

struct cases {
    const char *name;
    uint64_t run, failed;
};
/* A case failed: its description, then what file says, is printed for the first five. */
void case_failed(struct cases *cases, const char *file, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Prints the line `ok - ` or `not ok - ` with the figures. Returns whether all is well; no case at all is not. */
bool cases_tell(const struct cases *cases);

#endif
