/* Values that nothing is bound to (see unbound.h): a walk through the items' trees beside the names of what is bound. Depth is the reader's bound. */
#include "snapshot/unbound.h"

#include <string.h>

#include "base/limits.h"
#include "os/os.h"
#include "store/layout.h"

struct search {
    const cairn_state *state;
    struct cn_buf path; /* the key of where we are */
    const char *item;
    struct cn_pool *pool;
    struct cn_buf *names;
};

static bool is_folder(const cairn_value *value)
{
    if (value->kind != CAIRN_MAP || value->tag || !value->as.list.count) return false;
    for (size_t i = 0; i < value->as.list.count; i++)
        if (value->as.list.keys[i]->kind != CAIRN_STRING) return false;
    return true;
}

static bool has(const cairn_value *value, bool tensors)
{
    bool inner = value->kind == CAIRN_LIST || value->kind == CAIRN_TUPLE || value->kind == CAIRN_MAP;
    if (!inner || !value->as.list.count) return (value->kind == CAIRN_TENSOR_REF) == tensors;
    for (size_t i = 0; i < value->as.list.count; i++)
        if (has(value->as.list.items[i], tensors)) return true;
    return false;
}

static void append_part(struct search *search, const char *part)
{
    bool as_is = !strcmp(search->item, CN_ITEM_MODEL);
    cn_buf_text(&search->path, "/");
    for (; *part; part++)
        if (as_is || (*part != '/' && *part != '~'))
            cn_buf_append(&search->path, part, 1);
        else
            cn_buf_text(&search->path, *part == '/' ? "~1" : "~0");
}

static int report(struct search *search)
{
    struct cn_unbound unbound = { search->item, cn_pool_text(search->pool, search->path.data + strlen(search->item) + 1) };
    cn_buf_append(search->names, &unbound, sizeof unbound);
    return unbound.name && !search->names->failed ? CAIRN_OK : CAIRN_E_NOMEM;
}

static int walk(struct search *search, const cairn_value *value);

static int walk_parts(struct search *search, const cairn_value *folder)
{
    size_t here = search->path.size;
    int code = CAIRN_OK;
    for (size_t i = 0; i < folder->as.list.count && !code; i++) {
        append_part(search, folder->as.list.keys[i]->as.data.bytes);
        code = search->path.failed ? CAIRN_E_NOMEM : walk(search, folder->as.list.items[i]);
        cn_buf_cut(&search->path, here);
    }
    return code;
}

static int walk(struct search *search, const cairn_value *value)
{
    uint64_t unused;
    if (cn_hash_find(&search->state->index, search->path.data, search->path.size, &unused)) return CAIRN_OK;
    bool shared = cn_hash_find(&search->state->folders, search->path.data, search->path.size, &unused);
    if (is_folder(value) && (shared || has(value, true))) return walk_parts(search, value);
    return has(value, false) ? report(search) : CAIRN_OK;
}

static int walk_item(struct search *search, const cairn_value *key, const cairn_value *tree)
{
    if (key->kind != CAIRN_STRING || !is_folder(tree)) return CAIRN_OK;
    search->item = cn_pool_text(search->pool, key->as.data.bytes);
    if (!search->item) return CAIRN_E_NOMEM;
    cn_buf_cut(&search->path, 0);
    cn_buf_text(&search->path, search->item);
    return search->path.failed ? CAIRN_E_NOMEM : walk_parts(search, tree);
}

int cn_unbound_find(const cairn_state *state, const cairn_value *items, struct cn_pool *pool, struct cn_buf *names, cairn_error *err)
{
    struct search search = { .state = state, .pool = pool, .names = names };
    cn_buf_init(&search.path, cn_os_alloc(), CN_MAX_STATE_JSON_BYTES);
    int code = CAIRN_OK;
    for (size_t i = 0; items && i < items->as.list.count && !code; i++)
        code = walk_item(&search, items->as.list.keys[i], items->as.list.items[i]);
    cn_buf_done(&search.path);
    return code ? cn_error_set(err, code, "no memory to look for values that nothing is bound to") : CAIRN_OK;
}
