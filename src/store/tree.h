/* Removing folders with all that is in them: never through a symlink, to a bounded depth. */
#ifndef CN_STORE_TREE_H
#define CN_STORE_TREE_H

#include "os/os.h"

/* 0, also when nothing stands there; -errno. */
int cn_tree_remove(cn_file parent, const char *name);
/* Everything in an open folder but what has this name (NULL: everything). */
int cn_tree_empty(cn_file dir, const char *but);

#endif
