/* Jobs (see job.h). The lock is held to read or raise a phase, never while bytes move. Callbacks of the user run without it. */
#include "manager/job.h"

#include "manager/run.h"

void cn_job_free(struct cn_job *job)
{
    if (!job) return;
    cn_save_free(&job->save);
    cn_staging_abandon(&job->staging);
    cn_request_free(&job->request);
    cairn_state_free(job->state);
    cn_os_free(job);
}

void cn_job_reach(struct cn_job *job, enum cn_job_phase phase)
{
    cn_mutex_lock(job->run->lock);
    if (job->phase < phase) job->phase = phase;
    cn_cond_signal_all(job->run->changed);
    cn_mutex_unlock(job->run->lock);
}

/* --------------------------------------------------------------------------------------------------------------- waiting */

/* Waits for the phase; what the caller waited for counts as stall. */
static void wait_for(cairn_run *run, struct cn_job *job, enum cn_job_phase phase)
{
    uint64_t since = cn_os_now_ns();
    cn_mutex_lock(run->lock);
    while (job->phase < phase) cn_cond_wait(run->changed, run->lock);
    run->status.stall_ns += cn_os_now_ns() - since;
    cn_mutex_unlock(run->lock);
}

static enum cn_job_phase phase_of(cairn_run *run, const struct cn_job *job)
{
    cn_mutex_lock(run->lock);
    enum cn_job_phase phase = job->phase;
    cn_mutex_unlock(run->lock);
    return phase;
}

int cn_job_collect(cairn_run *run, cairn_error *err)
{
    struct cn_job *job = run->job;
    if (!job) return CAIRN_OK;
    wait_for(run, job, CN_JOB_ENDED);
    cn_task_join(job->task);
    run->job = NULL;
    int code = job->abandoned ? CAIRN_OK : job->code;
    if (code && err) *err = job->error;
    cn_job_free(job);
    return code;
}

int cn_job_fence(cairn_run *run, cairn_error *err)
{
    struct cn_job *job = run->job;
    if (!job) return CAIRN_OK;
    wait_for(run, job, CN_JOB_STAGED);
    /* a job that failed before it was staged has ended; one that ended well is collected later, or now: the same */
    return phase_of(run, job) == CN_JOB_ENDED ? cn_job_collect(run, err) : CAIRN_OK;
}

/* Only a job that is not yet staged gives way, and never two in a row: else a trainer that saves too often would never save at all. */
static bool abandon(cairn_run *run, struct cn_job *job)
{
    cn_mutex_lock(run->lock);
    bool may = job->phase < CN_JOB_STAGED && !run->replaced;
    if (may) job->abandoned = true;
    cn_mutex_unlock(run->lock);
    if (may) cairn_run_cancel(run);
    return may;
}

int cn_job_make_way(cairn_run *run, cairn_if_running if_running, bool *ret_skip, cairn_error *err)
{
    struct cn_job *job = run->job;
    *ret_skip = false;
    bool running = job && phase_of(run, job) < CN_JOB_ENDED;
    if (running && if_running == CAIRN_IF_RUNNING_SKIP) {
        *ret_skip = true;
        return CAIRN_OK;
    }
    if (running && if_running == CAIRN_IF_RUNNING_ERROR)
        return cn_error_set(err, CAIRN_E_LOCKED, "%s: the save of step %llu still runs: wait for it, or ask to skip or replace",
                            run->dir.path, (unsigned long long)job->request.step);
    bool replaced = running && if_running == CAIRN_IF_RUNNING_REPLACE && abandon(run, job);
    int code = cn_job_collect(run, err);
    run->replaced = replaced;
    return code;
}

/* -------------------------------------------------------------------------------------------------------------- starting */

/* Whoever made way ends as ABANDONED - unless the cancel came too late to stop it. */
static void end_job(struct cn_job *job, int code)
{
    cairn_run *run = job->run;
    cn_mutex_lock(run->lock);
    job->abandoned = job->abandoned && code;
    bool abandoned = job->abandoned;
    cn_mutex_unlock(run->lock);
    cn_run_end_job(run, abandoned ? CAIRN_E_CANCELLED : code, abandoned);
}

static void run_job(void *user)
{
    struct cn_job *job = user;
    cairn_error error = CAIRN_ERROR_INIT;
    int code = job->work(job, &error);
    cn_save_free(&job->save);
    cn_staging_abandon(&job->staging);
    job->run->last_report = job->report;
    job->code = code;
    job->error = error;
    end_job(job, code);
    cn_job_reach(job, CN_JOB_ENDED);
}

/* On the caller's task: all of it is stall. */
static void hold_for(cairn_run *run, struct cn_job *job)
{
    uint64_t since = cn_os_now_ns();
    run_job(job);
    cn_mutex_lock(run->lock);
    run->status.stall_ns += cn_os_now_ns() - since;
    cn_mutex_unlock(run->lock);
}

int cn_job_start(struct cn_job *job, cairn_save_mode mode, cairn_error *err)
{
    cairn_run *run = job->run;
    bool wait_captured = mode == CAIRN_SAVE_LAZY && cn_save_has_early(&job->save);
    run->job = job;
    int rc = mode == CAIRN_SAVE_SYNC ? 0 : cn_task_start(run_job, job, &job->task);
    if (mode == CAIRN_SAVE_SYNC) hold_for(run, job);
    if (rc) {
        run->job = NULL;
        cn_run_end_job(run, CAIRN_E_IO, false);
        cn_job_free(job);
        return cn_error_errno(err, -rc, "%s: a thread could not be started", run->dir.path);
    }
    if (mode == CAIRN_SAVE_SYNC) return cn_job_collect(run, err);
    if (mode == CAIRN_SAVE_EAGER) return cn_job_fence(run, err);
    if (wait_captured) wait_for(run, job, CN_JOB_CAPTURED);
    return phase_of(run, job) == CN_JOB_ENDED ? cn_job_collect(run, err) : CAIRN_OK;
}
