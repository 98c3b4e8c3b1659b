/* The folder on disk that everything is written to, and the page cache over it. */
#ifndef BENCH_SCRATCH_H
#define BENCH_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Makes DIR/cairn-bench-PID; removes those of benches that were killed. Dies unless room_bytes are free. */
void scratch_make(const char *dir, uint64_t room_bytes);
void scratch_remove(void); /* safe to call at any time, twice, too */
const char *scratch_path(const char *name, char *ret_path, size_t size);

/* Deletes a folder and all in it, and lets the disk come to rest. */
void folder_remove(const char *path);

/* Puts every file of a folder out of the page cache or into it. */
void cache_drop(const char *folder);
void cache_fill(const char *folder);
/* How the cache was dropped: "posix_fadvise", or "drop_caches" where that did not do. */
const char *cache_dropped_by(void);

#endif
