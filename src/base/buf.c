/* A bounded, growing run of bytes (see buf.h). Once failed it takes nothing more, so that what it holds is never taken for the whole. */
#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void cn_buf_init(struct cn_buf *buf, const struct cn_alloc *alloc, uint64_t limit_bytes)
{
    *buf = (struct cn_buf){ .alloc = alloc, .limit_bytes = limit_bytes };
}

void cn_buf_done(struct cn_buf *buf)
{
    if (buf->alloc && buf->data) cn_release(buf->alloc, buf->data);
    buf->data = NULL;
    buf->size = buf->capacity = 0;
}

void cn_buf_cut(struct cn_buf *buf, size_t size)
{
    buf->size = size;
    buf->failed = buf->over_limit = false;
    if (buf->data) buf->data[size] = 0;
}

void cn_buf_fail(struct cn_buf *buf, bool over_limit)
{
    buf->failed = true;
    buf->over_limit = over_limit;
}

int cn_buf_check(const struct cn_buf *buf, const char *what, cairn_error *err)
{
    if (!buf->failed) return CAIRN_OK;
    if (!buf->over_limit) return cn_error_set(err, CAIRN_E_NOMEM, "%s: no memory for it", what);
    return cn_error_set(err, CAIRN_E_LIMIT, "%s: larger than %llu bytes", what, (unsigned long long)buf->limit_bytes);
}

/* Room for more bytes; else the buffer has failed. */
static bool reserve(struct cn_buf *buf, size_t more)
{
    if (buf->failed) return false;
    buf->failed = buf->over_limit = more > buf->limit_bytes || buf->size > buf->limit_bytes - more;
    size_t needed = buf->size + more + 1, capacity = buf->capacity ? buf->capacity : 256;
    if (buf->failed || needed <= buf->capacity) return !buf->failed;
    while (capacity < needed) capacity *= 2;
    char *data = cn_resize(buf->alloc, buf->data, capacity);
    buf->failed = !data;
    if (!data) return false;
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

char *cn_buf_extend(struct cn_buf *buf, size_t size)
{
    if (!reserve(buf, size)) return NULL;
    char *room = buf->data + buf->size;
    buf->size += size;
    buf->data[buf->size] = 0;
    return room;
}

void cn_buf_append(struct cn_buf *buf, const void *bytes, size_t size)
{
    char *room = cn_buf_extend(buf, size);
    if (room && size) memcpy(room, bytes, size);
}

void cn_buf_text(struct cn_buf *buf, const char *text)
{
    cn_buf_append(buf, text, strlen(text));
}

void cn_buf_format(struct cn_buf *buf, const char *format, ...)
{
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (size < 0 || (size_t)size >= sizeof text)
        buf->failed = true;
    else
        cn_buf_append(buf, text, (size_t)size);
}

void cn_buf_fill(struct cn_buf *buf, char byte, size_t count)
{
    char *room = cn_buf_extend(buf, count);
    if (room) memset(room, byte, count);
}

void *cn_buf_keep(struct cn_buf *buf, struct cn_pool *pool)
{
    cn_buf_append(buf, "", 0);
    if (buf->failed) return NULL;
    char *fitting = cn_resize(buf->alloc, buf->data, buf->size + 1);
    if (fitting) {
        buf->data = fitting;
        buf->capacity = buf->size + 1;
    }
    if (!cn_pool_keep(pool, buf->data, buf->capacity)) return NULL;
    void *kept = buf->data;
    buf->data = NULL;
    cn_buf_done(buf);
    return kept;
}
