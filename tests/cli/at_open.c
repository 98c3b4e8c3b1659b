/* Preloaded: before the process opens its AT_OPEN-th file or folder, the command in AT_OPEN_RUN is run: something else happens at a chosen moment. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static atomic_long opened;

static void happen(void)
{
    const char *at = getenv("AT_OPEN"), *command = getenv("AT_OPEN_RUN");
    if (!at || !command || atomic_fetch_add(&opened, 1) + 1 != atol(at)) return;
    (void)unsetenv("LD_PRELOAD");
    if (system(command)) abort();
}

static int open_now(int dir, const char *name, int flags, mode_t mode)
{
    happen();
    return (int)syscall(SYS_openat, dir, name, flags, mode);
}

#define MODE_OF(flags, mode)                                                                                                               \
    do {                                                                                                                                   \
        va_list rest;                                                                                                                      \
        va_start(rest, flags);                                                                                                             \
        if ((flags) & (O_CREAT | __O_TMPFILE)) (mode) = va_arg(rest, mode_t);                                                              \
        va_end(rest);                                                                                                                      \
    } while (0)

int openat(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return open_now(dir, name, flags, mode);
}

int openat64(int dir, const char *name, int flags, ...)
{
    mode_t mode = 0;
    MODE_OF(flags, mode);
    return open_now(dir, name, flags | O_LARGEFILE, mode);
}

int __openat64_2(int dir, const char *name, int flags); /* what a fortified call without a mode becomes */
int __openat64_2(int dir, const char *name, int flags)
{
    return open_now(dir, name, flags | O_LARGEFILE, 0);
}
