/* Plain values of a checkpoint that nothing is bound to: a restore leaves them out, and says so. */
#ifndef CN_SNAPSHOT_UNBOUND_H
#define CN_SNAPSHOT_UNBOUND_H

#include "base/buf.h"
#include "snapshot/state.h"
#include "snapshot/value.h"

struct cn_unbound {
    const char *item, *name;
};

/* Appends a struct cn_unbound for each to names, text from pool. items: what state.json holds; NULL: nothing. A tree without tensors in which nothing
 * is bound is one. */
int cn_unbound_find(const cairn_state *state, const cairn_value *items, struct cn_pool *pool, struct cn_buf *names, cairn_error *err);

#endif
