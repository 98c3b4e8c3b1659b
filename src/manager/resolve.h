/* Names of checkpoints as people write them: RUN@STEP, RUN@STEP~TERM, RUN@latest, RUN@best, RUN@TAG, or a path. An existing path wins. */
#ifndef CN_MANAGER_RESOLVE_H
#define CN_MANAGER_RESOLVE_H

#include "snapshot/checkpoint.h"

/* store: the folder that holds the runs; NULL: the current one. NOTFOUND says what there is. */
int cn_resolve_open(const char *store, const char *name, cairn_checkpoint **ret_checkpoint, cairn_error *err);
/* The path a name leads to, without opening it: for what cannot be opened. */
int cn_resolve_path(const char *store, const char *name, char *ret_path, size_t size, cairn_error *err);

#endif
