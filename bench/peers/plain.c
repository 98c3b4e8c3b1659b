/* The ceilings of `make bench` as a shared library, for the bench of the peers, which is in Python: flat arguments, seconds as results. */
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"
#include "machine.h"
#include "raw.h"
#include "scratch.h"

#define SEEN __attribute__((visibility("default")))
enum { MAX_THREADS = 16 };

SEEN unsigned char *plain_memory(uint64_t size_bytes);
SEEN double plain_copy(unsigned char *destination, const unsigned char *const *parts, const uint64_t *sizes, int count, int threads);
SEEN double plain_write(const char *like, const char *folder, const unsigned char *memory, uint64_t memory_bytes, int threads);
SEEN double plain_read(const char *folder, unsigned char *memory, uint64_t memory_bytes, int direct, int digested, int threads);
SEEN double plain_read_anew(const char *folder, uint64_t memory_bytes, int threads);
SEEN void plain_drop(const char *folder);
SEEN void plain_fill(const char *folder);
SEEN int plain_wait_idle(double minutes);

unsigned char *plain_memory(uint64_t size_bytes)
{
    return raw_memory_new(size_bytes);
}

/* The parts of a state where they lie, one after the other in destination. */
struct gathering {
    unsigned char *destination;
    const unsigned char *const *parts;
    const uint64_t *sizes;
    int count;
    atomic_int next;
    atomic_uint_fast64_t place;
};

static void *gather(void *user)
{
    struct gathering *gathering = user;
    for (int i; (i = atomic_fetch_add(&gathering->next, 1)) < gathering->count;) {
        uint64_t size = gathering->sizes[i], place = atomic_fetch_add(&gathering->place, (size + 255) / 256 * 256);
        (void)raw_copy(gathering->destination + place, size, gathering->parts[i], size, 1);
    }
    return NULL;
}

double plain_copy(unsigned char *destination, const unsigned char *const *parts, const uint64_t *sizes, int count, int threads)
{
    struct gathering gathering = { .parts = parts, .sizes = sizes, .count = count };
    gathering.destination = destination;
    pthread_t others[MAX_THREADS];
    double start = now_s();
    for (int i = 1; i < threads; i++)
        if (pthread_create(&others[i], NULL, gather, &gathering)) die("a thread could not be started");
    gather(&gathering);
    for (int i = 1; i < threads; i++) pthread_join(others[i], NULL);
    return now_s() - start;
}

/* Files of the sizes of those in the folder `like`, in folders of the same shape. */
double plain_write(const char *like, const char *folder, const unsigned char *memory, uint64_t memory_bytes, int threads)
{
    struct raw_layout layout;
    raw_layout_of(like, &layout);
    double seconds = raw_write(folder, &layout, memory, memory_bytes, threads);
    raw_layout_free(&layout);
    return seconds;
}

double plain_read(const char *folder, unsigned char *memory, uint64_t memory_bytes, int direct, int digested, int threads)
{
    struct raw_layout layout;
    raw_layout_of(folder, &layout);
    double seconds = digested ? raw_read_digested(folder, &layout, memory, memory_bytes, direct, threads)
                              : raw_read(folder, &layout, memory, memory_bytes, direct, threads);
    raw_layout_free(&layout);
    return seconds;
}

/* By O_DIRECT, into memory that the kernel has yet to give. */
double plain_read_anew(const char *folder, uint64_t memory_bytes, int threads)
{
    unsigned char *memory = raw_memory_untouched(memory_bytes);
    double seconds = plain_read(folder, memory, memory_bytes, true, false, threads);
    raw_memory_free(memory, memory_bytes);
    return seconds;
}

void plain_drop(const char *folder)
{
    cache_drop(folder);
}

void plain_fill(const char *folder)
{
    cache_fill(folder);
}

int plain_wait_idle(double minutes)
{
    return machine_wait_idle(minutes);
}
