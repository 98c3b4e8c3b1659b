/* A table from byte strings to indices, for finding duplicates and looking names up: open addressing, keyed by a random seed so that
 * names chosen by an attacker do not collide. Keys are not copied. */
#ifndef CN_BASE_HASH_H
#define CN_BASE_HASH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

struct cn_hash_slot {
    const char *key;
    size_t size;
    uint64_t hash;
    uint64_t value;
};

struct cn_hash {
    struct cn_hash_slot *slots; /* NULL while empty */
    uint64_t capacity, count, seed;
    const struct cn_alloc *alloc;
};

void cn_hash_init(struct cn_hash *hash, const struct cn_alloc *alloc, uint64_t seed);
void cn_hash_done(struct cn_hash *hash);
/* The hash itself, for tables of another form. Never 0. */
uint64_t cn_hash_bytes(uint64_t seed, const char *key, size_t size);
/* Room for so many more: adding them does not fail. CAIRN_E_NOMEM. */
int cn_hash_reserve(struct cn_hash *hash, uint64_t more);
/* 0; 1: the key was there already (its value is kept, *ret_value set if not NULL); CAIRN_E_NOMEM. */
int cn_hash_add(struct cn_hash *hash, const char *key, size_t size, uint64_t value, uint64_t *ret_value);
bool cn_hash_find(const struct cn_hash *hash, const char *key, size_t size, uint64_t *ret_value);

#endif
