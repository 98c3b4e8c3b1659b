/* The code revision (see revision.h). Best effort: whatever is not as expected means "unknown". It must never follow a name out of the
 * repository's own refs. */
#include "snapshot/revision.h"

#include <string.h>

#include "base/limits.h"
#include "os/os.h"
#include "store/smallfile.h"

enum { HEAD_BYTES = 4096, PACKED_BYTES = 16 << 20 };

static bool is_revision(const char *text, size_t size)
{
    if (size != 40 && size != 64) return false;
    return strspn(text, "0123456789abcdef") >= size;
}

static bool take_revision(const char *text, char ret_revision[CN_REVISION_BYTES])
{
    size_t size = strcspn(text, " \n");
    if (!is_revision(text, size)) return false;
    memcpy(ret_revision, text, size);
    ret_revision[size] = 0;
    return true;
}

/* Opens the folder that holds a ref and loads it, part by part: "refs/heads/main". */
static char *load_ref(cn_file git, const char *ref)
{
    char part[256], *data = NULL;
    size_t size;
    cn_auto_close cn_file below = CN_NO_FILE;
    for (const char *slash; (slash = strchr(ref, '/')); ref = slash + 1) {
        cn_file next = CN_NO_FILE;
        if ((size_t)(slash - ref) >= sizeof part || ref[0] == '.' || ref[0] == '/') return NULL;
        memcpy(part, ref, (size_t)(slash - ref));
        part[slash - ref] = 0;
        if (cn_os_open_dir(git, part, &next)) return NULL;
        (void)cn_os_close(below);
        git = below = next;
    }
    return cn_smallfile_load(git, ref, HEAD_BYTES, &data, &size, NULL) ? NULL : data;
}

/* Lines of "<revision> <ref>". */
static void find_packed(cn_file git, const char *ref, char ret_revision[CN_REVISION_BYTES])
{
    cn_auto_free char *data = NULL;
    size_t size, ref_size = strlen(ref);
    if (cn_smallfile_load(git, "packed-refs", PACKED_BYTES, &data, &size, NULL)) return;
    for (char *line = data; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t digits = strcspn(line, " \n");
        if (line[digits] != ' ' || strncmp(line + digits + 1, ref, ref_size) ||
            (line[digits + 1 + ref_size] != '\n' && line[digits + 1 + ref_size]))
            continue;
        if (take_revision(line, ret_revision)) return;
    }
}

static void read_head(cn_file git, char ret_revision[CN_REVISION_BYTES])
{
    cn_auto_free char *head = NULL;
    size_t size;
    if (cn_smallfile_load(git, "HEAD", HEAD_BYTES, &head, &size, NULL)) return;
    if (strncmp(head, "ref: refs/", 10)) {
        (void)take_revision(head, ret_revision);
        return;
    }
    char *ref = head + 5;
    ref[strcspn(ref, "\n")] = 0;
    cn_auto_free char *loose = load_ref(git, ref);
    if (!loose || !take_revision(loose, ret_revision)) find_packed(git, ref, ret_revision);
}

void cn_revision_find(const char *folder, char ret_revision[CN_REVISION_BYTES])
{
    char path[CN_MAX_PATH_BYTES + 8];
    size_t size = strlen(folder);
    ret_revision[0] = 0;
    if (folder[0] != '/' || size >= CN_MAX_PATH_BYTES) return;
    memcpy(path, folder, size + 1);
    for (;;) {
        cn_auto_close cn_file git = CN_NO_FILE;
        while (size && path[size - 1] == '/') size--;
        memcpy(path + size, "/.git", 6);
        if (!cn_os_open_dir_path(path, &git)) {
            read_head(git, ret_revision);
            return;
        }
        while (size && path[size - 1] != '/') size--;
        if (!size) return;
    }
}
