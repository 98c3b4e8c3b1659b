/* Names of checkpoints as people write them: RUN@STEP, RUN@STEP~TERM, RUN@latest, RUN@best, RUN@TAG, or a path. An existing path wins. */
#ifndef CN_MANAGER_RESOLVE_H
#define CN_MANAGER_RESOLVE_H

#include "snapshot/checkpoint.h"
#include "store/id.h"

/* store: the folder that holds the runs; NULL: the current one. NOTFOUND says what there is. ret_path (CN_MAX_PATH_BYTES, may be NULL) is set to the path
 * that was opened, also if that failed; it is left alone where the name leads nowhere. GONE: removed while it was being opened, again and again. */
int cn_resolve_open(const char *store, const char *name, char *ret_path, cairn_checkpoint **ret_checkpoint, cairn_error *err);
/* The path a name leads to, without opening it. ret_id: which checkpoint a selector chose, for its folder's name may be another one's by the time it is
 * opened; "" where name is a path. */
int cn_resolve_path(const char *store, const char *name, char *ret_path, size_t size, char ret_id[CN_ID_BYTES], cairn_error *err);

#endif
