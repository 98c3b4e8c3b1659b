/* Retiring: how a checkpoint goes (docs/DURABILITY.md, "Retiring"). It is renamed into trash, the run folder is fsynced, and only
 * then is anything unlinked. Which ones go is decided above, anew on each listing that is acted on; whatever a reader holds open stays. */
#ifndef CN_STORE_RETIRE_H
#define CN_STORE_RETIRE_H

#include "store/catalog.h"

struct cn_retire {
    /* Adds to the entries' kept why each of the readable ones stays; what has no reason goes. The marks and the link `best` have given theirs. */
    int (*decide)(void *decider, const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *err);
    void *decider;
    const char *only_id; /* only this one goes, and is refused where it has a reason to stay; NULL: all go that have none */
    bool waits;          /* for another pruner; else the work is left to it */
    bool dry_run;        /* nothing is touched: each is told of what would go, stays of the others */
    void (*each)(void *user, const struct cn_catalog_entry *entry);  /* what went; may be NULL */
    void (*stays)(void *user, const struct cn_catalog_entry *entry); /* newest first; may be NULL */
    void (*message)(void *user, const char *text);                   /* may be NULL */
    void *user;
    uint64_t retired;    /* out: how many went */
    cairn_error refused; /* out: the first that the system did not let go; code 0: none. Not: somebody reads it, or marked it just now */
};
/* Superseded ones go first, then unhealthy ones, then the others, each from the newest on. What cannot go now stays for now, and another pruner at work is
 * left to it. only_id: USAGE what must stay, LOCKED while somebody reads it, GONE. waits: LOCKED while another pruner does not end. */
int cn_retire(const struct cn_rundir *run, struct cn_retire *retire, cairn_error *err);
/* Removes a folder that was retired in place; whatever else the name leads to stays. 0 or -errno. */
int cn_retire_finish(cn_file run_dir, const char *name);

/* Renames every pruner's folder in .cairn/trash away: one that decided long ago and acts now finds no folder to rename into, and what dead ones left is to
 * be emptied. 0 or -errno. */
int cn_retire_sweep(const struct cn_rundir *run);
/* Empties .cairn/trash: leftovers of killed processes too. Folders that a live retirer of another process is filling are left alone
 * where that can be told. Best effort; runs after a commit. */
void cn_retire_empty_trash(const struct cn_rundir *run);
/* Finishes what was retired in place by somebody who died; looks at every checkpoint's folder. */
void cn_retire_finish_all(const struct cn_rundir *run);

#endif
