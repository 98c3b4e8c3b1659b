/* A folder of its own (see standalone.h). */
#include "store/standalone.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "store/held.h"
#include "store/marks.h"
#include "store/tree.h"

#define NEW_SUFFIX ".cairn"     /* being written; or old, and on its way out */
#define OLD_SUFFIX ".cairn-old" /* about to be exchanged for what stands there, and what stood there since */

enum { TRIES = 100 };

/* -------------------------------------------------------------------------------------------------------------- leftovers */

static bool is_hidden(const char *name, const char *suffix)
{
    size_t size = strlen(name), suffix_size = strlen(suffix);
    return name[0] == '.' && size > suffix_size + 1 && !strcmp(name + size - suffix_size, suffix) &&
           cn_id_is(name + 1, size - suffix_size - 1);
}

/* Is the name the folder's still? The lock of what was renamed or removed before we had it says nothing. */
static bool leads_to(cn_file parent, const char *name, cn_file dir)
{
    struct cn_file_info ours, found;
    return !cn_os_stat(dir, &ours) && !cn_os_stat_at(parent, name, &found) && ours.inode == found.inode && ours.device == found.device;
}

/* Pinned, or nobody knows: marks that cannot be read may say so. CAIRN_OK: it is not. */
static int refuse_pinned(cn_file dir, const char *path, cairn_error *err)
{
    struct cn_pool pool;
    struct cn_marks marks;
    static const struct cn_manifest manifest;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_marks_load(dir, &manifest, &pool, &marks, err);
    cn_pool_done(&pool);
    if (code) return cn_error_prefix(err, code, "%s: its marks cannot be read, and may pin it: choose another name", path);
    if (!marks.pinned) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "%s: it is pinned: `cairn tag --unpin` it first, or choose another name", path);
}

/* Is it a checkpoint that may be replaced? NOTFOUND: nothing stands there. */
static int check_old(cn_file parent, const char *name, const char *path, cairn_error *err)
{
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    int rc = cn_os_open_dir(parent, name, &dir);
    if (rc == -ENOENT) return CAIRN_E_NOTFOUND;
    if (rc && rc != -ENOTDIR && rc != -ELOOP) return cn_error_errno(err, -rc, "%s: looking at what stands there", path);
    if (!rc) rc = cn_os_stat_at(dir, CN_NAME_MANIFEST, &info);
    if (rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP)
        return cn_error_set(err, CAIRN_E_FOREIGN, "%s: what stands there is not a checkpoint: choose another name", path);
    return rc ? cn_error_errno(err, -rc, "%s/" CN_NAME_MANIFEST ": looking at it", path) : refuse_pinned(dir, path, err);
}

/* A saver holds the folder, a reader the manifest in it. */
static bool is_unread(cn_file parent, const char *name)
{
    cn_auto_close cn_file dir = CN_NO_FILE, manifest = CN_NO_FILE;
    return !cn_os_open_dir(parent, name, &dir) && !cn_os_open_read(dir, CN_NAME_MANIFEST, &manifest) && !cn_held_alone(dir, &manifest);
}

/* An old checkpoint takes another hidden name first, under which whatever is left of it goes, even without its manifest. What is not meant to go - no
 * checkpoint, or one that is pinned or read - stays. */
static void remove_old(cn_file parent, const char *name)
{
    char leaving[CN_ID_BYTES + sizeof NEW_SUFFIX + 1];
    if (check_old(parent, name, name, NULL) || !is_unread(parent, name)) return;
    snprintf(leaving, sizeof leaving, "%.*s", (int)(strlen(name) - strlen(OLD_SUFFIX) + strlen(NEW_SUFFIX)), name);
    if (!cn_os_rename_new(parent, name, parent, leaving)) (void)cn_tree_remove(parent, leaving);
}

static void sweep_one(cn_file parent, const char *name)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (cn_os_open_dir(parent, name, &dir) || cn_os_lease(dir, true) || !leads_to(parent, name, dir)) return;
    if (is_hidden(name, OLD_SUFFIX))
        remove_old(parent, name);
    else
        (void)cn_tree_remove(parent, name);
}

/* What was seen: names, each ended by NUL. */
static int note_hidden(void *user, const char *name)
{
    struct cn_buf *names = user;
    if (is_hidden(name, NEW_SUFFIX) || is_hidden(name, OLD_SUFFIX)) cn_buf_append(names, name, strlen(name) + 1);
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

int cn_standalone_check(cn_file parent, const char *name, const char *path, cairn_error *err)
{
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (!cn_os_stat_at(parent, CN_NAME_RUN, &info) || !cn_os_stat_at(parent, CN_NAME_PRIVATE "/" CN_NAME_TERMS, &info))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: it lies in a run's folder: save with cairn_save, or to a folder of its own elsewhere",
                            path);
    return cn_os_open_dir(parent, name, &dir) ? CAIRN_OK : refuse_pinned(dir, path, err); /* what stands there is looked at again */
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
        snprintf(ret_staging->name, sizeof ret_staging->name, ".%s" NEW_SUFFIX, hex);
        rc = make_locked(ret_staging);
        if (rc) cn_staging_abandon(ret_staging);
    }
    return rc ? cn_error_errno(err, -rc, "%s: making a folder beside it", path) : CAIRN_OK;
}

/* Before an exchange: what lies under this name afterwards is not ours to remove without a look, should we die. */
static int call_old(struct cn_staging *staging)
{
    char name[sizeof staging->name];
    if (is_hidden(staging->name, OLD_SUFFIX)) return 0;
    snprintf(name, sizeof name, "%.*s" OLD_SUFFIX, (int)(strlen(staging->name) - strlen(NEW_SUFFIX)), staging->name);
    int rc = cn_os_rename_new(staging->parent, staging->name, staging->parent, name);
    if (rc) return rc;
    memcpy(staging->name, name, sizeof name);
    return cn_os_sync_dir(staging->parent);
}

/* Something else had taken the name since we looked: it stays, beside. *err says what it is. */
static int put_aside(struct cn_staging *staging, const char *name, const char *path, cairn_error *err)
{
    char aside[256 + CN_ID_BYTES + 16];
    int code = err->code;
    snprintf(aside, sizeof aside, "%s.replaced%.*s", name, CN_ID_BYTES, staging->name); /* its dot and digits */
    int rc = cn_os_rename_new(staging->parent, staging->name, staging->parent, aside);
    if (!rc) rc = cn_os_sync_dir(staging->parent);
    return cn_error_prefix(err, code, "%s: it was saved, and what had come to stand there meanwhile is %s now", path,
                           rc ? staging->name : aside);
}

/* The new one takes the name in one step; the old one then has the hidden name, and goes. */
static int exchange(struct cn_staging *staging, const char *name, const char *path, bool *ret_again, cairn_error *err)
{
    cairn_error problem = CAIRN_ERROR_INIT;
    int rc = call_old(staging);
    if (rc) return cn_error_errno(err, -rc, "%s: making ready to replace it", path);
    rc = cn_os_exchange(staging->parent, staging->name, name);
    *ret_again = rc == -ENOENT; /* somebody removed it */
    if (rc == -EINVAL || rc == -ENOSYS)
        return cn_error_set(err, CAIRN_E_UNSUPPORTED,
                            "%s: this file system cannot replace a folder in one step: remove it first, or save under another name", path);
    if (rc) return cn_error_errno(err, -rc, "%s: replacing it", path);
    staging->committed = true;
    int code = check_old(staging->parent, staging->name, path, &problem);
    if (code && code != CAIRN_E_NOTFOUND) {
        code = put_aside(staging, name, path, &problem);
        if (err) *err = problem;
        return code;
    }
    rc = cn_os_sync_dir(staging->parent);
    if (rc) return cn_error_errno(err, -rc, "%s: syncing the folder above it", path);
    remove_old(staging->parent, staging->name);
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
            code = exchange(staging, name, path, &again, err);
        else
            code = take_free_name(staging, name, path, &again, err);
        again &= replace;
    }
    return code;
}
