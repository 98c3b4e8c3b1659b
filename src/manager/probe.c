/* The probe (see probe.h). Each ability is tried with the very calls that saving uses, and what must be refused is seen to be refused: a lock that
 * never says no, or a rename that replaces, is worse than none. */
#include "manager/probe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "os/os.h"
#include "store/id.h"
#include "store/tree.h"

enum { ROUNDS = 9, SPARE = 4 /* descriptors that removing what was made needs: two for each level of folders */ };

/* A file with a page in it. 0, or -errno. */
static int make_file(cn_file dir, const char *name, bool direct, bool sync)
{
    cn_auto_close cn_file file = CN_NO_FILE;
    int rc = cn_os_create(dir, name, 0644, direct, &file);
    void *page = NULL;
    if (!rc) rc = cn_os_pages_new(CN_PAGE_BYTES, &page);
    if (rc) return rc;
    rc = cn_os_write_at(file, 0, page, CN_PAGE_BYTES);
    if (!rc && sync) rc = cn_os_sync(file);
    cn_os_pages_free(page, CN_PAGE_BYTES);
    return rc;
}

static int try_link(cn_file dir)
{
    struct cn_file_info one, other;
    int rc = cn_os_link(dir, "file", dir, "link");
    if (!rc) rc = cn_os_stat_at(dir, "file", &one);
    if (!rc) rc = cn_os_stat_at(dir, "link", &other);
    return rc ? rc : one.inode == other.inode && one.links == 2 ? 0 : -EOPNOTSUPP;
}

/* Onto a file that is there: it must be refused. */
static int try_rename(cn_file dir)
{
    int rc = make_file(dir, "from", false, false);
    if (!rc) rc = make_file(dir, "to", false, false);
    if (rc) return rc;
    rc = cn_os_rename_new(dir, "from", dir, "to");
    if (rc != -EEXIST) return rc ? rc : -EOPNOTSUPP;
    return cn_os_rename_new(dir, "from", dir, "renamed");
}

static int try_exchange(cn_file dir)
{
    int rc = cn_os_make_dir(dir, "a");
    if (!rc) rc = cn_os_make_dir(dir, "b");
    return rc ? rc : cn_os_exchange(dir, "a", "b");
}

static int try_writer_lock(cn_file dir)
{
    struct cn_os_lock *lock = NULL;
    int rc = cn_os_lock_take(dir, "lock", &lock);
    cn_os_lock_give(lock);
    return rc;
}

/* Two leases that exclude each other. */
static int try_lease(cn_file dir)
{
    cn_auto_close cn_file one = CN_NO_FILE, other = CN_NO_FILE;
    int rc = cn_os_open_read(dir, "file", &one);
    if (!rc) rc = cn_os_open_write(dir, "file", &other); /* NFS wants that */
    if (!rc) rc = cn_os_lease(one, false);
    if (rc) return rc;
    rc = cn_os_lease(other, true);
    return rc == -EWOULDBLOCK ? 0 : rc ? rc : -EOPNOTSUPP;
}

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Medians of a new small file's sync and of its folder's. */
static int time_syncs(cn_file dir, cairn_probe_report *report)
{
    uint64_t files[ROUNDS], folders[ROUNDS];
    char name[32];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(name, sizeof name, "sync-%d", i);
        uint64_t start = cn_os_now_ns();
        int rc = make_file(dir, name, false, true);
        uint64_t middle = cn_os_now_ns();
        if (!rc) rc = cn_os_sync_dir(dir);
        if (rc) return rc;
        files[i] = middle - start;
        folders[i] = cn_os_now_ns() - middle;
    }
    qsort(files, ROUNDS, sizeof *files, compare);
    qsort(folders, ROUNDS, sizeof *folders, compare);
    report->file_sync_ns = files[ROUNDS / 2];
    report->folder_sync_ns = folders[ROUNDS / 2];
    return 0;
}

static int try_all(cn_file dir, cairn_probe_report *report)
{
    struct cn_file_info info;
    int rc = make_file(dir, "file", false, true);
    if (!rc) rc = time_syncs(dir, report);
    if (rc) return rc;
    report->hard_links = -try_link(dir);
    report->symlinks = -cn_os_symlink("file", dir, "symlink");
    report->rename_new = -try_rename(dir);
    report->exchange = -try_exchange(dir);
    report->writer_lock = -try_writer_lock(dir);
    report->reader_lock = -try_lease(dir);
    report->direct_io = -make_file(dir, "direct", true, true);
    report->is_volatile = cn_os_is_volatile(dir);
    report->folds_case = !cn_os_stat_at(dir, "FILE", &info);
    return cn_os_free_bytes(dir, &report->free_bytes);
}

static void close_all(cn_file files[SPARE])
{
    for (int i = 0; i < SPARE; i++) (void)cn_os_close(files[i]);
}

int cn_probe(const char *dir_path, cairn_probe_report *ret_report, cairn_error *err)
{
    cairn_probe_report report = CAIRN_PROBE_REPORT_INIT;
    char id[CN_ID_BYTES], name[CN_ID_BYTES + 16];
    cn_auto_close cn_file parent = CN_NO_FILE, dir = CN_NO_FILE;
    cn_file spare[SPARE] = { CN_NO_FILE, CN_NO_FILE, CN_NO_FILE, CN_NO_FILE };
    int rc = cn_os_open_dir_path(dir_path, &parent);
    for (int i = 0; i < SPARE && !rc; i++) rc = cn_os_open_dir_path(dir_path, &spare[i]);
    if (rc) close_all(spare);
    if (rc) return cn_error_errno(err, -rc, "%s: opening it", dir_path);
    int code = cn_id_new(id, err);
    snprintf(name, sizeof name, ".%s.cairn-probe", id);
    if (!code) rc = cn_os_make_dir(parent, name);
    if (code || rc) close_all(spare);
    if (code) return code;
    if (rc) return cn_error_errno(err, -rc, "%s: making a folder in it", dir_path);
    rc = cn_os_open_dir(parent, name, &dir);
    if (!rc) rc = try_all(dir, &report);
    close_all(spare);
    int removed = cn_tree_remove(parent, name);
    if (rc) return cn_error_errno(err, -rc, "%s: writing a small file there, durably", dir_path);
    if (removed) return cn_error_errno(err, -removed, "%s/%s: removing it", dir_path, name);
    *ret_report = report;
    return CAIRN_OK;
}
