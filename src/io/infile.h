/* A file being read, by ranges, from several tasks at once: through the page cache where the bytes are in it, by direct I/O where
 * they are not. Only regular files are opened, never through a symlink. A file that shrinks meanwhile gives TRUNCATED, never SIGBUS. */
#ifndef CN_IO_INFILE_H
#define CN_IO_INFILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "os/os.h"

struct cn_infile {
    cn_file file;   /* buffered */
    cn_file direct; /* CN_NO_FILE where refused or not wanted */
    uint64_t size_bytes;
    struct cn_file_info info; /* as it was at the open */
    const char *name;         /* for messages; owned by the caller */
};

/* NOTFOUND, PATH (symlink, folder, special file), IO. mode BUFFERED never opens the direct descriptor; AUTO opens it and chooses per
 * read; DIRECT uses it whenever alignment allows. */
int cn_infile_open(struct cn_infile *in, cn_file dir, const char *name, cairn_io_mode mode, cairn_error *err);
/* A path given by a user: symlinks are followed. */
int cn_infile_open_path(struct cn_infile *in, const char *path, cairn_error *err);
void cn_infile_close(struct cn_infile *in); /* takes a closed one (file CN_NO_FILE) */

/* Exactly size bytes to data, any alignment. TRUNCATED at the offset where bytes end. */
int cn_infile_read(const struct cn_infile *in, uint64_t offset, void *data, size_t size, cairn_error *err);
/* The same, but may use slot (page-aligned, slot_bytes >= size + 2 * CN_PAGE_BYTES) to read by direct I/O; *ret_data points at the
 * bytes, inside slot. */
int cn_infile_read_slot(const struct cn_infile *in, uint64_t offset, size_t size, unsigned char *slot, uint64_t slot_bytes,
                        const unsigned char **ret_data, cairn_error *err);

#endif
