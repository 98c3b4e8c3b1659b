/* Defaults (see defaults.h). */
#include "snapshot/defaults.h"

#include "base/check.h"
#include "os/os.h"

enum { MAX_SLOTS = 1 << 20 };

uint32_t cn_defaults_threads(uint32_t wish, bool alone)
{
    enum { LEAST = 2, MOST = 4 };
    unsigned cores = cn_os_cores();
    return wish ? wish : alone || cores > MOST ? MOST : cores < LEAST ? LEAST : cores;
}

uint32_t cn_defaults_slots(uint64_t slot_bytes, uint64_t wanted, uint64_t limit_bytes)
{
    uint64_t most = (limit_bytes ? limit_bytes : cn_os_free_memory() / 2) / slot_bytes;
    return (uint32_t)cn_max_u64(CN_MIN_ARENA_PIECES, cn_min_u64(cn_min_u64(wanted, most), MAX_SLOTS));
}
