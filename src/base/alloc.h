/* Memory as base sees it: an interface that os fills (cn_os_alloc) and a test may replace. And the pool, which holds everything
 * that one parsed document needs: taken bit by bit, bounded, freed at once. */
#ifndef CN_BASE_ALLOC_H
#define CN_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cn_alloc {
    void *(*resize)(void *user, void *memory, size_t size); /* memory NULL: new; returns NULL when out of memory */
    void (*release)(void *user, void *memory);              /* takes NULL */
    void *user;
};

static inline void *cn_resize(const struct cn_alloc *alloc, void *memory, size_t size)
{
    return alloc->resize(alloc->user, memory, size ? size : 1);
}

static inline void cn_release(const struct cn_alloc *alloc, void *memory)
{
    alloc->release(alloc->user, memory);
}

struct cn_pool_chunk;

struct cn_pool {
    const struct cn_alloc *alloc;
    struct cn_pool_chunk *chunks;
    uint64_t used_bytes; /* taken from alloc so far */
    uint64_t limit_bytes;
    bool over_limit; /* a request failed because of limit_bytes, not for want of memory */
};

/* limit_bytes bounds what the pool ever asks of alloc. */
void cn_pool_init(struct cn_pool *pool, const struct cn_alloc *alloc, uint64_t limit_bytes);
void cn_pool_done(struct cn_pool *pool); /* gives everything back; the pool may be used again */
/* Memory aligned for any type, zeroed. NULL: out of memory, or over the limit. */
void *cn_pool_take(struct cn_pool *pool, size_t size);
void *cn_pool_take_array(struct cn_pool *pool, uint64_t count, size_t item_size); /* checked product */
/* A NUL-terminated copy of size bytes. */
char *cn_pool_copy(struct cn_pool *pool, const void *bytes, size_t size);
char *cn_pool_text(struct cn_pool *pool, const char *text);
/* Memory of size bytes that was taken from the pool's alloc is the pool's from now on. false: over the limit or out of memory; it stays the caller's. */
bool cn_pool_keep(struct cn_pool *pool, void *memory, size_t size);

#endif
