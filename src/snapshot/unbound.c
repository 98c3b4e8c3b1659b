/* Values that nothing is bound to (see unbound.h): a walk through the items' trees beside the names of what is bound. It is done twice: to measure the
 * longest name, and to tell them. Depth is the reader's bound. It takes no memory and time in proportion to the tree, however long its names are. */
#include "snapshot/unbound.h"

#include <string.h>

#include "base/check.h"
#include "base/limits.h"
#include "store/layout.h"

/* What is longer is no key of anything bound, nor of a folder of it. */
enum { LONGEST_KEY = CN_MAX_ITEM_BYTES + 1 + CN_MAX_NAME_BYTES };

struct walk {
    const cairn_state *state;
    const cairn_value *item;
    char *key; /* of where we are, as far as it fits into capacity, and a NUL */
    size_t size, capacity, longest;
    cn_unbound_fn tell; /* NULL: measure */
    void *user;
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

static void append(struct walk *walk, const char *bytes, size_t size)
{
    size_t room = walk->size < walk->capacity ? walk->capacity - walk->size : 0;
    memcpy(walk->key + cn_min_u64(walk->size, walk->capacity), bytes, cn_min_u64(size, room));
    walk->size += size;
}

/* A part as a name holds it: '~' and '/' are escaped, but for item model. */
static void append_part(struct walk *walk, const cairn_value *part)
{
    bool as_is = !strcmp(walk->item->as.data.bytes, CN_ITEM_MODEL);
    const char *bytes = part->as.data.bytes;
    size_t size = part->as.data.size, done = 0;
    append(walk, "/", 1);
    for (size_t i = 0; i < size && !as_is; i++) {
        if (bytes[i] != '/' && bytes[i] != '~') continue;
        append(walk, bytes + done, i - done);
        append(walk, bytes[i] == '/' ? "~1" : "~0", 2);
        done = i + 1;
    }
    append(walk, bytes + done, size - done);
}

static void tell_here(struct walk *walk)
{
    walk->longest = (size_t)cn_max_u64(walk->longest, walk->size);
    walk->key[cn_min_u64(walk->size, walk->capacity)] = 0;
    if (walk->tell) walk->tell(walk->user, walk->item->as.data.bytes, walk->key + walk->item->as.data.size + 1);
}

static void walk_value(struct walk *walk, const cairn_value *value);

static void walk_parts(struct walk *walk, const cairn_value *folder)
{
    size_t here = walk->size;
    for (size_t i = 0; i < folder->as.list.count; i++) {
        append_part(walk, folder->as.list.keys[i]);
        walk_value(walk, folder->as.list.items[i]);
        walk->size = here;
    }
}

static void walk_value(struct walk *walk, const cairn_value *value)
{
    bool possible = walk->size <= LONGEST_KEY;
    if (possible && cn_hash_find(&walk->state->index, walk->key, walk->size, NULL)) return;
    bool shared = possible && cn_hash_find(&walk->state->folders, walk->key, walk->size, NULL);
    if (is_folder(value) && (shared || has(value, true)))
        walk_parts(walk, value);
    else if (has(value, false))
        tell_here(walk);
}

static void walk_items(struct walk *walk, const cairn_value *items)
{
    for (size_t i = 0; items && i < items->as.list.count; i++) {
        walk->item = items->as.list.keys[i];
        if (walk->item->kind != CAIRN_STRING || !is_folder(items->as.list.items[i])) continue;
        walk->size = 0;
        append(walk, walk->item->as.data.bytes, walk->item->as.data.size);
        walk_parts(walk, items->as.list.items[i]);
    }
}

size_t cn_unbound_room_bytes(const cairn_state *state, const cairn_value *items)
{
    char key[LONGEST_KEY + 1];
    struct walk walk = { .state = state, .key = key, .capacity = LONGEST_KEY };
    walk_items(&walk, items);
    return (size_t)cn_max_u64(walk.longest, LONGEST_KEY) + 1;
}

void cn_unbound_tell(const cairn_state *state, const cairn_value *items, char *room, size_t room_bytes, cn_unbound_fn tell, void *user)
{
    struct walk walk = { .state = state, .capacity = room_bytes - 1, .tell = tell, .user = user };
    walk.key = room;
    walk_items(&walk, items);
}
