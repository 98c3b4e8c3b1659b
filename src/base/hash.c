/* A table from byte strings to indices (see hash.h): open addressing, at most half full. The hash is seeded 64-bit mixing with two
 * multiplications a word; an attacker who does not know the seed cannot aim at one slot. */
#include "base/hash.h"

#include <string.h>

#include "base/check.h"
#include "cairn.h"

void cn_hash_init(struct cn_hash *hash, const struct cn_alloc *alloc, uint64_t seed)
{
    *hash = (struct cn_hash){ .alloc = alloc, .seed = seed };
}

void cn_hash_done(struct cn_hash *hash)
{
    if (hash->slots) cn_release(hash->alloc, hash->slots);
    hash->slots = NULL;
    hash->capacity = hash->count = 0;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    __uint128_t product = (__uint128_t)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t cn_hash_bytes(uint64_t seed, const char *key, size_t size)
{
    uint64_t state = fold(seed ^ UINT64_C(0x9e3779b97f4a7c15), (uint64_t)size ^ UINT64_C(0xe7037ed1a0b428db));
    while (size) {
        uint64_t word = 0;
        size_t take = size < 8 ? size : 8;
        memcpy(&word, key, take);
        state = fold(state ^ word ^ UINT64_C(0x8ebc6af09c88c6e3), seed | 1) + UINT64_C(0x589965cc75374cc3);
        state = fold(state, UINT64_C(0x1d8e4e27c47d124f) ^ seed);
        key += take;
        size -= take;
    }
    return state ? state : 1;
}

static struct cn_hash_slot *find_slot(const struct cn_hash *hash, const char *key, size_t size, uint64_t value)
{
    for (uint64_t at = value & (hash->capacity - 1);; at = (at + 1) & (hash->capacity - 1)) {
        struct cn_hash_slot *slot = &hash->slots[at];
        if (!slot->hash || (slot->hash == value && slot->size == size && !memcmp(slot->key, key, size))) return slot;
    }
}

static int grow(struct cn_hash *hash, uint64_t capacity)
{
    struct cn_hash larger = *hash;
    larger.capacity = capacity;
    larger.slots = cn_resize(hash->alloc, NULL, capacity * sizeof *larger.slots);
    if (!larger.slots) return CAIRN_E_NOMEM;
    memset(larger.slots, 0, capacity * sizeof *larger.slots);
    for (uint64_t i = 0; i < hash->capacity; i++) {
        const struct cn_hash_slot *slot = &hash->slots[i];
        if (slot->hash) *find_slot(&larger, slot->key, slot->size, slot->hash) = *slot;
    }
    if (hash->slots) cn_release(hash->alloc, hash->slots);
    *hash = larger;
    return 0;
}

int cn_hash_reserve(struct cn_hash *hash, uint64_t more)
{
    uint64_t capacity = hash->capacity ? hash->capacity : 16, count;
    if (!cn_add(hash->count, more, &count) || count > SIZE_MAX / 4 / sizeof *hash->slots) return CAIRN_E_NOMEM;
    while (count * 2 > capacity) capacity *= 2;
    return capacity == hash->capacity ? 0 : grow(hash, capacity);
}

int cn_hash_add(struct cn_hash *hash, const char *key, size_t size, uint64_t value, uint64_t *ret_value)
{
    if (cn_hash_reserve(hash, 1)) return CAIRN_E_NOMEM;
    uint64_t code = cn_hash_bytes(hash->seed, key, size);
    struct cn_hash_slot *slot = find_slot(hash, key, size, code);
    if (slot->hash) {
        if (ret_value) *ret_value = slot->value;
        return 1;
    }
    *slot = (struct cn_hash_slot){ key, size, code, value };
    hash->count++;
    return 0;
}

bool cn_hash_find(const struct cn_hash *hash, const char *key, size_t size, uint64_t *ret_value)
{
    if (!hash->count) return false;
    const struct cn_hash_slot *slot = find_slot(hash, key, size, cn_hash_bytes(hash->seed, key, size));
    if (!slot->hash) return false;
    if (ret_value) *ret_value = slot->value;
    return true;
}
