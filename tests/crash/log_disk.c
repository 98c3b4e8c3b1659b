/* log_disk IMAGE LOG MOUNTPOINT: a FUSE file system of two files. `disk` is the image, to lay a loop device and a file system on; `diary` is where the trainer
 * says what it has done. Every write and flush of the disk and every line of the diary goes into LOG, in the order it came: what a power cut at any moment
 * could leave follows from it (cut_disk.c). Runs in the foreground, single-threaded; ends when it is unmounted. */
#define FUSE_USE_VERSION 31
#include <fuse3/fuse.h>

#include "disk_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int image, record_log;
static off_t image_size, diary_size;

static int record(uint32_t kind, uint64_t offset, const void *data, uint64_t size)
{
    const struct disk_record header = { kind, 0, offset, size };
    if (write(record_log, &header, sizeof header) != sizeof header) return -EIO;
    return write(record_log, data, size) == (ssize_t)size ? 0 : -EIO;
}

static bool is_disk(const char *path)
{
    return !strcmp(path, "/disk");
}

static int do_getattr(const char *path, struct stat *info, struct fuse_file_info *file)
{
    (void)file;
    const bool folder = !strcmp(path, "/");
    if (!folder && !is_disk(path) && strcmp(path, "/diary") != 0) return -ENOENT;
    info->st_mode = folder ? S_IFDIR | 0755 : S_IFREG | 0644;
    info->st_nlink = 1;
    info->st_size = folder ? 0 : is_disk(path) ? image_size : diary_size;
    return 0;
}

static int do_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset, struct fuse_file_info *file,
                      enum fuse_readdir_flags flags)
{
    (void)path, (void)offset, (void)file, (void)flags;
    fill(buffer, "disk", NULL, 0, 0);
    fill(buffer, "diary", NULL, 0, 0);
    return 0;
}

static int do_open(const char *path, struct fuse_file_info *file)
{
    (void)path;
    file->direct_io = 1; /* the kernel keeps nothing back */
    return 0;
}

static int do_read(const char *path, char *data, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    const ssize_t count = is_disk(path) ? pread(image, data, size, offset) : -1;
    return count < 0 ? -EIO : (int)count;
}

static int do_write(const char *path, const char *data, size_t size, off_t offset, struct fuse_file_info *file)
{
    (void)file;
    if (is_disk(path)) {
        if (pwrite(image, data, size, offset) != (ssize_t)size || record(DISK_WRITE, (uint64_t)offset, data, size)) return -EIO;
    } else {
        diary_size += (off_t)size;
        if (record(DISK_NOTE, 0, data, size)) return -EIO;
    }
    return (int)size;
}

static int do_fsync(const char *path, int data_only, struct fuse_file_info *file)
{
    (void)data_only, (void)file;
    return is_disk(path) ? record(DISK_FLUSH, 0, NULL, 0) : 0;
}

static const struct fuse_operations operations = {
    .getattr = do_getattr, .readdir = do_readdir, .open = do_open, .read = do_read, .write = do_write, .fsync = do_fsync
};

int main(int argc, char **argv)
{
    if (argc != 4) return 2;
    image = open(argv[1], O_RDWR | O_CLOEXEC);
    record_log = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (image < 0 || record_log < 0) return perror(argv[1]), 2;
    image_size = lseek(image, 0, SEEK_END);
    char *fuse_argv[] = { argv[0], "-f", "-s", argv[3], NULL };
    return fuse_main(4, fuse_argv, &operations, NULL);
}
