/* Names of checkpoints as people write them: RUN@STEP, RUN@STEP~TERM, RUN@latest, RUN@best, RUN@TAG, or a path. An existing path wins. */
#ifndef CN_MANAGER_RESOLVE_H
#define CN_MANAGER_RESOLVE_H

#include "snapshot/checkpoint.h"

/* store: the folder that holds the runs; NULL: the current one. NOTFOUND says what there is. ret_path (CN_MAX_PATH_BYTES, may be NULL) is set to the path
 * that was opened, also if that failed; it is left alone where the name leads nowhere. GONE: removed while it was being opened, again and again. */
int cn_resolve_open(const char *store, const char *name, char *ret_path, cairn_checkpoint **ret_checkpoint, cairn_error *err);
/* The path a name leads to, without opening it. *ret_selected (may be NULL): by a selector, to a checkpoint of a run. */
int cn_resolve_path(const char *store, const char *name, char *ret_path, size_t size, bool *ret_selected, cairn_error *err);

#endif
