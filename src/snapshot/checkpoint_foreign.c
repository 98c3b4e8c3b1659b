/* Opening what Cairn did not write: one .safetensors file, or a folder with the Hub's index or a single model.safetensors. Headers are
 * untrusted: memory is bounded by 64 MiB and twice the header. No digests are known. */
#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "format/hubindex.h"
#include "format/safetensors.h"
#include "snapshot/checkpoint_parts.h"
#include "snapshot/place.h"
#include "store/layout.h"
#include "store/smallfile.h"

#define INDEX_NAME "model.safetensors.index.json"
#define SINGLE_NAME "model.safetensors"
/* What a file may cost in memory beside twice its header. Some of the promised 64 MiB are left for what is not counted: __metadata__ as
 * values, the program itself. */
#define FOREIGN_BYTES (UINT64_C(40) << 20)

static int no_memory(const cairn_checkpoint *checkpoint, cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory to open it", checkpoint->path);
}

static int show_metadata(cairn_checkpoint *checkpoint, const struct cn_st_header *header, cairn_error *err)
{
    if (!checkpoint->values) checkpoint->values = cairn_value_map();
    cairn_value *map = cairn_value_map();
    if (!checkpoint->values || !map) {
        cairn_value_free(map);
        return no_memory(checkpoint, err);
    }
    for (uint64_t i = 0; i < header->metadata_count; i++) {
        const struct cn_st_pair *pair = &header->metadata[i];
        if (cairn_value_set_pair(map, cairn_value_string(pair->key, strlen(pair->key)),
                                 cairn_value_string(pair->value, strlen(pair->value)))) {
            cairn_value_free(map);
            return no_memory(checkpoint, err);
        }
    }
    return cairn_value_set(checkpoint->values, "__metadata__", map) ? no_memory(checkpoint, err) : CAIRN_OK;
}

static int parse_header(cairn_checkpoint *checkpoint, const struct cn_infile *in, struct cn_st_header *ret_header, cairn_error *err)
{
    unsigned char prefix[CN_ST_PREFIX_BYTES];
    uint64_t json_bytes = 0;
    size_t available = in->size_bytes < sizeof prefix ? (size_t)in->size_bytes : sizeof prefix;
    int code = cn_infile_read(in, 0, prefix, available, err);
    if (!code) code = cn_st_parse_prefix(prefix, available, in->size_bytes, &json_bytes, err);
    if (code) return code;
    checkpoint->quota.limit_bytes += FOREIGN_BYTES + 2 * json_bytes;
    char *json = cn_resize(&checkpoint->quota.alloc, NULL, json_bytes + 1);
    if (!json) return no_memory(checkpoint, err);
    code = cn_infile_read(in, CN_ST_PREFIX_BYTES, json, json_bytes, err);
    if (!code) code = cn_st_parse_json(json, json_bytes, in->size_bytes, checkpoint->index.seed, &checkpoint->pool, ret_header, err);
    cn_release(&checkpoint->quota.alloc, json);
    return code;
}

/* Rows of all files must lie one after the other: the array grows file by file. */
static struct cn_table_row *more_rows(cairn_checkpoint *checkpoint, uint64_t count)
{
    uint64_t bytes;
    if (!cn_mul(checkpoint->table.count + count, sizeof(struct cn_table_row), &bytes)) return NULL;
    struct cn_table_row *rows = cn_resize(&checkpoint->quota.alloc, checkpoint->rows, bytes);
    if (!rows) return NULL;
    checkpoint->table.rows = checkpoint->rows = rows;
    return rows + checkpoint->table.count;
}

static int add_rows(cairn_checkpoint *checkpoint, uint32_t file, cairn_error *err)
{
    struct cn_st_header header;
    struct cn_shown shown;
    const struct cn_infile *in = &checkpoint->files[file];
    int code = parse_header(checkpoint, in, &header, err);
    if (!code) code = show_metadata(checkpoint, &header, err);
    if (code) return cn_error_prefix(err, code, "%s", cn_show_text(&shown, in->name));
    struct cn_table_row *rows = more_rows(checkpoint, header.count);
    if (!rows) return no_memory(checkpoint, err);
    for (uint64_t i = 0; i < header.count; i++) {
        const struct cn_st_tensor *tensor = &header.tensors[i];
        if (memchr(tensor->name, 0, tensor->name_size))
            return cn_error_set(err, CAIRN_E_UNSUPPORTED, "%s: the tensor name \"%s\" holds a NUL", in->name,
                                cn_show(&shown, tensor->name, tensor->name_size));
        rows[i] = (struct cn_table_row){ .item = CN_ITEM_MODEL,
                                         .name = tensor->name,
                                         .dtype = tensor->dtype,
                                         .rank = tensor->rank,
                                         .shape = tensor->shape,
                                         .file = file,
                                         .begin = header.data_offset + tensor->begin,
                                         .size_bytes = tensor->end - tensor->begin };
    }
    checkpoint->table.count += header.count;
    return CAIRN_OK;
}

static int fill_table(cairn_checkpoint *checkpoint, cairn_error *err)
{
    int code = CAIRN_OK;
    for (uint32_t i = 0; i < checkpoint->table.files_count && !code; i++) code = add_rows(checkpoint, i, err);
    return code;
}

/* cn_checkpoint_index stops at a name that is there already: the same tensor in two shards. */
static int index_rows(cairn_checkpoint *checkpoint, cairn_error *err)
{
    cairn_error problem = CAIRN_ERROR_INIT;
    int code = cn_checkpoint_index(checkpoint, &problem);
    const struct cn_table_row *row =
        checkpoint->index.count < checkpoint->table.count ? &checkpoint->table.rows[checkpoint->index.count] : NULL;
    if (code == CAIRN_E_NOMEM && row && cn_checkpoint_row(checkpoint, row->item, row->name)) {
        struct cn_shown shown;
        return cn_error_set(err, CAIRN_E_FORMAT, "%s: tensor \"%s\" is in two shards", checkpoint->path, cn_show_text(&shown, row->name));
    }
    if (code && err) *err = problem;
    return code;
}

static int fill_files(cairn_checkpoint *checkpoint, cairn_error *err)
{
    checkpoint->info.files_count = checkpoint->table.files_count;
    checkpoint->info.items_count = 1;
    checkpoint->file_infos = cn_pool_take_array(&checkpoint->pool, checkpoint->table.files_count, sizeof *checkpoint->file_infos);
    if (!checkpoint->file_infos) return no_memory(checkpoint, err);
    for (uint32_t i = 0; i < checkpoint->table.files_count; i++) {
        checkpoint->file_infos[i].name = checkpoint->table.files[i].name;
        checkpoint->file_infos[i].size_bytes = checkpoint->files[i].size_bytes;
    }
    return CAIRN_OK;
}

static int finish(cairn_checkpoint *checkpoint, int code, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    if (!code) code = fill_table(checkpoint, err);
    if (!code) code = index_rows(checkpoint, err);
    if (!code) code = cn_checkpoint_fill_tensors(checkpoint, err);
    if (!code) code = fill_files(checkpoint, err);
    if (code == CAIRN_E_NOMEM && checkpoint->quota.exceeded)
        code = cn_error_set(err, CAIRN_E_LIMIT, "%s: so many tensors or such long names that it needs more memory than %llu bytes",
                            checkpoint->path, (unsigned long long)checkpoint->quota.limit_bytes);
    if (code)
        cn_checkpoint_close(checkpoint);
    else
        *ret_checkpoint = checkpoint;
    return code;
}

/* Room for files_count files, all closed yet. */
static int take_files(cairn_checkpoint *checkpoint, uint32_t files_count, struct cn_table_file **ret_files, cairn_error *err)
{
    struct cn_table_file *files = cn_pool_take_array(&checkpoint->pool, files_count, sizeof *files);
    if (!files) return no_memory(checkpoint, err);
    checkpoint->table.files = files;
    checkpoint->table.files_count = files_count;
    *ret_files = files;
    return cn_checkpoint_take_files(checkpoint, err);
}

static int open_one_file(const char *path, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    cairn_checkpoint *checkpoint;
    struct cn_table_file *files = NULL;
    int code = cn_checkpoint_new(path, &checkpoint, err);
    if (code) return code;
    checkpoint->source = CAIRN_SOURCE_FILE;
    checkpoint->quota.limit_bytes = FOREIGN_BYTES;
    code = take_files(checkpoint, 1, &files, err);
    if (!code) code = cn_infile_open_path(&checkpoint->files[0], checkpoint->path, err);
    if (!code) {
        const char *slash = strrchr(checkpoint->path, '/');
        files[0] = (struct cn_table_file){ slash ? slash + 1 : checkpoint->path, checkpoint->files[0].size_bytes };
    }
    return finish(checkpoint, code, ret_checkpoint, err);
}

static int load_index(cairn_checkpoint *checkpoint, struct cn_hub_index *ret_index, cairn_error *err)
{
    char *data;
    size_t size;
    int code = cn_smallfile_load(checkpoint->dir, INDEX_NAME, CN_MAX_INDEX_BYTES, &data, &size, err);
    if (code) return code;
    checkpoint->quota.limit_bytes += 2 * size;
    code = cn_hub_parse(data, size, checkpoint->index.seed, &checkpoint->pool, ret_index, err);
    cn_os_free(data);
    if (code) return cn_error_prefix(err, code, "%s/" INDEX_NAME, checkpoint->path);
    checkpoint->claimed_bytes = ret_index->total_size;
    return CAIRN_OK;
}

/* Every tensor of the map is in the shard that the map names, and the shards hold no tensor beside: what loaders make of such a folder
 * differs, so it is refused (docs/DECISIONS.md). */
static int check_index(const cairn_checkpoint *checkpoint, const struct cn_hub_index *index, cairn_error *err)
{
    const struct cn_table *table = &checkpoint->table;
    struct cn_shown shown;
    cn_auto_free bool *named = cn_os_new_array(table->count, sizeof *named);
    if (!named) return no_memory(checkpoint, err);
    for (uint64_t i = 0; i < index->count; i++) {
        const struct cn_hub_row *entry = &index->rows[i];
        const struct cn_table_row *row = cn_checkpoint_row(checkpoint, CN_ITEM_MODEL, entry->tensor);
        if (!row || row->file != entry->file || strlen(entry->tensor) != entry->tensor_size)
            return cn_error_set(err, CAIRN_E_FORMAT, "%s/" INDEX_NAME ": tensor \"%s\" is not in %s", checkpoint->path,
                                cn_show(&shown, entry->tensor, entry->tensor_size), index->files[entry->file]);
        named[row - table->rows] = true;
    }
    for (uint64_t i = 0; i < table->count; i++)
        if (!named[i])
            return cn_error_set(err, CAIRN_E_FORMAT, "%s/" INDEX_NAME ": tensor \"%s\" of %s is not in it", checkpoint->path,
                                cn_show_text(&shown, table->rows[i].name), table->files[table->rows[i].file].name);
    return CAIRN_OK;
}

/* Names come from the index and passed its check: plain names of this folder. Symlinks are followed by hand one level, as the Hub's
 * cache lays them out (snapshots/... -> ../../blobs/...): the user named this folder. */
static int open_shard(cairn_checkpoint *checkpoint, uint32_t i, const char *name, struct cn_table_file *file, cairn_error *err)
{
    char path[CN_MAX_PATH_BYTES + 300];
    size_t size = strlen(checkpoint->path), name_size = strlen(name);
    if (size + name_size + 2 > sizeof path) return cn_error_set(err, CAIRN_E_LIMIT, "%s: the path is too long", checkpoint->path);
    memcpy(path, checkpoint->path, size);
    path[size] = '/';
    memcpy(path + size + 1, name, name_size + 1);
    int code = cn_infile_open_path(&checkpoint->files[i], path, err);
    if (code) return code == CAIRN_E_NOTFOUND ? cn_error_prefix(err, CAIRN_E_TRUNCATED, "a shard is missing") : code;
    checkpoint->files[i].name = name;
    *file = (struct cn_table_file){ name, checkpoint->files[i].size_bytes };
    return CAIRN_OK;
}

static int open_folder(const char *path, cn_file dir, bool sharded, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    cairn_checkpoint *checkpoint;
    struct cn_table_file *files = NULL;
    const char *single = SINGLE_NAME;
    struct cn_hub_index index = { .files = &single, .files_count = 1 };
    int code = cn_checkpoint_new(path, &checkpoint, err);
    if (code) {
        (void)cn_os_close(dir);
        return code;
    }
    checkpoint->source = CAIRN_SOURCE_SHARDED;
    checkpoint->quota.limit_bytes = FOREIGN_BYTES;
    checkpoint->dir = dir;
    if (sharded) code = load_index(checkpoint, &index, err);
    if (!code) code = take_files(checkpoint, index.files_count, &files, err);
    for (uint32_t i = 0; i < index.files_count && !code; i++) code = open_shard(checkpoint, i, index.files[i], &files[i], err);
    cairn_checkpoint *opened = NULL;
    code = finish(checkpoint, code, &opened, err);
    if (!code && sharded) code = check_index(opened, &index, err);
    if (code)
        cn_checkpoint_close(opened);
    else
        *ret_checkpoint = opened;
    return code;
}

/* By its name where it has one, so that the second look of the lease means something. A manifest was just seen there. */
static int open_ours(const char *path, cairn_io_mode mode, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    struct cn_place place;
    struct cn_shown shown;
    int code = cn_place_find(path, &place, err);
    if (!code) {
        code = cn_checkpoint_open_at(place.dir, place.name, path, mode, ret_checkpoint, err);
        cn_place_close(&place);
    }
    if (code != CAIRN_E_NOTFOUND) return code;
    return cn_error_set(err, CAIRN_E_GONE, "%s: removed while it was being opened: list again", cn_show_text(&shown, path));
}

int cn_checkpoint_open_path(const char *path, cairn_io_mode mode, cairn_checkpoint **ret_checkpoint, cairn_error *err)
{
    struct cn_file_info info;
    struct cn_shown shown;
    cn_file dir = CN_NO_FILE;
    cn_show_text(&shown, path);
    if (strlen(path) >= CN_MAX_PATH_BYTES) return cn_error_set(err, CAIRN_E_LIMIT, "%s: the path is too long", shown.text);
    int rc = cn_os_stat_path(path, &info);
    if (rc) return cn_error_errno(err, -rc, "%s: opening it", shown.text);
    if (info.type != CN_TYPE_DIR) return open_one_file(path, ret_checkpoint, err);
    rc = cn_os_open_dir_path(path, &dir);
    if (rc) return cn_error_errno(err, -rc, "%s: opening it", shown.text);
    if (!cn_os_stat_at(dir, CN_NAME_MANIFEST, &info)) {
        (void)cn_os_close(dir);
        return open_ours(path, mode, ret_checkpoint, err);
    }
    if (!cn_os_stat_at(dir, SINGLE_NAME, &info)) return open_folder(path, dir, false, ret_checkpoint, err); /* transformers looks so, too */
    if (!cn_os_stat_at(dir, INDEX_NAME, &info)) return open_folder(path, dir, true, ret_checkpoint, err);
    bool is_run = !cn_os_stat_at(dir, CN_NAME_RUN, &info);
    (void)cn_os_close(dir);
    if (is_run) return cn_error_set(err, CAIRN_E_USAGE, "%s: a run: name a checkpoint of it, as in %s@latest", shown.text, shown.text);
    return cn_error_set(err, CAIRN_E_NOTFOUND, "%s: not a checkpoint: no " CN_NAME_MANIFEST ", " INDEX_NAME " or " SINGLE_NAME " in it",
                        shown.text);
}
