/* The Hub's index of a sharded model (see hubindex.h). File names from it are data until they have passed cn_hub_check_file_name. What need not
 * stay - a file's name given again, fields of others - goes into a scratch pool that is emptied again and again. */
#include "format/hubindex.h"

#include <string.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"

int cn_hub_check_file_name(const char *name, size_t size, cairn_error *err)
{
    static const char ending[] = ".safetensors";
    const size_t ending_size = sizeof ending - 1;
    struct cn_shown shown;
    bool plain =
        size > ending_size && size <= 255 && name[0] != '-' && name[0] != '.' && !memcmp(name + size - ending_size, ending, ending_size);
    for (size_t i = 0; i < size && plain; i++) plain = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f && !strchr("/\\:", name[i]);
    if (plain) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_PATH, "index: \"%s\" is not the plain name of a .safetensors file", cn_show(&shown, name, size));
}

enum { SCRATCH_BYTES = 64 << 10 };

struct parser {
    struct cn_json json;
    struct cn_pool *pool, scratch;
    struct cn_hash tensors, files;
    struct cn_buf rows, names;
    uint64_t total_size;
    bool has_map, has_metadata;
};

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "index: no memory");
}

/* Strings that follow need not stay; and: they do again. */
static void use_scratch(struct parser *parser)
{
    if (parser->scratch.used_bytes > SCRATCH_BYTES) cn_pool_done(&parser->scratch);
    parser->json.pool = &parser->scratch;
}

static void use_pool(struct parser *parser)
{
    parser->json.pool = parser->pool;
}

/* The index of a file, known or new. */
static int find_file(struct parser *parser, const char *name, size_t size, uint64_t *ret_index, cairn_error *err)
{
    uint64_t index = parser->names.size / sizeof name;
    if (cn_hash_find(&parser->files, name, size, ret_index)) return CAIRN_OK;
    struct cn_shown shown;
    if (cn_hub_check_file_name(name, size, NULL))
        return cn_error_at(err, CAIRN_E_PATH, parser->json.token_start, "index: \"%s\" is not the plain name of a .safetensors file",
                           cn_show(&shown, name, size));
    if (index >= CN_MAX_FILES) return cn_error_at(err, CAIRN_E_LIMIT, parser->json.token_start, "index: more than %d files", CN_MAX_FILES);
    const char *copy = cn_pool_copy(parser->pool, name, size);
    if (!copy || cn_hash_add(&parser->files, copy, size, index, NULL) < 0) return no_memory(err);
    cn_buf_append(&parser->names, &copy, sizeof copy);
    *ret_index = index;
    return CAIRN_OK;
}

static int read_row(struct parser *parser, const char *tensor, size_t tensor_size, cairn_error *err)
{
    const char *file;
    size_t file_size;
    uint64_t index;
    int added = cn_hash_add(&parser->tensors, tensor, tensor_size, 0, NULL);
    if (added == 1) return cn_json_fail(&parser->json, err, "a tensor is given twice");
    if (added) return no_memory(err);
    use_scratch(parser);
    int code = cn_json_string(&parser->json, &file, &file_size, err);
    use_pool(parser);
    if (!code) code = find_file(parser, file, file_size, &index, err);
    if (code) return code;
    struct cn_hub_row row = { tensor, tensor_size, (uint32_t)index };
    cn_buf_append(&parser->rows, &row, sizeof row);
    return CAIRN_OK;
}

static int read_map(struct parser *parser, cairn_error *err)
{
    const char *key;
    size_t size;
    bool more;
    if (parser->has_map) return cn_json_fail(&parser->json, err, "weight_map is given twice");
    parser->has_map = true;
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "weight_map as an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, &size, &more, err)) && more) code = read_row(parser, key, size, err);
    return code;
}

/* total_size is a hint that writers give as an integer, some as a float: nothing rests on it. */
static int read_metadata(struct parser *parser, cairn_error *err)
{
    const char *key;
    bool more;
    double total = 0;
    if (parser->has_metadata) return cn_json_fail(&parser->json, err, "metadata is given twice");
    parser->has_metadata = true;
    use_scratch(parser);
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "metadata as an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, NULL, &more, err)) && more) {
        if (strcmp(key, "total_size"))
            code = cn_json_skip(&parser->json, err);
        else
            code = cn_json_f64(&parser->json, &total, err);
    }
    use_pool(parser);
    if (total > 0 && total < 9e15) parser->total_size = (uint64_t)total;
    return code;
}

static int read_all(struct parser *parser, cairn_error *err)
{
    const char *key;
    bool more;
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "weight_map"))
            code = read_map(parser, err);
        else if (!strcmp(key, "metadata"))
            code = read_metadata(parser, err);
        else {
            use_scratch(parser);
            code = cn_json_skip(&parser->json, err);
            use_pool(parser);
        }
    }
    if (!code) code = cn_json_expect(&parser->json, CN_JSON_END, "the end of the index", err);
    if (!code && !parser->has_map) code = cn_error_set(err, CAIRN_E_FORMAT, "index: weight_map is missing");
    return code;
}

int cn_hub_parse(const void *json, size_t size, uint64_t seed, struct cn_pool *pool, struct cn_hub_index *ret_index, cairn_error *err)
{
    struct parser parser = { .pool = pool };
    cn_json_init(&parser.json, json, size, pool);
    cn_pool_init(&parser.scratch, pool->alloc, pool->limit_bytes);
    cn_hash_init(&parser.tensors, pool->alloc, seed);
    cn_hash_init(&parser.files, pool->alloc, seed);
    cn_buf_init(&parser.rows, pool->alloc, pool->limit_bytes);
    cn_buf_init(&parser.names, pool->alloc, pool->limit_bytes);
    int code = read_all(&parser, err);
    struct cn_hub_index index = { .count = parser.rows.size / sizeof *index.rows,
                                  .files_count = (uint32_t)(parser.names.size / sizeof *index.files),
                                  .total_size = parser.total_size };
    if (!code) {
        index.rows = (void *)cn_pool_copy(pool, parser.rows.data, parser.rows.size);
        index.files = (void *)cn_pool_copy(pool, parser.names.data, parser.names.size);
        if (parser.rows.failed || parser.names.failed || !index.rows || !index.files) code = no_memory(err);
    }
    if (code == CAIRN_E_NOMEM && (pool->over_limit || parser.scratch.over_limit))
        code = cn_error_set(err, CAIRN_E_LIMIT, "index: it needs more than %llu bytes of memory", (unsigned long long)pool->limit_bytes);
    cn_pool_done(&parser.scratch);
    cn_hash_done(&parser.tensors);
    cn_hash_done(&parser.files);
    cn_buf_done(&parser.rows);
    cn_buf_done(&parser.names);
    if (!code) *ret_index = index;
    return code;
}

int cn_hub_write(struct cn_buf *buf, const struct cn_hub_index *index, cairn_error *err)
{
    struct cn_json_writer writer = { .buf = buf };
    cn_buf_format(buf, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {", (unsigned long long)index->total_size);
    for (uint64_t i = 0; i < index->count; i++) {
        cn_buf_text(buf, i ? ",\n    " : "\n    ");
        writer.need_comma = 0;
        cn_json_put_sized(&writer, index->rows[i].tensor, index->rows[i].tensor_size);
        cn_buf_text(buf, ": ");
        writer.need_comma = 0;
        cn_json_put_string(&writer, index->files[index->rows[i].file]);
    }
    cn_buf_text(buf, index->count ? "\n  }\n}\n" : "}\n}\n");
    return cn_buf_check(buf, "index", err);
}
