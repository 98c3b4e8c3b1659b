/* Values written as JSON (docs/FORMAT.md, "state.json").
 *
 *     null, true, 12, 0.5, "text", [..], {"key": ..}     themselves; maps need string keys that do not start with '$'
 *     {"$map":[[k,v],..]} {"$tuple":[..]} {"$int":"123.."} {"$f":"7ff8000000000000"} {"$bytes":"<base64>"}
 *     {"$type":"T","value":..} {"$tensor":"name"}
 *
 * What the reader would refuse must never be written: a value is checked as a whole first (valuejson_check.c), which bounds its depth, so recursion here is
 * bounded, too. After that only memory can fail, and the buffer remembers. */
#include "snapshot/valuejson.h"

#include <math.h>
#include <string.h>

#include "os/os.h"

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_digits[] = "0123456789abcdef";

static void write_value(struct cn_json_writer *writer, const cairn_value *value);

static void begin_form(struct cn_json_writer *writer, const char *form)
{
    cn_json_begin_object(writer);
    cn_json_key(writer, form);
}

static void write_bytes(struct cn_json_writer *writer, const unsigned char *bytes, size_t size)
{
    cn_auto_buf struct cn_buf text;
    cn_buf_init(&text, cn_os_alloc(), CN_MAX_STATE_JSON_BYTES);
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        char out[4] = { base64_digits[word >> 18], base64_digits[word >> 12 & 63], left > 1 ? base64_digits[word >> 6 & 63] : '=',
                        left > 2 ? base64_digits[word & 63] : '=' };
        cn_buf_append(&text, out, 4);
    }
    begin_form(writer, "$bytes");
    cn_json_put_sized(writer, text.data ? text.data : "", text.size);
    cn_json_end_object(writer);
    if (text.failed) cn_buf_fail(writer->buf, text.over_limit);
}

static void write_float(struct cn_json_writer *writer, double number)
{
    if (isfinite(number)) {
        cn_json_put_f64(writer, number);
        return;
    }
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    char hex[17];
    for (int i = 15; i >= 0; i--, bits >>= 4) hex[i] = hex_digits[bits & 15];
    hex[16] = 0;
    begin_form(writer, "$f");
    cn_json_put_string(writer, hex);
    cn_json_end_object(writer);
}

static void write_text(struct cn_json_writer *writer, const char *form, const cairn_value *value)
{
    begin_form(writer, form);
    cn_json_put_sized(writer, value->as.data.bytes, value->as.data.size);
    cn_json_end_object(writer);
}

static void write_list(struct cn_json_writer *writer, const cairn_value *value)
{
    cn_json_begin_array(writer);
    for (size_t i = 0; i < value->as.list.count; i++) write_value(writer, value->as.list.items[i]);
    cn_json_end_array(writer);
}

static void write_pairs(struct cn_json_writer *writer, const cairn_value *value)
{
    begin_form(writer, "$map");
    cn_json_begin_array(writer);
    for (size_t i = 0; i < value->as.list.count; i++) {
        cn_json_begin_array(writer);
        write_value(writer, value->as.list.keys[i]);
        write_value(writer, value->as.list.items[i]);
        cn_json_end_array(writer);
    }
    cn_json_end_array(writer);
    cn_json_end_object(writer);
}

static void write_map(struct cn_json_writer *writer, const cairn_value *value)
{
    if (!cn_valuejson_is_object(value)) {
        write_pairs(writer, value);
        return;
    }
    cn_json_begin_object(writer);
    for (size_t i = 0; i < value->as.list.count; i++) {
        cn_json_key_sized(writer, value->as.list.keys[i]->as.data.bytes, value->as.list.keys[i]->as.data.size);
        write_value(writer, value->as.list.items[i]);
    }
    cn_json_end_object(writer);
}

static void write_untagged(struct cn_json_writer *writer, const cairn_value *value)
{
    switch (value->kind) {
    case CAIRN_NULL: cn_json_put_null(writer); break;
    case CAIRN_BOOLEAN: cn_json_put_bool(writer, value->as.truth); break;
    case CAIRN_INT: cn_json_put_i64(writer, value->as.integer); break;
    case CAIRN_FLOAT: write_float(writer, value->as.real); break;
    case CAIRN_STRING: cn_json_put_sized(writer, value->as.data.bytes, value->as.data.size); break;
    case CAIRN_BYTES: write_bytes(writer, (const unsigned char *)value->as.data.bytes, value->as.data.size); break;
    case CAIRN_BIG_INT: write_text(writer, "$int", value); break;
    case CAIRN_TENSOR_REF: write_text(writer, "$tensor", value); break;
    case CAIRN_LIST: write_list(writer, value); break;
    case CAIRN_TUPLE:
        begin_form(writer, "$tuple");
        write_list(writer, value);
        cn_json_end_object(writer);
        break;
    case CAIRN_MAP: write_map(writer, value); break;
    }
}

static void write_value(struct cn_json_writer *writer, const cairn_value *value)
{
    if (!value->tag) {
        write_untagged(writer, value);
        return;
    }
    begin_form(writer, "$type");
    cn_json_put_string(writer, value->tag);
    cn_json_key(writer, "value");
    write_untagged(writer, value);
    cn_json_end_object(writer);
}

int cn_valuejson_write(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    int code = cn_valuejson_check(value, depth, err);
    if (code) return code;
    write_value(writer, value);
    return cn_buf_check(writer->buf, "the values", err);
}
