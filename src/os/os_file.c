/* Files: opening without surprises, reading and writing whole ranges, syncing. Reads and writes go on after short counts and EINTR; a sync or
 * close that failed is told once and must not be tried again by anybody. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

/* Non-blocking at the open, so that a planted FIFO cannot hold us; then only a regular file passes. */
static int open_regular(int at, const char *name, int flags, cn_file *ret_file)
{
    int file;
    struct stat info;
    do file = openat(at, name, O_NONBLOCK | O_NOCTTY | O_CLOEXEC | flags);
    while (file < 0 && errno == EINTR);
    if (file < 0) return -errno;
    int rc = fstat(file, &info) < 0 ? -errno : S_ISREG(info.st_mode) ? 0 : S_ISDIR(info.st_mode) ? -EISDIR : -ENXIO;
    if (rc)
        close(file);
    else
        *ret_file = file;
    return rc;
}

int cn_os_open_read(cn_file dir, const char *name, cn_file *ret_file)
{
    return open_regular(dir, name, O_RDONLY | O_NOFOLLOW, ret_file);
}

int cn_os_open_write(cn_file dir, const char *name, cn_file *ret_file)
{
    return open_regular(dir, name, O_RDWR | O_NOFOLLOW, ret_file);
}

int cn_os_open_read_path(const char *path, cn_file *ret_file)
{
    return open_regular(AT_FDCWD, path, 0, ret_file);
}

int cn_os_open_read_direct(cn_file dir, const char *name, cn_file *ret_file)
{
    return open_regular(dir, name, O_RDONLY | O_NOFOLLOW | O_DIRECT, ret_file);
}

int cn_os_create(cn_file dir, const char *name, uint32_t mode, bool direct, cn_file *ret_file)
{
    int file;
    do file = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | (direct ? O_DIRECT : 0), mode);
    while (file < 0 && errno == EINTR);
    if (file < 0) {
        int saved = errno;
        /* Linux may leave the new file behind when it refuses O_DIRECT afterwards */
        if (direct && saved == EINVAL) (void)unlinkat(dir, name, 0);
        return -saved;
    }
    if (fchmod(file, mode) < 0) {
        int saved = errno;
        close(file);
        return -saved;
    }
    *ret_file = file;
    return 0;
}

int cn_os_open_append(cn_file dir, const char *name, uint32_t mode, cn_file *ret_file)
{
    int file;
    struct stat info;
    do file = openat(dir, name, O_RDWR | O_APPEND | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, mode);
    while (file < 0 && errno == EINTR);
    if (file < 0) return -errno;
    int rc = fstat(file, &info) < 0 ? -errno : S_ISREG(info.st_mode) ? 0 : -ENXIO;
    if (!rc && !info.st_size && info.st_uid == geteuid()) (void)fchmod(file, mode); /* just made: the umask must not decide */
    if (rc)
        close(file);
    else
        *ret_file = file;
    return rc;
}

int cn_os_append(cn_file file, const void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = write(file, (const char *)data + done, size - done);
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        if (!count) return -EIO;
        done += (size_t)count;
    }
    return 0;
}

int cn_os_set_mode(cn_file file, uint32_t mode)
{
    return result(fchmod(file, mode));
}

/* After EINTR the descriptor is closed on Linux: that is no failure. */
int cn_os_close(cn_file file)
{
    if (file < 0) return 0;
    return close(file) < 0 && errno != EINTR ? -errno : 0;
}

int cn_os_read_at(cn_file file, uint64_t offset, void *data, size_t size, size_t *ret_size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = pread(file, (char *)data + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        if (!count) break;
        done += (size_t)count;
    }
    *ret_size = done;
    return 0;
}

int cn_os_write_at(cn_file file, uint64_t offset, const void *data, size_t size)
{
    size_t done = 0;
    while (done < size) {
        ssize_t count = pwrite(file, (const char *)data + done, size - done, (off_t)(offset + done));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return -errno;
        if (!count) return -EIO;
        done += (size_t)count;
    }
    return 0;
}

int cn_os_allocate(cn_file file, uint64_t size_bytes)
{
    int rc;
    if (!size_bytes) return 0;
    do rc = fallocate(file, 0, 0, (off_t)size_bytes);
    while (rc < 0 && errno == EINTR);
    return result(rc);
}

int cn_os_truncate(cn_file file, uint64_t size_bytes)
{
    int rc;
    do rc = ftruncate(file, (off_t)size_bytes);
    while (rc < 0 && errno == EINTR);
    return result(rc);
}

int cn_os_start_writeback(cn_file file, uint64_t offset, uint64_t size_bytes)
{
    return result(sync_file_range(file, (off_t)offset, (off_t)size_bytes, SYNC_FILE_RANGE_WRITE));
}

int cn_os_sync(cn_file file)
{
    return result(fsync(file));
}

/* Where the kernel is older than cachestat (6.5). A byte for each page. */
static int cached_percent_by_map(cn_file file, uint64_t offset, uint64_t size_bytes)
{
    enum { PAGE = 4096 };
    unsigned char present[PAGE];
    uint64_t start = offset / PAGE * PAGE, size = offset + size_bytes - start, cached = 0, pages = (size + PAGE - 1) / PAGE;
    unsigned char *map = mmap(NULL, size, PROT_READ, MAP_SHARED, file, (off_t)start);
    if (map == MAP_FAILED) return -errno;
    int rc = 0;
    for (uint64_t at = 0; at < pages && !rc; at += sizeof present) {
        uint64_t count = pages - at < sizeof present ? pages - at : sizeof present;
        rc = result(mincore(map + at * PAGE, count * PAGE, present));
        for (uint64_t i = 0; i < count && !rc; i++) cached += present[i] & 1;
    }
    (void)munmap(map, size);
    return rc ? rc : pages ? (int)(cached * 100 / pages) : 100;
}

int cn_os_cached_percent(cn_file file, uint64_t offset, uint64_t size_bytes)
{
    struct {
        uint64_t offset, length;
    } range = { offset, size_bytes };
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } pages = { 0, 0, 0, 0, 0 };
    if (!size_bytes) return 100;
    if (syscall(SYS_cachestat, file, &range, &pages, 0) < 0)
        return errno == ENOSYS ? cached_percent_by_map(file, offset, size_bytes) : -errno;
    uint64_t percent = pages.cached * 4096 * 100 / size_bytes;
    return percent > 100 ? 100 : (int)percent;
}

int cn_os_map(cn_file file, uint64_t size_bytes, struct cn_mapping *ret_mapping)
{
    void *address = mmap(NULL, size_bytes, PROT_READ, MAP_SHARED, file, 0);
    if (address == MAP_FAILED) return -errno;
    *ret_mapping = (struct cn_mapping){ address, size_bytes };
    return 0;
}

void cn_os_unmap(struct cn_mapping *mapping)
{
    if (mapping->address) (void)munmap(mapping->address, mapping->size_bytes);
    *mapping = (struct cn_mapping){ 0 };
}
