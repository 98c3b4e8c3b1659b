/* Values read from JSON, in the forms that valuejson_write.c lists. Depth is bounded, so recursion here is too. Reading must never turn a name
 * into code and accepts an object that starts with '$' only in one of these forms. */
#include "snapshot/valuejson.h"

#include <string.h>

#include "base/hash.h"
#include "os/os.h"

static const char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char hex_digits[] = "0123456789abcdef";

static int read_token(struct cn_json *json, enum cn_json_token token, cairn_value **ret_value, cairn_error *err);

static int read_value(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    enum cn_json_token token;
    int code = cn_json_next(json, &token, err);
    return code ? code : read_token(json, token, ret_value, err);
}

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory for the values of a state");
}

static int keep(cairn_value *value, cairn_value **ret_value, cairn_error *err)
{
    if (!value) return no_memory(err);
    *ret_value = value;
    return CAIRN_OK;
}

/* The elements up to the closing bracket; the opening one has been read. */
static int read_items(struct cn_json *json, cairn_value *list, cairn_error *err)
{
    for (;;) {
        enum cn_json_token token;
        cairn_value *item = NULL;
        int code = cn_json_next(json, &token, err);
        if (code || token == CN_JSON_ARRAY_END) return code;
        if ((code = read_token(json, token, &item, err))) return code;
        if (cairn_value_append(list, item)) return no_memory(err);
    }
}

static int read_list(struct cn_json *json, cairn_kind kind, cairn_value **ret_value, cairn_error *err)
{
    cairn_value *list = kind == CAIRN_TUPLE ? cairn_value_tuple() : cairn_value_list();
    if (!list) return no_memory(err);
    int code = read_items(json, list, err);
    if (code)
        cairn_value_free(list);
    else
        *ret_value = list;
    return code;
}

/* Keys that are text, of one map: each occurs once. */
static int start_keys(struct cn_hash *seen, cairn_error *err)
{
    uint64_t seed = 0;
    int rc = cn_os_random(&seed, sizeof seed);
    cn_hash_init(seen, cn_os_alloc(), seed);
    return rc ? cn_error_errno(err, -rc, "no randomness from the system") : CAIRN_OK;
}

static int note_key(const struct cn_json *json, struct cn_hash *seen, const char *text, size_t size, cairn_error *err)
{
    int added = cn_hash_add(seen, text, size, 0, NULL);
    return added == 1 ? cn_json_fail(json, err, "a key is given twice") : added ? no_memory(err) : CAIRN_OK;
}

static int read_pair(struct cn_json *json, cairn_value *map, struct cn_hash *seen, cairn_error *err)
{
    cairn_value *key = NULL, *item = NULL;
    int code = read_value(json, &key, err);
    if (!code && key->kind == CAIRN_STRING && !key->tag) code = note_key(json, seen, key->as.data.bytes, key->as.data.size, err);
    if (!code) code = read_value(json, &item, err);
    if (!code) code = cn_json_expect(json, CN_JSON_ARRAY_END, "the end of a [key, value] pair", err);
    if (code) {
        cairn_value_free(key);
        cairn_value_free(item);
        return code;
    }
    return cairn_value_set_pair(map, key, item) ? no_memory(err) : CAIRN_OK;
}

static int read_pairs(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    int code = cn_json_expect(json, CN_JSON_ARRAY, "the pairs of a $map", err);
    if (code) return code;
    cairn_value *map = cairn_value_map();
    if (!map) return no_memory(err);
    struct cn_hash seen;
    code = start_keys(&seen, err);
    while (!code) {
        enum cn_json_token token;
        code = cn_json_next(json, &token, err);
        if (code || token == CN_JSON_ARRAY_END) break;
        if (token != CN_JSON_ARRAY)
            code = cn_json_fail(json, err, "a $map holds [key, value] pairs");
        else
            code = read_pair(json, map, &seen, err);
    }
    cn_hash_done(&seen);
    if (code)
        cairn_value_free(map);
    else
        *ret_value = map;
    return code;
}

static int digit_of(char character)
{
    const char *at = character ? strchr(base64_digits, character) : NULL;
    return at ? (int)(at - base64_digits) : -1;
}

/* Strict base64: padded, no white space, unused bits zero. false: it is not that. */
static bool decode_base64(const char *text, size_t size, unsigned char *out, size_t *ret_size)
{
    size_t count = 0;
    if (size % 4) return false;
    for (size_t i = 0; i < size; i += 4) {
        int pad = i + 4 == size ? (text[i + 3] == '=') + (text[i + 2] == '=' && text[i + 3] == '=') : 0;
        uint32_t word = 0;
        for (int k = 0; k < 4; k++) {
            int digit = k >= 4 - pad ? 0 : digit_of(text[i + (size_t)k]);
            if (digit < 0) return false;
            word = word << 6 | (uint32_t)digit;
        }
        if ((pad == 1 && word & 0xff) || (pad == 2 && word & 0xffff)) return false;
        for (int k = 0; k < 3 - pad; k++) out[count++] = (unsigned char)(word >> (16 - 8 * k));
    }
    *ret_size = count;
    return true;
}

static int read_bytes(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    const char *text;
    size_t size, decoded = 0;
    int code = cn_json_string(json, &text, &size, err);
    if (code) return code;
    cn_auto_free void *out = cn_os_new(size + 1);
    if (!out) return no_memory(err);
    if (!decode_base64(text, size, out, &decoded)) return cn_json_fail(json, err, "$bytes is not base64");
    return keep(cairn_value_bytes(out, decoded), ret_value, err);
}

static int read_odd_float(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    const char *text;
    size_t size;
    int code = cn_json_string(json, &text, &size, err);
    if (code) return code;
    uint64_t bits = 0;
    for (size_t i = 0; i < size && size == 16; i++) {
        const char *at = text[i] ? strchr(hex_digits, text[i]) : NULL;
        if (!at) return cn_json_fail(json, err, "$f is not 16 hex digits");
        bits = bits << 4 | (uint64_t)(at - hex_digits);
    }
    if (size != 16) return cn_json_fail(json, err, "$f is not 16 hex digits");
    double number;
    memcpy(&number, &bits, sizeof number);
    return keep(cairn_value_float(number), ret_value, err);
}

static int read_tagged(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    const char *tag;
    cairn_value *value = NULL;
    int code = cn_json_string(json, &tag, NULL, err);
    if (!code) code = cn_json_expect(json, CN_JSON_KEY, "\"value\" after a $type", err);
    if (!code && strcmp(json->text, "value")) code = cn_json_fail(json, err, "\"value\" must follow a $type");
    if (!code) code = read_value(json, &value, err);
    if (code) return code;
    if (value->tag)
        code = cn_json_fail(json, err, "a $type within a $type");
    else if (cairn_value_set_tag(value, tag))
        code = no_memory(err);
    if (code)
        cairn_value_free(value);
    else
        *ret_value = value;
    return code;
}

static int read_text(struct cn_json *json, cairn_kind kind, cairn_value **ret_value, cairn_error *err)
{
    const char *text;
    size_t size;
    int code = cn_json_string(json, &text, &size, err);
    if (code) return code;
    if (kind == CAIRN_TENSOR_REF) return keep(cn_value_tensor_ref(text, size), ret_value, err);
    if (strlen(text) != size || !cn_value_is_decimal(text)) return cn_json_fail(json, err, "$int is not a decimal integer");
    return keep(cairn_value_big_int(text), ret_value, err);
}

/* An object whose first key starts with '$'; that key has been read. */
static int read_form(struct cn_json *json, const char *form, cairn_value **ret_value, cairn_error *err)
{
    cairn_value *value = NULL;
    int code;
    if (!strcmp(form, "$map"))
        code = read_pairs(json, &value, err);
    else if (!strcmp(form, "$bytes"))
        code = read_bytes(json, &value, err);
    else if (!strcmp(form, "$f"))
        code = read_odd_float(json, &value, err);
    else if (!strcmp(form, "$type"))
        code = read_tagged(json, &value, err);
    else if (!strcmp(form, "$int"))
        code = read_text(json, CAIRN_BIG_INT, &value, err);
    else if (!strcmp(form, "$tensor"))
        code = read_text(json, CAIRN_TENSOR_REF, &value, err);
    else if (!strcmp(form, "$tuple")) {
        code = cn_json_expect(json, CN_JSON_ARRAY, "the list of a $tuple", err);
        if (!code) code = read_list(json, CAIRN_TUPLE, &value, err);
    } else {
        struct cn_shown shown;
        return cn_error_at(err, CAIRN_E_UNSUPPORTED, json->token_start, "unknown kind of value \"%s\"", cn_show_text(&shown, form));
    }
    /* Beside a tensor's name "as" may stand, which says nothing to us. */
    bool more = false;
    while (!code) {
        const char *key;
        code = cn_json_next_key(json, &key, NULL, &more, err);
        if (code || !more) break;
        if (strcmp(form, "$tensor") || strcmp(key, "as"))
            code = cn_json_fail(json, err, "unexpected member beside a '$' form");
        else
            code = cn_json_skip(json, err);
    }
    if (code)
        cairn_value_free(value);
    else
        *ret_value = value;
    return code;
}

static int read_member(struct cn_json *json, cairn_value *map, struct cn_hash *seen, cairn_error *err)
{
    cairn_value *item = NULL;
    if (json->text_size && json->text[0] == '$') return cn_json_fail(json, err, "a '$' key inside a plain map");
    int code = note_key(json, seen, json->text, json->text_size, err);
    if (code) return code;
    cairn_value *key = cairn_value_string(json->text, json->text_size);
    if (!key) return no_memory(err);
    code = read_value(json, &item, err);
    if (code) {
        cairn_value_free(key);
        return code;
    }
    return cairn_value_set_pair(map, key, item) ? no_memory(err) : CAIRN_OK;
}

/* A plain map; its first key has been read. */
static int read_map(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    cairn_value *map = cairn_value_map();
    if (!map) return no_memory(err);
    struct cn_hash seen;
    int code = start_keys(&seen, err);
    bool more = !code;
    while (!code && more) {
        code = read_member(json, map, &seen, err);
        const char *key;
        size_t size;
        if (!code) code = cn_json_next_key(json, &key, &size, &more, err);
    }
    cn_hash_done(&seen);
    if (code)
        cairn_value_free(map);
    else
        *ret_value = map;
    return code;
}

static int read_object(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    const char *key;
    size_t size;
    bool more;
    int code = cn_json_next_key(json, &key, &size, &more, err);
    if (code) return code;
    if (!more) return keep(cairn_value_map(), ret_value, err);
    return size && key[0] == '$' ? read_form(json, key, ret_value, err) : read_map(json, ret_value, err);
}

static int read_token(struct cn_json *json, enum cn_json_token token, cairn_value **ret_value, cairn_error *err)
{
    switch (token) {
    case CN_JSON_NULL: return keep(cairn_value_null(), ret_value, err);
    case CN_JSON_TRUE: return keep(cairn_value_bool(1), ret_value, err);
    case CN_JSON_FALSE: return keep(cairn_value_bool(0), ret_value, err);
    case CN_JSON_STRING: return keep(cairn_value_string(json->text, json->text_size), ret_value, err);
    case CN_JSON_INT: return keep(cairn_value_int(json->negative), ret_value, err);
    case CN_JSON_UINT:
        if (json->number > INT64_MAX) return cn_json_fail(json, err, "an integer beyond 64 bits is written as {\"$int\":\"...\"}");
        return keep(cairn_value_int((int64_t)json->number), ret_value, err);
    case CN_JSON_FLOAT:
        if (!strpbrk(json->text, ".eE") && strcmp(json->text, "-0"))
            return cn_json_fail(json, err, "an integer beyond 64 bits is written as {\"$int\":\"...\"}");
        return keep(cairn_value_float(json->real), ret_value, err);
    case CN_JSON_ARRAY: return read_list(json, CAIRN_LIST, ret_value, err);
    case CN_JSON_OBJECT: return read_object(json, ret_value, err);
    default: return cn_json_fail(json, err, "a value was expected here");
    }
}

int cn_valuejson_read(struct cn_json *json, cairn_value **ret_value, cairn_error *err)
{
    return read_value(json, ret_value, err);
}
