/* Opening a checkpoint that Cairn wrote (see checkpoint.h): manifest, table, values and headers (checkpoint_headers.c) are read and held against
 * each other; no tensor data is read. What is handed out afterwards rests on these checks. */
#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "snapshot/checkpoint_parts.h"
#include "snapshot/statejson.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/marks.h"
#include "store/relative.h"
#include "store/smallfile.h"

/* What opening may take: so much, and a multiple of the tables' own size. A row of tensors.json needs twice its text; whoever makes one up
 * gets no more. */
#define OURS_BYTES (UINT64_C(64) << 20)
enum { OURS_FACTOR = 4 };

static int no_memory(const cairn_checkpoint *checkpoint, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to open it", checkpoint->path);
}

int cn_checkpoint_new(const char *path, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    uint64_t seed;
    int rc = cn_os_random(&seed, sizeof seed);
    if (rc) return cn_error_errno(err, -rc, "no randomness from the system");
    cairn_checkpoint *checkpoint = cn_os_new(sizeof *checkpoint);
    if (!checkpoint) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to open it", path);
    cn_quota_init(&checkpoint->quota, cn_os_alloc(), OURS_BYTES);
    cn_pool_init(&checkpoint->pool, &checkpoint->quota.alloc, UINT64_MAX);
    cn_hash_init(&checkpoint->index, &checkpoint->quota.alloc, seed);
    checkpoint->held = (struct cn_held){ .dir = CN_NO_FILE, .manifest_file = CN_NO_FILE };
    checkpoint->dir = CN_NO_FILE;
    checkpoint->path = cn_pool_text(&checkpoint->pool, path);
    if (!checkpoint->path || cn_mutex_new(&checkpoint->lock)) {
        cn_checkpoint_close(checkpoint);
        return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to open it", path);
    }
    *ret_checkpoint = checkpoint;
    return CAIRN_OK;
}

void cn_checkpoint_close(cairn_checkpoint *checkpoint)
{
    if (!checkpoint) return;
    for (uint32_t i = 0; i < checkpoint->table.files_count; i++) {
        if (checkpoint->files) cn_infile_close(&checkpoint->files[i]);
        if (checkpoint->maps) cn_os_unmap(&checkpoint->maps[i]);
    }
    if (checkpoint->source == CAIRN_SOURCE_CHECKPOINT)
        cn_held_close(&checkpoint->held);
    else
        (void)cn_os_close(checkpoint->dir);
    cairn_value_free(checkpoint->values);
    cn_os_free(checkpoint->provenance);
    cn_hash_done(&checkpoint->index);
    cn_mutex_free(checkpoint->lock);
    cn_release(&checkpoint->quota.alloc, checkpoint->rows);
    cn_pool_done(&checkpoint->pool);
    cn_os_free(checkpoint);
}

/* What the manifest lists and is not there was cut off: the checkpoint itself was found. */
static int cannot_open(const cairn_checkpoint *checkpoint, int rc, const char *name, cairn_error *err)
{
    int code = cn_error_opening(err, -rc, name);
    return cn_error_prefix(err, code == CAIRN_E_NOTFOUND ? CAIRN_E_TRUNCATED : code, "%s", checkpoint->path);
}

int cn_checkpoint_take_files(cairn_checkpoint *checkpoint, cairn_error *err)
{
    uint32_t count = checkpoint->table.files_count;
    checkpoint->maps = cn_pool_take_array(&checkpoint->pool, count, sizeof *checkpoint->maps);
    checkpoint->files = cn_pool_take_array(&checkpoint->pool, count, sizeof *checkpoint->files);
    for (uint32_t i = 0; i < count && checkpoint->files; i++)
        checkpoint->files[i] = (struct cn_infile){ .file = CN_NO_FILE, .direct = CN_NO_FILE };
    return checkpoint->files && checkpoint->maps ? CAIRN_OK : no_memory(checkpoint, err);
}

/* The error names the file by the last part of its name: what stands before it. A listed file that is missing is damage. */
static int name_folder(const cairn_checkpoint *checkpoint, const char *name, const char *base, int code, cairn_error *err)
{
    int size = base > name ? (int)(base - name) - 1 : 0;
    return cn_error_in_folder(err, code == CAIRN_E_NOTFOUND ? CAIRN_E_TRUNCATED : code, "%s%s%.*s", checkpoint->path, size ? "/" : "", size,
                              name);
}

static int open_files(cairn_checkpoint *checkpoint, cairn_io_mode mode, cairn_error *err)
{
    int code = cn_checkpoint_take_files(checkpoint, err);
    if (code) return code;
    for (uint32_t i = 0; i < checkpoint->table.files_count; i++) {
        const struct cn_table_file *entry = &checkpoint->table.files[i];
        cn_auto_close cn_file dir = CN_NO_FILE;
        const char *base;
        if (cn_checkpoint_file_is_gone(checkpoint, i)) continue;
        int rc = cn_relative_open_folder(checkpoint->dir, entry->name, &dir, &base);
        if (rc) return cannot_open(checkpoint, rc, entry->name, err);
        code = cn_infile_open(&checkpoint->files[i], dir, base, mode, err);
        if (code) return name_folder(checkpoint, entry->name, base, code, err);
        checkpoint->files[i].name = entry->name;
        if (checkpoint->files[i].size_bytes == entry->size_bytes) continue;
        code = checkpoint->files[i].size_bytes < entry->size_bytes ? CAIRN_E_TRUNCATED : CAIRN_E_CORRUPT;
        return cn_error_set(err, code, "%s/%s: %llu bytes; it must have %llu", checkpoint->path, entry->name,
                            (unsigned long long)checkpoint->files[i].size_bytes, (unsigned long long)entry->size_bytes);
    }
    return CAIRN_OK;
}

/* ----------------------------------------------------------------------------------------------------------- our tables */

/* One of our own JSON files, its content held against the manifest's digest. cn_os_free it. */
static int load_own(cairn_checkpoint *checkpoint, const char *name, uint64_t limit, char **ret_data, size_t *ret_size, cairn_error *err)
{
    const struct cn_manifest_file *entry = cn_manifest_find(&checkpoint->manifest, name);
    cn_auto_close cn_file dir = CN_NO_FILE;
    const char *base;
    if (!entry) return cn_error_set(err, CAIRN_E_FORMAT, "%s: its manifest does not list %s", checkpoint->path, name);
    int rc = cn_relative_open_folder(checkpoint->dir, name, &dir, &base);
    if (rc) return cannot_open(checkpoint, rc, name, err);
    int code = cn_smallfile_load(dir, base, limit, ret_data, ret_size, err);
    if (code) return name_folder(checkpoint, name, base, code, err);
    checkpoint->quota.limit_bytes += OURS_FACTOR * *ret_size;
    struct cn_digest found = cn_digest_blocks(*ret_data, *ret_size);
    if (cn_digest_equal(&found, &entry->digest)) return CAIRN_OK;
    cn_os_free(*ret_data);
    *ret_data = NULL;
    return cn_error_set(err, CAIRN_E_CORRUPT, "%s/%s: its bytes differ from the digest in the manifest", checkpoint->path, name);
}

static bool is_dropped(const struct cn_manifest *manifest, const char *item)
{
    for (uint64_t i = 0; i < manifest->dropped_count; i++)
        if (!strcmp(manifest->dropped[i], item)) return true;
    return false;
}

/* Rows of dropped items are as if they had never been; their files keep their numbers and are not opened. */
static int leave_out_dropped(cairn_checkpoint *checkpoint, cairn_error *err)
{
    struct cn_table *table = &checkpoint->table;
    struct cn_table_row *rows = (struct cn_table_row *)(uintptr_t)table->rows; /* ours: in our pool */
    uint64_t kept = 0;
    for (uint64_t i = 0; i < table->count; i++)
        if (!is_dropped(&checkpoint->manifest, rows[i].item)) rows[kept++] = rows[i];
    table->count = kept;
    return cn_checkpoint_index(checkpoint, err);
}

static int load_tables(cairn_checkpoint *checkpoint, cairn_error *err)
{
    char *data = NULL;
    size_t size = 0;
    int code = load_own(checkpoint, CN_NAME_TENSORS, CN_MAX_TENSORS_JSON_BYTES, &data, &size, err);
    if (code) return code;
    code = cn_table_decode(data, size, &checkpoint->pool, &checkpoint->index, &checkpoint->table, err);
    cn_os_free(data);
    if (code) return cn_error_prefix(err, code, "%s/" CN_NAME_TENSORS, checkpoint->path);
    if (checkpoint->manifest.dropped_count) code = leave_out_dropped(checkpoint, err);
    if (code) return code;
    code = load_own(checkpoint, CN_NAME_STATE, CN_MAX_STATE_JSON_BYTES, &data, &size, err);
    if (code) return code;
    code = cn_statejson_read(data, size, &checkpoint->values, err);
    cn_os_free(data);
    if (code) return cn_error_prefix(err, code, "%s/" CN_NAME_STATE, checkpoint->path);
    if (!cn_manifest_find(&checkpoint->manifest, CN_NAME_PROVENANCE)) return CAIRN_OK;
    return load_own(checkpoint, CN_NAME_PROVENANCE, CN_MAX_PROVENANCE_BYTES, &checkpoint->provenance, &size, err);
}

/* ---------------------------------------------------------------------------------------------------- the public faces */

static void fill_tensor(const cairn_checkpoint *checkpoint, const struct cn_table_row *row, cairn_tensor_info *info)
{
    *info = (cairn_tensor_info){ .item = row->item,
                                 .name = row->name,
                                 .dtype = row->dtype,
                                 .rank = row->rank,
                                 .shape = row->shape,
                                 .flags = row->flags,
                                 .size_bytes = row->size_bytes,
                                 .file = checkpoint->table.files[row->file].name,
                                 .file_offset = row->begin };
    if (checkpoint->source == CAIRN_SOURCE_CHECKPOINT) cn_digest_hex(&row->digest, info->digest);
    info->statistics = (cairn_statistics){ row->stats_known, row->max_abs, row->norm, row->nan_count, row->inf_count };
}

int cn_checkpoint_index(cairn_checkpoint *checkpoint, cairn_error *err)
{
    const struct cn_table *table = &checkpoint->table;
    cn_hash_done(&checkpoint->index);
    for (uint64_t i = 0; i < table->count; i++) {
        const struct cn_table_row *row = &table->rows[i];
        size_t item_size = strlen(row->item), name_size = strlen(row->name);
        char *key = cn_pool_take(&checkpoint->pool, item_size + name_size + 2);
        if (!key) return no_memory(checkpoint, err);
        memcpy(key, row->item, item_size + 1);
        memcpy(key + item_size + 1, row->name, name_size + 1);
        if (cn_hash_add(&checkpoint->index, key, item_size + 1 + name_size, i, NULL)) return no_memory(checkpoint, err);
    }
    return CAIRN_OK;
}

int cn_checkpoint_fill_tensors(cairn_checkpoint *checkpoint, cairn_error *err)
{
    const struct cn_table *table = &checkpoint->table;
    checkpoint->tensors = cn_pool_take_array(&checkpoint->pool, table->count, sizeof *checkpoint->tensors);
    if (!checkpoint->tensors) return no_memory(checkpoint, err);
    for (uint64_t i = 0; i < table->count; i++) {
        fill_tensor(checkpoint, &table->rows[i], &checkpoint->tensors[i]);
        checkpoint->info.tensor_bytes += table->rows[i].size_bytes;
    }
    checkpoint->info.source = checkpoint->source;
    checkpoint->info.path = checkpoint->path;
    checkpoint->info.tensors_count = table->count;
    checkpoint->info.run_id = checkpoint->manifest.run_id;
    checkpoint->info.parent_id = checkpoint->manifest.parent_id;
    return CAIRN_OK;
}

void cn_checkpoint_fill_entry(const struct cn_manifest *manifest, cairn_entry *entry)
{
    memcpy(entry->id, manifest->id, sizeof entry->id);
    entry->step = manifest->step;
    entry->term = manifest->term;
    entry->time_ns = manifest->time_ns;
    entry->epoch = manifest->epoch;
    entry->healthy = manifest->healthy;
    entry->exact = manifest->exact;
    entry->bytes = cn_manifest_bytes(manifest);
    entry->metrics = manifest->metrics;
    entry->metrics_count = manifest->metrics_count;
    entry->tags = manifest->tags;
    entry->tags_count = manifest->tags_count;
    entry->dropped = manifest->dropped;
    entry->dropped_count = manifest->dropped_count;
    for (uint64_t i = 0; i < manifest->items_count; i++)
        if (!is_dropped(manifest, manifest->items[i].name)) entry->tensors += manifest->items[i].tensors;
}

static int fill_faces(cairn_checkpoint *checkpoint, const char *name, cairn_error *err)
{
    const struct cn_manifest *manifest = &checkpoint->manifest;
    int code = cn_checkpoint_fill_tensors(checkpoint, err);
    if (code) return code;
    checkpoint->file_infos = cn_pool_take_array(&checkpoint->pool, manifest->files_count, sizeof *checkpoint->file_infos);
    checkpoint->info.entry.name = cn_pool_text(&checkpoint->pool, name);
    if (!checkpoint->file_infos || !checkpoint->info.entry.name) return no_memory(checkpoint, err);
    for (uint64_t i = 0; i < manifest->files_count; i++) {
        checkpoint->file_infos[i].name = manifest->files[i].name;
        checkpoint->file_infos[i].size_bytes = manifest->files[i].size_bytes;
        cn_digest_hex(&manifest->files[i].digest, checkpoint->file_infos[i].digest);
    }
    checkpoint->info.files_count = manifest->files_count;
    checkpoint->info.items_count = manifest->items_count;
    checkpoint->info.generation = manifest->generation;
    cn_checkpoint_fill_entry(manifest, &checkpoint->info.entry);
    return CAIRN_OK;
}

/* Damaged marks cost a checkpoint nothing but its marks. */
static int merge_marks(cairn_checkpoint *checkpoint, cairn_error *err)
{
    bool pinned = false;
    int code = cn_marks_merge(checkpoint->dir, &checkpoint->pool, &checkpoint->manifest, &pinned, err);
    checkpoint->info.entry.pinned = pinned;
    return code == CAIRN_E_NOMEM || code == CAIRN_E_GONE ? code : CAIRN_OK;
}

/* The store tells by the folder's own name: the path, or that of the folder above it, goes before. */
static int cannot_hold(const char *path, const char *name, int code, cairn_error *err)
{
    size_t size = strlen(path);
    if (strcmp(name, ".")) {
        while (size && path[size - 1] == '/') size--;
        while (size && path[size - 1] != '/') size--;
        while (size > 1 && path[size - 1] == '/') size--;
    }
    return size ? cn_error_prefix(err, code, "%.*s", (int)size, path) : code;
}

int cn_checkpoint_open_at(cn_file parent, const char *name, const char *path, cairn_io_mode mode, cairn_checkpoint **ret_checkpoint,
                          cairn_error *err)
{
    cairn_checkpoint *checkpoint = NULL;
    int code = cn_checkpoint_new(path, &checkpoint, err);
    if (code) return code;
    code = cn_held_open(parent, name, &checkpoint->pool, &checkpoint->held, &checkpoint->manifest, err);
    if (code) code = cannot_hold(path, name, code, err);
    checkpoint->dir = checkpoint->held.dir;
    if (!code) code = merge_marks(checkpoint, err);
    if (!code) code = load_tables(checkpoint, err);
    if (!code) code = open_files(checkpoint, mode, err);
    if (!code) code = cn_checkpoint_check_headers(checkpoint, err);
    if (!code) code = fill_faces(checkpoint, name, err);
    if (code == CAIRN_E_NOMEM && checkpoint->quota.exceeded)
        code = cn_error_set(err, CAIRN_E_LIMIT, "%s: its tables need more memory than %llu bytes", path,
                            (unsigned long long)checkpoint->quota.limit_bytes);
    if (code)
        cn_checkpoint_close(checkpoint);
    else
        *ret_checkpoint = checkpoint;
    return code;
}

/* For names that only others write, where there is no memory for a key. */
static const struct cn_table_row *search_row(const cairn_checkpoint *checkpoint, const char *item, const char *name)
{
    const struct cn_table *table = &checkpoint->table;
    for (uint64_t i = 0; i < table->count; i++)
        if (!strcmp(table->rows[i].name, name) && !strcmp(table->rows[i].item, item)) return &table->rows[i];
    return NULL;
}

const struct cn_table_row *cn_checkpoint_row(const cairn_checkpoint *checkpoint, const char *item, const char *name)
{
    char usual[CN_MAX_ITEM_BYTES + CN_MAX_NAME_BYTES + 2];
    uint64_t at;
    size_t item_size = strlen(item), name_size = strlen(name), size = item_size + 1 + name_size;
    cn_auto_free char *large = size <= sizeof usual ? NULL : cn_os_new(size);
    char *key = size <= sizeof usual ? usual : large;
    if (!key) return search_row(checkpoint, item, name);
    memcpy(key, item, item_size + 1);
    memcpy(key + item_size + 1, name, name_size);
    return cn_hash_find(&checkpoint->index, key, size, &at) ? &checkpoint->table.rows[at] : NULL;
}
