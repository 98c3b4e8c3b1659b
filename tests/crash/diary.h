/* What a trainer wrote down outside its store: before each operation what it is about to do, after it that it was done. A line is one write, so it is there
 * whole or not at all, and lines of several processes do not mix:
 *
 *     saving STEP CHAIN         saved STEP CHAIN TERM
 *     keeping LAST              from now on superseded ones and older ones than the newest LAST may be gone; 0: no longer
 *     removing STEP             removed STEP
 *     tagging STEP TAG          tagged STEP TAG
 *     dropping STEP             dropped STEP
 *     replacing CHAIN           replaced CHAIN             of the single folder RUN.folder
 */
#ifndef CRASH_DIARY_H
#define CRASH_DIARY_H

#include <stdbool.h>
#include <stdint.h>

enum { DIARY_CHECKPOINTS = 20000 };

struct noted {                  /* a checkpoint */
    uint64_t step, term, chain; /* term 0: not known, for it was never said to be saved */
    bool saved, superseded, may_be_gone, must_be_gone, may_lack_optimizer, must_lack_optimizer;
    char tag[32];  /* it must have; "" if none */
    bool is_there; /* for whoever compares */
};

struct diary {
    struct noted *checkpoints; /* in the order of their lines "saving" */
    int count;
    int last_saved;                     /* index of the highest (term, step) that is saved; -1: none */
    uint64_t folder_before, folder_now; /* chains of the single folder; 0: none */
    bool folder_is_done;                /* and not the one before any more */
};

int diary_write(const char *path, const char *format, ...) __attribute__((format(printf, 2, 3)));
int diary_read(const char *path, struct diary *ret_diary); /* no file is an empty diary */
void diary_free(struct diary *diary);

#endif
