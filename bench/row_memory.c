/* The most memory that a save takes beyond the state, with an arena that is smaller than it. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "child.h"
#include "rows.h"
#include "session.h"

#define ARENA (UINT64_C(256) << 20)

struct watching {
    struct bench *bench;
    struct state *state;
};

static double status_mib(const char *key)
{
    char line[256];
    unsigned long long kib = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, key, strlen(key))) (void)sscanf(line + strlen(key), "%llu", &kib);
    if (file) fclose(file);
    return (double)kib / 1024;
}

/* The peak starts anew here: it must not be somebody else's. */
static void reset_peak(void)
{
    int file = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC);
    if (file < 0 || write(file, "5", 1) != 1) die("the peak of memory cannot be reset: /proc/self/clear_refs");
    close(file);
}

static double beyond_the_arena(void *user)
{
    const struct watching *watching = user;
    struct session session;
    reset_peak();
    double before = status_mib("VmRSS:");
    session_open(&session, watching->bench, watching->state, "memory", ARENA);
    session_save(&session, CAIRN_SAVE_SYNC);
    state_step(watching->state);
    session_save(&session, CAIRN_SAVE_SYNC);
    double peak = status_mib("VmHWM:");
    session_close(&session);
    return peak - before - (double)(ARENA >> 20);
}

static double watch(void *user, int threads)
{
    (void)threads;
    return in_child(beyond_the_arena, user);
}

void rows_memory(struct bench *bench, struct state *state)
{
    struct row *row = bench_row(bench, "memory", "peak memory of a save beyond an arena of 256 MiB", "");
    struct watching watching = { bench, state };
    const struct contender contender = { watch, &watching, 0 };
    if (!row) return;
    bench_rounds(bench, row, &contender, 1, false);
    memcpy(row->figures, row->ours, sizeof row->figures);
    memset(row->ours, 0, sizeof row->ours);
    row->unit = "MiB";
    bench_goal(row, GOAL_AT_MOST, 64);
}
