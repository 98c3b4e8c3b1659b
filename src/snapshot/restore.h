/* Restoring in place: a checkpoint's bytes into the memory a state binds. First everything is matched - names, dtypes, shapes, kinds of values -
 * and nothing is touched; then blocks are read, checked and stored; plain values come last, when nothing can fail any more. */
#ifndef CN_SNAPSHOT_RESTORE_H
#define CN_SNAPSHOT_RESTORE_H

#include <stdatomic.h>

#include "io/arena.h"
#include "snapshot/checkpoint.h"
#include "snapshot/pieces.h"
#include "snapshot/state.h"

struct cn_restore {
    /* set by the caller before prepare */
    cairn_state *state;
    const cairn_checkpoint *checkpoint;
    const cairn_restore_options *options;
    struct cn_arena *arena; /* slots of CN_BLOCK_BYTES and two pages */
    uint32_t threads;
    const atomic_bool *cancel;
    atomic_uint_fast64_t *read_bytes, *stored_bytes; /* counted on while run works; these four may be NULL */
    void (*tick)(void *user);                        /* about ten times a second */
    void *user;
    /* the job's own */
    const struct cn_leaf **leaves; /* per row of the table: where it goes, or NULL */
    unsigned char *outcomes;       /* cairn_outcome per leaf of the state */
    cairn_value **values;          /* per leaf: the tree to set, made before anything is touched */
    struct cn_pieces pieces;
    char *unbound_room; /* for the name of a value that nothing is bound to */
    size_t unbound_room_bytes;
    atomic_bool touched; /* a byte was stored, or may have been: a failure now is TORN_STATE */
    atomic_bool refused; /* a store callback failed: the fault is not the checkpoint's */
};

/* Asks the caller's function, if there is one, for the state to fill; else state stays. */
int cn_restore_choose(const cairn_restore_options *options, const cairn_checkpoint *checkpoint, cairn_state **state, cairn_error *err);
int cn_restore_prepare(struct cn_restore *restore, cairn_error *err); /* MISMATCH; nothing was touched */
int cn_restore_run(struct cn_restore *restore, cairn_error *err);
void cn_restore_report(const struct cn_restore *restore, cairn_restore_report *report); /* counts and the leaf callback */
void cn_restore_free(struct cn_restore *restore);                                       /* takes a zeroed one */

#endif
