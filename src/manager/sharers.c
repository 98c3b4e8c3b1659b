/* Who else has a file (see sharers.h). Only looks; a folder that goes meanwhile is passed over. */
#include "manager/sharers.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/relative.h"

struct search {
    cn_file parent;
    struct cn_file_info self; /* the folder that is searched for: by whatever name it is found */
    struct cn_file_info info; /* its file */
    char *names;
    size_t size;
};

static int stat_file(cn_file folder, const char *name, struct cn_file_info *ret_info)
{
    cn_auto_close cn_file dir = CN_NO_FILE;
    const char *last;
    int rc = cn_relative_open_folder(folder, name, &dir, &last);
    return rc ? rc : cn_os_stat_at(dir, last, ret_info);
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
    struct cn_file_info folder;
    if (!cn_layout_looks_like_checkpoint(name) || cn_os_stat_at(search->parent, name, &folder)) return 0;
    if (folder.inode == search->self.inode && folder.device == search->self.device) return 0;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    if (!cn_held_peek(search->parent, name, &pool, &held, &manifest, NULL)) {
        size_t used = strlen(search->names);
        if (holds(held.dir, &manifest, &search->info)) snprintf(search->names + used, search->size - used, "%s%s", used ? ", " : "", name);
        cn_held_close(&held);
    }
    cn_pool_done(&pool);
    return 0;
}

void cn_sharers_find(cn_file checkpoint_dir, const char *file_name, char *ret_names, size_t size)
{
    struct search search = { .parent = CN_NO_FILE, .names = ret_names, .size = size };
    ret_names[0] = 0;
    if (cn_os_stat(checkpoint_dir, &search.self) || stat_file(checkpoint_dir, file_name, &search.info) || search.info.links < 2) return;
    if (cn_os_open_dir(checkpoint_dir, "..", &search.parent)) return;
    (void)cn_os_list(search.parent, look, &search);
    (void)cn_os_close(search.parent);
}
