/* The pool (see alloc.h): memory for one parsed document, in chunks that double up to 1 MiB. It never gives back before its end. */
#include "base/alloc.h"

#include <stdalign.h>
#include <string.h>

#include "base/check.h"

struct cn_pool_chunk {
    struct cn_pool_chunk *next;
    void *kept; /* memory that was taken elsewhere; NULL: none */
    size_t used, size;
    alignas(16) char bytes[];
};

enum { FIRST_CHUNK_BYTES = 4096, LARGEST_CHUNK_BYTES = 1 << 20, ALIGNMENT = 16 };

void cn_pool_init(struct cn_pool *pool, const struct cn_alloc *alloc, uint64_t limit_bytes)
{
    *pool = (struct cn_pool){ .alloc = alloc, .limit_bytes = limit_bytes };
}

void cn_pool_done(struct cn_pool *pool)
{
    while (pool->chunks) {
        struct cn_pool_chunk *next = pool->chunks->next;
        cn_release(pool->alloc, pool->chunks->kept);
        cn_release(pool->alloc, pool->chunks);
        pool->chunks = next;
    }
    pool->used_bytes = 0;
}

/* behind: the open chunk stays open. */
static void link(struct cn_pool *pool, struct cn_pool_chunk *chunk, bool behind)
{
    struct cn_pool_chunk **place = behind && pool->chunks ? &pool->chunks->next : &pool->chunks;
    chunk->next = *place;
    *place = chunk;
}

/* A request larger than a chunk gets one of its own, put behind the open one so that the open one's rest is not lost. */
static struct cn_pool_chunk *add_chunk(struct cn_pool *pool, size_t size)
{
    size_t wanted = pool->chunks ? pool->chunks->size * 2 : 0;
    if (wanted < FIRST_CHUNK_BYTES) wanted = FIRST_CHUNK_BYTES;
    if (wanted > LARGEST_CHUNK_BYTES) wanted = LARGEST_CHUNK_BYTES;
    bool own = size > wanted;
    if (own) wanted = size;
    uint64_t total = wanted + sizeof(struct cn_pool_chunk);
    if (total > pool->limit_bytes - pool->used_bytes) {
        wanted = size;
        total = wanted + sizeof(struct cn_pool_chunk);
        if (total > pool->limit_bytes - pool->used_bytes) {
            pool->over_limit = true;
            return NULL;
        }
    }
    struct cn_pool_chunk *chunk = cn_resize(pool->alloc, NULL, total);
    if (!chunk) return NULL;
    pool->used_bytes += total;
    *chunk = (struct cn_pool_chunk){ .size = wanted };
    link(pool, chunk, own);
    return chunk;
}

/* As it comes. */
static void *take(struct cn_pool *pool, size_t rounded)
{
    struct cn_pool_chunk *chunk = pool->chunks;
    if (!chunk || chunk->size - chunk->used < rounded) chunk = add_chunk(pool, rounded);
    if (!chunk) return NULL;
    void *memory = chunk->bytes + chunk->used;
    chunk->used += rounded;
    return memory;
}

void *cn_pool_take(struct cn_pool *pool, size_t size)
{
    if (size > SIZE_MAX / 2) return NULL;
    size_t rounded = (size_t)cn_align_up(size ? size : 1, ALIGNMENT);
    void *memory = take(pool, rounded);
    return memory ? memset(memory, 0, rounded) : NULL;
}

void *cn_pool_take_array(struct cn_pool *pool, uint64_t count, size_t item_size)
{
    uint64_t bytes;
    if (!cn_mul(count, item_size, &bytes) || bytes > SIZE_MAX / 2) return NULL;
    return cn_pool_take(pool, (size_t)bytes);
}

char *cn_pool_copy(struct cn_pool *pool, const void *bytes, size_t size)
{
    if (size > SIZE_MAX / 2) return NULL;
    char *copy = take(pool, (size_t)cn_align_up(size + 1, ALIGNMENT));
    if (!copy) return NULL;
    if (size) memcpy(copy, bytes, size);
    copy[size] = 0;
    return copy;
}

char *cn_pool_text(struct cn_pool *pool, const char *text)
{
    return cn_pool_copy(pool, text, strlen(text));
}

bool cn_pool_keep(struct cn_pool *pool, void *memory, size_t size)
{
    struct cn_pool_chunk *chunk = NULL;
    uint64_t total;
    if (cn_add(size, sizeof *chunk, &total) && total <= pool->limit_bytes - pool->used_bytes)
        chunk = cn_resize(pool->alloc, NULL, sizeof *chunk);
    else
        pool->over_limit = true;
    if (!chunk) return false;
    pool->used_bytes += total;
    *chunk = (struct cn_pool_chunk){ .kept = memory };
    link(pool, chunk, true);
    return true;
}
