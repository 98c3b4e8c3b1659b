/* The public calls on checkpoints by name: opening and verifying. */
#include <string.h>

#include "base/limits.h"
#include "manager/resolve.h"
#include "manager/sharers.h"
#include "snapshot/verify.h"

int cairn_checkpoint_open(const char *store, const char *name, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    if (!name || !*name || !ret_checkpoint)
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_checkpoint_open: name and ret_checkpoint must be given");
    return cn_resolve_open(store, name, ret_checkpoint, err);
}

struct finder {
    const cairn_verify_options *options;
    cairn_verify_report report;
};

static void tell(void *user, const char *file, int code, const char *message)
{
    struct finder *finder = user;
    finder->report.findings++;
    cairn_damage damage = { .file = file, .block = CAIRN_NO_OFFSET, .code = code, .message = message };
    if (finder->options->damage) finder->options->damage(finder->options->user, &damage);
}

/* What cannot be opened is searched by the quick check, which needs the manifest alone; else the failed open is the one finding. */
static int verify_unopened(const char *path, int code, const cairn_error *problem, const cairn_verify_options *options,
                           cairn_verify_report *ret_report, cairn_error *err)
{
    struct finder finder = { options, CAIRN_VERIFY_REPORT_INIT };
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    cn_file dir = CN_NO_FILE;
    finder.report.digests_known = 1;
    cn_pool_init(&pool, cn_os_alloc(), 64 * CN_MAX_MANIFEST_BYTES);
    if (!cn_os_open_dir_path(path, &dir) && !cn_held_open(dir, ".", &pool, &held, &manifest, NULL)) {
        (void)cn_check_quick(held.dir, &manifest, tell, &finder, NULL);
        cn_held_close(&held);
    }
    (void)cn_os_close(dir);
    cn_pool_done(&pool);
    if (!finder.report.findings) tell(&finder, path, code, problem->message);
    if (ret_report) *ret_report = finder.report;
    if (err) *err = *problem;
    return code;
}

static bool is_finding(int code)
{
    return code <= CAIRN_E_FORMAT && code >= CAIRN_E_PATH;
}

/* Stands between the verifier and the caller's callback: adds who shares a damaged file. Called for one finding at a time. */
struct sharing {
    const cairn_verify_options *options;
    const char *path;
    char file[CN_MAX_NAME_BYTES + 1]; /* the one last searched for */
    char names[4096];
};

static void tell_with_sharers(void *user, const cairn_damage *damage)
{
    struct sharing *sharing = user;
    cairn_damage told = *damage;
    if (damage->file && strlen(damage->file) < sizeof sharing->file && strcmp(damage->file, sharing->file)) {
        memcpy(sharing->file, damage->file, strlen(damage->file) + 1);
        cn_sharers_find(sharing->path, damage->file, sharing->names, sizeof sharing->names);
    }
    if (sharing->names[0]) told.shared_with = sharing->names;
    if (sharing->options->damage) sharing->options->damage(sharing->options->user, &told);
}

static void tell_progress(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    const struct sharing *sharing = user;
    if (sharing->options->progress) sharing->options->progress(sharing->options->user, done_bytes, total_bytes);
}

static void tell_warning(void *user, const char *message)
{
    const struct sharing *sharing = user;
    if (sharing->options->warning) sharing->options->warning(sharing->options->user, message);
}

int cairn_verify(const char *store, const char *name, const cairn_verify_options *options, cairn_verify_report *ret_report,
                 cairn_error *err)
{
    static const cairn_verify_options defaults = CAIRN_VERIFY_OPTIONS_INIT;
    char path[CN_MAX_PATH_BYTES];
    cairn_checkpoint *checkpoint;
    cairn_error problem = CAIRN_ERROR_INIT;
    if (!name || !*name) return cn_error_set(err, CAIRN_E_USAGE, "cairn_verify: name must be given");
    if (!options) options = &defaults;
    if (options->struct_size < sizeof *options)
        return cn_error_set(err, CAIRN_E_USAGE, "verify options: struct_size is not set; start from CAIRN_VERIFY_OPTIONS_INIT");
    int code = cn_resolve_path(store, name, path, sizeof path, err);
    if (code) return code;
    code = cn_checkpoint_open_path(path, CAIRN_IO_AUTO, &checkpoint, &problem);
    if (code && is_finding(code)) return verify_unopened(path, code, &problem, options, ret_report, err);
    if (code) {
        if (err) *err = problem;
        return code;
    }
    struct sharing sharing = { .options = options, .path = path };
    cairn_verify_options inner = *options;
    inner.damage = tell_with_sharers;
    inner.progress = options->progress ? tell_progress : NULL;
    inner.warning = tell_warning;
    inner.user = &sharing;
    code = cn_verify_checkpoint(checkpoint, &inner, ret_report, err);
    cn_checkpoint_close(checkpoint);
    return code;
}
