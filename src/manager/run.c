/* Opening and closing a run, its figures and its arena (see run.h). Opening takes the lock for the friendly error and a term for safety. */
#include "manager/run.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "manager/keeping.h"
#include "snapshot/provenance.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/retire.h"
#include "store/term.h"
#include "store/tidy.h"

#define DEFAULT_PIECE_BYTES CN_BLOCK_BYTES
#define LARGE_PIECE_BYTES (4 * CN_BLOCK_BYTES)
#define DEFERRED_PIECES 16
#define SPARE_PIECES 64 /* each file may end with one that is short */

/* ------------------------------------------------------------------------------------------------------------- figures */

void cn_run_message(cairn_run *run, const char *format, ...)
{
    char text[CN_MAX_PATH_BYTES + 512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    cn_mutex_lock(run->lock);
    run->status.warnings++;
    cn_mutex_unlock(run->lock);
    if (run->options.message) run->options.message(run->options.user, text);
}

void cn_run_tell(void *run, const char *message)
{
    cn_run_message(run, "%s", message);
}

static void read_status(const cairn_run *run, cairn_status *ret_status)
{
    cn_mutex_lock(run->lock);
    *ret_status = run->status;
    ret_status->staged_bytes = atomic_load(&run->figures.staged_bytes);
    ret_status->written_bytes = atomic_load(&run->figures.written_bytes);
    ret_status->linked_bytes = atomic_load(&run->figures.linked_bytes);
    if (run->started_ns) ret_status->elapsed_ns = cn_os_now_ns() - run->started_ns;
    ret_status->term = run->term;
    cn_mutex_unlock(run->lock);
}

int cairn_run_status(const cairn_run *run, cairn_status *ret_status)
{
    cairn_status status;
    if (!run || !ret_status || ret_status->struct_size < sizeof status) return CAIRN_E_USAGE;
    read_status(run, &status);
    status.struct_size = ret_status->struct_size;
    *ret_status = status;
    return CAIRN_OK;
}

void cairn_run_cancel(cairn_run *run)
{
    if (run) atomic_store(&run->cancel, true);
}

void cn_run_tick(void *user)
{
    cairn_run *run = user;
    cairn_status status;
    if (!run->options.progress) return;
    read_status(run, &status);
    run->options.progress(run->options.user, &status);
}

void cn_run_clear_figures(cairn_run *run)
{
    atomic_store(&run->figures.staged_bytes, 0);
    atomic_store(&run->figures.written_bytes, 0);
    atomic_store(&run->figures.linked_bytes, 0);
}

void cn_run_begin_job(cairn_run *run, cairn_phase phase, uint64_t step)
{
    atomic_store(&run->cancel, false);
    cn_run_clear_figures(run);
    cn_mutex_lock(run->lock);
    run->status.phase = phase;
    run->status.step = step;
    run->status.total_bytes = 0;
    run->status.stall_ns = 0;
    run->started_ns = cn_os_now_ns();
    cn_mutex_unlock(run->lock);
}

void cn_run_set_phase(cairn_run *run, cairn_phase phase, uint64_t total_bytes)
{
    cn_mutex_lock(run->lock);
    run->status.phase = phase;
    run->status.total_bytes = total_bytes;
    cn_mutex_unlock(run->lock);
}

void cn_run_end_job(cairn_run *run, int code, bool abandoned)
{
    cn_mutex_lock(run->lock);
    bool saving = run->status.phase != CAIRN_PHASE_RESTORING;
    run->status.elapsed_ns = cn_os_now_ns() - run->started_ns;
    run->started_ns = 0;
    if (saving) run->status.saves_done += !code;
    if (saving) run->status.saves_failed += code && !abandoned;
    run->status.phase = abandoned ? CAIRN_PHASE_ABANDONED : code ? CAIRN_PHASE_FAILED : saving ? CAIRN_PHASE_DURABLE : CAIRN_PHASE_IDLE;
    cn_mutex_unlock(run->lock);
    cn_run_tick(run);
}

/* --------------------------------------------------------------------------------------------------------------- limits */

uint32_t cn_run_threads(const cairn_run *run, enum cn_work work)
{
    return cn_defaults_threads(run->options.io_threads, work);
}

uint64_t cn_run_piece_bytes(const cairn_run *run)
{
    return run->options.piece_bytes ? run->options.piece_bytes : DEFAULT_PIECE_BYTES;
}

static bool arena_fits(const cairn_run *run, uint64_t slot_bytes, uint32_t slots)
{
    return run->arena && cn_arena_slot_bytes(run->arena) >= slot_bytes && cn_arena_slots(run->arena) >= slots;
}

/* How large an arena for total_bytes may be: enough for all of it, within the limits. Of two pieces in a row at least one is more than half full, and
 * each takes up to two pages more than its bytes. */
static void size_arena(const cairn_run *run, uint64_t piece_bytes, uint64_t total_bytes, uint64_t *ret_slot_bytes, uint32_t *ret_slots)
{
    uint64_t limit = run->options.arena_bytes, pieces = 2 * (total_bytes / piece_bytes) + SPARE_PIECES;
    uint64_t needed = total_bytes + pieces * 2 * CN_PAGE_BYTES;
    *ret_slot_bytes = cn_defaults_slot_bytes(piece_bytes);
    *ret_slots = cn_defaults_slots(*ret_slot_bytes, needed / *ret_slot_bytes + 2, limit ? limit : UINT64_MAX);
    if (limit || arena_fits(run, *ret_slot_bytes, *ret_slots)) return;
    limit = cn_os_free_memory() / 2; /* the arena there is would be given back first */
    if (run->arena) limit += cn_arena_slot_bytes(run->arena) * cn_arena_slots(run->arena);
    *ret_slots = cn_defaults_slots(*ret_slot_bytes, *ret_slots, limit);
}

static void set_arena(cairn_run *run, struct cn_arena *arena)
{
    cn_arena_free(run->arena);
    run->arena = arena;
    cn_mutex_lock(run->lock);
    run->status.arena_bytes = arena ? cn_arena_slot_bytes(arena) * cn_arena_slots(arena) : 0;
    cn_mutex_unlock(run->lock);
}

static void make_reserve(void *user)
{
    struct cn_reserve *reserve = user;
    if (cn_arena_new(reserve->slot_bytes, reserve->slots, &reserve->arena, NULL)) reserve->arena = NULL;
}

static void end_reserve(cairn_run *run)
{
    struct cn_reserve *reserve = &run->reserve;
    if (!reserve->task) return;
    cn_task_join(reserve->task);
    reserve->task = NULL;
    if (reserve->arena) set_arena(run, reserve->arena);
    reserve->arena = NULL;
}

/* What an arena is to hold: all that the caller waits for, and a little of what he does not. */
static uint64_t bytes_of(const cairn_run *run, const cairn_state *state)
{
    uint64_t awaited = 0, deferred = 0;
    for (uint64_t i = 0; i < state->count; i++)
        *(cn_leaf_is_deferred(state->leaves[i]) ? &deferred : &awaited) += state->leaves[i]->size_bytes;
    return awaited + cn_min_u64(deferred, DEFERRED_PIECES * cn_run_piece_bytes(run));
}

int cn_run_reserve(cairn_run *run, const cairn_state *state, cairn_error *err)
{
    int code = cn_run_check_process(run, err);
    if (!code) code = cn_job_collect(run, err);
    if (code) return code;
    end_reserve(run);
    size_arena(run, cn_run_piece_bytes(run), bytes_of(run, state), &run->reserve.slot_bytes, &run->reserve.slots);
    if (arena_fits(run, run->reserve.slot_bytes, run->reserve.slots)) return CAIRN_OK;
    set_arena(run, NULL);
    int rc = cn_task_start(make_reserve, &run->reserve, &run->reserve.task);
    return rc ? cn_error_errno(err, -rc, "%s: a thread could not be started", run->dir.path) : CAIRN_OK;
}

int cn_run_need_arena(cairn_run *run, uint64_t piece_bytes, uint64_t total_bytes, cairn_error *err)
{
    uint64_t slot_bytes;
    uint32_t slots;
    struct cn_arena *arena = NULL;
    end_reserve(run);
    size_arena(run, piece_bytes, total_bytes, &slot_bytes, &slots);
    if (arena_fits(run, slot_bytes, slots)) return CAIRN_OK;
    set_arena(run, NULL);
    int code = cn_arena_new(slot_bytes, slots, &arena, err);
    set_arena(run, arena);
    return code;
}

int cn_run_need_arena_for(cairn_run *run, const cairn_state *state, cairn_error *err)
{
    return cn_run_need_arena(run, cn_run_piece_bytes(run), bytes_of(run, state), err);
}

/* ----------------------------------------------------------------------------------------------------------------- best */

bool cn_run_is_better(const cairn_run *run, const struct cn_manifest *manifest, double *ret_value)
{
    double value;
    if (!run->best_metric || !manifest->healthy || !manifest->exact) return false;
    if (!cn_keeping_find_metric(manifest, run->best_metric, &value)) return false;
    if (run->best.known && !cn_keep_is_better(value, run->best.value, run->options.best_is_max)) return false;
    *ret_value = value;
    return true;
}

void cn_run_find_best(cairn_run *run, const struct cn_catalog *catalog, const struct cn_manifest *head)
{
    run->best.known = false;
    for (uint64_t i = 0; i < catalog->readable && head; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        double value;
        if (!cn_manifest_on_line(head, entry->manifest.term, entry->manifest.step) || !cn_run_is_better(run, &entry->manifest, &value))
            continue;
        run->best.known = true;
        run->best.value = value;
        snprintf(run->best.name, sizeof run->best.name, "%.63s", entry->name);
        memcpy(run->best.id, entry->manifest.id, sizeof run->best.id);
    }
}

/* ----------------------------------------------------------------------------------------------- when to save and to stop */

int cn_run_is_due(cairn_run *run, uint64_t step, int *ret_due, cairn_error *err)
{
    int code = cn_run_check_process(run, err);
    if (!code && step > CN_MAX_STEP) code = cn_error_set(err, CAIRN_E_USAGE, "step %llu: steps are below 2^63", (unsigned long long)step);
    if (!code) *ret_due = cn_schedule_is_due(&run->schedule, step, cn_os_now_ns());
    return code;
}

void cairn_run_request_save(cairn_run *run)
{
    if (run) atomic_store(&run->schedule.save_requested, true);
}

void cairn_run_request_stop(cairn_run *run)
{
    if (run) atomic_store(&run->schedule.stop_requested, true);
}

int cairn_run_should_stop(const cairn_run *run)
{
    return run && atomic_load(&run->schedule.stops);
}

/* --------------------------------------------------------------------------------------------------------- open and close */

int cn_run_check_process(const cairn_run *run, cairn_error *err)
{
    if (run->process == cn_os_process()) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_FORKED, "%s: this handle belongs to the parent process: open the run in the process that saves",
                        run->dir.path);
}

int cn_run_take_term(cairn_run *run, cairn_error *err)
{
    uint64_t term;
    int code = cn_id_new(run->uuid, err);
    if (!code) code = cn_term_take(&run->dir, run->uuid, &term, err);
    if (code) return code;
    cn_mutex_lock(run->lock); /* the figures show it */
    run->term = term;
    cn_mutex_unlock(run->lock);
    run->term_used = false;
    cn_metricslog_begin(&run->metrics, run->term, 0);
    return CAIRN_OK;
}

static int take_lock(cairn_run *run, cairn_error *err)
{
    int rc = cn_os_lock_take(run->dir.private_dir, CN_NAME_LOCK, &run->run_lock);
    if (rc == -EBUSY)
        return cn_error_set(err, CAIRN_E_LOCKED, "%s: this process has the run open for writing already: close it first", run->dir.path);
    if (rc == -EAGAIN && run->options.take_over) return CAIRN_OK;
    if (rc == -EAGAIN)
        return cn_error_set(err, CAIRN_E_LOCKED, "%s: another process writes this run: stop it, or set take_over to fence it off",
                            run->dir.path);
    if (rc == -EROFS || rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM)
        return cn_error_errno(err, -rc, "%s/.cairn/" CN_NAME_LOCK, run->dir.path);
    if (rc) {
        cairn_error error = CAIRN_ERROR_INIT;
        cn_error_errno(&error, -rc, "%s/.cairn/" CN_NAME_LOCK " cannot be locked", run->dir.path);
        cn_run_message(run, "%s; a second writer is only noticed at its next save", error.message);
    }
    return CAIRN_OK;
}

static int check_options(const cairn_run_options *options, cairn_error *err)
{
    if (options->io_threads > CN_MAX_IO_THREADS) return cn_error_set(err, CAIRN_E_USAGE, "io_threads: at most %d", CN_MAX_IO_THREADS);
    if (options->piece_bytes && options->piece_bytes != DEFAULT_PIECE_BYTES && options->piece_bytes != LARGE_PIECE_BYTES)
        return cn_error_set(err, CAIRN_E_USAGE, "piece_bytes: %llu or %llu", (unsigned long long)DEFAULT_PIECE_BYTES,
                            (unsigned long long)LARGE_PIECE_BYTES);
    if (options->keep_best && !options->best_metric)
        return cn_error_set(err, CAIRN_E_USAGE, "keep_best: best_metric must name what the best are best by");
    if ((unsigned)options->io_mode > CAIRN_IO_BUFFERED)
        return cn_error_set(err, CAIRN_E_USAGE, "io_mode: %d is none", (int)options->io_mode);
    return CAIRN_OK;
}

/* What has a checkpoint's name and is none of this run's would be in the way of that step one day, and may be the newest, moved elsewhere and linked
 * back: training must not go on from an older one without a word. */
static int refuse_strangers(const cairn_run *run, const struct cn_catalog *catalog, cairn_error *err)
{
    for (uint64_t i = catalog->readable; i < catalog->count; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        uint64_t step, term;
        bool is_copy = entry->problem_code == CAIRN_E_EXISTS;
        if (entry->standing == CAIRN_FOREIGN_FOLDER && !is_copy && cn_layout_parse_folder(entry->name, &step, &term))
            return cn_error_set(err, CAIRN_E_FOREIGN, "%s/%s: %s: move it away, or put the folder itself back", run->dir.path, entry->name,
                                cn_error_without_name(entry->problem, entry->name));
    }
    return CAIRN_OK;
}

static int look_around(cairn_run *run, cairn_error *err)
{
    struct cn_catalog catalog;
    if (cn_os_is_volatile(run->dir.dir))
        cn_run_message(run, "%s: this place keeps nothing over a power cut or restart (tmpfs or a volatile overlay)", run->dir.path);
    int code = cn_catalog_load(&run->dir, &catalog, err);
    if (code) return code;
    code = refuse_strangers(run, &catalog, err);
    if (code) {
        cn_catalog_done(&catalog);
        return code;
    }
    run->has_checkpoints = false;
    for (uint64_t i = 0; i < catalog.count; i++) run->has_checkpoints |= catalog.entries[i].standing != CAIRN_FOREIGN_FOLDER;
    run->names_stale = true;
    cn_run_find_best(run, &catalog, catalog.top ? &catalog.top->manifest : NULL);
    cn_catalog_done(&catalog);
    (void)cn_retire_sweep(&run->dir); /* what a killed one left must not wait for the next save */
    cn_retire_empty_trash(&run->dir);
    cn_retire_finish_all(&run->dir);
    cn_tidy_temporaries(&run->dir, run->term);
    return CAIRN_OK;
}

int cn_run_open(const char *path, const cairn_run_options *options, cairn_run **ret_run, cairn_error *err)
{
    static const cairn_run_options defaults = CAIRN_RUN_OPTIONS_INIT;
    if (!options) options = &defaults;
    int code = check_options(options, err);
    if (code) return code;
    cairn_run *run = cn_os_new(sizeof *run);
    if (!run) return cn_error_set(err, CAIRN_E_NOMEM, "no memory to open a run");
    run->options = *options;
    if (!run->options.shard_bytes) run->options.shard_bytes = CN_DEFAULT_SHARD_BYTES;
    run->dir =
        (struct cn_rundir){ .dir = CN_NO_FILE, .private_dir = CN_NO_FILE, .terms = CN_NO_FILE, .staging = CN_NO_FILE, .trash = CN_NO_FILE };
    run->resumed = (struct cn_held){ .dir = CN_NO_FILE, .manifest_file = CN_NO_FILE };
    run->base = (struct cn_base){ .dir = CN_NO_FILE };
    run->status = (cairn_status)CAIRN_STATUS_INIT;
    run->process = cn_os_process();
    cn_schedule_init(&run->schedule, (struct cn_due_rules){ options->save_every_steps, options->save_every_ms }, cn_os_now_ns());
    if (options->best_metric) run->best_metric = cn_os_copy_text(options->best_metric);
    run->origin = cn_origin_ask();
    if (!run->origin || cn_mutex_new(&run->lock) || cn_cond_new(&run->changed) || (options->best_metric && !run->best_metric))
        code = cn_error_set(err, CAIRN_E_NOMEM, "no memory to open a run");
    if (!code) code = cn_metricslog_init(&run->metrics, err);
    if (!code) code = cn_rundir_open(path, &run->dir, err);
    if (!code) code = take_lock(run, err);
    if (!code) code = cn_run_take_term(run, err);
    if (!code) code = look_around(run, err);
    if (code)
        (void)cn_run_close(run, NULL);
    else
        *ret_run = run;
    return code;
}

int cn_run_close(cairn_run *run, cairn_error *err)
{
    int code = cn_job_collect(run, err);
    end_reserve(run);
    cn_held_close(&run->resumed);
    cn_os_lock_give(run->run_lock);
    cn_base_clear(&run->base);
    cn_metricslog_done(&run->metrics);
    cn_rundir_close(&run->dir);
    cn_arena_free(run->arena);
    cn_os_free(run->early.bytes);
    cn_buf_done(&run->table);
    cn_cond_free(run->changed);
    cn_mutex_free(run->lock);
    cn_os_free(run->line.lineage);
    cn_os_free(run->best_metric);
    cn_os_free(run->origin);
    cn_os_free(run);
    return code;
}
