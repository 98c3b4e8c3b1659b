/* The public listings: the checkpoints of a run, the runs of a store. They change nothing and wait for nobody. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "snapshot/checkpoint_parts.h"
#include "store/catalog.h"
#include "store/layout.h"

struct cairn_listing {
    struct cn_rundir run;
    struct cn_catalog catalog;
    cairn_entry *entries;
};

static void fill(const struct cn_catalog *catalog, const char *best, const struct cn_catalog_entry *from, cairn_entry *entry)
{
    *entry = (cairn_entry){ .name = from->name, .standing = from->standing, .problem = from->problem };
    if (from->standing == CAIRN_DAMAGED || from->standing == CAIRN_FOREIGN_FOLDER) return;
    cn_checkpoint_fill_entry(&from->manifest, entry);
    entry->pinned = from->pinned;
    entry->is_latest = from == catalog->top;
    entry->is_head = from == catalog->head;
    entry->is_best = !strcmp(from->name, best);
}

int cairn_listing_open(const char *run_path, cairn_listing **ret_listing, cairn_error *err)
{
    char best[CN_FOLDER_NAME_BYTES + 1] = "";
    if (!run_path || !*run_path || !ret_listing)
        return cn_error_set(err, CAIRN_E_USAGE, "cairn_listing_open: run_path and ret_listing must be given");
    cairn_listing *listing = cn_os_new(sizeof *listing);
    if (!listing) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to list it", run_path);
    int code = cn_rundir_open_read(run_path, &listing->run, err);
    if (code) {
        cn_os_free(listing);
        return code;
    }
    code = cn_catalog_load(&listing->run, &listing->catalog, err);
    if (!code && !(listing->entries = cn_os_new_array(listing->catalog.count, sizeof *listing->entries)))
        code = cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to list it", run_path);
    if (code) {
        cairn_listing_close(listing);
        return code;
    }
    if (cn_os_read_link(listing->run.dir, CN_NAME_BEST, best, sizeof best)) best[0] = 0;
    for (uint64_t i = 0; i < listing->catalog.count; i++) fill(&listing->catalog, best, &listing->catalog.entries[i], &listing->entries[i]);
    *ret_listing = listing;
    return CAIRN_OK;
}

void cairn_listing_close(cairn_listing *listing)
{
    if (!listing) return;
    cn_catalog_done(&listing->catalog);
    cn_rundir_close(&listing->run);
    cn_os_free(listing->entries);
    cn_os_free(listing);
}

size_t cairn_listing_count(const cairn_listing *listing)
{
    return listing ? listing->catalog.count : 0;
}

const cairn_entry *cairn_listing_entry(const cairn_listing *listing, size_t index)
{
    return listing && index < listing->catalog.count ? &listing->entries[index] : NULL;
}

const char *cairn_listing_run_id(const cairn_listing *listing)
{
    return listing ? listing->run.id : "";
}

struct runs {
    const char *path;
    cn_file store;
    char **names;
    size_t count, capacity;
    int code; /* of what ended the listing */
    cairn_error *err;
};

/* What the file system keeps for itself, unreadable, at the top of a disk. */
static bool is_of_the_system(const char *name)
{
    return !strcmp(name, "lost+found");
}

/* A link to a run is as good as the run: a store may be put together so. */
static int open_it(const struct runs *runs, const char *name, cn_file *ret_dir)
{
    char path[CN_MAX_PATH_BYTES];
    int rc = cn_os_open_dir(runs->store, name, ret_dir);
    if (rc != -ELOOP && rc != -ENOTDIR) return rc;
    int size = snprintf(path, sizeof path, "%s/%s", runs->path, name);
    return size < (int)sizeof path ? cn_os_open_dir_path(path, ret_dir) : -ENAMETOOLONG;
}

/* Only what is certainly none is left out: whoever opens what cannot be looked at learns why. For want of descriptors or memory that would be all. */
static int look_at(struct runs *runs, const char *name, bool *ret_is_run)
{
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    int rc = name[0] == '.' ? -ENOENT : open_it(runs, name, &dir);
    if (!rc) rc = cn_os_stat_at(dir, CN_NAME_RUN, &info);
    if (rc == -ENOENT && dir != CN_NO_FILE && cn_rundir_lost_description(dir)) rc = 0;
    if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) return cn_error_errno(runs->err, -rc, "%s: looking at it", name);
    bool is_none = rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP || (rc && is_of_the_system(name));
    *ret_is_run = !is_none;
    return CAIRN_OK;
}

static int keep_name(struct runs *runs, const char *name)
{
    if (runs->count == runs->capacity) {
        size_t capacity = runs->capacity ? runs->capacity * 2 : 16;
        char **names = cn_os_new_array(capacity, sizeof *names);
        if (!names) return cn_error_set(runs->err, CAIRN_E_NOMEM, "%s: no memory to list it", name);
        if (runs->count) memcpy(names, runs->names, runs->count * sizeof *names);
        cn_os_free(runs->names);
        runs->names = names;
        runs->capacity = capacity;
    }
    char *copy = cn_os_copy_text(name);
    if (!copy) return cn_error_set(runs->err, CAIRN_E_NOMEM, "%s: no memory to list it", name);
    runs->names[runs->count++] = copy;
    return CAIRN_OK;
}

static int note_run(void *user, const char *name)
{
    struct runs *runs = user;
    bool is_run = false;
    runs->code = look_at(runs, name, &is_run);
    if (!runs->code && is_run) runs->code = keep_name(runs, name);
    return runs->code != CAIRN_OK;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(char *const *)left, *(char *const *)right);
}

int cairn_store_list(const char *store_path, int (*each)(void *user, const char *run_name), void *user, cairn_error *err)
{
    struct runs runs = { .path = store_path, .store = CN_NO_FILE, .err = err };
    if (!store_path || !each) return cn_error_set(err, CAIRN_E_USAGE, "cairn_store_list: store_path and each must be given");
    int rc = cn_os_open_dir_path(store_path, &runs.store);
    if (rc) return cn_error_errno(err, -rc, "%s: opening it", store_path);
    rc = cn_os_list(runs.store, note_run, &runs);
    int code = rc < 0 ? cn_error_errno(err, -rc, "%s: listing it", store_path) : runs.code;
    if (runs.count) qsort(runs.names, runs.count, sizeof *runs.names, compare_names);
    for (size_t i = 0; i < runs.count; i++) {
        if (!code) code = each(user, runs.names[i]);
        cn_os_free(runs.names[i]);
    }
    cn_os_free(runs.names);
    (void)cn_os_close(runs.store);
    return code;
}
