/* A bounded, growing run of bytes. Once an append failed (memory or limit) it stays failed and takes no more, so that a writer
 * checks once, at its end. */
#ifndef CN_BASE_BUF_H
#define CN_BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/error.h"

struct cn_buf {
    const struct cn_alloc *alloc;
    char *data; /* NUL-terminated besides; NULL while empty */
    size_t size, capacity;
    uint64_t limit_bytes;
    bool failed;     /* for want of memory, or over the limit */
    bool over_limit; /* the latter */
};

void cn_buf_init(struct cn_buf *buf, const struct cn_alloc *alloc, uint64_t limit_bytes);
void cn_buf_done(struct cn_buf *buf);
void cn_buf_cut(struct cn_buf *buf, size_t size); /* back to what it was at that size: not failed, memory kept */
/* Longer by size bytes, which the caller writes at once, where this points to. NULL: the buffer has failed. */
char *cn_buf_extend(struct cn_buf *buf, size_t size);
void cn_buf_append(struct cn_buf *buf, const void *bytes, size_t size);
void cn_buf_text(struct cn_buf *buf, const char *text);
void cn_buf_format(struct cn_buf *buf, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cn_buf_fill(struct cn_buf *buf, char byte, size_t count);
/* Ends a buffer whose alloc is the pool's: what it holds is the pool's from now on, not copied. NULL: the buffer has failed, or the pool cannot. */
void *cn_buf_keep(struct cn_buf *buf, struct cn_pool *pool);
/* A part that was to be appended could not be made. over_limit: it alone is larger than the whole may be. */
void cn_buf_fail(struct cn_buf *buf, bool over_limit);
/* The writer's one check, at its end. LIMIT: more than its limit; NOMEM. what names the whole: "manifest.json". */
int cn_buf_check(const struct cn_buf *buf, const char *what, cairn_error *err);

#define cn_auto_buf __attribute__((cleanup(cn_buf_done)))

#endif
