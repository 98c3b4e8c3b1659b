/* How long a save holds the training loop: eagerly as long as the copy; lazily, with compute in between that lasts longer than the copy, hardly at
 * all. */

#include "child.h"
#include "compute.h"
#include "raw.h"
#include "rows.h"
#include "session.h"

#define MANY_BYTES (UINT64_C(10000) * (128 << 10)) /* tensors under 64 KiB are copied at once, and would be another row */

struct stalling {
    struct bench *bench;
    struct state *state;
    const struct buffer *buffer;
    struct session session;
    double compute_s;
};

/* ---------------------------------------------------------------------------------------------------------------- eager */

/* The arena holds the whole state, whatever memory is free. */
static uint64_t arena_for(const struct state *state)
{
    return state->bytes + state->bytes / 16 + (UINT64_C(256) << 20);
}

static double first_of_process(void *user)
{
    struct stalling *stalling = user;
    session_open(&stalling->session, stalling->bench, stalling->state, "stall", arena_for(stalling->state));
    double seconds = session_save(&stalling->session, CAIRN_SAVE_EAGER);
    session_close(&stalling->session);
    return seconds;
}

static double save_first(void *user, int threads)
{
    (void)threads;
    return in_child(first_of_process, user);
}

static double save_next(void *user, int threads)
{
    struct stalling *stalling = user;
    (void)threads;
    session_forget(&stalling->session);
    state_step(stalling->state);
    return session_save(&stalling->session, CAIRN_SAVE_EAGER);
}

static double copy_raw(void *user, int threads)
{
    struct stalling *stalling = user;
    if (stalling->session.run) session_forget(&stalling->session); /* nothing is written meanwhile */
    return raw_copy(stalling->buffer->memory, stalling->buffer->bytes, stalling->state->memory, stalling->state->bytes, threads);
}

static void measure_eager(struct bench *bench, struct row *row, struct stalling *stalling, double (*save)(void *, int))
{
    const struct contender contenders[] = {
        { save, stalling, 0 }, { copy_raw, stalling, 1 }, { copy_raw, stalling, 2 }, { copy_raw, stalling, 4 }
    };
    row->bytes = stalling->state->bytes;
    bench_rounds(bench, row, contenders, 4, false);
    bench_goal(row, GOAL_AT_LEAST, 0.95);
}

/* ----------------------------------------------------------------------------------------------------------------- lazy */

/* The save, compute on one thread, the fence: what is counted is the first and the last. */
static double save_lazily(void *user, int threads)
{
    struct stalling *stalling = user;
    cairn_error err = CAIRN_ERROR_INIT;
    (void)threads;
    session_forget(&stalling->session);
    state_step(stalling->state);
    double stall = session_save(&stalling->session, CAIRN_SAVE_LAZY);
    compute_for(stalling->compute_s);
    double start = now_s();
    must(cairn_fence(stalling->session.run, &err), &err);
    return stall + now_s() - start;
}

/* Compute lasts five times as long as a plain copy on one thread. */
static void measure_lazy(struct bench *bench, struct row *row, struct state *state, const struct buffer *buffer, double target_ms)
{
    struct stalling stalling = { bench, state, buffer, { 0 }, 0 };
    const struct contender contender = { save_lazily, &stalling, 0 };
    stalling.compute_s = 0.02 + 5 * raw_copy(buffer->memory, buffer->bytes, state->memory, state->bytes, 1);
    session_open(&stalling.session, bench, state, "lazy", arena_for(state));
    session_save(&stalling.session, CAIRN_SAVE_SYNC);
    bench_rounds(bench, row, &contender, 1, false);
    session_close(&stalling.session);
    double scale = (double)state->bytes / (double)(UINT64_C(2) << 30);
    row->unit = "ms";
    for (int i = 0; i < row->rounds; i++) row->figures[i] = row->ours[i] * 1e3;
    bench_goal(row, GOAL_AT_MOST, target_ms * (scale > 1 ? scale : 1));
}

void rows_stall(struct bench *bench, struct state *state, const struct buffer *buffer)
{
    static const char against[] = "plain copy past the caches";
    struct stalling stalling = { bench, state, buffer, { 0 }, 0 };
    struct row *row;
    if ((row = bench_row(bench, "stall-first", "stall of an eager save, first of the process", against)))
        measure_eager(bench, row, &stalling, save_first);
    if ((row = bench_row(bench, "stall-next", "stall of an eager save, second and later", against))) {
        session_open(&stalling.session, bench, state, "stall", arena_for(state));
        session_save(&stalling.session, CAIRN_SAVE_SYNC);
        measure_eager(bench, row, &stalling, save_next);
        session_close(&stalling.session);
    }
    if ((row = bench_row(bench, "lazy-large", "stall of a lazy save with its fence, 32 tensors", "")))
        measure_lazy(bench, row, state, buffer, 1);
    if (!(row = bench_row(bench, "lazy-many", "stall of a lazy save with its fence, 10,000 tensors", ""))) return;
    struct state many;
    state_make(&many, state->bytes > MANY_BYTES ? state->bytes : MANY_BYTES, 10000, 0);
    measure_lazy(bench, row, &many, buffer, 10);
    state_free(&many);
}
