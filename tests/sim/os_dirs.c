/* os.h, simulated: folders and names. Every change of names goes through sim_disk_change(), so that a cut can take it back. */
#include "files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* ----------------------------------------------------------------------------------------------------------------- paths */

struct sim_inode *sim_inode_of(cn_file file)
{
    if (file < 0 || file >= SIM_MAX_FILES || world.files[file].process != sim_self()) return NULL;
    return world.files[file].inode;
}

int sim_dir_of(cn_file file, struct sim_inode **ret_dir)
{
    struct sim_inode *inode = sim_inode_of(file);
    if (!inode) {
        sim_fail("a descriptor is used that is not open: %d", file);
        return -EBADF;
    }
    if (inode->type != SIM_DIR) return -ENOTDIR;
    *ret_dir = inode;
    return 0;
}

static bool is_removed(const struct sim_inode *dir)
{
    return !dir->links && dir != world.disk.root;
}

/* Takes the next part off a path; false: there is none. */
static bool next_part(const char **path, char ret_part[SIM_NAME_BYTES])
{
    while (**path == '/') ++*path;
    size_t size = strcspn(*path, "/");
    if (!size || size >= SIM_NAME_BYTES) return false;
    memcpy(ret_part, *path, size);
    ret_part[size] = 0;
    *path += size;
    return true;
}

static int walk(struct sim_inode *from, const char *path, bool follow, int depth, struct sim_place *ret_place)
{
    struct sim_place place = { .dir = *path == '/' ? world.disk.root : from };
    char part[SIM_NAME_BYTES];
    place.inode = place.dir;
    if (!*path) return -ENOENT;
    if (depth > 8) return -ELOOP;
    while (next_part(&path, part)) {
        bool last = !path[strspn(path, "/")];
        if (!place.inode) return -ENOENT;
        if (place.inode->type != SIM_DIR) return -ENOTDIR;
        place.dir = place.inode;
        snprintf(place.name, sizeof place.name, "%s", part);
        const struct sim_entry *entry = sim_disk_find(place.dir, part);
        place.inode = !strcmp(part, ".") ? place.dir : !strcmp(part, "..") ? place.dir->parent : entry ? entry->inode : NULL;
        if (place.inode && place.inode->type == SIM_SYMLINK && (!last || follow)) {
            char target[SIM_NAME_BYTES];
            snprintf(target, sizeof target, "%.*s", (int)place.inode->now.size, (const char *)place.inode->now.data);
            int rc = walk(place.dir, target, true, depth + 1, &place);
            if (rc) return rc;
        }
    }
    *ret_place = place;
    return 0;
}

int sim_walk(struct sim_inode *from, const char *path, bool follow, struct sim_place *ret_place)
{
    return walk(from, path, follow, 0, ret_place);
}

int sim_walk_at(cn_file dir, const char *path, struct sim_place *ret_place)
{
    struct sim_inode *inode;
    int rc = sim_dir_of(dir, &inode);
    return rc ? rc : walk(inode, path, false, 0, ret_place);
}

/* For what makes a name: the folder must still be there. */
static int walk_to_new(cn_file dir, const char *path, struct sim_place *ret_place)
{
    int rc = sim_walk_at(dir, path, ret_place);
    return rc ? rc : is_removed(ret_place->dir) ? -ENOENT : 0;
}

static void touch(struct sim_inode *inode)
{
    inode->mtime_ns = sim_file_time();
}

static void change_one(struct sim_inode *dir, const char *name, struct sim_inode *inode)
{
    struct sim_change change = { .dir = dir, .name = (char *)name, .inode = inode };
    sim_disk_change(&world.disk, &change, 1);
    touch(dir);
}

/* --------------------------------------------------------------------------------------------------------------- folders */

static int open_dir(const struct sim_place *place, bool follow, cn_file *ret_dir)
{
    if (!place->inode) return -ENOENT;
    if (place->inode->type != SIM_DIR) return place->inode->type == SIM_SYMLINK && !follow ? -ELOOP : -ENOTDIR;
    return sim_open(place->inode, false, ret_dir);
}

int cn_os_open_dir_path(const char *path, cn_file *ret_dir)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk(world.disk.root, path, true, &place);
    if (!rc) rc = open_dir(&place, true, ret_dir);
    return sim_traced(rc, "open_dir %s", path);
}

int cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk_at(dir, name, &place);
    if (!rc) rc = open_dir(&place, false, ret_dir);
    return sim_traced(rc, "open_dir %s", name);
}

static int make_dir(const struct sim_place *place)
{
    if (place->inode) return -EEXIST;
    struct sim_inode *inode = sim_disk_new(&world.disk, SIM_DIR, 0755);
    touch(inode);
    change_one(place->dir, place->name, inode);
    return 0;
}

int cn_os_make_dir_path(const char *path)
{
    struct sim_place place;
    sim_call(SIM_CHANGES_NAMES);
    int rc = sim_walk(world.disk.root, path, false, &place);
    if (!rc) rc = make_dir(&place);
    return sim_traced(rc, "make_dir %s", path);
}

int cn_os_make_dir(cn_file dir, const char *name)
{
    struct sim_place place;
    sim_call(SIM_CHANGES_NAMES);
    int rc = walk_to_new(dir, name, &place);
    if (!rc) rc = make_dir(&place);
    return sim_traced(rc, "make_dir %s/%s", rc ? "" : place.dir->label, name);
}

static int remove_dir(const struct sim_place *place)
{
    if (!place->inode) return -ENOENT;
    if (place->inode->type != SIM_DIR) return -ENOTDIR;
    if (place->inode->names.count) return -ENOTEMPTY;
    change_one(place->dir, place->name, NULL);
    return 0;
}

int cn_os_remove_dir(cn_file dir, const char *name)
{
    struct sim_place place;
    sim_call(SIM_CHANGES_NAMES);
    int rc = sim_walk_at(dir, name, &place);
    if (!rc) rc = remove_dir(&place);
    return sim_traced(rc, "remove_dir %s", name);
}

int cn_os_sync_dir(cn_file dir)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES_NAMES);
    int rc = sim_dir_of(dir, &inode);
    if (!rc) sim_disk_sync_names(&world.disk, inode);
    return sim_traced(rc, "sync_dir %s", rc ? "?" : inode->label);
}

/* --------------------------------------------------------------------------------------------------------------- listing */

struct cursor {
    uint64_t order;
    char name[SIM_NAME_BYTES];
};

static bool is_before(const struct cursor *cursor, const struct sim_entry *entry)
{
    return cursor->order != entry->order ? cursor->order < entry->order : strcmp(cursor->name, entry->name) < 0;
}

/* The next name in order, as the folder is now. */
static bool advance(const struct sim_inode *dir, struct cursor *cursor)
{
    const struct sim_entry *next = NULL;
    for (size_t i = 0; i < dir->names.count; i++) {
        const struct sim_entry *entry = &dir->names.list[i];
        if (!is_before(cursor, entry)) continue;
        if (!next || entry->order < next->order || (entry->order == next->order && strcmp(entry->name, next->name) < 0)) next = entry;
    }
    if (!next) return false;
    cursor->order = next->order;
    snprintf(cursor->name, sizeof cursor->name, "%s", next->name);
    return true;
}

/* By batches, as getdents does: what is renamed between two of them may be seen twice or not at all. */
int cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user)
{
    enum { MAX_BATCH = 64 };
    struct sim_inode *inode;
    struct cursor cursor = { 0 };
    sim_call(SIM_LOOKS);
    int rc = sim_dir_of(dir, &inode);
    if (!rc && is_removed(inode)) rc = -ENOENT;
    sim_traced(rc, "list %s", rc ? "?" : inode->label);
    unsigned batch = world.profile.list_batch < MAX_BATCH ? world.profile.list_batch : MAX_BATCH;
    for (bool more = !rc; more && !rc;) {
        char names[MAX_BATCH][SIM_NAME_BYTES];
        unsigned count = 0;
        while (count < batch && (more = advance(inode, &cursor))) memcpy(names[count++], cursor.name, SIM_NAME_BYTES);
        for (unsigned i = 0; i < count && !rc; i++) rc = each(user, names[i]);
        if (more) sim_call(SIM_LOOKS);
    }
    return rc;
}

/* ------------------------------------------------------------------------------------------------- renaming, linking, removing */

static bool lies_in(const struct sim_inode *dir, const struct sim_inode *above)
{
    for (; dir != world.disk.root; dir = dir->parent)
        if (dir == above) return true;
    return above == world.disk.root;
}

static int check_rename(const struct sim_place *from, const struct sim_place *to)
{
    if (!from->inode) return -ENOENT;
    if (is_removed(to->dir)) return -ENOENT;
    if (from->inode->type == SIM_DIR && lies_in(to->dir, from->inode)) return -EINVAL;
    return 0;
}

static void rename_it(const struct sim_place *from, const struct sim_place *to)
{
    struct sim_inode *moved = from->inode, *replaced = to->inode;
    if (replaced == moved) return; /* two names of one file: nothing happens */
    struct sim_change changes[] = { { .dir = from->dir, .name = (char *)from->name },
                                    { .dir = to->dir, .name = (char *)to->name, .inode = moved } };
    sim_disk_change(&world.disk, changes, 2);
    touch(from->dir);
    touch(to->dir);
}

static int walk_both(cn_file from_dir, const char *from, cn_file to_dir, const char *to, struct sim_place *ret_from,
                     struct sim_place *ret_to)
{
    int rc = sim_walk_at(from_dir, from, ret_from);
    if (!rc) rc = sim_walk_at(to_dir, to, ret_to);
    return rc ? rc : check_rename(ret_from, ret_to);
}

int cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    struct sim_place source, target;
    sim_call(SIM_CHANGES_NAMES);
    int rc = walk_both(from_dir, from, to_dir, to, &source, &target);
    if (!rc && target.inode) rc = -EEXIST;
    if (!rc) rename_it(&source, &target);
    return sim_traced(rc, "rename_new %s -> %s", from, to);
}

int cn_os_exchange(cn_file dir, const char *one, const char *other)
{
    struct sim_place first, second;
    sim_call(SIM_CHANGES_NAMES);
    int rc = walk_both(dir, one, dir, other, &first, &second);
    if (!rc && !second.inode) rc = -ENOENT;
    if (!rc) {
        struct sim_change changes[] = { { .dir = first.dir, .name = first.name, .inode = second.inode },
                                        { .dir = second.dir, .name = second.name, .inode = first.inode } };
        sim_disk_change(&world.disk, changes, 2);
        if (world.kill_after_exchange) world.kill_at_call = world.calls + 1;
    }
    return sim_traced(rc, "exchange %s <-> %s", one, other);
}

int cn_os_rename_over(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    struct sim_place source, target;
    sim_call(SIM_CHANGES_NAMES);
    int rc = walk_both(from_dir, from, to_dir, to, &source, &target);
    if (!rc && target.inode && (target.inode->type == SIM_DIR || source.inode->type == SIM_DIR)) rc = -EISDIR;
    if (!rc) rename_it(&source, &target);
    return sim_traced(rc, "rename_over %s -> %s", from, to);
}

int cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    struct sim_place source, target;
    sim_call(SIM_CHANGES_NAMES);
    int rc = sim_walk_at(from_dir, from, &source);
    if (!rc) rc = walk_to_new(to_dir, to, &target);
    if (!rc && !source.inode) rc = -ENOENT;
    if (!rc && source.inode->type == SIM_DIR) rc = -EPERM;
    if (!rc && target.inode) rc = -EEXIST;
    if (!rc) change_one(target.dir, target.name, source.inode);
    return sim_traced(rc, "link %s -> %s", from, to);
}

int cn_os_unlink(cn_file dir, const char *name)
{
    struct sim_place place;
    sim_call(SIM_CHANGES_NAMES);
    int rc = sim_walk_at(dir, name, &place);
    if (!rc && !place.inode) rc = -ENOENT;
    if (!rc && place.inode->type == SIM_DIR) rc = -EISDIR;
    if (!rc) change_one(place.dir, place.name, NULL);
    return sim_traced(rc, "unlink %s", name);
}

int cn_os_symlink(const char *target, cn_file dir, const char *name)
{
    struct sim_place place;
    sim_call(SIM_CHANGES_NAMES);
    int rc = walk_to_new(dir, name, &place);
    if (!rc && place.inode) rc = -EEXIST;
    if (!rc) {
        struct sim_inode *inode = sim_disk_new(&world.disk, SIM_SYMLINK, 0777);
        sim_disk_write(inode, 0, target, strlen(target));
        sim_disk_sync_content(inode); /* a short target lies in the inode itself, which comes with its first name */
        change_one(place.dir, place.name, inode);
    }
    return sim_traced(rc, "symlink %s -> %s", name, target);
}

int cn_os_read_link(cn_file dir, const char *name, char *ret_target, size_t size)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk_at(dir, name, &place);
    if (rc) return rc;
    if (!place.inode) return -ENOENT;
    if (place.inode->type != SIM_SYMLINK) return -EINVAL;
    if (place.inode->now.size >= size) return -ENAMETOOLONG;
    memcpy(ret_target, place.inode->now.data, place.inode->now.size);
    ret_target[place.inode->now.size] = 0;
    return 0;
}

/* --------------------------------------------------------------------------------------------------------------- looking */

static void fill_info(const struct sim_inode *inode, struct cn_file_info *ret_info)
{
    *ret_info = (struct cn_file_info){ .type = inode->type == SIM_FILE  ? CN_TYPE_FILE
                                               : inode->type == SIM_DIR ? CN_TYPE_DIR
                                                                        : CN_TYPE_SYMLINK,
                                       .size_bytes = inode->now.size,
                                       .device = 1,
                                       .inode = inode->number,
                                       .mtime_ns = inode->mtime_ns,
                                       .links = inode->links };
}

int cn_os_stat(cn_file file, struct cn_file_info *ret_info)
{
    sim_call(SIM_LOOKS);
    const struct sim_inode *inode = sim_inode_of(file);
    if (!inode) return -EBADF;
    fill_info(inode, ret_info);
    return 0;
}

int cn_os_stat_at(cn_file dir, const char *name, struct cn_file_info *ret_info)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk_at(dir, name, &place);
    if (!rc && !place.inode) rc = -ENOENT;
    if (!rc) fill_info(place.inode, ret_info);
    return sim_traced(rc, "stat %s", name);
}

int cn_os_stat_path(const char *path, struct cn_file_info *ret_info)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk(world.disk.root, path, true, &place);
    if (!rc && !place.inode) rc = -ENOENT;
    if (!rc) fill_info(place.inode, ret_info);
    return rc;
}

int cn_os_free_bytes(cn_file dir, uint64_t *ret_bytes)
{
    (void)dir;
    *ret_bytes = UINT64_C(1) << 40;
    return 0;
}

bool cn_os_is_volatile(cn_file dir)
{
    (void)dir;
    return false;
}
