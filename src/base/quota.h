/* A quota: an allocator that hands out at most so many bytes at a time. What reads untrusted files takes all its memory through one, so that
 * no file, however it is made, costs more than was agreed. One task. */
#ifndef CN_BASE_QUOTA_H
#define CN_BASE_QUOTA_H

#include <stdbool.h>

#include "base/alloc.h"

struct cn_quota {
    struct cn_alloc alloc; /* hand this out; it points back at the quota, which must not move */
    const struct cn_alloc *under;
    uint64_t used_bytes, limit_bytes;
    bool exceeded; /* a request failed because of limit_bytes, not for want of memory */
};

void cn_quota_init(struct cn_quota *quota, const struct cn_alloc *under, uint64_t limit_bytes);

#endif
