/* The ceiling: what the hardware does for the plainest code. It knows nothing of Cairn; it writes and reads files of the same sizes, in folders
 * of the same shape, with the same syncs. */
#ifndef BENCH_RAW_H
#define BENCH_RAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct raw_file {
    char name[256]; /* within the folder */
    uint64_t size_bytes;
};

/* The files of a folder, as a list of names and sizes. */
struct raw_layout {
    struct raw_file *files;
    int files_count;
    char folders[16][256]; /* within the folder, parents first; the folder itself is not among them */
    int folders_count;
    uint64_t total_bytes;
};

void raw_layout_of(const char *folder, struct raw_layout *ret_layout);
void raw_layout_free(struct raw_layout *layout);

/* Memory for the bytes: pages of 2 MiB where there are, touched or not. */
unsigned char *raw_memory_new(uint64_t size_bytes);
unsigned char *raw_memory_untouched(uint64_t size_bytes);
void raw_memory_free(unsigned char *memory, uint64_t size_bytes);

/* Each returns seconds. Files of 1 MiB and more go by O_DIRECT in blocks of 4 MiB, blocks reserved first, the others in one buffered write; every file is
 * synced, then every folder, then a rename gives the folder its name, and the folder above is synced. memory (whole pages) is what is written, over and
 * over. */
double raw_write(const char *folder, const struct raw_layout *layout, const unsigned char *memory, uint64_t memory_bytes, int threads);
double raw_read(const char *folder, const struct raw_layout *layout, unsigned char *memory, uint64_t memory_bytes, bool direct,
                int threads);
/* The same, and XXH3 of each block. */
double raw_read_digested(const char *folder, const struct raw_layout *layout, unsigned char *memory, uint64_t memory_bytes, bool direct,
                         int threads);
/* Maps every file and reads a byte of each page. */
double raw_map(const char *folder, const struct raw_layout *layout);
/* Stores that pass the caches by. A destination smaller than the source is filled over and over. */
double raw_copy(unsigned char *destination, uint64_t destination_bytes, const unsigned char *source, uint64_t size_bytes, int threads);

/* Reads a byte of each page of a mapping. */
uint64_t raw_touch(const void *data, uint64_t size_bytes);

#endif
