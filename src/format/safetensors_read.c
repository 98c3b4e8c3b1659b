/* Reading a safetensors header (see safetensors.h). It must never trust a number from the file before checking it against what is left.
 *
 * Memory stays below 64 MiB plus the header's size, but for shapes of dozens of dimensions, which the pool's limit stops:
 * 1. A pool cannot give back, so the array of tensors is taken once, for as many as the header's braces and its length allow.
 * 2. Duplicate names are found through a table of 32-bit indices, keyed by the seed, also taken once.
 * 3. The strings of an entry's fields live in a scratch pool that is emptied again and again; only names stay.
 * Time is linear, but for sorting entries that are not in the order of their offsets. */
#include "format/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"

/* What a file is that begins with no length: said only where it is refused anyway, for any 8 bytes may be one. */
static const char *other_format(const unsigned char *bytes)
{
    if (!memcmp(bytes, "PK\3\4", 4)) return "a zip archive, as torch.save writes";
    if (!memcmp(bytes, "GGUF", 4)) return "a GGUF file";
    return bytes[0] == 0x80 && bytes[1] >= 2 && bytes[1] <= 5 ? "a pickle, as torch.save wrote formerly" : NULL;
}

static int too_long(const unsigned char *bytes, uint64_t length, cairn_error *err)
{
    const char *other = other_format(bytes);
    if (other) return cn_error_at(err, CAIRN_E_FORMAT, 0, "no safetensors file: it begins like %s", other);
    return cn_error_at(err, CAIRN_E_LIMIT, 0, "safetensors: a header of %llu bytes; at most %llu are read", (unsigned long long)length,
                       (unsigned long long)CN_MAX_ST_HEADER_BYTES);
}

int cn_st_parse_prefix(const void *prefix, size_t prefix_size, uint64_t file_bytes, uint64_t *ret_json_bytes, cairn_error *err)
{
    const unsigned char *bytes = prefix;
    uint64_t length = 0;
    if (prefix_size < CN_ST_PREFIX_BYTES || file_bytes < CN_ST_PREFIX_BYTES)
        return cn_error_at(err, CAIRN_E_TRUNCATED, prefix_size, "safetensors: the file has fewer than 8 bytes");
    for (int i = 7; i >= 0; i--) length = length << 8 | bytes[i];
    if (length > CN_MAX_ST_HEADER_BYTES) return too_long(bytes, length, err);
    if (length > file_bytes - CN_ST_PREFIX_BYTES)
        return cn_error_at(err, CAIRN_E_TRUNCATED, file_bytes, "safetensors: the header says %llu bytes, the file ends before",
                           (unsigned long long)length);
    if (!length) return cn_error_at(err, CAIRN_E_FORMAT, 0, "safetensors: an empty header");
    *ret_json_bytes = length;
    return CAIRN_OK;
}

enum {
    SMALLEST_ENTRY_BYTES = 48, /* "":{"dtype":"F4","shape":[],"data_offsets":[0,0]} */
    SCRATCH_BYTES = 64 << 10,
    RANK_BITS = 7
};

struct parser {
    struct cn_json json;
    struct cn_pool *pool, scratch;
    struct cn_st_tensor *tensors;
    uint64_t count, capacity;
    uint32_t *table; /* index + 1 into tensors, by the hash of the name; 0: free. At most half full */
    uint64_t table_mask, seed;
    struct cn_hash keys;
    struct cn_buf metadata;
    bool metadata_seen;
    uint64_t data_bytes;
};

static uint64_t position(const struct parser *parser)
{
    return CN_ST_PREFIX_BYTES + parser->json.token_start;
}

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "safetensors: no memory for the header");
}

static int wrong(const struct parser *parser, cairn_error *err, const struct cn_st_tensor *tensor, const char *what)
{
    struct cn_shown shown;
    return cn_error_at(err, CAIRN_E_FORMAT, position(parser), "tensor \"%s\": %s", cn_show(&shown, tensor->name, tensor->name_size), what);
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
    return cn_error_at(err, plausible ? CAIRN_E_UNSUPPORTED : CAIRN_E_FORMAT, position(parser), "tensor \"%s\": unknown dtype \"%.40s\"",
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
            return cn_error_at(err, CAIRN_E_LIMIT, position(parser), "tensor \"%s\": more than %d dimensions",
                               cn_show(&shown, tensor->name, tensor->name_size), CAIRN_MAX_RANK);
        code = cn_json_u64(&parser->json, &shape[tensor->rank], err);
        if (!code) tensor->rank++;
    }
    if (code) return code;
    const struct cn_st_tensor *last = parser->count ? &parser->tensors[parser->count - 1] : NULL;
    size_t bytes = tensor->rank * sizeof *shape;
    bool same = last && last->rank == tensor->rank && !memcmp(last->shape, shape, bytes);
    tensor->shape = same ? last->shape : (void *)cn_pool_take(parser->pool, bytes);
    if (!tensor->shape) return no_memory(err);
    if (!same) memcpy((void *)tensor->shape, shape, bytes);
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
    cairn_error reason = CAIRN_ERROR_INIT;
    if (cn_dtype_size(tensor->dtype, tensor->rank, tensor->shape, &size, &reason))
        return cn_error_at(err, CAIRN_E_FORMAT, position(parser), "tensor \"%s\": %s", cn_show(&shown, tensor->name, tensor->name_size),
                           reason.message);
    if (size != tensor->end - tensor->begin) return wrong(parser, err, tensor, "data_offsets do not fit dtype and shape");
    if (tensor->end > parser->data_bytes)
        return cn_error_at(
            err, CAIRN_E_TRUNCATED, position(parser), "tensor \"%s\": its data ends at %llu, the file has %llu bytes of data",
            cn_show(&shown, tensor->name, tensor->name_size), (unsigned long long)tensor->end, (unsigned long long)parser->data_bytes);
    return CAIRN_OK;
}

static int read_entry(struct parser *parser, struct cn_st_tensor *tensor, cairn_error *err)
{
    enum { DTYPE, SHAPE, OFFSETS, FIELDS };
    static const struct cn_json_name fields[] = { CN_JSON_NAME("dtype"), CN_JSON_NAME("shape"), CN_JSON_NAME("data_offsets") };
    unsigned seen = 0, field = FIELDS;
    bool more;
    int code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "an object per tensor", err);
    while (!code && !(code = cn_json_next_member(&parser->json, fields, FIELDS, &field, &more, err)) && more) {
        if (field == FIELDS) return wrong(parser, err, tensor, "an unknown field");
        if (seen >> field & 1) return wrong(parser, err, tensor, "a field is given twice");
        seen |= 1u << field;
        code = field == DTYPE   ? read_dtype(parser, tensor, err)
               : field == SHAPE ? read_shape(parser, tensor, err)
                                : read_offsets(parser, tensor, err);
    }
    if (code) return code;
    if (seen != (1u << FIELDS) - 1) return wrong(parser, err, tensor, "dtype, shape or data_offsets is missing");
    return check_entry(parser, tensor, err);
}

static int refuse_nul(const struct parser *parser, const char *text, size_t size, cairn_error *err)
{
    struct cn_shown shown;
    if (!memchr(text, 0, size)) return CAIRN_OK;
    return cn_error_at(err, CAIRN_E_UNSUPPORTED, position(parser), "__metadata__: \"%s\" holds a NUL", cn_show(&shown, text, size));
}

static int read_metadata(struct parser *parser, cairn_error *err)
{
    enum cn_json_token token;
    const char *key;
    size_t size;
    bool more;
    if (parser->metadata_seen) return cn_json_fail(&parser->json, err, "__metadata__ is given twice");
    parser->metadata_seen = true;
    int code = cn_json_next(&parser->json, &token, err);
    if (code || token == CN_JSON_NULL) return code;
    if (token != CN_JSON_OBJECT) return cn_json_fail(&parser->json, err, "__metadata__ must be an object of strings");
    while (!(code = cn_json_next_key(&parser->json, &key, &size, &more, err)) && more) {
        struct cn_st_pair pair = { .key = key };
        if ((code = refuse_nul(parser, key, size, err))) return code;
        int added = cn_hash_add(&parser->keys, key, size, 0, NULL);
        if (added == 1) return cn_json_fail(&parser->json, err, "a key of __metadata__ is given twice");
        if (added) return no_memory(err);
        if (parser->keys.count > CN_MAX_ST_METADATA)
            return cn_error_at(err, CAIRN_E_LIMIT, position(parser), "__metadata__: more than %d pairs", CN_MAX_ST_METADATA);
        code = cn_json_string(&parser->json, &pair.value, &size, err);
        if (!code) code = refuse_nul(parser, pair.value, size, err);
        if (code) return code;
        cn_buf_append(&parser->metadata, &pair, sizeof pair);
    }
    return code;
}

/* The name must be new. */
static int add_name(struct parser *parser, const struct cn_st_tensor *tensor, cairn_error *err)
{
    uint64_t at = cn_hash_bytes(parser->seed, tensor->name, tensor->name_size) & parser->table_mask;
    for (; parser->table[at]; at = (at + 1) & parser->table_mask) {
        const struct cn_st_tensor *other = &parser->tensors[parser->table[at] - 1];
        if (other->name_size == tensor->name_size && !memcmp(other->name, tensor->name, tensor->name_size))
            return wrong(parser, err, tensor, "the name is given twice");
    }
    parser->table[at] = (uint32_t)parser->count + 1;
    return CAIRN_OK;
}

static int read_member(struct parser *parser, const char *key, size_t size, cairn_error *err)
{
    if (size == strlen("__metadata__") && !memcmp(key, "__metadata__", size)) return read_metadata(parser, err);
    struct cn_st_tensor tensor = { .name = key, .name_size = size };
    if (parser->count == parser->capacity) return wrong(parser, err, &tensor, "it cannot be whole in so short a header");
    int code = add_name(parser, &tensor, err);
    if (code) return code;
    if (parser->scratch.used_bytes > SCRATCH_BYTES) cn_pool_done(&parser->scratch);
    parser->json.pool = &parser->scratch;
    code = read_entry(parser, &tensor, err);
    parser->json.pool = parser->pool;
    if (code) return code;
    parser->tensors[parser->count++] = tensor;
    return CAIRN_OK;
}

/* -------------------------------------------------------------------------------------------------------- the whole file */

/* Braces outside strings: no fewer than there are entries. */
static uint64_t count_braces(const char *json, uint64_t size)
{
    uint64_t count = 0;
    for (uint64_t at = 0; at < size; at++) {
        count += json[at] == '{';
        if (json[at] != '"') continue;
        for (at++; at < size && json[at] != '"';) at += json[at] == '\\' ? 2 : 1;
    }
    return count;
}

static int take_arrays(struct parser *parser, cairn_error *err)
{
    uint64_t slots = 16;
    parser->capacity = cn_min_u64(count_braces(parser->json.data, parser->json.size), parser->json.size / SMALLEST_ENTRY_BYTES + 1);
    while (slots < 2 * parser->capacity) slots *= 2;
    parser->table_mask = slots - 1;
    parser->tensors = cn_pool_take_array(parser->pool, parser->capacity, sizeof *parser->tensors);
    parser->table = cn_pool_take_array(parser->pool, slots, sizeof *parser->table);
    return parser->tensors && parser->table ? CAIRN_OK : no_memory(err);
}

static int compare_offsets(const void *left, const void *right)
{
    const struct cn_st_tensor *a = left, *b = right;
    if (a->begin != b->begin) return a->begin < b->begin ? -1 : 1;
    if (a->end != b->end) return a->end < b->end ? -1 : 1;
    return a->rank >> RANK_BITS < b->rank >> RANK_BITS ? -1 : 1;
}

/* Most files are in order. Else the place in the file rides on the rank while sorting: empty tensors may share an offset, and their
 * order is the file's. */
static void sort_tensors(struct cn_st_tensor *tensors, uint64_t count)
{
    uint64_t sorted = 1;
    while (sorted < count && (tensors[sorted - 1].begin < tensors[sorted].begin ||
                              (tensors[sorted - 1].begin == tensors[sorted].begin && tensors[sorted - 1].end <= tensors[sorted].end)))
        sorted++;
    if (sorted >= count) return;
    _Static_assert(CN_MAX_ST_HEADER_BYTES / SMALLEST_ENTRY_BYTES < UINT32_MAX >> RANK_BITS && CAIRN_MAX_RANK < 1 << RANK_BITS,
                   "no room for both");
    for (uint64_t i = 0; i < count; i++) tensors[i].rank |= (uint32_t)i << RANK_BITS;
    qsort(tensors, count, sizeof *tensors, compare_offsets);
    for (uint64_t i = 0; i < count; i++) tensors[i].rank &= (1u << RANK_BITS) - 1;
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
    if (parser->metadata.failed) return no_memory(err);
    header->tensors = parser->tensors;
    header->count = parser->count;
    header->metadata_count = parser->metadata.size / sizeof *header->metadata;
    header->metadata = (void *)cn_pool_copy(parser->pool, parser->metadata.data, parser->metadata.size);
    return header->metadata ? CAIRN_OK : no_memory(err);
}

static int read_all(struct parser *parser, struct cn_st_header *header, cairn_error *err)
{
    const char *key;
    size_t size;
    bool more;
    int code = take_arrays(parser, err);
    if (!code) code = cn_json_expect(&parser->json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&parser->json, &key, &size, &more, err)) && more) code = read_member(parser, key, size, err);
    if (!code) code = cn_json_expect(&parser->json, CN_JSON_END, "the end of the header", err);
    if (!code) code = keep_arrays(parser, header, err);
    if (code) return code;
    sort_tensors(header->tensors, header->count);
    return check_cover(parser, header, err);
}

int cn_st_parse_json(const void *json, uint64_t json_bytes, uint64_t file_bytes, uint64_t seed, struct cn_pool *pool,
                     struct cn_st_header *ret_header, cairn_error *err)
{
    if (json_bytes > CN_MAX_ST_HEADER_BYTES || file_bytes < CN_ST_PREFIX_BYTES || json_bytes > file_bytes - CN_ST_PREFIX_BYTES)
        return cn_error_set(err, CAIRN_E_TRUNCATED, "safetensors: the header is longer than the file");
    struct cn_st_header header = { .data_offset = CN_ST_PREFIX_BYTES + json_bytes };
    struct parser parser = { .pool = pool, .seed = seed, .data_bytes = file_bytes - header.data_offset };
    cn_json_init(&parser.json, json, json_bytes, pool);
    parser.json.origin = CN_ST_PREFIX_BYTES;
    cn_pool_init(&parser.scratch, pool->alloc, pool->limit_bytes);
    cn_hash_init(&parser.keys, pool->alloc, seed);
    cn_buf_init(&parser.metadata, pool->alloc, pool->limit_bytes);
    int code = read_all(&parser, &header, err);
    bool over_limit = pool->over_limit || parser.scratch.over_limit;
    cn_pool_done(&parser.scratch);
    cn_hash_done(&parser.keys);
    cn_buf_done(&parser.metadata);
    if (code == CAIRN_E_NOMEM && over_limit)
        code = cn_error_set(err, CAIRN_E_LIMIT, "safetensors: the header needs more than %llu bytes of memory",
                            (unsigned long long)pool->limit_bytes);
    if (!code) *ret_header = header;
    return code;
}
