/* The code revision of a training run: what git says about the folder it was started in, read without git. */
#ifndef CN_SNAPSHOT_REVISION_H
#define CN_SNAPSHOT_REVISION_H

enum { CN_REVISION_BYTES = 65 }; /* 40 or 64 hex digits and a NUL */

/* The commit that HEAD names in folder or in the nearest folder above it that is a git work tree; "" where none is found. Whether files were
 * changed since is not told. */
void cn_revision_find(const char *folder, char ret_revision[CN_REVISION_BYTES]);

#endif
