/* Covers src/store/rundir.c: what opening a run makes durable. */
#include "support.h"

#include "os/os.h"
#include "store/rundir.h"

static cairn_error err = CAIRN_ERROR_INIT;

/* The folders that were synced, by inode. */
static uint64_t synced[64];
static size_t synced_count;

int __real_cn_os_sync_dir(cn_file dir);
int __wrap_cn_os_sync_dir(cn_file dir);
int __wrap_cn_os_sync_dir(cn_file dir)
{
    struct cn_file_info info;
    if (synced_count < 64 && !cn_os_stat(dir, &info)) synced[synced_count++] = info.inode;
    return __real_cn_os_sync_dir(dir);
}

static bool was_synced(const char *path)
{
    struct cn_file_info info;
    assert_int_equal(cn_os_stat_path(path, &info), 0);
    for (size_t i = 0; i < synced_count; i++)
        if (synced[i] == info.inode) return true;
    return false;
}

/* D1: the folders may stand there because a process made them and was killed before its sync. */
static void a_run_that_stands_there_is_made_durable_too(void **unused)
{
    char above[300], store[400], path[500];
    struct cn_rundir run;
    (void)unused;
    snprintf(above, sizeof above, "%s", test_folder("durable"));
    snprintf(store, sizeof store, "%s/store", above);
    snprintf(path, sizeof path, "%s/run", store);
    test_shell("mkdir -p '%s'", path);
    synced_count = 0;
    test_ok(cn_rundir_open(path, &run, &err));
    assert_true(was_synced(path));
    assert_true(was_synced(store));
    assert_true(was_synced(above));
    cn_rundir_close(&run);
}

/* Another opener sweeps the temporary file before it is linked. What the other one made is not seen yet, as on a network file system. */
static int sweeps;

int __real_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    if (sweeps && sweeps--) assert_int_equal(cn_os_unlink(from_dir, from), 0);
    return __real_cn_os_link(from_dir, from, to_dir, to);
}

static void a_swept_beginning_is_begun_again(void **unused)
{
    char path[500];
    struct cn_rundir run;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("swept"));
    sweeps = 3;
    test_ok(cn_rundir_open(path, &run, &err));
    assert_true(!sweeps && run.id[0]);
    cn_rundir_close(&run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_that_stands_there_is_made_durable_too),
        cmocka_unit_test(a_swept_beginning_is_begun_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
