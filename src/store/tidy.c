/* What makes a run's folder pleasant to look at: names that say what the manifests say, and the symlinks latest and best. Hints only; every failure is a
 * message and nothing more. */
#include "store/tidy.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/limits.h"
#include "store/catalog.h"
#include "store/layout.h"

static void tell(const struct cn_rundir *run, const char *name, int rc, void (*message)(void *, const char *), void *user)
{
    cairn_error error = CAIRN_ERROR_INIT;
    cn_error_errno(&error, -rc, "%s/%s: renaming it", run->path, name);
    if (message) message(user, error.message);
}

/* A superseded one must not have the name of one of the current line. */
static bool is_in_the_way(const struct cn_catalog_entry *entry, char ret_name[CN_FOLDER_NAME_BYTES])
{
    cn_layout_folder(entry->manifest.step, entry->manifest.term, ret_name);
    return entry->standing == CAIRN_SUPERSEDED && strcmp(ret_name, entry->name) != 0;
}

bool cn_tidy_names_are_right(const struct cn_catalog *catalog)
{
    char right[CN_FOLDER_NAME_BYTES];
    for (uint64_t i = 0; i < catalog->readable; i++)
        if (is_in_the_way(&catalog->entries[i], right)) return false;
    return true;
}

/* One of the line keeps the name it has, for nobody can give it another one safely: a power cut may keep the rename that takes a name, and drop the one
 * by which some other process freed it a moment ago. What bears the term in its name takes no name that was ever anybody else's. */
bool cn_tidy_names(const struct cn_rundir *run, void (*message)(void *, const char *), void *user)
{
    struct cn_catalog catalog;
    if (cn_catalog_load(run, &catalog, NULL)) return false;
    for (uint64_t i = 0; i < catalog.readable; i++) {
        char right[CN_FOLDER_NAME_BYTES];
        if (!is_in_the_way(&catalog.entries[i], right)) continue;
        int rc = cn_os_rename_new(run->dir, catalog.entries[i].name, run->dir, right);
        if (rc && rc != -ENOENT && rc != -EEXIST) tell(run, catalog.entries[i].name, rc, message, user);
    }
    cn_catalog_done(&catalog);
    return true;
}

/* A symlink is replaced by renaming a new one over it; a real file or folder of that name is the user's and stays. */
static int point(const struct cn_rundir *run, const char *link, const char *target)
{
    char now[CN_FOLDER_NAME_BYTES + 1], id[CN_ID_BYTES], temporary[64];
    struct cn_file_info info;
    int rc = cn_os_stat_at(run->dir, link, &info);
    if (!rc && info.type != CN_TYPE_SYMLINK) return -EEXIST;
    if (!rc && !cn_os_read_link(run->dir, link, now, sizeof now) && !strcmp(now, target)) return 0;
    if (cn_id_new(id, NULL)) return -EIO;
    snprintf(temporary, sizeof temporary, CN_PREFIX_TEMPORARY "%s", id);
    rc = cn_os_symlink(target, run->private_dir, temporary);
    if (!rc) rc = cn_os_rename_over(run->private_dir, temporary, run->dir, link);
    if (rc) (void)cn_os_unlink(run->private_dir, temporary);
    return rc;
}

void cn_tidy_links(const struct cn_rundir *run, const char *latest_name, const char *best_name, void (*message)(void *, const char *),
                   void *user)
{
    const char *const links[][2] = { { CN_NAME_LATEST, latest_name }, { CN_NAME_BEST, best_name } };
    for (size_t i = 0; i < 2; i++) {
        char text[CN_MAX_PATH_BYTES + 256], reason[128] = "";
        int rc = links[i][1] ? point(run, links[i][0], links[i][1]) : 0;
        if (!rc || !message) continue;
        cairn_error error = CAIRN_ERROR_INIT;
        cn_error_errno(&error, -rc, "%s", links[i][0]);
        snprintf(reason, sizeof reason, "%.120s", error.message);
        snprintf(text, sizeof text, "%s: the symlink was not updated (%s)%s", run->path, reason,
                 i ? "; what it should lead to may be pruned: tag it" : "; nothing depends on it");
        message(user, text);
    }
}

/* .tmp-<id> in .cairn; .tmp-<id>-<number> in terms/ */
static bool is_temporary(const char *name, const char **ret_rest)
{
    size_t prefix = strlen(CN_PREFIX_TEMPORARY), id = CN_ID_BYTES - 1;
    if (strncmp(name, CN_PREFIX_TEMPORARY, prefix) || strlen(name) < prefix + id || !cn_id_is(name + prefix, id)) return false;
    *ret_rest = name + prefix + id;
    return true;
}

static int sweep_private(void *user, const char *name)
{
    const struct cn_rundir *run = user;
    const char *rest;
    if (is_temporary(name, &rest) && !*rest) (void)cn_os_unlink(run->private_dir, name);
    return 0;
}

struct given {
    const struct cn_rundir *run;
    uint64_t term;
};

static int sweep_term(void *user, const char *name)
{
    const struct given *given = user;
    const char *rest;
    uint64_t number;
    if (!is_temporary(name, &rest) || *rest++ != '-' || !cn_decimal_take(&rest, &number) || *rest) return 0;
    if (number <= given->term) (void)cn_os_unlink(given->run->terms, name);
    return 0;
}

void cn_tidy_temporaries(const struct cn_rundir *run, uint64_t term)
{
    struct given given = { run, term };
    (void)cn_os_list(run->private_dir, sweep_private, (void *)(uintptr_t)run);
    (void)cn_os_list(run->terms, sweep_term, &given);
}
