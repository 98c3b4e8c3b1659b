/* Plain values for people and for programs. What a value cannot hold in JSON is said in its place: bytes by their size, tensors by their name. */
#include <stdlib.h>

#include "cli.h"

static void put_key(struct json *json, const cairn_value *key, const cairn_value *value, int depth)
{
    if (cairn_value_kind(key) == CAIRN_STRING) {
        value_json(json, cairn_value_get_data(key, NULL), value, depth);
        return;
    }
    char *text = value_text(key);
    value_json(json, text, value, depth);
    free(text);
}

static void put_entries(struct json *json, const char *key, const cairn_value *value, int depth)
{
    bool is_map = cairn_value_kind(value) == CAIRN_MAP;
    json_open(json, key, is_map ? '{' : '[');
    for (size_t i = 0; i < cairn_value_count(value); i++) {
        if (is_map)
            put_key(json, cairn_value_key_at(value, i), cairn_value_at(value, i), depth + 1);
        else
            value_json(json, NULL, cairn_value_at(value, i), depth + 1);
    }
    json_close(json, is_map ? '}' : ']');
}

void value_json(struct json *json, const char *key, const cairn_value *value, int depth)
{
    size_t size = 0;
    const char *data = cairn_value_get_data(value, &size);
    if (depth > VALUE_DEEPEST) {
        json_text(json, key, "...");
        return;
    }
    switch (cairn_value_kind(value)) {
    case CAIRN_NULL: json_null(json, key); return;
    case CAIRN_BOOLEAN: json_truth(json, key, cairn_value_get_bool(value)); return;
    case CAIRN_INT: json_int(json, key, cairn_value_get_int(value)); return;
    case CAIRN_FLOAT: json_number(json, key, cairn_value_get_float(value)); return;
    case CAIRN_LIST:
    case CAIRN_TUPLE:
    case CAIRN_MAP: put_entries(json, key, value, depth); return;
    case CAIRN_TENSOR_REF:
        json_open(json, key, '{');
        json_text(json, "tensor", data);
        json_close(json, '}');
        return;
    case CAIRN_BYTES:
        json_open(json, key, '{');
        json_count(json, "bytes", size);
        json_close(json, '}');
        return;
    default: json_text(json, key, data); return;
    }
}

char *value_text(const cairn_value *value)
{
    struct json json;
    char number[40];
    if (cairn_value_kind(value) == CAIRN_FLOAT) return cli_copy(cli_exact(cairn_value_get_float(value), number));
    json_start(&json, JSON_ONE_LINE);
    value_json(&json, NULL, value, 0);
    return json_take(&json);
}

const char *value_kind_name(const cairn_value *value)
{
    static const char *const names[] = {
        "null", "boolean", "integer", "integer", "float", "text", "bytes", "list", "tuple", "map", "tensor"
    };
    return names[cairn_value_kind(value)];
}

bool value_is_plain(const cairn_value *value)
{
    size_t count = cairn_value_count(value);
    if (cairn_value_kind(value) == CAIRN_TENSOR_REF) return false;
    for (size_t i = 0; i < count; i++)
        if (value_is_plain(cairn_value_at(value, i))) return true;
    return !count;
}
