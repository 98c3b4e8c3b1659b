/* Relative names of a checkpoint's files: "training/optimizer.safetensors". Walked part by part, never through a symlink. */
#ifndef CN_STORE_RELATIVE_H
#define CN_STORE_RELATIVE_H

#include "os/os.h"

/* Opens the folder below dir in which the name's last part lies; *ret_last points at that part. 0 or -errno. Close *ret_dir. */
int cn_relative_open_folder(cn_file dir, const char *name, cn_file *ret_dir, const char **ret_last);

#endif
