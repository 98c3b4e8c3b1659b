/* A folder of its own (see standalone.h). */
#include "store/standalone.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "store/held.h"
#include "store/marks.h"
#include "store/remains.h"
#include "store/tree.h"

#define HIDDEN_SUFFIX ".cairn"

enum { TRIES = 100 };

/* -------------------------------------------------------------------------------------------------------------- leftovers */

static bool is_hidden(const char *name)
{
    size_t size = strlen(name), suffix = strlen(HIDDEN_SUFFIX);
    return name[0] == '.' && size > suffix + 1 && !strcmp(name + size - suffix, HIDDEN_SUFFIX) && cn_id_is(name + 1, size - suffix - 1);
}

/* A saver holds the folder, a reader the manifest in it. Where locks are refused a reader has none, and of a saver nobody knows. */
static bool is_read(cn_file dir, cn_file *ret_manifest)
{
    if (cn_os_open_read(dir, CN_NAME_MANIFEST, ret_manifest)) return false;
    return cn_os_lease(*ret_manifest, true) == -EWOULDBLOCK;
}

/* What an exchange that was not meant brought under a hidden name, and nobody could bring back, is not for us to remove. */
static bool is_ours(cn_file dir)
{
    struct cn_file_info info;
    enum cn_remains remains;
    if (cn_remains_look_in(dir, &remains)) return false;
    return remains != CN_REMAINS_FOREIGN || !cn_os_stat_at(dir, CN_NAME_TRAINING, &info);
}

/* training/ goes last: by it the next one knows what a killed remover left. */
static void remove_unread(cn_file parent, const char *name)
{
    cn_auto_close cn_file dir = CN_NO_FILE, manifest = CN_NO_FILE;
    if (cn_os_open_dir(parent, name, &dir) || !is_ours(dir) || is_read(dir, &manifest)) return;
    if (!cn_tree_empty(dir, CN_NAME_TRAINING)) (void)cn_tree_remove(parent, name);
}

/* Is the name the folder's still? The lock of what was renamed or removed before we had it says nothing. */
static bool leads_to(cn_file parent, const char *name, cn_file dir)
{
    struct cn_file_info ours, found;
    return !cn_os_stat(dir, &ours) && !cn_os_stat_at(parent, name, &found) && ours.inode == found.inode && ours.device == found.device;
}

static void sweep_one(cn_file parent, const char *name)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (cn_os_open_dir(parent, name, &dir) || cn_os_lease(dir, true)) return;
    if (leads_to(parent, name, dir)) remove_unread(parent, name);
}

/* What was seen: names, each ended by NUL. */
static int note_hidden(void *user, const char *name)
{
    struct cn_buf *names = user;
    if (is_hidden(name)) cn_buf_append(names, name, strlen(name) + 1);
    return names->failed ? -ENOMEM : 0;
}

/* First the look, then the sync: an old checkpoint may lie there by an exchange whose saver died before its own sync, and what comes after the sync is
 * not ours to remove yet. */
static void sweep(cn_file parent)
{
    cn_auto_buf struct cn_buf names;
    cn_buf_init(&names, cn_os_alloc(), CN_MAX_CATALOG_BYTES);
    if (cn_os_list(parent, note_hidden, &names) || !names.size || cn_os_sync_dir(parent)) return;
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) sweep_one(parent, names.data + at);
}

/* --------------------------------------------------------------------------------------------------------- begin and commit */

static bool is_pinned(cn_file parent, const char *name)
{
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    bool pinned = false;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    if (!cn_held_peek(parent, name, &pool, &held, &manifest, NULL)) {
        (void)cn_marks_merge(held.dir, &pool, &manifest, &pinned, NULL);
        cn_held_close(&held);
    }
    cn_pool_done(&pool);
    return pinned;
}

static int refuse_pinned(cn_file parent, const char *name, const char *path, cairn_error *err)
{
    if (!is_pinned(parent, name)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "%s: it is pinned: `cairn tag --unpin` it first, or choose another name", path);
}

int cn_standalone_check(cn_file parent, const char *name, const char *path, cairn_error *err)
{
    struct cn_file_info info;
    if (!cn_os_stat_at(parent, CN_NAME_RUN, &info) || !cn_os_stat_at(parent, CN_NAME_PRIVATE "/" CN_NAME_TERMS, &info))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: it lies in a run's folder: save with cairn_save, or to a folder of its own elsewhere",
                            path);
    return refuse_pinned(parent, name, path, err);
}

/* -EAGAIN: somebody's sweep was faster than our lock. */
static int make_locked(struct cn_staging *staging)
{
    int rc = cn_staging_make(staging);
    if (rc) return rc == -ENOENT ? -EAGAIN : rc;
    if (cn_os_lease(staging->dir, true) == -EWOULDBLOCK || !leads_to(staging->parent, staging->name, staging->dir)) return -EAGAIN;
    return cn_staging_fill(staging);
}

int cn_standalone_begin(cn_file parent, const char *path, struct cn_staging *ret_staging, cairn_error *err)
{
    char hex[CN_ID_BYTES];
    int rc = -EAGAIN;
    sweep(parent);
    for (int i = 0; i < TRIES && rc == -EAGAIN; i++) {
        *ret_staging = (struct cn_staging){ .parent = parent, .dir = CN_NO_FILE, .training = CN_NO_FILE };
        int code = cn_id_new(hex, err);
        if (code) return code;
        snprintf(ret_staging->name, sizeof ret_staging->name, ".%s" HIDDEN_SUFFIX, hex);
        rc = make_locked(ret_staging);
        if (rc) cn_staging_abandon(ret_staging);
    }
    return rc ? cn_error_errno(err, -rc, "%s: making a folder beside it", path) : CAIRN_OK;
}

/* Is it a checkpoint that may be replaced? 0; -ENOENT: nothing stands there. */
static int check_old(cn_file parent, const char *name, const char *path, cairn_error *err)
{
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    int rc = cn_os_open_dir(parent, name, &dir);
    if (rc == -ENOENT) return CAIRN_E_NOTFOUND;
    if (rc || cn_os_stat_at(dir, CN_NAME_MANIFEST, &info))
        return cn_error_set(err, CAIRN_E_FOREIGN, "%s: what stands there is not a checkpoint: choose another name", path);
    return refuse_pinned(parent, name, path, err);
}

/* What came under our hidden name is not what we had looked at, so it goes back. Where another saver was faster than that, too, nothing is removed. */
static int give_back(struct cn_staging *staging, const char *name, const char *id)
{
    struct cn_pool pool;
    struct cn_manifest manifest;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int rc = cn_os_exchange(staging->parent, staging->name, name);
    staging->committed = rc || cn_held_read(staging->parent, staging->name, &pool, &manifest, NULL) || strcmp(manifest.id, id) != 0;
    cn_pool_done(&pool);
    return rc;
}

/* The new one takes the name in one step; the old one then has the hidden name, and goes. */
static int exchange(struct cn_staging *staging, const char *name, const char *id, const char *path, bool *ret_again, cairn_error *err)
{
    int rc = cn_os_exchange(staging->parent, staging->name, name);
    *ret_again = rc == -ENOENT; /* somebody removed it */
    if (rc == -EINVAL || rc == -ENOSYS)
        return cn_error_set(err, CAIRN_E_UNSUPPORTED,
                            "%s: this file system cannot replace a folder in one step: remove it first, or save under another name", path);
    if (rc) return cn_error_errno(err, -rc, "%s: replacing it", path);
    int code = check_old(staging->parent, staging->name, path, err);
    if (code && code != CAIRN_E_NOTFOUND) {
        (void)give_back(staging, name, id);
        return code;
    }
    staging->committed = true;
    rc = cn_os_sync_dir(staging->parent);
    if (rc) return cn_error_errno(err, -rc, "%s: syncing the folder above it", path);
    remove_unread(staging->parent, staging->name);
    return CAIRN_OK;
}

static int take_free_name(struct cn_staging *staging, const char *name, const char *path, bool *ret_again, cairn_error *err)
{
    int rc = cn_os_rename_new(staging->parent, staging->name, staging->parent, name);
    *ret_again = rc == -EEXIST;
    if (rc == -EEXIST) return cn_error_set(err, CAIRN_E_EXISTS, "%s: it exists: set replace, or choose another name", path);
    if (rc) return cn_error_errno(err, -rc, "%s: the committing rename", path);
    staging->committed = true;
    rc = cn_os_sync_dir(staging->parent);
    return rc ? cn_error_errno(err, -rc, "%s: syncing the folder above it: it may not survive a power cut", path) : CAIRN_OK;
}

/* Others may give the name to another folder, or take it away, between a look and what follows from it: look again. */
int cn_standalone_commit(struct cn_staging *staging, const struct cn_manifest *manifest, const char *name, bool replace, const char *path,
                         cairn_error *err)
{
    bool again = true;
    int code = cn_staging_put_manifest(staging, manifest, err);
    if (code) return cn_error_prefix(err, code, "%s", path);
    for (int i = 0; i < TRIES && again; i++) {
        code = check_old(staging->parent, name, path, err);
        if (code && code != CAIRN_E_NOTFOUND) return code;
        if (!code && replace)
            code = exchange(staging, name, manifest->id, path, &again, err);
        else
            code = take_free_name(staging, name, path, &again, err);
        again &= replace;
    }
    return code;
}
