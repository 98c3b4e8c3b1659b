/* The log that log_disk writes and cut_disk reads: records of this header and size bytes of data. */
#ifndef CRASH_DISK_LOG_H
#define CRASH_DISK_LOG_H

#include <stdint.h>

enum { DISK_WRITE = 1, DISK_FLUSH, DISK_NOTE };

struct disk_record {
    uint32_t kind, unused;
    uint64_t offset, size;
};

#endif
