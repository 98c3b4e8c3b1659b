/* Memory: small pieces from the C library, large ones straight from the kernel, and how much there is. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/check.h"
#include "base/limits.h"

static void *resize(void *user, void *memory, size_t size)
{
    (void)user;
    return realloc(memory, size);
}

static void release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

const struct cn_alloc *cn_os_alloc(void)
{
    static const struct cn_alloc alloc = { resize, release, NULL };
    return &alloc;
}

void *cn_os_new(size_t size)
{
    return calloc(1, size ? size : 1);
}

void *cn_os_new_array(uint64_t count, size_t size)
{
    return calloc(count ? count : 1, size ? size : 1);
}

void cn_os_free(void *memory)
{
    free(memory);
}

char *cn_os_copy_text(const char *text)
{
    return strdup(text);
}

#define HUGE_BYTES (UINT64_C(2) << 20)

/* A mapping that begins where a huge page may: else direct I/O, which counts in pages, is up to a fifth slower. */
static char *map_aligned(uint64_t size_bytes)
{
    if (size_bytes > UINT64_MAX - 2 * HUGE_BYTES) return errno = ENOMEM, MAP_FAILED;
    uint64_t room = cn_align_up(size_bytes, CN_PAGE_BYTES) + HUGE_BYTES;
    char *map = mmap(NULL, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return map;
    char *begin = map + (HUGE_BYTES - (uintptr_t)map % HUGE_BYTES) % HUGE_BYTES, *end = begin + (room - HUGE_BYTES);
    if (begin > map) (void)munmap(map, (size_t)(begin - map));
    if (end < map + room) (void)munmap(end, (size_t)(map + room - end));
    return begin;
}

int cn_os_pages_new(uint64_t size_bytes, void **ret_pages)
{
    bool is_huge = size_bytes >= HUGE_BYTES;
    char *pages = is_huge ? map_aligned(size_bytes) : mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) return -errno;
    if (is_huge) (void)madvise(pages, size_bytes, MADV_HUGEPAGE);
    /* a fork would mark the pages copy-on-write, and refilling them then costs 18 times as much */
    (void)madvise(pages, size_bytes, MADV_DONTFORK);
    *ret_pages = pages;
    return 0;
}

void cn_os_pages_touch(void *pages, uint64_t size_bytes)
{
    for (uint64_t at = 0; at < size_bytes; at += 4096) *((volatile char *)pages + at) = 0;
}

void cn_os_pages_free(void *pages, uint64_t size_bytes)
{
    if (pages) (void)munmap(pages, size_bytes);
}

static bool read_text(const char *path, char *text, size_t size)
{
    int file = open(path, O_RDONLY | O_CLOEXEC);
    size_t count = 0;
    bool good = file >= 0 && !cn_os_read_at(file, 0, text, size - 1, &count) && count;
    text[count] = 0;
    (void)cn_os_close(file);
    return good;
}

/* A control group's "max" reads as 0 digits: no limit. */
static bool read_number(const char *path, uint64_t *ret_number)
{
    char text[64], *end;
    if (!read_text(path, text, sizeof text)) return false;
    unsigned long long number = strtoull(text, &end, 10);
    if (end == text) return false;
    *ret_number = number;
    return true;
}

/* Where the control groups of a version are mounted, and what their files are called. */
struct hierarchy {
    const char *mark; /* before the group's path in /proc/self/cgroup */
    const char *root, *limit_name, *used_name;
};

static bool read_group(const struct hierarchy *hierarchy, const char *group, const char *name, uint64_t *ret_number)
{
    char path[4096];
    int size = snprintf(path, sizeof path, "%s%s/%s", hierarchy->root, group, name);
    return size > 0 && (size_t)size < sizeof path && read_number(path, ret_number);
}

/* The group's limit and those of all groups above it: each of them holds. Where the path is another namespace's, the root is ours. */
static void lower_by_groups(const struct hierarchy *hierarchy, char *group, uint64_t *available)
{
    uint64_t limit, used;
    for (char *end = group + strlen(group);; end = strrchr(group, '/')) {
        if (end) *end = 0;
        if (read_group(hierarchy, group, hierarchy->limit_name, &limit) && read_group(hierarchy, group, hierarchy->used_name, &used)) {
            uint64_t left = limit > used ? limit - used : 0;
            if (left < *available) *available = left;
        }
        if (!*group) return;
    }
}

uint64_t cn_os_free_memory(void)
{
    char text[4096];
    uint64_t available = UINT64_C(1) << 30;
    const char *line = read_text("/proc/meminfo", text, sizeof text) ? strstr(text, "MemAvailable:") : NULL;
    if (line) available = strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024;
    static const struct hierarchy hierarchies[] = {
        { "\n0::", "/sys/fs/cgroup", "memory.max", "memory.current" },
        { "\n0::", "/sys/fs/cgroup/unified", "memory.max", "memory.current" },
        { ":memory:", "/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes" },
    };
    text[0] = '\n';
    if (!read_text("/proc/self/cgroup", text + 1, sizeof text - 1)) text[1] = 0;
    for (size_t i = 0; i < sizeof hierarchies / sizeof *hierarchies; i++) {
        char group[sizeof text] = "";
        const char *mark = strstr(text, hierarchies[i].mark);
        if (mark) sscanf(mark + strlen(hierarchies[i].mark), "%4095[^\n]", group);
        if (!strcmp(group, "/")) group[0] = 0;
        lower_by_groups(&hierarchies[i], group, &available);
    }
    return available;
}
