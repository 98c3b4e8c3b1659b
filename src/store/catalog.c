/* The catalog (see catalog.h). A listing is repeated until it has nothing that was not read before. A folder that vanishes between listing and reading was
 * pruned, or has another name now: it is left out, and what came since is read, too. */
#include "store/catalog.h"

#include "base/limits.h"
#include "store/held.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/layout.h"
#include "store/marks.h"
#include "store/remains.h"

enum { TRIES = 100 };

struct listing {
    struct cn_pool *pool;
    struct cn_buf names; /* of char *, sorted afterwards */
};

static int note_name(void *user, const char *name)
{
    struct listing *listing = user;
    if (!cn_layout_looks_like_checkpoint(name)) return 0;
    const char *copy = cn_pool_text(listing->pool, name);
    if (!copy) return -ENOMEM;
    cn_buf_append(&listing->names, &copy, sizeof copy);
    return listing->names.failed ? -ENOMEM : 0;
}

static int compare_names(const void *left, const void *right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

static int keeps_changing(const struct cn_rundir *run, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_GONE, "%s: it keeps changing while it is listed: try again", run->path);
}

static int list_once(const struct cn_rundir *run, struct cn_pool *pool, struct cn_buf *ret_names, cairn_error *err)
{
    struct listing listing = { .pool = pool };
    cn_buf_init(&listing.names, cn_os_alloc(), CN_MAX_CATALOG_BYTES);
    int rc = cn_os_list(run->dir, note_name, &listing);
    if (rc) {
        cn_buf_done(&listing.names);
        return cn_error_errno(err, -rc, "%s: listing it", run->path);
    }
    if (listing.names.size) qsort(listing.names.data, listing.names.size / sizeof(char *), sizeof(char *), compare_names);
    *ret_names = listing.names;
    return CAIRN_OK;
}

static int set_aside(struct cn_catalog *catalog, struct cn_catalog_entry *entry, cairn_standing standing, int code, const char *problem)
{
    entry->standing = standing;
    entry->problem_code = code;
    entry->problem = cn_pool_text(&catalog->pool, problem);
    return entry->problem ? CAIRN_OK : CAIRN_E_NOMEM;
}

/* Marks that cannot be read are told and taken for a pin; the checkpoint is as good as before. */
static int read_marks(struct cn_catalog *catalog, struct cn_catalog_entry *entry, const struct cn_held *held)
{
    cairn_error error = CAIRN_ERROR_INIT;
    int code = cn_marks_merge(held->dir, &catalog->pool, &entry->manifest, &entry->pinned, &error);
    if (!code || code == CAIRN_E_NOMEM || code == CAIRN_E_GONE) return code;
    if (code == CAIRN_E_NOTFOUND) return CAIRN_E_GONE; /* the folder was removed meanwhile */
    entry->problem_code = code;
    entry->marks_unreadable = true;
    entry->problem = cn_pool_text(&catalog->pool, error.message);
    return entry->problem ? CAIRN_OK : CAIRN_E_NOMEM;
}

/* This process has no more descriptors: that says nothing about the checkpoint, and must not make another one the newest. */
static bool is_out_of_files(const cairn_error *error)
{
    return error->code == CAIRN_E_IO && (error->os_errno == EMFILE || error->os_errno == ENFILE);
}

/* The folder that has the name now: it may have been renamed when it was to be opened, and another have taken its place. */
static int read_remains(const struct cn_rundir *run, struct cn_catalog *catalog, struct cn_catalog_entry *entry, cairn_error *err)
{
    enum cn_remains remains;
    int rc = cn_remains_look(run->dir, entry->name, &remains);
    if (rc) {
        cairn_error error = CAIRN_ERROR_INIT;
        int code = cn_error_errno(&error, -rc, "%s: looking into it", entry->name);
        if (is_out_of_files(&error)) return cn_error_errno(err, -rc, "%s: looking into it", entry->name);
        entry->problem_errno = error.os_errno;
        return set_aside(catalog, entry, CAIRN_DAMAGED, code, error.message);
    }
    if (remains == CN_REMAINS_NONE) return CAIRN_E_GONE;
    if (remains == CN_REMAINS_LOST) return set_aside(catalog, entry, CAIRN_DAMAGED, CAIRN_E_TRUNCATED, CN_REMAINS_LOST_TEXT);
    if (remains == CN_REMAINS_FOREIGN)
        return set_aside(catalog, entry, CAIRN_FOREIGN_FOLDER, CAIRN_E_FOREIGN, "it has no " CN_NAME_MANIFEST ": another tool's");
    catalog->count--; /* it was a checkpoint; somebody is removing it */
    return CAIRN_OK;
}

/* One whose manifest cannot be read is damaged. GONE: list again. */
static int read_entry(const struct cn_rundir *run, struct cn_catalog *catalog, struct cn_catalog_entry *entry, cairn_error *err)
{
    struct cn_held held;
    cairn_error error = CAIRN_ERROR_INIT;
    uint64_t step, term;
    if (!cn_layout_parse_folder(entry->name, &step, &term))
        return set_aside(catalog, entry, CAIRN_FOREIGN_FOLDER, CAIRN_E_FOREIGN,
                         strstr(entry->name, ".damaged") ? "it was damaged and moved aside"
                                                         : "not a name that Cairn gives to a checkpoint");
    int code = cn_held_peek(run->dir, entry->name, &catalog->pool, &held, &entry->manifest, &error);
    if (!code) {
        bool ours = !strcmp(entry->manifest.run_id, run->id);
        int marks = ours ? read_marks(catalog, entry, &held) : CAIRN_OK;
        cn_held_close(&held);
        if (ours) return marks;
        return set_aside(catalog, entry, CAIRN_FOREIGN_FOLDER, CAIRN_E_FOREIGN, "a checkpoint of another run");
    }
    if (code == CAIRN_E_GONE || code == CAIRN_E_NOMEM || is_out_of_files(&error)) {
        *err = error;
        return code;
    }
    if (code == CAIRN_E_NOTFOUND) return read_remains(run, catalog, entry, err);
    if (code == CAIRN_E_PATH) return set_aside(catalog, entry, CAIRN_FOREIGN_FOLDER, CAIRN_E_PATH, error.message);
    entry->problem_errno = error.os_errno;
    return set_aside(catalog, entry, CAIRN_DAMAGED, code, error.message);
}

static int rank_of(const struct cn_catalog_entry *entry)
{
    return entry->standing == CAIRN_FOREIGN_FOLDER ? 2 : entry->standing == CAIRN_DAMAGED ? 1 : 0;
}

static int compare_entries(const void *left, const void *right)
{
    const struct cn_catalog_entry *a = left, *b = right;
    if (rank_of(a) != rank_of(b)) return rank_of(a) - rank_of(b);
    if (!rank_of(a) && a->manifest.term != b->manifest.term) return a->manifest.term < b->manifest.term ? -1 : 1;
    if (!rank_of(a) && a->manifest.step != b->manifest.step) return a->manifest.step < b->manifest.step ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* Of two with one id, which is called as it should be? */
static bool is_named_better(const struct cn_catalog_entry *a, const struct cn_catalog_entry *b)
{
    char usual[CN_FOLDER_NAME_BYTES], with_term[CN_FOLDER_NAME_BYTES];
    cn_layout_folder(a->manifest.step, 0, usual);
    cn_layout_folder(a->manifest.step, a->manifest.term, with_term);
    if (!strcmp(a->name, usual) || !strcmp(b->name, usual)) return !strcmp(a->name, usual);
    return !strcmp(a->name, with_term) || (strcmp(b->name, with_term) != 0 && strcmp(a->name, b->name) < 0);
}

/* Somebody copied a folder within the run: that is one checkpoint, not two to be counted, and the copy is not ours to remove. */
static int set_copies_aside(struct cn_catalog *catalog)
{
    struct cn_catalog_entry *kept = NULL;
    bool found = false;
    int code = CAIRN_OK;
    for (uint64_t i = 0; i < catalog->count && !rank_of(&catalog->entries[i]) && !code; i++) {
        struct cn_catalog_entry *entry = &catalog->entries[i];
        char text[CN_FOLDER_NAME_BYTES + 64];
        if (!kept || strcmp(kept->manifest.id, entry->manifest.id)) {
            kept = entry;
            continue;
        }
        struct cn_catalog_entry *copy = is_named_better(kept, entry) ? entry : kept;
        if (copy == kept) kept = entry;
        snprintf(text, sizeof text, "a copy of %s: remove it by hand, or move it away", kept->name);
        code = set_aside(catalog, copy, CAIRN_FOREIGN_FOLDER, CAIRN_E_EXISTS, text);
        found = true;
    }
    if (found) qsort(catalog->entries, catalog->count, sizeof *catalog->entries, compare_entries);
    return code;
}

static void find_line(struct cn_catalog *catalog)
{
    while (catalog->readable < catalog->count && !rank_of(&catalog->entries[catalog->readable])) catalog->readable++;
    if (!catalog->readable) return;
    catalog->top = &catalog->entries[catalog->readable - 1];
    for (uint64_t i = 0; i < catalog->readable; i++) {
        struct cn_catalog_entry *entry = &catalog->entries[i];
        bool on_line = cn_manifest_on_line(&catalog->top->manifest, entry->manifest.term, entry->manifest.step);
        entry->standing = on_line ? CAIRN_CURRENT : CAIRN_SUPERSEDED;
        if (on_line && entry->manifest.healthy && entry->manifest.exact) catalog->head = entry;
    }
}

/* Somebody who renamed a folder should hear of it. */
static int look_for_oddities(struct cn_catalog *catalog)
{
    int code = CAIRN_OK;
    for (uint64_t i = 0; i < catalog->readable && !code; i++) {
        struct cn_catalog_entry *entry = &catalog->entries[i];
        char text[CN_ODD_NAME_BYTES];
        if (!cn_layout_name_is_odd(entry->name, entry->manifest.step, text) || entry->problem) continue;
        entry->problem = cn_pool_text(&catalog->pool, text);
        if (!entry->problem) code = CAIRN_E_NOMEM;
    }
    return code;
}

static int compare_entry_names(const void *left, const void *right)
{
    return strcmp(((const struct cn_catalog_entry *)left)->name, ((const struct cn_catalog_entry *)right)->name);
}

static int reserve_entries(const struct cn_rundir *run, struct cn_catalog *catalog, uint64_t more, cairn_error *err)
{
    struct cn_catalog_entry *entries = cn_pool_take_array(&catalog->pool, catalog->count + more, sizeof *entries);
    if (!entries) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to list it", run->path);
    if (catalog->count) memcpy(entries, catalog->entries, catalog->count * sizeof *entries);
    catalog->entries = entries;
    return CAIRN_OK;
}

/* Appends what stands under the name. GONE: nothing does any more. */
static int load_entry(const struct cn_rundir *run, struct cn_catalog *catalog, const char *name, cairn_error *err)
{
    struct cn_catalog_entry *entry = &catalog->entries[catalog->count++];
    cairn_error problem = CAIRN_ERROR_INIT;
    *entry = (struct cn_catalog_entry){ .name = name };
    int code = read_entry(run, catalog, entry, &problem);
    if (code) catalog->count--;
    if (code == CAIRN_E_NOMEM) return cn_error_set(err, code, "%s/%s: no memory to list it", run->path, name);
    return code == CAIRN_E_IO ? cn_error_set(err, code, "%s/%s", run->path, problem.message) : code;
}

/* Reads what is there and was not read yet. *ret_changed: there was something, or a name that is not there any more - it was pruned, or is another one
 * now. */
static int load_new(const struct cn_rundir *run, struct cn_catalog *catalog, bool *ret_changed, cairn_error *err)
{
    cn_auto_buf struct cn_buf names = { 0 };
    uint64_t known = catalog->count;
    int code = list_once(run, &catalog->pool, &names, err);
    const char *const *name = (const void *)names.data;
    uint64_t count = names.size / sizeof *name;
    if (!code) code = reserve_entries(run, catalog, count, err);
    if (!code && known) qsort(catalog->entries, known, sizeof *catalog->entries, compare_entry_names);
    *ret_changed = false;
    for (uint64_t i = 0; i < count && !code; i++) {
        struct cn_catalog_entry wanted = { .name = name[i] };
        if (known && bsearch(&wanted, catalog->entries, known, sizeof wanted, compare_entry_names)) continue;
        uint64_t before = catalog->count;
        code = load_entry(run, catalog, name[i], err);
        *ret_changed |= code == CAIRN_E_GONE || catalog->count > before; /* what is being removed is not entered */
        if (code == CAIRN_E_GONE) code = CAIRN_OK;
    }
    return code;
}

/* Read under one name and then under another: the first may lead to another checkpoint now. */
static bool saw_twice(const struct cn_catalog *catalog, uint64_t from)
{
    for (uint64_t late = from; late < catalog->count; late++)
        for (uint64_t early = 0; early < from; early++) {
            const char *id = catalog->entries[late].manifest.id;
            if (id[0] && !strcmp(id, catalog->entries[early].manifest.id)) return true;
        }
    return false;
}

/* Until a listing that comes after all reading has no name that was not read: a listing may miss what is renamed meanwhile, and a name may be given to
 * another one between the listing and the reading. */
static int load_once(const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *err)
{
    bool changed = true;
    cn_pool_init(&catalog->pool, cn_os_alloc(), CN_MAX_CATALOG_BYTES);
    for (int i = 0; i < TRIES; i++) {
        uint64_t known = catalog->count;
        int code = load_new(run, catalog, &changed, err);
        if (code) return code;
        if (known && saw_twice(catalog, known)) break;
        if (i && !changed) return CAIRN_OK;
    }
    return keeps_changing(run, err);
}

int cn_catalog_load(const struct cn_rundir *run, struct cn_catalog *ret_catalog, cairn_error *err)
{
    int code = CAIRN_E_GONE;
    for (int i = 0; i < TRIES && code == CAIRN_E_GONE; i++) {
        struct cn_catalog catalog = { 0 };
        if (i > 3) cn_os_sleep_ns(1000000);
        code = load_once(run, &catalog, err);
        if (code) {
            cn_catalog_done(&catalog);
            continue;
        }
        qsort(catalog.entries, catalog.count, sizeof *catalog.entries, compare_entries);
        code = set_copies_aside(&catalog);
        find_line(&catalog);
        if (!code) code = look_for_oddities(&catalog);
        if (code) cn_error_set(err, code, "%s: no memory to list it", run->path);
        if (code)
            cn_catalog_done(&catalog);
        else
            *ret_catalog = catalog;
    }
    return code;
}

void cn_catalog_done(struct cn_catalog *catalog)
{
    if (catalog->pool.alloc) cn_pool_done(&catalog->pool);
    *catalog = (struct cn_catalog){ 0 };
}

const struct cn_catalog_entry *cn_catalog_find(const struct cn_catalog *catalog, uint64_t step, uint64_t term)
{
    for (uint64_t i = 0; i < catalog->readable; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->manifest.step != step) continue;
        if (term ? entry->manifest.term == term : entry->standing == CAIRN_CURRENT) return entry;
    }
    return NULL;
}
