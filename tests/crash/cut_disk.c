/* Proves: a power cut at any moment of a trainer's life, on a file system of the real kernel, loses nothing that was said to be saved.
 *
 *     cut_disk BIN WORK FILESYSTEM PREFIXES SUBSETS SEED
 *
 * WORK holds what block_log.sh made: base, the image before anything was written; log, every block write, flush and line of the diary since. A cut leaves all
 * that was written before the last flush, and of what came after it any part in any order, torn in units of 512 bytes. Each such disk is made, mounted - the
 * file system replays its journal -, and held against the diary as it was at the cut. PREFIXES: every so many cuts that keep all that was written so far;
 * SUBSETS: cuts at a random moment that keep a random part. A disk that cannot be mounted is counted by itself: it is the file system's matter. */
#include "cases.h"
#include "disk_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512, PAGE = 4096 };

static const char *bin, *work, *filesystem;
static uint8_t *base, *disk; /* as it was made; as it is while the log is gone through */
static size_t disk_size;
static const uint8_t *record_log;
static size_t log_size;
static uint64_t refused; /* mounts */
static uint64_t seed;

static const uint8_t *map_file(const char *name, int protection, size_t *ret_size)
{
    char path[4096];
    struct stat info;
    snprintf(path, sizeof path, "%s/%s", work, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 || fstat(file, &info)) perror(path), exit(2);
    void *bytes = mmap(NULL, (size_t)info.st_size, protection, MAP_PRIVATE, file, 0);
    if (bytes == MAP_FAILED) perror(path), exit(2);
    close(file);
    *ret_size = (size_t)info.st_size;
    return bytes;
}

/* The record at a place of the log. Returns the place of the one after it; 0 at the end. Records are not aligned to anything. */
static size_t next(size_t at, struct disk_record *ret_record)
{
    if (at + sizeof *ret_record > log_size) return 0;
    memcpy(ret_record, record_log + at, sizeof *ret_record);
    const size_t after = at + sizeof *ret_record + ret_record->size;
    return after <= log_size ? after : 0;
}

static void write_file(const char *name, const uint8_t *bytes, size_t size)
{
    static const uint8_t zeros[PAGE];
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", work, name);
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (file < 0 || ftruncate(file, (off_t)size)) perror(path), exit(2);
    for (size_t at = 0; at < size; at += PAGE) {
        const size_t part = size - at < PAGE ? size - at : PAGE;
        if (memcmp(bytes + at, zeros, part) != 0 && pwrite(file, bytes + at, part, (off_t)at) != (ssize_t)part) perror(path), exit(2);
    }
    close(file);
}

/* What the diary held when the log was `end` long. */
static void write_diary(size_t end)
{
    struct disk_record record;
    char path[4096];
    snprintf(path, sizeof path, "%s/diary", work);
    FILE *file = fopen(path, "we");
    for (size_t at = 0, after; at < end && (after = next(at, &record)); at = after)
        if (record.kind == DISK_NOTE) fwrite(record_log + at + sizeof record, 1, record.size, file);
    fclose(file);
}

static void look_at(const uint8_t *bytes, size_t cut, struct cases *cases)
{
    char out[4096];
    snprintf(out, sizeof out, "%s/out", work);
    write_file("cut", bytes, disk_size);
    write_diary(cut);
    cases->run++;
    if (shell("mount -t %s -o loop '%s/cut' '%s/mount' 2>'%s'", filesystem, work, work, out)) {
        refused++;
        return;
    }
    if (shell("'%s/checker' '%s/mount/run' '%s/diary' >'%s' 2>&1", bin, work, work, out))
        case_failed(cases, out, "cut at byte %zu of the log (seed %llu)", cut, (unsigned long long)seed);
    if (shell("umount '%s/mount'", work)) exit(2);
}

static void apply(uint8_t *bytes, const struct disk_record *record, size_t at, uint64_t size)
{
    if (record->offset + size > disk_size) exit(2);
    memcpy(bytes + record->offset, record_log + at + sizeof *record, size);
}

static void keep_all(struct cases *cases, uint64_t stride)
{
    struct disk_record record;
    uint64_t count = 0;
    memcpy(disk, base, disk_size);
    for (size_t at = 0, after; (after = next(at, &record)); at = after) {
        if (record.kind == DISK_WRITE) apply(disk, &record, at, record.size);
        if (record.kind != DISK_FLUSH && ++count % stride == 0) look_at(disk, after, cases);
    }
}

/* All until the last flush before the cut, then a part: each write with a chance of its own case, some torn, in another order. */
static void keep_some(struct cases *cases, size_t cut)
{
    enum { MAX = 4096 };
    size_t loose[MAX], count = 0;
    struct disk_record record;
    memcpy(disk, base, disk_size);
    for (size_t at = 0, after; at < cut && (after = next(at, &record)); at = after) {
        if (record.kind == DISK_WRITE && count == MAX) exit(2);
        if (record.kind == DISK_WRITE) loose[count++] = at;
        if (record.kind != DISK_FLUSH) continue;
        for (size_t i = 0; i < count; i++) {
            next(loose[i], &record);
            apply(disk, &record, loose[i], record.size);
        }
        count = 0;
    }
    const uint64_t chance = 1 + random_below(99);
    for (size_t left = count; left; left--) {
        const size_t pick = random_below(left), at = loose[pick];
        loose[pick] = loose[left - 1];
        if (random_below(100) >= chance) continue;
        next(at, &record);
        const bool torn = random_below(5) == 0;
        apply(disk, &record, at, torn ? SECTOR * random_below(record.size / SECTOR + 1) : record.size);
    }
    look_at(disk, cut, cases);
}

static size_t random_cut(void)
{
    struct disk_record record;
    size_t count = 0, at = 0;
    for (size_t after; (after = next(at, &record)); at = after) count++;
    at = 0;
    for (size_t i = 1 + random_below(count); i; i--) at = next(at, &record);
    return at;
}

int main(int argc, char **argv)
{
    if (argc < 7) return 2;
    bin = argv[1], work = argv[2], filesystem = argv[3];
    const uint64_t stride = strtoull(argv[4], NULL, 10), subsets = strtoull(argv[5], NULL, 10);
    char told[3][120];
    base = (uint8_t *)(uintptr_t)map_file("base", PROT_READ, &disk_size);
    record_log = map_file("log", PROT_READ, &log_size);
    disk = malloc(disk_size);
    if (!disk) return 2;
    seed = strtoull(argv[6], NULL, 10);
    random_seed(seed);
    snprintf(told[0], sizeof told[0], "%s, power cut: all that was written", filesystem);
    snprintf(told[1], sizeof told[1], "%s, power cut: a part of what was not flushed", filesystem);
    struct cases all = { .name = told[0] }, some = { .name = told[1] };
    keep_all(&all, stride);
    for (uint64_t i = 0; i < subsets; i++) keep_some(&some, random_cut());
    if (refused * 50 > all.run + some.run) case_failed(&some, NULL, "%llu disks could not be mounted", (unsigned long long)refused);
    bool well = cases_tell(&all);
    well &= cases_tell(&some);
    printf("# %llu of these disks could not be mounted\n", (unsigned long long)refused);
    return !well;
}
