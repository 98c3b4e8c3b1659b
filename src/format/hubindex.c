/* The Hub's index of a sharded model (see hubindex.h). File names from it are data until they have passed cn_hub_check_file_name. */
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
    bool plain = size > ending_size && size <= 255 && name[0] != '-' && name[0] != '.' && !memcmp(name + size - ending_size, ending, ending_size);
    for (size_t i = 0; i < size && plain; i++) plain = (unsigned char)name[i] >= 0x20 && name[i] != 0x7f && !strchr("/\\:", name[i]);
    if (plain) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_PATH, "index: \"%s\" is not the plain name of a .safetensors file", cn_show(&shown, name, size));
}

struct parser {
    struct cn_json json;
    struct cn_hash tensors, files;
    struct cn_buf rows, names;
    uint64_t total_size;
    bool has_map;
};

static int read_row(struct parser *parser, const char *tensor, size_t tensor_size, cairn_error *err)
{
    const char *file;
    size_t file_size;
    uint64_t index = parser->names.size / sizeof file;
    int added = cn_hash_add(&parser->tensors, tensor, tensor_size, 0, NULL);
    if (added == 1) return cn_json_fail(&parser->json, err, "a tensor is given twice");
    int code = cn_json_string(&parser->json, &file, &file_size, err);
    if (!code) code = cn_hub_check_file_name(file, file_size, err);
    if (code) return code;
    int known = cn_hash_add(&parser->files, file, file_size, index, &index);
    if (added < 0 || known < 0) return cn_error_set(err, CAIRN_E_NOMEM, "index: no memory");
    if (!known && index >= CN_MAX_FILES) return cn_error_set(err, CAIRN_E_LIMIT, "index: more than %d files", CN_MAX_FILES);
    if (!known) cn_buf_append(&parser->names, &file, sizeof file);
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
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "metadata as an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, NULL, &more, err)) && more) {
        if (strcmp(key, "total_size")) code = cn_json_skip(&parser->json, err);
        else code = cn_json_f64(&parser->json, &total, err);
    }
    if (total > 0 && total < 9e15) parser->total_size = (uint64_t)total;
    return code;
}

static int read_all(struct parser *parser, cairn_error *err)
{
    const char *key;
    bool more;
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "weight_map")) code = read_map(parser, err);
        else if (!strcmp(key, "metadata")) code = read_metadata(parser, err);
        else code = cn_json_skip(&parser->json, err);
    }
    if (!code) code = cn_json_expect(&parser->json, CN_JSON_END, "the end of the index", err);
    if (!code && !parser->has_map) code = cn_error_set(err, CAIRN_E_FORMAT, "index: weight_map is missing");
    return code;
}

int cn_hub_parse(const void *json, size_t size, uint64_t seed, struct cn_pool *pool, struct cn_hub_index *ret_index, cairn_error *err)
{
    struct parser parser = { 0 };
    cn_json_init(&parser.json, json, size, pool);
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
        if (parser.rows.failed || parser.names.failed || !index.rows || !index.files) code = cn_error_set(err, CAIRN_E_NOMEM, "index: no memory");
    }
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
    return buf->failed ? cn_error_set(err, CAIRN_E_LIMIT, "index: larger than %llu bytes", (unsigned long long)buf->limit_bytes) : CAIRN_OK;
}
