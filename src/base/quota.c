/* A quota (see quota.h). Each piece of memory is preceded by its size, so that giving back is counted, too. */
#include "base/quota.h"

#include <stdalign.h>

struct piece {
    alignas(16) uint64_t size_bytes; /* this struct included */
};

static void *resize(void *user, void *memory, size_t size)
{
    struct cn_quota *quota = user;
    struct piece *piece = memory ? (struct piece *)memory - 1 : NULL;
    uint64_t before = piece ? piece->size_bytes : 0, after;
    if (__builtin_add_overflow((uint64_t)size, sizeof *piece, &after) || after > quota->limit_bytes - (quota->used_bytes - before)) {
        quota->exceeded = true;
        return NULL;
    }
    piece = cn_resize(quota->under, piece, (size_t)after);
    if (!piece) return NULL;
    quota->used_bytes += after - before;
    piece->size_bytes = after;
    return piece + 1;
}

static void release(void *user, void *memory)
{
    struct cn_quota *quota = user;
    if (!memory) return;
    struct piece *piece = (struct piece *)memory - 1;
    quota->used_bytes -= piece->size_bytes;
    cn_release(quota->under, piece);
}

void cn_quota_init(struct cn_quota *quota, const struct cn_alloc *under, uint64_t limit_bytes)
{
    *quota = (struct cn_quota){ .alloc = { resize, release, quota }, .under = under, .limit_bytes = limit_bytes };
}
