/* Small whole files: our JSON and what the user attaches. Written new, never over; read bounded. */
#ifndef CN_STORE_SMALLFILE_H
#define CN_STORE_SMALLFILE_H

#include "base/error.h"
#include "os/os.h"

/* Creates name (mode), writes, fsyncs, closes. What fails is removed again. */
int cn_smallfile_put(cn_file dir, const char *name, const void *data, size_t size, uint32_t mode, cairn_error *err);
/* Reads a regular file whole, NUL-terminated besides; LIMIT beyond limit_bytes; PATH for symlinks and special files. cn_os_free it. */
int cn_smallfile_load(cn_file dir, const char *name, uint64_t limit_bytes, char **ret_data, size_t *ret_size, cairn_error *err);
/* The same by a path that a user gave: symlinks are followed. */
int cn_smallfile_load_path(const char *path, uint64_t limit_bytes, char **ret_data, size_t *ret_size, cairn_error *err);

#endif
