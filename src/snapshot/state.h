/* The bound state: leaves under items, in the order they were bound. One description serves save and restore. */
#ifndef CN_SNAPSHOT_STATE_H
#define CN_SNAPSHOT_STATE_H

#include <stdatomic.h>

#include "base/error.h"
#include "base/hash.h"

enum cn_leaf_kind { CN_LEAF_TENSOR, CN_LEAF_ALIAS, CN_LEAF_I64, CN_LEAF_U64, CN_LEAF_F64, CN_LEAF_BOOL, CN_LEAF_VALUE };

struct cn_leaf {
    enum cn_leaf_kind kind;
    uint64_t number; /* its place in the state */
    uint32_t item;   /* index into items */
    char *name;
    size_t name_size;
    char *key; /* "item/name", the key in the state's table */
    /* tensors */
    cairn_dtype dtype;
    uint32_t rank;
    uint64_t *shape;
    uint32_t flags;
    uint64_t size_bytes;
    void *address; /* of a tensor or of a scalar */
    cairn_fetch_fn fetch;
    cairn_store_fn store;
    void *user;
    const uint64_t *generation; /* the caller's counter; NULL: none */
    uint64_t target;            /* alias: the leaf it stands for */
    cairn_value *value;         /* VALUE: owned */
};

struct cn_item {
    char *name;
    char *file_stem; /* NULL: the name */
};

/* Shared between the caller, who binds, and a save job, which reads leaves it knows: a leaf and an item stay where they are and as they were
 * bound until the last holder lets go. */
struct cairn_state {
    struct cn_leaf **leaves;
    uint64_t count, capacity;
    struct cn_item *items; /* CN_MAX_ITEMS */
    uint32_t items_count;
    struct cn_hash index;   /* key -> leaf */
    struct cn_hash folders; /* what leaves lie in, outside item model: a key up to the end of a part. None of them is a leaf's key */
    atomic_uint holders;
};

void cn_state_hold(cairn_state *state); /* let go with cairn_state_free */

const struct cn_leaf *cn_state_find(const cairn_state *state, const char *item, const char *name); /* NULL */
static inline const char *cn_state_item(const cairn_state *state, const struct cn_leaf *leaf)
{
    return state->items[leaf->item].name;
}
/* The caller does not change it, and its bytes may not be there yet. */
static inline bool cn_leaf_is_deferred(const struct cn_leaf *leaf)
{
    return leaf->size_bytes && leaf->flags & CAIRN_DEFERRED;
}
/* Moves bytes between the leaf and plain memory, by address or callback. IO with the callback's result. */
int cn_leaf_fetch(const struct cn_leaf *leaf, uint64_t offset, size_t size, void *destination, cairn_error *err);
int cn_leaf_store(const struct cn_leaf *leaf, uint64_t offset, size_t size, const void *source, cairn_error *err);

#endif
