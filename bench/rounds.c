/* How a row comes about (see bench.h). */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "bench.h"
#include "stats.h"

/* What --only may name, whole or by the first part: rows, and groups of rows that are measured together. */
static const char *const names[] = { "open-10k",   "open-100k",  "ls",           "save-after-many", "frozen", "memory",       "save-large",
                                     "save-many",  "save-small", "train-beside", "train-cpu",       "peers",  "stall-first",  "stall-next",
                                     "lazy-large", "lazy-many",  "verify",       "restore-cold",    "digest", "restore-warm", "map",
                                     "none" };

static bool begins(const char *name, const char *part, size_t size)
{
    return size && !strncmp(part, name, size) && (!name[size] || name[size] == '-');
}

static bool is_known(const char *part, size_t size)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (begins(names[i], part, size)) return true;
    return false;
}

static bool belongs_to_a_known(const char *name)
{
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (begins(name, names[i], strlen(names[i]))) return true;
    return false;
}

const char *bench_unknown(const char *list)
{
    for (const char *at = list; *at;) {
        size_t size = strcspn(at, ",");
        if (!is_known(at, size)) return at;
        at += size + (at[size] == ',');
    }
    return *list ? NULL : list;
}

static bool listed(const char *list, const char *name)
{
    for (const char *at = list; *at;) {
        size_t size = strcspn(at, ",");
        if (begins(name, at, size)) return true;
        at += size + (at[size] == ',');
    }
    return false;
}

bool bench_wants(const struct bench *bench, const char *name)
{
    return !bench->options.only || listed(bench->options.only, name);
}

struct row *bench_row(struct bench *bench, const char *name, const char *what, const char *against)
{
    if (!bench_wants(bench, name)) return NULL;
    if (!belongs_to_a_known(name)) die("--only does not know of %s", name);
    if (bench->rows_count == MAX_ROWS) die("more than %d rows", MAX_ROWS);
    struct row *row = &bench->rows[bench->rows_count++];
    *row = (struct row){ .unit = "" };
    snprintf(row->name, sizeof row->name, "%s", name);
    snprintf(row->what, sizeof row->what, "%s", what);
    snprintf(row->against, sizeof row->against, "%s", against);
    fprintf(stderr, "bench: %s: %s\n", name, what);
    return row;
}

void bench_skip(struct bench *bench, const char *format, ...)
{
    if (bench->skipped_count == (int)(sizeof bench->skipped / sizeof *bench->skipped)) return;
    char *text = bench->skipped[bench->skipped_count++];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof bench->skipped[0], format, arguments);
    va_end(arguments);
    fprintf(stderr, "bench: skipped: %s\n", text);
}

/* Of the contenders but the first, the one with the lowest median. */
static int best_of(double (*seconds)[MAX_ROUNDS], int count, int rounds)
{
    int best = 1;
    for (int i = 2; i < count; i++)
        if (median_of(seconds[i], rounds) < median_of(seconds[best], rounds)) best = i;
    return best;
}

void bench_rounds(struct bench *bench, struct row *row, const struct contender *contenders, int count, bool slowdown)
{
    static double seconds[MAX_CONTENDERS][MAX_ROUNDS];
    int rounds = bench->options.rounds;
    if (!machine_wait_idle(bench->options.idle_minutes)) bench->unreliable = true;
    for (int round = 0; round < rounds; round++) {
        double others = others_cpu_s(), start = now_s();
        for (int i = 0; i < count; i++) {
            int which = round % 2 ? count - 1 - i : i;
            stop_if_asked();
            seconds[which][round] = contenders[which].run(contenders[which].user, contenders[which].threads);
        }
        if ((others_cpu_s() - others) > 0.05 * bench->machine.cores * (now_s() - start)) row->disturbed++;
    }
    int best = count > 1 ? best_of(seconds, count, rounds) : 0;
    row->rounds = rounds;
    for (int round = 0; round < rounds; round++) {
        row->ours[round] = seconds[0][round];
        row->raw[round] = count > 1 ? seconds[best][round] : 0;
        row->figures[round] = count < 2  ? 0
                              : slowdown ? seconds[0][round] / seconds[best][round]
                                         : seconds[best][round] / seconds[0][round];
    }
    if (count > 2)
        snprintf(row->note, sizeof row->note, "plain code: %d thread%s", contenders[best].threads, contenders[best].threads > 1 ? "s" : "");
}

void bench_goal(struct row *row, enum goal goal, double target)
{
    row->goal = goal;
    row->target = target;
}

bool bench_reached(const struct row *row)
{
    double figure = median_of(row->figures, row->rounds);
    return row->goal == GOAL_NONE || (row->goal == GOAL_AT_LEAST ? figure >= row->target : figure <= row->target);
}
