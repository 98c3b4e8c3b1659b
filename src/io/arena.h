/* The arena: a fixed number of equal, page-aligned slots that bytes wait in between staging and writing. Bounded memory is its only
 * purpose: who finds none free waits. Shared between tasks; its lock is held only to take or give a slot, never while bytes move. */
#ifndef CN_IO_ARENA_H
#define CN_IO_ARENA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct cn_arena;

/* slot_bytes is rounded up to whole pages; slots >= CN_MIN_ARENA_PIECES. Memory is touched before the call returns. */
int cn_arena_new(uint64_t slot_bytes, uint32_t slots, struct cn_arena **ret_arena, cairn_error *err);
/* The same, not touched: where nobody waits for a copy, and whoever takes a slot touches it beside the others. */
int cn_arena_new_cold(uint64_t slot_bytes, uint32_t slots, struct cn_arena **ret_arena, cairn_error *err);
void cn_arena_free(struct cn_arena *arena); /* takes NULL */
uint64_t cn_arena_slot_bytes(const struct cn_arena *arena);
uint32_t cn_arena_slots(const struct cn_arena *arena);
uint64_t cn_arena_bytes(const struct cn_arena *arena);
/* The memory at an offset, for who divides the arena otherwise while nobody takes slots. */
unsigned char *cn_arena_at(const struct cn_arena *arena, uint64_t offset);

/* A free slot; waits for one. NULL: the arena was stopped. */
unsigned char *cn_arena_take(struct cn_arena *arena);
void cn_arena_give(struct cn_arena *arena, unsigned char *slot);
void cn_arena_stop(struct cn_arena *arena);  /* wakes all who wait; cn_arena_take fails from now on */
void cn_arena_start(struct cn_arena *arena); /* all slots free again, for the next job */

#endif
