/* Who else has a file (see sharers.h). Only looks; a folder that goes meanwhile is passed over. */
#include "manager/sharers.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/catalog.h"
#include "store/layout.h"

struct search {
    cn_file parent;
    const char *self; /* the folder that is searched for */
    struct cn_file_info info;
    char *names;
    size_t size;
};

static int stat_file(cn_file folder, const char *name, struct cn_file_info *ret_info)
{
    char part[256];
    const char *slash = strchr(name, '/');
    cn_auto_close cn_file below = CN_NO_FILE;
    if (!slash) return cn_os_stat_at(folder, name, ret_info);
    if ((size_t)(slash - name) >= sizeof part) return -1;
    memcpy(part, name, (size_t)(slash - name));
    part[slash - name] = 0;
    int rc = cn_os_open_dir(folder, part, &below);
    return rc ? rc : cn_os_stat_at(below, slash + 1, ret_info);
}

static bool holds(cn_file folder, const struct cn_manifest *manifest, const struct cn_file_info *wanted)
{
    struct cn_file_info info;
    for (uint64_t i = 0; i < manifest->files_count; i++)
        if (manifest->files[i].kind == CN_FILE_TENSORS && !stat_file(folder, manifest->files[i].name, &info) &&
            info.inode == wanted->inode && info.device == wanted->device)
            return true;
    return false;
}

static int look(void *user, const char *name)
{
    struct search *search = user;
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    if (!strcmp(name, search->self) || !cn_layout_looks_like_checkpoint(name)) return 0;
    cn_pool_init(&pool, cn_os_alloc(), 64 * CN_MAX_MANIFEST_BYTES);
    if (!cn_held_peek(search->parent, name, &pool, &held, &manifest, NULL)) {
        size_t used = strlen(search->names);
        if (holds(held.dir, &manifest, &search->info)) snprintf(search->names + used, search->size - used, "%s%s", used ? ", " : "", name);
        cn_held_close(&held);
    }
    cn_pool_done(&pool);
    return 0;
}

void cn_sharers_find(const char *checkpoint_path, const char *file_name, char *ret_names, size_t size)
{
    char parent[CN_MAX_PATH_BYTES];
    struct search search = { .parent = CN_NO_FILE, .names = ret_names, .size = size };
    cn_auto_close cn_file folder = CN_NO_FILE;
    const char *slash = strrchr(checkpoint_path, '/');
    ret_names[0] = 0;
    search.self = slash ? slash + 1 : checkpoint_path;
    snprintf(parent, sizeof parent, "%.*s", slash ? slash > checkpoint_path ? (int)(slash - checkpoint_path) : 1 : 1,
             slash ? checkpoint_path : ".");
    if (cn_os_open_dir_path(checkpoint_path, &folder) || stat_file(folder, file_name, &search.info) || search.info.links < 2) return;
    if (cn_os_open_dir_path(parent, &search.parent)) return;
    (void)cn_os_list(search.parent, look, &search);
    (void)cn_os_close(search.parent);
}
