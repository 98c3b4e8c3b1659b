/* A run's folder, opened once: everything later goes through its descriptors. Readers open it without making or changing anything;
 * the writer makes what is missing, durably. */
#ifndef CN_STORE_RUNDIR_H
#define CN_STORE_RUNDIR_H

#include "base/error.h"
#include "base/limits.h"
#include "os/os.h"
#include "store/manifest.h"

struct cn_rundir {
    cn_file dir;
    cn_file private_dir, terms, staging, trash; /* CN_NO_FILE for readers */
    char path[CN_MAX_PATH_BYTES];               /* as given: for messages */
    char id[CN_ID_BYTES];
};

/* For writing: makes store, run folder, run.json and .cairn/ as needed; every new name is fsynced into its parent before the call
 * returns. FOREIGN: a checkpoint-N folder without our manifest is there (named). VERSION: run.json of a newer format. */
int cn_rundir_open(const char *path, struct cn_rundir *ret_run, cairn_error *err);
/* FOREIGN: as above. */
int cn_rundir_refuse_foreign(const struct cn_rundir *run, cairn_error *err);
/* For reading: NOTFOUND if there is no such folder or it has no run.json; FORMAT if it has lost it. */
int cn_rundir_open_read(const char *path, struct cn_rundir *ret_run, cairn_error *err);
/* A run was there, and its run.json is not any more. */
bool cn_rundir_lost_description(cn_file dir);
void cn_rundir_close(struct cn_rundir *run); /* takes one that was zeroed with all files CN_NO_FILE */

#endif
