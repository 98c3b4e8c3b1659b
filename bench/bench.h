/* What every part of the benchmark shares: what was asked for, the rows that were measured, and how a row comes about.
 *
 * A row is one line of the table. Each of its rounds runs every contender once, in alternating order: Cairn, and the plain code that does the
 * same with the hardware alone. The figure of a round compares the two; the row's figure is the median over the rounds. */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stdint.h>

#include "cairn.h"
#include "machine.h"

enum { MAX_ROUNDS = 99, MAX_ROWS = 64, MAX_CONTENDERS = 8 };

enum goal { GOAL_NONE = 0, GOAL_AT_LEAST, GOAL_AT_MOST };

struct row {
    char name[32];                            /* for --only, JSON and charts */
    char what[120];                           /* of Cairn */
    char against[120];                        /* what it is compared with; "" where the figure stands alone */
    const char *unit;                         /* of the figure: "" for a ratio */
    double ours[MAX_ROUNDS], raw[MAX_ROUNDS]; /* seconds; raw: of the best contender */
    double figures[MAX_ROUNDS];
    int rounds;
    int disturbed; /* rounds in which other programs used the processor */
    enum goal goal;
    double target;
    uint64_t bytes; /* moved in a round; 0: not a matter of bytes */
    char note[160];
};

struct bench_options {
    uint64_t size_bytes;
    int rounds;
    double idle_minutes; /* how long to wait for an idle machine */
    const char *dir, *program, *python, *only;
    uint32_t checkpoints; /* how many the listing rows keep */
    bool growth;
};

struct bench {
    struct bench_options options;
    struct machine machine;
    struct row rows[MAX_ROWS];
    int rows_count;
    char skipped[8][160]; /* what could not be measured, and why */
    int skipped_count;
    bool unreliable; /* the machine was busy */
};

/* A contender does its preparation, then its work, and returns the seconds of the work alone. */
struct contender {
    double (*run)(void *user, int threads);
    void *user;
    int threads;
};

/* The row is made, unless --only leaves it out: NULL. */
struct row *bench_row(struct bench *bench, const char *name, const char *what, const char *against);
bool bench_wants(const struct bench *bench, const char *name);
/* Where in a list for --only something stands that no row is called; NULL: nowhere. */
const char *bench_unknown(const char *list);
void bench_skip(struct bench *bench, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Runs all contenders in each round. The first is Cairn; of the others the one with the lowest median counts. figure is raw / ours: a share of the
 * hardware's speed; or ours / raw, if slowdown is set. Without others the figures are left to the caller. */
void bench_rounds(struct bench *bench, struct row *row, const struct contender *contenders, int count, bool slowdown);

void bench_goal(struct row *row, enum goal goal, double target);
bool bench_reached(const struct row *row);

enum { EXIT_FAILED = 3 };

/* Ends the program with a message, the scratch folder removed. */
void die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
/* Dies with the library's message if code is not CAIRN_OK. */
void must(int code, const cairn_error *err);
/* Ctrl-C was pressed: cleans up and ends. Called between the pieces of work. */
void stop_if_asked(void);

#endif
