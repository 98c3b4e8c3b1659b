/* Names of checkpoints as people write them (see resolve.h). A selector is looked up in the run's manifests; folder names are not trusted. */
#include "manager/resolve.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/held.h"
#include "store/layout.h"

static int not_found(cairn_error *err, const char *store, const char *name)
{
    struct cn_shown shown, shown_store;
    bool in_store = store && name[0] != '/';
    return cn_error_set(err, CAIRN_E_NOTFOUND,
                        "%s: no such file or folder%s%s, and not of the form RUN@STEP, RUN@latest, RUN@best or RUN@TAG",
                        cn_show_text(&shown, name), in_store ? ", here or in " : "", in_store ? cn_show_text(&shown_store, store) : "");
}

static bool join(const char *store, const char *run, size_t run_size, char *ret_path, size_t size)
{
    int count = store && run[0] != '/' ? snprintf(ret_path, size, "%s/%.*s", store, (int)run_size, run)
                                       : snprintf(ret_path, size, "%.*s", (int)run_size, run);
    return count > 0 && (size_t)count < size;
}

/* Whether something stands at path. What cannot be told (no permission, a loop of links) is an error, not a no. */
static int look_for(const char *path, bool *ret_there, cairn_error *err)
{
    struct cn_file_info info;
    struct cn_shown shown;
    int rc = cn_os_stat_path(path, &info);
    if (rc && rc != -ENOENT && rc != -ENOTDIR && rc != -ENAMETOOLONG)
        return cn_error_errno(err, -rc, "%s: looking for it", cn_show_text(&shown, path));
    *ret_there = !rc;
    return CAIRN_OK;
}

static bool parse_step(const char *selector, uint64_t *ret_step, uint64_t *ret_term)
{
    char folder[CN_FOLDER_NAME_BYTES];
    int count = snprintf(folder, sizeof folder, "checkpoint-%s", selector);
    return count > 0 && (size_t)count < sizeof folder && cn_layout_parse_folder(folder, ret_step, ret_term);
}

/* What one of the run's links leads to, readable or not. NULL: nothing of the run. */
static const struct cn_catalog_entry *follow(const struct cn_rundir *run, const struct cn_catalog *catalog, const char *link)
{
    char target[CN_FOLDER_NAME_BYTES + 1];
    if (cn_os_read_link(run->dir, link, target, sizeof target)) return NULL;
    for (uint64_t i = 0; i < catalog->count; i++)
        if (!strcmp(catalog->entries[i].name, target)) return &catalog->entries[i];
    return NULL;
}

/* One whose manifest cannot be read, by its name. from: its step is that or a later one. */
static const struct cn_catalog_entry *find_damaged(const struct cn_catalog *catalog, uint64_t from, uint64_t to, uint64_t wanted_term)
{
    for (uint64_t i = catalog->count; i-- > catalog->readable;) {
        uint64_t step, term;
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->standing != CAIRN_DAMAGED || !cn_layout_parse_folder(entry->name, &step, &term)) continue;
        if (step >= from && step <= to && term == wanted_term) return entry;
    }
    return NULL;
}

/* The newest one. Unless the link says that it is that, what cannot be read may be newer: if its name has a later step, or the newest one that can be
 * read has a name that says it was left behind. */
static const struct cn_catalog_entry *find_latest(const struct cn_rundir *run, const struct cn_catalog *catalog)
{
    const struct cn_catalog_entry *linked = follow(run, catalog, CN_NAME_LATEST), *top = catalog->top;
    if (linked && linked == top) return top;
    uint64_t step, term = 1;
    bool left_behind = !top || !cn_layout_parse_folder(top->name, &step, &term) || term;
    if (left_behind && linked && linked->standing == CAIRN_DAMAGED) return linked;
    const struct cn_catalog_entry *damaged = find_damaged(catalog, left_behind ? 0 : top->manifest.step + 1, UINT64_MAX, 0);
    return damaged ? damaged : top;
}

static const struct cn_catalog_entry *find_step(const struct cn_catalog *catalog, uint64_t step, uint64_t term)
{
    const struct cn_catalog_entry *entry = cn_catalog_find(catalog, step, term);
    return entry ? entry : find_damaged(catalog, step, step, term);
}

/* The newest one on the line that carries the tag, else the newest at all. */
static const struct cn_catalog_entry *find_tag(const struct cn_catalog *catalog, const char *tag)
{
    const struct cn_catalog_entry *found = NULL;
    for (uint64_t i = 0; i < catalog->readable; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        for (uint64_t k = 0; k < entry->manifest.tags_count; k++)
            if (!strcmp(entry->manifest.tags[k], tag) && (!found || entry->standing == CAIRN_CURRENT || found->standing != CAIRN_CURRENT))
                found = entry;
    }
    return found;
}

/* May be one that cannot be read: then that is what was meant, and no other. */
static const struct cn_catalog_entry *select_entry(const struct cn_rundir *run, const struct cn_catalog *catalog, const char *selector)
{
    uint64_t step, term;
    if (!strcmp(selector, CN_NAME_LATEST)) return find_latest(run, catalog);
    if (!strcmp(selector, CN_NAME_BEST)) return follow(run, catalog, CN_NAME_BEST);
    if (parse_step(selector, &step, &term)) return find_step(catalog, step, term);
    return find_tag(catalog, selector);
}

static int say_what_there_is(const struct cn_rundir *run, const struct cn_catalog *catalog, const char *selector, cairn_error *err)
{
    char steps[256] = "";
    size_t used = 0;
    struct cn_shown shown;
    for (uint64_t i = catalog->readable; i-- > 0 && used < 200;) {
        if (catalog->entries[i].standing != CAIRN_CURRENT) continue;
        used += (size_t)snprintf(steps + used, sizeof steps - used, "%s%llu", used ? ", " : "",
                                 (unsigned long long)catalog->entries[i].manifest.step);
    }
    return cn_error_set(err, CAIRN_E_NOTFOUND, "%s: no checkpoint '%s'; the newest steps are: %s", run->path,
                        cn_show_text(&shown, selector), used ? steps : "none");
}

static int select_in(const struct cn_rundir *run, const char *selector, char *ret_path, size_t size, char ret_id[CN_ID_BYTES],
                     cairn_error *err)
{
    struct cn_catalog catalog;
    int code = cn_catalog_load(run, &catalog, err);
    if (code) return code;
    const struct cn_catalog_entry *entry = select_entry(run, &catalog, selector);
    if (!entry)
        code = say_what_there_is(run, &catalog, selector, err);
    else if (entry >= catalog.entries + catalog.readable)
        code = cn_error_set(err, entry->problem_code, "%s@%s: %s cannot be read: %s", run->path, selector, entry->name, entry->problem);
    else if (snprintf(ret_path, size, "%s/%s", run->path, entry->name) >= (int)size)
        code = cn_error_set(err, CAIRN_E_LIMIT, "%s: the path is too long", run->path);
    else
        memcpy(ret_id, entry->manifest.id, CN_ID_BYTES);
    cn_catalog_done(&catalog);
    return code;
}

/* What is not there is looked for once more: a listing that takes its time misses marks that are replaced meanwhile, and their tags with them. */
static int select_path(const char *run_path, const char *selector, char *ret_path, size_t size, char ret_id[CN_ID_BYTES], cairn_error *err)
{
    struct cn_rundir run;
    int code = cn_rundir_open_read(run_path, &run, err);
    if (code) return code;
    code = select_in(&run, selector, ret_path, size, ret_id, err);
    if (code == CAIRN_E_NOTFOUND) code = select_in(&run, selector, ret_path, size, ret_id, err);
    cn_rundir_close(&run);
    return code;
}

int cn_resolve_path(const char *store, const char *name, char *ret_path, size_t size, char ret_id[CN_ID_BYTES], cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES];
    const char *const tries[] = { name, join(store, name, strlen(name), path, sizeof path) ? path : name };
    for (int i = 0; i < 2; i++) {
        bool there = false;
        int code = strlen(tries[i]) < size ? look_for(tries[i], &there, err) : CAIRN_OK;
        if (there) snprintf(ret_path, size, "%s", tries[i]);
        ret_id[0] = 0;
        if (code || there) return code;
    }
    const char *at = strrchr(name, '@');
    if (!at || !at[1] || at == name || !join(store, name, (size_t)(at - name), path, sizeof path)) return not_found(err, store, name);
    return select_path(path, at + 1, ret_path, size, ret_id, err);
}

enum { TRIES = 10 };

static int open_path(const char *path, const char *id, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    cairn_checkpoint *checkpoint;
    int code = cn_checkpoint_open_path(path, CAIRN_IO_AUTO, &checkpoint, err);
    if (code) return code;
    code = cn_held_check_id(path, &checkpoint->manifest, id, err);
    if (code)
        cn_checkpoint_close(checkpoint);
    else
        *ret_checkpoint = checkpoint;
    return code;
}

int cn_resolve_open(const char *store, const char *name, char *ret_path, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES];
    int code = CAIRN_E_GONE;
    /* what was found may be retired before it is opened: then another one is the latest, or there is none of the name any more */
    for (int i = 0; i < TRIES && code == CAIRN_E_GONE; i++) {
        struct cn_shown shown;
        char id[CN_ID_BYTES] = "";
        code = cn_resolve_path(store, name, path, sizeof path, id, err);
        if (!code && ret_path) memcpy(ret_path, path, sizeof path);
        bool seen = i > 0 || id[0];
        if (!code) code = open_path(path, id, ret_checkpoint, err);
        if (code == CAIRN_E_NOTFOUND && seen)
            code = cn_error_set(err, CAIRN_E_GONE, "%s: removed while it was being opened: list again", cn_show_text(&shown, name));
    }
    return code;
}
