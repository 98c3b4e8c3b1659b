/* passthrough BACKING MOUNTPOINT [SWITCH]...: a FUSE file system that hands everything on to a folder, but for what a switch takes away. It stands for
 * the file systems that Cairn meets: without hard links, locks, O_DIRECT, RENAME_NOREPLACE or symlinks, or full.
 *
 *     --no-link --no-locks --no-direct --no-noreplace --no-symlink --room=BYTES
 *
 * Runs in the foreground, single-threaded; ends when it is unmounted. Paths are resolved under an open descriptor of the backing folder. */
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

static int root;
static bool no_link, no_locks, no_direct, no_noreplace, no_symlink;
static long long room = -1; /* bytes that may still be written; -1: no end */

static const char *below(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

static int do_getattr(const char *path, struct stat *info, struct fuse_file_info *file)
{
    return result(file ? fstat((int)file->fh, info) : fstatat(root, below(path), info, AT_SYMLINK_NOFOLLOW));
}

static int do_readlink(const char *path, char *target, size_t size)
{
    ssize_t count = readlinkat(root, below(path), target, size - 1);
    if (count < 0) return -errno;
    target[count] = 0;
    return 0;
}

static int do_mkdir(const char *path, mode_t mode)
{
    return room == 0 ? -ENOSPC : result(mkdirat(root, below(path), mode));
}

static int do_unlink(const char *path)
{
    return result(unlinkat(root, below(path), 0));
}

static int do_rmdir(const char *path)
{
    return result(unlinkat(root, below(path), AT_REMOVEDIR));
}

static int do_symlink(const char *target, const char *path)
{
    return no_symlink ? -EPERM : result(symlinkat(target, root, below(path)));
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
    if (flags && no_noreplace) return -EINVAL;
    return result((int)syscall(SYS_renameat2, root, below(from), root, below(to), flags));
}

static int do_link(const char *from, const char *to)
{
    return no_link ? -EPERM : result(linkat(root, below(from), root, below(to), 0));
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *file)
{
    return result(file ? fchmod((int)file->fh, mode) : fchmodat(root, below(path), mode, 0));
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *file)
{
    if (file) return result(ftruncate((int)file->fh, size));
    int fd = openat(root, below(path), O_WRONLY);
    int rc = fd < 0 ? -errno : result(ftruncate(fd, size));
    if (fd >= 0) close(fd);
    return rc;
}

static int open_file(const char *path, int flags, mode_t mode, struct fuse_file_info *file)
{
    if (flags & O_DIRECT && no_direct) return -EINVAL;
    int fd = openat(root, below(path), (flags & ~(O_DIRECT | O_APPEND)) | O_NOFOLLOW, mode);
    if (fd < 0) return -errno;
    file->fh = (uint64_t)fd;
    file->direct_io = (flags & O_DIRECT) != 0;
    return 0;
}

static int do_open(const char *path, struct fuse_file_info *file)
{
    return open_file(path, file->flags, 0, file);
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *file)
{
    return room == 0 ? -ENOSPC : open_file(path, file->flags | O_CREAT, mode, file);
}

static int do_read(const char *path, char *data, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    ssize_t count = pread((int)file->fh, data, size, offset);
    return count < 0 ? -errno : (int)count;
}

static int do_write(const char *path, const char *data, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)path;
    if (room >= 0 && (long long)size > room) return -ENOSPC;
    ssize_t count = pwrite((int)file->fh, data, size, offset);
    if (count > 0 && room >= 0) room -= count;
    return count < 0 ? -errno : (int)count;
}

static int do_statfs(const char *path, struct statvfs *info)
{
    (void)path;
    int rc = result(fstatvfs(root, info));
    if (!rc && room >= 0) info->f_bavail = (fsblkcnt_t)room / info->f_frsize;
    return rc;
}

static int do_release(const char *path, struct fuse_file_info *file)
{
    (void)path;
    return result(close((int)file->fh));
}

static int do_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)path, (void)data_only;
    return result(fsync((int)file->fh));
}

static int do_opendir(const char *path, struct fuse_file_info *file)
{
    int fd = openat(root, below(path), O_RDONLY | O_DIRECTORY);
    if (fd < 0) return -errno;
    file->fh = (uint64_t)fd;
    return 0;
}

/* A stream of its own each time: a reading starts at the beginning and is handed over whole. */
static int do_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *file,
                      enum fuse_readdir_flags flags)
{
    (void)offset, (void)file, (void)flags;
    int fd = openat(root, below(path), O_RDONLY | O_DIRECTORY);
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (!stream) return -errno;
    for (struct dirent *entry; (entry = readdir(stream));)
        if (fill(buffer, entry->d_name, NULL, 0, 0)) break;
    closedir(stream);
    return 0;
}

static int do_fallocate(const char *path, int mode, off_t offset, off_t size, struct fuse_file_info *file)
{
    (void)path;
    if (room >= 0 && size > room) return -ENOSPC;
    return result(fallocate((int)file->fh, mode, offset, size));
}

static int do_lock(const char *path, struct fuse_file_info *file, int command, struct flock *lock)
{
    (void)path;
    if (no_locks) return -ENOLCK;
    lock->l_pid = 0; /* the server asks for all its clients: one lock per open file */
    return result(fcntl((int)file->fh, command == F_SETLK ? F_OFD_SETLK : command == F_SETLKW ? F_OFD_SETLKW : F_OFD_GETLK, lock));
}

static int do_flock(const char *path, struct fuse_file_info *file, int operation)
{
    (void)path;
    return no_locks ? -ENOLCK : result(flock((int)file->fh, operation));
}

static int do_utimens(const char *path, const struct timespec times[2], struct fuse_file_info *file)
{
    return result(file ? futimens((int)file->fh, times) : utimensat(root, below(path), times, AT_SYMLINK_NOFOLLOW));
}

static void *do_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
    connection->want |= connection->capable & (FUSE_CAP_POSIX_LOCKS | FUSE_CAP_FLOCK_LOCKS);
    config->use_ino = 1;
    config->attr_timeout = config->entry_timeout = config->negative_timeout = 0;
    config->nullpath_ok = 0;
    return NULL;
}

static const struct fuse_operations operations = {
    .init = do_init,
    .getattr = do_getattr,
    .readlink = do_readlink,
    .mkdir = do_mkdir,
    .unlink = do_unlink,
    .rmdir = do_rmdir,
    .symlink = do_symlink,
    .rename = do_rename,
    .link = do_link,
    .chmod = do_chmod,
    .truncate = do_truncate,
    .open = do_open,
    .create = do_create,
    .read = do_read,
    .write = do_write,
    .statfs = do_statfs,
    .release = do_release,
    .fsync = do_fsync,
    .opendir = do_opendir,
    .readdir = do_readdir,
    .releasedir = do_release,
    .fsyncdir = do_fsync,
    .fallocate = do_fallocate,
    .lock = do_lock,
    .flock = do_flock,
    .utimens = do_utimens,
};

static bool take_switch(const char *text)
{
    static const struct {
        const char *name;
        bool *flag;
    } switches[] = { { "--no-link", &no_link },
                     { "--no-locks", &no_locks },
                     { "--no-direct", &no_direct },
                     { "--no-noreplace", &no_noreplace },
                     { "--no-symlink", &no_symlink } };
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (!strcmp(text, switches[i].name)) return *switches[i].flag = true;
    if (strncmp(text, "--room=", 7)) return false;
    room = atoll(text + 7);
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 3 || (root = open(argv[1], O_RDONLY | O_DIRECTORY)) < 0) {
        fprintf(stderr,
                "usage: passthrough BACKING MOUNTPOINT [--no-link|--no-locks|--no-direct|--no-noreplace|--no-symlink|--room=BYTES]...\n");
        return 2;
    }
    for (int i = 3; i < argc; i++)
        if (!take_switch(argv[i])) return fprintf(stderr, "passthrough: no switch %s\n", argv[i]), 2;
    char *arguments[] = { argv[0], "-f", "-s", argv[2], NULL };
    umask(0);
    return fuse_main(4, arguments, &operations, NULL);
}
