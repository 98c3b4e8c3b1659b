/* Places (see place.h). Only looks; it must follow no symlink of others in a run. */
#include "snapshot/place.h"

#include <stdio.h>
#include <string.h>

#include "store/layout.h"

/* false: the path ends in no name of its own. */
static bool split(struct cn_place *place)
{
    const char *slash = strrchr(place->path, '/'), *last = slash ? slash + 1 : place->path;
    if (!*last || !strcmp(last, ".") || !strcmp(last, "..") || strlen(last) >= sizeof place->name) return false;
    snprintf(place->name, sizeof place->name, "%.255s", last);
    if (!slash)
        snprintf(place->parent, sizeof place->parent, ".");
    else
        snprintf(place->parent, sizeof place->parent, "%.*s", slash > place->path ? (int)(slash - place->path) : 1, place->path);
    return true;
}

/* Our own symlinks; where they lead nowhere by one step the name stays. */
static void follow_link(struct cn_place *place)
{
    char target[CN_FOLDER_NAME_BYTES + 1];
    if (strcmp(place->name, CN_NAME_LATEST) && strcmp(place->name, CN_NAME_BEST)) return;
    if (!cn_os_read_link(place->dir, place->name, target, sizeof target) && !strchr(target, '/'))
        snprintf(place->name, sizeof place->name, "%s", target);
}

static bool open_named(struct cn_place *place)
{
    struct cn_file_info info;
    if (!split(place) || cn_os_open_dir_path(place->parent, &place->dir)) return false;
    follow_link(place);
    place->is_link = !cn_os_stat_at(place->dir, place->name, &info) && info.type == CN_TYPE_SYMLINK;
    if (place->is_link) cn_place_close(place);
    return !place->is_link;
}

int cn_place_find(const char *path, struct cn_place *ret_place, cairn_error *err)
{
    struct cn_shown shown;
    size_t size = strlen(path);
    while (size > 1 && path[size - 1] == '/') size--;
    if (size >= sizeof ret_place->path) return cn_error_set(err, CAIRN_E_LIMIT, "%s: the path is too long", cn_show_text(&shown, path));
    ret_place->dir = CN_NO_FILE;
    ret_place->is_link = false;
    memcpy(ret_place->path, path, size);
    ret_place->path[size] = 0;
    ret_place->is_named = open_named(ret_place);
    if (ret_place->is_named) return CAIRN_OK;
    ret_place->parent[0] = 0;
    snprintf(ret_place->name, sizeof ret_place->name, ".");
    int rc = cn_os_open_dir_path(path, &ret_place->dir);
    return rc ? cn_error_errno(err, -rc, "%s: opening it", cn_show_text(&shown, path)) : CAIRN_OK;
}

void cn_place_close(struct cn_place *place)
{
    (void)cn_os_close(place->dir);
    place->dir = CN_NO_FILE;
}
