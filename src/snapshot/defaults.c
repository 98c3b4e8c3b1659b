/* Defaults (see defaults.h). */
#include "snapshot/defaults.h"

#include "base/check.h"
#include "os/os.h"

enum { MAX_SLOTS = 1 << 20 };

uint32_t cn_defaults_threads(uint32_t wish, enum cn_work work)
{
    enum { BEHIND = 4, WAITED_FOR = 8 };
    if (wish) return wish;
    return work == CN_WORK_WAITED_FOR ? WAITED_FOR : BEHIND;
}

uint32_t cn_defaults_slots(uint64_t slot_bytes, uint64_t wanted, uint64_t limit_bytes)
{
    uint64_t most = (limit_bytes ? limit_bytes : cn_os_free_memory() / 2) / slot_bytes;
    return (uint32_t)cn_max_u64(CN_MIN_ARENA_PIECES, cn_min_u64(cn_min_u64(wanted, most), MAX_SLOTS));
}
