/* A run to measure (see session.h). */
#include "session.h"

#include <stdio.h>

#include "scratch.h"

static void keep_report(void *user, const cairn_save_report *report)
{
    ((struct session *)user)->report = *report;
}

void session_open(struct session *session, struct bench *bench, struct state *state, const char *name, uint64_t arena_bytes)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    *session = (struct session){ .bench = bench, .state = state };
    scratch_path("store", session->store, sizeof session->store);
    snprintf(session->name, sizeof session->name, "%s", name);
    snprintf(session->path, sizeof session->path, "%s/%s", session->store, name);
    options.arena_bytes = arena_bytes;
    options.committed = keep_report;
    options.user = session;
    must(cairn_run_open(session->path, &options, &session->run, &err), &err);
    must(cairn_run_reserve(session->run, state->bound, &err), &err);
    must(cairn_run_reserve(session->run, state->bound, &err), &err); /* waits for the first, and finds that it fits */
}

void session_close(struct session *session)
{
    cairn_error err = CAIRN_ERROR_INIT;
    must(cairn_run_close(session->run, &err), &err);
    folder_remove(session->path);
}

double session_save(struct session *session, cairn_save_mode mode)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    options.step = ++session->step;
    options.mode = mode;
    double start = now_s();
    must(cairn_save(session->run, session->state->bound, &options, NULL, &err), &err);
    return now_s() - start;
}

void session_forget(struct session *session)
{
    cairn_error err = CAIRN_ERROR_INIT;
    char path[4400];
    must(cairn_wait(session->run, &err), &err);
    if (session->step < 2) return;
    snprintf(path, sizeof path, "%s/checkpoint-%llu", session->path, (unsigned long long)session->step - 1);
    folder_remove(path);
}

const char *session_folder(const struct session *session, char *ret_path, size_t size)
{
    if (snprintf(ret_path, size, "%s/checkpoint-%llu", session->path, (unsigned long long)session->step) >= (int)size)
        die("the path is too long");
    return ret_path;
}

const char *session_checkpoint(const struct session *session, char *ret_name, size_t size)
{
    if (snprintf(ret_name, size, "%s@%llu", session->name, (unsigned long long)session->step) >= (int)size) die("the name is too long");
    return ret_name;
}
