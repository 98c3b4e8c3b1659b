/* Writing a safetensors header (see safetensors.h): compact JSON in a fixed order, padded with spaces so that data starts on a page. The
 * same tensors give the same bytes; so a header can be recognised as one that was written here. */
#include "format/safetensors.h"

#include <string.h>

#include "base/check.h"
#include "base/decimal.h"
#include "base/json.h"
#include "base/limits.h"

int cn_st_compare(const struct cn_st_tensor *a, const struct cn_st_tensor *b)
{
    uint32_t a_bits = cairn_dtype_bits(a->dtype), b_bits = cairn_dtype_bits(b->dtype);
    if (a_bits != b_bits) return a_bits > b_bits ? -1 : 1;
    size_t shorter = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(a->name, b->name, shorter);
    if (order) return order;
    return a->name_size < b->name_size ? -1 : a->name_size > b->name_size;
}

uint64_t cn_st_entry_bytes(const struct cn_st_tensor *tensor)
{
    /* a name byte may become \u00XX; a number has at most 20 digits and a comma */
    return 6 * (uint64_t)tensor->name_size + 21 * (uint64_t)tensor->rank + 120;
}

static char *put_text(char *out, const char *text)
{
    size_t size = strlen(text);
    memcpy(out, text, size);
    return out + size;
}

static char *put_numbers(char *out, const char *before, const uint64_t *numbers, uint32_t count)
{
    out = put_text(out, before);
    for (uint32_t i = 0; i < count; i++) {
        if (i) *out++ = ',';
        out = cn_decimal_put(out, numbers[i]);
    }
    return out;
}

/* All but the name needs no escapes and has a bound, so it is put together here: a header may have a hundred thousand of them. */
static void put_tensor(struct cn_json_writer *writer, const struct cn_st_tensor *tensor)
{
    char text[128 + (CAIRN_MAX_RANK + 2) * (CN_DECIMAL_BYTES + 1)], *end = text;
    const uint64_t offsets[] = { tensor->begin, tensor->end };
    end = put_text(end, "{\"dtype\":\"");
    end = put_text(end, cairn_dtype_name(tensor->dtype));
    end = put_numbers(end, "\",\"shape\":[", tensor->shape, tensor->rank);
    end = put_numbers(end, "],\"data_offsets\":[", offsets, 2);
    end = put_text(end, "]}");
    cn_json_key_sized(writer, tensor->name, tensor->name_size);
    cn_buf_append(writer->buf, text, (size_t)(end - text));
    writer->need_comma = 1;
}

/* Up to the first tensor. */
static void put_start(struct cn_json_writer *writer, const struct cn_st_pair *metadata, uint64_t metadata_count)
{
    cn_json_begin_object(writer);
    if (!metadata_count) return;
    cn_json_key(writer, "__metadata__");
    cn_json_begin_object(writer);
    for (uint64_t i = 0; i < metadata_count; i++) {
        cn_json_key(writer, metadata[i].key);
        cn_json_put_string(writer, metadata[i].value);
    }
    cn_json_end_object(writer);
}

static void put_length(char *prefix, uint64_t length)
{
    for (int i = 0; i < CN_ST_PREFIX_BYTES; i++) prefix[i] = (char)(length >> (8 * i) & 0xff);
}

int cn_st_write_header(struct cn_buf *buf, const struct cn_st_tensor *tensors, uint64_t count, const struct cn_st_pair *metadata,
                       uint64_t metadata_count, cairn_error *err)
{
    static const char room[CN_ST_PREFIX_BYTES];
    struct cn_json_writer writer = { .buf = buf };
    size_t start = buf->size;
    cn_buf_append(buf, room, sizeof room);
    put_start(&writer, metadata, metadata_count);
    for (uint64_t i = 0; i < count; i++) put_tensor(&writer, &tensors[i]);
    cn_json_end_object(&writer);
    size_t used = buf->size - start;
    cn_buf_fill(buf, ' ', (size_t)(cn_align_up(used, CN_PAGE_BYTES) - used));
    uint64_t length = buf->size - start - CN_ST_PREFIX_BYTES;
    int code = cn_buf_check(buf, "a header", err);
    if (code) return code;
    if (length > CN_MAX_OUR_HEADER_BYTES)
        return cn_error_set(err, CAIRN_E_LIMIT, "a header over %llu bytes: too many tensors in one file",
                            (unsigned long long)CN_MAX_OUR_HEADER_BYTES);
    put_length(buf->data + start, length);
    return CAIRN_OK;
}

/* ---------------------------------------------------------------------------------------------------------- recognising */

static void match_bytes(struct cn_st_match *match, const char *bytes, uint64_t size)
{
    match->same = match->same && size <= match->size - match->matched && !memcmp(match->bytes + match->matched, bytes, (size_t)size);
    if (match->same) match->matched += size;
}

static void match_piece(struct cn_st_match *match)
{
    match->same = match->same && !match->piece.failed;
    match_bytes(match, match->piece.data, match->piece.size);
}

void cn_st_match_begin(struct cn_st_match *match, const struct cn_alloc *alloc, const void *bytes, uint64_t size,
                       const struct cn_st_pair *metadata, uint64_t metadata_count)
{
    char prefix[CN_ST_PREFIX_BYTES];
    *match = (struct cn_st_match){ .bytes = bytes, .size = size, .first = !metadata_count, .same = size >= sizeof prefix };
    cn_buf_init(&match->piece, alloc, CN_MAX_OUR_HEADER_BYTES);
    struct cn_json_writer writer = { .buf = &match->piece };
    put_length(prefix, size - sizeof prefix);
    match_bytes(match, prefix, sizeof prefix);
    put_start(&writer, metadata, metadata_count);
    match_piece(match);
}

void cn_st_match_tensor(struct cn_st_match *match, const struct cn_st_tensor *tensor)
{
    struct cn_json_writer writer = { .buf = &match->piece, .need_comma = !match->first };
    if (!match->same) return;
    cn_buf_cut(&match->piece, 0);
    put_tensor(&writer, tensor);
    match_piece(match);
    match->first = false;
}

/* What follows the last tensor: the object's end, then blanks up to the page. */
bool cn_st_match_end(struct cn_st_match *match)
{
    match_bytes(match, "}", 1);
    bool same = match->same && cn_align_up(match->matched, CN_PAGE_BYTES) == match->size;
    for (uint64_t i = match->matched; i < match->size && same; i++) same = match->bytes[i] == ' ';
    cn_buf_done(&match->piece);
    return same && match->size - CN_ST_PREFIX_BYTES <= CN_MAX_OUR_HEADER_BYTES;
}
