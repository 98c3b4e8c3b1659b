/* A transaction: a staging folder becomes a checkpoint by one rename, or never (docs/DURABILITY.md, "The order of a commit").
 *
 *     begin -> files are written into dir by the caller, each fsynced -> commit | abandon
 *
 * abandon is always safe, also after a failed or finished commit. */
#ifndef CN_STORE_COMMIT_H
#define CN_STORE_COMMIT_H

#include "store/catalog.h"
#include "store/layout.h"
#include "store/rundir.h"

struct cn_staging {
    const struct cn_rundir *run; /* NULL: of a folder outside any run */
    cn_file parent;              /* it lies in: the run's staging folder, or beside where it will stand */
    char name[80];               /* <term>-<uuid>, or .<uuid>.cairn (standalone.h) */
    cn_file dir;
    cn_file training; /* dir/training */
    bool committed;
};

/* Makes .cairn/staging/<term>-<uuid>/ and training/ in it, parents fsynced. */
int cn_staging_begin(const struct cn_rundir *run, uint64_t term, struct cn_staging *ret_staging, cairn_error *err);

/* Its beginning and its end in parts, for a folder outside any run (standalone.h). parent and name are set; -errno, then abandon. */
int cn_staging_make(struct cn_staging *staging); /* the folder, open */
int cn_staging_fill(struct cn_staging *staging); /* training/ in it; the parent is synced */
/* D4 and D5: the manifest, synced; then every folder from the leaves up. */
int cn_staging_put_manifest(const struct cn_staging *staging, const struct cn_manifest *manifest, cairn_error *err);

/* Where in it a data file of ours goes, at the top or in training/; *ret_last is the name there. */
cn_file cn_staging_folder(const struct cn_staging *staging, const char *name, const char **ret_last);

struct cn_commit {
    const struct cn_manifest *manifest;            /* complete: it is encoded, written and fsynced here */
    const char *uuid;                              /* this writer's, for the term check */
    void (*message)(void *user, const char *text); /* warnings; may be NULL */
    void *user;
    /* out */
    char name[CN_FOLDER_NAME_BYTES];
};
/* Manifest, folder syncs (dir, training, folders of attachments that the caller named through cn_staging_make_dirs), name check with
 * setting aside, trash sweep, term check, the rename, final syncs. When it returns CAIRN_OK the checkpoint is DURABLE.
 * EXISTS, FENCED, FOREIGN (a folder of somebody else has the name), NOSPACE, IO. */
int cn_staging_commit(struct cn_staging *staging, struct cn_commit *commit, cairn_error *err);
/* Folders of an attachment's name: made, and synced at the commit. */
int cn_staging_make_dirs(const struct cn_staging *staging, const char *attachment_name, cairn_error *err);
/* Removes the staging folder if it was not committed, best effort, and closes. Takes a zeroed one with files CN_NO_FILE. */
void cn_staging_abandon(struct cn_staging *staging);

#endif
