/* Covers src/manager/probe.c, src/api/probe.c: a place that takes something away is told from one that does not. The calls are stood in for. */
#include "support.h"

#include <sys/resource.h>

#include <errno.h>
#include <stdbool.h>

#include "os/os.h"

static cairn_error err = CAIRN_ERROR_INIT;
static const char *lacks; /* the call that is refused or does nothing */

static bool taken_away(const char *call)
{
    return lacks && !strcmp(lacks, call);
}

int __real_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    cn_file copy;
    if (taken_away("link")) return -EPERM;
    if (!taken_away("true link")) return __real_cn_os_link(from_dir, from, to_dir, to);
    return cn_os_create(to_dir, to, 0644, false, &copy) || cn_os_close(copy); /* says yes, and makes another file */
}

int __real_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    return taken_away("rename") ? cn_os_rename_over(from_dir, from, to_dir, to) : __real_cn_os_rename_new(from_dir, from, to_dir, to);
}

int __real_cn_os_lease(cn_file file, bool exclusive);
int __wrap_cn_os_lease(cn_file file, bool exclusive);
int __wrap_cn_os_lease(cn_file file, bool exclusive)
{
    return taken_away("lease") ? 0 : __real_cn_os_lease(file, exclusive);
}

int __real_cn_os_sync_dir(cn_file dir);
int __wrap_cn_os_sync_dir(cn_file dir);
int __wrap_cn_os_sync_dir(cn_file dir)
{
    return taken_away("sync") ? -EIO : __real_cn_os_sync_dir(dir);
}

static cairn_probe_report probe(const char *dir, const char *without)
{
    cairn_probe_report report = CAIRN_PROBE_REPORT_INIT;
    lacks = without;
    test_ok(cairn_probe(dir, &report, &err));
    lacks = NULL;
    test_shell("test -z \"$(ls -A %s)\"", dir); /* nothing stays */
    return report;
}

static void what_is_there_is_found(void **unused)
{
    const char *dir = test_folder("there");
    cairn_probe_report report = probe(dir, NULL);
    (void)unused;
    assert_true(!report.hard_links && !report.symlinks && !report.rename_new && !report.writer_lock && !report.reader_lock &&
                !report.folds_case);
    assert_true(report.free_bytes && report.file_sync_ns && report.folder_sync_ns);
}

/* A call that says yes and does nothing is worse than one that says no. */
static void what_is_missing_is_told(void **unused)
{
    const char *dir = test_folder("missing");
    (void)unused;
    assert_int_equal(probe(dir, "link").hard_links, EPERM);
    assert_int_equal(probe(dir, "true link").hard_links, EOPNOTSUPP);
    assert_int_equal(probe(dir, "rename").rename_new, EOPNOTSUPP);
    assert_int_equal(probe(dir, "lease").reader_lock, EOPNOTSUPP);
}

static void a_place_that_cannot_hold_a_run_fails(void **unused)
{
    const char *dir = test_folder("cannot");
    cairn_probe_report report = CAIRN_PROBE_REPORT_INIT;
    (void)unused;
    lacks = "sync";
    test_code(cairn_probe(dir, &report, &err), CAIRN_E_IO);
    lacks = NULL;
    assert_non_null(strstr(err.message, dir));
    test_shell("test -z \"$(ls -A %s)\"", dir);
    test_code(cairn_probe("/nowhere/at/all", &report, &err), CAIRN_E_NOTFOUND);
    test_code(cairn_probe("", &report, &err), CAIRN_E_USAGE);
    test_code(cairn_probe(NULL, &report, &err), CAIRN_E_USAGE);
    report.struct_size = 0;
    test_code(cairn_probe(dir, &report, &err), CAIRN_E_USAGE);
}

/* However few descriptors this process has: a clear error, and nothing stays. */
static void nothing_stays_where_descriptors_are_few(void **unused)
{
    char folder[300];
    struct rlimit limit, few;
    (void)unused;
    snprintf(folder, sizeof folder, "%s", test_folder("few"));
    getrlimit(RLIMIT_NOFILE, &limit);
    int next = open("/dev/null", O_RDONLY);
    close(next);
    for (unsigned room = 0; room < 12; room++) {
        cairn_probe_report report = CAIRN_PROBE_REPORT_INIT;
        few = limit;
        few.rlim_cur = (rlim_t)next + room;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int code = cairn_probe(folder, &report, &err);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        if (code) assert_non_null(strstr(err.message, "Too many open files"));
        test_shell("test -z \"$(ls -A %s)\"", folder);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(what_is_there_is_found), cmocka_unit_test(what_is_missing_is_told),
                                        cmocka_unit_test(a_place_that_cannot_hold_a_run_fails),
                                        cmocka_unit_test(nothing_stays_where_descriptors_are_few) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
