/* A run opened for measuring: it saves states one after the other, each in a folder of its own, and does away with what it saved before. */
#ifndef BENCH_SESSION_H
#define BENCH_SESSION_H

#include "bench.h"
#include "raw.h"
#include "state.h"

struct session {
    struct bench *bench;
    struct state *state;
    cairn_run *run;
    char store[4096], name[64], path[4200]; /* path: of the run's folder */
    uint64_t step;                          /* last saved */
    cairn_save_report report;               /* of the last save that was waited for */
};

/* Opens run `name` in the scratch folder; its arena is made and touched when this returns. arena_bytes: 0 for the library's choice. */
void session_open(struct session *session, struct bench *bench, struct state *state, const char *name, uint64_t arena_bytes);
void session_close(struct session *session); /* and removes the run's folder */

/* Saves the next step; seconds until the call returns. */
double session_save(struct session *session, cairn_save_mode mode);
/* Removes the checkpoint before the last one, so that two are kept at most. */
void session_forget(struct session *session);
/* Of the last checkpoint. */
const char *session_folder(const struct session *session, char *ret_path, size_t size);
const char *session_checkpoint(const struct session *session, char *ret_name, size_t size); /* RUN@STEP */

#endif
