/* A run whose state is one number: for tests of what happens around saves, not of what is in them. */
#ifndef TESTS_RUNFIX_H
#define TESTS_RUNFIX_H

#include "support.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600];
static cairn_state *state;
static cairn_run *run;
static int64_t position;

/* A folder for a run that is not there yet, at path. */
static inline void make_state(const char *name)
{
    snprintf(path, sizeof path, "%s/run", test_folder(name));
    cairn_state_free(state);
    test_ok(cairn_state_new(&state, &err));
    test_ok(cairn_state_bind_i64(state, "data", "position", &position, &err));
}

/* The step that was restored, 0 for none. */
static inline uint64_t open_run(const cairn_run_options *options)
{
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    test_ok(cairn_run_open(path, options, &run, &err));
    test_ok(cairn_restore(run, state, NULL, &report, &err));
    return report.step;
}

/* loss: NULL for none. */
static inline void save(uint64_t step, const double *loss)
{
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_metric metric = { "loss", loss ? *loss : 0 };
    options.step = step;
    options.metrics = &metric;
    options.metrics_count = loss != NULL;
    test_ok(cairn_save(run, state, &options, NULL, &err));
}

#endif
