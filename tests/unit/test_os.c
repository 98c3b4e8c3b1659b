/* Covers src/os/os_dir.c, os_file.c, os_lock.c, os_memory.c, os_process.c and os_task.c, the system behind os.h: names that must not be followed, renames that replace nothing, locks that die with their owner. */
#include "support.h"

#include <fcntl.h>

#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/os.h"

static cn_file folder(const char *name)
{
    cn_file dir = CN_NO_FILE;
    assert_int_equal(cn_os_open_dir_path(test_folder(name), &dir), 0);
    return dir;
}

static void put(cn_file dir, const char *name, const char *text)
{
    cn_file file = CN_NO_FILE;
    assert_int_equal(cn_os_create(dir, name, 0640, false, &file), 0);
    assert_int_equal(cn_os_write_at(file, 0, text, strlen(text)), 0);
    assert_int_equal(cn_os_sync(file), 0);
    assert_int_equal(cn_os_close(file), 0);
}

static void only_regular_files_open(void **unused)
{
    const char *path = test_folder("kinds");
    cn_file dir = CN_NO_FILE, file = CN_NO_FILE;
    (void)unused;
    test_shell("cd %s && mkdir folder && mkfifo fifo && ln -s /etc/passwd link && echo hi > plain", path);
    assert_int_equal(cn_os_open_dir_path(path, &dir), 0);
    assert_int_equal(cn_os_open_read(dir, "folder", &file), -EISDIR);
    assert_int_equal(cn_os_open_read(dir, "fifo", &file), -ENXIO);
    assert_int_equal(cn_os_open_read(dir, "link", &file), -ELOOP);
    assert_int_equal(cn_os_open_read(dir, "none", &file), -ENOENT);
    assert_int_equal(file, CN_NO_FILE);
    assert_int_equal(cn_os_open_read(dir, "plain", &file), 0);
    char text[10];
    size_t size;
    assert_int_equal(cn_os_read_at(file, 1, text, sizeof text, &size), 0);
    assert_int_equal(size, 2);
    cn_os_close(file);
    assert_int_equal(cn_os_create(dir, "link", 0644, false, &file), -EEXIST);
    cn_os_close(dir);
}

static void renames_replace_nothing(void **unused)
{
    cn_file dir = folder("rename");
    struct cn_file_info info;
    (void)unused;
    assert_int_equal(cn_os_make_dir(dir, "a"), 0);
    assert_int_equal(cn_os_make_dir(dir, "empty"), 0);
    assert_int_equal(cn_os_rename_new(dir, "a", dir, "empty"), -EEXIST);
    assert_int_equal(cn_os_rename_new(dir, "a", dir, "b"), 0);
    assert_int_equal(cn_os_rename_new(dir, "a", dir, "c"), -ENOENT);
    put(dir, "file", "x");
    assert_int_equal(cn_os_link(dir, "file", dir, "b"), -EEXIST);
    assert_int_equal(cn_os_link(dir, "file", dir, "twin"), 0);
    assert_int_equal(cn_os_stat_at(dir, "twin", &info), 0);
    assert_int_equal(info.links, 2);
    cn_os_close(dir);
}

static int lock_in_child(cn_file dir)
{
    struct cn_os_lock *lock;
    int status;
    pid_t child = fork();
    if (!child) _exit(-cn_os_lock_take(dir, "lock", &lock) & 0xff);
    waitpid(child, &status, 0);
    return WEXITSTATUS(status);
}

static void locks_die_with_their_owner(void **unused)
{
    cn_file dir = folder("lock");
    struct cn_os_lock *lock = NULL, *second = NULL;
    int ready[2], status;
    char byte;
    (void)unused;
    assert_int_equal(cn_os_lock_take(dir, "lock", &lock), 0);
    assert_int_equal(cn_os_lock_take(dir, "lock", &second), -EBUSY);
    assert_int_equal(lock_in_child(dir), EAGAIN);
    cn_os_lock_give(lock);
    assert_int_equal(lock_in_child(dir), 0);
    /* a child that holds it and forks: killed, its own child does not keep the lock */
    assert_int_equal(pipe(ready), 0);
    pid_t owner = fork();
    if (!owner) {
        if (cn_os_lock_take(dir, "lock", &lock)) _exit(1);
        if (!fork()) {
            close(ready[0]);
            sleep(2);
            _exit(0);
        }
        if (write(ready[1], "x", 1) != 1) _exit(1);
        pause();
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(lock_in_child(dir), EAGAIN);
    kill(owner, 9);
    waitpid(owner, &status, 0);
    assert_int_equal(lock_in_child(dir), 0);
    close(ready[0]);
    close(ready[1]);
    cn_os_close(dir);
}

static void leases_exclude(void **unused)
{
    cn_file dir = folder("lease"), reader = CN_NO_FILE, retirer = CN_NO_FILE;
    (void)unused;
    put(dir, "m", "x");
    assert_int_equal(cn_os_open_read(dir, "m", &reader), 0);
    assert_int_equal(cn_os_open_read(dir, "m", &retirer), 0);
    assert_int_equal(cn_os_lease(reader, false), 0);
    assert_int_equal(cn_os_lease(retirer, true), -EWOULDBLOCK);
    cn_os_close(reader);
    assert_int_equal(cn_os_lease(retirer, true), 0);
    cn_os_close(retirer);
    cn_os_close(dir);
}

static void facts_fit_their_room(void **unused)
{
    char text[4096], small[4];
    (void)unused;
    void (*const facts[])(char *, size_t) = { cn_os_host_name, cn_os_kernel_name, cn_os_user_name, cn_os_working_dir };
    for (size_t i = 0; i < 4; i++) {
        facts[i](text, sizeof text);
        assert_true(strlen(text) < sizeof text);
        small[3] = 'x';
        facts[i](small, 3);
        assert_true(memchr(small, 0, 3) && small[3] == 'x');
    }
    cn_os_kernel_name(text, sizeof text);
    assert_int_equal(strncmp(text, "Linux ", 6), 0);
    size_t size = cn_os_command_line(text, sizeof text);
    assert_true(size > 1 && !text[size - 1]);
    assert_true(cn_os_process() == (uint64_t)getpid() && cn_os_cores() >= 1);
}

static void clocks_go_on(void **unused)
{
    uint64_t before = cn_os_now_ns();
    (void)unused;
    cn_os_sleep_ns(3000000);
    assert_true(cn_os_now_ns() - before >= 3000000);
    assert_true(cn_os_wall_ns() > INT64_C(1700000000000000000));
    unsigned char a[16], b[16];
    assert_true(!cn_os_random(a, 16) && !cn_os_random(b, 16) && memcmp(a, b, 16));
}

static void memory_is_bounded_and_aligned(void **unused)
{
    void *pages = NULL;
    (void)unused;
    assert_int_equal(cn_os_pages_new(3 << 20, &pages), 0);
    assert_int_equal((uintptr_t)pages % (2 << 20), 0); /* where a huge page may begin */
    memset(pages, 1, 3 << 20);
    pid_t child = fork();
    if (!child) { /* not copied by a fork: touching it there is a fault */
        signal(SIGSEGV, SIG_DFL);
        _exit(*(volatile char *)pages);
    }
    int status;
    waitpid(child, &status, 0);
    assert_true(!WIFEXITED(status) || WEXITSTATUS(status) != 1);
    cn_os_pages_free(pages, 3 << 20);
    cn_os_pages_free(NULL, 0);
    assert_int_not_equal(cn_os_pages_new(UINT64_C(1) << 60, &pages), 0);
    assert_int_not_equal(cn_os_pages_new(UINT64_MAX - 4095, &pages), 0);
    uint64_t free_memory = cn_os_free_memory();
    assert_true(free_memory > (1 << 20) && free_memory < (UINT64_C(1) << 50));
    assert_null(cn_os_new_array(UINT64_MAX, 16));
    cn_file dir = folder("free");
    uint64_t bytes = 0;
    assert_true(!cn_os_free_bytes(dir, &bytes) && bytes > 0);
    cn_os_close(dir);
}

static void links_and_maps(void **unused)
{
    cn_file dir = folder("links"), file = CN_NO_FILE;
    char target[32], tiny[4];
    struct cn_mapping mapping = { 0 };
    struct cn_file_info info;
    (void)unused;
    put(dir, "data", "0123456789");
    assert_int_equal(cn_os_symlink("data", dir, "link"), 0);
    assert_int_equal(cn_os_read_link(dir, "link", target, sizeof target), 0);
    assert_string_equal(target, "data");
    assert_int_equal(cn_os_read_link(dir, "link", tiny, sizeof tiny), -ENAMETOOLONG);
    assert_int_equal(cn_os_read_link(dir, "data", target, sizeof target), -EINVAL);
    assert_true(!cn_os_stat_at(dir, "link", &info) && info.type == CN_TYPE_SYMLINK);
    assert_int_equal(cn_os_open_read(dir, "data", &file), 0);
    assert_int_equal(cn_os_map(file, 10, &mapping), 0);
    assert_memory_equal(mapping.address, "0123456789", 10);
    cn_os_unmap(&mapping);
    cn_os_unmap(&mapping);
    assert_true(cn_os_cached_percent(file, 0, 0) == 100 && cn_os_cached_percent(file, 0, 10) <= 100);
    cn_os_close(file);
    assert_int_equal(cn_os_close(CN_NO_FILE), 0);
    assert_int_equal(cn_os_rename_over(dir, "data", dir, "link"), 0);
    assert_true(!cn_os_stat_at(dir, "link", &info) && info.type == CN_TYPE_FILE && info.size_bytes == 10);
    assert_int_equal(cn_os_remove_dir(dir, "link"), -ENOTDIR);
    assert_int_equal(cn_os_unlink(dir, "link"), 0);
    assert_int_equal(cn_os_unlink(dir, "link"), -ENOENT);
    assert_false(cn_os_is_volatile(dir));
    cn_os_close(dir);
    assert_int_equal(cn_os_open_dir_path("/dev/shm", &dir), 0);
    assert_true(cn_os_is_volatile(dir));
    cn_os_close(dir);
}

struct waiting {
    struct cn_mutex *mutex;
    struct cn_cond *cond;
    bool ready;
};

static void make_ready(void *user)
{
    struct waiting *waiting = user;
    cn_os_sleep_ns(5000000);
    cn_mutex_lock(waiting->mutex);
    waiting->ready = true;
    cn_cond_signal_all(waiting->cond);
    cn_mutex_unlock(waiting->mutex);
}

static void read_mask(void *user)
{
    pthread_sigmask(SIG_BLOCK, NULL, user);
}

static void a_task_takes_no_signals_but_those_of_its_own_faults(void **unused)
{
    struct cn_task *task;
    sigset_t mask, before, after;
    (void)unused;
    pthread_sigmask(SIG_BLOCK, NULL, &before);
    assert_int_equal(cn_task_start(read_mask, &mask, &task), 0);
    cn_task_join(task);
    for (int number = 1; number < 32; number++) {
        bool is_fault = strchr((const char[]){ SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT, 0 }, number) != NULL;
        bool is_blockable = number != SIGKILL && number != SIGSTOP;
        assert_int_equal(sigismember(&mask, number), is_blockable && !is_fault);
    }
    pthread_sigmask(SIG_BLOCK, NULL, &after);
    for (int number = 1; number < 32; number++) assert_int_equal(sigismember(&before, number), sigismember(&after, number));
}

static void step_back(void *user)
{
    cn_task_step_back();
    *(int *)user = getpriority(PRIO_PROCESS, 0);
}

static void a_task_steps_back_alone(void **unused)
{
    struct cn_task *task;
    int priority = -1, before = getpriority(PRIO_PROCESS, 0);
    (void)unused;
    assert_int_equal(cn_task_start(step_back, &priority, &task), 0);
    cn_task_join(task);
    assert_int_equal(priority, before < 10 ? 10 : before);
    assert_int_equal(getpriority(PRIO_PROCESS, 0), before);
}

static void who_waits_is_woken(void **unused)
{
    struct waiting waiting = { .ready = false };
    struct cn_task *task;
    (void)unused;
    assert_true(!cn_mutex_new(&waiting.mutex) && !cn_cond_new(&waiting.cond));
    cn_mutex_lock(waiting.mutex);
    assert_false(cn_cond_wait_for(waiting.cond, waiting.mutex, 2000000));
    cn_mutex_unlock(waiting.mutex);
    assert_int_equal(cn_task_start(make_ready, &waiting, &task), 0);
    cn_mutex_lock(waiting.mutex);
    while (!waiting.ready) cn_cond_wait(waiting.cond, waiting.mutex);
    cn_mutex_unlock(waiting.mutex);
    cn_task_join(task);
    cn_task_join(NULL);
    cn_cond_free(waiting.cond);
    cn_cond_free(NULL);
    cn_mutex_free(waiting.mutex);
    cn_mutex_free(NULL);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    for (int i = 0; i < 256; i++) count += fcntl(i, F_GETFD) >= 0;
    return count;
}

/* A program that opens thousands of runs, one after the other, keeps no descriptor of any. */
static void locks_leave_nothing_open(void **unused)
{
    cn_file dir;
    struct cn_os_lock *lock = NULL;
    (void)unused;
    assert_int_equal(cn_os_open_dir_path(test_folder("forget"), &dir), 0);
    unsigned before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        assert_int_equal(cn_os_lock_take(dir, "lock", &lock), 0);
        assert_int_equal(open_descriptors(), before + 1);
        cn_os_lock_give(lock);
        cn_os_lock_give(NULL);
        assert_int_equal(open_descriptors(), before);
    }
    (void)cn_os_close(dir);
}

static mode_t mode_at(cn_file dir, const char *name)
{
    struct stat info;
    assert_int_equal(fstatat(dir, name, &info, AT_SYMLINK_NOFOLLOW), 0);
    return info.st_mode & 07777;
}

/* Who may look is not left to the umask; who else may write is the owner's to say. */
static void a_lock_keeps_what_its_owner_widened(void **unused)
{
    static const mode_t modes[][2] = { { 0600, 0644 }, { 0644, 0644 }, { 0664, 0664 }, { 0666, 0666 }, { 0640, 0644 } };
    cn_file dir = folder("team");
    struct cn_os_lock *lock = NULL;
    (void)unused;
    mode_t mask = umask(077);
    for (size_t i = 0; i < sizeof modes / sizeof *modes; i++) {
        assert_int_equal(cn_os_lock_take(dir, "lock", &lock), 0);
        if (!i) assert_int_equal(mode_at(dir, "lock"), 0644);
        cn_os_lock_give(lock);
        assert_int_equal(fchmodat(dir, "lock", modes[i][0], 0), 0);
        assert_int_equal(cn_os_lock_take(dir, "lock", &lock), 0);
        assert_int_equal(mode_at(dir, "lock"), modes[i][1]);
        cn_os_lock_give(lock);
    }
    umask(mask);
    (void)cn_os_close(dir);
}

/* A chroot without /proc. */
static bool no_proc;

int __real_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode)
{
    if (!no_proc || strncmp(path, "/proc/", 6)) return __real_chmod(path, mode);
    errno = ENOENT;
    return -1;
}

static void folders_need_no_proc(void **unused)
{
    cn_file dir = folder("no-proc");
    (void)unused;
    mode_t mask = umask(077);
    no_proc = true;
    assert_int_equal(cn_os_make_dir(dir, "private"), 0);
    no_proc = false;
    umask(mask);
    assert_int_equal(mode_at(dir, "private"), 0755);
    (void)cn_os_close(dir);
}

/* A lease that was given up does not live on in a worker that was forked meanwhile. */
static void a_forked_child_keeps_no_lease(void **unused)
{
    cn_file dir = folder("inherited"), reader = CN_NO_FILE, retirer = CN_NO_FILE;
    int status;
    (void)unused;
    put(dir, "m", "x");
    assert_int_equal(cn_os_open_read(dir, "m", &reader), 0);
    assert_int_equal(cn_os_open_read(dir, "m", &retirer), 0);
    assert_int_equal(cn_os_lease(reader, false), 0);
    pid_t child = fork();
    if (!child) {
        pause();
        _exit(0);
    }
    cn_os_lease_give(reader);
    cn_os_close(reader);
    assert_int_equal(cn_os_lease(retirer, true), 0);
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    cn_os_close(retirer);
    cn_os_close(dir);
}

/* On a shared folder everything below belongs to its group; a tight or loose umask changes nothing. */
static void folders_hand_down_their_group(void **unused)
{
    char path[300], below[400];
    cn_file dir;
    (void)unused;
    snprintf(path, sizeof path, "%s", test_folder("group"));
    assert_int_equal(chmod(path, 02775), 0);
    assert_int_equal(cn_os_open_dir_path(path, &dir), 0);
    static const mode_t masks[] = { 022, 077, 0 };
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "d%d", i);
        snprintf(below, sizeof below, "%s/%s", path, name);
        mode_t before = umask(masks[i]);
        assert_int_equal(cn_os_make_dir(dir, name), 0);
        umask(before);
        assert_int_equal(mode_at(AT_FDCWD, below), 02755);
    }
    (void)cn_os_close(dir);
}

/* A job's control group is what it may take, also where the group is not the root of what is mounted. */
static void a_control_group_limits_what_is_free(void **unused)
{
    enum { LIMIT = 256 << 20 };
    int status;
    (void)unused;
    if (system("test -w /sys/fs/cgroup/memory/cgroup.procs || test -w /sys/fs/cgroup/cgroup.subtree_control")) skip();
    pid_t child = fork();
    if (!child) {
        char command[1000];
        snprintf(
            command, sizeof command,
            "g=/sys/fs/cgroup/memory; f=memory.limit_in_bytes; test -d $g || { g=/sys/fs/cgroup; f=memory.max; }; mkdir -p $g/cairn-%d/a/b "
            "2>/dev/null && echo %d > $g/cairn-%d/$f && echo %d > $g/cairn-%d/a/b/cgroup.procs",
            (int)getpid(), LIMIT, (int)getpid(), (int)getpid(), (int)getpid());
        if (system(command)) _exit(2);
        _exit(cn_os_free_memory() > LIMIT);
    }
    waitpid(child, &status, 0);
    test_shell("for g in /sys/fs/cgroup/memory /sys/fs/cgroup; do rmdir $g/cairn-%d/a/b $g/cairn-%d/a $g/cairn-%d 2>/dev/null; done; true",
               (int)child, (int)child, (int)child);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 2) skip();
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

#ifndef SYS_cachestat
#define SYS_cachestat 451
#endif

/* A kernel before 6.5, which has no cachestat. */
static bool old_kernel;

long __real_syscall(long number, ...);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
    if (!old_kernel || number != SYS_cachestat) return __real_syscall(number, a, b, c, d, e, f);
    errno = ENOSYS;
    return -1;
}

static void what_is_cached_is_known_on_old_kernels_too(void **unused)
{
    enum { SIZE = 1 << 20 };
    static char bytes[SIZE];
    char name[300];
    (void)unused;
    snprintf(name, sizeof name, "%s/file", test_folder("cached"));
    int file = open(name, O_RDWR | O_CREAT, 0644);
    assert_true(file >= 0 && write(file, bytes, SIZE) == SIZE && !fsync(file));
    for (int old = 0; old < 2; old++) {
        old_kernel = old;
        char half[SIZE / 2];
        assert_int_equal(posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), 0);
        int none = cn_os_cached_percent(file, 5000, SIZE / 2);
        assert_true(pread(file, half, sizeof half, 0) == sizeof half);
        int all = cn_os_cached_percent(file, 100, SIZE / 2 - 100);
        old_kernel = false;
        if (none == -ENOSYS && !old) continue; /* this one is old itself */
        assert_true(none >= 0 && none < 10 && all >= 99);
    }
    close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(locks_leave_nothing_open),
                                        cmocka_unit_test(a_forked_child_keeps_no_lease),
                                        cmocka_unit_test(a_lock_keeps_what_its_owner_widened),
                                        cmocka_unit_test(folders_need_no_proc),
                                        cmocka_unit_test(folders_hand_down_their_group),
                                        cmocka_unit_test(a_control_group_limits_what_is_free),
                                        cmocka_unit_test(only_regular_files_open),
                                        cmocka_unit_test(renames_replace_nothing),
                                        cmocka_unit_test(locks_die_with_their_owner),
                                        cmocka_unit_test(leases_exclude),
                                        cmocka_unit_test(facts_fit_their_room),
                                        cmocka_unit_test(clocks_go_on),
                                        cmocka_unit_test(memory_is_bounded_and_aligned),
                                        cmocka_unit_test(links_and_maps),
                                        cmocka_unit_test(a_task_takes_no_signals_but_those_of_its_own_faults),
                                        cmocka_unit_test(a_task_steps_back_alone),
                                        cmocka_unit_test(who_waits_is_woken),
                                        cmocka_unit_test(what_is_cached_is_known_on_old_kernels_too) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
