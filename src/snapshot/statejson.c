/* state.json: the tree of every item (docs/FORMAT.md, "state.json").
 *
 *     {"cairn":"state","version":1,"items":{"model":{"wte":{"$tensor":"wte"},...},"rng":{"dropout":{"s0":17}}}, seal}
 *
 * Item model is one flat map; every other item is a tree by the parts of its names. Writing builds the tree from the leaves, in the
 * order they were bound; that no two claim the same place, nor one the inside of another, is seen to when they are bound. */
#include "snapshot/statejson.h"

#include <string.h>

#include "base/decimal.h"
#include "base/json.h"
#include "os/os.h"
#include "snapshot/valuejson.h"
#include "store/layout.h"

#define STATE_KIND "state"
#define STATE_VERSION 1

/* A node of the tree: first child and next sibling are 1-based, 0 is none. */
struct node {
    const char *part;
    size_t part_size;
    const struct cn_leaf *leaf; /* NULL: an inner node */
    uint64_t first, last, next;
};

struct tree {
    struct node *nodes; /* [0] is the root */
    uint64_t count, capacity;
    struct cn_hash paths; /* a leaf's key up to the end of a part that is not its last -> node */
};

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory for the values of a state");
}

static bool reserve_node(struct tree *tree)
{
    if (tree->count < tree->capacity) return true;
    uint64_t capacity = tree->capacity ? tree->capacity * 2 : 64;
    struct node *nodes = cn_os_new_array(capacity, sizeof *nodes);
    if (!nodes) return false;
    if (tree->count) memcpy(nodes, tree->nodes, tree->count * sizeof *nodes);
    cn_os_free(tree->nodes);
    tree->nodes = nodes;
    tree->capacity = capacity;
    return true;
}

static int add_node(struct tree *tree, uint64_t parent, struct node node, uint64_t *ret_at, cairn_error *err)
{
    if (!reserve_node(tree)) return no_memory(err);
    uint64_t at = tree->count++;
    tree->nodes[at] = node;
    struct node *above = &tree->nodes[parent];
    if (above->last)
        tree->nodes[above->last].next = at;
    else
        above->first = at;
    above->last = at;
    *ret_at = at;
    return CAIRN_OK;
}

/* The inner node for key[0, end), made under parent if it is new. */
static int enter(struct tree *tree, const struct cn_leaf *leaf, size_t start, size_t end, uint64_t *parent, cairn_error *err)
{
    uint64_t at;
    if (cn_hash_find(&tree->paths, leaf->key, end, &at)) {
        *parent = at;
        return CAIRN_OK;
    }
    int code = add_node(tree, *parent, (struct node){ .part = leaf->key + start, .part_size = end - start }, &at, err);
    if (code) return code;
    if (cn_hash_add(&tree->paths, leaf->key, end, at, NULL)) return no_memory(err);
    *parent = at;
    return CAIRN_OK;
}

static int add_leaf(struct tree *tree, const cairn_state *state, const struct cn_leaf *leaf, cairn_error *err)
{
    const char *item = cn_state_item(state, leaf), *slash;
    size_t start, end = strlen(item);
    uint64_t at = 0;
    int code = enter(tree, leaf, 0, end, &at, err);
    bool flat = !strcmp(item, CN_ITEM_MODEL);
    start = end + 1;
    while (!code && !flat && (slash = strchr(leaf->key + start, '/'))) {
        end = (size_t)(slash - leaf->key);
        code = enter(tree, leaf, start, end, &at, err);
        start = end + 1;
    }
    struct node node = { .part = leaf->key + start, .part_size = strlen(leaf->key + start), .leaf = leaf };
    return code ? code : add_node(tree, at, node, &at, err);
}

static int write_tree(struct cn_json_writer *writer, const struct cn_leaf *leaf, int depth, cairn_error *err)
{
    struct cn_shown shown;
    int code = cn_valuejson_write(writer, leaf->value, depth, err);
    return code ? cn_error_prefix(err, code, "the value '%s'", cn_show_text(&shown, leaf->key)) : CAIRN_OK;
}

/* depth: of the JSON around it. */
static int write_leaf(struct cn_json_writer *writer, const cairn_state *state, const struct cn_leaf *leaf, int depth, cairn_error *err)
{
    cairn_value number = { .kind = CAIRN_INT };
    switch (leaf->kind) {
    case CN_LEAF_TENSOR:
    case CN_LEAF_ALIAS:
        cn_json_begin_object(writer);
        cn_json_key(writer, "$tensor");
        cn_json_put_string(writer, leaf->kind == CN_LEAF_ALIAS ? state->leaves[leaf->target]->name : leaf->name);
        cn_json_end_object(writer);
        return CAIRN_OK;
    case CN_LEAF_I64: number.as.integer = *(const int64_t *)leaf->address; break;
    case CN_LEAF_F64:
        number.kind = CAIRN_FLOAT;
        number.as.real = *(const double *)leaf->address;
        break;
    case CN_LEAF_BOOL:
        number.kind = CAIRN_BOOLEAN;
        number.as.truth = *(const int *)leaf->address != 0;
        break;
    case CN_LEAF_U64: {
        uint64_t value = *(const uint64_t *)leaf->address;
        if (value <= INT64_MAX) {
            number.as.integer = (int64_t)value;
            break;
        }
        char text[CN_DECIMAL_BYTES + 1];
        *cn_decimal_put(text, value) = 0;
        cn_json_begin_object(writer);
        cn_json_key(writer, "$int");
        cn_json_put_string(writer, text);
        cn_json_end_object(writer);
        return CAIRN_OK;
    }
    case CN_LEAF_VALUE: return write_tree(writer, leaf, depth, err);
    }
    return cn_valuejson_write(writer, &number, depth, err);
}

/* A part as it was before it was joined: ~1 is '/', ~0 is '~'. In item model names are taken as they are. */
static int write_key(struct cn_json_writer *writer, const struct node *node, bool as_is, cairn_error *err)
{
    if (as_is) {
        cn_json_key_sized(writer, node->part, node->part_size);
        return CAIRN_OK;
    }
    cn_auto_free char *plain = cn_os_new(node->part_size + 1);
    if (!plain) return no_memory(err);
    size_t size = 0;
    for (size_t i = 0; i < node->part_size; i++) {
        bool escape = node->part[i] == '~';
        i += escape;
        plain[size++] = !escape ? node->part[i] : node->part[i] == '1' ? '/' : '~';
    }
    cn_json_key_sized(writer, plain, size);
    return CAIRN_OK;
}

/* As deep as a name has parts, and the file's own object and its items around them. */
static int write_children(struct cn_json_writer *writer, const cairn_state *state, const struct tree *tree, uint64_t at, int depth,
                          bool as_is, cairn_error *err)
{
    cn_json_begin_object(writer);
    for (uint64_t child = tree->nodes[at].first; child; child = tree->nodes[child].next) {
        const struct node *node = &tree->nodes[child];
        bool model = depth == 0 && node->part_size == strlen(CN_ITEM_MODEL) && !memcmp(node->part, CN_ITEM_MODEL, node->part_size);
        int code = write_key(writer, node, as_is || depth == 0, err);
        if (code) return code;
        code = node->leaf ? write_leaf(writer, state, node->leaf, depth + 2, err)
                          : write_children(writer, state, tree, child, depth + 1, model, err);
        if (code) return code;
    }
    cn_json_end_object(writer);
    return CAIRN_OK;
}

int cn_statejson_write(const cairn_state *state, struct cn_buf *buf, cairn_error *err)
{
    struct tree tree = { 0 };
    cn_hash_init(&tree.paths, cn_os_alloc(), state->index.seed);
    int code = reserve_node(&tree) ? CAIRN_OK : no_memory(err);
    if (!code) tree.nodes[tree.count++] = (struct node){ 0 };
    for (uint64_t i = 0; i < state->count && !code; i++) code = add_leaf(&tree, state, state->leaves[i], err);
    struct cn_json_writer writer = { .buf = buf };
    if (!code) {
        cn_json_begin_object(&writer);
        cn_json_key(&writer, "cairn");
        cn_json_put_string(&writer, STATE_KIND);
        cn_json_key(&writer, "version");
        cn_json_put_u64(&writer, STATE_VERSION);
        cn_json_key(&writer, "items");
        code = write_children(&writer, state, &tree, 0, 0, false, err);
    }
    if (!code) cn_json_seal(&writer);
    cn_hash_done(&tree.paths);
    cn_os_free(tree.nodes);
    return code ? code : cn_buf_check(buf, "the plain values of the state", err);
}

/* -------------------------------------------------------------------------------------------------------------- reading */

static int read_members(struct cn_json *json, cairn_value **ret_items, cairn_error *err)
{
    const char *key, *kind = "";
    bool more;
    uint64_t version = 0;
    int code = cn_json_expect(json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "cairn"))
            code = cn_json_string(json, &kind, NULL, err);
        else if (!strcmp(key, "version"))
            code = cn_json_u64(json, &version, err);
        else if (!strcmp(key, "items") && *ret_items)
            code = cn_json_fail(json, err, "\"items\" is given twice");
        else if (!strcmp(key, "items"))
            code = cn_valuejson_read(json, ret_items, err);
        else
            code = cn_json_skip(json, err);
    }
    if (!code) code = cn_json_expect(json, CN_JSON_END, "the end of the file", err);
    if (code) return code;
    if (strcmp(kind, STATE_KIND)) return cn_error_set(err, CAIRN_E_FORMAT, "not a state file");
    if (version != STATE_VERSION)
        return cn_error_set(err, CAIRN_E_VERSION, "state format version %llu; this program knows %d", (unsigned long long)version,
                            STATE_VERSION);
    if (!*ret_items || (*ret_items)->kind != CAIRN_MAP || (*ret_items)->tag)
        return cn_error_set(err, CAIRN_E_FORMAT, "\"items\" must be an object");
    return CAIRN_OK;
}

int cn_statejson_read(const void *data, size_t size, cairn_value **ret_items, cairn_error *err)
{
    int code = cn_json_check_seal(data, size, err);
    if (code) return code;
    struct cn_pool pool;
    struct cn_json json;
    cairn_value *items = NULL;
    cn_pool_init(&pool, cn_os_alloc(), 2 * (uint64_t)size + (1 << 20));
    cn_json_init(&json, data, size, &pool);
    code = read_members(&json, &items, err);
    cn_pool_done(&pool);
    if (code)
        cairn_value_free(items);
    else
        *ret_items = items;
    return code;
}

/* Looks a part up that may hold ~0 and ~1. */
static const cairn_value *find_part(const cairn_value *map, const char *part, size_t size)
{
    char plain[CN_MAX_NAME_BYTES + 1];
    size_t length = 0;
    for (size_t i = 0; i < size && length < CN_MAX_NAME_BYTES; i++) {
        bool escape = part[i] == '~' && i + 1 < size;
        i += escape;
        plain[length++] = !escape ? part[i] : part[i] == '1' ? '/' : '~';
    }
    plain[length] = 0;
    return cairn_value_find(map, plain);
}

const cairn_value *cn_statejson_find(const cairn_value *items, const char *item, const char *name)
{
    const cairn_value *at = cairn_value_find(items, item);
    if (!at || !strcmp(item, CN_ITEM_MODEL)) return at ? cairn_value_find(at, name) : NULL;
    while (at && *name) {
        size_t size = strcspn(name, "/");
        at = find_part(at, name, size);
        name += size + (name[size] == '/');
    }
    return at;
}
