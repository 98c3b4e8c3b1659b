/* Plain values of a checkpoint that nothing is bound to: a restore leaves them out, and says so. A tree without tensors in which nothing is bound is one.
 * Names are made one at a time, in room that is there before anything is touched: telling them cannot fail, and takes memory for one name. */
#ifndef CN_SNAPSHOT_UNBOUND_H
#define CN_SNAPSHOT_UNBOUND_H

#include "snapshot/state.h"
#include "snapshot/value.h"

/* name is gone when the call returns. */
typedef void (*cn_unbound_fn)(void *user, const char *item, const char *name);

/* items: what state.json holds; NULL: nothing. */
size_t cn_unbound_room_bytes(const cairn_state *state, const cairn_value *items);
void cn_unbound_tell(const cairn_state *state, const cairn_value *items, char *room, size_t room_bytes, cn_unbound_fn tell, void *user);

#endif
