/* A save job behind the caller's back: its phases, who waits for which, and how its end is told.
 *
 *     CN_JOB_STARTED -> CN_JOB_CAPTURED -> CN_JOB_STAGED -> CN_JOB_ENDED
 *                        lazy save returns   eager save returns, fence opens   sync save returns, wait returns
 *
 * At most one job per run. A failure is told once: by the call that runs it, else by the next call on the run. The phase is under run->lock. */
#ifndef CN_MANAGER_JOB_H
#define CN_MANAGER_JOB_H

#include "manager/request.h"
#include "os/os.h"
#include "snapshot/save.h"
#include "store/commit.h"

enum cn_job_phase { CN_JOB_STARTED, CN_JOB_CAPTURED, CN_JOB_STAGED, CN_JOB_ENDED };

struct cn_job {
    cairn_run *run;
    int (*work)(struct cn_job *job, cairn_error *err);
    enum cn_job_phase phase;
    struct cn_task *task; /* NULL: on the caller's task */
    bool abandoned;       /* cancelled to make way for another save: its end is no failure; under run->lock until then */
    cairn_state *state;   /* held */
    struct cn_request request;
    struct cn_save save;
    struct cn_staging staging;
    cairn_save_report report;
    int code; /* of its end, and the error with it */
    cairn_error error;
};

/* For callers on the run's own task. */
int cn_job_make_way(cairn_run *run, cairn_if_running if_running, bool *ret_skip, cairn_error *err);
int cn_job_collect(cairn_run *run, cairn_error *err); /* waits for the end of the job there may be; its failure */
int cn_job_fence(cairn_run *run, cairn_error *err);   /* waits until it is STAGED; the failure of one that ended before */
/* Runs job->work - on a task of its own, or on this one for a sync save - and returns when the job has come as far as the mode asks, or its failure
 * if it has ended by then. Takes the job over. */
int cn_job_start(struct cn_job *job, cairn_save_mode mode, cairn_error *err);
void cn_job_reach(struct cn_job *job, enum cn_job_phase phase); /* called by the work; wakes who waits */
void cn_job_free(struct cn_job *job);                           /* takes NULL */

#endif
