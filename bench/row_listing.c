/* A run that keeps very many checkpoints: listing them, and saving the next. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rows.h"
#include "session.h"

enum { FEW = 10 };

static void save_until(struct session *session, uint64_t count)
{
    while (session->step < count) {
        stop_if_asked();
        state_step(session->state);
        session_save(session, CAIRN_SAVE_SYNC);
        if (session->step % 1000 == 0) fprintf(stderr, "bench: %llu checkpoints\n", (unsigned long long)session->step);
    }
}

struct program {
    const char *path;
    struct session *session;
};

/* The program as a user runs it, from its start to its end. */
static double list_once(void *user, int threads)
{
    const struct program *program = user;
    char *arguments[] = { "cairn", "ls", program->session->path, NULL };
    posix_spawn_file_actions_t actions;
    pid_t child;
    int status;
    (void)threads;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    double start = now_s();
    if (posix_spawn(&child, program->path, &actions, NULL, arguments, environ)) die("%s cannot be started", program->path);
    waitpid(child, &status, 0);
    double seconds = now_s() - start;
    posix_spawn_file_actions_destroy(&actions);
    stop_if_asked();
    if (status) die("%s ls failed", program->path);
    return seconds;
}

static double save_once(void *user, int threads)
{
    struct session *session = user;
    (void)threads;
    state_step(session->state);
    return session_save(session, CAIRN_SAVE_SYNC);
}

void rows_listing(struct bench *bench)
{
    static struct session many, few;
    struct state state;
    struct program program = { bench->options.program, &many };
    char what[120];
    if (!bench_wants(bench, "ls") && !bench_wants(bench, "save-after-many")) return;
    state_make(&state, UINT64_C(4) * 4096, 4, 0);
    session_open(&many, bench, &state, "many", 0);
    session_open(&few, bench, &state, "few", 0);
    save_until(&many, bench->options.checkpoints);
    save_until(&few, FEW);
    snprintf(what, sizeof what, "cairn ls over %u checkpoints of 4 tensors, warm", bench->options.checkpoints);
    struct row *row = access(program.path, X_OK) ? NULL : bench_row(bench, "ls", what, "");
    if (access(program.path, X_OK)) bench_skip(bench, "cairn ls: %s is not there", program.path);
    if (row) {
        const struct contender contender = { list_once, &program, 0 };
        list_once(&program, 0);
        bench_rounds(bench, row, &contender, 1, false);
        row->unit = "s";
        memcpy(row->figures, row->ours, sizeof row->figures);
        bench_goal(row, GOAL_AT_MOST, 0.3);
    }
    snprintf(what, sizeof what, "the next save with %u checkpoints kept: times as long", bench->options.checkpoints);
    if ((row = bench_row(bench, "save-after-many", what, "the next save with 10 kept"))) {
        const struct contender contenders[] = { { save_once, &many, 0 }, { save_once, &few, 0 } };
        bench_rounds(bench, row, contenders, 2, true);
        bench_goal(row, GOAL_AT_MOST, 1.05);
    }
    session_close(&many);
    session_close(&few);
    state_free(&state);
}
