/* Durable saves: of a state of few large tensors, of one of 10,000 tensors, and of 10,000 tensors so small that the metadata counts. */

#include "raw.h"
#include "rows.h"
#include "scratch.h"
#include "session.h"

struct saving {
    struct session session;
    struct raw_layout layout;
};

static double save_ours(void *user, int threads)
{
    struct saving *saving = user;
    (void)threads;
    session_forget(&saving->session);
    state_step(saving->session.state);
    return session_save(&saving->session, CAIRN_SAVE_SYNC);
}

static double save_raw(void *user, int threads)
{
    struct saving *saving = user;
    char folder[4200];
    scratch_path("raw", folder, sizeof folder);
    double seconds = raw_write(folder, &saving->layout, saving->session.state->memory, saving->session.state->memory_bytes, threads);
    folder_remove(folder);
    return seconds;
}

/* The first save tells what files there are; it is not counted. */
static void measure(struct bench *bench, struct row *row, struct state *state, double target)
{
    struct saving saving;
    char folder[4400];
    session_open(&saving.session, bench, state, "save", 0);
    session_save(&saving.session, CAIRN_SAVE_SYNC);
    raw_layout_of(session_folder(&saving.session, folder, sizeof folder), &saving.layout);
    const struct contender contenders[] = {
        { save_ours, &saving, 0 }, { save_raw, &saving, 1 }, { save_raw, &saving, 2 }, { save_raw, &saving, 4 }
    };
    row->bytes = state->bytes;
    bench_rounds(bench, row, contenders, 4, false);
    bench_goal(row, GOAL_AT_LEAST, target);
    raw_layout_free(&saving.layout);
    session_close(&saving.session);
}

static void measure_other(struct bench *bench, struct row *row, uint64_t bytes, uint32_t tensors, double target)
{
    struct state state;
    state_make(&state, bytes, tensors, 0);
    measure(bench, row, &state, target);
    state_free(&state);
}

void rows_save(struct bench *bench, struct state *state)
{
    static const char against[] = "O_DIRECT writer of the same files, same syncs";
    struct row *row;
    if ((row = bench_row(bench, "save-large", "durable save, 32 tensors", against))) measure(bench, row, state, 0.92);
    if ((row = bench_row(bench, "save-many", "durable save, the same bytes in 10,000 tensors", against)))
        measure_other(bench, row, bench->options.size_bytes, 10000, 0.92);
    if ((row = bench_row(bench, "save-small", "durable save, 10,000 tensors of 4 KiB", against)))
        measure_other(bench, row, UINT64_C(10000) * 4096, 10000, 0.60);
}
