/* The quick check: what can be told about a checkpoint without reading tensor data. It goes on after a finding when somebody listens. */
#include "store/check.h"

#include <errno.h>
#include <string.h>

#include "store/relative.h"

enum { READ_BYTES = 1 << 20 };

struct check {
    cn_finding_fn each;
    void *user;
    int first; /* the first finding's code */
    cairn_error *err;
    char *room;
};

static void find(struct check *check, const char *file, int code, const cairn_error *error)
{
    if (check->each) check->each(check->user, file, code, error->message);
    if (check->first) return;
    check->first = code;
    if (check->err) *check->err = *error;
}

/* Digests a file's first bytes: JSON by the tensor rule, a header as one. */
static int digest_file(struct check *check, cn_file file, uint64_t size, bool blocks, struct cn_digest *ret_digest)
{
    struct cn_digest_stream stream;
    if (!blocks) {
        cn_auto_free char *header = cn_os_new(size);
        size_t count = 0;
        int rc = header ? cn_os_read_at(file, 0, header, size, &count) : -ENOMEM;
        if (!rc) *ret_digest = cn_digest_of(header, count);
        return rc;
    }
    cn_digest_stream_init(&stream);
    for (uint64_t at = 0; at < size;) {
        size_t count = 0, want = size - at < READ_BYTES ? (size_t)(size - at) : READ_BYTES;
        int rc = cn_os_read_at(file, at, check->room, want, &count);
        if (rc) return rc;
        if (!count) break;
        cn_digest_stream_add(&stream, check->room, count);
        at += count;
    }
    *ret_digest = cn_digest_stream_end(&stream);
    return 0;
}

static void check_content(struct check *check, const struct cn_manifest_file *entry, cn_file file)
{
    struct cn_digest found;
    cairn_error error = CAIRN_ERROR_INIT;
    bool header = entry->kind == CN_FILE_TENSORS;
    if (entry->kind == CN_FILE_ATTACHED) return;
    int rc = digest_file(check, file, header ? entry->header_bytes : entry->size_bytes, !header, &found);
    if (rc)
        find(check, entry->name, cn_error_errno(&error, -rc, "%s: reading it", entry->name), &error);
    else if (!cn_digest_equal(&found, header ? &entry->header_digest : &entry->digest))
        find(check, entry->name,
             cn_error_set(&error, CAIRN_E_CORRUPT, "%s: its %s differs from the digest in the manifest", entry->name,
                          header ? "header" : "content"),
             &error);
}

static int open_relative(cn_file dir, const char *name, cn_file *ret_file)
{
    cn_auto_close cn_file folder = CN_NO_FILE;
    const char *last;
    int rc = cn_relative_open_folder(dir, name, &folder, &last);
    return rc ? rc : cn_os_open_read(folder, last, ret_file);
}

static void check_file(struct check *check, cn_file dir, const struct cn_manifest_file *entry)
{
    struct cn_file_info info;
    cairn_error error = CAIRN_ERROR_INIT;
    cn_auto_close cn_file file = CN_NO_FILE;
    int rc = open_relative(dir, entry->name, &file);
    if (!rc) rc = cn_os_stat(file, &info);
    if (rc) {
        int code = cn_error_opening(&error, -rc, entry->name);
        find(check, entry->name,
             code == CAIRN_E_NOTFOUND ? cn_error_set(&error, CAIRN_E_TRUNCATED, "%s: it is missing", entry->name) : code, &error);
    } else if (info.size_bytes != entry->size_bytes) {
        int code = info.size_bytes < entry->size_bytes ? CAIRN_E_TRUNCATED : CAIRN_E_CORRUPT;
        cn_error_set(&error, code, "%s: %llu bytes; the manifest says %llu", entry->name, (unsigned long long)info.size_bytes,
                     (unsigned long long)entry->size_bytes);
        find(check, entry->name, code, &error);
    } else
        check_content(check, entry, file);
}

int cn_check_quick(cn_file checkpoint_dir, const struct cn_manifest *manifest, cn_finding_fn each, void *user, cairn_error *err)
{
    cn_auto_free char *room = cn_os_new(READ_BYTES);
    if (!room) return cn_error_set(err, CAIRN_E_NOMEM, "no memory to check a checkpoint");
    struct check check = { .each = each, .user = user, .err = err, .room = room };
    for (uint64_t i = 0; i < manifest->files_count && (each || !check.first); i++) check_file(&check, checkpoint_dir, &manifest->files[i]);
    return check.first;
}

int cn_check_digest(cn_file checkpoint_dir, const char *name, unsigned char *room, size_t room_bytes, struct cn_digest *ret_digest,
                    cairn_error *err)
{
    struct cn_digest_stream stream;
    cn_auto_close cn_file file = CN_NO_FILE;
    uint64_t at = 0;
    size_t count = 0;
    int rc = open_relative(checkpoint_dir, name, &file);
    cn_digest_stream_init(&stream);
    while (!rc && !(rc = cn_os_read_at(file, at, room, room_bytes, &count)) && count) {
        cn_digest_stream_add(&stream, room, count);
        at += count;
    }
    if (rc) return cn_error_errno(err, -rc, "%s: reading it", name);
    *ret_digest = cn_digest_stream_end(&stream);
    return CAIRN_OK;
}
