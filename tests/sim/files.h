/* Open files and paths of the simulated machine: what os_dirs.c, os_files.c and os_locks.c share. */
#ifndef SIM_FILES_H
#define SIM_FILES_H

#include "world.h"

enum { SIM_NAME_BYTES = 256 };

/* Where a path ends: the folder and the last part, and what is there (NULL: nothing). */
struct sim_place {
    struct sim_inode *dir, *inode;
    char name[SIM_NAME_BYTES];
};

struct sim_inode *sim_inode_of(cn_file file);             /* NULL: not an open file of this process */
int sim_dir_of(cn_file file, struct sim_inode **ret_dir); /* -EBADF, -ENOTDIR, -ENOENT: it was removed */
int sim_walk(struct sim_inode *from, const char *path, bool follow,
             struct sim_place *ret_place);                                   /* -ENOENT: a folder on the way is missing */
int sim_walk_at(cn_file dir, const char *path, struct sim_place *ret_place); /* does not follow the last part */
int sim_open(struct sim_inode *inode, bool append, cn_file *ret_file);
int64_t sim_file_time(void);

#endif
