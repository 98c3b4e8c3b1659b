/* Following (see follow.h). It polls: a run may lie on a file system that tells nobody of changes. The folder's time of change says when it is worth
 * listing again; every now and then it is listed all the same, for that time may be coarse. */
#include "manager/follow.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "snapshot/checkpoint.h"
#include "store/catalog.h"

#define POLL_NS UINT64_C(10000000)
#define LIST_NS UINT64_C(300000000)

/* Checkpoints are ordered by (term, step), as on disk. */
static bool is_beyond(const struct cn_manifest *manifest, const cairn_position *position)
{
    if (manifest->term != position->term) return manifest->term > position->term;
    return manifest->step > position->step;
}

/* It can be opened by nobody, now or later; what this process lacks says nothing about it. */
static bool is_broken(int code, const cairn_error *error)
{
    return code != CAIRN_E_NOMEM && code != CAIRN_E_GONE && error->os_errno != EMFILE && error->os_errno != ENFILE;
}

/* The position moves on to one that is broken, too: it is told of once, and what comes after it is followed. */
static int open_entry(const struct cn_rundir *run, const struct cn_catalog_entry *entry, cairn_position *position,
                      cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES + 80];
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_checkpoint *checkpoint = NULL;
    snprintf(path, sizeof path, "%s/%s", run->path, entry->name);
    int code = cn_checkpoint_open_at(run->dir, entry->name, path, CAIRN_IO_AUTO, &checkpoint, &error);
    if (!code && strcmp(checkpoint->manifest.id, entry->manifest.id)) { /* the name has changed hands */
        cn_checkpoint_close(checkpoint);
        return CAIRN_E_GONE;
    }
    if (code == CAIRN_E_NOTFOUND) return CAIRN_E_GONE;
    if (code && err) *err = error;
    if (!code || is_broken(code, &error)) *position = (cairn_position){ entry->manifest.term, entry->manifest.step };
    if (!code) *ret_checkpoint = checkpoint;
    return code;
}

/* What is not there yet may become a run; what is no folder, or cannot be reached, is not waited for. */
static int look_at_path(const char *run_path, struct cn_file_info *info, bool *ret_there, cairn_error *err)
{
    int rc = cn_os_stat_path(run_path, info);
    if (!rc && info->type != CN_TYPE_DIR) rc = -ENOTDIR;
    *ret_there = !rc;
    return rc && rc != -ENOENT ? cn_error_errno(err, -rc, "%s: waiting for its next checkpoint", run_path) : CAIRN_OK;
}

/* The oldest one beyond the position; those that are gone when it comes to opening them are passed over. */
static int look(const char *run_path, cairn_position *position, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    struct cn_rundir run;
    struct cn_catalog catalog;
    int code = cn_rundir_open_read(run_path, &run, err);
    if (code) return code;
    code = cn_catalog_load(&run, &catalog, err);
    if (!code) {
        for (uint64_t i = 0; i < catalog.readable && !*ret_checkpoint && !code; i++) {
            const struct cn_catalog_entry *entry = &catalog.entries[i];
            if (entry->standing != CAIRN_CURRENT || !is_beyond(&entry->manifest, position)) continue;
            code = open_entry(&run, entry, position, ret_checkpoint, err);
            if (code == CAIRN_E_GONE) code = CAIRN_OK;
        }
        cn_catalog_done(&catalog);
    }
    cn_rundir_close(&run);
    return code == CAIRN_E_GONE ? CAIRN_OK : code;
}

int cn_follow_next(const char *run_path, cairn_position *position, uint64_t timeout_ms, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    uint64_t started = cn_os_now_ns(), listed = 0;
    struct cn_file_info info, seen = { 0 };
    cairn_checkpoint *checkpoint = NULL;
    for (;;) {
        uint64_t now = cn_os_now_ns();
        bool there;
        int code = look_at_path(run_path, &info, &there, err);
        if (!code && there && (!listed || info.mtime_ns != seen.mtime_ns || info.inode != seen.inode || now - listed >= LIST_NS)) {
            cairn_error error = CAIRN_ERROR_INIT;
            seen = info;
            listed = now;
            code = look(run_path, position, &checkpoint, &error);
            if (code == CAIRN_E_NOTFOUND) code = CAIRN_OK; /* no run.json yet: it is being made */
            if (code && err) *err = error;
        }
        if (code) return code;
        if (checkpoint || (cn_os_now_ns() - started) / 1000000 >= timeout_ms) break;
        cn_os_sleep_ns(POLL_NS);
    }
    *ret_checkpoint = checkpoint;
    return CAIRN_OK;
}
