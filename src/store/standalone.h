/* A checkpoint in a folder of its own, outside any run: staged in a hidden folder beside it, .<uuid>.cairn, which takes its name in one step. The hidden
 * folder is locked while its saver lives; what a dead one left, and an old checkpoint whose readers are done, goes with the next save beside it
 * (docs/DURABILITY.md, "One folder, no run"). */
#ifndef CN_STORE_STANDALONE_H
#define CN_STORE_STANDALONE_H

#include "store/commit.h"

/* Makes the hidden folder in parent, which must stay open. path: of the checkpoint to be, for messages. */
int cn_standalone_begin(cn_file parent, const char *path, struct cn_staging *ret_staging, cairn_error *err);
/* May parent/name be written, and replaced? USAGE: parent is a run's folder, whose checkpoints are not for replacing; or what stands there is pinned. */
int cn_standalone_check(cn_file parent, const char *name, const char *path, cairn_error *err);
/* It becomes parent/name. replace: a checkpoint that stands there goes, in one exchange (UNSUPPORTED where that cannot be done), its files as soon as
 * nobody reads it; else EXISTS. FOREIGN: something else stands there. */
int cn_standalone_commit(struct cn_staging *staging, const struct cn_manifest *manifest, const char *name, bool replace, const char *path,
                         cairn_error *err);

#endif
