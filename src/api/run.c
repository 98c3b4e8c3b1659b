/* The public calls on a run: arguments are checked here, once, and passed down. */
#include "api/structs.h"
#include "manager/run.h"

const char *cairn_version(void)
{
    return CAIRN_VERSION_STRING;
}

int cairn_run_open(const char *path, const cairn_run_options *options, cairn_run **ret_run, cairn_error *err)
{
    if (!path || !*path || !ret_run) return cn_error_set(err, CAIRN_E_USAGE, "cairn_run_open: path and ret_run must be given");
    int code = cn_check_struct(options, CAIRN_RUN_OPTIONS_INIT, err);
    return code ? code : cn_run_open(path, options, ret_run, err);
}

int cairn_run_close(cairn_run *run, cairn_error *err)
{
    if (!run) return CAIRN_OK;
    int code = cn_run_check_process(run, err);
    if (code) return code; /* the parent's handle: touch nothing */
    return cn_run_close(run, err);
}

int cairn_run_reserve(cairn_run *run, const cairn_state *state, cairn_error *err)
{
    if (!run || !state) return cn_error_set(err, CAIRN_E_USAGE, "cairn_run_reserve: run and state must be given");
    return cn_run_reserve(run, state, err);
}

int cairn_run_is_due(cairn_run *run, uint64_t step, int *ret_due, cairn_error *err)
{
    if (!run || !ret_due) return cn_error_set(err, CAIRN_E_USAGE, "cairn_run_is_due: run and ret_due must be given");
    return cn_run_is_due(run, step, ret_due, err);
}

int cairn_fence(cairn_run *run, cairn_error *err)
{
    if (!run) return cn_error_set(err, CAIRN_E_USAGE, "cairn_fence: run must be given");
    int code = cn_run_check_process(run, err);
    return code ? code : cn_job_fence(run, err);
}

int cairn_wait(cairn_run *run, cairn_error *err)
{
    if (!run) return cn_error_set(err, CAIRN_E_USAGE, "cairn_wait: run must be given");
    int code = cn_run_check_process(run, err);
    return code ? code : cn_job_collect(run, err);
}

int cairn_save(cairn_run *run, cairn_state *state, const cairn_save_options *options, cairn_save_report *ret_report, cairn_error *err)
{
    if (!run || !state || !options) return cn_error_set(err, CAIRN_E_USAGE, "cairn_save: run, state and options must be given");
    int code = cn_check_struct(options, CAIRN_SAVE_OPTIONS_INIT, err);
    if (!code) code = cn_check_struct(ret_report, CAIRN_SAVE_REPORT_INIT, err);
    return code ? code : cn_run_save(run, state, options, ret_report, err);
}

int cairn_restore(cairn_run *run, cairn_state *state, const cairn_restore_options *options, cairn_restore_report *ret_report,
                  cairn_error *err)
{
    static const cairn_restore_options defaults = CAIRN_RESTORE_OPTIONS_INIT;
    if (!options) options = &defaults;
    int code = cn_check_struct(options, CAIRN_RESTORE_OPTIONS_INIT, err);
    if (!code && (!run || (!state && !options->state_for)))
        code = cn_error_set(err, CAIRN_E_USAGE, "cairn_restore: run and state must be given");
    if (!code) code = cn_check_struct(ret_report, CAIRN_RESTORE_REPORT_INIT, err);
    return code ? code : cn_run_restore(run, state, options, ret_report, err);
}
