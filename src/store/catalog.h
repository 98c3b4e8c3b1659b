/* The catalog: what checkpoints a run has, by their manifests; folder names are hints. Computes the line, the head and who is
 * superseded. Listing is repeated until two readings agree, for readdir may miss what is renamed meanwhile. */
#ifndef CN_STORE_CATALOG_H
#define CN_STORE_CATALOG_H

#include "store/manifest.h"
#include "store/rundir.h"

struct cn_catalog_entry {
    const char *name;
    cairn_standing standing;
    const char *problem;         /* DAMAGED, FOREIGN: one line; of the others: why the marks cannot be read; else NULL */
    int problem_code;            /* CAIRN_E_..., 0 */
    bool pinned;                 /* by a mark, or because nobody knows what the marks said */
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

/* The quick check of one checkpoint folder: manifest seal, every file there as a regular file of its size, our JSON files' digests,
 * headers' digests; no tensor data, no attached file's content. each is called per finding (NULL: stop at the first). */
typedef void (*cn_finding_fn)(void *user, const char *file, int code, const char *message);
int cn_check_quick(cn_file checkpoint_dir, const struct cn_manifest *manifest, cn_finding_fn each, void *user, cairn_error *err);

/* The digest (tensor rule) of a whole file of a checkpoint folder, by its relative name; room is the caller's, of room_bytes. */
int cn_check_digest(cn_file checkpoint_dir, const char *name, unsigned char *room, size_t room_bytes, struct cn_digest *ret_digest,
                    cairn_error *err);

/* Opens a checkpoint folder by name under parent, takes the reader's lease on its manifest (goes on without where locks are refused; waits a moment
 * for who holds it alone), reads the manifest through the folder's descriptor and looks again that the name still leads there: GONE if it does
 * not. */
struct cn_held {
    cn_file dir, manifest_file; /* the lease is on manifest_file */
    bool leased;
    uint64_t process; /* that took the lease: a forked child's copy must not give it up */
};
int cn_held_open(cn_file parent, const char *name, struct cn_pool *pool, struct cn_held *ret_held, struct cn_manifest *ret_manifest,
                 cairn_error *err);
void cn_held_close(struct cn_held *held);
/* The same without lease and second look, which never waits: for listings, which hold nothing. */
int cn_held_peek(cn_file parent, const char *name, struct cn_pool *pool, struct cn_held *ret_held, struct cn_manifest *ret_manifest,
                 cairn_error *err);
/* The manifest alone, likewise: for who holds the checkpoint otherwise, or only wants to know who has a name. */
int cn_held_read(cn_file parent, const char *name, struct cn_pool *pool, struct cn_manifest *ret_manifest, cairn_error *err);

#endif
