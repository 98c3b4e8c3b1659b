/* What can be told about a checkpoint without reading tensor data. */
#ifndef CN_STORE_CHECK_H
#define CN_STORE_CHECK_H

#include "os/os.h"
#include "store/manifest.h"

/* The quick check of one checkpoint folder: manifest seal, every file there as a regular file of its size, our JSON files' digests,
 * headers' digests; no tensor data, no attached file's content. each is called per finding (NULL: stop at the first). */
typedef void (*cn_finding_fn)(void *user, const char *file, int code, const char *message);
int cn_check_quick(cn_file checkpoint_dir, const struct cn_manifest *manifest, cn_finding_fn each, void *user, cairn_error *err);

/* The digest (tensor rule) of a whole file of a checkpoint folder, by its relative name; room is the caller's, of room_bytes. */
int cn_check_digest(cn_file checkpoint_dir, const char *name, unsigned char *room, size_t room_bytes, struct cn_digest *ret_digest,
                    cairn_error *err);

#endif
