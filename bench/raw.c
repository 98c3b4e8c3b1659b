/* The plainest writer and reader (see raw.h). A failure ends the bench: a ceiling that failed is none. */
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench.h"

enum { PAGE = 4096, BLOCK = 4 << 20, WARM_BLOCK = 1 << 20, LARGE = 1 << 20, MAX_THREADS = 16 };

/* ---------------------------------------------------------------------------------------------------------------- layout */

static struct raw_layout *walked;
static size_t walked_prefix;

static int add_one(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    struct raw_layout *layout = walked;
    if (type == FTW_D && walk->level > 0 && layout->folders_count < 16)
        snprintf(layout->folders[layout->folders_count++], sizeof layout->folders[0], "%.255s", path + walked_prefix);
    if (type != FTW_F) return 0;
    layout->files = realloc(layout->files, (size_t)(layout->files_count + 1) * sizeof *layout->files);
    if (!layout->files) die("no memory");
    struct raw_file *file = &layout->files[layout->files_count++];
    snprintf(file->name, sizeof file->name, "%.255s", path + walked_prefix);
    file->size_bytes = (uint64_t)info->st_size;
    layout->total_bytes += file->size_bytes;
    return 0;
}

void raw_layout_of(const char *folder, struct raw_layout *ret_layout)
{
    *ret_layout = (struct raw_layout){ 0 };
    walked = ret_layout;
    walked_prefix = strlen(folder) + 1;
    if (nftw(folder, add_one, 32, FTW_PHYS) || !ret_layout->files_count) die("%s: cannot be looked through", folder);
}

void raw_layout_free(struct raw_layout *layout)
{
    free(layout->files);
    *layout = (struct raw_layout){ 0 };
}

/* ---------------------------------------------------------------------------------------------------------------- memory */

unsigned char *raw_memory_untouched(uint64_t size_bytes)
{
    unsigned char *memory = mmap(NULL, size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) die("no memory for %.1f GiB", (double)size_bytes / (1u << 30));
    (void)madvise(memory, size_bytes, MADV_HUGEPAGE);
    return memory;
}

unsigned char *raw_memory_new(uint64_t size_bytes)
{
    unsigned char *memory = raw_memory_untouched(size_bytes);
    memset(memory, 1, size_bytes);
    return memory;
}

void raw_memory_free(unsigned char *memory, uint64_t size_bytes)
{
    if (memory) (void)munmap(memory, size_bytes);
}

uint64_t raw_touch(const void *data, uint64_t size_bytes)
{
    uint64_t sum = 0;
    for (uint64_t at = 0; at < size_bytes; at += PAGE) sum += ((const volatile unsigned char *)data)[at];
    return sum;
}

/* --------------------------------------------------------------------------------------------------------------- threads */

/* Blocks of all large files in one numbering; threads take the next number. */
struct work {
    const struct raw_layout *layout;
    const int *descriptors;
    unsigned char *memory;
    uint64_t memory_bytes, block_bytes;
    uint64_t *first_block; /* of each file; one more than there are files */
    bool writes, digests;
    atomic_uint_fast64_t next;
};

/* The compiler must not leave out what nobody uses. */
static void keep(XXH128_hash_t digest)
{
    static atomic_uint_fast64_t all;
    atomic_fetch_xor_explicit(&all, digest.low64 ^ digest.high64, memory_order_relaxed);
}

static void move_block(const struct work *work, int file, uint64_t block)
{
    uint64_t size = work->layout->files[file].size_bytes, at = block * work->block_bytes, number = work->first_block[file] + block;
    uint64_t take = size - at < work->block_bytes ? size - at : work->block_bytes;
    unsigned char *place = work->memory + number * work->block_bytes % (work->memory_bytes - work->memory_bytes % work->block_bytes);
    for (uint64_t done = 0; done < take;) {
        uint64_t rest = (take - done + PAGE - 1) / PAGE * PAGE; /* direct: whole pages */
        ssize_t count = work->writes ? pwrite(work->descriptors[file], place + done, rest, (off_t)(at + done))
                                     : pread(work->descriptors[file], place + done, rest, (off_t)(at + done));
        if (count <= 0) die("%s: %s", work->layout->files[file].name, count ? strerror(errno) : "it ends too early");
        done += (uint64_t)count;
    }
    if (work->digests) keep(XXH3_128bits(place, take));
}

static void *move_blocks(void *user)
{
    struct work *work = user;
    int file = 0;
    for (uint64_t number; (number = atomic_fetch_add(&work->next, 1)) < work->first_block[work->layout->files_count];) {
        while (number >= work->first_block[file + 1]) file++;
        move_block(work, file, number - work->first_block[file]);
    }
    return NULL;
}

/* The caller's thread is one of them. */
static void on_threads(void *(*run)(void *), void *users, size_t user_bytes, int threads)
{
    pthread_t others[MAX_THREADS];
    for (int i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, run, (char *)users + (size_t)i * user_bytes)) die("a thread could not be started");
    run(users);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
}

static bool is_large(const struct raw_file *file)
{
    return file->size_bytes >= LARGE;
}

/* The large files, in blocks; a layout's other files take no block. */
static void move_all(struct work *work, int threads)
{
    const struct raw_layout *layout = work->layout;
    uint64_t first[layout->files_count + 1];
    first[0] = 0;
    for (int i = 0; i < layout->files_count; i++)
        first[i + 1] =
            first[i] + (is_large(&layout->files[i]) ? (layout->files[i].size_bytes + work->block_bytes - 1) / work->block_bytes : 0);
    work->first_block = first;
    on_threads(move_blocks, work, 0, threads);
}

/* --------------------------------------------------------------------------------------------------------------- writing */

static int must_open(int dir, const char *name, int flags)
{
    int file = openat(dir, name, flags | O_CLOEXEC, 0644);
    if (file < 0) die("%s: %s", name, strerror(errno));
    return file;
}

static void must_be(int rc, const char *name)
{
    if (rc) die("%s: %s", name, strerror(errno));
}

static void sync_folder(int dir, const char *name)
{
    int folder = must_open(dir, name, O_RDONLY | O_DIRECTORY);
    must_be(fsync(folder), name);
    close(folder);
}

static void create_files(int dir, const struct raw_layout *layout, int *descriptors)
{
    for (int i = 0; i < layout->files_count; i++) {
        const struct raw_file *file = &layout->files[i];
        descriptors[i] = must_open(dir, file->name, O_RDWR | O_CREAT | O_EXCL | (is_large(file) ? O_DIRECT : 0));
        if (is_large(file)) must_be(fallocate(descriptors[i], 0, 0, (off_t)file->size_bytes), file->name);
    }
}

static void finish_files(const struct raw_layout *layout, const int *descriptors, const unsigned char *memory)
{
    for (int i = 0; i < layout->files_count; i++) {
        const struct raw_file *file = &layout->files[i];
        if (!is_large(file) && pwrite(descriptors[i], memory, file->size_bytes, 0) != (ssize_t)file->size_bytes)
            die("%s: cut short", file->name);
        if (is_large(file)) must_be(ftruncate(descriptors[i], (off_t)file->size_bytes), file->name);
        must_be(fsync(descriptors[i]), file->name);
        must_be(close(descriptors[i]), file->name);
    }
}

double raw_write(const char *folder, const struct raw_layout *layout, const unsigned char *memory, uint64_t memory_bytes, int threads)
{
    char staging[4200];
    int descriptors[layout->files_count];
    snprintf(staging, sizeof staging, "%s.new", folder);
    double start = now_s();
    must_be(mkdir(staging, 0755), staging);
    int dir = must_open(AT_FDCWD, staging, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < layout->folders_count; i++) must_be(mkdirat(dir, layout->folders[i], 0755), layout->folders[i]);
    sync_folder(dir, "..");
    create_files(dir, layout, descriptors);
    struct work work = { .layout = layout,
                         .descriptors = descriptors,
                         .memory = (unsigned char *)memory,
                         .memory_bytes = memory_bytes,
                         .block_bytes = BLOCK,
                         .writes = true };
    move_all(&work, threads);
    finish_files(layout, descriptors, memory);
    for (int i = layout->folders_count; i-- > 0;) sync_folder(dir, layout->folders[i]);
    must_be(fsync(dir), staging);
    sync_folder(dir, "..");
    must_be(rename(staging, folder), folder);
    sync_folder(dir, "..");
    close(dir);
    return now_s() - start;
}

/* --------------------------------------------------------------------------------------------------------------- reading */

static double read_all(const char *folder, struct work *work, bool direct, int threads)
{
    const struct raw_layout *layout = work->layout;
    int descriptors[layout->files_count];
    double start = now_s();
    int dir = must_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < layout->files_count; i++) {
        const struct raw_file *file = &layout->files[i];
        descriptors[i] = must_open(dir, file->name, O_RDONLY | (direct && is_large(file) ? O_DIRECT : 0));
        if (!is_large(file) && pread(descriptors[i], work->memory, file->size_bytes, 0) != (ssize_t)file->size_bytes)
            die("%s: cut short", file->name);
    }
    work->descriptors = descriptors;
    work->block_bytes = direct ? BLOCK : WARM_BLOCK;
    move_all(work, threads);
    for (int i = 0; i < layout->files_count; i++) close(descriptors[i]);
    close(dir);
    return now_s() - start;
}

double raw_read(const char *folder, const struct raw_layout *layout, unsigned char *memory, uint64_t memory_bytes, bool direct, int threads)
{
    struct work work = { .layout = layout, .memory_bytes = memory_bytes };
    work.memory = memory;
    return read_all(folder, &work, direct, threads);
}

double raw_read_digested(const char *folder, const struct raw_layout *layout, unsigned char *memory, uint64_t memory_bytes, bool direct,
                         int threads)
{
    struct work work = { .layout = layout, .memory_bytes = memory_bytes, .digests = true };
    work.memory = memory;
    return read_all(folder, &work, direct, threads);
}

double raw_map(const char *folder, const struct raw_layout *layout)
{
    void *maps[layout->files_count];
    double start = now_s();
    int dir = must_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < layout->files_count; i++) {
        const struct raw_file *file = &layout->files[i];
        if (!file->size_bytes) continue;
        int descriptor = must_open(dir, file->name, O_RDONLY);
        maps[i] = mmap(NULL, file->size_bytes, PROT_READ, MAP_SHARED, descriptor, 0);
        if (maps[i] == MAP_FAILED) die("%s: %s", file->name, strerror(errno));
        close(descriptor);
        raw_touch(maps[i], file->size_bytes);
    }
    close(dir);
    double seconds = now_s() - start;
    for (int i = 0; i < layout->files_count; i++)
        if (layout->files[i].size_bytes) munmap(maps[i], layout->files[i].size_bytes);
    return seconds;
}
