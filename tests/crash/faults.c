/* faults.so, an LD_PRELOAD shim: what the C library hands to the kernel about files below CRASH_BELOW fails, is cut short or finds the disk full. It knows nothing
 * of Cairn.
 *
 *     CRASH_BELOW    a folder; calls about other files are not looked at
 *     CRASH_AT       the call with this number (from 1) is hit ...
 *     CRASH_ERRNO    ... and fails with this errno; a close closes all the same
 *     CRASH_SHORT    ... if it reads or writes: moves 1 byte, half (2), or all but one (3)
 *     CRASH_ROOM     so many bytes may still be written or reserved, then all that needs room fails with ENOSPC; what just does not fit is written in part
 *     CRASH_NO_SYNC  syncs of files, of folders, or of all do nothing and say that all is well: the disk that lies
 *     CRASH_HIT      a file that is made when a call is hit; its text is the call
 *
 * Whoever syncs a file again after that failed is told on stderr, and aborted: what is lost then would be taken for saved. (A folder is synced again, for the
 * names that came since.) */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Ours by its name for the linker; another one here, for the headers have it, too. */
#define STANDS_FOR(type, name, parameters)                                                                                                 \
    type faulty_##name parameters __asm__(#name);                                                                                          \
    type faulty_##name parameters
#define REAL(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static char below[PATH_MAX];
static long at, error, shortness, room = -1, calls;
static bool files_never_sync, folders_never_sync, counts_room;
static int failed_sync = -1; /* a descriptor whose sync has failed */

__attribute__((constructor)) static void begin(void)
{
    const char *text;
    if (!(text = getenv("CRASH_BELOW")) || !realpath(text, below)) return;
    if ((text = getenv("CRASH_AT"))) at = atol(text);
    if ((text = getenv("CRASH_ERRNO"))) error = atol(text);
    if ((text = getenv("CRASH_SHORT"))) shortness = atol(text);
    if ((text = getenv("CRASH_ROOM"))) room = atol(text), counts_room = true;
    if (!(text = getenv("CRASH_NO_SYNC"))) return;
    files_never_sync = strcmp(text, "folders") != 0;
    folders_never_sync = strcmp(text, "files") != 0;
}

static bool is_below(const char *path)
{
    const size_t length = strlen(below);
    return length && !strncmp(path, below, length) && (path[length] == '/' || !path[length]);
}

static bool concerns(int file)
{
    char link[40], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    const ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return false;
    path[length] = 0;
    return is_below(path);
}

static bool concerns_name(int folder, const char *name)
{
    return name[0] == '/' ? is_below(name) : folder != AT_FDCWD && concerns(folder);
}

static bool hit(const char *call)
{
    const char *told = getenv("CRASH_HIT");
    if (!at || __atomic_add_fetch(&calls, 1, __ATOMIC_SEQ_CST) != at) return false;
    const int file = told ? (int)syscall(SYS_openat, AT_FDCWD, told, O_WRONLY | O_CREAT, 0644) : -1;
    if (file >= 0) syscall(SYS_write, file, call, strlen(call)), syscall(SYS_close, file);
    return true;
}

static bool fails(const char *call)
{
    if (!error || !hit(call)) return false;
    errno = (int)error;
    return true;
}

/* Is there room for so many bytes? */
static bool full(size_t bytes)
{
    if (!counts_room || __atomic_load_n(&room, __ATOMIC_SEQ_CST) > (long)bytes) return false;
    errno = ENOSPC;
    return true;
}

/* ... for a name that is not there yet? */
static bool full_for_name(int folder, const char *name)
{
    return counts_room && faccessat(folder, name, F_OK, AT_SYMLINK_NOFOLLOW) && full(0);
}

static bool take_room(size_t bytes)
{
    if (full(bytes)) return false;
    if (counts_room) __atomic_sub_fetch(&room, (long)bytes, __ATOMIC_SEQ_CST);
    return true;
}

static size_t shortened(const char *call, size_t size)
{
    if (!shortness || size < 2 || !hit(call)) return size;
    return shortness == 1 ? 1 : shortness == 2 ? size / 2 : size - 1;
}

/* ------------------------------------------------------------------------------------------------------ reading and writing */

STANDS_FOR(ssize_t, pread64, (int file, void *data, size_t size, off64_t offset))
{
    if (!concerns(file)) return REAL(pread64)(file, data, size, offset);
    if (fails("pread")) return -1;
    return REAL(pread64)(file, data, shortened("pread", size), offset);
}

/* What the disk still takes of it; 0: nothing. */
static size_t fitting(size_t size)
{
    if (take_room(size)) return size;
    const long left = __atomic_exchange_n(&room, 0, __ATOMIC_SEQ_CST);
    return left > 0 && (size_t)left < size ? (size_t)left : 0;
}

STANDS_FOR(ssize_t, pwrite64, (int file, const void *data, size_t size, off64_t offset))
{
    if (!concerns(file)) return REAL(pwrite64)(file, data, size, offset);
    if (fails("pwrite")) return -1;
    const size_t part = fitting(shortened("pwrite", size));
    if (part || !size) return REAL(pwrite64)(file, data, part, offset);
    errno = ENOSPC;
    return -1;
}

STANDS_FOR(ssize_t, write, (int file, const void *data, size_t size))
{
    if (!concerns(file)) return REAL(write)(file, data, size);
    if (fails("write")) return -1;
    const size_t part = fitting(shortened("write", size));
    if (part || !size) return REAL(write)(file, data, part);
    errno = ENOSPC;
    return -1;
}

STANDS_FOR(int, fallocate64, (int file, int mode, off64_t offset, off64_t size))
{
    if (concerns(file) && (fails("fallocate") || !take_room((size_t)size))) return -1;
    return REAL(fallocate64)(file, mode, offset, size);
}

STANDS_FOR(int, fsync, (int file))
{
    if (!concerns(file)) return REAL(fsync)(file);
    if (file == failed_sync) {
        dprintf(2, "a failed fsync is repeated\n");
        abort();
    }
    struct stat info;
    const bool is_file = !fstat(file, &info) && S_ISREG(info.st_mode);
    if (fails("fsync")) {
        if (is_file) failed_sync = file;
        return -1;
    }
    return (is_file ? files_never_sync : folders_never_sync) ? 0 : REAL(fsync)(file);
}

STANDS_FOR(int, close, (int file))
{
    const bool ours = concerns(file);
    if (file == failed_sync) failed_sync = -1;
    const int rc = REAL(close)(file);
    return ours && fails("close") ? -1 : rc;
}

STANDS_FOR(int, ftruncate64, (int file, off64_t size))
{
    return concerns(file) && fails("ftruncate") ? -1 : REAL(ftruncate64)(file, size);
}

STANDS_FOR(int, fchmod, (int file, mode_t mode))
{
    return concerns(file) && fails("fchmod") ? -1 : REAL(fchmod)(file, mode);
}

/* -------------------------------------------------------------------------------------------------------------------- names */

/* glibc has it under two names: with and without a mode that its headers check. */
static int open_at(int folder, const char *name, int flags, mode_t mode)
{
    if (concerns_name(folder, name) && (fails("openat") || ((flags & O_CREAT) && full_for_name(folder, name)))) return -1;
    return REAL(openat64)(folder, name, flags, mode);
}

STANDS_FOR(int, openat64, (int folder, const char *name, int flags, ...))
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return open_at(folder, name, flags, mode);
}

STANDS_FOR(int, __openat64_2, (int folder, const char *name, int flags))
{
    return open_at(folder, name, flags, 0);
}

STANDS_FOR(int, open64, (const char *name, int flags, ...))
{
    va_list arguments;
    va_start(arguments, flags);
    const mode_t mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return open_at(AT_FDCWD, name, flags, mode);
}

STANDS_FOR(int, mkdirat, (int folder, const char *name, mode_t mode))
{
    return concerns_name(folder, name) && (fails("mkdirat") || full_for_name(folder, name)) ? -1 : REAL(mkdirat)(folder, name, mode);
}

STANDS_FOR(int, symlinkat, (const char *target, int folder, const char *name))
{
    return concerns_name(folder, name) && (fails("symlinkat") || full_for_name(folder, name)) ? -1 : REAL(symlinkat)(target, folder, name);
}

STANDS_FOR(int, linkat, (int from_folder, const char *from, int folder, const char *name, int flags))
{
    return concerns_name(folder, name) && (fails("linkat") || full_for_name(folder, name))
               ? -1
               : REAL(linkat)(from_folder, from, folder, name, flags);
}

STANDS_FOR(int, renameat, (int from_folder, const char *from, int folder, const char *name))
{
    return concerns_name(folder, name) && fails("renameat") ? -1 : REAL(renameat)(from_folder, from, folder, name);
}

STANDS_FOR(int, unlinkat, (int folder, const char *name, int flags))
{
    return concerns_name(folder, name) && fails("unlinkat") ? -1 : REAL(unlinkat)(folder, name, flags);
}

/* renameat2, which is called by its number. */
STANDS_FOR(long, syscall, (long number, ...))
{
    long a[6];
    va_list arguments;
    va_start(arguments, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(arguments, long);
    va_end(arguments);
    if (number == SYS_renameat2 && concerns_name((int)a[2], (const char *)a[3]) && fails("renameat2")) return -1;
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
