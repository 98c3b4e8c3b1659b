/* The arena (see arena.h): a stack of free slots under one lock. The memory is one mapping. */
#include "io/arena.h"

#include <errno.h>

#include "base/check.h"
#include "base/limits.h"
#include "os/os.h"

struct cn_arena {
    unsigned char *pages;
    uint64_t slot_bytes;
    uint32_t slots, free_count;
    unsigned char **free_slots;
    struct cn_mutex *mutex;
    struct cn_cond *changed;
    bool stopped;
};

int cn_arena_new_cold(uint64_t slot_bytes, uint32_t slots, struct cn_arena **ret_arena, cairn_error *err)
{
    uint64_t bytes = 0;
    slot_bytes = cn_align_up(slot_bytes, CN_PAGE_BYTES);
    if (slots < CN_MIN_ARENA_PIECES || !cn_mul(slot_bytes, slots, &bytes))
        return cn_error_set(err, CAIRN_E_USAGE, "an arena needs at least %d pieces", CN_MIN_ARENA_PIECES);
    struct cn_arena *arena = cn_os_new(sizeof *arena);
    if (!arena) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for the arena");
    arena->slot_bytes = slot_bytes;
    arena->slots = slots;
    arena->free_slots = cn_os_new_array(slots, sizeof *arena->free_slots);
    void *pages = NULL;
    int rc = arena->free_slots ? cn_os_pages_new(bytes, &pages) : -ENOMEM;
    arena->pages = pages;
    if (!rc) rc = cn_mutex_new(&arena->mutex);
    if (!rc) rc = cn_cond_new(&arena->changed);
    if (rc) {
        cn_arena_free(arena);
        return cn_error_set(err, CAIRN_E_NOMEM, "no memory for an arena of %llu bytes; set arena_bytes lower", (unsigned long long)bytes);
    }
    cn_arena_start(arena);
    *ret_arena = arena;
    return CAIRN_OK;
}

void cn_arena_free(struct cn_arena *arena)
{
    if (!arena) return;
    cn_os_pages_free(arena->pages, arena->slot_bytes * arena->slots);
    cn_cond_free(arena->changed);
    cn_mutex_free(arena->mutex);
    cn_os_free(arena->free_slots);
    cn_os_free(arena);
}

int cn_arena_new(uint64_t slot_bytes, uint32_t slots, struct cn_arena **ret_arena, cairn_error *err)
{
    int code = cn_arena_new_cold(slot_bytes, slots, ret_arena, err);
    if (!code) cn_os_pages_touch((*ret_arena)->pages, cn_arena_bytes(*ret_arena));
    return code;
}

uint64_t cn_arena_slot_bytes(const struct cn_arena *arena)
{
    return arena->slot_bytes;
}

uint32_t cn_arena_slots(const struct cn_arena *arena)
{
    return arena->slots;
}

uint64_t cn_arena_bytes(const struct cn_arena *arena)
{
    return arena->slot_bytes * arena->slots;
}

unsigned char *cn_arena_at(const struct cn_arena *arena, uint64_t offset)
{
    return arena->pages + offset;
}

unsigned char *cn_arena_take(struct cn_arena *arena)
{
    unsigned char *slot = NULL;
    cn_mutex_lock(arena->mutex);
    while (!arena->stopped && !arena->free_count) cn_cond_wait(arena->changed, arena->mutex);
    if (!arena->stopped) slot = arena->free_slots[--arena->free_count];
    cn_mutex_unlock(arena->mutex);
    return slot;
}

void cn_arena_give(struct cn_arena *arena, unsigned char *slot)
{
    cn_mutex_lock(arena->mutex);
    arena->free_slots[arena->free_count++] = slot;
    cn_cond_signal_all(arena->changed);
    cn_mutex_unlock(arena->mutex);
}

void cn_arena_stop(struct cn_arena *arena)
{
    cn_mutex_lock(arena->mutex);
    arena->stopped = true;
    cn_cond_signal_all(arena->changed);
    cn_mutex_unlock(arena->mutex);
}

void cn_arena_start(struct cn_arena *arena)
{
    cn_mutex_lock(arena->mutex);
    arena->stopped = false;
    arena->free_count = arena->slots;
    for (uint32_t i = 0; i < arena->slots; i++) arena->free_slots[i] = arena->pages + arena->slot_bytes * i;
    cn_mutex_unlock(arena->mutex);
}
