/* Verifying by name (see verify_named.h). It writes nothing. A checkpoint that was removed meanwhile is GONE: that is no damage. */
#include "manager/verify_named.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "manager/resolve.h"
#include "manager/sharers.h"
#include "snapshot/place.h"
#include "snapshot/verify.h"
#include "store/check.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/marks.h"
#include "store/remains.h"

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

/* What is left of a checkpoint might otherwise pass for somebody's folder of weights. */
static enum cn_remains look_at_remains(const char *path)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    enum cn_remains remains;
    return cn_os_open_dir_path(path, &dir) || cn_remains_look_in(dir, &remains) ? CN_REMAINS_FOREIGN : remains;
}

static int tell_lost(const char *path, const cairn_verify_options *options, cairn_verify_report *ret_report, cairn_error *err)
{
    struct finder finder = { options, CAIRN_VERIFY_REPORT_INIT };
    finder.report.digests_known = 1;
    tell(&finder, CN_NAME_MANIFEST, CAIRN_E_TRUNCATED, CN_REMAINS_LOST_TEXT);
    if (ret_report) *ret_report = finder.report;
    return cn_error_set(err, CAIRN_E_TRUNCATED, "%s: " CN_REMAINS_LOST_TEXT, path);
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

static void warn(const cairn_verify_options *options, cairn_verify_report *report, const char *text)
{
    report->warnings++;
    if (options->warning) options->warning(options->user, text);
}

/* Marks belong to a checkpoint, but no manifest lists them. What is wrong with them is the one finding; those that may not be read, or of a newer version,
 * cannot be checked. */
static int check_marks(const cairn_checkpoint *checkpoint, const char *path, const cairn_verify_options *options,
                       cairn_verify_report *report, cairn_error *err)
{
    struct finder finder = { options, *report };
    struct cn_pool pool;
    struct cn_marks marks;
    cairn_error problem = CAIRN_ERROR_INIT;
    char file[32];
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_marks_load(checkpoint->dir, &checkpoint->manifest, &pool, &marks, &problem);
    cn_pool_done(&pool);
    if (!code || code == CAIRN_E_GONE) return CAIRN_OK;
    snprintf(file, sizeof file, "%.*s", (int)strcspn(problem.message, ":"), problem.message);
    if (is_finding(code))
        tell(&finder, file, code, problem.message);
    else
        cn_error_prefix(&problem, code, "%s", path);
    *report = finder.report;
    if (!is_finding(code) && !err) warn(options, report, problem.message); /* what is returned is the damage before it */
    if (err) *err = problem;
    return code;
}

static void look_at_name(const char *path, const cairn_checkpoint *checkpoint, const cairn_verify_options *options,
                         cairn_verify_report *report)
{
    const char *slash = strrchr(path, '/');
    char odd[CN_ODD_NAME_BYTES], text[CN_MAX_PATH_BYTES + CN_ODD_NAME_BYTES + 2];
    if (!cn_layout_name_is_odd(slash ? slash + 1 : path, checkpoint->manifest.step, odd)) return;
    snprintf(text, sizeof text, "%s: %s", path, odd);
    warn(options, report, text);
}

static int verify_open(const cairn_checkpoint *checkpoint, const char *path, const cairn_verify_options *options,
                       cairn_verify_report *ret_report, cairn_error *err)
{
    cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
    struct sharing sharing = { .options = options, .checkpoint = checkpoint };
    cairn_verify_options inner = *options;
    inner.damage = tell_with_sharers;
    inner.progress = options->progress ? tell_progress : NULL;
    inner.warning = tell_warning;
    inner.user = &sharing;
    int code = cn_verify_checkpoint(checkpoint, &inner, &report, err);
    if (code && !report.findings) return code;
    if (checkpoint->source == CAIRN_SOURCE_CHECKPOINT) {
        int marks = check_marks(checkpoint, path, options, &report, code ? NULL : err);
        if (!code) code = marks;
        look_at_name(path, checkpoint, options, &report);
    }
    if (ret_report) *ret_report = report;
    return code;
}

int cn_verify_named(const char *store, const char *name, const cairn_verify_options *options, cairn_verify_report *ret_report,
                    cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES] = "";
    cairn_checkpoint *checkpoint = NULL;
    cairn_error problem = CAIRN_ERROR_INIT;
    int code = cn_resolve_open(store, name, path, &checkpoint, &problem);
    bool is_other = !code && checkpoint->source != CAIRN_SOURCE_CHECKPOINT;
    enum cn_remains remains = path[0] && (code || is_other) ? look_at_remains(path) : CN_REMAINS_NONE;
    if (remains == CN_REMAINS_LOST || (remains == CN_REMAINS_RETIRED && is_other)) {
        cn_checkpoint_close(checkpoint);
        if (remains == CN_REMAINS_LOST) return tell_lost(path, options, ret_report, err);
        return cn_error_set(err, CAIRN_E_GONE, "%s: it was removed; what is left of it waits for the next who removes", path);
    }
    if (code && path[0] && is_finding(code)) return verify_unopened(path, &problem, options, ret_report, err);
    if (code) {
        if (err) *err = problem;
        return code;
    }
    code = verify_open(checkpoint, path, options, ret_report, err);
    cn_checkpoint_close(checkpoint);
    return code;
}
