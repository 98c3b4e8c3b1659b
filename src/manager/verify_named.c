/* Verifying by name (see verify_named.h). It writes nothing. A checkpoint that was removed meanwhile is GONE: that is no damage. */
#include "manager/verify_named.h"

#include <string.h>

#include "base/limits.h"
#include "manager/resolve.h"
#include "manager/sharers.h"
#include "snapshot/place.h"
#include "snapshot/verify.h"
#include "store/check.h"
#include "store/held.h"

/* ---------------------------------------------------------------------------------------------------------- not to be opened */

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

/* The quick check needs the manifest alone: its failure. */
static int check_held(const char *path, struct finder *finder, struct cn_pool *pool, cairn_error *err)
{
    struct cn_place place;
    struct cn_held held;
    struct cn_manifest manifest;
    int code = cn_place_find(path, &place, err);
    if (code) return code;
    code = cn_held_open(place.dir, place.name, pool, &held, &manifest, err);
    if (!code) {
        (void)cn_check_quick(held.dir, &manifest, tell, finder, NULL);
        cn_held_close(&held);
    }
    cn_place_close(&place);
    return code;
}

/* What the quick check finds; else the failed open is the one finding. */
static int verify_unopened(const char *path, const cairn_error *problem, const cairn_verify_options *options,
                           cairn_verify_report *ret_report, cairn_error *err)
{
    struct finder finder = { options, CAIRN_VERIFY_REPORT_INIT };
    struct cn_pool pool;
    finder.report.digests_known = 1;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = check_held(path, &finder, &pool, err);
    cn_pool_done(&pool);
    if (code == CAIRN_E_GONE) return code;
    if (!finder.report.findings) tell(&finder, path, problem->code, problem->message);
    if (ret_report) *ret_report = finder.report;
    if (err) *err = *problem;
    return problem->code;
}

static bool is_finding(int code)
{
    return code <= CAIRN_E_FORMAT && code >= CAIRN_E_PATH;
}

/* --------------------------------------------------------------------------------------------------------------------- open */

/* Stands between the verifier and the caller's callback: adds who shares a damaged file. Called for one finding at a time. */
struct sharing {
    const cairn_verify_options *options;
    const cairn_checkpoint *checkpoint;
    char file[CN_MAX_NAME_BYTES + 1]; /* the one last searched for */
    char names[4096];
};

static void tell_with_sharers(void *user, const cairn_damage *damage)
{
    struct sharing *sharing = user;
    cairn_damage told = *damage;
    if (sharing->checkpoint->source == CAIRN_SOURCE_CHECKPOINT && damage->file && strlen(damage->file) < sizeof sharing->file &&
        strcmp(damage->file, sharing->file)) {
        memcpy(sharing->file, damage->file, strlen(damage->file) + 1);
        cn_sharers_find(sharing->checkpoint->dir, damage->file, sharing->names, sizeof sharing->names);
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

static int verify_open(const cairn_checkpoint *checkpoint, const cairn_verify_options *options, cairn_verify_report *ret_report,
                       cairn_error *err)
{
    struct sharing sharing = { .options = options, .checkpoint = checkpoint };
    cairn_verify_options inner = *options;
    inner.damage = tell_with_sharers;
    inner.progress = options->progress ? tell_progress : NULL;
    inner.warning = tell_warning;
    inner.user = &sharing;
    return cn_verify_checkpoint(checkpoint, &inner, ret_report, err);
}

int cn_verify_named(const char *store, const char *name, const cairn_verify_options *options, cairn_verify_report *ret_report,
                    cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES] = "";
    cairn_checkpoint *checkpoint;
    cairn_error problem = CAIRN_ERROR_INIT;
    int code = cn_resolve_open(store, name, path, &checkpoint, &problem);
    if (code && path[0] && is_finding(code)) return verify_unopened(path, &problem, options, ret_report, err);
    if (code) {
        if (err) *err = problem;
        return code;
    }
    code = verify_open(checkpoint, options, ret_report, err);
    cn_checkpoint_close(checkpoint);
    return code;
}
