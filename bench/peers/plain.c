/* The ceilings of `make bench` as a shared library, for the bench of the peers, which is in Python: flat arguments, seconds as results. */
#include "machine.h"
#include "raw.h"
#include "scratch.h"

#define SEEN __attribute__((visibility("default")))

SEEN unsigned char *plain_memory(uint64_t size_bytes);
SEEN double plain_copy(unsigned char *destination, const unsigned char *source, uint64_t size_bytes, int threads);
SEEN double plain_write(const char *like, const char *folder, const unsigned char *memory, uint64_t memory_bytes, int threads);
SEEN double plain_read(const char *folder, unsigned char *memory, uint64_t memory_bytes, int direct, int digested, int threads);
SEEN void plain_drop(const char *folder);
SEEN void plain_fill(const char *folder);
SEEN int plain_wait_idle(double minutes);

unsigned char *plain_memory(uint64_t size_bytes)
{
    return raw_memory_new(size_bytes);
}

double plain_copy(unsigned char *destination, const unsigned char *source, uint64_t size_bytes, int threads)
{
    return raw_copy(destination, size_bytes, source, size_bytes, threads);
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
