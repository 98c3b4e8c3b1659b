/* Retiring (see retire.h and docs/DURABILITY.md, R1-R8). Names in .cairn/trash:
 *
 *     p<uuid>/<id>   a live pruner's folder and what it has renamed away; renamed to x... by every commit, by who opens the run for writing, and by the next pruner
 *     x<uuid>        the same, taken over: its pruner finds no target any more
 *     s<uuid>-<n>    a staging folder of an older writer
 *
 * A checkpoint folder with retired.json in place of manifest.json was retired where it stands, on a full disk: it only waits to be removed.
 *
 * Nothing is unlinked before the run folder is synced after the rename that removed it from there. */
#include "store/held.h"
#include "store/retire.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/limits.h"
#include "store/layout.h"
#include "store/marks.h"
#include "store/remains.h"
#include "store/tree.h"

enum { TRIES = 100, WAITS = 1000, WAIT_NS = 10000000 };

/* --------------------------------------------------------------------------------------------------- retired where it stands */

/* What says that it is retired is durable before anything goes, for who began may have died before its own sync, and goes last, when the rest is durably
 * gone: a cut or a kill before leaves it to whoever comes next. */
static int empty_retired(cn_file dir)
{
    int rc = cn_os_sync_dir(dir);
    if (!rc) rc = cn_tree_empty(dir, CN_NAME_RETIRED);
    if (!rc) rc = cn_os_sync_dir(dir);
    return rc ? rc : cn_os_unlink(dir, CN_NAME_RETIRED);
}

/* Through its own descriptor: by the time we act the name may lead to a new checkpoint, whose folder cannot be removed for it is full. So is one that
 * was empty when we looked, and into which somebody puts a copy back. */
int cn_retire_finish(cn_file run_dir, const char *name)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    struct cn_file_info info;
    enum cn_remains remains;
    int rc = cn_os_open_dir(run_dir, name, &dir);
    if (!rc) rc = cn_remains_look_in(dir, &remains);
    if (!rc && remains != CN_REMAINS_RETIRED) return 0;
    if (!rc && !cn_os_stat_at(dir, CN_NAME_RETIRED, &info)) rc = empty_retired(dir);
    if (!rc || rc == -ENOENT) rc = cn_os_remove_dir(run_dir, name);
    return rc == -ENOENT || rc == -ENOTEMPTY || rc == -EEXIST ? 0 : rc;
}

/* ----------------------------------------------------------------------------------------------------------- one victim */

struct pruner {
    const struct cn_rundir *run;
    struct cn_retire *retire;
    char folder[CN_ID_BYTES + 2]; /* p<uuid>; "": there is no room for one */
    cn_file dir;
};

static void tell(struct pruner *pruner, const char *name, const char *what, int rc)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (!pruner->retire->message) return;
    if (rc)
        cn_error_errno(&error, -rc, "%s/%s was not removed: %s", pruner->run->path, name, what);
    else
        cn_error_set(&error, CAIRN_E_IO, "%s/%s was not removed: %s", pruner->run->path, name, what);
    pruner->retire->message(pruner->retire->user, error.message);
}

static void tell_refused(struct pruner *pruner, const char *name, int rc)
{
    cairn_error *refused = &pruner->retire->refused;
    tell(pruner, name, "it stays for now", rc);
    if (!refused->code) cn_error_errno(refused, -rc, "%s/%s was not removed", pruner->run->path, name);
}

static void tell_left(struct pruner *pruner, const char *name, int rc)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (!pruner->retire->message) return;
    cn_error_errno(&error, -rc, "%s/%s was removed, but its files are in .cairn/trash until somebody empties it", pruner->run->path, name);
    pruner->retire->message(pruner->retire->user, error.message);
}

/* No room even for a rename, or a file system that does not move folders: an overlay, of what lies in its lower layer. */
static bool cannot_move(int rc)
{
    return rc == -ENOSPC || rc == -EDQUOT || rc == -EXDEV;
}

/* R3: alone with it? The lease is refused while a reader holds the checkpoint. Id and marks are read again through the locked folder.
 * 0, -EBUSY: somebody reads it; -EPERM: it was marked meanwhile; -EAGAIN: another one has the name now. */
static int lock_victim(struct pruner *pruner, const struct cn_catalog_entry *victim, struct cn_held *held)
{
    struct cn_pool pool;
    struct cn_manifest manifest;
    bool pinned = false;
    *held = (struct cn_held){ .dir = CN_NO_FILE, .manifest_file = CN_NO_FILE };
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int rc = cn_held_open(pruner->run->dir, victim->name, &pool, held, &manifest, NULL) ? -EAGAIN : 0;
    if (!rc && strcmp(manifest.id, victim->manifest.id)) rc = -EAGAIN;
    /* a place that has no locks at all has no readers' leases either */
    if (!rc && cn_held_alone(held->dir, &held->manifest_file)) rc = -EBUSY;
    /* from shared to alone the lease is given up for a moment: a drop may have put another manifest there, which is a reader's by now */
    if (!rc && cn_held_look_again(pruner->run->dir, victim->name, held)) rc = -EAGAIN;
    if (!rc && (cn_marks_merge(held->dir, &pool, &manifest, &pinned, NULL) || pinned || manifest.tags_count)) rc = -EPERM;
    cn_pool_done(&pool);
    if (rc) cn_held_close(held);
    return rc;
}

/* R5: what was moved is who we meant? The name may have been given to another one since: that one goes back, through the folder's descriptor. No
 * manifest: a commit took our folder over, and somebody finishes it already. What cannot be read stays in trash for whoever empties it. */
static int look_at_moved(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    struct cn_pool pool;
    struct cn_manifest manifest;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_held_read(pruner->dir, victim->manifest.id, &pool, &manifest, NULL);
    bool other = !code && strcmp(manifest.id, victim->manifest.id);
    cn_pool_done(&pool);
    if (other) (void)cn_os_rename_new(pruner->dir, victim->manifest.id, pruner->run->dir, victim->name);
    return other ? -ENOENT : code && code != CAIRN_E_NOTFOUND ? -EIO : 0;
}

/* By path, so that a commit that took our folder over makes the rename fail: -ENOENT. Not synced yet. */
static int move_victim(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    char path[sizeof pruner->folder + CN_ID_BYTES + 8];
    if (!pruner->folder[0]) return -ENOSPC;
    snprintf(path, sizeof path, "%s/%s", pruner->folder, victim->manifest.id);
    int rc = cn_os_rename_new(pruner->run->dir, victim->name, pruner->run->trash, path); /* R4 */
    return rc ? rc : look_at_moved(pruner, victim);
}

/* It is out of the run, so whoever empties trash ends it, after a sync of its own. */
static int empty_moved(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    int rc = cn_os_sync_dir(pruner->run->dir);                         /* R6 */
    return rc ? rc : cn_tree_remove(pruner->dir, victim->manifest.id); /* R7 */
}

/* R8: no room even for a rename into trash. Without its manifest the folder is no checkpoint any more; then it goes where it stands, file by file. */
static int retire_in_place(struct pruner *pruner, const struct cn_catalog_entry *victim, cn_file dir)
{
    int rc = cn_os_rename_new(dir, CN_NAME_MANIFEST, dir, CN_NAME_RETIRED);
    return rc ? rc : cn_retire_finish(pruner->run->dir, victim->name);
}

static void count_one(struct cn_retire *retire, const struct cn_catalog_entry *victim)
{
    retire->retired++;
    if (retire->each) retire->each(retire->user, victim);
}

/* 0: it is gone; -EBUSY, -EPERM: it stays; -ENOENT, -EAGAIN: things have changed, start over. */
static int retire_one(struct pruner *pruner, const struct cn_catalog_entry *victim)
{
    struct cn_held held;
    int rc = lock_victim(pruner, victim, &held);
    if (rc == -EBUSY) tell(pruner, victim->name, "somebody reads it", 0);
    if (rc == -EPERM) tell(pruner, victim->name, "it was pinned or tagged a moment ago", 0);
    if (rc) return rc;
    rc = move_victim(pruner, victim);
    bool in_place = cannot_move(rc);
    if (in_place) rc = retire_in_place(pruner, victim, held.dir);
    cn_held_close(&held);
    if (rc) {
        if (rc != -ENOENT) tell_refused(pruner, victim->name, rc);
        return rc;
    }
    count_one(pruner->retire, victim);
    rc = in_place ? 0 : empty_moved(pruner, victim);
    if (rc) tell_left(pruner, victim->name, rc);
    return 0;
}

/* ------------------------------------------------------------------------------------------------------------- deciding */

/* What the link leads to stays, whoever prunes. One that leads nowhere in the run is no best; any other failure must not look like it. */
static int keep_what_best_leads_to(const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *err)
{
    char target[CN_FOLDER_NAME_BYTES + 1] = "";
    int rc = cn_os_read_link(run->dir, CN_NAME_BEST, target, sizeof target);
    if (rc && rc != -ENOENT && rc != -EINVAL && rc != -ENAMETOOLONG)
        return cn_error_errno(err, -rc, "%s/" CN_NAME_BEST ": reading the link", run->path);
    for (uint64_t i = 0; i < catalog->readable && !rc; i++)
        if (!strcmp(catalog->entries[i].name, target)) catalog->entries[i].kept |= CAIRN_KEPT_BEST_LINK;
    return CAIRN_OK;
}

static void keep_what_is_marked(struct cn_catalog *catalog)
{
    for (uint64_t i = 0; i < catalog->readable; i++) {
        struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->pinned) entry->kept |= CAIRN_KEPT_PINNED;
        if (entry->manifest.tags_count) entry->kept |= CAIRN_KEPT_TAGGED;
    }
}

static int decide(const struct pruner *pruner, struct cn_catalog *catalog, cairn_error *err)
{
    int code = keep_what_best_leads_to(pruner->run, catalog, err);
    if (code) return code;
    keep_what_is_marked(catalog);
    return pruner->retire->decide(pruner->retire->decider, pruner->run, catalog, err);
}

enum round { SUPERSEDED, UNHEALTHY, OLD, ROUNDS }; /* in this order: what a full disk gets rid of first */

static enum round round_of(const struct cn_catalog_entry *entry)
{
    return entry->standing != CAIRN_CURRENT ? SUPERSEDED : !entry->manifest.healthy ? UNHEALTHY : OLD;
}

static int retire_by_rules(struct pruner *pruner, const struct cn_catalog *catalog)
{
    for (enum round round = SUPERSEDED; round < ROUNDS; round++) {
        for (uint64_t i = catalog->readable; i-- > 0;) {
            const struct cn_catalog_entry *entry = &catalog->entries[i];
            if (entry->kept || round_of(entry) != round) continue;
            int rc = pruner->retire->dry_run ? 0 : retire_one(pruner, entry);
            if (pruner->retire->dry_run) count_one(pruner->retire, entry);
            if (rc == -ENOENT || rc == -EAGAIN) return rc;
        }
    }
    return 0;
}

static int refuse(const struct pruner *pruner, const struct cn_catalog_entry *entry, int code, const char *why, cairn_error *err)
{
    return cn_error_set(err, code, "%s/%s is not removed: %s", pruner->run->path, entry->name, why);
}

/* Why it must stay, the weightiest reason first; CAIRN_OK: it may go. */
static int check_reasons(const struct pruner *pruner, const struct cn_catalog_entry *entry, cairn_error *err)
{
    static const struct {
        uint32_t reason;
        const char *why;
    } refusals[] = { { CAIRN_KEPT_NEWEST, "it is the newest of the run" },
                     { CAIRN_KEPT_HEAD, "it is the newest healthy one of the run" },
                     { CAIRN_KEPT_WHOLE, "newer ones are damaged, and it is the newest that is whole" },
                     { CAIRN_KEPT_BEST_LINK, "`" CN_NAME_BEST "` leads to it: remove that link first" },
                     { CAIRN_KEPT_PINNED, "it is pinned: `cairn tag --unpin` it first" },
                     { CAIRN_KEPT_TAGGED, "it is tagged: take the tag off first, `cairn tag --remove`" } };
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        if (!(entry->kept & refusals[i].reason)) continue;
        if (refusals[i].reason == CAIRN_KEPT_PINNED && entry->marks_unreadable)
            return cn_error_set(
                err, CAIRN_E_USAGE,
                "%s/%s is not removed: its marks cannot be read, and may pin it (`cairn tag --unpin` starts them afresh): %s",
                pruner->run->path, entry->name, entry->problem);
        return refuse(pruner, entry, CAIRN_E_USAGE, refusals[i].why, err);
    }
    return CAIRN_OK;
}

/* *ret_rc: -ENOENT, -EAGAIN: start over. */
static int retire_chosen(struct pruner *pruner, const struct cn_catalog *catalog, int *ret_rc, cairn_error *err)
{
    const struct cn_catalog_entry *entry = NULL;
    for (uint64_t i = 0; i < catalog->readable; i++)
        if (!strcmp(catalog->entries[i].manifest.id, pruner->retire->only_id)) entry = &catalog->entries[i];
    if (!entry) return cn_error_set(err, CAIRN_E_GONE, "%s: the checkpoint is gone already", pruner->run->path);
    int code = check_reasons(pruner, entry, err);
    if (code) return code;
    int rc = *ret_rc = retire_one(pruner, entry);
    if (rc == -EBUSY) return refuse(pruner, entry, CAIRN_E_LOCKED, "somebody reads it: try again later", err);
    if (rc == -EPERM) return refuse(pruner, entry, CAIRN_E_USAGE, "it was pinned or tagged a moment ago", err);
    if (rc && rc != -ENOENT && rc != -EAGAIN) return cn_error_errno(err, -rc, "%s/%s: removing it", pruner->run->path, entry->name);
    return CAIRN_OK;
}

/* -------------------------------------------------------------------------------------------------------------- the round */

static int make_folder(struct pruner *pruner)
{
    if (cn_id_new(pruner->folder + 1, NULL)) return -EIO;
    pruner->folder[0] = 'p';
    int rc = cn_os_make_dir(pruner->run->trash, pruner->folder);
    return rc ? rc : cn_os_open_dir(pruner->run->trash, pruner->folder, &pruner->dir);
}

/* A commit may take the folder away between making and opening it. On a full disk there is none. */
static int open_folder(struct pruner *pruner, cairn_error *err)
{
    int rc = -ENOENT;
    for (int i = 0; i < TRIES && rc == -ENOENT; i++) rc = make_folder(pruner);
    if (cannot_move(rc)) {
        pruner->folder[0] = 0;
        return CAIRN_OK;
    }
    return rc ? cn_error_errno(err, -rc, "%s/.cairn/trash: making a folder", pruner->run->path) : CAIRN_OK;
}

/* What the disk does not give, or a newer version wrote, may be the newest of all: nobody knows what must stay. */
static int check_readable(const struct pruner *pruner, const struct cn_catalog *catalog, cairn_error *err)
{
    for (uint64_t i = catalog->readable; i < catalog->count; i++) {
        const struct cn_catalog_entry *entry = &catalog->entries[i];
        if (entry->problem_code == CAIRN_E_IO || entry->problem_code == CAIRN_E_VERSION)
            return cn_error_set(err, entry->problem_code, "%s: nothing is removed while %s cannot be read: %s", pruner->run->path,
                                entry->name, entry->problem);
    }
    return CAIRN_OK;
}

/* One listing and what follows from it. *ret_again: things changed under us. */
static int retire_once(struct pruner *pruner, bool *ret_again, cairn_error *err)
{
    struct cn_catalog catalog;
    int rc = 0, code = open_folder(pruner, err);
    if (code) return code;
    code = cn_catalog_load(pruner->run, &catalog, err);
    if (!code) {
        code = check_readable(pruner, &catalog, err);
        int synced = code ? 0 : cn_os_sync_dir(pruner->run->dir); /* R2: what we saw is durable before we act on it */
        if (synced) code = cn_error_errno(err, -synced, "%s: syncing it", pruner->run->path);
        if (!code) code = decide(pruner, &catalog, err);
        if (!code && pruner->retire->only_id)
            code = retire_chosen(pruner, &catalog, &rc, err);
        else if (!code)
            rc = retire_by_rules(pruner, &catalog);
        cn_catalog_done(&catalog);
    }
    (void)cn_os_close(pruner->dir);
    pruner->dir = CN_NO_FILE;
    if (pruner->folder[0]) (void)cn_os_remove_dir(pruner->run->trash, pruner->folder);
    *ret_again = rc == -ENOENT || rc == -EAGAIN;
    return code;
}

static int tell_plan(struct pruner *pruner, cairn_error *err)
{
    struct cn_catalog catalog;
    int code = cn_catalog_load(pruner->run, &catalog, err);
    if (code) return code;
    code = check_readable(pruner, &catalog, err);
    if (!code) code = decide(pruner, &catalog, err);
    if (!code) (void)retire_by_rules(pruner, &catalog);
    for (uint64_t i = catalog.readable; i-- > 0 && !code && pruner->retire->stays;)
        if (catalog.entries[i].kept) pruner->retire->stays(pruner->retire->user, &catalog.entries[i]);
    cn_catalog_done(&catalog);
    return code;
}

/* One pruner at a time; where locks are refused several may be at it, and that is safe, too. false: another one is at it. */
static bool take_turn(const struct cn_rundir *run, const struct cn_retire *retire, struct cn_os_lock **ret_lock)
{
    for (int i = 0;; i++) {
        int rc = cn_os_lock_take(run->private_dir, CN_NAME_RETIRE_LOCK, ret_lock);
        if (rc != -EBUSY && rc != -EAGAIN) return true;
        if (!retire->waits || i == WAITS) return false;
        cn_os_sleep_ns(WAIT_NS);
    }
}

int cn_retire(const struct cn_rundir *run, struct cn_retire *retire, cairn_error *err)
{
    struct pruner pruner = { .run = run, .retire = retire, .dir = CN_NO_FILE };
    struct cn_os_lock *lock = NULL;
    bool again = true;
    int code = CAIRN_OK;
    if (retire->dry_run) return tell_plan(&pruner, err);
    if (!take_turn(run, retire, &lock))
        return retire->waits ? cn_error_set(err, CAIRN_E_LOCKED, "%s: another process removes checkpoints: try again later", run->path)
                             : CAIRN_OK;
    /* what removers that were killed left: whoever is at it without a lock starts over with a new folder */
    (void)cn_retire_sweep(run);
    cn_retire_empty_trash(run);
    for (int i = 0; i < TRIES && again && !code; i++) code = retire_once(&pruner, &again, err);
    cn_retire_finish_all(run);
    cn_os_lock_give(lock);
    if (!code && again && retire->only_id) return cn_error_set(err, CAIRN_E_GONE, "%s: it keeps changing: try again", run->path);
    return code;
}

/* -------------------------------------------------------------------------------------------------------------- leftovers */

struct leftover {
    const struct cn_rundir *run;
    cn_file dir; /* x<uuid> */
};

struct sweep {
    const struct cn_rundir *run;
    int failed;
};

static int sweep_pruner(void *user, const char *name)
{
    struct sweep *sweep = user;
    char target[CN_ID_BYTES + 8], hex[CN_ID_BYTES];
    if (name[0] != 'p') return 0;
    if (cn_id_new(hex, NULL)) return -EIO;
    snprintf(target, sizeof target, "x%s", hex);
    int rc = cn_os_rename_new(sweep->run->trash, name, sweep->run->trash, target);
    if (rc && rc != -ENOENT) sweep->failed = rc;
    return 0;
}

int cn_retire_sweep(const struct cn_rundir *run)
{
    struct sweep sweep = { .run = run };
    int rc = cn_os_list(run->trash, sweep_pruner, &sweep);
    return rc ? rc : sweep.failed;
}

/* A pruner that died between its rename and its look at what it had moved may have left a checkpoint that nobody meant: only what is named
 * by its own id may go, and what is none; another one goes back, and what cannot be read just now stays. */
static int settle_leftover(void *user, const char *name)
{
    const struct leftover *leftover = user;
    struct cn_pool pool;
    struct cn_manifest manifest;
    char back[CN_FOLDER_NAME_BYTES];
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    int code = cn_held_read(leftover->dir, name, &pool, &manifest, NULL);
    if (!code && strcmp(manifest.id, name)) {
        cn_layout_folder(manifest.step, 0, back);
        int rc = cn_os_rename_new(leftover->dir, name, leftover->run->dir, back);
        if (rc == -EEXIST) {
            cn_layout_folder(manifest.step, manifest.term, back);
            (void)cn_os_rename_new(leftover->dir, name, leftover->run->dir, back);
        }
    } else if (code != CAIRN_E_IO && code != CAIRN_E_NOMEM)
        (void)cn_tree_remove(leftover->dir, name);
    cn_pool_done(&pool);
    return 0;
}

static void empty_one(const struct cn_rundir *run, const char *name)
{
    struct leftover leftover = { run, CN_NO_FILE };
    if (name[0] == 's') (void)cn_tree_remove(run->trash, name);
    if (name[0] != 'x' || cn_os_open_dir(run->trash, name, &leftover.dir)) return;
    (void)cn_os_list(leftover.dir, settle_leftover, &leftover);
    (void)cn_os_close(leftover.dir);
    (void)cn_os_remove_dir(run->trash, name);
}

/* What was seen in trash: names, each ended by NUL. */
static int note_leftover(void *user, const char *name)
{
    struct cn_buf *names = user;
    cn_buf_append(names, name, strlen(name) + 1);
    return names->failed ? -ENOMEM : 0;
}

/* Who retired it in place died before it was gone. */
static int finish_retired(void *user, const char *name)
{
    const struct cn_rundir *run = user;
    uint64_t step, term;
    if (cn_layout_parse_folder(name, &step, &term)) (void)cn_retire_finish(run->dir, name);
    return 0;
}

/* First the look, then the sync: what lies there may have been renamed by a pruner that died before its own, and what comes after the sync is not
 * ours to empty yet. */
void cn_retire_empty_trash(const struct cn_rundir *run)
{
    cn_auto_buf struct cn_buf names;
    cn_buf_init(&names, cn_os_alloc(), CN_MAX_CATALOG_BYTES);
    if (cn_os_list(run->trash, note_leftover, &names) || !names.size || cn_os_sync_dir(run->dir)) return;
    for (size_t at = 0; at < names.size; at += strlen(names.data + at) + 1) empty_one(run, names.data + at);
}

void cn_retire_finish_all(const struct cn_rundir *run)
{
    (void)cn_os_list(run->dir, finish_retired, (void *)(uintptr_t)run);
}
