/* Reading a safetensors header (see safetensors.h). Every number from the file is checked against what is left; nothing is allocated from a
 * declared size. Entries are collected in a growable buffer and copied once, for a pool cannot give back. */
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"

int cn_st_parse_prefix(const void *prefix, size_t prefix_size, uint64_t file_bytes, uint64_t *ret_json_bytes, cairn_error *err)
{
    const unsigned char *bytes = prefix;
    uint64_t length = 0;
    if (prefix_size < CN_ST_PREFIX_BYTES || file_bytes < CN_ST_PREFIX_BYTES)
        return cn_error_at(err, CAIRN_E_TRUNCATED, prefix_size, "safetensors: the file has fewer than 8 bytes");
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > CN_MAX_ST_HEADER_BYTES)
        return cn_error_at(err, CAIRN_E_LIMIT, 0, "safetensors: a header of %llu bytes; at most %llu are read", (unsigned long long)length,
                           (unsigned long long)CN_MAX_ST_HEADER_BYTES);
    if (length > file_bytes - CN_ST_PREFIX_BYTES)
        return cn_error_at(err, CAIRN_E_TRUNCATED, file_bytes, "safetensors: the header says %llu bytes, the file ends before", (unsigned long long)length);
    if (!length) return cn_error_at(err, CAIRN_E_FORMAT, 0, "safetensors: an empty header");
    *ret_json_bytes = length;
    return CAIRN_OK;
}

struct parser {
    struct cn_json json;
    struct cn_pool *pool;
    struct cn_hash names, keys;
    struct cn_buf tensors, metadata; /* arrays being collected */
    bool metadata_seen;
    uint64_t data_bytes;
};

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "safetensors: the header needs more memory than there is");
}

static int wrong(const struct parser *parser, cairn_error *err, const struct cn_st_tensor *tensor, const char *what)
{
    struct cn_shown shown;
    return cn_error_at(err, CAIRN_E_FORMAT, parser->json.token_start, "tensor \"%s\": %s", cn_show(&shown, tensor->name, tensor->name_size), what);
}

/* ------------------------------------------------------------------------------------------------------------ one entry */

static int read_dtype(struct parser *parser, struct cn_st_tensor *tensor, cairn_error *err)
{
    const char *text;
    size_t size;
    struct cn_shown shown;
    int code = cn_json_string(&parser->json, &text, &size, err);
    if (code) return code;
    tensor->dtype = cn_dtype_parse(text, size);
    if (tensor->dtype) return CAIRN_OK;
    /* a well-formed name that we do not know is another library's dtype; anything else is no dtype at all */
    bool plausible = size > 1 && strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == size && text[0] >= 'A';
    return cn_error_at(err, plausible ? CAIRN_E_UNSUPPORTED : CAIRN_E_FORMAT, parser->json.token_start, "tensor \"%s\": unknown dtype \"%.40s\"",
                       cn_show(&shown, tensor->name, tensor->name_size), plausible ? text : "?");
}

static int read_shape(struct parser *parser, struct cn_st_tensor *tensor, cairn_error *err)
{
    uint64_t shape[CAIRN_MAX_RANK];
    bool more = true;
    int code = cn_json_expect(&parser->json, CN_JSON_ARRAY, "the shape as a list", err);
    while (!code && !(code = cn_json_next_element(&parser->json, &more, err)) && more) {
        struct cn_shown shown;
        if (tensor->rank == CAIRN_MAX_RANK)
            return cn_error_at(err, CAIRN_E_LIMIT, parser->json.position, "tensor \"%s\": more than %d dimensions",
                               cn_show(&shown, tensor->name, tensor->name_size), CAIRN_MAX_RANK);
        code = cn_json_u64(&parser->json, &shape[tensor->rank], err);
        if (!code) tensor->rank++;
    }
    if (code) return code;
    uint64_t *copy = cn_pool_take_array(parser->pool, tensor->rank, sizeof *copy);
    if (!copy) return no_memory(err);
    memcpy(copy, shape, tensor->rank * sizeof *copy);
    tensor->shape = copy;
    return CAIRN_OK;
}

static int read_offsets(struct parser *parser, struct cn_st_tensor *tensor, cairn_error *err)
{
    int code = cn_json_expect(&parser->json, CN_JSON_ARRAY, "data_offsets as a list of two", err);
    if (!code) code = cn_json_u64(&parser->json, &tensor->begin, err);
    if (!code) code = cn_json_u64(&parser->json, &tensor->end, err);
    if (!code) code = cn_json_expect(&parser->json, CN_JSON_ARRAY_END, "the end of data_offsets", err);
    if (code) return code;
    return tensor->begin > tensor->end ? wrong(parser, err, tensor, "data_offsets run backwards") : CAIRN_OK;
}

/* Shape, dtype and offsets agree; the tensor ends within the data. */
static int check_entry(struct parser *parser, const struct cn_st_tensor *tensor, cairn_error *err)
{
    struct cn_shown shown;
    uint64_t size;
    int code = cn_dtype_size(tensor->dtype, tensor->rank, tensor->shape, &size, err);
    if (code) {
        code = cn_error_prefix(err, CAIRN_E_FORMAT, "tensor \"%s\"", cn_show(&shown, tensor->name, tensor->name_size));
        if (err) err->offset = parser->json.token_start;
        return code;
    }
    if (size != tensor->end - tensor->begin) return wrong(parser, err, tensor, "data_offsets do not fit dtype and shape");
    if (tensor->end > parser->data_bytes)
        return cn_error_at(err, CAIRN_E_TRUNCATED, parser->json.token_start, "tensor \"%s\": its data ends at %llu, the file has %llu bytes of data",
                           cn_show(&shown, tensor->name, tensor->name_size), (unsigned long long)tensor->end, (unsigned long long)parser->data_bytes);
    return CAIRN_OK;
}

static int read_entry(struct parser *parser, struct cn_st_tensor *tensor, cairn_error *err)
{
    enum { DTYPE = 1, SHAPE = 2, OFFSETS = 4 };
    unsigned seen = 0;
    const char *key;
    bool more;
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "an object per tensor", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, NULL, &more, err)) && more) {
        unsigned field = !strcmp(key, "dtype") ? DTYPE : !strcmp(key, "shape") ? SHAPE : !strcmp(key, "data_offsets") ? OFFSETS : 0;
        if (!field) return wrong(parser, err, tensor, "an unknown field");
        if (seen & field) return wrong(parser, err, tensor, "a field is given twice");
        seen |= field;
        code = field == DTYPE   ? read_dtype(parser, tensor, err)
               : field == SHAPE ? read_shape(parser, tensor, err)
                                : read_offsets(parser, tensor, err);
    }
    if (code) return code;
    if (seen != (DTYPE | SHAPE | OFFSETS)) return wrong(parser, err, tensor, "dtype, shape or data_offsets is missing");
    return check_entry(parser, tensor, err);
}

static int read_metadata(struct parser *parser, cairn_error *err)
{
    enum cn_json_token token;
    const char *key;
    bool more;
    if (parser->metadata_seen) return cn_json_fail(&parser->json, err, "__metadata__ is given twice");
    parser->metadata_seen = true;
    int code = cn_json_next(&parser->json, &token, err);
    if (code || token == CN_JSON_NULL) return code;
    if (token != CN_JSON_OBJECT) return cn_json_fail(&parser->json, err, "__metadata__ must be an object of strings");
    while (!(code = cn_json_next_key(&parser->json, &key, NULL, &more, err)) && more) {
        struct cn_st_pair pair = { .key = key };
        if (cn_hash_add(&parser->keys, key, strlen(key), 0, NULL) == 1) return cn_json_fail(&parser->json, err, "a key of __metadata__ is given twice");
        code = cn_json_string(&parser->json, &pair.value, NULL, err);
        if (code) return code;
        cn_buf_append(&parser->metadata, &pair, sizeof pair);
    }
    return code;
}

static int read_member(struct parser *parser, const char *key, size_t size, cairn_error *err)
{
    if (size == strlen("__metadata__") && !memcmp(key, "__metadata__", size)) return read_metadata(parser, err);
    struct cn_st_tensor tensor = { .name = key, .name_size = size };
    int added = cn_hash_add(&parser->names, key, size, 0, NULL);
    if (added == 1) return wrong(parser, err, &tensor, "the name is given twice");
    if (added) return no_memory(err);
    int code = read_entry(parser, &tensor, err);
    if (!code) cn_buf_append(&parser->tensors, &tensor, sizeof tensor);
    return code;
}

/* -------------------------------------------------------------------------------------------------------- the whole file */

static int compare_offsets(const void *left, const void *right)
{
    const struct cn_st_tensor *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return a->name < b->name ? -1 : a->name > b->name; /* pool addresses: any fixed order will do for empty ones */
}

/* No hole, no overlap, every byte of the data section owned: no room for a second file in this one. */
static int check_cover(const struct parser *parser, const struct cn_st_header *header, cairn_error *err)
{
    uint64_t end = 0;
    struct cn_shown shown;
    for (uint64_t i = 0; i < header->count; i++) {
        const struct cn_st_tensor *tensor = &header->tensors[i];
        if (tensor->begin != end)
            return cn_error_at(err, CAIRN_E_FORMAT, header->data_offset + tensor->begin, "tensor \"%s\": its data %s the one before it",
                               cn_show(&shown, tensor->name, tensor->name_size), tensor->begin < end ? "overlaps" : "leaves a hole after");
        end = tensor->end;
    }
    if (end != parser->data_bytes)
        return cn_error_at(err, CAIRN_E_FORMAT, header->data_offset + end, "safetensors: %llu bytes follow after the last tensor",
                           (unsigned long long)(parser->data_bytes - end));
    return CAIRN_OK;
}

static int keep_arrays(struct parser *parser, struct cn_st_header *header, cairn_error *err)
{
    if (parser->tensors.failed || parser->metadata.failed) return no_memory(err);
    header->count = parser->tensors.size / sizeof *header->tensors;
    header->metadata_count = parser->metadata.size / sizeof *header->metadata;
    header->tensors = (void *)cn_pool_copy(parser->pool, parser->tensors.data, parser->tensors.size);
    header->metadata = (void *)cn_pool_copy(parser->pool, parser->metadata.data, parser->metadata.size);
    if (!header->tensors || !header->metadata) return no_memory(err);
    qsort(header->tensors, header->count, sizeof *header->tensors, compare_offsets);
    return CAIRN_OK;
}

static int read_all(struct parser *parser, struct cn_st_header *header, cairn_error *err)
{
    const char *key;
    size_t size;
    bool more;
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, &size, &more, err)) && more) code = read_member(parser, key, size, err);
    if (!code) code = cn_json_expect(&parser->json, CN_JSON_END, "the end of the header", err);
    if (code) {
        /* positions are told as bytes of the file */
        if (err && err->offset != CAIRN_NO_OFFSET) err->offset += CN_ST_PREFIX_BYTES;
        return code;
    }
    code = keep_arrays(parser, header, err);
    return code ? code : check_cover(parser, header, err);
}

int cn_st_parse_json(const void *json, uint64_t json_bytes, uint64_t file_bytes, uint64_t seed, struct cn_pool *pool,
                     struct cn_st_header *ret_header, cairn_error *err)
{
    if (json_bytes > CN_MAX_ST_HEADER_BYTES || file_bytes < CN_ST_PREFIX_BYTES || json_bytes > file_bytes - CN_ST_PREFIX_BYTES)
        return cn_error_set(err, CAIRN_E_TRUNCATED, "safetensors: the header is longer than the file");
    struct cn_st_header header = { .data_offset = CN_ST_PREFIX_BYTES + json_bytes };
    struct parser parser = { .pool = pool, .data_bytes = file_bytes - header.data_offset };
    cn_json_init(&parser.json, json, json_bytes, pool);
    cn_hash_init(&parser.names, pool->alloc, seed);
    cn_hash_init(&parser.keys, pool->alloc, seed);
    cn_buf_init(&parser.tensors, pool->alloc, pool->limit_bytes);
    cn_buf_init(&parser.metadata, pool->alloc, pool->limit_bytes);
    int code = read_all(&parser, &header, err);
    cn_hash_done(&parser.names);
    cn_hash_done(&parser.keys);
    cn_buf_done(&parser.tensors);
    cn_buf_done(&parser.metadata);
    if (!code) *ret_header = header;
    return code;
}
