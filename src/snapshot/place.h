/* A checkpoint's folder as a name in an open folder. A name can be looked at again, when the reader's lease was taken; a path of "." leads to the same
 * folder for ever, to wherever that was moved. */
#ifndef CN_SNAPSHOT_PLACE_H
#define CN_SNAPSHOT_PLACE_H

#include <stdbool.h>

#include "base/error.h"
#include "base/limits.h"
#include "os/os.h"

struct cn_place {
    bool is_named;                  /* else: dir is the folder itself, name is ".", parent is "" */
    bool is_link;                   /* not named for that reason: the last part is a symlink that is not ours */
    char path[CN_MAX_PATH_BYTES];   /* without slashes at its end */
    char parent[CN_MAX_PATH_BYTES]; /* of the folder that name is in */
    char name[256];
    cn_file dir; /* open */
};

/* "run/latest" and "run/best" are symlinks of ours: followed by one step, within the folder. A path that ends in another symlink, in ".", ".." or "/",
 * or lies in a folder that cannot be read, is not named. */
int cn_place_find(const char *path, struct cn_place *ret_place, cairn_error *err);
void cn_place_close(struct cn_place *place);

#endif
