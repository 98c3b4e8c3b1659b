/* Reading tensors.json (see table.h). Nothing is handed out that was not checked against the rest of the table: sizes against shapes, ranges
 * against files and neighbours, block counts against sizes, digests of tensors against their blocks. */
#include <string.h>

#include "base/dtype.h"
#include "base/hash.h"
#include "base/json.h"
#include "snapshot/table.h"
#include "store/layout.h"

struct decoder {
    struct cn_json json;
    struct cn_pool *pool;
    struct cn_buf rows, files, blocks;
    struct cn_hash names;
};

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory for the table of tensors");
}

static int read_digest(struct cn_json *json, struct cn_digest *ret_digest, cairn_error *err)
{
    const char *text;
    size_t size;
    int code = cn_json_string(json, &text, &size, err);
    if (code) return code;
    return cn_digest_parse(text, size, ret_digest) ? CAIRN_OK : cn_json_fail(json, err, "a digest of 32 hex digits was expected");
}

static int read_file(struct decoder *decoder, cairn_error *err)
{
    struct cn_table_file file = { 0 };
    const char *key;
    size_t size = 0;
    bool more, sized = false;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "an object per file", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "name"))
            code = cn_json_string(&decoder->json, &file.name, &size, err);
        else if (!strcmp(key, "size"))
            code = cn_json_u64(&decoder->json, &file.size_bytes, err), sized = true;
        else
            code = cn_json_skip(&decoder->json, err);
    }
    if (code) return code;
    if (!file.name || !sized || file.size_bytes > CN_MAX_FILE_BYTES)
        return cn_json_fail(&decoder->json, err, "a file lacks its name or size");
    if (decoder->files.size / sizeof file >= CN_MAX_FILES) return cn_error_set(err, CAIRN_E_LIMIT, "more than %d files", CN_MAX_FILES);
    code = cn_layout_check_file(file.name, size, err);
    cn_buf_append(&decoder->files, &file, sizeof file);
    return code;
}

static int read_shape(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    uint64_t shape[CAIRN_MAX_RANK];
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "the shape as a list", err);
    row->rank = 0;
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        if (row->rank == CAIRN_MAX_RANK) return cn_error_set(err, CAIRN_E_LIMIT, "more than %d dimensions", CAIRN_MAX_RANK);
        code = cn_json_u64(&decoder->json, &shape[row->rank], err);
        if (!code) row->rank++;
    }
    if (code) return code;
    uint64_t *copy = cn_pool_take_array(decoder->pool, row->rank, sizeof *copy);
    if (!copy) return no_memory(err);
    memcpy(copy, shape, row->rank * sizeof *copy);
    row->shape = copy;
    return CAIRN_OK;
}

static int read_flags(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    static const char *const names[] = { "trainable", "frozen", "optimizer", "volatile" };
    const char *text;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "flags as a list", err);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        code = cn_json_string(&decoder->json, &text, NULL, err);
        for (unsigned i = 0; i < 4 && !code; i++)
            if (!strcmp(text, names[i])) row->flags |= 1u << i;
    }
    return code;
}

static int read_blocks(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    struct cn_digest digest;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "blocks as a list", err);
    cn_buf_cut(&decoder->blocks, 0);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        code = read_digest(&decoder->json, &digest, err);
        cn_buf_append(&decoder->blocks, &digest, sizeof digest);
    }
    if (code) return code;
    row->blocks_count = decoder->blocks.size / sizeof digest;
    row->blocks = (const void *)cn_pool_copy(decoder->pool, decoder->blocks.data, decoder->blocks.size);
    return row->blocks && !decoder->blocks.failed ? CAIRN_OK : no_memory(err);
}

static int read_statistics(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    const char *key;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "stats as an object", err);
    row->stats_known = true;
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "max_abs"))
            code = cn_json_f64(&decoder->json, &row->max_abs, err);
        else if (!strcmp(key, "norm"))
            code = cn_json_f64(&decoder->json, &row->norm, err);
        else if (!strcmp(key, "nan"))
            code = cn_json_u64(&decoder->json, &row->nan_count, err);
        else if (!strcmp(key, "inf"))
            code = cn_json_u64(&decoder->json, &row->inf_count, err);
        else
            code = cn_json_skip(&decoder->json, err);
    }
    return code;
}

static int read_dtype(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    const char *text;
    size_t size;
    int code = cn_json_string(&decoder->json, &text, &size, err);
    if (code) return code;
    row->dtype = cn_dtype_parse(text, size);
    return row->dtype ? CAIRN_OK : cn_json_fail(&decoder->json, err, "an unknown dtype");
}

/* ------------------------------------------------------------------------------------------------------------- checking */

static int wrong(const struct cn_table_row *row, cairn_error *err, const char *what)
{
    struct cn_shown shown;
    return cn_error_set(err, CAIRN_E_FORMAT, "tensor \"%s\": %s", cn_show_text(&shown, row->name), what);
}

static int check_row(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    uint64_t size;
    size_t files_count = decoder->files.size / sizeof(struct cn_table_file), count = decoder->rows.size / sizeof *row;
    const struct cn_table_row *before = count ? (const struct cn_table_row *)(const void *)decoder->rows.data + count - 1 : NULL;
    int code = cn_layout_check_item(row->item, NULL);
    if (code) return wrong(row, err, "its item has an impossible name");
    code = cn_dtype_size(row->dtype, row->rank, row->shape, &size, err);
    if (code) return wrong(row, err, "its shape is too large");
    if (size != row->size_bytes) return wrong(row, err, "its size does not fit dtype and shape");
    if (row->file >= files_count) return wrong(row, err, "its file is not in the list");
    const struct cn_table_file *file = (const struct cn_table_file *)(const void *)decoder->files.data + row->file;
    if (row->begin > file->size_bytes || size > file->size_bytes - row->begin) return wrong(row, err, "it reaches beyond its file");
    if (before && (row->file < before->file || (row->file == before->file && row->begin < before->begin + before->size_bytes)))
        return wrong(row, err, "it overlaps the one before it, or is out of order");
    if (row->blocks_count != cn_table_blocks(size)) return wrong(row, err, "it has another number of blocks than its size needs");
    struct cn_digest digest = cn_digest_of(row->blocks, row->blocks_count * sizeof *row->blocks);
    return cn_digest_equal(&digest, &row->digest) ? CAIRN_OK : wrong(row, err, "its digest is not that of its blocks");
}

static int add_key(struct decoder *decoder, const struct cn_table_row *row, cairn_error *err)
{
    size_t item_size = strlen(row->item), name_size = strlen(row->name);
    char *key = cn_pool_take(decoder->pool, item_size + name_size + 2);
    if (!key) return no_memory(err);
    memcpy(key, row->item, item_size + 1);
    memcpy(key + item_size + 1, row->name, name_size + 1);
    int added = cn_hash_add(&decoder->names, key, item_size + 1 + name_size, 0, NULL);
    return added == 1 ? wrong(row, err, "it is given twice") : added ? no_memory(err) : CAIRN_OK;
}

enum { ITEM, NAME, DTYPE, SHAPE, FLAGS, FILE_INDEX, OFFSET, SIZE, DIGEST, BLOCKS, STATS, MEMBERS };

/* Our writer keeps to this order, so the one that is due is looked at first. MEMBERS: none of them. */
static unsigned find_member(const char *key, unsigned due)
{
    static const char *const members[MEMBERS] = { "item",   "name", "dtype",  "shape",  "flags", "file",
                                                  "offset", "size", "digest", "blocks", "stats" };
    if (due < MEMBERS && !strcmp(key, members[due])) return due;
    unsigned member = 0;
    while (member < MEMBERS && strcmp(key, members[member])) member++;
    return member;
}

static int read_row(struct decoder *decoder, cairn_error *err)
{
    struct cn_table_row row = { .name = "" };
    struct cn_json *json = &decoder->json;
    uint64_t file = 0;
    unsigned seen = 0, member = MEMBERS;
    const char *key;
    bool more;
    int code = cn_json_expect(json, CN_JSON_OBJECT, "an object per tensor", err);
    while (!code && !(code = cn_json_next_key(json, &key, NULL, &more, err)) && more) {
        member = find_member(key, member == MEMBERS ? 0 : member + 1);
        if (member < MEMBERS && seen >> member & 1) return cn_json_fail(json, err, "a member is given twice");
        seen |= 1u << member;
        switch (member) {
        case ITEM: code = cn_json_string(json, &row.item, NULL, err); break;
        case NAME: code = cn_json_string(json, &row.name, NULL, err); break;
        case DTYPE: code = read_dtype(decoder, &row, err); break;
        case SHAPE: code = read_shape(decoder, &row, err); break;
        case FLAGS: code = read_flags(decoder, &row, err); break;
        case FILE_INDEX: code = cn_json_u64(json, &file, err); break;
        case OFFSET: code = cn_json_u64(json, &row.begin, err); break;
        case SIZE: code = cn_json_u64(json, &row.size_bytes, err); break;
        case DIGEST: code = read_digest(json, &row.digest, err); break;
        case BLOCKS: code = read_blocks(decoder, &row, err); break;
        case STATS: code = read_statistics(decoder, &row, err); break;
        default: code = cn_json_skip(json, err);
        }
    }
    if (code) return code;
    unsigned needed = (1u << STATS) - 1;
    if ((seen & needed) != needed) return cn_json_fail(json, err, "a tensor lacks a member");
    row.file = file > UINT32_MAX ? UINT32_MAX : (uint32_t)file;
    code = check_row(decoder, &row, err);
    if (!code) code = add_key(decoder, &row, err);
    cn_buf_append(&decoder->rows, &row, sizeof row);
    return code;
}

static int read_list(struct decoder *decoder, int (*read)(struct decoder *, cairn_error *), cairn_error *err)
{
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "a list", err);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) code = read(decoder, err);
    return code;
}

static int read_all(struct decoder *decoder, cairn_error *err)
{
    struct cn_json *json = &decoder->json;
    const char *key, *kind = "";
    uint64_t version = 0;
    bool more, files_seen = false, rows_seen = false;
    int code = cn_json_expect(json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "cairn"))
            code = cn_json_string(json, &kind, NULL, err);
        else if (!strcmp(key, "version"))
            code = cn_json_u64(json, &version, err);
        else if (!strcmp(key, "files"))
            code = files_seen ? cn_json_fail(json, err, "files is given twice") : read_list(decoder, read_file, err), files_seen = true;
        else if (!strcmp(key, "tensors"))
            code = rows_seen ? cn_json_fail(json, err, "tensors is given twice") : read_list(decoder, read_row, err), rows_seen = true;
        else
            code = cn_json_skip(json, err);
    }
    if (!code) code = cn_json_expect(json, CN_JSON_END, "the end", err);
    if (code) return code;
    if (strcmp(kind, "tensors") || !files_seen || !rows_seen) return cn_error_set(err, CAIRN_E_FORMAT, "not a table of tensors");
    if (version != 1)
        return cn_error_set(err, CAIRN_E_VERSION, "format version %llu; this version of Cairn knows 1", (unsigned long long)version);
    return CAIRN_OK;
}

int cn_table_decode(const void *data, size_t size, uint64_t seed, struct cn_pool *pool, struct cn_table *ret_table, cairn_error *err)
{
    int code = cn_json_check_seal(data, size, err);
    if (code) return code;
    struct decoder decoder = { .pool = pool };
    cn_json_init(&decoder.json, data, size, pool);
    cn_buf_init(&decoder.rows, pool->alloc, pool->limit_bytes);
    cn_buf_init(&decoder.files, pool->alloc, pool->limit_bytes);
    cn_buf_init(&decoder.blocks, pool->alloc, pool->limit_bytes);
    cn_hash_init(&decoder.names, pool->alloc, seed);
    code = read_all(&decoder, err);
    struct cn_table table = { .count = decoder.rows.size / sizeof *table.rows,
                              .files_count = (uint32_t)(decoder.files.size / sizeof *table.files) };
    if (!code) {
        table.rows = (const void *)cn_pool_copy(pool, decoder.rows.data, decoder.rows.size);
        table.files = (const void *)cn_pool_copy(pool, decoder.files.data, decoder.files.size);
        if (!table.rows || !table.files || decoder.rows.failed || decoder.files.failed) code = no_memory(err);
    }
    cn_buf_done(&decoder.rows);
    cn_buf_done(&decoder.files);
    cn_buf_done(&decoder.blocks);
    cn_hash_done(&decoder.names);
    if (!code) *ret_table = table;
    return code;
}
