/* Plain values for people and for programs. What JSON cannot hold stands there in a form of its own: bytes by their size, tensors by their name,
 * a map whose keys are not all texts as a list of pairs. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

#define FORM_TENSOR "tensor"
#define FORM_BYTES "bytes"
#define FORM_MAP "map"

static bool is_list(const cairn_value *value)
{
    return cairn_value_kind(value) == CAIRN_LIST || cairn_value_kind(value) == CAIRN_TUPLE;
}

static bool is_leaf(const cairn_value *value)
{
    return cairn_value_kind(value) != CAIRN_MAP && !is_list(value);
}

/* A map that would be read as one of the forms below: a program could not tell. */
static bool looks_like_form(const cairn_value *value)
{
    const cairn_value *entry = cairn_value_at(value, 0);
    const char *key = cairn_value_get_data(cairn_value_key_at(value, 0), NULL);
    if (cairn_value_count(value) != 1 || !key) return false;
    if (!strcmp(key, FORM_MAP)) return is_list(entry);
    bool is_plain = is_leaf(entry) && cairn_value_kind(entry) != CAIRN_BYTES && cairn_value_kind(entry) != CAIRN_TENSOR_REF;
    return is_plain && (!strcmp(key, FORM_TENSOR) || !strcmp(key, FORM_BYTES));
}

static bool is_object(const cairn_value *value)
{
    for (size_t i = 0; i < cairn_value_count(value); i++) {
        const cairn_value *key = cairn_value_key_at(value, i);
        if (cairn_value_kind(key) != CAIRN_STRING || cairn_value_tag(key)) return false;
    }
    return !looks_like_form(value);
}

static void put_object(struct json *json, const char *key, const cairn_value *value, int depth)
{
    json_open(json, key, '{');
    for (size_t i = 0; i < cairn_value_count(value); i++) {
        size_t size = 0;
        const char *name = cairn_value_get_data(cairn_value_key_at(value, i), &size);
        json_key(json, name, size);
        value_json(json, NULL, cairn_value_at(value, i), depth + 1);
    }
    json_close(json, '}');
}

static void put_pairs(struct json *json, const char *key, const cairn_value *value, int depth)
{
    json_open(json, key, '{');
    json_open(json, FORM_MAP, '[');
    for (size_t i = 0; i < cairn_value_count(value); i++) {
        json_open(json, NULL, '[');
        value_json(json, NULL, cairn_value_key_at(value, i), depth + 1);
        value_json(json, NULL, cairn_value_at(value, i), depth + 1);
        json_close(json, ']');
    }
    json_close(json, ']');
    json_close(json, '}');
}

static void put_list(struct json *json, const char *key, const cairn_value *value, int depth)
{
    json_open(json, key, '[');
    for (size_t i = 0; i < cairn_value_count(value); i++) value_json(json, NULL, cairn_value_at(value, i), depth + 1);
    json_close(json, ']');
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
    case CAIRN_TUPLE: put_list(json, key, value, depth); return;
    case CAIRN_MAP: (is_object(value) ? put_object : put_pairs)(json, key, value, depth); return;
    case CAIRN_TENSOR_REF:
        json_open(json, key, '{');
        json_text(json, FORM_TENSOR, data);
        json_close(json, '}');
        return;
    case CAIRN_BYTES:
        json_open(json, key, '{');
        json_count(json, FORM_BYTES, size);
        json_close(json, '}');
        return;
    default: json_sized_text(json, key, data, size); return;
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

char *value_key_text(const cairn_value *key)
{
    size_t size = 0;
    const char *data = cairn_value_get_data(key, &size);
    char *text = value_text(key);
    if (cairn_value_kind(key) != CAIRN_STRING) return text;
    if (strlen(data) == size) {
        free(text);
        return cli_copy(data);
    }
    text[strlen(text) - 1] = 0; /* escaped: without its quotes */
    memmove(text, text + 1, strlen(text));
    return text;
}

bool value_is_tree(const cairn_value *value)
{
    bool tree = cairn_value_kind(value) == CAIRN_MAP && !cairn_value_tag(value);
    for (size_t i = 0; i < cairn_value_count(value) && tree; i++) {
        size_t size = 0;
        const cairn_value *key = cairn_value_key_at(value, i);
        const char *text = cairn_value_get_data(key, &size);
        tree = cairn_value_kind(key) == CAIRN_STRING && !cairn_value_tag(key) && strlen(text) == size;
    }
    return tree;
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
