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

void cn_buf_clear(struct cn_buf *buf)
{
    buf->size = 0;
    buf->failed = false;
    if (buf->data) buf->data[0] = 0;
}

static bool reserve(struct cn_buf *buf, size_t more)
{
    if (buf->failed || more > buf->limit_bytes || buf->size > buf->limit_bytes - more) return false;
    size_t needed = buf->size + more + 1;
    if (needed <= buf->capacity) return true;
    size_t capacity = buf->capacity ? buf->capacity : 256;
    while (capacity < needed) capacity *= 2;
    char *data = cn_resize(buf->alloc, buf->data, capacity);
    if (!data) return false;
    buf->data = data;
    buf->capacity = capacity;
    return true;
}

void cn_buf_append(struct cn_buf *buf, const void *bytes, size_t size)
{
    if (!reserve(buf, size)) {
        buf->failed = true;
        return;
    }
    if (size) memcpy(buf->data + buf->size, bytes, size);
    buf->size += size;
    buf->data[buf->size] = 0;
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
    if (!reserve(buf, count)) {
        buf->failed = true;
        return;
    }
    memset(buf->data + buf->size, byte, count);
    buf->size += count;
    buf->data[buf->size] = 0;
}
