/* The operating system behind one contract: files, locks, tasks, waiting, time, randomness, memory. Nothing above this layer makes
 * a system call, includes pthread.h or reads a clock, so that a simulated disk, clock and scheduler can stand in for it.
 *
 * Results: 0 (or a count) on success, -errno on failure; the layers above turn that into a cairn_error with cn_error_errno(), for
 * they know the object's name. EINTR never comes out of opening, reading, writing and waiting; elsewhere it is a failure like others.
 * Descriptors are close-on-exec from birth. A failed sync or close is final: nobody may retry it. Names are single path parts relative to an open
 * folder, unless a parameter is called path; only what is made or renamed below a folder of ours may have several. */
#ifndef CN_OS_OS_H
#define CN_OS_OS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"

/* ---------------------------------------------------------------------------------------------------------------- folders */

typedef int cn_file; /* an open file or folder; -1: none */
#define CN_NO_FILE (-1)

int cn_os_open_dir_path(const char *path, cn_file *ret_dir);         /* absolute or from the current folder; follows symlinks */
int cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir); /* never follows a symlink: -ELOOP or -ENOTDIR */
int cn_os_make_dir_path(const char *path);                           /* one level, 0755; -EEXIST */
int cn_os_make_dir(cn_file dir, const char *name);
int cn_os_remove_dir(cn_file dir, const char *name); /* empty ones only */
int cn_os_sync_dir(cn_file dir);                     /* its entries are durable */

/* Calls each for every entry but . and .. until it returns non-zero, which is returned. A fresh reading each time. */
int cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);

/* Makes sure nothing at `to` is replaced: RENAME_NOREPLACE; where the file system refuses it (-EINVAL), looks first. -EEXIST. */
int cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int cn_os_exchange(cn_file dir, const char *one, const char *other); /* both names swap what they lead to; -EINVAL, -ENOSYS where refused */
int cn_os_rename_over(cn_file from_dir, const char *from, cn_file to_dir, const char *to); /* replaces a file */
int cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);        /* hard link; -EEXIST, -EPERM, -EXDEV, -EMLINK */
int cn_os_unlink(cn_file dir, const char *name);
int cn_os_symlink(const char *target, cn_file dir, const char *name);
int cn_os_read_link(cn_file dir, const char *name, char *ret_target, size_t size); /* NUL-terminated; -ENAMETOOLONG */

enum cn_file_type { CN_TYPE_FILE, CN_TYPE_DIR, CN_TYPE_SYMLINK, CN_TYPE_OTHER };

struct cn_file_info {
    enum cn_file_type type;
    uint64_t size_bytes;
    uint64_t device, inode;
    int64_t mtime_ns;
    uint32_t links;
};
int cn_os_stat(cn_file file, struct cn_file_info *ret_info);
int cn_os_stat_at(cn_file dir, const char *name, struct cn_file_info *ret_info); /* of a symlink: itself */
int cn_os_stat_path(const char *path, struct cn_file_info *ret_info);            /* follows symlinks */
int cn_os_free_bytes(cn_file dir, uint64_t *ret_bytes);                          /* for this user */
bool cn_os_is_volatile(cn_file dir); /* tmpfs, or overlayfs mounted volatile: nothing survives a power cut there */

/* ------------------------------------------------------------------------------------------------------------------ files */

/* Reading: regular files only, never through a symlink, never blocking on a FIFO or device: -ELOOP, -EISDIR, -ENXIO (special file). */
int cn_os_open_read(cn_file dir, const char *name, cn_file *ret_file);
int cn_os_open_write(cn_file dir, const char *name, cn_file *ret_file); /* one that is there, to read and write it */
int cn_os_open_read_path(const char *path, cn_file *ret_file);          /* follows symlinks (a user's own path); still regular files only */
int cn_os_open_read_direct(cn_file dir, const char *name, cn_file *ret_file); /* O_DIRECT; -EINVAL where refused */
int cn_os_create(cn_file dir, const char *name, uint32_t mode, bool direct,
                 cn_file *ret_file); /* O_EXCL; read and write; direct: O_DIRECT or -EINVAL */
int cn_os_open_append(cn_file dir, const char *name, uint32_t mode,
                      cn_file *ret_file);                      /* made if missing; read and append; regular files only */
int cn_os_append(cn_file file, const void *data, size_t size); /* in one write where the system takes it so */
int cn_os_set_mode(cn_file file, uint32_t mode);
int cn_os_close(cn_file file); /* -1 is fine */

/* Whole or not at all: loops over short counts. Reading past the end returns the bytes there were in *ret_size. */
int cn_os_read_at(cn_file file, uint64_t offset, void *data, size_t size, size_t *ret_size);
int cn_os_write_at(cn_file file, uint64_t offset, const void *data, size_t size);
int cn_os_allocate(cn_file file, uint64_t size_bytes); /* reserves blocks, sets the size; -EOPNOTSUPP, -ENOSPC */
int cn_os_truncate(cn_file file, uint64_t size_bytes);
int cn_os_start_writeback(cn_file file, uint64_t offset, uint64_t size_bytes); /* a hint */
int cn_os_sync(cn_file file);                                                  /* data and size are durable */
/* How much of the range is in the page cache, 0..100; -ENOSYS where that cannot be told. */
int cn_os_cached_percent(cn_file file, uint64_t offset, uint64_t size_bytes);

struct cn_mapping {
    void *address;
    size_t size_bytes;
};
int cn_os_map(cn_file file, uint64_t size_bytes, struct cn_mapping *ret_mapping); /* read-only, shared, from offset 0 */
void cn_os_unmap(struct cn_mapping *mapping);

/* ------------------------------------------------------------------------------------------------------------------ locks */

/* The run's lock (F_SETLK): dies with the process, not with a forked child. While it is held its descriptor stands in a table by device and inode,
 * for closing any descriptor of the file would drop the lock. -EAGAIN: another process has it; -EBUSY: this one. */
struct cn_os_lock;
int cn_os_lock_take(cn_file dir, const char *name, struct cn_os_lock **ret_lock);
void cn_os_lock_give(struct cn_os_lock *lock); /* takes NULL; in a forked child it does nothing */

/* A reader's or retirer's lease on an open file or folder (flock). Never waits: -EWOULDBLOCK. -EBADF: here (NFS) an exclusive one wants a file that may be
 * written; other errors: locks are refused here. */
int cn_os_lease(cn_file file, bool exclusive);
/* Gives it up, although a forked child may have the descriptor, too: closing alone would not. Not for a forked child to call. */
void cn_os_lease_give(cn_file file);

/* ------------------------------------------------------------------------------------------------------- tasks and waiting */

struct cn_task;
int cn_task_start(void (*run)(void *user), void *user, struct cn_task **ret_task);
void cn_task_join(struct cn_task *task); /* and frees it; takes NULL */
void cn_task_step_back(void);            /* the calling task lets others go first from now on */
unsigned cn_os_cores(void);              /* that this process may use, at least 1 */

struct cn_mutex;
struct cn_cond;
int cn_mutex_new(struct cn_mutex **ret_mutex);
void cn_mutex_free(struct cn_mutex *mutex); /* takes NULL */
void cn_mutex_lock(struct cn_mutex *mutex);
void cn_mutex_unlock(struct cn_mutex *mutex);
int cn_cond_new(struct cn_cond **ret_cond);
void cn_cond_free(struct cn_cond *cond); /* takes NULL */
void cn_cond_wait(struct cn_cond *cond, struct cn_mutex *mutex);
/* false: the time was over first */
bool cn_cond_wait_for(struct cn_cond *cond, struct cn_mutex *mutex, uint64_t timeout_ns);
void cn_cond_signal_all(struct cn_cond *cond);

/* ------------------------------------------------------------------------------------------- time, randomness, the process */

uint64_t cn_os_now_ns(void); /* monotonic */
int64_t cn_os_wall_ns(void); /* since 1970, UTC; for people, never for a decision */
int cn_os_random(void *data, size_t size);
void cn_os_sleep_ns(uint64_t duration_ns);
uint64_t cn_os_process(void); /* identity of this process: changes over fork */
/* Text about the machine and this process, for provenance: "" when unknown. Each is cut to size. */
void cn_os_host_name(char *ret_text, size_t size);
void cn_os_kernel_name(char *ret_text, size_t size);
void cn_os_user_name(char *ret_text, size_t size);
void cn_os_working_dir(char *ret_text, size_t size);
size_t cn_os_command_line(char *ret_text, size_t size); /* arguments, each ended by NUL; returns the bytes */

/* ----------------------------------------------------------------------------------------------------------------- memory */

const struct cn_alloc *cn_os_alloc(void);
void *cn_os_new(size_t size);                       /* zeroed; NULL */
void *cn_os_new_array(uint64_t count, size_t size); /* zeroed, checked product */
void cn_os_free(void *memory);                      /* takes NULL */
char *cn_os_copy_text(const char *text);

/* Large page-aligned memory: huge pages advised, not copied by fork. Its first touch may take longer than what is done with it. */
int cn_os_pages_new(uint64_t size_bytes, void **ret_pages);
void cn_os_pages_touch(void *pages, uint64_t size_bytes);
void cn_os_pages_free(void *pages, uint64_t size_bytes);
uint64_t cn_os_free_memory(void); /* bytes a process may still take: MemAvailable and the control group's limit */

static inline void cn_os_free_at(void *pointer)
{
    cn_os_free(*(void **)pointer);
}
static inline void cn_os_close_at(cn_file *file)
{
    if (*file >= 0) (void)cn_os_close(*file);
}
#define cn_auto_free __attribute__((cleanup(cn_os_free_at)))
#define cn_auto_close __attribute__((cleanup(cn_os_close_at)))

#endif
