/* Retiring (see retire.h and docs/DURABILITY.md, R1-R7). Names in .cairn/trash:
 *
 *     p<uuid>/<id>   a live pruner's folder and what it has renamed away; renamed to x... by every commit
 *     x<uuid>        the same, taken over by a commit: its pruner finds no target any more
 *     s<uuid>-<n>    a staging folder of an older writer
 *
 * Nothing is unlinked before the run folder is synced after the rename that removed it from there. */
#include "store/retire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/layout.h"

enum { DEEPEST = 32, TRIES = 100 };

/* ---------------------------------------------------------------------------------------------------------------- trees */

struct tree {
    cn_file dir;
    int depth;
};

static int remove_tree(cn_file parent, const char *name, int depth);

static int remove_child(void *user, const char *name)
{
    const struct tree *tree = user;
    return remove_tree(tree->dir, name, tree->depth + 1);
}

static int remove_tree(cn_file parent, const char *name, int depth)
{
    int rc = cn_os_unlink(parent, name);
    if (!rc || rc == -ENOENT) return 0;
    if (rc != -EISDIR && rc != -EPERM) return rc;
    if (depth > DEEPEST) return -ELOOP;
    struct tree tree = { CN_NO_FILE, depth };
    rc = cn_os_open_dir(parent, name, &tree.dir);
    if (rc) return rc == -ENOENT ? 0 : rc;
    rc = cn_os_list(tree.dir, remove_child, &tree);
    (void)cn_os_close(tree.dir);
    if (!rc) rc = cn_os_remove_dir(parent, name);
    return rc == -ENOENT ? 0 : rc;
}

int cn_retire_remove_tree(cn_file parent, const char *name, cairn_error *err)
{
    int rc = remove_tree(parent, name, 0);
    return rc ? cn_error_errno(err, -rc, "%s: removing it", name) : CAIRN_OK;
}

/* ----------------------------------------------------------------------------------------------------------- one victim */

struct pruner {
    const struct cn_rundir *run;
    struct cn_retire *retire;
    char folder[CN_DIGEST_HEX_BYTES + 2]; /* p<uuid> */
    cn_file dir;
};

static void tell(struct pruner *pruner, const char *name, const char *what, int rc)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (!pruner->retire->message) return;
    if (rc) cn_error_errno(&error, -rc, "%s/%s was not removed: %s", pruner->run->path, name, what);
    else cn_error_set(&error, CAIRN_E_IO, "%s/%s was not removed: %s", pruner->run->path, name, what);
    pruner->retire->message(pruner->retire->user, error.message);
}

static bool is_kept(const struct cn_retire *retire, const char *id)
{
    for (uint64_t i = 0; i < retire->keep_ids_count; i++)
        if (!strcmp(retire->keep_ids[i], id)) return true;
    return false;
}

/* R3: alone with it? The lease is refused while a reader holds the checkpoint. The id is read through the locked folder. */
static bool lock_victim(struct pruner *pruner, const struct cn_catalog_entry *victim, struct cn_held *held)
{
    struct cn_pool pool;
    struct cn_manifest manifest;
    *held = (struct cn_held){ CN_NO_FILE, CN_NO_FILE, false };
    cn_pool_init(&pool, cn_os_alloc(), 64 * CN_MAX_MANIFEST_BYTES);
    bool good = !cn_held_open(pruner->run->dir, victim->name, &pool, held, &manifest, NULL) && !strcmp(manifest.id, victim->manifest.id) &&
                !manifest.tags_count;
    cn_pool_done(&pool);
    int rc = good ? cn_os_lease(held->manifest_file, true) : 0;
    /* a place that has no locks at all has no readers' leases either */
    return good && rc != -EWOULDBLOCK;
}

/* What was moved is who we meant? The name may have been given to another one since. */
static bool is_moved(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    struct cn_held held;
    struct cn_pool pool;
    struct cn_manifest manifest;
    cn_pool_init(&pool, cn_os_alloc(), 64 * CN_MAX_MANIFEST_BYTES);
    bool same = !cn_held_open(pruner->dir, victim->manifest.id, &pool, &held, &manifest, NULL);
    if (same) {
        same = !strcmp(manifest.id, victim->manifest.id);
        cn_held_close(&held);
    }
    cn_pool_done(&pool);
    return same;
}

/* By path, so that a commit that took our folder over makes the rename fail. */
static int move_victim(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    char path[sizeof pruner->folder + CN_ID_BYTES + 8];
    snprintf(path, sizeof path, "%s/%s", pruner->folder, victim->manifest.id);
    int rc = cn_os_rename_new(pruner->run->dir, victim->name, pruner->run->trash, path); /* R4 */
    if (rc) return rc;
    if (!is_moved(pruner, victim)) { /* R5: put it back */
        (void)cn_os_rename_new(pruner->dir, victim->manifest.id, pruner->run->dir, victim->name);
        return -EAGAIN;
    }
    return cn_os_sync_dir(pruner->run->dir); /* R6 */
}

static void retire_one(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    struct cn_held held;
    if (!lock_victim(pruner, victim, &held)) {
        cn_held_close(&held);
        return;
    }
    int rc = move_victim(pruner, victim);
    cn_held_close(&held);
    if (rc) {
        tell(pruner, victim->name, "it stays for now", rc);
        return;
    }
    pruner->retire->retired++;
    rc = remove_tree(pruner->dir, victim->manifest.id, 0); /* R7 */
    if (rc) tell(pruner, victim->name, "it is in .cairn/trash and will be emptied later", rc);
}

/* ------------------------------------------------------------------------------------------------------------- deciding */

/* R1: only what passes the quick check counts as a survivor. */
static bool survives(const struct cn_rundir *run, const struct cn_catalog_entry *entry)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (!entry->manifest.healthy || cn_os_open_dir(run->dir, entry->name, &dir)) return false;
    return !cn_check_quick(dir, &entry->manifest, NULL, NULL, NULL);
}

static void retire_below(struct pruner *pruner, const struct cn_catalog *catalog)
{
    uint32_t survivors = 0;
    for (uint64_t i = catalog->readable; i-- > 0;) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->standing != CAIRN_CURRENT) continue;
        if (survivors < pruner->retire->keep_last) {
            survivors += survives(pruner->run, entry);
            continue;
        }
        if (entry == catalog->top || entry == catalog->head || entry->manifest.tags_count || is_kept(pruner->retire, entry->manifest.id)) continue;
        retire_one(pruner, entry);
    }
}

static int make_folder(struct pruner *pruner)
{
    struct cn_digest id;
    int rc = cn_os_random(id.bytes, sizeof id.bytes);
    if (rc) return rc;
    pruner->folder[0] = 'p';
    cn_digest_hex(&id, pruner->folder + 1);
    rc = cn_os_make_dir(pruner->run->trash, pruner->folder);
    return rc ? rc : cn_os_open_dir(pruner->run->trash, pruner->folder, &pruner->dir);
}

/* A commit may take the folder away between making and opening it. */
static int open_folder(struct pruner *pruner, cairn_error *err)
{
    int rc = -ENOENT;
    for (int i = 0; i < TRIES && rc == -ENOENT; i++) rc = make_folder(pruner);
    return rc ? cn_error_errno(err, -rc, "%s/.cairn/trash: making a folder", pruner->run->path) : CAIRN_OK;
}

int cn_retire_old(const struct cn_rundir *run, struct cn_retire *retire, cairn_error *err)
{
    struct cn_catalog catalog;
    struct pruner pruner = { .run = run, .retire = retire, .dir = CN_NO_FILE };
    if (!retire->keep_last) return CAIRN_OK;
    int code = open_folder(&pruner, err);
    if (code) return code;
    code = cn_catalog_load(run, &catalog, err);
    if (!code) {
        int rc = cn_os_sync_dir(run->dir); /* R2: what we saw is durable before we act on it */
        if (rc) code = cn_error_errno(err, -rc, "%s: syncing it", run->path);
        else retire_below(&pruner, &catalog);
        cn_catalog_done(&catalog);
    }
    (void)cn_os_close(pruner.dir);
    (void)cn_os_remove_dir(run->trash, pruner.folder);
    return code;
}

struct leftover {
    const struct cn_rundir *run;
    cn_file dir; /* x<uuid> */
};

/* A pruner that died between its rename and its look at what it had moved may have left a checkpoint that nobody meant: only what is named
 * by its own id may go, the rest goes back. */
static int settle_leftover(void *user, const char *name)
{
    const struct leftover *leftover = user;
    struct cn_held held;
    struct cn_pool pool;
    struct cn_manifest manifest;
    char back[CN_FOLDER_NAME_BYTES];
    cn_pool_init(&pool, cn_os_alloc(), 64 * CN_MAX_MANIFEST_BYTES);
    int code = cn_held_open(leftover->dir, name, &pool, &held, &manifest, NULL);
    if (!code) cn_held_close(&held);
    if (!code && strcmp(manifest.id, name)) {
        cn_layout_folder(manifest.step, 0, back);
        int rc = cn_os_rename_new(leftover->dir, name, leftover->run->dir, back);
        if (rc == -EEXIST) {
            cn_layout_folder(manifest.step, manifest.term, back);
            (void)cn_os_rename_new(leftover->dir, name, leftover->run->dir, back);
        }
    } else (void)remove_tree(leftover->dir, name, 0);
    cn_pool_done(&pool);
    return 0;
}

static int empty_one(void *user, const char *name)
{
    const struct cn_rundir *run = user;
    struct leftover leftover = { run, CN_NO_FILE };
    if (name[0] == 's') (void)remove_tree(run->trash, name, 0);
    if (name[0] != 'x' || cn_os_open_dir(run->trash, name, &leftover.dir)) return 0;
    (void)cn_os_list(leftover.dir, settle_leftover, &leftover);
    (void)cn_os_close(leftover.dir);
    (void)cn_os_remove_dir(run->trash, name);
    return 0;
}

void cn_retire_empty_trash(const struct cn_rundir *run)
{
    /* what lies in x... may have been renamed there by a pruner that died before its sync */
    if (cn_os_sync_dir(run->dir)) return;
    (void)cn_os_list(run->trash, empty_one, (void *)(uintptr_t)run);
}
