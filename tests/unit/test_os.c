/* The system behind os.h: names that must not be followed, renames that replace nothing, locks that die with their owner. */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <sys/wait.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(only_regular_files_open), cmocka_unit_test(renames_replace_nothing),
                                        cmocka_unit_test(locks_die_with_their_owner), cmocka_unit_test(leases_exclude) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
