/* Terms (see term.h and docs/DURABILITY.md, T1-T6). A number is taken by link(), which one process wins; term files are never removed, so a
 * writer that slept finds the higher one whenever it wakes. */
#include "store/term.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "store/catalog.h"
#include "store/layout.h"
#include "store/smallfile.h"

enum { TRIES = 1000, NAME_BYTES = 128 };

/* A number from 1, and then this character. */
static bool parse_term(const char *text, char stop, uint64_t *ret_term)
{
    return cn_decimal_take(&text, ret_term) && *ret_term && *text == stop;
}

static int raise_by_file(void *user, const char *name)
{
    uint64_t *highest = user, term;
    if (parse_term(name, 0, &term) && term > *highest) *highest = term;
    return 0;
}

static int raise_by_staging(void *user, const char *name)
{
    uint64_t *highest = user, term;
    if (parse_term(name, '-', &term) && term > *highest) *highest = term;
    return 0;
}

static int highest_term(const struct cn_rundir *run, uint64_t *ret_term, cairn_error *err)
{
    struct cn_catalog catalog;
    uint64_t highest = 0;
    int rc = cn_os_list(run->terms, raise_by_file, &highest);
    if (!rc) rc = cn_os_list(run->staging, raise_by_staging, &highest);
    if (rc) return cn_error_errno(err, -rc, "%s/.cairn: listing it", run->path);
    /* terms/ may have been lost with part of a copied store: the manifests know, too */
    int code = cn_catalog_load(run, &catalog, err);
    if (code) return code;
    if (catalog.top && catalog.top->manifest.term > highest) highest = catalog.top->manifest.term;
    cn_catalog_done(&catalog);
    *ret_term = highest;
    return CAIRN_OK;
}

static int put_term(const struct cn_rundir *run, const char *number, const char uuid[CN_ID_BYTES], cairn_error *err)
{
    char temporary[NAME_BYTES], content[CN_ID_BYTES + 1];
    snprintf(temporary, sizeof temporary, CN_PREFIX_TEMPORARY "%s-%s", uuid, number);
    int size = snprintf(content, sizeof content, "%s\n", uuid);
    int code = cn_smallfile_put(run->terms, temporary, content, (size_t)size, 0644, err);
    if (code) return cn_error_prefix(err, code, "%s/.cairn/terms", run->path);
    int rc = cn_os_link(run->terms, temporary, run->terms, number);
    (void)cn_os_unlink(run->terms, temporary);
    if (!rc || rc == -EEXIST) return rc ? CAIRN_E_EXISTS : CAIRN_OK;
    /* no hard links here: O_EXCL takes the number */
    return cn_smallfile_put(run->terms, number, content, (size_t)size, 0644, err);
}

struct sweep {
    const struct cn_rundir *run;
    uint64_t term;
    const char *uuid;
    unsigned count;
    int failed;
};

static int sweep_one(void *user, const char *name)
{
    struct sweep *sweep = user;
    uint64_t term;
    char target[NAME_BYTES];
    if (!parse_term(name, '-', &term) || term >= sweep->term) return 0;
    snprintf(target, sizeof target, "s%s-%u", sweep->uuid, sweep->count++);
    int rc = cn_os_rename_new(sweep->run->staging, name, sweep->run->trash, target);
    if (rc && rc != -ENOENT) sweep->failed = rc;
    return 0;
}

/* Whoever still writes under a lower term finds its staging folder gone: its rename has no source. Listed again until nothing is left,
 * for a reading may miss what is being renamed. */
static int sweep_staging(const struct cn_rundir *run, uint64_t term, const char uuid[CN_ID_BYTES], cairn_error *err)
{
    struct sweep sweep = { .run = run, .term = term, .uuid = uuid };
    unsigned before;
    int rc;
    do {
        before = sweep.count;
        rc = cn_os_list(run->staging, sweep_one, &sweep);
        if (!rc) rc = sweep.failed;
    } while (!rc && sweep.count != before);
    if (!rc) rc = cn_os_sync_dir(run->staging);
    return rc ? cn_error_errno(err, -rc, "%s/.cairn/staging: moving an older writer's folder away", run->path) : CAIRN_OK;
}

int cn_term_take(const struct cn_rundir *run, const char uuid[CN_ID_BYTES], uint64_t *ret_term, cairn_error *err)
{
    uint64_t term = 0;
    int code = CAIRN_E_EXISTS;
    for (int i = 0; i < TRIES && code == CAIRN_E_EXISTS; i++) {
        char number[32];
        code = highest_term(run, &term, err);
        if (code) return code;
        snprintf(number, sizeof number, "%llu", (unsigned long long)++term);
        code = put_term(run, number, uuid, err);
    }
    if (code == CAIRN_E_EXISTS) return cn_error_set(err, CAIRN_E_LOCKED, "%s: other writers keep taking the run", run->path);
    if (code) return code;
    int rc = cn_os_sync_dir(run->terms);
    if (rc) return cn_error_errno(err, -rc, "%s/.cairn/terms: syncing it", run->path);
    code = sweep_staging(run, term, uuid, err);
    if (!code) code = cn_term_check(run, term, uuid, err);
    if (!code) *ret_term = term;
    return code;
}

int cn_term_check(const struct cn_rundir *run, uint64_t term, const char uuid[CN_ID_BYTES], cairn_error *err)
{
    uint64_t highest = 0;
    char number[32], *content = NULL;
    size_t size = 0;
    int rc = cn_os_list(run->terms, raise_by_file, &highest);
    if (rc) return cn_error_errno(err, -rc, "%s/.cairn/terms: listing it", run->path);
    if (highest < term)
        return cn_error_set(err, CAIRN_E_GONE, "%s: its folder .cairn/terms was removed or replaced under this process: stop it",
                            run->path);
    if (highest > term)
        return cn_error_set(err, CAIRN_E_FENCED, "%s: another writer has taken this run over (term %llu, ours is %llu): stop this process",
                            run->path, (unsigned long long)highest, (unsigned long long)term);
    snprintf(number, sizeof number, "%llu", (unsigned long long)term);
    int code = cn_smallfile_load(run->terms, number, 1024, &content, &size, err);
    if (code) return cn_error_prefix(err, code, "%s/.cairn/terms", run->path);
    bool ours = size == CN_ID_BYTES && !memcmp(content, uuid, CN_ID_BYTES - 1);
    cn_os_free(content);
    if (ours) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_FENCED, "%s: term %llu belongs to another writer: stop this process", run->path,
                        (unsigned long long)term);
}
