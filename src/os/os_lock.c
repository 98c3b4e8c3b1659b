/* Locks. The run's lock is F_SETLK: it dies with its owner and is not kept alive by a forked worker. Because closing ANY descriptor of the
 * file drops it, a file has one descriptor per process while it is locked: hence the table, the only global of the library. */
#include "os/os.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct cn_os_lock {
    struct cn_os_lock *next;
    uint64_t device, inode;
    int file;
    bool held;
    pid_t process; /* that holds it: a forked child does not */
};

static struct cn_os_lock *table;
static pthread_mutex_t table_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Looks before opening, for opening and closing a locked file again would drop the lock. Entries of a replaced file stay: harmless. */
static int find_or_open(cn_file dir, const char *name, struct cn_os_lock **ret_lock)
{
    enum { MODE = 0644 };
    struct stat info;
    if (!fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW))
        for (struct cn_os_lock *lock = table; lock; lock = lock->next)
            if (lock->device == info.st_dev && lock->inode == info.st_ino) {
                *ret_lock = lock;
                return 0;
            }
    int file;
    do file = openat(dir, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, MODE);
    while (file < 0 && errno == EINTR);
    if (file < 0) return -errno;
    if (fstat(file, &info) < 0 || !S_ISREG(info.st_mode)) {
        close(file);
        return -ENXIO;
    }
    /* The umask must not decide who may look; a team may have let more of them in. */
    if (info.st_uid == geteuid() && (info.st_mode & MODE) != MODE) (void)fchmod(file, (info.st_mode & 07777) | MODE);
    struct cn_os_lock *lock = cn_os_new(sizeof *lock);
    if (!lock) {
        close(file);
        return -ENOMEM;
    }
    *lock = (struct cn_os_lock){ .next = table, .device = info.st_dev, .inode = info.st_ino, .file = file };
    table = lock;
    *ret_lock = lock;
    return 0;
}

static int set_lock(int file, short type)
{
    struct flock range = { .l_type = type, .l_whence = SEEK_SET };
    if (!fcntl(file, F_SETLK, &range)) return 0;
    return errno == EACCES ? -EAGAIN : -errno;
}

/* Out of the table. Closing gives the lock up. */
static void drop(struct cn_os_lock *lock)
{
    struct cn_os_lock **link = &table;
    while (*link != lock) link = &(*link)->next;
    *link = lock->next;
    close(lock->file);
    cn_os_free(lock);
}

int cn_os_lock_take(cn_file dir, const char *name, struct cn_os_lock **ret_lock)
{
    struct cn_os_lock *lock = NULL;
    pthread_mutex_lock(&table_mutex);
    int rc = find_or_open(dir, name, &lock);
    if (!rc && lock->held && lock->process == getpid()) rc = -EBUSY;
    if (!rc) rc = set_lock(lock->file, F_WRLCK);
    if (!rc) {
        lock->held = true;
        lock->process = getpid();
        *ret_lock = lock;
    } else if (lock && !lock->held)
        drop(lock);
    pthread_mutex_unlock(&table_mutex);
    return rc;
}

void cn_os_lock_give(struct cn_os_lock *lock)
{
    if (!lock) return;
    pthread_mutex_lock(&table_mutex);
    if (lock->held && lock->process == getpid()) drop(lock); /* a forked child's copy is not its own */
    pthread_mutex_unlock(&table_mutex);
}

void cn_os_lease_give(cn_file file)
{
    (void)flock(file, LOCK_UN);
}

int cn_os_lease(cn_file file, bool exclusive)
{
    int rc;
    do rc = flock(file, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? -errno : 0;
}
