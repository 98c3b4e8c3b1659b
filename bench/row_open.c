/* Opening a checkpoint of very many tensors: reading and checking its tables. */

#include "rows.h"
#include "session.h"

struct opening {
    struct session session;
    char name[128];
};

static double open_once(void *user, int threads)
{
    struct opening *opening = user;
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_checkpoint *checkpoint;
    (void)threads;
    double start = now_s();
    must(cairn_checkpoint_open(opening->session.store, opening->name, &checkpoint, &err), &err);
    double seconds = now_s() - start;
    cairn_checkpoint_close(checkpoint);
    return seconds;
}

static void measure(struct bench *bench, const char *name, const char *what, uint32_t tensors, double target_ms)
{
    struct row *row = bench_row(bench, name, what, "");
    struct state state;
    struct opening opening;
    const struct contender contender = { open_once, &opening, 0 };
    if (!row) return;
    state_make(&state, tensors * UINT64_C(256), tensors, 0);
    session_open(&opening.session, bench, &state, "open", 0);
    session_save(&opening.session, CAIRN_SAVE_SYNC);
    session_checkpoint(&opening.session, opening.name, sizeof opening.name);
    open_once(&opening, 0);
    bench_rounds(bench, row, &contender, 1, false);
    session_close(&opening.session);
    state_free(&state);
    row->unit = "ms";
    for (int i = 0; i < row->rounds; i++) row->figures[i] = row->ours[i] * 1e3;
    bench_goal(row, GOAL_AT_MOST, target_ms);
}

void rows_open(struct bench *bench)
{
    measure(bench, "open-10k", "open of a checkpoint with 10,000 tensors, warm", 10000, 12);
    measure(bench, "open-100k", "open of a checkpoint with 100,000 tensors, warm", 100000, 120);
}
