/* A staging folder becomes a checkpoint by one rename, or never (see commit.h). The order below is docs/DURABILITY.md, "The order of a commit",
 * D2-D11; tests/model checks it: change both together. */
#include "store/commit.h"
#include "store/held.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/remains.h"
#include "store/retire.h"
#include "store/smallfile.h"
#include "store/term.h"
#include "store/tree.h"

enum { TRIES = 100 };

int cn_staging_make(struct cn_staging *staging)
{
    int rc = cn_os_make_dir(staging->parent, staging->name); /* D2 */
    return rc ? rc : cn_os_open_dir(staging->parent, staging->name, &staging->dir);
}

int cn_staging_fill(struct cn_staging *staging)
{
    int rc = cn_os_make_dir(staging->dir, CN_NAME_TRAINING);
    if (!rc) rc = cn_os_open_dir(staging->dir, CN_NAME_TRAINING, &staging->training);
    return rc ? rc : cn_os_sync_dir(staging->parent);
}

int cn_staging_begin(const struct cn_rundir *run, uint64_t term, struct cn_staging *ret_staging, cairn_error *err)
{
    struct cn_staging staging = { .run = run, .parent = run->staging, .dir = CN_NO_FILE, .training = CN_NO_FILE };
    char hex[CN_ID_BYTES];
    int code = cn_id_new(hex, err);
    if (code) return code;
    snprintf(staging.name, sizeof staging.name, "%llu-%s", (unsigned long long)term, hex);
    int rc = cn_staging_make(&staging);
    if (!rc) rc = cn_staging_fill(&staging);
    if (rc) cn_staging_abandon(&staging);
    if (rc) return cn_error_errno(err, -rc, "%s/.cairn/staging: making a folder", run->path);
    *ret_staging = staging;
    return CAIRN_OK;
}

void cn_staging_abandon(struct cn_staging *staging)
{
    (void)cn_os_close(staging->training);
    (void)cn_os_close(staging->dir);
    staging->training = staging->dir = CN_NO_FILE;
    if (staging->name[0] && !staging->committed) (void)cn_tree_remove(staging->parent, staging->name);
    staging->name[0] = 0;
}

cn_file cn_staging_folder(const struct cn_staging *staging, const char *name, const char **ret_last)
{
    const char *slash = strchr(name, '/');
    *ret_last = slash ? slash + 1 : name;
    return slash ? staging->training : staging->dir;
}

int cn_staging_make_dirs(const struct cn_staging *staging, const char *attachment_name, cairn_error *err)
{
    char path[CN_MAX_NAME_BYTES + 1];
    for (const char *slash = strchr(attachment_name, '/'); slash; slash = strchr(slash + 1, '/')) {
        size_t size = (size_t)(slash - attachment_name);
        memcpy(path, attachment_name, size);
        path[size] = 0;
        int rc = cn_os_make_dir(staging->dir, path);
        if (rc && rc != -EEXIST) return cn_error_errno(err, -rc, "folder %s", path);
    }
    return CAIRN_OK;
}

/* Folders below dir, from the leaves up: their entries are durable. */
static int sync_below(cn_file dir, int depth);

struct below {
    cn_file dir;
    int depth;
};

static int sync_child(void *user, const char *name)
{
    const struct below *below = user;
    struct cn_file_info info;
    cn_auto_close cn_file child = CN_NO_FILE;
    int rc = cn_os_stat_at(below->dir, name, &info);
    if (rc || info.type != CN_TYPE_DIR) return rc;
    rc = cn_os_open_dir(below->dir, name, &child);
    return rc ? rc : sync_below(child, below->depth + 1);
}

static int sync_below(cn_file dir, int depth)
{
    struct below below = { dir, depth };
    if (depth > CN_MAX_FOLDER_DEPTH) return -ELOOP;
    int rc = cn_os_list(dir, sync_child, &below);
    return rc ? rc : cn_os_sync_dir(dir);
}

int cn_staging_put_manifest(const struct cn_staging *staging, const struct cn_manifest *manifest, cairn_error *err)
{
    cn_auto_buf struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), 2 * CN_MAX_MANIFEST_BYTES);
    int code = cn_manifest_encode(manifest, &buf, err);
    if (!code) code = cn_smallfile_put(staging->dir, CN_NAME_MANIFEST, buf.data, buf.size, 0644, err); /* D4 */
    if (code) return code;
    int rc = sync_below(staging->dir, 0); /* D5 */
    return rc ? cn_error_errno(err, -rc, "syncing the new checkpoint's folders") : CAIRN_OK;
}

/* ----------------------------------------------------------------------------------------------------------- name check */

static void tell(struct cn_commit *commit, const char *format, const char *path, const char *from, const char *to)
{
    char text[CN_MAX_PATH_BYTES + 512];
    if (!commit->message) return;
    snprintf(text, sizeof text, format, path, from, to);
    commit->message(commit->user, text);
}

/* Gives what has a name another one that is a checkpoint's: its own term's, or the next that is free, for a name is a hint. Since we looked the name may
 * have been given to another one, even to the newest of all: under no other form of name would it be found again. */
static int move_aside(const struct cn_rundir *run, const char *name, const struct cn_manifest *holder, cairn_error *err)
{
    char aside[CN_FOLDER_NAME_BYTES];
    int rc = -EEXIST;
    for (uint64_t i = 0; i < TRIES && rc == -EEXIST; i++) {
        cn_layout_folder(holder->step, holder->term + i, aside);
        rc = cn_os_rename_new(run->dir, name, run->dir, aside);
    }
    if (rc && rc != -ENOENT) return cn_error_errno(err, -rc, "%s/%s: renaming it to %s", run->path, name, aside);
    return CAIRN_OK;
}

/* Renames it away; when the wished-for name is taken, too, it gets a suffix that nobody has. */
static int rename_damaged(const struct cn_rundir *run, const char *name, char *wish, size_t size, cairn_error *err)
{
    char hex[CN_ID_BYTES];
    int rc = cn_os_rename_new(run->dir, name, run->dir, wish);
    if (rc == -EEXIST) {
        int code = cn_id_new(hex, err);
        if (code) return code;
        snprintf(wish + strlen(wish), size - strlen(wish), ".%.8s", hex);
        rc = cn_os_rename_new(run->dir, name, run->dir, wish);
    }
    if (rc && rc != -ENOENT) return cn_error_errno(err, -rc, "%s/%s: renaming it to %s", run->path, name, wish);
    return CAIRN_OK;
}

static int move_damaged(struct cn_commit *commit, const struct cn_rundir *run, cairn_error *err)
{
    char wish[CN_FOLDER_NAME_BYTES + 32];
    struct cn_pool pool;
    struct cn_manifest holder;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    snprintf(wish, sizeof wish, "%s.damaged", commit->name);
    int code = rename_damaged(run, commit->name, wish, sizeof wish, err);
    if (!code && !cn_held_read(run->dir, wish, &pool, &holder, NULL))
        code = move_aside(run, wish, &holder, err); /* another one has had the name since: that one is whole */
    else if (!code)
        tell(commit, "%s/%s is damaged and was renamed to %s to make room for the same step", run->path, commit->name, wish);
    cn_pool_done(&pool);
    return code;
}

static int refuse_foreign(const struct cn_commit *commit, const struct cn_rundir *run, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_FOREIGN, "%s/%s stands where the checkpoint should go and is not Cairn's: move it away", run->path,
                        commit->name);
}

/* Of what has no manifest. If another one has the name already, the rename will tell. */
static int free_remains(struct cn_commit *commit, const struct cn_rundir *run, cairn_error *err)
{
    enum cn_remains remains;
    int rc = cn_remains_look(run->dir, commit->name, &remains);
    if (rc) return cn_error_errno(err, -rc, "%s/%s: looking into it", run->path, commit->name);
    if (remains == CN_REMAINS_FOREIGN) return refuse_foreign(commit, run, err);
    if (remains == CN_REMAINS_LOST) return move_damaged(commit, run, err);
    rc = remains == CN_REMAINS_RETIRED ? cn_retire_finish(run->dir, commit->name) : 0; /* for who began it */
    return rc ? cn_error_errno(err, -rc, "%s/%s: removing what was retired there", run->path, commit->name) : CAIRN_OK;
}

static int judge_holder(struct cn_commit *commit, const struct cn_rundir *run, const struct cn_manifest *holder, cairn_error *err)
{
    const struct cn_manifest *ours = commit->manifest;
    if (strcmp(holder->run_id, run->id))
        return cn_error_set(err, CAIRN_E_FOREIGN, "%s/%s belongs to another run: move it away", run->path, commit->name);
    if (holder->term > ours->term)
        return cn_error_set(err, CAIRN_E_FENCED, "%s: another writer has taken this run over (term %llu, ours is %llu): stop this process",
                            run->path, (unsigned long long)holder->term, (unsigned long long)ours->term);
    if (holder->step >= ours->step && cn_manifest_on_line(ours, holder->term, holder->step))
        return cn_error_set(err, CAIRN_E_EXISTS, "%s/%s: step %llu is saved already", run->path, commit->name,
                            (unsigned long long)holder->step);
    return move_aside(run, commit->name, holder, err);
}

/* D6: frees our name, or says why that must not be. */
static int free_name(struct cn_commit *commit, const struct cn_rundir *run, cairn_error *err)
{
    struct cn_file_info info;
    struct cn_pool pool;
    struct cn_manifest holder;
    cairn_error problem = CAIRN_ERROR_INIT;
    int rc = cn_os_stat_at(run->dir, commit->name, &info);
    if (rc == -ENOENT) return CAIRN_OK;
    if (rc) return cn_error_errno(err, -rc, "%s/%s: looking at it", run->path, commit->name);
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_held_read(run->dir, commit->name, &pool, &holder, &problem);
    if (!code) {
        code = judge_holder(commit, run, &holder, err);
    } else if (code == CAIRN_E_NOTFOUND) {
        code = free_remains(commit, run, err);
    } else if (code == CAIRN_E_PATH) {
        code = refuse_foreign(commit, run, err);
    } else if (code == CAIRN_E_CORRUPT || code == CAIRN_E_TRUNCATED || code == CAIRN_E_FORMAT || code == CAIRN_E_LIMIT) {
        code = move_damaged(commit, run, err);
    } else {
        code = code == CAIRN_E_GONE ? CAIRN_OK : problem.code;
        if (code && err) *err = problem;
    }
    cn_pool_done(&pool);
    return code;
}

/* ---------------------------------------------------------------------------------------------------------- the rename */

static int rename_once(struct cn_staging *staging, struct cn_commit *commit, bool *ret_again, cairn_error *err)
{
    const struct cn_rundir *run = staging->run;
    int code = free_name(commit, run, err);
    if (code) return code;
    /* D7: a cut could otherwise keep our rename and drop the one that freed the name */
    int rc = cn_os_sync_dir(run->dir);
    if (rc) return cn_error_errno(err, -rc, "%s: syncing it", run->path);
    rc = cn_retire_sweep(run); /* D8 */
    if (rc) return cn_error_errno(err, -rc, "%s/.cairn/trash: moving a pruner's folder away", run->path);
    code = cn_term_check(run, commit->manifest->term, commit->uuid, err); /* D9 */
    if (code) return code;
    rc = cn_os_rename_new(run->staging, staging->name, run->dir, commit->name); /* D10: the commit */
    *ret_again = rc == -EEXIST;
    if (!rc || rc == -EEXIST) return CAIRN_OK;
    if (rc == -ENOENT)
        return cn_error_set(err, CAIRN_E_FENCED,
                            "%s: another writer has taken this run over and moved our staging folder away: stop this process", run->path);
    return cn_error_errno(err, -rc, "%s/%s: the committing rename", run->path, commit->name);
}

int cn_staging_commit(struct cn_staging *staging, struct cn_commit *commit, cairn_error *err)
{
    const struct cn_rundir *run = staging->run;
    bool again = true;
    cn_layout_folder(commit->manifest->step, 0, commit->name);
    int code = cn_staging_put_manifest(staging, commit->manifest, err);
    for (int i = 0; i < TRIES && !code && again; i++) code = rename_once(staging, commit, &again, err);
    if (code) return code;
    if (again) return cn_error_set(err, CAIRN_E_EXISTS, "%s/%s: others keep taking the name", run->path, commit->name);
    staging->committed = true;
    int rc = cn_os_sync_dir(run->dir); /* D11 */
    if (!rc) rc = cn_os_sync_dir(run->staging);
    return rc ? cn_error_errno(err, -rc, "%s: syncing it after the commit: the checkpoint may not survive a power cut", run->path)
              : CAIRN_OK;
}
