/* Reading tensors.json (see table.h). Nothing is handed out that was not checked against the rest of the table: sizes against shapes, ranges
 * against files and neighbours, block counts against sizes, digests of tensors against their blocks. */
#include <string.h>

#include "base/dtype.h"
#include "base/json.h"
#include "snapshot/table.h"
#include "store/layout.h"

enum { SCRATCH_BYTES = 32 << 10 };

struct decoder {
    struct cn_json json;
    struct cn_pool *pool, scratch; /* scratch: strings of one row, whose key alone is kept */
    struct cn_buf rows, files, blocks;
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
    enum { MAX_ABS, NORM, NANS, INFS, MEMBERS };
    static const struct cn_json_name members[] = { CN_JSON_NAME("max_abs"), CN_JSON_NAME("norm"), CN_JSON_NAME("nan"),
                                                   CN_JSON_NAME("inf") };
    struct cn_json *json = &decoder->json;
    unsigned member = MEMBERS;
    bool more;
    int code = cn_json_expect(json, CN_JSON_OBJECT, "stats as an object", err);
    row->stats_known = true;
    while (!code && !(code = cn_json_next_member(json, members, MEMBERS, &member, &more, err)) && more) {
        switch (member) {
        case MAX_ABS: code = cn_json_f64(json, &row->max_abs, err); break;
        case NORM: code = cn_json_f64(json, &row->norm, err); break;
        case NANS: code = cn_json_u64(json, &row->nan_count, err); break;
        case INFS: code = cn_json_u64(json, &row->inf_count, err); break;
        default: code = cn_json_skip(json, err);
        }
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
    bool item_known = before && !strcmp(row->item, before->item);
    if (!item_known && cn_layout_check_item(row->item, NULL)) return wrong(row, err, "its item has an impossible name");
    int code = cn_dtype_size(row->dtype, row->rank, row->shape, &size, err);
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

/* item and name go into one piece of memory, one behind the other: together they are the row's key. */
static int keep_key(struct decoder *decoder, struct cn_table_row *row, cairn_error *err)
{
    size_t item_size = strlen(row->item), name_size = strlen(row->name);
    char *key = cn_pool_take(decoder->pool, item_size + name_size + 2);
    if (!key) return no_memory(err);
    memcpy(key, row->item, item_size + 1);
    memcpy(key + item_size + 1, row->name, name_size + 1);
    row->item = key;
    row->name = key + item_size + 1;
    return CAIRN_OK;
}

static int read_row(struct decoder *decoder, cairn_error *err)
{
    enum { ITEM, NAME, DTYPE, SHAPE, FLAGS, FILE_INDEX, OFFSET, SIZE, DIGEST, BLOCKS, STATS, MEMBERS };
    static const struct cn_json_name members[] = { CN_JSON_NAME("item"),   CN_JSON_NAME("name"),  CN_JSON_NAME("dtype"),
                                                   CN_JSON_NAME("shape"),  CN_JSON_NAME("flags"), CN_JSON_NAME("file"),
                                                   CN_JSON_NAME("offset"), CN_JSON_NAME("size"),  CN_JSON_NAME("digest"),
                                                   CN_JSON_NAME("blocks"), CN_JSON_NAME("stats") };
    struct cn_table_row row = { .name = "" };
    struct cn_json *json = &decoder->json;
    uint64_t file = 0;
    unsigned seen = 0, member = MEMBERS;
    bool more;
    int code = cn_json_expect(json, CN_JSON_OBJECT, "an object per tensor", err);
    while (!code && !(code = cn_json_next_member(json, members, MEMBERS, &member, &more, err)) && more) {
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
    if (!code) code = keep_key(decoder, &row, err);
    cn_buf_append(&decoder->rows, &row, sizeof row);
    return code;
}

static int read_scratch_row(struct decoder *decoder, cairn_error *err)
{
    if (decoder->scratch.used_bytes > SCRATCH_BYTES) cn_pool_done(&decoder->scratch);
    decoder->json.pool = &decoder->scratch;
    int code = read_row(decoder, err);
    decoder->json.pool = decoder->pool;
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
            code = rows_seen ? cn_json_fail(json, err, "tensors is given twice") : read_list(decoder, read_scratch_row, err),
            rows_seen = true;
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

/* When all rows are there: for so many at once, the table is taken in its size, and the processor looks for several places beside each other. */
static int index_rows(const struct cn_table *table, struct cn_hash *index, cairn_error *err)
{
    if (cn_hash_reserve(index, table->count)) return no_memory(err);
    for (uint64_t i = 0; i < table->count; i++) {
        const struct cn_table_row *row = &table->rows[i];
        size_t size = (size_t)(row->name - row->item) + strlen(row->name);
        if (cn_hash_add(index, row->item, size, i, NULL)) return wrong(row, err, "it is given twice");
    }
    return CAIRN_OK;
}

static int keep_all(struct decoder *decoder, struct cn_hash *index, struct cn_table *ret_table, cairn_error *err)
{
    struct cn_table table = { .count = decoder->rows.size / sizeof *table.rows,
                              .files_count = (uint32_t)(decoder->files.size / sizeof *table.files) };
    table.rows = cn_buf_keep(&decoder->rows, decoder->pool);
    table.files = cn_buf_keep(&decoder->files, decoder->pool);
    if (!table.rows || !table.files) return no_memory(err);
    int code = index_rows(&table, index, err);
    if (!code) *ret_table = table;
    return code;
}

int cn_table_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_hash *index, struct cn_table *ret_table,
                    cairn_error *err)
{
    int code = cn_json_check_seal(data, size, err);
    if (code) return code;
    struct decoder decoder = { .pool = pool };
    cn_json_init(&decoder.json, data, size, pool);
    cn_pool_init(&decoder.scratch, pool->alloc, pool->limit_bytes);
    cn_buf_init(&decoder.rows, pool->alloc, pool->limit_bytes);
    cn_buf_init(&decoder.files, pool->alloc, pool->limit_bytes);
    cn_buf_init(&decoder.blocks, pool->alloc, pool->limit_bytes);
    code = read_all(&decoder, err);
    if (!code) code = keep_all(&decoder, index, ret_table, err);
    cn_pool_done(&decoder.scratch);
    cn_buf_done(&decoder.rows);
    cn_buf_done(&decoder.files);
    cn_buf_done(&decoder.blocks);
    return code;
}
