/* Dropping an item (see drop.h). A reader sees the checkpoint before or after, never in between: the manifest without the item's files is durable before
 * the first of them is unlinked, and nobody else holds the checkpoint meanwhile. */
#include "snapshot/drop.h"

#include <stdio.h>
#include <string.h>

#include "base/limits.h"
#include "snapshot/checkpoint.h"
#include "store/held.h"
#include "store/layout.h"
#include "store/smallfile.h"

struct drop {
    cairn_checkpoint *checkpoint;
    const char *item;
    struct cn_pool pool;
    struct cn_manifest manifest; /* as it stands on disk, then as it will stand */
    struct cn_manifest_file *files;
    const char **removed; /* names of files that go */
    uint64_t removed_count;
};

static int no_memory(const struct drop *drop, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to drop an item", drop->checkpoint->path);
}

static bool holds_item(const struct drop *drop, const char *file)
{
    const struct cn_table *table = &drop->checkpoint->table;
    for (uint64_t i = 0; i < table->count; i++)
        if (!strcmp(table->rows[i].item, drop->item) && !strcmp(table->files[table->rows[i].file].name, file)) return true;
    return false;
}

/* The index of a sharded item: "x.safetensors.index.json" beside "x-00001-of-00002.safetensors". */
static bool is_index_of(const struct drop *drop, const char *file)
{
    static const char ending[] = ".safetensors.index.json";
    char shard[CN_MAX_NAME_BYTES + 32];
    size_t size = strlen(file);
    if (size < sizeof ending || size >= CN_MAX_NAME_BYTES || strcmp(file + size - (sizeof ending - 1), ending)) return false;
    size_t stem = size - (sizeof ending - 1);
    const struct cn_manifest *manifest = &drop->manifest;
    for (uint64_t i = 0; i < manifest->files_count; i++) {
        const char *name = manifest->files[i].name;
        snprintf(shard, sizeof shard, "%.*s-00001-of-", (int)stem, file);
        if (!strncmp(name, shard, strlen(shard)) && holds_item(drop, name)) return true;
    }
    return false;
}

static int split_files(struct drop *drop, cairn_error *err)
{
    struct cn_manifest *manifest = &drop->manifest;
    drop->files = cn_pool_take_array(&drop->pool, manifest->files_count, sizeof *drop->files);
    drop->removed = cn_pool_take_array(&drop->pool, manifest->files_count, sizeof *drop->removed);
    if (!drop->files || !drop->removed) return no_memory(drop, err);
    uint64_t kept = 0;
    for (uint64_t i = 0; i < manifest->files_count; i++) {
        const struct cn_manifest_file *file = &manifest->files[i];
        if (file->kind == CN_FILE_TENSORS ? holds_item(drop, file->name) : file->kind == CN_FILE_OWN && is_index_of(drop, file->name))
            drop->removed[drop->removed_count++] = file->name;
        else
            drop->files[kept++] = *file;
    }
    manifest->files = drop->files;
    manifest->files_count = kept;
    return CAIRN_OK;
}

static int name_dropped(struct drop *drop, cairn_error *err)
{
    struct cn_manifest *manifest = &drop->manifest;
    const char **dropped = cn_pool_take_array(&drop->pool, manifest->dropped_count + 1, sizeof *dropped);
    if (!dropped) return no_memory(drop, err);
    if (manifest->dropped_count) memcpy(dropped, manifest->dropped, manifest->dropped_count * sizeof *dropped);
    dropped[manifest->dropped_count++] = drop->item;
    manifest->dropped = dropped;
    manifest->generation++;
    return CAIRN_OK;
}

/* I2, I3: the new manifest is durable under its name. */
static int replace_manifest(struct drop *drop, cairn_error *err)
{
    cn_file dir = drop->checkpoint->dir;
    char temporary[64], id[CN_ID_BYTES];
    cn_auto_buf struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), 2 * CN_MAX_MANIFEST_BYTES);
    int rc, code = cn_manifest_encode(&drop->manifest, &buf, err);
    if (!code) code = cn_id_new(id, err);
    if (code) return code;
    snprintf(temporary, sizeof temporary, ".manifest-%s", id);
    code = cn_smallfile_put(dir, temporary, buf.data, buf.size, 0644, err);
    if (!code && (rc = cn_os_rename_over(dir, temporary, dir, CN_NAME_MANIFEST)))
        code = cn_error_errno(err, -rc, "replacing " CN_NAME_MANIFEST);
    if (code) {
        (void)cn_os_unlink(dir, temporary);
        return cn_error_prefix(err, code, "%s", drop->checkpoint->path);
    }
    rc = cn_os_sync_dir(dir);
    return rc ? cn_error_errno(err, -rc, "%s: syncing it", drop->checkpoint->path) : CAIRN_OK;
}

/* I4. What cannot be unlinked stays as a file that nobody lists. */
static void unlink_files(const struct drop *drop)
{
    cn_auto_close cn_file training = CN_NO_FILE;
    (void)cn_os_open_dir(drop->checkpoint->dir, CN_NAME_TRAINING, &training);
    for (uint64_t i = 0; i < drop->removed_count; i++) {
        const char *slash = strchr(drop->removed[i], '/');
        if (slash && training != CN_NO_FILE) (void)cn_os_unlink(training, slash + 1);
    }
}

static int find_item(const struct drop *drop, bool *ret_done, cairn_error *err)
{
    const struct cn_manifest *manifest = &drop->manifest;
    struct cn_shown shown;
    *ret_done = false;
    for (uint64_t i = 0; i < manifest->dropped_count; i++) *ret_done |= !strcmp(manifest->dropped[i], drop->item);
    if (!strcmp(drop->item, CN_ITEM_MODEL))
        return cn_error_set(err, CAIRN_E_USAGE, "%s: item model is not dropped: remove the checkpoint", drop->checkpoint->path);
    for (uint64_t i = 0; i < manifest->items_count; i++) {
        if (strcmp(manifest->items[i].name, drop->item)) continue;
        if (manifest->items[i].tensors) return CAIRN_OK;
        return cn_error_set(err, CAIRN_E_USAGE, "%s: item '%s' has no tensors: there is nothing to drop", drop->checkpoint->path,
                            drop->item);
    }
    return cn_error_set(err, CAIRN_E_USAGE, "%s: it has no item '%s'", drop->checkpoint->path, cn_show_text(&shown, drop->item));
}

static int drop_held(struct drop *drop, cairn_error *err)
{
    bool done;
    /* I1: alone with it */
    if (cn_held_alone(drop->checkpoint->dir, &drop->checkpoint->held.manifest_file))
        return cn_error_set(err, CAIRN_E_LOCKED, "%s: somebody reads it: try again later", drop->checkpoint->path);
    int code = cn_held_read(drop->checkpoint->dir, ".", &drop->pool, &drop->manifest, err);
    if (!code && drop->manifest.generation != drop->checkpoint->manifest.generation)
        code = cn_error_set(err, CAIRN_E_GONE, "%s: another process changed it meanwhile: try again", drop->checkpoint->path);
    if (!code) code = find_item(drop, &done, err);
    if (code || done) return code;
    code = split_files(drop, err);
    if (!code) code = name_dropped(drop, err);
    if (!code) code = replace_manifest(drop, err);
    if (!code) unlink_files(drop);
    return code;
}

int cn_drop_item(cn_file parent, const char *name, const char *path, const char *id, const char *item, cairn_error *err)
{
    struct drop drop = { .item = item };
    int code = cn_checkpoint_open_at(parent, name, path, CAIRN_IO_BUFFERED, &drop.checkpoint, err);
    if (code) return code;
    cn_pool_init(&drop.pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    code = cn_held_check_id(path, &drop.checkpoint->manifest, id, err);
    if (!code) code = drop_held(&drop, err);
    cn_pool_done(&drop.pool);
    cn_checkpoint_close(drop.checkpoint);
    return code;
}
