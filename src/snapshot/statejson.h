/* state.json: the tree of every item, tensors as references, aliases as second references (docs/FORMAT.md, "state.json"). */
#ifndef CN_SNAPSHOT_STATEJSON_H
#define CN_SNAPSHOT_STATEJSON_H

#include "base/buf.h"
#include "snapshot/state.h"
#include "snapshot/value.h"

/* The sealed file for a state, values as they are now. */
int cn_statejson_write(const cairn_state *state, struct cn_buf *buf, cairn_error *err);
/* A map from item to tree; TENSOR_REF where tensors are. cairn_value_free it. */
int cn_statejson_read(const void *data, size_t size, cairn_value **ret_items, cairn_error *err);
/* The value at a leaf's name in an item's tree: model: one key; else path parts. NULL. */
const cairn_value *cn_statejson_find(const cairn_value *items, const char *item, const char *name);

#endif
