/* os.h, simulated: files. A write is seen by everybody at once and is on the platter after a sync. */
#include "files.h"

#include <errno.h>
#include <string.h>

int64_t sim_file_time(void)
{
    int64_t tick = (int64_t)world.profile.clock_tick_ns;
    return cn_os_wall_ns() / tick * tick;
}

/* ------------------------------------------------------------------------------------------------------- opening, closing */

int sim_open(struct sim_inode *inode, bool append, cn_file *ret_file)
{
    for (cn_file file = 3; file < SIM_MAX_FILES; file++) {
        if (world.files[file].process) continue;
        world.files[file] = (struct sim_file){ .process = sim_self(), .inode = inode, .append = append };
        *ret_file = file;
        return 0;
    }
    return -EMFILE;
}

void sim_files_close_all(struct sim_process *process)
{
    for (cn_file file = 0; file < SIM_MAX_FILES; file++)
        if (world.files[file].process == process) world.files[file] = (struct sim_file){ 0 };
}

static int open_regular(const struct sim_place *place, cn_file *ret_file)
{
    if (!place->inode) return -ENOENT;
    if (place->inode->type == SIM_SYMLINK) return -ELOOP;
    if (place->inode->type == SIM_DIR) return -EISDIR;
    return sim_open(place->inode, false, ret_file);
}

static int open_named(cn_file dir, const char *name, const char *what, cn_file *ret_file)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk_at(dir, name, &place);
    if (!rc) rc = open_regular(&place, ret_file);
    return sim_traced(rc, "%s %s", what, name);
}

int cn_os_open_read(cn_file dir, const char *name, cn_file *ret_file)
{
    return open_named(dir, name, "open_read", ret_file);
}

int cn_os_open_write(cn_file dir, const char *name, cn_file *ret_file)
{
    return open_named(dir, name, "open_write", ret_file);
}

int cn_os_open_read_path(const char *path, cn_file *ret_file)
{
    struct sim_place place;
    sim_call(SIM_LOOKS);
    int rc = sim_walk(world.disk.root, path, true, &place);
    if (!rc) rc = open_regular(&place, ret_file);
    return sim_traced(rc, "open_read %s", path);
}

int cn_os_open_read_direct(cn_file dir, const char *name, cn_file *ret_file)
{
    return world.profile.refuse_direct ? -EINVAL : cn_os_open_read(dir, name, ret_file);
}

static struct sim_inode *new_file(const struct sim_place *place, uint32_t mode)
{
    struct sim_inode *inode = sim_disk_new(&world.disk, SIM_FILE, mode);
    struct sim_change change = { .dir = place->dir, .name = (char *)place->name, .inode = inode };
    sim_disk_change(&world.disk, &change, 1);
    inode->mtime_ns = place->dir->mtime_ns = sim_file_time();
    return inode;
}

int cn_os_create(cn_file dir, const char *name, uint32_t mode, bool direct, cn_file *ret_file)
{
    struct sim_place place;
    sim_call(SIM_CHANGES);
    int rc = sim_walk_at(dir, name, &place);
    if (!rc && direct && world.profile.refuse_direct) rc = -EINVAL;
    if (!rc && place.inode) rc = -EEXIST;
    if (!rc && !place.dir->links && place.dir != world.disk.root) rc = -ENOENT;
    if (!rc) rc = sim_open(new_file(&place, mode), false, ret_file);
    return sim_traced(rc, "create %s", name);
}

int cn_os_open_append(cn_file dir, const char *name, uint32_t mode, cn_file *ret_file)
{
    struct sim_place place;
    sim_call(SIM_CHANGES);
    int rc = sim_walk_at(dir, name, &place);
    if (rc) return rc;
    if (place.inode && place.inode->type == SIM_SYMLINK) return -ELOOP;
    if (place.inode && place.inode->type == SIM_DIR) return -EISDIR;
    if (!place.inode) place.inode = new_file(&place, mode);
    return sim_traced(sim_open(place.inode, true, ret_file), "open_append %s", name);
}

int cn_os_close(cn_file file)
{
    if (file < 0) return 0;
    if (!sim_inode_of(file)) {
        sim_fail("a descriptor is closed that is not open: %d", file);
        return -EBADF;
    }
    world.files[file] = (struct sim_file){ 0 };
    return 0;
}

/* ------------------------------------------------------------------------------------------------------ reading, writing */

static int regular(cn_file file, struct sim_inode **ret_inode)
{
    struct sim_inode *inode = sim_inode_of(file);
    if (!inode) {
        sim_fail("a descriptor is used that is not open: %d", file);
        return -EBADF;
    }
    if (inode->type != SIM_FILE) return -EISDIR;
    *ret_inode = inode;
    return 0;
}

int cn_os_read_at(cn_file file, uint64_t offset, void *data, size_t size, size_t *ret_size)
{
    struct sim_inode *inode;
    sim_call(SIM_LOOKS);
    int rc = regular(file, &inode);
    if (rc) return rc;
    uint64_t left = offset < inode->now.size ? inode->now.size - offset : 0;
    *ret_size = size < left ? size : left;
    if (*ret_size) memcpy(data, inode->now.data + offset, *ret_size);
    return 0;
}

static int write_at(struct sim_inode *inode, uint64_t offset, const void *data, size_t size)
{
    sim_disk_write(inode, offset, data, size);
    inode->mtime_ns = sim_file_time();
    return 0;
}

int cn_os_write_at(cn_file file, uint64_t offset, const void *data, size_t size)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES);
    int rc = regular(file, &inode);
    if (!rc) rc = write_at(inode, offset, data, size);
    return sim_traced(rc, "write %s, %zu at %llu", rc ? "?" : inode->label, size, (unsigned long long)offset);
}

int cn_os_append(cn_file file, const void *data, size_t size)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES);
    int rc = regular(file, &inode);
    if (!rc) rc = write_at(inode, inode->now.size, data, size);
    return sim_traced(rc, "append %s, %zu", rc ? "?" : inode->label, size);
}

int cn_os_allocate(cn_file file, uint64_t size_bytes)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES);
    int rc = regular(file, &inode);
    if (!rc && size_bytes > inode->now.size) sim_disk_resize(inode, size_bytes);
    return sim_traced(rc, "allocate %s, %llu", rc ? "?" : inode->label, (unsigned long long)size_bytes);
}

int cn_os_truncate(cn_file file, uint64_t size_bytes)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES);
    int rc = regular(file, &inode);
    if (!rc && size_bytes != inode->now.size) {
        sim_disk_resize(inode, size_bytes);
        inode->mtime_ns = sim_file_time();
    }
    return sim_traced(rc, "truncate %s, %llu", rc ? "?" : inode->label, (unsigned long long)size_bytes);
}

int cn_os_set_mode(cn_file file, uint32_t mode)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES);
    int rc = regular(file, &inode);
    if (!rc) inode->mode = mode;
    return rc;
}

/* Writing back early promises nothing. */
int cn_os_start_writeback(cn_file file, uint64_t offset, uint64_t size_bytes)
{
    (void)file, (void)offset, (void)size_bytes;
    return 0;
}

int cn_os_sync(cn_file file)
{
    struct sim_inode *inode;
    sim_call(SIM_CHANGES);
    int rc = regular(file, &inode);
    if (!rc) sim_disk_sync_content(inode);
    return sim_traced(rc, "sync %s", rc ? "?" : inode->label);
}

int cn_os_cached_percent(cn_file file, uint64_t offset, uint64_t size_bytes)
{
    (void)file, (void)offset, (void)size_bytes;
    return sim_random_once_in(&world.schedule, 2) ? 100 : 0;
}

/* A copy: nobody of ours changes a file that is mapped, or the reader's comparison of bytes finds out. */
int cn_os_map(cn_file file, uint64_t size_bytes, struct cn_mapping *ret_mapping)
{
    struct sim_inode *inode;
    void *pages;
    sim_call(SIM_LOOKS);
    int rc = regular(file, &inode);
    if (!rc) rc = cn_os_pages_new(size_bytes, &pages);
    if (rc) return rc;
    memcpy(pages, inode->now.data, size_bytes < inode->now.size ? size_bytes : inode->now.size);
    *ret_mapping = (struct cn_mapping){ pages, size_bytes };
    return 0;
}

void cn_os_unmap(struct cn_mapping *mapping)
{
    cn_os_pages_free(mapping->address, mapping->size_bytes);
    *mapping = (struct cn_mapping){ 0 };
}
