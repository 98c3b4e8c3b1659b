/* One folder, no run (see folder.h): the jobs of a run without terms, lines and retention. */
#include "manager/folder.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "manager/request.h"
#include "manager/resolve.h"
#include "os/os.h"
#include "snapshot/defaults.h"
#include "snapshot/provenance.h"
#include "snapshot/restore.h"
#include "snapshot/save.h"
#include "store/layout.h"
#include "store/standalone.h"

/* Nobody waits for the copy: a few slots do. */
static int make_arena(uint64_t total_bytes, uint64_t limit_bytes, uint32_t threads, struct cn_arena **ret_arena, cairn_error *err)
{
    uint64_t slot = cn_defaults_slot_bytes(CN_BLOCK_BYTES), wanted = cn_min_u64(total_bytes / CN_BLOCK_BYTES, UINT64_C(2) * threads) + 2;
    return cn_arena_new_cold(slot, cn_defaults_slots(slot, wanted, limit_bytes), ret_arena, err);
}

/* ---------------------------------------------------------------------------------------------------------------- saving */

struct folder {
    cn_file parent;
    char path[CN_MAX_PATH_BYTES], name[256];
    struct cn_staging staging;
    struct cn_request request;
    struct cn_save_figures figures;
    struct cn_save save;
    struct cn_arena *arena;
};

static int open_parent(struct folder *folder, const char *path, cairn_error *err)
{
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    if (size >= sizeof folder->path) return cn_error_set(err, CAIRN_E_LIMIT, "the path is too long");
    snprintf(folder->path, sizeof folder->path, "%.*s", (int)size, path);
    char *slash = strrchr(folder->path, '/');
    const char *last = slash ? slash + 1 : folder->path;
    if (!*last || last[0] == '.' || strlen(last) >= sizeof folder->name)
        return cn_error_set(err, CAIRN_E_USAGE, "%s: give the folder a name of its own", folder->path);
    snprintf(folder->name, sizeof folder->name, "%.255s", last);
    char parent[CN_MAX_PATH_BYTES];
    snprintf(parent, sizeof parent, "%.*s", slash ? slash > folder->path ? (int)(slash - folder->path) : 1 : 1, slash ? folder->path : ".");
    int rc = cn_os_open_dir_path(parent, &folder->parent);
    if (rc) return cn_error_errno(err, -rc, "%s: opening the folder above it", folder->path);
    return cn_standalone_check(folder->parent, folder->name, folder->path, err);
}

static int describe(const struct folder *folder, struct cn_manifest *ret_manifest, cairn_error *err)
{
    const struct cn_save *save = &folder->save;
    struct cn_manifest manifest = { .time_ns = cn_os_wall_ns(),
                                    .healthy = !save->nan_count && !save->inf_count,
                                    .exact = 1,
                                    .nan_count = save->nan_count,
                                    .inf_count = save->inf_count,
                                    .items = save->items,
                                    .items_count = save->items_count,
                                    .files = save->rows,
                                    .files_count = save->rows_count };
    int code = cn_id_new(manifest.id, err);
    if (code) return code;
    *ret_manifest = manifest;
    return CAIRN_OK;
}

static int write_files(struct folder *folder, const cairn_folder_options *options, cairn_error *err)
{
    struct cn_save *save = &folder->save;
    const struct cn_request *request = &folder->request;
    int code = cn_save_prepare(save, err);
    if (!code) code = make_arena(save->plan.total_bytes, options->arena_bytes, save->threads, &folder->arena, err);
    if (!code) code = cn_standalone_begin(folder->parent, folder->path, &folder->staging, err);
    save->arena = folder->arena;
    if (!code) code = cn_save_run(save, err);
    if (!code) code = cn_save_finish(save, err);
    if (!code) code = cn_save_put(save, CN_NAME_PROVENANCE, CN_FILE_OWN, request->provenance.data, request->provenance.size, err);
    for (uint64_t i = 0; i < request->files_count && !code; i++)
        code = cn_save_attach(save, request->files[i].name, request->files[i].data, request->files[i].size, err);
    return code ? cn_error_prefix(err, code, "%s: it was not saved", folder->path) : CAIRN_OK;
}

static int save_job(struct folder *folder, const char *path, cairn_state *state, const cairn_folder_options *options,
                    cairn_save_report *report, cairn_error *err)
{
    struct cn_manifest manifest;
    cairn_save_options request = CAIRN_SAVE_OPTIONS_INIT;
    request.attachments = options->attachments;
    request.attachments_count = options->attachments_count;
    request.config = options->config;
    int code = cn_request_check(&request, err);
    if (!code) code = open_parent(folder, path, err);
    cn_auto_free struct cn_origin *origin = cn_origin_ask();
    if (!origin && !code) code = cn_error_set(err, CAIRN_E_NOMEM, "no memory to save a folder");
    if (!code) code = cn_request_make(&request, origin, &folder->request, err);
    if (code) return code;
    folder->save = (struct cn_save){ .state = state,
                                     .staging = &folder->staging,
                                     .io_mode = options->io_mode,
                                     .threads = cn_defaults_threads(options->io_threads, CN_WORK_WAITED_FOR),
                                     .limits = { options->shard_bytes ? options->shard_bytes : CN_DEFAULT_SHARD_BYTES, CN_BLOCK_BYTES },
                                     .figures = &folder->figures };
    code = write_files(folder, options, err);
    if (!code) code = describe(folder, &manifest, err);
    if (!code) code = cn_standalone_commit(&folder->staging, &manifest, folder->name, options->replace, folder->path, err);
    if (code) return code;
    *report = (cairn_save_report){ .struct_size = sizeof *report,
                                   .total_bytes = folder->save.plan.total_bytes,
                                   .written_bytes = cn_save_written_bytes(&folder->save),
                                   .healthy = manifest.healthy };
    snprintf(report->name, sizeof report->name, "%.63s", folder->name);
    memcpy(report->id, manifest.id, sizeof report->id);
    return CAIRN_OK;
}

int cn_folder_save(const char *path, cairn_state *state, const cairn_folder_options *options, cairn_save_report *ret_report,
                   cairn_error *err)
{
    struct folder folder = { .parent = CN_NO_FILE, .staging = { .parent = CN_NO_FILE, .dir = CN_NO_FILE, .training = CN_NO_FILE } };
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    uint64_t started = cn_os_now_ns();
    if (options->io_threads > CN_MAX_IO_THREADS) return cn_error_set(err, CAIRN_E_USAGE, "io_threads: at most %d", CN_MAX_IO_THREADS);
    int code = save_job(&folder, path, state, options, &report, err);
    cn_save_free(&folder.save);
    cn_staging_abandon(&folder.staging);
    cn_request_free(&folder.request);
    cn_arena_free(folder.arena);
    (void)cn_os_close(folder.parent);
    report.elapsed_ns = cn_os_now_ns() - started;
    if (!code && ret_report) *ret_report = report;
    return code;
}

/* --------------------------------------------------------------------------------------------------------------- loading */

struct told {
    const cairn_restore_options *options;
    uint64_t total_bytes;
    atomic_uint_fast64_t stored_bytes;
};

static void tell(void *user)
{
    struct told *told = user;
    if (told->options->progress) told->options->progress(told->options->user, atomic_load(&told->stored_bytes), told->total_bytes);
}

static int fill(const cairn_checkpoint *checkpoint, cairn_state *state, const cairn_restore_options *options, cairn_restore_report *report,
                cairn_error *err)
{
    int code = cn_restore_choose(options, checkpoint, &state, err);
    if (code) return code;
    struct told told = { .options = options };
    struct cn_restore restore = { .state = state,
                                  .checkpoint = checkpoint,
                                  .options = options,
                                  .threads = cn_defaults_threads(0, CN_WORK_WAITED_FOR),
                                  .stored_bytes = &told.stored_bytes,
                                  .tick = tell,
                                  .user = &told };
    code = cn_restore_prepare(&restore, err);
    told.total_bytes = restore.pieces.total_bytes;
    if (!code) code = make_arena(restore.pieces.total_bytes, 0, restore.threads, &restore.arena, err);
    if (!code) {
        tell(&told);
        code = cn_restore_run(&restore, err);
        if (code && atomic_load(&restore.touched))
            code = cn_error_torn(err, code, "the load failed half-way and the bound memory is a mixture now: load again or stop");
    }
    if (!code) tell(&told);
    if (!code) cn_restore_report(&restore, report);
    cn_arena_free(restore.arena);
    cn_restore_free(&restore);
    return code;
}

int cn_folder_load(const char *store, const char *name, cairn_state *state, const cairn_restore_options *options,
                   cairn_restore_report *ret_report, cairn_error *err)
{
    cairn_checkpoint *checkpoint;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    uint64_t started = cn_os_now_ns();
    int code = cn_resolve_open(store, name, NULL, &checkpoint, err);
    if (code) return code;
    if (ret_report) report.leaf = ret_report->leaf, report.user = ret_report->user;
    code = fill(checkpoint, state, options, &report, err);
    report.step = checkpoint->manifest.step;
    report.term = checkpoint->manifest.term;
    report.epoch = checkpoint->manifest.epoch;
    memcpy(report.id, checkpoint->manifest.id, sizeof report.id);
    cn_checkpoint_close(checkpoint);
    report.elapsed_ns = cn_os_now_ns() - started;
    if (!code && ret_report) *ret_report = report;
    return code;
}
