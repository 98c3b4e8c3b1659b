/* Opening a checkpoint so that it stays: the reader's lease, and the second look that it is still the one the name leads to. */
#include "store/held.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"
#include "store/layout.h"

enum { TRIES = 200, WAIT_NS = 1000000 };

static int load(cn_file file, struct cn_pool *pool, struct cn_manifest *ret_manifest, cairn_error *err)
{
    struct cn_file_info info;
    size_t count = 0;
    int rc = cn_os_stat(file, &info);
    if (rc) return cn_error_opening(err, -rc, CN_NAME_MANIFEST);
    if (info.size_bytes > CN_MAX_MANIFEST_BYTES)
        return cn_error_set(err, CAIRN_E_LIMIT, "%llu bytes; at most %llu are read", (unsigned long long)info.size_bytes,
                            (unsigned long long)CN_MAX_MANIFEST_BYTES);
    cn_auto_free char *data = cn_os_new(info.size_bytes + 1);
    if (!data) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for it");
    rc = cn_os_read_at(file, 0, data, info.size_bytes, &count);
    return rc ? cn_error_errno(err, -rc, "reading it") : cn_manifest_decode(data, count, pool, ret_manifest, err);
}

/* By the whole path again: still that inode, else somebody retired or replaced it between our open and our lease. */
int cn_held_look_again(cn_file parent, const char *name, const struct cn_held *held)
{
    struct cn_file_info ours, found;
    cn_auto_close cn_file dir = CN_NO_FILE;
    int rc = cn_os_open_dir(parent, name, &dir);
    if (rc == -EMFILE || rc == -ENFILE || rc == -ENOMEM) return rc;
    if (rc || cn_os_stat(held->manifest_file, &ours)) return -ESTALE;
    return !cn_os_stat_at(dir, CN_NAME_MANIFEST, &found) && found.inode == ours.inode && found.device == ours.device ? 0 : -ESTALE;
}

/* Who retires or drops holds the lease alone for as long as a sync takes; after that the name leads elsewhere. */
static int lease(struct cn_held *held)
{
    int rc = -EWOULDBLOCK;
    for (int i = 0; i < TRIES && rc == -EWOULDBLOCK; i++) {
        if (i) cn_os_sleep_ns(WAIT_NS);
        rc = cn_os_lease(held->manifest_file, false);
    }
    held->leased = !rc;
    held->process = cn_os_process();
    return rc;
}

/* NFS makes record locks of these, and an exclusive one wants a descriptor that may write. */
int cn_held_alone(cn_file dir, cn_file *manifest_file)
{
    cn_file writable;
    int rc = cn_os_lease(*manifest_file, true);
    if (rc == -EBADF) {
        if (cn_os_open_write(dir, CN_NAME_MANIFEST, &writable)) return -EWOULDBLOCK;
        cn_os_lease_give(*manifest_file);
        (void)cn_os_close(*manifest_file);
        *manifest_file = writable;
        rc = cn_os_lease(writable, true);
    }
    return rc == -EWOULDBLOCK || rc == -EBADF ? -EWOULDBLOCK : 0;
}

static int open_both(cn_file parent, const char *name, struct cn_held *held, cairn_error *err)
{
    struct cn_shown shown;
    int rc = cn_os_open_dir(parent, name, &held->dir);
    if (rc) return cn_error_opening(err, -rc, name);
    rc = cn_os_open_read(held->dir, CN_NAME_MANIFEST, &held->manifest_file);
    return rc ? cn_error_prefix(err, cn_error_opening(err, -rc, CN_NAME_MANIFEST), "%s", cn_show_text(&shown, name)) : CAIRN_OK;
}

static int load_manifest(const char *name, const struct cn_held *held, struct cn_pool *pool, struct cn_manifest *ret_manifest,
                         cairn_error *err)
{
    struct cn_shown shown;
    int code = load(held->manifest_file, pool, ret_manifest, err);
    return code ? cn_error_prefix(err, code, "%s/" CN_NAME_MANIFEST, cn_show_text(&shown, name)) : CAIRN_OK;
}

int cn_held_open(cn_file parent, const char *name, struct cn_pool *pool, struct cn_held *ret_held, struct cn_manifest *ret_manifest,
                 cairn_error *err)
{
    struct cn_held held = { .dir = CN_NO_FILE, .manifest_file = CN_NO_FILE };
    struct cn_shown shown;
    int code = open_both(parent, name, &held, err);
    int rc = code ? 0 : lease(&held) == -EWOULDBLOCK ? -ESTALE : cn_held_look_again(parent, name, &held);
    if (rc && rc != -ESTALE) code = cn_error_opening(err, -rc, name);
    if (rc == -ESTALE)
        code = cn_error_set(err, CAIRN_E_GONE, "%s: removed or changed while it was being opened: list again", cn_show_text(&shown, name));
    if (!code) code = load_manifest(name, &held, pool, ret_manifest, err);
    if (code)
        cn_held_close(&held);
    else
        *ret_held = held;
    return code;
}

int cn_held_peek(cn_file parent, const char *name, struct cn_pool *pool, struct cn_held *ret_held, struct cn_manifest *ret_manifest,
                 cairn_error *err)
{
    struct cn_held held = { .dir = CN_NO_FILE, .manifest_file = CN_NO_FILE };
    int code = open_both(parent, name, &held, err);
    if (!code) code = load_manifest(name, &held, pool, ret_manifest, err);
    if (code)
        cn_held_close(&held);
    else
        *ret_held = held;
    return code;
}

int cn_held_read(cn_file parent, const char *name, struct cn_pool *pool, struct cn_manifest *ret_manifest, cairn_error *err)
{
    struct cn_held held;
    int code = cn_held_peek(parent, name, pool, &held, ret_manifest, err);
    if (!code) cn_held_close(&held);
    return code;
}

int cn_held_check_id(const char *name, const struct cn_manifest *found, const char *id, cairn_error *err)
{
    struct cn_shown shown;
    if (!*id || !strcmp(found->id, id)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_GONE, "%s: the name leads to another checkpoint by now: list again", cn_show_text(&shown, name));
}

void cn_held_close(struct cn_held *held)
{
    if (held->leased && held->process == cn_os_process()) cn_os_lease_give(held->manifest_file);
    (void)cn_os_close(held->manifest_file);
    (void)cn_os_close(held->dir);
    *held = (struct cn_held){ .dir = CN_NO_FILE, .manifest_file = CN_NO_FILE };
}
