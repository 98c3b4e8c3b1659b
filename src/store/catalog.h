/* The catalog: what checkpoints a run has, by their manifests; folder names are hints. Computes the line, the head and who is
 * superseded. Listing is repeated until a listing has nothing that was not read, for readdir may miss what is renamed meanwhile. */
#ifndef CN_STORE_CATALOG_H
#define CN_STORE_CATALOG_H

#include "store/manifest.h"
#include "store/rundir.h"

struct cn_catalog_entry {
    const char *name;
    cairn_standing standing;
    const char *problem; /* DAMAGED, FOREIGN: one line; of the others: why the marks cannot be read, or what is odd; else NULL */
    int problem_code;    /* CAIRN_E_..., 0 */
    int problem_errno;   /* of the system call that failed, 0 */
    bool pinned;         /* by a mark, or because nobody knows what the marks said */
    bool marks_unreadable;
    uint32_t kept;               /* why it stays, CAIRN_KEPT_...: set by who decides (store/retire), a listing leaves 0 */
    struct cn_manifest manifest; /* CURRENT, SUPERSEDED only; tags and metrics as the marks say */
};

struct cn_catalog {
    struct cn_pool pool;
    struct cn_catalog_entry *entries; /* readable ones by (term, step) ascending, then DAMAGED, then FOREIGN, by name */
    uint64_t count;
    uint64_t readable;                   /* how many have a manifest */
    const struct cn_catalog_entry *top;  /* highest (term, step), healthy or not: its line is the current one; NULL: none */
    const struct cn_catalog_entry *head; /* the line's newest healthy and exact one; NULL */
};

int cn_catalog_load(const struct cn_rundir *run, struct cn_catalog *ret_catalog, cairn_error *err);
void cn_catalog_done(struct cn_catalog *catalog);
/* term 0: the current line's. NULL: none. */
const struct cn_catalog_entry *cn_catalog_find(const struct cn_catalog *catalog, uint64_t step, uint64_t term);

#endif
