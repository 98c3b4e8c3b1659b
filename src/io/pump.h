/* The pump: moves numbered pieces of work through two stages.
 *
 *     produce (staging tasks: fill a slot)  -->  consume (writer tasks: digest, write)
 *
 * Pieces are independent: no stage waits for another piece, so an arena of few slots cannot deadlock. With threads == 1 the caller's
 * task does both, piece by piece. Without produce (verify, restore) the consumers take piece numbers directly, each with a slot of
 * its own for the whole job. The first failure stops everything and is returned; so does cancel. Locks are held to hand a piece
 * over (one per 4 MiB), never while bytes are copied, digested or written; nothing is allocated after the tasks have started.
 *
 * Where all pieces fit into the arena at once each has its place there and none waits for a slot. Then the first stage may also have the machine to
 * itself: the second begins when the first has ended. */
#ifndef CN_IO_PUMP_H
#define CN_IO_PUMP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "io/arena.h"

/* slot has cn_arena_slot_bytes(arena). Return 0 or a code with err filled. Called by several tasks at once, each piece once. */
typedef int (*cn_pump_fn)(void *user, uint64_t piece, unsigned char *slot, cairn_error *err);

struct cn_pump {
    uint64_t pieces;
    cn_pump_fn produce; /* may be NULL */
    cn_pump_fn consume;
    int (*staged)(void *user, cairn_error *err); /* called once, when the last piece has been produced: a failure stops all; may be NULL */
    int (*begin)(void *user,
                 cairn_error *err); /* called once, before the first piece is consumed and, staging first, after staged; may be NULL */
    void *user;
    struct cn_arena *arena;
    const uint64_t *places;    /* of each piece, its offset in the arena; NULL: slots are taken and given back */
    bool behind;               /* writers let others go first: nobody waits for them, and training goes on */
    bool stage_first;          /* with places: nothing is consumed before all is produced */
    uint32_t threads;          /* writers; 1: the caller's task does it all */
    uint32_t stagers;          /* staging tasks when threads > 1: at least 1 */
    const atomic_bool *cancel; /* may be NULL; looked at between pieces */
    void (*tick)(void *user);  /* about ten times a second, on the caller's task; may be NULL */
};

/* Runs all pieces; returns when every task has ended. CANCELLED, or the first failure. */
int cn_pump_run(const struct cn_pump *pump, cairn_error *err);

#endif
