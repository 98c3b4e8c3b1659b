/* A file being read (see infile.h). Bytes come from the page cache where they are in it, else by direct I/O; a direct read that the
 * file system refuses falls back to a buffered one. */
#include "io/infile.h"

#include "base/check.h"
#include "base/limits.h"

enum { SMALLEST_DIRECT_BYTES = 1 << 20, CACHED_ENOUGH_PERCENT = 50 };

static int look(struct cn_infile *in, cairn_error *err)
{
    int rc = cn_os_stat(in->file, &in->info);
    if (rc) {
        cn_infile_close(in);
        return cn_error_opening(err, -rc, in->name);
    }
    in->size_bytes = in->info.size_bytes;
    return CAIRN_OK;
}

int cn_infile_open(struct cn_infile *in, cn_file dir, const char *name, cairn_io_mode mode, cairn_error *err)
{
    *in = (struct cn_infile){ .file = CN_NO_FILE, .direct = CN_NO_FILE, .name = name };
    int rc = cn_os_open_read(dir, name, &in->file);
    if (rc) return cn_error_opening(err, -rc, name);
    int code = look(in, err);
    if (code || mode == CAIRN_IO_BUFFERED) return code;
    struct cn_file_info info;
    if (cn_os_open_read_direct(dir, name, &in->direct)) in->direct = CN_NO_FILE;
    /* the name may lead elsewhere by now: one file, or none */
    else if (cn_os_stat(in->direct, &info) || info.inode != in->info.inode || info.device != in->info.device) {
        (void)cn_os_close(in->direct);
        in->direct = CN_NO_FILE;
    }
    return CAIRN_OK;
}

int cn_infile_open_path(struct cn_infile *in, const char *path, cairn_error *err)
{
    *in = (struct cn_infile){ .file = CN_NO_FILE, .direct = CN_NO_FILE, .name = path };
    int rc = cn_os_open_read_path(path, &in->file);
    return rc ? cn_error_opening(err, -rc, path) : look(in, err);
}

void cn_infile_close(struct cn_infile *in)
{
    (void)cn_os_close(in->file);
    (void)cn_os_close(in->direct);
    in->file = in->direct = CN_NO_FILE;
}

static int cut_short(const struct cn_infile *in, uint64_t offset, cairn_error *err)
{
    struct cn_shown shown;
    return cn_error_at(err, CAIRN_E_TRUNCATED, offset, "%s: it ends too early", cn_show_text(&shown, in->name));
}

int cn_infile_read(const struct cn_infile *in, uint64_t offset, void *data, size_t size, cairn_error *err)
{
    size_t count = 0;
    int rc = cn_os_read_at(in->file, offset, data, size, &count);
    if (rc) {
        struct cn_shown shown;
        return cn_error_errno(err, -rc, "%s: reading %zu bytes at %llu", cn_show_text(&shown, in->name), size, (unsigned long long)offset);
    }
    return count == size ? CAIRN_OK : cut_short(in, offset + count, err);
}

static bool wants_direct(const struct cn_infile *in, uint64_t offset, size_t size)
{
    if (in->direct == CN_NO_FILE || size < SMALLEST_DIRECT_BYTES) return false;
    int cached = cn_os_cached_percent(in->file, offset, size);
    return cached >= 0 && cached < CACHED_ENOUGH_PERCENT;
}

int cn_infile_read_slot(const struct cn_infile *in, uint64_t offset, size_t size, unsigned char *slot, uint64_t slot_bytes,
                        const unsigned char **ret_data, cairn_error *err)
{
    uint64_t start = cn_align_down(offset, CN_PAGE_BYTES), end = cn_align_up(offset + size, CN_PAGE_BYTES);
    if (wants_direct(in, offset, size) && end - start <= slot_bytes) {
        size_t count = 0;
        int rc = cn_os_read_at(in->direct, start, slot, end - start, &count);
        /* the file's last, partial page comes back short: what was asked for must be there */
        if (!rc && count >= offset - start + size) {
            *ret_data = slot + (offset - start);
            return CAIRN_OK;
        }
    }
    int code = cn_infile_read(in, offset, slot, size, err);
    if (!code) *ret_data = slot;
    return code;
}
