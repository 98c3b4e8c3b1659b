/* A restore from the choice of the checkpoint to the line it puts the run on (see run.h). The default is the newest healthy and exact one that
 * passes the quick check; a damaged one, and one of which something bound was dropped, is passed over loudly and never touched. Only full success returns success. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/check.h"
#include "base/limits.h"
#include "manager/run.h"
#include "store/check.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/term.h"
#include "store/tidy.h"

enum { LOOKS = 20 };

struct attempt {
    cairn_run *run;
    cairn_state *state;
    const cairn_restore_options *options;
    cairn_restore_report report;
    int torn_by;                /* the code of the last attempt that failed after its first byte: the bound memory is a mixture */
    struct cn_hash torn_leaves; /* the keys of those that such an attempt may have overwritten */
    bool looks_again;           /* where what was chosen has gone meanwhile */
    bool has_gone;              /* so it is */
    bool refused;               /* the caller's own memory did not take what it was given: an older checkpoint mends nothing */
    struct cn_buf told;         /* which damaged ones: names, each ended by NUL */
    cairn_error error;          /* of the last attempt */
};

/* The line that goes on from a checkpoint: made before the state is touched, so that nothing can fail when it is filled. */
static int make_line(const cairn_run *run, const struct cn_manifest *manifest, struct cn_line *ret_line, cairn_error *err)
{
    bool own_term = manifest->term == run->term;
    uint64_t count = manifest->lineage_count + !own_term;
    struct cn_lineage *lineage = cn_os_new_array(count, sizeof *lineage);
    if (!lineage) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory for the lineage", run->dir.path);
    if (manifest->lineage_count) memcpy(lineage, manifest->lineage, manifest->lineage_count * sizeof *lineage);
    if (!own_term) lineage[count - 1] = (struct cn_lineage){ manifest->term, manifest->step };
    *ret_line = (struct cn_line){ .lineage = lineage, .lineage_count = count, .last_step = manifest->step, .started = true };
    memcpy(ret_line->parent_id, manifest->id, sizeof ret_line->parent_id);
    return CAIRN_OK;
}

static void adopt_line(cairn_run *run, const struct cn_line *line)
{
    cn_os_free(run->line.lineage);
    run->line = *line;
}

/* Everything that torn attempts overwrote is overwritten again by this one? */
static bool covers(const struct attempt *attempt, const struct cn_restore *restore)
{
    const cairn_state *state = restore->state;
    uint64_t covered = 0;
    for (uint64_t i = 0; i < state->count; i++) {
        const char *key = state->leaves[i]->key;
        covered += restore->outcomes[i] == CAIRN_RESTORED && cn_hash_find(&attempt->torn_leaves, key, strlen(key), NULL);
    }
    return covered == attempt->torn_leaves.count;
}

/* Room for it was made before. */
static void remember_torn(struct attempt *attempt, const struct cn_restore *restore, int code)
{
    attempt->torn_by = code;
    for (uint64_t i = 0; i < restore->state->count; i++) {
        const char *key = restore->state->leaves[i]->key;
        if (restore->outcomes[i] == CAIRN_RESTORED) (void)cn_hash_add(&attempt->torn_leaves, key, strlen(key), i, NULL);
    }
}

/* Files of which every tensor was just read and found right are what the next save may link to. Without them it writes. */
static void remember_files(cairn_run *run, const struct cn_restore *restore)
{
    const cairn_checkpoint *checkpoint = restore->checkpoint;
    cairn_error error = CAIRN_ERROR_INIT;
    cn_auto_free bool *wanted = cn_os_new_array(checkpoint->table.count, sizeof *wanted);
    for (uint64_t i = 0; i < checkpoint->table.count && wanted; i++) wanted[i] = restore->leaves[i] != NULL;
    if (!wanted)
        cn_error_set(&error, CAIRN_E_NOMEM, "%s: no memory to remember its files", checkpoint->path);
    else if (!cn_base_from_checkpoint(&run->base, checkpoint, wanted, &error))
        return;
    cn_base_clear(&run->base);
    cn_run_message(run, "the next save will write all files afresh: %s", error.message);
}

/* A piece for each reader: what is checked is stored at once. */
static int need_arena(cairn_run *run, const struct cn_restore *restore, cairn_error *err)
{
    uint64_t piece_bytes = cn_run_piece_bytes(run);
    return cn_run_need_arena(run, piece_bytes, cn_min_u64(restore->pieces.total_bytes, restore->threads * piece_bytes), err);
}

static int fill_state(struct attempt *attempt, cairn_state *state, const cairn_checkpoint *checkpoint)
{
    cairn_run *run = attempt->run;
    struct cn_restore restore = { .state = state,
                                  .checkpoint = checkpoint,
                                  .options = attempt->options,
                                  .threads = cn_run_threads(run, CN_WORK_WAITED_FOR),
                                  .cancel = &run->cancel,
                                  .read_bytes = &run->figures.staged_bytes,
                                  .stored_bytes = &run->figures.written_bytes,
                                  .tick = cn_run_tick,
                                  .user = run };
    int code = cn_restore_prepare(&restore, &attempt->error);
    if (!code && attempt->torn_by && !covers(attempt, &restore))
        code = cn_error_set(&attempt->error, CAIRN_E_MISMATCH, "%s: it does not hold all that the damaged one had begun to overwrite",
                            checkpoint->path);
    if (!code) code = need_arena(run, &restore, &attempt->error);
    if (!code && cn_hash_reserve(&attempt->torn_leaves, state->count))
        code = cn_error_set(&attempt->error, CAIRN_E_NOMEM, "%s: no memory to restore a state", run->dir.path);
    if (!code) {
        restore.arena = run->arena;
        cn_run_clear_figures(run);
        cn_run_set_phase(run, CAIRN_PHASE_RESTORING, restore.pieces.total_bytes);
        code = cn_restore_run(&restore, &attempt->error);
        if (code && atomic_load(&restore.touched)) remember_torn(attempt, &restore, code);
        attempt->refused = atomic_load(&restore.refused);
    }
    if (!code) {
        cn_restore_report(&restore, &attempt->report);
        remember_files(run, &restore);
    }
    cn_restore_free(&restore);
    return code;
}

static int fill_from(struct attempt *attempt, const cairn_checkpoint *checkpoint)
{
    cairn_state *state = attempt->state;
    int code = cn_restore_choose(attempt->options, checkpoint, &state, &attempt->error);
    return code ? code : fill_state(attempt, state, checkpoint);
}

/* Not to be read by this user: nobody knows whether it is whole. */
static bool is_forbidden(int os_errno)
{
    return os_errno == EACCES || os_errno == EPERM;
}

/* What a damaged checkpoint gives. Anything else is not mended by an older one: what this process lacks - descriptors, threads - least of all. */
static bool is_damage(const struct attempt *attempt, int code)
{
    int os_errno = attempt->error.os_errno;
    if (attempt->refused || os_errno == EMFILE || os_errno == ENFILE || os_errno == EAGAIN || is_forbidden(os_errno)) return false;
    return (code <= CAIRN_E_FORMAT && code >= CAIRN_E_PATH) || code == CAIRN_E_IO || code == CAIRN_E_NOTFOUND || code == CAIRN_E_GONE;
}

/* A writer that goes back renames what stands in its way, a pruner removes, of what is no head any more an item is dropped. That is no damage, and what is
 * newest is known from a new listing only. */
static bool has_moved(const cairn_run *run, const struct cn_catalog_entry *entry)
{
    struct cn_pool pool;
    struct cn_manifest manifest;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_held_read(run->dir.dir, entry->name, &pool, &manifest, NULL);
    bool moved = code == CAIRN_E_NOTFOUND || code == CAIRN_E_GONE ||
                 (!code && (strcmp(manifest.id, entry->manifest.id) != 0 || manifest.generation != entry->manifest.generation));
    cn_pool_done(&pool);
    return moved;
}

/* The folder is held from here on. On success it stays so until the next save is durable. */
static int try_held(struct attempt *attempt, const char *name, const struct cn_held *held, const struct cn_manifest *manifest)
{
    cairn_run *run = attempt->run;
    cairn_checkpoint *checkpoint = NULL;
    struct cn_line line = { 0 };
    char path[sizeof run->dir.path + 80];
    snprintf(path, sizeof path, "%s/%s", run->dir.path, name);
    int code = cn_check_quick(held->dir, manifest, NULL, NULL, &attempt->error);
    if (!code) code = make_line(run, manifest, &line, &attempt->error);
    if (!code) code = cn_checkpoint_open_at(run->dir.dir, name, path, run->options.io_mode, &checkpoint, &attempt->error);
    if (!code) code = cn_held_check_id(name, &checkpoint->manifest, manifest->id, &attempt->error);
    if (!code) code = fill_from(attempt, checkpoint);
    cn_checkpoint_close(checkpoint);
    if (code)
        cn_os_free(line.lineage);
    else
        adopt_line(run, &line);
    return code;
}

static int try_entry(struct attempt *attempt, const struct cn_catalog_entry *entry)
{
    cairn_run *run = attempt->run;
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    attempt->refused = false;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_held_open(run->dir.dir, entry->name, &pool, &held, &manifest, &attempt->error);
    if (!code) {
        code = cn_held_check_id(entry->name, &manifest, entry->manifest.id, &attempt->error);
        if (!code) code = try_held(attempt, entry->name, &held, &manifest);
        cn_held_close(&run->resumed);
        if (!code)
            run->resumed = held;
        else
            cn_held_close(&held);
    }
    cn_pool_done(&pool);
    if (code && !strstr(attempt->error.message, entry->name)) cn_error_prefix(&attempt->error, code, "%s/%s", run->dir.path, entry->name);
    bool may_have_moved = is_damage(attempt, code) || code == CAIRN_E_MISMATCH;
    attempt->has_gone = code && attempt->looks_again && may_have_moved && has_moved(run, entry);
    return code;
}

static int succeed(struct attempt *attempt, const struct cn_catalog *catalog, const struct cn_catalog_entry *entry)
{
    cairn_run *run = attempt->run;
    run->restored = true;
    run->torn = run->torn && attempt->options->items; /* of a few alone: the others are what they were */
    run->trainable_known = false;
    cn_schedule_resume(&run->schedule, entry->manifest.step);
    run->names_stale = entry != catalog->top || !cn_tidy_names_are_right(catalog);
    cn_metricslog_begin(&run->metrics, run->term, entry->manifest.step);
    cn_run_find_best(run, catalog, &entry->manifest);
    attempt->report.step = entry->manifest.step;
    attempt->report.term = entry->manifest.term;
    attempt->report.epoch = entry->manifest.epoch;
    memcpy(attempt->report.id, entry->manifest.id, sizeof attempt->report.id);
    strncpy(attempt->report.name, entry->name, sizeof attempt->report.name - 1);
    return CAIRN_OK;
}

static int fail(struct attempt *attempt, int code, cairn_error *err)
{
    attempt->run->torn |= attempt->torn_by != CAIRN_OK;
    if (attempt->torn_by)
        code = cn_error_torn(&attempt->error, attempt->torn_by,
                             "the restore failed half-way and the bound memory is a mixture now: restore again or stop");
    if (err) *err = attempt->error;
    return code;
}

/* A newer version wrote it, or this user may not read it: that is no damage. */
static bool is_unreadable(const struct cn_catalog_entry *entry)
{
    return entry->problem_code == CAIRN_E_VERSION || is_forbidden(entry->problem_errno);
}

/* It could be the newest of all, whatever its step, for another term may have begun far back: going on without it would leave it behind. Only a name with
 * a term says that it was left behind already. */
static int check_readable(struct attempt *attempt, const struct cn_catalog *catalog)
{
    for (uint64_t i = catalog->readable; i < catalog->count; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        uint64_t step, term;
        if (is_unreadable(entry) && cn_layout_parse_folder(entry->name, &step, &term) && !term)
            return cn_error_set(&attempt->error, entry->problem_code, "%s: %s cannot be read: %s; name a step to go on without it",
                                attempt->run->dir.path, entry->name, entry->problem);
    }
    return CAIRN_OK;
}

/* An earlier look may have told it already. */
static bool is_told(struct attempt *attempt, const char *name)
{
    const struct cn_buf *told = &attempt->told;
    for (size_t at = 0; at < told->size; at += strlen(told->data + at) + 1)
        if (!strcmp(told->data + at, name)) return true;
    cn_buf_append(&attempt->told, name, strlen(name) + 1);
    return false;
}

/* The reason often begins with the checkpoint's path or name itself. */
static void tell_passed_over(struct attempt *attempt, const char *name, const char *what, const char *why)
{
    cairn_run *run = attempt->run;
    char path[sizeof run->dir.path + 80];
    if (is_told(attempt, name)) return;
    snprintf(path, sizeof path, "%s/%s", run->dir.path, name);
    cn_run_message(run, "%s %s: %s", path, what, cn_error_without_name(cn_error_without_name(why, path), name));
}

/* Newest first along the line; what is unhealthy or inexact is only taken by name. */
static int restore_default(struct attempt *attempt, const struct cn_catalog *catalog)
{
    cairn_run *run = attempt->run;
    int code = cn_error_set(&attempt->error, CAIRN_E_NOTFOUND,
                            "%s: it holds only unhealthy or inexact checkpoints: name the step to restore one of them", run->dir.path);
    for (uint64_t i = catalog->readable; i-- > 0;) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->standing != CAIRN_CURRENT || !entry->manifest.healthy || !entry->manifest.exact) continue;
        code = try_entry(attempt, entry);
        if (!code) return succeed(attempt, catalog, entry);
        if (attempt->has_gone) return code;
        if (code == CAIRN_E_MISMATCH && entry->manifest.dropped_count) {
            tell_passed_over(attempt, entry->name, "is passed over, for something was dropped of it", attempt->error.message);
            continue;
        }
        if (!is_damage(attempt, code) && !(attempt->torn_by && code == CAIRN_E_MISMATCH)) return code;
        attempt->report.skipped_damaged++;
        tell_passed_over(attempt, entry->name, "is damaged and passed over", attempt->error.message);
    }
    return code;
}

static int restore_step(struct attempt *attempt, const struct cn_catalog *catalog)
{
    const struct cn_catalog_entry *entry = cn_catalog_find(catalog, attempt->options->step, 0);
    if (!entry)
        return cn_error_set(&attempt->error, CAIRN_E_NOTFOUND, "%s: no checkpoint of step %llu on the current line", attempt->run->dir.path,
                            (unsigned long long)attempt->options->step);
    int code = try_entry(attempt, entry);
    return code ? code : succeed(attempt, catalog, entry);
}

static uint64_t tell_damaged(struct attempt *attempt, const struct cn_catalog *catalog)
{
    uint64_t damaged = 0;
    for (uint64_t i = catalog->readable; i < catalog->count; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->standing != CAIRN_DAMAGED || is_unreadable(entry)) continue;
        tell_passed_over(attempt, entry->name, "is damaged and passed over", entry->problem);
        damaged++;
    }
    attempt->report.skipped_damaged = (uint32_t)damaged;
    return damaged;
}

/* "Nothing there" is a new run; "only broken ones there" must never look like it. */
static int choose(struct attempt *attempt, const struct cn_catalog *catalog)
{
    cairn_run *run = attempt->run;
    bool by_default = attempt->options->step == CAIRN_STEP_DEFAULT;
    int code = by_default ? check_readable(attempt, catalog) : CAIRN_OK;
    if (code) return code;
    uint64_t damaged = tell_damaged(attempt, catalog);
    if (catalog->readable) return by_default ? restore_default(attempt, catalog) : restore_step(attempt, catalog);
    if (damaged)
        return cn_error_set(&attempt->error, CAIRN_E_CORRUPT,
                            "%s: all %llu checkpoints are damaged: run `cairn verify`, restore a copy, or start a new run elsewhere",
                            run->dir.path, (unsigned long long)damaged);
    if (!by_default || attempt->torn_by)
        return cn_error_set(&attempt->error, CAIRN_E_NOTFOUND, "%s: it holds no checkpoint%s", run->dir.path,
                            attempt->torn_by ? " any more" : " yet");
    attempt->report.fresh = 1;
    run->restored = true;
    return CAIRN_OK;
}

/* What has gone since the run was looked at is no damage: it is looked at again. Unless another writer removed it, who has taken the run over. */
static int look_and_choose(struct attempt *attempt, cairn_error *err)
{
    cairn_run *run = attempt->run;
    int code = CAIRN_OK;
    for (int looks = 1; !code; looks++) {
        struct cn_catalog catalog;
        code = cn_catalog_load(&run->dir, &catalog, &attempt->error);
        if (code) break;
        attempt->looks_again = looks < LOOKS;
        attempt->has_gone = false;
        code = choose(attempt, &catalog);
        cn_catalog_done(&catalog);
        if (!attempt->has_gone) break;
        code = cn_term_check(&run->dir, run->term, run->uuid, &attempt->error);
    }
    return code ? fail(attempt, code, err) : CAIRN_OK;
}

int cn_run_restore(cairn_run *run, cairn_state *state, const cairn_restore_options *options, cairn_restore_report *ret_report,
                   cairn_error *err)
{
    struct attempt attempt = {
        .run = run, .state = state, .options = options, .report = CAIRN_RESTORE_REPORT_INIT, .error = CAIRN_ERROR_INIT
    };
    int code = cn_run_check_process(run, err);
    if (!code) code = cn_job_collect(run, err);
    if (code) return code;
    uint64_t seed = 0;
    int rc = cn_os_random(&seed, sizeof seed);
    if (rc) return cn_error_errno(err, -rc, "no randomness from the system");
    cn_hash_init(&attempt.torn_leaves, cn_os_alloc(), seed);
    cn_buf_init(&attempt.told, cn_os_alloc(), CN_MAX_CATALOG_BYTES);
    if (ret_report) attempt.report.leaf = ret_report->leaf, attempt.report.user = ret_report->user;
    uint64_t started = cn_os_now_ns();
    cn_run_begin_job(run, CAIRN_PHASE_RESTORING, options->step == CAIRN_STEP_DEFAULT ? 0 : options->step);
    /* whatever is resumed from, what this term has committed so far is left behind: the next commit needs a term of its own */
    if (run->term_used) code = cn_run_take_term(run, err);
    if (!code) code = look_and_choose(&attempt, err);
    cn_hash_done(&attempt.torn_leaves);
    cn_buf_done(&attempt.told);
    cn_run_end_job(run, code, false);
    if (code) return code;
    attempt.report.elapsed_ns = cn_os_now_ns() - started;
    if (ret_report) *ret_report = attempt.report;
    return CAIRN_OK;
}
