/* The value tree: what plain values of a state are made of. A tree has one owner; adding a value to another gives it away. It must
 * never interpret a type tag. */
#include "snapshot/value.h"

#include <string.h>

#include "base/limits.h"
#include "os/os.h"

static cairn_value *value_new(cairn_kind kind)
{
    cairn_value *value = cn_os_new(sizeof *value);
    if (value) value->kind = kind;
    return value;
}

static cairn_value *data_new(cairn_kind kind, const void *data, size_t size)
{
    cairn_value *value = data || !size ? value_new(kind) : NULL;
    if (!value) return NULL;
    value->as.data.bytes = size < SIZE_MAX ? cn_os_new(size + 1) : NULL;
    if (!value->as.data.bytes) {
        cn_os_free(value);
        return NULL;
    }
    if (size) memcpy(value->as.data.bytes, data, size);
    value->as.data.size = size;
    return value;
}

cairn_value *cairn_value_null(void)
{
    return value_new(CAIRN_NULL);
}

cairn_value *cairn_value_bool(int truth)
{
    cairn_value *value = value_new(CAIRN_BOOLEAN);
    if (value) value->as.truth = truth != 0;
    return value;
}

cairn_value *cairn_value_int(int64_t number)
{
    cairn_value *value = value_new(CAIRN_INT);
    if (value) value->as.integer = number;
    return value;
}

bool cn_value_is_decimal(const char *text)
{
    if (*text == '-') text++;
    if (!*text || (text[0] == '0' && text[1])) return false;
    for (; *text; text++)
        if (*text < '0' || *text > '9') return false;
    return true;
}

cairn_value *cairn_value_big_int(const char *decimal)
{
    if (!decimal || !cn_value_is_decimal(decimal)) return NULL;
    return data_new(CAIRN_BIG_INT, decimal, strlen(decimal));
}

cairn_value *cairn_value_float(double number)
{
    cairn_value *value = value_new(CAIRN_FLOAT);
    if (value) value->as.real = number;
    return value;
}

cairn_value *cairn_value_string(const char *text, size_t size_bytes)
{
    return data_new(CAIRN_STRING, text, size_bytes);
}

cairn_value *cairn_value_bytes(const void *data, size_t size_bytes)
{
    return data_new(CAIRN_BYTES, data, size_bytes);
}

cairn_value *cn_value_tensor_ref(const char *name, size_t size)
{
    return data_new(CAIRN_TENSOR_REF, name, size);
}

cairn_value *cairn_value_list(void)
{
    return value_new(CAIRN_LIST);
}

cairn_value *cairn_value_tuple(void)
{
    return value_new(CAIRN_TUPLE);
}

cairn_value *cairn_value_map(void)
{
    return value_new(CAIRN_MAP);
}

static bool holds_data(const cairn_value *value)
{
    return value->kind == CAIRN_STRING || value->kind == CAIRN_BYTES || value->kind == CAIRN_BIG_INT || value->kind == CAIRN_TENSOR_REF;
}

static bool holds_items(const cairn_value *value)
{
    return value->kind == CAIRN_LIST || value->kind == CAIRN_TUPLE || value->kind == CAIRN_MAP;
}

/* A tree that a user built may be of any depth: what waits to be freed is a chain through the tags, which are freed first. */
static void push(cairn_value **waiting, cairn_value *value)
{
    if (!value) return;
    cn_os_free(value->tag);
    value->tag = (char *)*waiting;
    *waiting = value;
}

void cairn_value_free(cairn_value *value)
{
    cairn_value *waiting = NULL;
    push(&waiting, value);
    while ((value = waiting)) {
        waiting = (cairn_value *)(void *)value->tag;
        if (holds_data(value)) cn_os_free(value->as.data.bytes);
        if (holds_items(value)) {
            for (size_t i = 0; i < value->as.list.count; i++) {
                push(&waiting, value->as.list.items[i]);
                if (value->kind == CAIRN_MAP) push(&waiting, value->as.list.keys[i]);
            }
            cn_os_free(value->as.list.items);
            cn_os_free(value->as.list.keys);
        }
        cn_os_free(value);
    }
}

static bool grow_array(cairn_value ***array, size_t capacity, size_t count)
{
    cairn_value **grown = cn_os_new_array(capacity, sizeof *grown);
    if (!grown) return false;
    if (count) memcpy(grown, *array, count * sizeof *grown);
    cn_os_free(*array);
    *array = grown;
    return true;
}

static bool reserve_one(cairn_value *value)
{
    if (value->as.list.count < value->as.list.capacity) return true;
    size_t capacity = value->as.list.capacity ? value->as.list.capacity * 2 : 8;
    if (!grow_array(&value->as.list.items, capacity, value->as.list.count)) return false;
    if (value->kind == CAIRN_MAP && !grow_array(&value->as.list.keys, capacity, value->as.list.count)) return false;
    value->as.list.capacity = capacity;
    return true;
}

/* What has an owner cannot be given away again, and nothing can be put into itself. Above value there are at most as many levels as can be saved, which
 * bounds the search. USAGE and LIMIT: the item is not taken. value and item may be NULL. */
static int check_gift(const cairn_value *value, const cairn_value *item)
{
    int levels = 0;
    if (!item) return CAIRN_OK;
    if (cn_value_is_given(item)) return CAIRN_E_USAGE;
    for (const cairn_value *at = value; at; at = at->parent == at ? NULL : at->parent) {
        if (at == item) return CAIRN_E_USAGE;
        if (++levels > CN_MAX_VALUE_LEVELS) return CAIRN_E_LIMIT;
    }
    return CAIRN_OK;
}

int cairn_value_append(cairn_value *value, cairn_value *item)
{
    int code = check_gift(value, item);
    if (code) return code;
    if (!value || !item || (value->kind != CAIRN_LIST && value->kind != CAIRN_TUPLE))
        code = CAIRN_E_USAGE;
    else if (!reserve_one(value))
        code = CAIRN_E_NOMEM;
    if (code) {
        cairn_value_free(item);
        return code;
    }
    item->parent = value;
    value->as.list.items[value->as.list.count++] = item;
    return CAIRN_OK;
}

int cairn_value_set_pair(cairn_value *value, cairn_value *key, cairn_value *item)
{
    int code = check_gift(value, item);
    if (!code) code = key && key == item ? CAIRN_E_USAGE : check_gift(value, key);
    if (code) return code;
    if (!value || !item || !key || value->kind != CAIRN_MAP)
        code = CAIRN_E_USAGE;
    else if (!reserve_one(value))
        code = CAIRN_E_NOMEM;
    if (code) {
        cairn_value_free(key);
        cairn_value_free(item);
        return code;
    }
    key->parent = item->parent = value;
    value->as.list.keys[value->as.list.count] = key;
    value->as.list.items[value->as.list.count++] = item;
    return CAIRN_OK;
}

static size_t find_key(const cairn_value *map, const char *key)
{
    size_t size = strlen(key);
    for (size_t i = 0; i < map->as.list.count; i++) {
        const cairn_value *k = map->as.list.keys[i];
        if (k->kind == CAIRN_STRING && !k->tag && k->as.data.size == size && !memcmp(k->as.data.bytes, key, size)) return i;
    }
    return map->as.list.count;
}

static int replace(cairn_value *map, size_t at, cairn_value *item)
{
    cairn_value_free(map->as.list.items[at]);
    map->as.list.items[at] = item;
    item->parent = map;
    return CAIRN_OK;
}

int cairn_value_set(cairn_value *value, const char *key, cairn_value *item)
{
    int code = check_gift(value, item);
    if (code) return code;
    if (!value || !key || !item || value->kind != CAIRN_MAP) {
        cairn_value_free(item);
        return CAIRN_E_USAGE;
    }
    size_t at = find_key(value, key);
    if (at < value->as.list.count) return replace(value, at, item);
    cairn_value *name = cairn_value_string(key, strlen(key));
    if (name) return cairn_value_set_pair(value, name, item);
    cairn_value_free(item);
    return CAIRN_E_NOMEM;
}

int cairn_value_set_tag(cairn_value *value, const char *tag)
{
    if (!value) return CAIRN_E_USAGE;
    char *copy = NULL;
    if (tag && !(copy = cn_os_copy_text(tag))) return CAIRN_E_NOMEM;
    cn_os_free(value->tag);
    value->tag = copy;
    return CAIRN_OK;
}

cairn_kind cairn_value_kind(const cairn_value *value)
{
    return value ? value->kind : CAIRN_NULL;
}

const char *cairn_value_tag(const cairn_value *value)
{
    return value ? value->tag : NULL;
}

int cairn_value_get_bool(const cairn_value *value)
{
    return value && value->kind == CAIRN_BOOLEAN ? value->as.truth : 0;
}

int64_t cairn_value_get_int(const cairn_value *value)
{
    return value && value->kind == CAIRN_INT ? value->as.integer : 0;
}

double cairn_value_get_float(const cairn_value *value)
{
    if (!value) return 0;
    if (value->kind == CAIRN_INT) return (double)value->as.integer;
    return value->kind == CAIRN_FLOAT ? value->as.real : 0;
}

const char *cairn_value_get_data(const cairn_value *value, size_t *ret_size_bytes)
{
    if (!value || !holds_data(value)) return NULL;
    if (ret_size_bytes) *ret_size_bytes = value->as.data.size;
    return value->as.data.bytes;
}

size_t cairn_value_count(const cairn_value *value)
{
    return value && holds_items(value) ? value->as.list.count : 0;
}

const cairn_value *cairn_value_at(const cairn_value *value, size_t index)
{
    return index < cairn_value_count(value) ? value->as.list.items[index] : NULL;
}

const cairn_value *cairn_value_key_at(const cairn_value *value, size_t index)
{
    if (!value || value->kind != CAIRN_MAP || index >= value->as.list.count) return NULL;
    return value->as.list.keys[index];
}

const cairn_value *cairn_value_find(const cairn_value *value, const char *key)
{
    if (!value || !key || value->kind != CAIRN_MAP) return NULL;
    size_t at = find_key(value, key);
    return at < value->as.list.count ? value->as.list.items[at] : NULL;
}

static int copy_items(cairn_value *copy, const cairn_value *value)
{
    for (size_t i = 0; i < value->as.list.count; i++) {
        cairn_value *item = cn_value_copy(value->as.list.items[i]);
        if (!item) return CAIRN_E_NOMEM;
        int code = value->kind == CAIRN_MAP ? cairn_value_set_pair(copy, cn_value_copy(value->as.list.keys[i]), item)
                                            : cairn_value_append(copy, item);
        if (code) return code;
    }
    return CAIRN_OK;
}

cairn_value *cn_value_copy(const cairn_value *value)
{
    cairn_value *copy = holds_data(value) ? data_new(value->kind, value->as.data.bytes, value->as.data.size) : value_new(value->kind);
    if (!copy) return NULL;
    int code = cairn_value_set_tag(copy, value->tag);
    if (!code && holds_items(value))
        code = copy_items(copy, value);
    else if (!code && !holds_data(value))
        copy->as = value->as;
    if (!code) return copy;
    cairn_value_free(copy);
    return NULL;
}
