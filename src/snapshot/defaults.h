/* What is chosen where the caller does not say: tasks, shards, and the memory between them. Every job asks here. */
#ifndef CN_SNAPSHOT_DEFAULTS_H
#define CN_SNAPSHOT_DEFAULTS_H

#include <stdint.h>

#include "base/limits.h"

#define CN_DEFAULT_SHARD_BYTES UINT64_C(5000000000)

enum cn_work {
    CN_WORK_BEHIND,    /* the caller computes beside it: 4 tasks, for the disk wants to have something to do while others digest */
    CN_WORK_WAITED_FOR /* nobody computes beside it: 8 */
};
uint32_t cn_defaults_threads(uint32_t wish, enum cn_work work);
/* How many slots of an arena: those wanted, within limit_bytes (0: half of the free memory), but never fewer than work needs. */
uint32_t cn_defaults_slots(uint64_t slot_bytes, uint64_t wanted, uint64_t limit_bytes);

/* A slot for pieces of so many bytes: a piece reaches over both of its ends by less than a page. */
static inline uint64_t cn_defaults_slot_bytes(uint64_t piece_bytes)
{
    return piece_bytes + 2 * CN_PAGE_BYTES;
}

#endif
