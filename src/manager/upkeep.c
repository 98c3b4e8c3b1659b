/* Upkeep (see upkeep.h). A name is followed to its folder once; from there on everything goes through descriptors, and the id is read through them. */
#include "manager/upkeep.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "manager/keeping.h"
#include "manager/resolve.h"
#include "snapshot/drop.h"
#include "snapshot/place.h"
#include "store/catalog.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/marks.h"
#include "store/retire.h"

/* A run or any other folder is told from a checkpoint before anything is tried with it. */
static int check_place(const struct cn_place *place, cairn_error *err)
{
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    int rc = cn_os_open_dir(place->dir, place->name, &dir);
    if (rc == -ENOENT) return cn_error_set(err, CAIRN_E_GONE, "%s: removed while it was looked at: list again", place->path);
    if (rc) return cn_error_opening(err, -rc, place->path);
    if (!cn_os_stat_at(dir, CN_NAME_MANIFEST, &info)) return CAIRN_OK;
    if (!cn_os_stat_at(dir, CN_NAME_RUN, &info))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: a run: name a checkpoint of it, as in %s@latest", place->path, place->path);
    return cn_error_set(err, CAIRN_E_NOTFOUND, "%s: not a checkpoint: it has no " CN_NAME_MANIFEST, place->path);
}

/* Where a checkpoint's name leads, and to which one if a selector chose it. To be closed on success. */
static int find_place(const char *store, const char *name, struct cn_place *ret_place, char ret_id[CN_ID_BYTES], cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES];
    int code = cn_resolve_path(store, name, path, sizeof path, ret_id, err);
    if (!code) code = cn_place_find(path, ret_place, err);
    if (code) return code;
    if (ret_place->is_link)
        code = cn_error_set(err, CAIRN_E_PATH, "%s: a symbolic link, not a checkpoint's folder: name the folder itself", ret_place->path);
    else if (!ret_place->is_named)
        code = cn_error_set(err, CAIRN_E_USAGE, "%s: name the checkpoint's folder itself, in a folder that can be read", ret_place->path);
    if (!code) code = check_place(ret_place, err);
    if (code) cn_place_close(ret_place);
    return code;
}

/* -------------------------------------------------------------------------------------------------------------- marking */

static int check_change(const cairn_mark_options *options, cairn_error *err)
{
    int code = CAIRN_OK;
    if ((options->add_tags_count && !options->add_tags) || (options->remove_tags_count && !options->remove_tags) ||
        (options->metrics_count && !options->metrics))
        return cn_error_set(err, CAIRN_E_USAGE, "mark options: a count without its list");
    if (options->pin < -1 || options->pin > 1) return cn_error_set(err, CAIRN_E_USAGE, "pin: 1, 0 or -1");
    for (size_t i = 0; i < options->add_tags_count && !code; i++) code = cn_layout_check_tag(options->add_tags[i], err);
    for (size_t i = 0; i < options->remove_tags_count && !code; i++) code = cn_layout_check_tag(options->remove_tags[i], err);
    for (size_t i = 0; i < options->metrics_count && !code; i++) code = cn_layout_check_metric(options->metrics[i].name, err);
    return code;
}

int cn_upkeep_mark(const char *store, const char *name, const cairn_mark_options *options, cairn_error *err)
{
    struct cn_place place;
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    char id[CN_ID_BYTES];
    struct cn_marks_change change = { .add_tags = options->add_tags,
                                      .add_tags_count = options->add_tags_count,
                                      .remove_tags = options->remove_tags,
                                      .remove_tags_count = options->remove_tags_count,
                                      .metrics = options->metrics,
                                      .metrics_count = options->metrics_count,
                                      .pin = options->pin,
                                      .must_match = options->must_match != 0 };
    int code = check_change(options, err);
    if (!code) code = find_place(store, name, &place, id, err);
    if (code) return code;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    code = cn_held_open(place.dir, place.name, &pool, &held, &manifest, err);
    if (code == CAIRN_E_NOTFOUND) code = cn_error_set(err, CAIRN_E_GONE, "removed while it was looked at: list again");
    if (!code) {
        code = cn_held_check_id(place.name, &manifest, id, err);
        if (!code) code = cn_marks_change(held.dir, &manifest, &change, err);
        cn_held_close(&held);
    }
    cn_pool_done(&pool);
    cn_place_close(&place);
    return code ? cn_error_prefix(err, code, "%s", place.path) : CAIRN_OK;
}

/* ------------------------------------------------------------------------------------------------- dropping and removing */

/* The entry of a run that has this folder, or NULL. */
static const struct cn_catalog_entry *find_entry(const struct cn_catalog *catalog, const char *name)
{
    for (uint64_t i = 0; i < catalog->readable; i++)
        if (!strcmp(catalog->entries[i].name, name)) return &catalog->entries[i];
    return NULL;
}

/* Does it lie in a run? One that has lost its run.json must not pass for none. */
static int find_run(const struct cn_place *place, bool *ret_is_in_run, cairn_error *err)
{
    struct cn_file_info info;
    int rc = cn_os_stat_at(place->dir, CN_NAME_RUN, &info);
    *ret_is_in_run = !rc;
    if (rc && rc != -ENOENT) return cn_error_errno(err, -rc, "%s/" CN_NAME_RUN ": looking at it", place->parent);
    if (rc && cn_rundir_lost_description(place->dir))
        return cn_error_set(err, CAIRN_E_FORMAT, "%s: the run's " CN_NAME_RUN " is missing: put it back from a copy of the run first",
                            place->path);
    return CAIRN_OK;
}

/* Outside a run nothing speaks against it; within one the newest ones are what a resume needs. */
static int may_drop(const struct cn_place *place, cairn_error *err)
{
    struct cn_rundir run;
    struct cn_catalog catalog;
    bool is_in_run;
    int code = find_run(place, &is_in_run, err);
    if (code || !is_in_run) return code;
    code = cn_rundir_open_read(place->parent, &run, err);
    if (code) return code;
    code = cn_catalog_load(&run, &catalog, err);
    if (!code) {
        struct cn_keeping keeping = { 0 };
        code = cn_keeping_decide(&keeping, &run, &catalog, err);
        const struct cn_catalog_entry *entry = find_entry(&catalog, place->name);
        if (!code && entry && (entry->kept & CN_KEPT_NEEDED))
            code = cn_error_set(err, CAIRN_E_USAGE, "%s: it is what the run resumes from: nothing of it is dropped", place->path);
        cn_catalog_done(&catalog);
    }
    /* the newer one that we saw may be another process's unfinished commit: a cut must not take it away again when the item is gone */
    int rc = code ? 0 : cn_os_sync_dir(run.dir);
    if (rc) code = cn_error_errno(err, -rc, "%s: syncing it", run.path);
    cn_rundir_close(&run);
    return code;
}

int cn_upkeep_drop(const char *store, const char *name, const char *item, cairn_error *err)
{
    struct cn_place place;
    char id[CN_ID_BYTES];
    int code = find_place(store, name, &place, id, err);
    if (code) return code;
    code = may_drop(&place, err);
    if (!code) code = cn_drop_item(place.dir, place.name, place.path, id, item, err);
    cn_place_close(&place);
    return code;
}

static int find_id(const struct cn_rundir *run, const struct cn_place *place, char ret_id[CN_ID_BYTES], cairn_error *err)
{
    struct cn_catalog catalog;
    int code = cn_catalog_load(run, &catalog, err);
    if (code) return code;
    const struct cn_catalog_entry *entry = find_entry(&catalog, place->name);
    if (entry)
        memcpy(ret_id, entry->manifest.id, CN_ID_BYTES);
    else
        code =
            cn_error_set(err, CAIRN_E_NOTFOUND, "%s: not a checkpoint of this run; remove what is damaged or foreign by hand", place->path);
    cn_catalog_done(&catalog);
    return code;
}

int cn_upkeep_remove(const char *store, const char *name, cairn_error *err)
{
    struct cn_place place;
    struct cn_rundir run;
    char id[CN_ID_BYTES];
    bool is_in_run;
    int code = find_place(store, name, &place, id, err);
    if (code) return code;
    code = find_run(&place, &is_in_run, err);
    if (!code && !is_in_run) code = cn_error_set(err, CAIRN_E_USAGE, "%s: it lies in no run: remove the folder by hand", place.path);
    cn_place_close(&place);
    if (!code) code = cn_rundir_open(place.parent, &run, err);
    if (code) return code;
    if (!id[0]) code = find_id(&run, &place, id, err);
    struct cn_keeping keeping = { 0 };
    struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &keeping, .only_id = id, .waits = true };
    if (!code) code = cn_retire(&run, &retire, err);
    cn_rundir_close(&run);
    return code;
}

/* --------------------------------------------------------------------------------------------------- keeping, by rules */

struct telling {
    const cairn_keep_options *options;
    cairn_keep_report report;
};

static void tell_removed(void *user, const struct cn_catalog_entry *entry)
{
    struct telling *telling = user;
    telling->report.removed++;
    if (telling->options->removed) telling->options->removed(telling->options->user, entry->name);
}

static void tell_kept(void *user, const struct cn_catalog_entry *entry)
{
    const struct telling *telling = user;
    if (telling->options->kept) telling->options->kept(telling->options->user, entry->name, entry->kept);
}

static void tell_message(void *user, const char *text)
{
    const struct telling *telling = user;
    if (telling->options->message) telling->options->message(telling->options->user, text);
}

static int count_rest(const struct cn_rundir *run, struct telling *telling, cairn_error *err)
{
    struct cn_catalog catalog;
    int code = cn_catalog_load(run, &catalog, err);
    if (code) return code;
    telling->report.kept = catalog.readable - (telling->options->dry_run ? telling->report.removed : 0);
    cn_catalog_done(&catalog);
    return CAIRN_OK;
}

int cn_upkeep_keep(const char *run_path, const cairn_keep_options *options, cairn_keep_report *ret_report, cairn_error *err)
{
    struct cn_rundir run;
    struct telling telling = { options, CAIRN_KEEP_REPORT_INIT };
    struct cn_keeping keeping = { .rules = { options->last, options->best, options->metric_is_max },
                                  .metric = options->metric,
                                  .metric_must_be_known = true };
    int code = cn_rundir_open_read(run_path, &run, err); /* opening for writing would make a run that is not there */
    if (!code && options->dry_run && (code = cn_rundir_refuse_foreign(&run, err))) cn_rundir_close(&run);
    if (!code && !options->dry_run) {
        cn_rundir_close(&run);
        code = cn_rundir_open(run_path, &run, err);
    }
    if (code) return code;
    struct cn_retire retire = { .decide = cn_keeping_decide,
                                .decider = &keeping,
                                .waits = true,
                                .dry_run = options->dry_run,
                                .each = tell_removed,
                                .stays = tell_kept,
                                .message = tell_message,
                                .user = &telling };
    code = cn_retire(&run, &retire, err);
    if (!code) code = count_rest(&run, &telling, err);
    cn_rundir_close(&run);
    if (!code && ret_report) *ret_report = telling.report;
    if (!code && retire.refused.code) {
        code = retire.refused.code;
        if (err) *err = retire.refused;
    }
    return code;
}
