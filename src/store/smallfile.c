/* Small whole files (see smallfile.h). Written new and synced, or dead. */
#include "store/smallfile.h"

#include <string.h>

int cn_smallfile_put(cn_file dir, const char *name, const void *data, size_t size, uint32_t mode, cairn_error *err)
{
    cn_file file = CN_NO_FILE;
    const char *step = "creating it";
    int rc = cn_os_create(dir, name, mode, false, &file);
    if (!rc) step = "writing it", rc = cn_os_write_at(file, 0, data, size);
    if (!rc) step = "syncing it", rc = cn_os_sync(file);
    bool made = file != CN_NO_FILE;
    int closed = cn_os_close(file);
    if (!rc) step = "closing it", rc = closed;
    if (rc && made) (void)cn_os_unlink(dir, name);
    return rc ? cn_error_errno(err, -rc, "%s: %s", name, step) : CAIRN_OK;
}

static int load(cn_file file, const char *name, uint64_t limit_bytes, char **ret_data, size_t *ret_size, cairn_error *err)
{
    struct cn_file_info info;
    struct cn_shown shown;
    int rc = cn_os_stat(file, &info);
    if (rc) return cn_error_opening(err, -rc, name);
    cn_show_text(&shown, name);
    if (info.size_bytes > limit_bytes)
        return cn_error_set(err, CAIRN_E_LIMIT, "%s: %llu bytes; at most %llu are read", shown.text, (unsigned long long)info.size_bytes,
                            (unsigned long long)limit_bytes);
    char *data = cn_os_new(info.size_bytes + 1);
    size_t count = 0;
    if (!data) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory for its %llu bytes", shown.text, (unsigned long long)info.size_bytes);
    rc = cn_os_read_at(file, 0, data, info.size_bytes, &count);
    if (rc) {
        cn_os_free(data);
        return cn_error_errno(err, -rc, "%s: reading it", shown.text);
    }
    *ret_data = data;
    *ret_size = count;
    return CAIRN_OK;
}

int cn_smallfile_load(cn_file dir, const char *name, uint64_t limit_bytes, char **ret_data, size_t *ret_size, cairn_error *err)
{
    cn_auto_close cn_file file = CN_NO_FILE;
    int rc = cn_os_open_read(dir, name, &file);
    return rc ? cn_error_opening(err, -rc, name) : load(file, name, limit_bytes, ret_data, ret_size, err);
}

int cn_smallfile_load_path(const char *path, uint64_t limit_bytes, char **ret_data, size_t *ret_size, cairn_error *err)
{
    cn_auto_close cn_file file = CN_NO_FILE;
    int rc = cn_os_open_read_path(path, &file);
    return rc ? cn_error_opening(err, -rc, path) : load(file, path, limit_bytes, ret_data, ret_size, err);
}
