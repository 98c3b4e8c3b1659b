/* Who else has a file: hard links let several checkpoints of a run share one inode, and its damage. */
#ifndef CN_MANAGER_SHARERS_H
#define CN_MANAGER_SHARERS_H

#include "os/os.h"

/* Names of the folders beside an open checkpoint's that hold the same file as its file_name, by ", "; "" for none. What cannot be read is passed
 * over. */
void cn_sharers_find(cn_file checkpoint_dir, const char *file_name, char *ret_names, size_t size);

#endif
