/* The base (see base.h). It must never hand out a link to a file that somebody has changed: the file is looked at before the link is made and
 * again through the link, for the name may have been given to another file in between. */
#include "snapshot/base.h"
#include "store/relative.h"

#include <errno.h>
#include <string.h>

void cn_base_clear(struct cn_base *base)
{
    for (uint32_t i = 0; i < base->files_count; i++) {
        cn_os_free(base->files[i].name);
        cn_os_free(base->files[i].tensors);
        cn_os_free(base->files[i].blocks);
    }
    cn_os_free(base->files);
    (void)cn_os_close(base->dir);
    *base = (struct cn_base){ .dir = CN_NO_FILE };
}

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to remember the last checkpoint's files");
}

int cn_base_begin(struct cn_base *base, uint32_t files_count, cairn_error *err)
{
    cn_base_clear(base);
    base->files = cn_os_new_array(files_count, sizeof *base->files);
    return base->files ? CAIRN_OK : no_memory(err);
}

/* --------------------------------------------------------------------------------------------------- from a checkpoint */

static int copy_rows(struct cn_base_file *file, const struct cn_table_row *rows, uint64_t count, cairn_error *err)
{
    for (uint64_t i = 0; i < count; i++) file->blocks_count += rows[i].blocks_count;
    file->tensors_count = count;
    file->tensors = cn_os_new_array(count, sizeof *file->tensors);
    file->blocks = cn_os_new_array(file->blocks_count, sizeof *file->blocks);
    if (!file->tensors || !file->blocks) return no_memory(err);
    struct cn_digest *block = file->blocks;
    for (uint64_t i = 0; i < count; i++) {
        const struct cn_table_row *row = &rows[i];
        file->tensors[i] = (struct cn_base_tensor){ row->blocks_count, row->max_abs, row->norm, row->nan_count, row->inf_count };
        if (row->blocks_count) memcpy(block, row->blocks, row->blocks_count * sizeof *block);
        block += row->blocks_count;
    }
    return CAIRN_OK;
}

static int add_file(struct cn_base *base, const cairn_checkpoint *checkpoint, uint32_t index, uint64_t first, uint64_t count,
                    cairn_error *err)
{
    const struct cn_table_file *entry = &checkpoint->table.files[index];
    const struct cn_manifest_file *listed = cn_manifest_find(&checkpoint->manifest, entry->name);
    struct cn_base_file *file = &base->files[base->files_count++];
    file->info = checkpoint->files[index].info;
    file->header_digest = listed->header_digest;
    file->still = true; /* somebody resumed: what is frozen was frozen before */
    file->name = cn_os_copy_text(entry->name);
    return file->name ? copy_rows(file, checkpoint->table.rows + first, count, err) : no_memory(err);
}

int cn_base_from_checkpoint(struct cn_base *base, const cairn_checkpoint *checkpoint, const bool *wanted, cairn_error *err)
{
    const struct cn_table *table = &checkpoint->table;
    int code = cn_base_begin(base, table->files_count, err);
    for (uint64_t first = 0, end; first < table->count && !code; first = end) {
        bool all = true;
        for (end = first; end < table->count && table->rows[end].file == table->rows[first].file; end++) all &= wanted[end];
        if (!all || table->files[table->rows[first].file].size_bytes < CN_MIN_LINK_BYTES) continue;
        code = add_file(base, checkpoint, table->rows[first].file, first, end - first, err);
    }
    int rc = code ? 0 : cn_os_open_dir(checkpoint->dir, ".", &base->dir);
    if (!code && rc) code = cn_error_errno(err, -rc, "%s: opening it once more", checkpoint->path);
    if (code) cn_base_clear(base);
    return code;
}

/* ------------------------------------------------------------------------------------------------------------- linking */

const struct cn_base_file *cn_base_find(const struct cn_base *base, const struct cn_digest *header_digest, uint64_t size_bytes)
{
    if (base->dir == CN_NO_FILE) return NULL;
    for (uint32_t i = 0; i < base->files_count; i++) {
        const struct cn_base_file *file = &base->files[i];
        if (file->info.size_bytes == size_bytes && cn_digest_equal(&file->header_digest, header_digest)) return file;
    }
    return NULL;
}

static bool looks_the_same(const struct cn_file_info *a, const struct cn_file_info *b)
{
    return a->type == CN_TYPE_FILE && b->type == CN_TYPE_FILE && a->device == b->device && a->inode == b->inode &&
           a->size_bytes == b->size_bytes && a->mtime_ns == b->mtime_ns;
}

int cn_base_link(const struct cn_base *base, const struct cn_base_file *file, cn_file dir, const char *name)
{
    const char *last;
    struct cn_file_info info;
    cn_auto_close cn_file from = CN_NO_FILE;
    int rc = cn_relative_open_folder(base->dir, file->name, &from, &last);
    if (!rc) rc = cn_os_stat_at(from, last, &info);
    if (!rc && !looks_the_same(&info, &file->info)) rc = -ESTALE;
    if (!rc) rc = cn_os_link(from, last, dir, name);
    if (rc) return rc;
    rc = cn_os_stat_at(dir, name, &info);
    if (!rc && !looks_the_same(&info, &file->info)) rc = -ESTALE;
    if (rc) (void)cn_os_unlink(dir, name);
    return rc;
}
