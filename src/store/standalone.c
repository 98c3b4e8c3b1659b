/* A folder of its own (see standalone.h). */
#include "store/standalone.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/held.h"
#include "store/marks.h"
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

static void remove_unread(cn_file parent, const char *name)
{
    cn_auto_close cn_file dir = CN_NO_FILE, manifest = CN_NO_FILE;
    if (!cn_os_open_dir(parent, name, &dir) && !is_read(dir, &manifest)) (void)cn_tree_remove(parent, name);
}

/* Is the name the folder's still? The lock of what was renamed or removed before we had it says nothing. */
static bool leads_to(cn_file parent, const char *name, cn_file dir)
{
    struct cn_file_info ours, found;
    return !cn_os_stat(dir, &ours) && !cn_os_stat_at(parent, name, &found) && ours.inode == found.inode && ours.device == found.device;
}

static int sweep_one(void *user, const char *name)
{
    const cn_file *parent = user;
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (!is_hidden(name) || cn_os_open_dir(*parent, name, &dir) || cn_os_lease(dir, true)) return 0;
    if (leads_to(*parent, name, dir)) remove_unread(*parent, name);
    return 0;
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

int cn_standalone_check(cn_file parent, const char *name, const char *path, cairn_error *err)
{
    struct cn_file_info info;
    if (!cn_os_stat_at(parent, CN_NAME_RUN, &info) || !cn_os_stat_at(parent, CN_NAME_PRIVATE "/" CN_NAME_TERMS, &info))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: it lies in a run's folder: save with cairn_save, or to a folder of its own elsewhere",
                            path);
    if (is_pinned(parent, name))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: it is pinned: `cairn tag --unpin` it first, or choose another name", path);
    return CAIRN_OK;
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
    (void)cn_os_list(parent, sweep_one, &parent);
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

/* What stands at the name now: nothing (0), a folder of ours (1), or something else (-1). */
static int who_stands(cn_file parent, const char *name)
{
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (cn_os_stat_at(parent, name, &info) == -ENOENT) return 0;
    return !cn_os_open_dir(parent, name, &dir) && !cn_os_stat_at(dir, CN_NAME_MANIFEST, &info) ? 1 : -1;
}

/* The new one takes the name in one step; the old one then has the hidden name, and goes. */
static int exchange(struct cn_staging *staging, const char *name, const char *path, cairn_error *err)
{
    int rc = cn_os_exchange(staging->parent, staging->name, name);
    if (rc == -EINVAL || rc == -ENOSYS)
        return cn_error_set(err, CAIRN_E_UNSUPPORTED,
                            "%s: this file system cannot replace a folder in one step: remove it first, or save under another name", path);
    if (rc) return cn_error_errno(err, -rc, "%s: replacing it", path);
    rc = cn_os_sync_dir(staging->parent);
    staging->committed = true;
    if (rc) return cn_error_errno(err, -rc, "%s: syncing the folder above it", path);
    remove_unread(staging->parent, staging->name);
    return CAIRN_OK;
}

int cn_standalone_commit(struct cn_staging *staging, const struct cn_manifest *manifest, const char *name, bool replace, const char *path,
                         cairn_error *err)
{
    int code = cn_staging_put_manifest(staging, manifest, err);
    if (code) return cn_error_prefix(err, code, "%s", path);
    int who = who_stands(staging->parent, name);
    if (who < 0) return cn_error_set(err, CAIRN_E_FOREIGN, "%s: what stands there is not a checkpoint: choose another name", path);
    if (who > 0 && replace) return exchange(staging, name, path, err);
    int rc = cn_os_rename_new(staging->parent, staging->name, staging->parent, name);
    if (rc == -EEXIST) return cn_error_set(err, CAIRN_E_EXISTS, "%s: it exists: set replace, or choose another name", path);
    if (rc) return cn_error_errno(err, -rc, "%s: the committing rename", path);
    staging->committed = true;
    rc = cn_os_sync_dir(staging->parent);
    return rc ? cn_error_errno(err, -rc, "%s: syncing the folder above it: it may not survive a power cut", path) : CAIRN_OK;
}
