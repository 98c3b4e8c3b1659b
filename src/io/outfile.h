/* A file being written: created new, blocks reserved, filled by page-aligned ranges in any order from several tasks, then cut to its size,
 * synced and closed. O_DIRECT where the file system takes it, else buffered with early write-back; the caller may force either.
 *
 * After any failed write, sync or close the file is dead: it is never retried (docs/DURABILITY.md). */
#ifndef CN_IO_OUTFILE_H
#define CN_IO_OUTFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/os.h"

struct cn_outfile {
    cn_file file;
    const char *name; /* for messages; owned by the caller */
    uint64_t size_bytes;
    bool direct;
    struct cn_file_info info; /* as it was left: set by cn_outfile_finish */
};

/* NOSPACE names the bytes that are missing. Sets direct to what is used; DIRECT forced and refused is UNSUPPORTED. */
int cn_outfile_create(struct cn_outfile *out, cn_file dir, const char *name, uint64_t size_bytes, cairn_io_mode mode, cairn_error *err);
/* offset, size and data are multiples of CN_PAGE_BYTES; the range may reach over size_bytes within its last page. Any task. */
int cn_outfile_write(const struct cn_outfile *out, uint64_t offset, const void *data, uint64_t size, cairn_error *err);
/* ftruncate to size_bytes, mode 0444, fsync, close: in this order. The file is closed in any case. */
int cn_outfile_finish(struct cn_outfile *out, cairn_error *err);
void cn_outfile_abandon(struct cn_outfile *out); /* closes without a sync; takes one that was never created (file -1) */

#endif
