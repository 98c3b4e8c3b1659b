/* Preloaded: the FAIL_AT-th allocation of the process fails, and so do all that follow. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_long left = -1; /* -1: not read yet */

static int is_over(void)
{
    if (atomic_load(&left) == -1) {
        const char *at = getenv("FAIL_AT");
        atomic_store(&left, at ? atol(at) : 1L << 60);
    }
    if (atomic_load(&left) > 0 && atomic_fetch_sub(&left, 1) > 0) return 0;
    errno = ENOMEM;
    return 1;
}

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *memory, size_t size);

void *malloc(size_t size)
{
    return is_over() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return is_over() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *memory, size_t size)
{
    return is_over() ? NULL : __libc_realloc(memory, size);
}
