/* Values written as JSON (docs/FORMAT.md, "state.json").
 *
 *     null, true, 12, 0.5, "text", [..], {"key": ..}     themselves; maps need string keys that do not start with '$'
 *     {"$map":[[k,v],..]} {"$tuple":[..]} {"$int":"123.."} {"$f":"7ff8000000000000"} {"$bytes":"<base64>"}
 *     {"$type":"T","value":..} {"$tensor":"name"}
 *
 * Depth is bounded, so recursion here is too. What the reader would refuse must never be written: depth counts the levels of JSON that are open
 * around a value, as the reader counts them. */
#include "snapshot/valuejson.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "os/os.h"

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_digits[] = "0123456789abcdef";

enum { TUPLE_LEVELS = 2, PAIR_LEVELS = 3 }; /* {"$tuple":[ and {"$map":[[ */

static int write_value(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err);

static void begin_form(struct cn_json_writer *writer, const char *form)
{
    cn_json_begin_object(writer);
    cn_json_key(writer, form);
}

static void write_bytes(struct cn_json_writer *writer, const unsigned char *bytes, size_t size, struct cn_buf *text)
{
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t word = (uint32_t)bytes[i] << 16 | (left > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) | (left > 2 ? bytes[i + 2] : 0);
        char out[4] = { base64_digits[word >> 18], base64_digits[word >> 12 & 63], left > 1 ? base64_digits[word >> 6 & 63] : '=',
                        left > 2 ? base64_digits[word & 63] : '=' };
        cn_buf_append(text, out, 4);
    }
    begin_form(writer, "$bytes");
    cn_json_put_sized(writer, text->data ? text->data : "", text->size);
    cn_json_end_object(writer);
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

static bool plain_keys(const cairn_value *map)
{
    for (size_t i = 0; i < map->as.list.count; i++) {
        const cairn_value *key = map->as.list.keys[i];
        if (key->kind != CAIRN_STRING || key->tag || (key->as.data.size && key->as.data.bytes[0] == '$')) return false;
    }
    return true;
}

/* What the reader would refuse, and what JSON cannot carry as it is, must not be written: a checkpoint that cannot be read is none. */
static int check_text(const char *text, size_t size, cairn_error *err)
{
    struct cn_shown shown;
    if (cn_utf8_check(text, size) == size) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "the text \"%s\" is not UTF-8: give it as bytes", cn_show(&shown, text, size));
}

/* Text as a key stands in a map once; other kinds of keys are the caller's. */
static int check_keys(const cairn_value *map, cairn_error *err)
{
    struct cn_hash seen;
    struct cn_shown shown;
    int code = CAIRN_OK;
    cn_hash_init(&seen, cn_os_alloc(), 0);
    for (size_t i = 0; i < map->as.list.count && !code; i++) {
        const cairn_value *key = map->as.list.keys[i];
        if (key->kind != CAIRN_STRING || key->tag) continue;
        code = check_text(key->as.data.bytes, key->as.data.size, err);
        int added = code ? 0 : cn_hash_add(&seen, key->as.data.bytes, key->as.data.size, 0, NULL);
        if (added == 1)
            code = cn_error_set(err, CAIRN_E_USAGE, "a map holds the key \"%s\" twice",
                                cn_show(&shown, key->as.data.bytes, key->as.data.size));
        else if (added)
            code = cn_error_set(err, CAIRN_E_NOMEM, "no memory to write a map");
    }
    cn_hash_done(&seen);
    return code;
}

static int write_list(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    cn_json_begin_array(writer);
    for (size_t i = 0; i < value->as.list.count; i++) {
        int code = write_value(writer, value->as.list.items[i], depth, err);
        if (code) return code;
    }
    cn_json_end_array(writer);
    return CAIRN_OK;
}

static int write_pairs(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    begin_form(writer, "$map");
    cn_json_begin_array(writer);
    for (size_t i = 0; i < value->as.list.count; i++) {
        cn_json_begin_array(writer);
        int code = write_value(writer, value->as.list.keys[i], depth, err);
        if (!code) code = write_value(writer, value->as.list.items[i], depth, err);
        if (code) return code;
        cn_json_end_array(writer);
    }
    cn_json_end_array(writer);
    cn_json_end_object(writer);
    return CAIRN_OK;
}

static int write_map(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    int bad = check_keys(value, err);
    if (bad) return bad;
    if (!plain_keys(value)) return write_pairs(writer, value, depth + PAIR_LEVELS, err);
    cn_json_begin_object(writer);
    for (size_t i = 0; i < value->as.list.count; i++) {
        const cairn_value *key = value->as.list.keys[i];
        cn_json_key_sized(writer, key->as.data.bytes, key->as.data.size);
        int code = write_value(writer, value->as.list.items[i], depth + 1, err);
        if (code) return code;
    }
    cn_json_end_object(writer);
    return CAIRN_OK;
}

static int write_data(struct cn_json_writer *writer, const cairn_value *value, cairn_error *err)
{
    cn_auto_buf struct cn_buf text;
    cn_buf_init(&text, cn_os_alloc(), CN_MAX_STATE_JSON_BYTES);
    if (value->kind == CAIRN_BYTES) {
        write_bytes(writer, (const unsigned char *)value->as.data.bytes, value->as.data.size, &text);
        return text.failed ? cn_error_set(err, CAIRN_E_NOMEM, "no memory for a value of %zu bytes", value->as.data.size) : CAIRN_OK;
    }
    int code = check_text(value->as.data.bytes, value->as.data.size, err);
    if (code) return code;
    if (value->kind == CAIRN_STRING) {
        cn_json_put_sized(writer, value->as.data.bytes, value->as.data.size);
        return CAIRN_OK;
    }
    begin_form(writer, value->kind == CAIRN_BIG_INT ? "$int" : "$tensor");
    cn_json_put_sized(writer, value->as.data.bytes, value->as.data.size);
    cn_json_end_object(writer);
    return CAIRN_OK;
}

static int write_untagged(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    int code = CAIRN_OK;
    switch (value->kind) {
    case CAIRN_NULL: cn_json_put_null(writer); break;
    case CAIRN_BOOLEAN: cn_json_put_bool(writer, value->as.truth); break;
    case CAIRN_INT: cn_json_put_i64(writer, value->as.integer); break;
    case CAIRN_FLOAT: write_float(writer, value->as.real); break;
    case CAIRN_STRING:
    case CAIRN_BYTES:
    case CAIRN_BIG_INT:
    case CAIRN_TENSOR_REF: return write_data(writer, value, err);
    case CAIRN_LIST: return write_list(writer, value, depth + 1, err);
    case CAIRN_TUPLE:
        begin_form(writer, "$tuple");
        code = write_list(writer, value, depth + TUPLE_LEVELS, err);
        cn_json_end_object(writer);
        break;
    case CAIRN_MAP: return write_map(writer, value, depth, err);
    }
    return code;
}

/* The levels of JSON that a value opens by itself. */
static int levels_of(const cairn_value *value)
{
    int tagged = value->tag != NULL;
    switch (value->kind) {
    case CAIRN_FLOAT: return tagged + !isfinite(value->as.real);
    case CAIRN_BYTES:
    case CAIRN_BIG_INT:
    case CAIRN_TENSOR_REF:
    case CAIRN_LIST: return tagged + 1;
    case CAIRN_TUPLE: return tagged + TUPLE_LEVELS;
    case CAIRN_MAP: return tagged + (plain_keys(value) ? 1 : PAIR_LEVELS);
    default: return tagged;
    }
}

static int write_value(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    struct cn_shown shown;
    if (depth + levels_of(value) > CN_MAX_JSON_DEPTH)
        return cn_error_set(err, CAIRN_E_LIMIT, "it is nested too deeply: parts of the name and levels of the value together, at most %d",
                            CN_MAX_VALUE_LEVELS);
    if (!value->tag) return write_untagged(writer, value, depth, err);
    if (cn_utf8_check(value->tag, strlen(value->tag)) != strlen(value->tag))
        return cn_error_set(err, CAIRN_E_USAGE, "the type tag \"%s\" is not UTF-8", cn_show_text(&shown, value->tag));
    begin_form(writer, "$type");
    cn_json_put_string(writer, value->tag);
    cn_json_key(writer, "value");
    int code = write_untagged(writer, value, depth + 1, err);
    cn_json_end_object(writer);
    return code;
}

int cn_valuejson_write(struct cn_json_writer *writer, const cairn_value *value, int depth, cairn_error *err)
{
    int code = write_value(writer, value, depth, err);
    return code ? code : cn_buf_check(writer->buf, "the values", err);
}
