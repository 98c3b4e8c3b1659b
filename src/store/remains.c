/* Telling what is left of a checkpoint (see remains.h). */
#include "store/remains.h"

#include <errno.h>

static int stop_at_first(void *user, const char *name)
{
    (void)user, (void)name;
    return 1;
}

/* 1: there is one, 0: there is none, or -errno. */
static int has(cn_file dir, const char *name)
{
    struct cn_file_info info;
    int rc = cn_os_stat_at(dir, name, &info);
    return rc == -ENOENT || rc == -ENOTDIR ? 0 : rc ? rc : 1;
}

int cn_remains_look_in(cn_file dir, enum cn_remains *ret_remains)
{
    int rc = has(dir, CN_NAME_MANIFEST);
    *ret_remains = CN_REMAINS_NONE;
    if (rc) return rc < 0 ? rc : 0;
    *ret_remains = CN_REMAINS_RETIRED;
    if ((rc = has(dir, CN_NAME_RETIRED))) return rc < 0 ? rc : 0;
    rc = cn_os_list(dir, stop_at_first, NULL);
    if (rc <= 0) return rc;
    *ret_remains = CN_REMAINS_LOST;
    if ((rc = has(dir, CN_NAME_TENSORS)) || (rc = has(dir, CN_NAME_STATE))) return rc < 0 ? rc : 0;
    *ret_remains = CN_REMAINS_FOREIGN;
    return 0;
}

static int look_once(cn_file run_dir, const char *name, enum cn_remains *ret_remains)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    int rc = cn_os_open_dir(run_dir, name, &dir);
    if (!rc) return cn_remains_look_in(dir, ret_remains);
    *ret_remains = rc == -ENOENT ? CN_REMAINS_NONE : CN_REMAINS_FOREIGN;
    return rc == -ENOENT || rc == -ENOTDIR || rc == -ELOOP ? 0 : rc;
}

/* A checkpoint that is moved into trash once it is open loses its manifest there, and the others of its files: by its name it is not found any more. */
int cn_remains_look(cn_file run_dir, const char *name, enum cn_remains *ret_remains)
{
    int rc = look_once(run_dir, name, ret_remains);
    bool may_have_gone = !rc && (*ret_remains == CN_REMAINS_LOST || *ret_remains == CN_REMAINS_FOREIGN);
    return may_have_gone ? look_once(run_dir, name, ret_remains) : rc;
}
