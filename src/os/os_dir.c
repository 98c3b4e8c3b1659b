/* Folders and names: opening, listing, renaming, linking, removing. Everything is relative to an open folder, so that a store whose path is
 * renamed or replaced meanwhile is not followed elsewhere. A name here is never resolved through a symlink, but in the calls that say path. */
#include "os/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE 1
#endif
#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#endif
#ifndef OVERLAYFS_SUPER_MAGIC
#define OVERLAYFS_SUPER_MAGIC 0x794c7630
#endif

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

static int open_dir(int at, const char *name, int flags, cn_file *ret_dir)
{
    int file;
    do file = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | flags);
    while (file < 0 && errno == EINTR);
    if (file < 0) return -errno;
    *ret_dir = file;
    return 0;
}

int cn_os_open_dir_path(const char *path, cn_file *ret_dir)
{
    return open_dir(AT_FDCWD, path, 0, ret_dir);
}

int cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    return open_dir(dir, name, O_NOFOLLOW, ret_dir);
}

/* Opens a folder of any mode; one that may not be read, as its path alone. */
static int open_any_dir(int at, const char *name, cn_file *ret_dir)
{
    int rc = open_dir(at, name, O_NOFOLLOW, ret_dir);
    return rc == -EACCES ? open_dir(at, name, O_NOFOLLOW | O_PATH, ret_dir) : rc;
}

/* What is open as its path alone is reached through /proc, which not every chroot has. */
static int set_mode(int dir, mode_t mode)
{
    char path[64];
    if (!fchmod(dir, mode)) return 0;
    if (errno != EBADF) return -errno;
    snprintf(path, sizeof path, "/proc/self/fd/%d", dir);
    return result(chmod(path, mode));
}

/* The process's umask must not decide what others may read. The mode is touched only where it must: a group's bit and a default ACL that the folder
 * above hands down stay. */
static int make_dir(int at, const char *name)
{
    enum { MODE = 0755 };
    struct stat info;
    cn_auto_close cn_file dir = CN_NO_FILE;
    if (mkdirat(at, name, MODE) < 0) return -errno;
    int rc = open_any_dir(at, name, &dir);
    if (!rc) rc = result(fstat(dir, &info));
    if (!rc && (info.st_mode & MODE) != MODE) rc = set_mode(dir, MODE | (info.st_mode & S_ISGID));
    if (rc) (void)unlinkat(at, name, AT_REMOVEDIR);
    return rc;
}

int cn_os_make_dir_path(const char *path)
{
    return make_dir(AT_FDCWD, path);
}

int cn_os_make_dir(cn_file dir, const char *name)
{
    return make_dir(dir, name);
}

int cn_os_remove_dir(cn_file dir, const char *name)
{
    return result(unlinkat(dir, name, AT_REMOVEDIR));
}

int cn_os_sync_dir(cn_file dir)
{
    return result(fsync(dir));
}

int cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user)
{
    /* A descriptor of its own: the position of a shared one would be shared, too. */
    cn_file file = CN_NO_FILE;
    int rc = open_dir(dir, ".", 0, &file);
    if (rc) return rc;
    DIR *stream = fdopendir(file);
    if (!stream) {
        rc = -errno;
        close(file);
        return rc;
    }
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(stream);
        if (!entry) {
            rc = -errno;
            break;
        }
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if ((rc = each(user, entry->d_name))) break;
    }
    closedir(stream);
    return rc;
}

int cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    if (!syscall(SYS_renameat2, from_dir, from, to_dir, to, RENAME_NOREPLACE)) return 0;
    if (errno != EINVAL && errno != ENOSYS) return -errno;
    struct stat info;
    if (!fstatat(to_dir, to, &info, AT_SYMLINK_NOFOLLOW)) return -EEXIST;
    if (errno != ENOENT) return -errno;
    return result(renameat(from_dir, from, to_dir, to));
}

int cn_os_exchange(cn_file dir, const char *one, const char *other)
{
    return result((int)syscall(SYS_renameat2, dir, one, dir, other, RENAME_EXCHANGE));
}

int cn_os_rename_over(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    return result(renameat(from_dir, from, to_dir, to));
}

int cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    return result(linkat(from_dir, from, to_dir, to, 0));
}

int cn_os_unlink(cn_file dir, const char *name)
{
    return result(unlinkat(dir, name, 0));
}

int cn_os_symlink(const char *target, cn_file dir, const char *name)
{
    return result(symlinkat(target, dir, name));
}

int cn_os_read_link(cn_file dir, const char *name, char *ret_target, size_t size)
{
    ssize_t count = readlinkat(dir, name, ret_target, size);
    if (count < 0) return -errno;
    if ((size_t)count == size) return -ENAMETOOLONG;
    ret_target[count] = 0;
    return 0;
}

static void fill_info(const struct stat *info, struct cn_file_info *ret_info)
{
    *ret_info = (struct cn_file_info){ .type = S_ISREG(info->st_mode)   ? CN_TYPE_FILE
                                               : S_ISDIR(info->st_mode) ? CN_TYPE_DIR
                                               : S_ISLNK(info->st_mode) ? CN_TYPE_SYMLINK
                                                                        : CN_TYPE_OTHER,
                                       .size_bytes = (uint64_t)info->st_size,
                                       .device = info->st_dev,
                                       .inode = info->st_ino,
                                       .mtime_ns = (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec,
                                       .links = (uint32_t)info->st_nlink };
}

int cn_os_stat(cn_file file, struct cn_file_info *ret_info)
{
    struct stat info;
    if (fstat(file, &info) < 0) return -errno;
    fill_info(&info, ret_info);
    return 0;
}

int cn_os_stat_at(cn_file dir, const char *name, struct cn_file_info *ret_info)
{
    struct stat info;
    if (fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW) < 0) return -errno;
    fill_info(&info, ret_info);
    return 0;
}

int cn_os_stat_path(const char *path, struct cn_file_info *ret_info)
{
    struct stat info;
    if (stat(path, &info) < 0) return -errno;
    fill_info(&info, ret_info);
    return 0;
}

int cn_os_free_bytes(cn_file dir, uint64_t *ret_bytes)
{
    struct statvfs info;
    if (fstatvfs(dir, &info) < 0) return -errno;
    *ret_bytes = (uint64_t)info.f_bavail * info.f_frsize;
    return 0;
}

/* Of a line of mountinfo: "36 35 98:0 /root /at opts - type source super,options". Newer kernels say fsync=volatile. */
static bool is_volatile_mount(char *line)
{
    char *last = strrchr(line, ' '), *rest = NULL;
    for (char *word = last ? strtok_r(last, " ,\n", &rest) : NULL; word; word = strtok_r(NULL, " ,\n", &rest))
        if (!strcmp(word, "volatile") || !strcmp(word, "fsync=volatile")) return true;
    return false;
}

/* overlayfs says `volatile` only in its mount options; the line of our mount is found by device number. */
static bool overlay_is_volatile(cn_file dir)
{
    struct stat info;
    char device[64], *line = NULL;
    size_t capacity = 0;
    if (fstat(dir, &info) < 0) return false;
    snprintf(device, sizeof device, " %u:%u ", major(info.st_dev), minor(info.st_dev));
    FILE *mounts = fopen("/proc/self/mountinfo", "re");
    bool found = false;
    while (mounts && !found && getline(&line, &capacity, mounts) > 0) found = strstr(line, device) && is_volatile_mount(line);
    if (mounts) fclose(mounts);
    free(line);
    return found;
}

bool cn_os_is_volatile(cn_file dir)
{
    struct statfs info;
    if (fstatfs(dir, &info) < 0) return false;
    if (info.f_type == TMPFS_MAGIC || info.f_type == RAMFS_MAGIC) return true;
    return info.f_type == OVERLAYFS_SUPER_MAGIC && overlay_is_volatile(dir);
}
