/* A save from its options to DURABLE and what follows (see run.h): check and capture on the caller's task; then, as a job, snapshot into staging,
 * manifest, commit; then links, retention, trash, whose failures are messages and never undo the save. */
#include <stdio.h>
#include <string.h>

#include "manager/keeping.h"
#include "manager/run.h"
#include "store/commit.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/retire.h"
#include "store/term.h"
#include "store/tidy.h"

static int check_step(const cairn_run *run, uint64_t step, cairn_error *err)
{
    if (run->torn)
        return cn_error_set(err, CAIRN_E_TORN_STATE,
                            "%s: the last restore failed half-way and the bound memory is a mixture: restore again before you save",
                            run->dir.path);
    if (run->has_checkpoints && !run->restored)
        return cn_error_set(err, CAIRN_E_USAGE, "%s holds checkpoints: call cairn_restore before the first save, or choose another run",
                            run->dir.path);
    if (!run->line.started || step > run->line.last_step) return CAIRN_OK;
    if (step == run->line.last_step)
        return cn_error_set(err, CAIRN_E_EXISTS, "%s: step %llu is saved already", run->dir.path, (unsigned long long)step);
    return cn_error_set(err, CAIRN_E_USAGE, "%s: step %llu is not beyond the line's last step %llu; restore an older step to go back",
                        run->dir.path, (unsigned long long)step, (unsigned long long)run->line.last_step);
}

/* --------------------------------------------------------------------------------------------------------------- saving */

static int put_extras(struct cn_job *job, cairn_error *err)
{
    const struct cn_request *request = &job->request;
    int code = cn_save_put(&job->save, CN_NAME_PROVENANCE, CN_FILE_OWN, request->provenance.data, request->provenance.size, err);
    for (uint64_t i = 0; i < request->files_count && !code; i++)
        code = cn_save_attach(&job->save, request->files[i].name, request->files[i].data, request->files[i].size, err);
    return code;
}

static int describe(const struct cn_job *job, struct cn_manifest *ret_manifest, cairn_error *err)
{
    const cairn_run *run = job->run;
    const struct cn_save *save = &job->save;
    const struct cn_request *request = &job->request;
    struct cn_manifest manifest = {
        .term = run->term,
        .step = request->step,
        .epoch = request->epoch,
        .time_ns = cn_os_wall_ns(),
        .healthy = !save->nan_count && !save->inf_count,
        .exact = request->exact,
        .nan_count = save->nan_count,
        .inf_count = save->inf_count,
        .lineage = run->line.lineage,
        .lineage_count = run->line.lineage_count,
        .metrics = request->metrics,
        .metrics_count = request->metrics_count,
        .tags = request->tags,
        .tags_count = request->tags_count,
        .items = save->items,
        .items_count = save->items_count,
        .files = save->rows,
        .files_count = save->rows_count,
    };
    int code = cn_id_new(manifest.id, err);
    if (code) return code;
    memcpy(manifest.run_id, run->dir.id, sizeof manifest.run_id);
    memcpy(manifest.parent_id, run->line.parent_id, sizeof manifest.parent_id);
    *ret_manifest = manifest;
    return CAIRN_OK;
}

static void guard(cairn_run *run, const struct cn_save *save, uint64_t step)
{
    if (!save->state->count)
        cn_run_message(run, "%s: step %llu holds no tensor and no value: nothing is bound to its state", run->dir.path,
                       (unsigned long long)step);
    if (save->nan_count || save->inf_count)
        cn_run_message(
            run,
            "%s: step %llu holds %llu NaN and %llu Inf in trainable or optimizer tensors: marked unhealthy, not resumed from by default",
            run->dir.path, (unsigned long long)step, (unsigned long long)save->nan_count, (unsigned long long)save->inf_count);
    if (save->has_trainable && run->trainable_known && cn_digest_equal(&run->trainable_digest, &save->trainable_digest))
        cn_run_message(run, "%s: the trainable tensors of step %llu are identical to those of step %llu: is the optimizer stepping?",
                       run->dir.path, (unsigned long long)step, (unsigned long long)run->trainable_step);
    run->trainable_known = save->has_trainable;
    run->trainable_digest = save->trainable_digest;
    run->trainable_step = step;
}

/* After DURABLE: what is resumed from is free to go, the line has a new end. */
static void advance(cairn_run *run, const struct cn_manifest *manifest, const char *name)
{
    double value;
    cn_held_close(&run->resumed);
    run->term_used = true;
    run->restored = true;
    run->line.started = true;
    run->line.last_step = manifest->step;
    memcpy(run->line.parent_id, manifest->id, sizeof run->line.parent_id);
    if (!cn_run_is_better(run, manifest, &value)) return;
    run->best.known = true;
    run->best.value = value;
    snprintf(run->best.name, sizeof run->best.name, "%s", name);
    memcpy(run->best.id, manifest->id, sizeof run->best.id);
}

/* The best one may have been renamed. */
static void follow_best(cairn_run *run)
{
    struct cn_catalog catalog;
    if (!run->best.known || cn_catalog_load(&run->dir, &catalog, NULL)) return;
    for (uint64_t i = 0; i < catalog.readable; i++)
        if (!strcmp(catalog.entries[i].manifest.id, run->best.id))
            snprintf(run->best.name, sizeof run->best.name, "%.63s", catalog.entries[i].name);
    cn_catalog_done(&catalog);
}

static void remove_old(cairn_run *run)
{
    const cairn_run_options *options = &run->options;
    const char *ids[] = { run->line.parent_id, run->best.id };
    struct cn_keeping keeping = { .rules = { options->keep_last, options->keep_best, options->best_is_max },
                                  .metric = run->best_metric,
                                  .metric_must_be_known = !options->keep_last,
                                  .ids = ids,
                                  .ids_count = run->best.known ? 2 : 1 };
    struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &keeping, .message = cn_run_tell, .user = run };
    cairn_error error = CAIRN_ERROR_INIT;
    if (cn_retire(&run->dir, &retire, &error)) cn_run_message(run, "old checkpoints stay for now: %s", error.message);
}

/* What a save costs does not grow with what is kept: names are looked at where the line took a turn, old ones where some are to go. */
static void tidy(cairn_run *run, const char *name)
{
    if (run->names_stale) {
        cn_tidy_names(&run->dir, cn_run_tell, run);
        follow_best(run);
        run->names_stale = false;
    }
    cn_tidy_links(&run->dir, name, run->best.known ? run->best.name : NULL, cn_run_tell, run);
    if (run->options.keep_last || run->options.keep_best) remove_old(run);
    cn_retire_empty_trash(&run->dir);
}

static void fill_report(struct cn_job *job, const struct cn_manifest *manifest, const char *name)
{
    cairn_save_report *report = &job->report;
    report->written_bytes = cn_save_written_bytes(&job->save);
    report->linked_bytes = atomic_load(&job->run->figures.linked_bytes);
    report->elapsed_ns = cn_os_now_ns() - job->run->started_ns;
    report->healthy = manifest->healthy;
    snprintf(report->name, sizeof report->name, "%s", name);
    memcpy(report->id, manifest->id, sizeof report->id);
}

static void remember_files(cairn_run *run, const struct cn_save *save)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (cn_save_make_base(save, &run->base, &error)) cn_run_message(run, "the next save will write all files afresh: %s", error.message);
}

/* A writer that was overtaken finds its staging folder moved away: whatever failed then, FENCED is the reason that helps. */
static int explain(struct cn_job *job, int code, cairn_error *err)
{
    cairn_run *run = job->run;
    cairn_error fenced = CAIRN_ERROR_INIT;
    if ((code == CAIRN_E_NOTFOUND || code == CAIRN_E_GONE) && cn_term_check(&run->dir, run->term, run->uuid, &fenced) == CAIRN_E_FENCED) {
        if (err) *err = fenced;
        return CAIRN_E_FENCED;
    }
    if (code == CAIRN_E_CANCELLED)
        return cn_error_set(err, code, "%s: the save of step %llu was cancelled", run->dir.path, (unsigned long long)job->request.step);
    if (code == CAIRN_E_FENCED || code == CAIRN_E_EXISTS || code == CAIRN_E_FOREIGN || code == CAIRN_E_USAGE) return code;
    return cn_error_prefix(err, code, "%s: step %llu was not saved", run->dir.path, (unsigned long long)job->request.step);
}

/* Best effort: the metrics stand in the manifest, too. */
static void log_metrics(struct cn_job *job)
{
    cairn_run *run = job->run;
    const struct cn_request *request = &job->request;
    cairn_error error = CAIRN_ERROR_INIT;
    int code = request->metrics_count
                   ? cn_metricslog_add(&run->metrics, &run->dir, request->step, request->metrics, request->metrics_count, &error)
                   : CAIRN_OK;
    if (!code) code = cn_metricslog_commit(&run->metrics, &run->dir, &error);
    if (code) cn_run_message(run, "the checkpoint is saved; its metrics were not logged: %s", error.message);
}

static int write_and_commit(struct cn_job *job, cairn_error *err)
{
    cairn_run *run = job->run;
    struct cn_manifest manifest;
    int code = cn_save_run(&job->save, err);
    if (!code) code = cn_save_finish(&job->save, err);
    if (!code) code = put_extras(job, err);
    if (!code) code = describe(job, &manifest, err);
    if (code) return code;
    if (atomic_load(&run->cancel)) return CAIRN_E_CANCELLED; /* the last look; explain() says what */
    cn_run_set_phase(run, CAIRN_PHASE_COMMITTING, job->save.plan.total_bytes);
    struct cn_commit commit = { .manifest = &manifest, .uuid = run->uuid, .message = cn_run_tell, .user = run };
    code = cn_staging_commit(&job->staging, &commit, err);
    if (code) return code;
    fill_report(job, &manifest, commit.name);
    guard(run, &job->save, job->request.step);
    advance(run, &manifest, commit.name);
    remember_files(run, &job->save);
    log_metrics(job);
    if (run->options.committed) run->options.committed(run->options.user, &job->report);
    tidy(run, commit.name);
    return CAIRN_OK;
}

static int work(struct cn_job *job, cairn_error *err)
{
    int code = write_and_commit(job, err);
    return code ? explain(job, code, err) : CAIRN_OK;
}

/* ------------------------------------------------------------------------------------------------------- starting a job */

static int open_staging(void *user, cairn_error *err)
{
    struct cn_job *job = user;
    return cn_staging_begin(&job->run->dir, job->run->term, &job->staging, err);
}

static void tick(void *user)
{
    cn_run_tick(((struct cn_job *)user)->run);
}

static void captured(void *user)
{
    cn_job_reach(user, CN_JOB_CAPTURED);
}

static const char *written(void *user)
{
    const cairn_run_options *options = &((struct cn_job *)user)->run->options;
    return options->written(options->user);
}

/* Told once per run: a state that does not fit holds training for as long as the disk needs for the rest. */
static void tell_stall(struct cn_job *job)
{
    cairn_run *run = job->run;
    uint64_t room = cn_arena_slot_bytes(run->arena) * cn_arena_slots(run->arena), total = cn_save_awaited_bytes(&job->save);
    if (run->stall_told || total <= room) return;
    run->stall_told = true;
    cn_run_message(
        run,
        "%s: the state (%llu bytes) is larger than the arena (%llu bytes): staging it took %.2f s, and so will each save; arena_bytes or memory limits it",
        run->dir.path, (unsigned long long)total, (unsigned long long)room, (double)(cn_os_now_ns() - run->started_ns) / 1e9);
}

static void staged(void *user)
{
    struct cn_job *job = user;
    cn_run_set_phase(job->run, CAIRN_PHASE_WRITING, job->save.plan.total_bytes);
    tell_stall(job);
    cn_job_reach(job, CN_JOB_STAGED);
}

static struct cn_job *new_job(cairn_run *run, cairn_state *state, const cairn_save_options *options)
{
    struct cn_job *job = cn_os_new(sizeof *job);
    if (!job) return NULL;
    cn_state_hold(state);
    job->run = run;
    job->work = work;
    job->state = state;
    job->staging = (struct cn_staging){ .parent = CN_NO_FILE, .dir = CN_NO_FILE, .training = CN_NO_FILE };
    job->report = (cairn_save_report){ .struct_size = sizeof job->report, .step = options->step, .term = run->term };
    job->request.step = options->step; /* for messages, until the whole request is there */
    job->save = (struct cn_save){ .state = state,
                                  .staging = &job->staging,
                                  .limits = { run->options.shard_bytes, cn_run_piece_bytes(run) },
                                  .io_mode = run->options.io_mode,
                                  .threads = cn_run_threads(run, options->mode == CAIRN_SAVE_SYNC ? CN_WORK_WAITED_FOR : CN_WORK_BEHIND),
                                  .cancel = &run->cancel,
                                  .figures = &run->figures,
                                  .base = &run->base,
                                  .lazy = options->mode == CAIRN_SAVE_LAZY,
                                  .check_writes = run->options.check_early_writes,
                                  .early = &run->early,
                                  .table = &run->table,
                                  .behind = options->mode != CAIRN_SAVE_SYNC,
                                  .open = open_staging,
                                  .tick = tick,
                                  .captured = captured,
                                  .written = run->options.written ? written : NULL,
                                  .staged = staged,
                                  .user = job };
    return job;
}

/* Everything that is copied before the caller goes on. */
static int capture(struct cn_job *job, const cairn_save_options *options, cairn_error *err)
{
    cairn_run *run = job->run;
    int code = cn_request_make(options, run->origin, &job->request, err);
    if (!code) code = cn_run_need_arena_for(run, job->state, err);
    if (!code) code = cn_save_prepare(&job->save, err);
    if (code) return code;
    job->save.arena = run->arena;
    job->report.total_bytes = job->save.plan.total_bytes;
    cn_run_set_phase(run, CAIRN_PHASE_STAGING, job->save.plan.total_bytes);
    return CAIRN_OK;
}

static int start(cairn_run *run, cairn_state *state, const cairn_save_options *options, cairn_save_report *ret_report, cairn_error *err)
{
    struct cn_job *job = new_job(run, state, options);
    if (!job) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory for a save", run->dir.path);
    uint64_t since = cn_os_now_ns();
    cn_run_begin_job(run, CAIRN_PHASE_STAGING, options->step);
    int code = capture(job, options, err);
    cn_mutex_lock(run->lock);
    run->status.stall_ns += cn_os_now_ns() - since;
    cn_mutex_unlock(run->lock);
    *ret_report = job->report; /* what is known now: the job may be gone when it has started */
    if (!code) return cn_job_start(job, options->mode, err);
    code = explain(job, code, err);
    cn_run_end_job(run, code, false);
    cn_job_free(job);
    return code;
}

int cn_run_save(cairn_run *run, cairn_state *state, const cairn_save_options *options, cairn_save_report *ret_report, cairn_error *err)
{
    bool skip = false;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    int code = cn_run_check_process(run, err);
    if (!code) code = cn_request_check(options, err);
    if (!code) code = cn_job_make_way(run, options->if_running, &skip, err);
    if (!code && !skip) code = check_step(run, options->step, err);
    if (!code && !skip) cn_schedule_begin(&run->schedule, options->step, cn_os_now_ns());
    if (!code && !skip) code = start(run, state, options, &report, err);
    if (code || !ret_report) return code;
    if (!skip && options->mode == CAIRN_SAVE_SYNC) report = run->last_report;
    if (skip) report.step = options->step, report.skipped = 1;
    *ret_report = report;
    return CAIRN_OK;
}
