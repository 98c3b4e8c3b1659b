/* Removing folders (see tree.h). What vanishes meanwhile is as good as removed; what cannot be removed keeps nothing else. */
#include "store/tree.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"

struct tree {
    cn_file dir;
    const char *but;
    int depth;
    int failed; /* the first failure */
};

static int remove_at(cn_file parent, const char *name, int depth);

static int remove_child(void *user, const char *name)
{
    struct tree *tree = user;
    int rc = tree->but && !strcmp(name, tree->but) ? 0 : remove_at(tree->dir, name, tree->depth + 1);
    if (!tree->failed) tree->failed = rc;
    return 0;
}

static int remove_at(cn_file parent, const char *name, int depth)
{
    int rc = cn_os_unlink(parent, name);
    if (!rc || rc == -ENOENT) return 0;
    if (rc != -EISDIR && rc != -EPERM) return rc;
    if (depth > CN_MAX_FOLDER_DEPTH) return -ELOOP;
    cn_auto_close cn_file dir = CN_NO_FILE;
    rc = cn_os_open_dir(parent, name, &dir);
    struct tree tree = { .dir = dir, .depth = depth };
    if (!rc) rc = cn_os_list(dir, remove_child, &tree);
    if (!rc) rc = tree.failed;
    if (!rc) rc = cn_os_remove_dir(parent, name);
    return rc == -ENOENT ? 0 : rc;
}

int cn_tree_remove(cn_file parent, const char *name)
{
    return remove_at(parent, name, 0);
}

int cn_tree_empty(cn_file dir, const char *but)
{
    struct tree tree = { .dir = dir, .but = but };
    int rc = cn_os_list(dir, remove_child, &tree);
    return rc ? rc : tree.failed;
}
