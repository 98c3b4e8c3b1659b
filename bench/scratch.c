/* The scratch folder (see scratch.h). Only what is below it is ever deleted. */
#include "scratch.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "bench.h"

static const char prefix[] = "cairn-bench-";
static char scratch[4096];
static pid_t owner; /* a forked child must not clean up */
static bool dropped_all;

static int remove_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info, (void)type, (void)walk;
    return remove(path);
}

static void remove_tree(const char *path)
{
    (void)nftw(path, remove_one, 32, FTW_DEPTH | FTW_PHYS);
}

static void remove_left_behind(const char *dir)
{
    DIR *list = opendir(dir);
    for (struct dirent *entry; list && (entry = readdir(list));) {
        char path[sizeof scratch];
        if (strncmp(entry->d_name, prefix, strlen(prefix))) continue;
        pid_t pid = (pid_t)atol(entry->d_name + strlen(prefix));
        if (pid <= 0 || !kill(pid, 0) || errno != ESRCH) continue;
        if (snprintf(path, sizeof path, "%s/%s", dir, entry->d_name) < (int)sizeof path) remove_tree(path);
    }
    if (list) closedir(list);
}

void scratch_make(const char *dir, uint64_t room_bytes)
{
    struct statvfs info;
    if (statvfs(dir, &info)) die("%s: %s", dir, strerror(errno));
    remove_left_behind(dir);
    uint64_t available = (uint64_t)info.f_bavail * info.f_frsize;
    if (available < room_bytes)
        die("%s: the bench needs %.1f GiB there, %.1f GiB are free; choose a smaller --size or another --dir", dir,
            (double)room_bytes / (1u << 30), (double)available / (1u << 30));
    if (snprintf(scratch, sizeof scratch, "%s/%s%ld", dir, prefix, (long)getpid()) >= (int)sizeof scratch) die("%s: too long", dir);
    if (mkdir(scratch, 0755)) die("%s: %s", scratch, strerror(errno));
    owner = getpid();
}

void scratch_remove(void)
{
    if (owner == getpid()) remove_tree(scratch);
}

const char *scratch_path(const char *name, char *ret_path, size_t size)
{
    if (snprintf(ret_path, size, "%s/%s", scratch, name) >= (int)size) die("%s: the path is too long", scratch);
    return ret_path;
}

void folder_remove(const char *path)
{
    remove_tree(path);
    int dir = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) (void)syncfs(dir), (void)close(dir);
}

/* ------------------------------------------------------------------------------------------------------------ page cache */

static uint64_t cached_pages;

/* How much of a file is in the cache: mincore over a mapping that touches nothing. */
static uint64_t count_cached(int file, size_t size)
{
    size_t pages = (size + 4095) / 4096, count = 0;
    unsigned char *there = malloc(pages ? pages : 1);
    void *map = size ? mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    if (map != MAP_FAILED && there && !mincore(map, size, there))
        for (size_t i = 0; i < pages; i++) count += there[i] & 1;
    if (map != MAP_FAILED) (void)munmap(map, size);
    free(there);
    return count;
}

static int drop_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)walk;
    if (type != FTW_F) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) return 0;
    (void)fsync(file);
    (void)posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
    cached_pages += count_cached(file, (size_t)info->st_size);
    (void)close(file);
    return 0;
}

void cache_drop(const char *folder)
{
    cached_pages = 0;
    (void)nftw(folder, drop_one, 32, FTW_PHYS);
    if (!cached_pages || geteuid()) return;
    int file = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);
    if (file < 0) return;
    dropped_all = write(file, "1\n", 2) == 2;
    (void)close(file);
}

const char *cache_dropped_by(void)
{
    return dropped_all ? "posix_fadvise and drop_caches" : "posix_fadvise";
}

static int fill_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    static char buffer[1 << 20];
    (void)info, (void)walk;
    if (type != FTW_F) return 0;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    while (file >= 0 && read(file, buffer, sizeof buffer) > 0) continue;
    if (file >= 0) (void)close(file);
    return 0;
}

void cache_fill(const char *folder)
{
    (void)nftw(folder, fill_one, 32, FTW_PHYS);
}
