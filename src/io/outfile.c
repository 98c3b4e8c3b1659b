/* A file being written (see outfile.h). After a failed write, sync or close it is dead and nobody may try again on it. */
#include "io/outfile.h"

#include <errno.h>

static int no_space(cn_file dir, const char *name, uint64_t size_bytes, cairn_error *err)
{
    uint64_t available = 0;
    (void)cn_os_free_bytes(dir, &available);
    return cn_error_set(err, CAIRN_E_NOSPACE, "%s: no room: it needs %llu bytes, %llu are free, %llu are missing", name,
                        (unsigned long long)size_bytes, (unsigned long long)available,
                        (unsigned long long)(size_bytes > available ? size_bytes - available : 0));
}

/* Reserving says "full" before anything is lost. The free bytes are looked at first: a reservation that fails may have taken all there were,
 * and others write here, too. They must do where a file system cannot reserve. */
static int reserve(struct cn_outfile *out, cn_file dir, cairn_error *err)
{
    uint64_t available;
    if (!cn_os_free_bytes(dir, &available) && available < out->size_bytes) return no_space(dir, out->name, out->size_bytes, err);
    int rc = cn_os_allocate(out->file, out->size_bytes);
    if (!rc || rc == -EOPNOTSUPP || rc == -ENOSYS) return CAIRN_OK;
    (void)cn_os_truncate(out->file, 0);
    if (rc == -ENOSPC || rc == -EDQUOT) return no_space(dir, out->name, out->size_bytes, err);
    return cn_error_errno(err, -rc, "%s: reserving %llu bytes", out->name, (unsigned long long)out->size_bytes);
}

int cn_outfile_create(struct cn_outfile *out, cn_file dir, const char *name, uint64_t size_bytes, cairn_io_mode mode, cairn_error *err)
{
    *out = (struct cn_outfile){ .file = CN_NO_FILE, .name = name, .size_bytes = size_bytes, .direct = mode != CAIRN_IO_BUFFERED };
    int rc = cn_os_create(dir, name, 0644, out->direct, &out->file);
    if (rc == -EINVAL && out->direct) {
        if (mode == CAIRN_IO_DIRECT)
            return cn_error_set(err, CAIRN_E_UNSUPPORTED, "%s: the file system refuses O_DIRECT; use CAIRN_IO_AUTO or CAIRN_IO_BUFFERED",
                                name);
        out->direct = false;
        rc = cn_os_create(dir, name, 0644, false, &out->file);
    }
    if (rc) return cn_error_errno(err, -rc, "%s: creating it", name);
    int code = reserve(out, dir, err);
    if (code) cn_outfile_abandon(out);
    return code;
}

int cn_outfile_write(const struct cn_outfile *out, uint64_t offset, const void *data, uint64_t size, cairn_error *err)
{
    int rc = cn_os_write_at(out->file, offset, data, size);
    if (rc)
        return cn_error_errno(err, -rc, "%s: writing %llu bytes at %llu", out->name, (unsigned long long)size, (unsigned long long)offset);
    if (!out->direct) (void)cn_os_start_writeback(out->file, offset, size);
    return CAIRN_OK;
}

int cn_outfile_finish(struct cn_outfile *out, cairn_error *err)
{
    const char *step = "cutting it to its size";
    int rc = cn_os_truncate(out->file, out->size_bytes);
    if (!rc) step = "setting its mode", rc = cn_os_set_mode(out->file, 0444);
    if (!rc) step = "syncing it", rc = cn_os_sync(out->file);
    if (!rc) step = "looking at it", rc = cn_os_stat(out->file, &out->info);
    int closed = cn_os_close(out->file);
    out->file = CN_NO_FILE;
    if (!rc) step = "closing it", rc = closed;
    return rc ? cn_error_errno(err, -rc, "%s: %s", out->name, step) : CAIRN_OK;
}

void cn_outfile_abandon(struct cn_outfile *out)
{
    (void)cn_os_close(out->file);
    out->file = CN_NO_FILE;
}
