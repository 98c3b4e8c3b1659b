/* Relative names (see relative.h). */
#include "store/relative.h"

#include <errno.h>
#include <string.h>

#include "base/limits.h"

int cn_relative_open_folder(cn_file dir, const char *name, cn_file *ret_dir, const char **ret_last)
{
    char part[CN_MAX_PART_BYTES + 1];
    cn_file folder = CN_NO_FILE;
    int rc = cn_os_open_dir(dir, ".", &folder);
    for (const char *slash; !rc && (slash = strchr(name, '/')); name = slash + 1) {
        cn_file below = CN_NO_FILE;
        size_t size = (size_t)(slash - name);
        if (size > CN_MAX_PART_BYTES) {
            rc = -ENAMETOOLONG;
            break;
        }
        memcpy(part, name, size);
        part[size] = 0;
        rc = cn_os_open_dir(folder, part, &below);
        (void)cn_os_close(folder);
        folder = below;
    }
    if (rc) {
        (void)cn_os_close(folder);
        return rc;
    }
    *ret_dir = folder;
    *ret_last = name;
    return 0;
}
