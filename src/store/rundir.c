/* A run's folder (see rundir.h). Readers change nothing. The writer makes what is missing; every new name is durable in its parent before
 * the call returns (docs/DURABILITY.md, D1). */
#include "store/rundir.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "store/layout.h"
#include "store/remains.h"
#include "store/smallfile.h"

enum { TRIES = 100 };

#define LOST_RUN_JSON ": put it back from a copy of the run; its checkpoints can still be read by their paths"

static void clear(struct cn_rundir *run)
{
    *run =
        (struct cn_rundir){ .dir = CN_NO_FILE, .private_dir = CN_NO_FILE, .terms = CN_NO_FILE, .staging = CN_NO_FILE, .trash = CN_NO_FILE };
}

void cn_rundir_close(struct cn_rundir *run)
{
    (void)cn_os_close(run->trash);
    (void)cn_os_close(run->staging);
    (void)cn_os_close(run->terms);
    (void)cn_os_close(run->private_dir);
    (void)cn_os_close(run->dir);
    clear(run);
}

static int start(struct cn_rundir *run, const char *path, cairn_error *err)
{
    clear(run);
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    if (!size || size >= sizeof run->path) return cn_error_set(err, CAIRN_E_USAGE, "a run's path has 1 to %zu bytes", sizeof run->path - 1);
    memcpy(run->path, path, size);
    return CAIRN_OK;
}

/* ------------------------------------------------------------------------------------------------------------- run.json */

static int decode_run(const char *data, size_t size, struct cn_rundir *run, cairn_error *err)
{
    struct cn_pool pool;
    struct cn_json json;
    const char *key, *kind = "", *id = "";
    uint64_t version = 0;
    bool more;
    int code = cn_json_check_seal(data, size, err);
    if (code) return code;
    cn_pool_init(&pool, cn_os_alloc(), 4 * CN_MAX_RUN_JSON_BYTES);
    cn_json_init(&json, data, size, &pool);
    code = cn_json_expect(&json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "cairn"))
            code = cn_json_string(&json, &kind, NULL, err);
        else if (!strcmp(key, "version"))
            code = cn_json_u64(&json, &version, err);
        else if (!strcmp(key, "id"))
            code = cn_json_string(&json, &id, NULL, err);
        else
            code = cn_json_skip(&json, err);
    }
    if (!code) code = cn_json_expect(&json, CN_JSON_END, "the end", err);
    if (!code && strcmp(kind, "run")) code = cn_error_set(err, CAIRN_E_FORMAT, "not a run's description");
    if (!code && version > CN_FORMAT_VERSION)
        code = cn_error_set(err, CAIRN_E_VERSION, "format version %llu; this version of Cairn knows %d: use a newer one",
                            (unsigned long long)version, CN_FORMAT_VERSION);
    if (!code && (!version || !cn_id_is(id, strlen(id)))) code = cn_error_set(err, CAIRN_E_FORMAT, "not a run's description");
    if (!code) memcpy(run->id, id, CN_ID_BYTES);
    cn_pool_done(&pool);
    return code;
}

static int read_run(struct cn_rundir *run, cairn_error *err)
{
    char *data;
    size_t size;
    int code = cn_smallfile_load(run->dir, CN_NAME_RUN, CN_MAX_RUN_JSON_BYTES, &data, &size, err);
    if (code) return cn_error_prefix(err, code, "%s", run->path);
    code = decode_run(data, size, run, err);
    cn_os_free(data);
    if (code == CAIRN_E_CORRUPT || code == CAIRN_E_FORMAT)
        return cn_error_prefix(err, code, "%s/" CN_NAME_RUN " is damaged" LOST_RUN_JSON, run->path);
    return code ? cn_error_prefix(err, code, "%s/" CN_NAME_RUN, run->path) : CAIRN_OK;
}

static int encode_run(const char *id, struct cn_buf *buf, cairn_error *err)
{
    struct cn_json_writer writer = { .buf = buf };
    cn_json_begin_object(&writer);
    cn_json_key(&writer, "cairn");
    cn_json_put_string(&writer, "run");
    cn_json_key(&writer, "version");
    cn_json_put_u64(&writer, CN_FORMAT_VERSION);
    cn_json_key(&writer, "id");
    cn_json_put_string(&writer, id);
    cn_json_seal(&writer);
    return cn_buf_check(buf, CN_NAME_RUN, err);
}

/* Linked into place: of two who start a run at once one wins, and both read what stands there. */
static int put_run(const struct cn_rundir *run, const char *temporary, const struct cn_buf *buf, int *ret_rc, cairn_error *err)
{
    int code = cn_smallfile_put(run->private_dir, temporary, buf->data, buf->size, 0644, err);
    if (code) return cn_error_prefix(err, code, "%s/.cairn", run->path);
    int rc = cn_os_link(run->private_dir, temporary, run->dir, CN_NAME_RUN);
    if (rc && rc != -EEXIST) rc = cn_os_rename_new(run->private_dir, temporary, run->dir, CN_NAME_RUN);
    (void)cn_os_unlink(run->private_dir, temporary);
    *ret_rc = rc == -EEXIST ? 0 : rc;
    return CAIRN_OK;
}

/* No such file: a faster one swept ours away, so run.json is there by now - which a client of a network file system may not know yet, but a new link
 * tells. */
static int create_run(const struct cn_rundir *run, cairn_error *err)
{
    char id[CN_ID_BYTES], temporary[64];
    int rc = -ENOENT, code = cn_id_new(id, err);
    cn_auto_buf struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), CN_MAX_RUN_JSON_BYTES);
    if (!code) code = encode_run(id, &buf, err);
    snprintf(temporary, sizeof temporary, CN_PREFIX_TEMPORARY "%s", id);
    for (int i = 0; i < TRIES && !code && rc == -ENOENT; i++) code = put_run(run, temporary, &buf, &rc, err);
    if (code) return code;
    return rc ? cn_error_errno(err, -rc, "%s/" CN_NAME_RUN ": creating it", run->path) : CAIRN_OK;
}

/* -------------------------------------------------------------------------------------------------------------- folders */

/* Makes and opens name under parent, whose sync is the caller's. */
static int enter_dir(struct cn_rundir *run, cn_file parent, const char *name, cn_file *ret_dir, cairn_error *err)
{
    int rc = cn_os_make_dir(parent, name);
    if (!rc || rc == -EEXIST) rc = cn_os_open_dir(parent, name, ret_dir);
    return rc ? cn_error_errno(err, -rc, "%s: folder %s", run->path, name) : CAIRN_OK;
}

/* The folder that path's last part lies in. path is cut. */
static int sync_above(char *path)
{
    char *slash = strrchr(path, '/');
    cn_auto_close cn_file parent = CN_NO_FILE;
    if (slash && slash > path) *slash = 0;
    int rc = cn_os_open_dir_path(slash ? slash > path ? path : "/" : ".", &parent);
    return rc ? rc : cn_os_sync_dir(parent);
}

/* How many parts of a path begin at or after position at. */
static int parts_from(const char *path, size_t at)
{
    int count = 0;
    for (; path[at]; at++) count += path[at] != '/' && (at == 0 || path[at - 1] == '/');
    return count;
}

static int not_entered(const char *path, const char *doing, int rc, cairn_error *err)
{
    if (rc == -ENOTDIR)
        return cn_error_set(err, CAIRN_E_NOTFOUND, "%s: it or what is above it is a file, and a run is a folder: give another name", path);
    return cn_error_errno(err, -rc, "%s: %s it", path, doing);
}

/* D1. What is made is made durable. Store and run folder are synced into their parents even when they stand there: who made them may have died
 * before its own sync. Where somebody else's folder above them cannot be opened, they are old. */
static int make_path(struct cn_rundir *run, cairn_error *err)
{
    char path[sizeof run->path + 1];
    size_t size = strlen(run->path);
    for (size_t at = 1; at <= size; at++) {
        struct cn_file_info info;
        if (at < size && run->path[at] != '/') continue;
        memcpy(path, run->path, at);
        path[at] = 0;
        int rc = cn_os_make_dir_path(path);
        bool made = !rc;
        if (rc && rc != -EEXIST && cn_os_stat_path(path, &info)) return not_entered(path, "making", rc, err);
        if (!made && parts_from(run->path, at) > 1) continue;
        rc = sync_above(path);
        if (rc && (made || (rc != -EACCES && rc != -EPERM))) return cn_error_errno(err, -rc, "%s: syncing the folder above it", run->path);
    }
    return CAIRN_OK;
}

struct search {
    const struct cn_rundir *run;
    uint64_t step;
    unsigned count;
    char found[256];
};

enum { NAMED = 3 };

/* Another trainer's checkpoints: our form of name without our manifest. What cannot be looked into is left to the catalog. */
static int find_foreign(void *user, const char *name)
{
    struct search *search = user;
    uint64_t step, term;
    struct cn_file_info info;
    enum cn_remains remains;
    if (!cn_layout_parse_folder(name, &step, &term) || cn_os_stat_at(search->run->dir, name, &info) || info.type != CN_TYPE_DIR) return 0;
    if (cn_remains_look(search->run->dir, name, &remains) || remains != CN_REMAINS_FOREIGN) return 0;
    size_t used = strlen(search->found);
    if (search->count++ < NAMED) snprintf(search->found + used, sizeof search->found - used, "%s%s", used ? ", " : "", name);
    return 0;
}

/* A checkpoint of ours: the one of the highest step. */
static int find_ours(void *user, const char *name)
{
    struct search *search = user;
    uint64_t step, term;
    cn_auto_close cn_file dir = CN_NO_FILE;
    struct cn_file_info info;
    if (!cn_layout_parse_folder(name, &step, &term) || cn_os_open_dir(search->run->dir, name, &dir)) return 0;
    if (cn_os_stat_at(dir, CN_NAME_MANIFEST, &info) || (search->found[0] && step < search->step)) return 0;
    snprintf(search->found, sizeof search->found, "%s", name);
    search->step = step;
    return 0;
}

/* Whose run nobody knows: checkpoints of ours where run.json is missing. Another process may just have made it, and them. */
static int refuse_orphans(const struct cn_rundir *run, cairn_error *err)
{
    struct search search = { .run = run };
    struct cn_file_info info;
    if (!cn_os_stat_at(run->dir, CN_NAME_RUN, &info)) return CAIRN_OK;
    int rc = cn_os_list(run->dir, find_ours, &search);
    if (rc < 0) return cn_error_errno(err, -rc, "%s: listing it", run->path);
    if (!search.found[0] || !cn_os_stat_at(run->dir, CN_NAME_RUN, &info)) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_FOREIGN,
                        "%s: " CN_NAME_RUN " is missing, but %s is there: put it back from a copy of the run, or choose another folder "
                        "for this run and start it from %s/%s",
                        run->path, search.found, run->path, search.found);
}

int cn_rundir_refuse_foreign(const struct cn_rundir *run, cairn_error *err)
{
    struct search search = { .run = run };
    int rc = cn_os_list(run->dir, find_foreign, &search);
    if (rc < 0) return cn_error_errno(err, -rc, "%s: listing it", run->path);
    if (!search.count) return CAIRN_OK;
    char more[32] = "";
    if (search.count > NAMED) snprintf(more, sizeof more, " and %u more", search.count - NAMED);
    return cn_error_set(err, CAIRN_E_FOREIGN,
                        "%s holds what Cairn did not write: %s%s; choose another folder for this run, or move it away", run->path,
                        search.found, more);
}

static int open_private(struct cn_rundir *run, cairn_error *err)
{
    int code = enter_dir(run, run->dir, CN_NAME_PRIVATE, &run->private_dir, err);
    if (!code) code = enter_dir(run, run->private_dir, CN_NAME_TERMS, &run->terms, err);
    if (!code) code = enter_dir(run, run->private_dir, CN_NAME_STAGING, &run->staging, err);
    if (!code) code = enter_dir(run, run->private_dir, CN_NAME_TRASH, &run->trash, err);
    if (code) return code;
    int rc = cn_os_sync_dir(run->private_dir);
    return rc ? cn_error_errno(err, -rc, "%s/.cairn: syncing it", run->path) : CAIRN_OK;
}

static int stop_at_run(void *user, const char *name)
{
    struct search *search = user;
    struct cn_file_info info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (cn_os_open_dir(search->run->dir, name, &dir) || cn_os_stat_at(dir, CN_NAME_RUN, &info)) return 0;
    snprintf(search->found, sizeof search->found, "%s", name);
    return 1;
}

/* A slip in the path: where the store was meant as a place for runs, or where everything goes when the checkpoint goes. */
static int check_new_place(const struct cn_rundir *run, cairn_error *err)
{
    char above[sizeof run->path + sizeof "/" CN_NAME_MANIFEST];
    struct cn_rundir there = { .dir = CN_NO_FILE };
    struct search search = { .run = &there };
    struct cn_file_info info;
    const char *slash = strrchr(run->path, '/');
    snprintf(above, sizeof above, "%.*s" CN_NAME_MANIFEST, slash ? (int)(slash - run->path) + 1 : 0, run->path);
    if (!cn_os_stat_path(above, &info))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: the folder above it is a checkpoint: choose another place for this run", run->path);
    if (cn_os_open_dir_path(run->path, &there.dir)) return CAIRN_OK; /* it is to be made */
    bool holds_runs = cn_os_list(there.dir, stop_at_run, &search) > 0;
    (void)cn_os_close(there.dir);
    if (!holds_runs) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "%s: it holds runs, %s among them: give the run a folder of its own in it", run->path,
                        search.found);
}

static int open_for_writing(struct cn_rundir *run, cairn_error *err)
{
    struct cn_file_info info;
    char known[sizeof run->path + sizeof "/" CN_NAME_RUN];
    snprintf(known, sizeof known, "%s/" CN_NAME_RUN, run->path);
    bool is_new = cn_os_stat_path(known, &info) != 0;
    int code = is_new ? cn_layout_check_run(run->path, err) : CAIRN_OK; /* older ones keep their names */
    if (!code && is_new) code = check_new_place(run, err);
    if (!code) code = make_path(run, err);
    if (code) return code;
    int rc = cn_os_open_dir_path(run->path, &run->dir);
    if (rc) return not_entered(run->path, "opening", rc, err);
    code = cn_rundir_refuse_foreign(run, err);
    if (!code) code = refuse_orphans(run, err);
    if (!code && !cn_os_stat_at(run->dir, CN_NAME_RUN, &info)) code = read_run(run, err); /* a newer format: touch nothing */
    if (!code) code = open_private(run, err);
    if (!code && !run->id[0]) code = create_run(run, err);
    if (!code && !run->id[0]) code = read_run(run, err);
    if (code) return code;
    rc = cn_os_sync_dir(run->dir);
    return rc ? cn_error_errno(err, -rc, "%s: syncing it", run->path) : CAIRN_OK;
}

int cn_rundir_open(const char *path, struct cn_rundir *ret_run, cairn_error *err)
{
    struct cn_rundir run;
    int code = start(&run, path, err);
    if (!code && !strcmp(run.path, "/")) code = cn_error_set(err, CAIRN_E_USAGE, "/: give the run a folder of its own");
    if (!code) code = open_for_writing(&run, err);
    if (code)
        cn_rundir_close(&run);
    else
        *ret_run = run;
    return code;
}

static int stop_at_term(void *user, const char *name)
{
    (void)user;
    return strncmp(name, CN_PREFIX_TEMPORARY, strlen(CN_PREFIX_TEMPORARY)) != 0;
}

/* The first term is taken when run.json is durable; before that a run was only begun. */
bool cn_rundir_lost_description(cn_file dir)
{
    struct cn_file_info info;
    cn_auto_close cn_file private_dir = CN_NO_FILE, terms = CN_NO_FILE;
    int rc = cn_os_open_dir(dir, CN_NAME_PRIVATE, &private_dir);
    if (!rc) rc = cn_os_open_dir(private_dir, CN_NAME_TERMS, &terms);
    if (!rc && !cn_os_list(terms, stop_at_term, NULL)) return false;
    bool was_there = !rc || (rc != -ENOENT && rc != -ENOTDIR && rc != -ELOOP); /* what cannot be looked into may well be a run's */
    return was_there && cn_os_stat_at(dir, CN_NAME_RUN, &info) == -ENOENT;
}

int cn_rundir_open_read(const char *path, struct cn_rundir *ret_run, cairn_error *err)
{
    struct cn_rundir run;
    int code = start(&run, path, err);
    if (code) return code;
    int rc = cn_os_open_dir_path(run.path, &run.dir);
    if (rc == -ENOENT) return cn_error_set(err, CAIRN_E_NOTFOUND, "%s: no such run; `cairn ls` lists what a store holds", run.path);
    if (rc) return not_entered(run.path, "opening", rc, err);
    code = read_run(&run, err);
    if (code == CAIRN_E_NOTFOUND && cn_rundir_lost_description(run.dir))
        code = cn_error_set(err, CAIRN_E_FORMAT, "%s: " CN_NAME_RUN " is missing" LOST_RUN_JSON, run.path);
    if (code == CAIRN_E_NOTFOUND) code = cn_error_set(err, code, "%s: not a run (it has no " CN_NAME_RUN ")", run.path);
    if (code)
        cn_rundir_close(&run);
    else
        *ret_run = run;
    return code;
}
