/* Whether a value can be written as JSON and read back (see valuejson.h). It refuses exactly what the reader would, and what JSON cannot carry as it is:
 * a checkpoint that cannot be read is none. depth counts the levels of JSON that are open around a value, as the reader counts them; it is checked before
 * anything inside is looked at, so recursion is bounded. */
#include "snapshot/valuejson.h"

#include <math.h>
#include <string.h>

#include "base/hash.h"
#include "base/utf8.h"
#include "os/os.h"

enum { TUPLE_LEVELS = 2, PAIR_LEVELS = 3 }; /* {"$tuple":[ and {"$map":[[ */

bool cn_valuejson_is_object(const cairn_value *map)
{
    for (size_t i = 0; i < map->as.list.count; i++) {
        const cairn_value *key = map->as.list.keys[i];
        if (key->kind != CAIRN_STRING || key->tag || (key->as.data.size && key->as.data.bytes[0] == '$')) return false;
    }
    return true;
}

static int check_text(const cairn_value *text, cairn_error *err)
{
    struct cn_shown shown;
    if (cn_utf8_check(text->as.data.bytes, text->as.data.size) == text->as.data.size) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_USAGE, "the text \"%s\" is not UTF-8: give it as bytes",
                        cn_show(&shown, text->as.data.bytes, text->as.data.size));
}

/* Text as a key stands in a map once; other kinds of keys are the caller's. */
static int check_keys(const cairn_value *map, cairn_error *err)
{
    struct cn_hash seen;
    struct cn_shown shown;
    uint64_t seed = 0;
    if (map->as.list.count < 2) return CAIRN_OK;
    int rc = cn_os_random(&seed, sizeof seed), code = rc ? cn_error_errno(err, -rc, "no randomness from the system") : CAIRN_OK;
    cn_hash_init(&seen, cn_os_alloc(), seed);
    for (size_t i = 0; i < map->as.list.count && !code; i++) {
        const cairn_value *key = map->as.list.keys[i];
        if (key->kind != CAIRN_STRING || key->tag) continue;
        code = cn_hash_add(&seen, key->as.data.bytes, key->as.data.size, 0, NULL);
        if (code == 1)
            code = cn_error_set(err, CAIRN_E_USAGE, "a map holds the key \"%s\" twice",
                                cn_show(&shown, key->as.data.bytes, key->as.data.size));
        else if (code)
            cn_error_set(err, code, "no memory to look through a map");
    }
    cn_hash_done(&seen);
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
    case CAIRN_MAP: return tagged + (cn_valuejson_is_object(value) ? 1 : PAIR_LEVELS);
    default: return tagged;
    }
}

static int check_items(const cairn_value *value, int depth, cairn_error *err)
{
    int code = value->kind == CAIRN_MAP ? check_keys(value, err) : CAIRN_OK;
    for (size_t i = 0; i < value->as.list.count && !code; i++) {
        if (value->kind == CAIRN_MAP) code = cn_valuejson_check(value->as.list.keys[i], depth, err);
        if (!code) code = cn_valuejson_check(value->as.list.items[i], depth, err);
    }
    return code;
}

int cn_valuejson_check(const cairn_value *value, int depth, cairn_error *err)
{
    struct cn_shown shown;
    depth += levels_of(value);
    if (depth > CN_MAX_JSON_DEPTH)
        return cn_error_set(err, CAIRN_E_LIMIT, "it is nested too deeply: parts of the name and levels of the value together, at most %d",
                            CN_MAX_VALUE_LEVELS);
    if (value->tag && cn_utf8_check(value->tag, strlen(value->tag)) != strlen(value->tag))
        return cn_error_set(err, CAIRN_E_USAGE, "the type tag \"%s\" is not UTF-8", cn_show_text(&shown, value->tag));
    switch (value->kind) {
    case CAIRN_STRING:
    case CAIRN_BIG_INT:
    case CAIRN_TENSOR_REF: return check_text(value, err);
    case CAIRN_LIST:
    case CAIRN_TUPLE:
    case CAIRN_MAP: return check_items(value, depth, err);
    default: return CAIRN_OK;
    }
}
