/* Dropping an item: its tensors leave a committed checkpoint, the rest stays valid ("optimizer only of the last 3"; docs/DURABILITY.md, I1-I4). */
#ifndef CN_SNAPSHOT_DROP_H
#define CN_SNAPSHOT_DROP_H

#include "base/error.h"
#include "os/os.h"

/* name under parent; path is for messages; id: the checkpoint that is meant, "": whichever has the name. USAGE: no such item, or item model; LOCKED:
 * somebody reads it; GONE. Dropped already: fine. */
int cn_drop_item(cn_file parent, const char *name, const char *path, const char *id, const char *item, cairn_error *err);

#endif
