/* A save from its options to DURABLE and what follows (see run.h): check, snapshot into staging, manifest, commit; then links, retention,
 * trash, whose failures are messages and never undo the save. */
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "base/utf8.h"
#include "manager/run.h"
#include "snapshot/provenance.h"
#include "store/commit.h"
#include "store/layout.h"
#include "store/retire.h"
#include "store/term.h"

/* ------------------------------------------------------------------------------------------------------------- checking */

static int check_metrics(const cairn_save_options *options, cairn_error *err)
{
    struct cn_shown shown;
    if (options->metrics_count > CN_MAX_METRICS) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d metrics", CN_MAX_METRICS);
    for (size_t i = 0; i < options->metrics_count; i++) {
        const char *name = options->metrics[i].name;
        size_t size = name ? strlen(name) : 0;
        if (!size || size > CN_MAX_METRIC_NAME_BYTES || cn_utf8_check(name, size) != size)
            return cn_error_set(err, CAIRN_E_USAGE, "metric %zu: its name must be 1 to %d bytes of UTF-8", i, CN_MAX_METRIC_NAME_BYTES);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(options->metrics[k].name, name)) return cn_error_set(err, CAIRN_E_USAGE, "metric \"%s\" is given twice", cn_show_text(&shown, name));
    }
    return CAIRN_OK;
}

/* A tag must not be taken for a step or a selector of ours. */
static bool is_tag(const char *tag)
{
    size_t size = tag ? strlen(tag) : 0;
    if (!size || size > CN_MAX_TAG_BYTES || !strcmp(tag, CN_NAME_LATEST) || !strcmp(tag, CN_NAME_BEST)) return false;
    if (strspn(tag, "0123456789~") == size) return false;
    for (size_t i = 0; i < size; i++)
        if ((unsigned char)tag[i] <= 0x20 || tag[i] == 0x7f || strchr("/@~", tag[i])) return false;
    return cn_utf8_check(tag, size) == size;
}

static int check_options(const cairn_save_options *options, cairn_error *err)
{
    struct cn_shown shown;
    if (options->struct_size < sizeof *options) return cn_error_set(err, CAIRN_E_USAGE, "save options: struct_size is not set; start from CAIRN_SAVE_OPTIONS_INIT");
    if (options->tags_count > CN_MAX_TAGS) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d tags", CN_MAX_TAGS);
    for (size_t i = 0; i < options->tags_count; i++)
        if (!is_tag(options->tags[i]))
            return cn_error_set(err, CAIRN_E_USAGE, "tag \"%s\": no number, not latest or best, no space, '/', '@' or '~'",
                                cn_show_text(&shown, options->tags[i] ? options->tags[i] : ""));
    return check_metrics(options, err);
}

static int check_step(const cairn_run *run, uint64_t step, cairn_error *err)
{
    if (run->has_checkpoints && !run->restored)
        return cn_error_set(err, CAIRN_E_USAGE, "%s holds checkpoints: call cairn_restore before the first save, or choose another run", run->dir.path);
    if (!run->line.started || step > run->line.last_step) return CAIRN_OK;
    if (step == run->line.last_step)
        return cn_error_set(err, CAIRN_E_EXISTS, "%s: step %llu is saved already", run->dir.path, (unsigned long long)step);
    return cn_error_set(err, CAIRN_E_USAGE, "%s: step %llu is not beyond the line's last step %llu; restore an older step to go back", run->dir.path,
                        (unsigned long long)step, (unsigned long long)run->line.last_step);
}

/* --------------------------------------------------------------------------------------------------------------- saving */

static int put_extras(struct cn_save *save, const cairn_save_options *options, cairn_error *err)
{
    cn_auto_buf struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), CN_MAX_PROVENANCE_BYTES);
    int code = cn_provenance_write(options->config, &buf, err);
    if (!code) code = cn_save_put(save, CN_NAME_PROVENANCE, CN_FILE_OWN, buf.data, buf.size, err);
    for (size_t i = 0; i < options->attachments_count && !code; i++) code = cn_save_attach(save, &options->attachments[i], err);
    return code;
}

static int describe(const cairn_run *run, const struct cn_save *save, const cairn_save_options *options, struct cn_manifest *ret_manifest,
                    cairn_error *err)
{
    struct cn_manifest manifest = {
        .term = run->term, .step = options->step, .epoch = options->epoch, .time_ns = cn_os_wall_ns(),
        .healthy = !save->nan_count && !save->inf_count, .exact = !options->inexact, .nan_count = save->nan_count, .inf_count = save->inf_count,
        .lineage = run->line.lineage, .lineage_count = run->line.lineage_count, .metrics = options->metrics,
        .metrics_count = options->metrics_count, .tags = options->tags, .tags_count = options->tags_count, .items = save->items,
        .items_count = save->items_count, .files = save->files, .files_count = save->files_count,
    };
    struct cn_digest id;
    int rc = cn_os_random(id.bytes, sizeof id.bytes);
    if (rc) return cn_error_errno(err, -rc, "no randomness from the system");
    cn_digest_hex(&id, manifest.id);
    memcpy(manifest.run_id, run->dir.id, sizeof manifest.run_id);
    memcpy(manifest.parent_id, run->line.parent_id, sizeof manifest.parent_id);
    *ret_manifest = manifest;
    return CAIRN_OK;
}

static int write_snapshot(cairn_run *run, struct cn_save *save, const cairn_save_options *options, cairn_error *err)
{
    int code = cn_save_prepare(save, err);
    if (!code) code = cn_run_need_arena(run, save->limits.piece_bytes, save->plan.total_bytes, err);
    if (code) return code;
    cn_run_set_phase(run, CAIRN_PHASE_WRITING, save->plan.total_bytes);
    save->arena = run->arena;
    code = cn_save_run(save, err);
    if (!code) code = cn_save_finish(save, err);
    return code ? code : put_extras(save, options, err);
}

static void guard(cairn_run *run, const struct cn_save *save, uint64_t step)
{
    if (save->nan_count || save->inf_count)
        cn_run_message(run, "%s: step %llu holds %llu NaN and %llu Inf in trainable or optimizer tensors: marked unhealthy, not resumed from by default",
                       run->dir.path, (unsigned long long)step, (unsigned long long)save->nan_count, (unsigned long long)save->inf_count);
    if (save->has_trainable && run->trainable_known && cn_digest_equal(&run->trainable_digest, &save->trainable_digest))
        cn_run_message(run, "%s: the trainable tensors of step %llu are identical to those of step %llu: is the optimizer stepping?", run->dir.path,
                       (unsigned long long)step, (unsigned long long)run->trainable_step);
    run->trainable_known = save->has_trainable;
    run->trainable_digest = save->trainable_digest;
    run->trainable_step = step;
}

/* After DURABLE: what is resumed from is free to go, the line has a new end. */
static void advance(cairn_run *run, const struct cn_manifest *manifest, const char *name)
{
    double value;
    cn_held_close(&run->resumed);
    run->resumed_id[0] = 0;
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

static void tidy(cairn_run *run, const char *name)
{
    const char *keep[] = { run->line.parent_id, run->best.id };
    struct cn_retire retire = { .keep_last = run->options.keep_last, .keep_ids = keep, .keep_ids_count = run->best.known ? 2 : 1,
                                .message = cn_run_tell, .user = run };
    cairn_error error = CAIRN_ERROR_INIT;
    cn_tidy_links(&run->dir, name, run->best.known ? run->best.name : NULL, cn_run_tell, run);
    if (cn_retire_old(&run->dir, &retire, &error)) cn_run_message(run, "old checkpoints stay for now: %s", error.message);
    cn_retire_empty_trash(&run->dir);
}

static void fill_report(cairn_run *run, const struct cn_save *save, const struct cn_manifest *manifest, const char *name, cairn_save_report *report)
{
    if (!report) return;
    report->step = manifest->step;
    report->term = manifest->term;
    report->total_bytes = save->plan.total_bytes;
    report->written_bytes = save->plan.data_bytes;
    report->elapsed_ns = cn_os_now_ns() - run->started_ns;
    report->healthy = manifest->healthy;
    snprintf(report->name, sizeof report->name, "%s", name);
    memcpy(report->id, manifest->id, sizeof report->id);
}

static int save_job(cairn_run *run, struct cn_save *save, struct cn_staging *staging, const cairn_save_options *options, cairn_save_report *ret_report,
                    cairn_error *err)
{
    struct cn_manifest manifest;
    int code = cn_staging_begin(&run->dir, run->term, staging, err);
    if (!code) code = write_snapshot(run, save, options, err);
    if (!code) code = describe(run, save, options, &manifest, err);
    if (code) return code;
    if (atomic_load(&run->cancel)) return cn_error_set(err, CAIRN_E_CANCELLED, "%s: the save of step %llu was cancelled", run->dir.path, (unsigned long long)options->step);
    cn_run_set_phase(run, CAIRN_PHASE_COMMITTING, save->plan.total_bytes);
    struct cn_commit commit = { .manifest = &manifest, .uuid = run->uuid, .message = cn_run_tell, .user = run };
    code = cn_staging_commit(staging, &commit, err);
    if (code) return code;
    fill_report(run, save, &manifest, commit.name, ret_report);
    guard(run, save, options->step);
    advance(run, &manifest, commit.name);
    tidy(run, commit.name);
    return CAIRN_OK;
}

/* A writer that was overtaken finds its staging folder moved away: whatever failed then, FENCED is the reason that helps. */
static int explain(cairn_run *run, int code, uint64_t step, cairn_error *err)
{
    cairn_error fenced = CAIRN_ERROR_INIT;
    if (code == CAIRN_E_NOTFOUND && cn_term_check(&run->dir, run->term, run->uuid, &fenced) == CAIRN_E_FENCED) {
        if (err) *err = fenced;
        return CAIRN_E_FENCED;
    }
    if (code == CAIRN_E_FENCED || code == CAIRN_E_EXISTS || code == CAIRN_E_FOREIGN || code == CAIRN_E_CANCELLED || code == CAIRN_E_USAGE) return code;
    return cn_error_prefix(err, code, "%s: step %llu was not saved", run->dir.path, (unsigned long long)step);
}

int cn_run_save(cairn_run *run, const cairn_state *state, const cairn_save_options *options, cairn_save_report *ret_report, cairn_error *err)
{
    int code = cn_run_check_process(run, err);
    if (!code) code = check_options(options, err);
    if (!code) code = check_step(run, options->step, err);
    if (code) return code;
    struct cn_staging staging = { .dir = CN_NO_FILE, .training = CN_NO_FILE };
    struct cn_save save = { .state = state, .staging = &staging, .io_mode = run->options.io_mode, .threads = cn_run_threads(run),
                            .limits = { run->options.shard_bytes, cn_run_piece_bytes(run) }, .cancel = &run->cancel,
                            .figures = &run->figures, .tick = cn_run_tick, .tick_user = run };
    cn_run_begin_job(run, CAIRN_PHASE_STAGING, options->step);
    code = save_job(run, &save, &staging, options, ret_report, err);
    cn_save_free(&save);
    cn_staging_abandon(&staging);
    if (code) code = explain(run, code, options->step, err);
    cn_run_end_job(run, code);
    return code;
}
