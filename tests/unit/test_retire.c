/* Covers src/store/retire.c and src/store/tree.c: how a checkpoint goes, and which never does. cn_os_make_dir and cn_os_rename_new are stood in for: by a full disk, and
 * by whoever acts between a pruner's decision and its rename. */
#include "storefix.h"

#include <errno.h>

#include "manager/keeping.h"
#include "store/held.h"
#include "store/marks.h"
#include "store/tree.h"

#include <fcntl.h>
#include <unistd.h>

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600], told[8192];
static struct writer writer;

static void make(const char *name, uint64_t last)
{
    snprintf(path, sizeof path, "%s/run", test_folder(name));
    told[0] = 0;
    writer_open(&writer, path, &err);
    for (uint64_t step = 10; step <= last; step += 10) test_ok(writer_save(&writer, step, &err));
}

static void note(void *user, const char *text)
{
    (void)user;
    size_t used = strlen(told);
    snprintf(told + used, sizeof told - used, "%.2000s\n", text);
}

static struct cn_keeping last_one = { .rules = { .last = 1 } }, last_two = { .rules = { .last = 2 } },
                         last_three = { .rules = { .last = 3 } };

static uint64_t retire(uint32_t keep_last)
{
    struct cn_keeping keeping = { .rules = { .last = keep_last } };
    struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &keeping, .message = note };
    test_ok(cn_retire(&writer.run, &retire, &err));
    return retire.retired;
}

static void expect(const char *names)
{
    test_shell("cd %s && test \"$(ls -d checkpoint-* | sort -V | sed s/checkpoint-// | xargs)\" = '%s' || { ls %s; false; }", path, names,
               path);
}

static int full_with;                   /* errno for every new folder and for renames into trash */
static void (*before_the_rename)(void); /* called once, before a checkpoint is renamed into trash */

int __real_cn_os_make_dir(cn_file dir, const char *name);
int __wrap_cn_os_make_dir(cn_file dir, const char *name);
int __wrap_cn_os_make_dir(cn_file dir, const char *name)
{
    return full_with ? -full_with : __real_cn_os_make_dir(dir, name);
}

int __real_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    bool retires = to[0] == 'p' && strchr(to, '/');
    void (*hook)(void) = before_the_rename;
    if (retires && full_with) return -full_with;
    if (retires && hook) {
        before_the_rename = NULL;
        hook();
    }
    return __real_cn_os_rename_new(from_dir, from, to_dir, to);
}

static int drop_and_read = CN_NO_FILE; /* a reader's descriptor, once somebody dropped an item right before a pruner was alone */
static bool drops;

static bool as_on_nfs, fills_empty;

int __real_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);
int __wrap_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);
int __wrap_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user)
{
    int rc = __real_cn_os_list(dir, each, user);
    struct cn_file_info here, empty;
    if (!fills_empty || rc || cn_os_stat(dir, &here) || cn_os_stat_at(writer.run.dir, "checkpoint-15", &empty) || here.inode != empty.inode)
        return rc;
    fills_empty = false;
    test_shell("touch %s/checkpoint-15/copy", path);
    return rc;
}

int __real_cn_os_lease(cn_file file, bool exclusive);
int __wrap_cn_os_lease(cn_file file, bool exclusive);
int __wrap_cn_os_lease(cn_file file, bool exclusive)
{
    if (exclusive && drops) {
        cn_file dir;
        drops = false;
        test_shell("cd %s/checkpoint-10 && cp -p manifest.json next && mv next manifest.json", path);
        assert_int_equal(cn_os_open_dir(writer.run.dir, "checkpoint-10", &dir), 0);
        assert_int_equal(cn_os_open_read(dir, "manifest.json", &drop_and_read), 0);
        assert_int_equal(__real_cn_os_lease(drop_and_read, false), 0);
        cn_os_close(dir);
    }
    if (exclusive && as_on_nfs && (fcntl(file, F_GETFL) & O_ACCMODE) == O_RDONLY) return -EBADF;
    return __real_cn_os_lease(file, exclusive);
}

static void old_ones_go_and_trash_is_empty(void **unused)
{
    (void)unused;
    make("old", 60);
    assert_int_equal(retire(2), 4);
    expect("50 60");
    test_shell("test -z \"$(ls %s/.cairn/trash)\"", path);
    assert_int_equal(retire(2), 0);
    assert_string_equal(told, "");
    cn_rundir_close(&writer.run);
}

static void note_name(void *user, const struct cn_catalog_entry *entry)
{
    note(user, entry->name);
}

static void a_dry_run_touches_nothing(void **unused)
{
    (void)unused;
    make("dry", 50);
    struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &last_two, .dry_run = true, .each = note_name };
    test_shell("chmod a-w %s %s/.cairn/trash && stat -c %%y %s %s/.cairn/trash > %s.before", path, path, path, path, path);
    test_ok(cn_retire(&writer.run, &retire, &err));
    assert_int_equal(retire.retired, 3);
    assert_string_equal(told, "checkpoint-30\ncheckpoint-20\ncheckpoint-10\n");
    test_shell("stat -c %%y %s %s/.cairn/trash | cmp - %s.before && chmod u+w %s %s/.cairn/trash", path, path, path, path, path);
    expect("10 20 30 40 50");
    told[0] = 0;
    retire.dry_run = false;
    test_ok(cn_retire(&writer.run, &retire, &err));
    assert_string_equal(told, "checkpoint-30\ncheckpoint-20\ncheckpoint-10\n");
    expect("40 50");
    cn_rundir_close(&writer.run);
}

/* Survivors are counted among healthy ones that pass the quick check; the top and the head stay. */
static void what_is_counted_must_be_good(void **unused)
{
    static const char *const tag[] = { "release" };
    (void)unused;
    make("good", 40);
    struct cn_manifest tagged = writer_manifest(&writer, 50, tag);
    test_ok(writer_commit(&writer, &tagged, &err));
    test_ok(writer_save(&writer, 60, &err));
    struct cn_manifest sick = writer_manifest(&writer, 70, NULL);
    sick.healthy = 0;
    test_ok(writer_commit(&writer, &sick, &err));
    test_shell("echo x > %s/checkpoint-60/manifest.json", path); /* damaged: no survivor, and never removed */
    assert_int_equal(retire(2), 3);
    expect("40 50 60 70");
    cn_rundir_close(&writer.run);
}

/* The newest exact one is damaged, newer ones are inexact: what a restore takes is older than all of them. */
static void what_a_restore_would_take_stays(void **unused)
{
    (void)unused;
    static const struct cn_manifest_file missing = { .name = "missing", .kind = CN_FILE_ATTACHED, .size_bytes = 5 };
    make("whole", 10);
    for (uint64_t step = 20; step <= 50; step += 10) {
        struct cn_manifest manifest = writer_manifest(&writer, step, NULL);
        manifest.exact = step == 20;
        if (step == 20) manifest.files = &missing, manifest.files_count = 1;
        test_ok(writer_commit(&writer, &manifest, &err));
    }
    assert_int_equal(retire(2), 1);
    expect("10 20 40 50");
    cn_rundir_close(&writer.run);
}

/* What something was dropped of is no survivor: a run cannot go on from it. Nor is a copy one. */
static void what_is_incomplete_does_not_count(void **unused)
{
    static const char *const dropped[] = { "optimizer" };
    static const struct cn_manifest_file missing = { .name = "missing", .kind = CN_FILE_ATTACHED, .size_bytes = 5 };
    (void)unused;
    make("incomplete", 30);
    for (uint64_t step = 40; step <= 60; step += 10) {
        struct cn_manifest manifest = writer_manifest(&writer, step, NULL);
        if (step < 60)
            manifest.dropped = dropped, manifest.dropped_count = 1;
        else
            manifest.files = &missing, manifest.files_count = 1;
        test_ok(writer_commit(&writer, &manifest, &err));
    }
    assert_int_equal(retire(1), 2);
    expect("30 40 50 60");
    test_shell("cd %s && cp -a checkpoint-30 checkpoint-35", path);
    test_ok(writer_save(&writer, 70, &err));
    assert_int_equal(retire(2), 0);
    expect("30 35 40 50 60 70");
    cn_rundir_close(&writer.run);
}

/* Whoever prunes, and whatever it knows of metrics. */
static void what_best_leads_to_stays(void **unused)
{
    (void)unused;
    make("dear", 50);
    test_shell("ln -s checkpoint-20 %s/best", path);
    assert_int_equal(retire(1), 3);
    expect("20 50");
    cn_rundir_close(&writer.run);
}

static void readers_keep_what_they_hold(void **unused)
{
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    (void)unused;
    make("readers", 40);
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    test_ok(cn_held_open(writer.run.dir, "checkpoint-20", &pool, &held, &manifest, &err));
    assert_int_equal(retire(1), 2);
    expect("20 40");
    cn_held_close(&held);
    assert_int_equal(retire(1), 1);
    expect("40");
    cn_pool_done(&pool);
    cn_rundir_close(&writer.run);
}

/* The lock that a pruner gets alone may be that of a manifest which is none any more; a reader has the new one. */
static void a_manifest_replaced_under_the_lock_is_looked_at_again(void **unused)
{
    (void)unused;
    make("replaced", 20);
    drops = true;
    assert_int_equal(retire(1), 0);
    assert_non_null(strstr(told, "somebody reads it"));
    expect("10 20");
    cn_os_close(drop_and_read);
    assert_int_equal(retire(1), 1);
    expect("20");
    cn_rundir_close(&writer.run);
}

/* There an exclusive lock wants a descriptor that may write: that is no place without locks, where nobody can be reading. */
static void readers_are_safe_on_nfs(void **unused)
{
    struct cn_held held;
    struct cn_pool pool;
    struct cn_manifest manifest;
    (void)unused;
    make("nfs", 20);
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    test_ok(cn_held_open(writer.run.dir, "checkpoint-10", &pool, &held, &manifest, &err));
    as_on_nfs = true;
    assert_int_equal(retire(1), 0);
    assert_non_null(strstr(told, "somebody reads it"));
    cn_held_close(&held);
    assert_int_equal(retire(1), 1);
    as_on_nfs = false;
    expect("20");
    cn_pool_done(&pool);
    cn_rundir_close(&writer.run);
}

/* A copy that is put back into an empty folder, just when it is looked at. */
static void what_is_put_into_an_empty_folder_stays(void **unused)
{
    (void)unused;
    make("empty-now", 20);
    test_shell("mkdir %s/checkpoint-15", path);
    fills_empty = true;
    cn_retire_finish_all(&writer.run);
    assert_false(fills_empty);
    test_shell("test -f %s/checkpoint-15/copy", path);
    cn_rundir_close(&writer.run);
}

/* Whoever removed what was retired in place died before the last step: an empty folder is no other tool's. */
static void an_empty_folder_is_in_nobodys_way(void **unused)
{
    (void)unused;
    make("empty", 20);
    test_shell("mkdir %s/checkpoint-30 %s/checkpoint-40", path, path);
    cn_rundir_close(&writer.run);
    writer_open(&writer, path, &err);
    writer_go_back(&writer, 20, &err);
    test_ok(writer_save(&writer, 30, &err));
    cn_retire_finish_all(&writer.run);
    expect("10 20 30");
    cn_rundir_close(&writer.run);
}

/* Nobody may ever save here again, for the disk is full of what a killed remover left: the next one empties it. */
static void who_removes_empties_what_dead_removers_left(void **unused)
{
    struct cn_catalog catalog;
    (void)unused;
    make("dead", 40);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    test_shell("cd %s && mkdir .cairn/trash/p1 && mv checkpoint-10 .cairn/trash/p1/%s", path,
               cn_catalog_find(&catalog, 10, 0)->manifest.id);
    cn_catalog_done(&catalog);
    assert_int_equal(retire(2), 1);
    expect("30 40");
    test_shell("test -z \"$(ls -A %s/.cairn/trash)\"", path);
    cn_rundir_close(&writer.run);
}

/* What pruners that died left: x... is emptied, but for what was never meant; p... of a living one stays. */
static void leftovers_are_settled(void **unused)
{
    struct cn_catalog catalog;
    (void)unused;
    make("leftovers", 40);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    const char *meant = cn_catalog_find(&catalog, 10, 0)->manifest.id, *other = cn_catalog_find(&catalog, 40, 0)->manifest.id;
    test_shell("cd %s && mkdir .cairn/trash/x1 .cairn/trash/p2 .cairn/trash/s3 .cairn/trash/odd && mv checkpoint-10 .cairn/trash/x1/%s"
               " && mv checkpoint-20 .cairn/trash/x1/%s && mv checkpoint-30 .cairn/trash/p2/keep && touch .cairn/trash/x1/junk",
               path, meant, other);
    cn_retire_empty_trash(&writer.run);
    expect("20 40"); /* 20 was under another's id: it goes back */
    test_shell("test \"$(ls %s/.cairn/trash | xargs)\" = 'odd p2'", path);
    /* its name is taken: under its full name */
    test_shell("cd %s && mkdir .cairn/trash/x1 && cp -a checkpoint-40 .cairn/trash/x1/%s", path, meant);
    cn_retire_empty_trash(&writer.run);
    expect("20 40~1 40");
    cn_catalog_done(&catalog);
    cn_rundir_close(&writer.run);
}

static void trees_go_without_following(void **unused)
{
    (void)unused;
    make("tree", 10);
    test_shell(
        "cd %s && mkdir -p outside victim/a/b && touch outside/keep victim/a/f && ln -s ../../outside victim/a/b/link && ln -s outside plain"
        " && cd victim && touch $(seq 20) && for i in $(seq 40); do mkdir deep && cd deep; done",
        path);
    assert_int_not_equal(cn_tree_remove(writer.run.dir, "victim"), 0);        /* deeper than any of ours: told, not followed for ever */
    test_shell("cd %s/victim && test \"$(ls)\" = deep && rm -rf deep", path); /* and keeps nothing else */
    assert_int_equal(cn_tree_remove(writer.run.dir, "victim"), 0);
    assert_int_equal(cn_tree_remove(writer.run.dir, "plain"), 0);
    assert_int_equal(cn_tree_remove(writer.run.dir, "never"), 0);
    test_shell("cd %s && ! test -e victim && ! test -L plain && test -f outside/keep", path);
    cn_rundir_close(&writer.run);
}

/* A pruner that retires on a full disk sleeps before it removes; meanwhile the name was freed and given to a new checkpoint. */
static void what_is_retired_goes_by_its_folder_not_its_name(void **unused)
{
    (void)unused;
    make("finish", 20);
    test_shell(
        "cd %s && mv checkpoint-10/manifest.json checkpoint-10/retired.json && mkdir -p checkpoint-10/a/b && touch checkpoint-10/a/b/c",
        path);
    assert_int_equal(cn_retire_finish(writer.run.dir, "checkpoint-20"), 0); /* no retired one: nothing happens */
    assert_int_equal(cn_retire_finish(writer.run.dir, "checkpoint-10"), 0);
    assert_int_equal(cn_retire_finish(writer.run.dir, "checkpoint-10"), 0);
    expect("20");
    cn_rundir_close(&writer.run);
}

/* By a rule: who asked learns why one stays. */
static void what_stays_is_told(void **unused)
{
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &last_one, .message = note };
    (void)unused;
    make("told", 30);
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    test_ok(cn_held_open(writer.run.dir, "checkpoint-10", &pool, &held, &manifest, &err));
    test_ok(cn_retire(&writer.run, &retire, &err));
    expect("10 30");
    assert_non_null(strstr(told, "checkpoint-10"));
    assert_non_null(strstr(told, "somebody reads it"));
    cn_held_close(&held);
    cn_pool_done(&pool);
    cn_rundir_close(&writer.run);
}

/* What a newer version wrote, or the disk does not give, may be the newest of all: nobody knows what must stay. */
static void nothing_goes_while_one_cannot_be_read(void **unused)
{
    struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &last_one };
    struct cn_digest digest;
    char line[CN_DIGEST_HEX_BYTES];
    (void)unused;
    make("unread", 40);
    test_shell("cd %s/checkpoint-40 && sed -i 's/\"version\":1/\"version\":9/' manifest.json && head -c -45 manifest.json > m", path);
    cn_file dir, file;
    static char text[100000];
    size_t size;
    assert_int_equal(cn_os_open_dir(writer.run.dir, "checkpoint-40", &dir), 0);
    assert_int_equal(cn_os_open_read(dir, "m", &file), 0);
    assert_int_equal(cn_os_read_at(file, 0, text, sizeof text, &size), 0);
    digest = cn_digest_blocks(text, size);
    cn_digest_hex(&digest, line);
    cn_os_close(file);
    cn_os_close(dir);
    test_shell("cd %s/checkpoint-40 && printf '\"digest\":\"%s\"}\n' >> m && mv m manifest.json", path, line);
    test_code(cn_retire(&writer.run, &retire, &err), CAIRN_E_VERSION);
    assert_non_null(strstr(err.message, "checkpoint-40"));
    expect("10 20 30 40");
    cn_rundir_close(&writer.run);
}

/* What a full disk gets rid of first: other lines, then the unhealthy but for two. */
static void superseded_and_unhealthy_go_first(void **unused)
{
    (void)unused;
    make("first", 30);
    writer_go_back(&writer, 10, &err);
    for (uint64_t step = 40; step <= 100; step += 10) {
        struct cn_manifest manifest = writer_manifest(&writer, step, NULL);
        manifest.healthy = step % 20 != 0;
        test_ok(writer_commit(&writer, &manifest, &err));
    }
    expect("10 20 30 40 50 60 70 80 90 100");
    struct cn_retire plan = { .decide = cn_keeping_decide, .decider = &last_two, .dry_run = true, .each = note_name };
    test_ok(cn_retire(&writer.run, &plan, &err));
    assert_string_equal(told, "checkpoint-30\ncheckpoint-20\ncheckpoint-60\ncheckpoint-40\ncheckpoint-50\ncheckpoint-10\n");
    assert_int_equal(retire(100), 4); /* 20 30 superseded; 40 60 unhealthy: 80 and 100 are kept */
    expect("10 50 70 80 90 100");
    assert_int_equal(retire(1), 3);
    expect("80 90 100");
    cn_rundir_close(&writer.run);
}

static void a_full_disk_can_be_pruned(void **unused)
{
    static const int errors[] = { ENOSPC, EDQUOT };
    (void)unused;
    for (size_t i = 0; i < 2; i++) {
        make("full", 50);
        full_with = errors[i];
        assert_int_equal(retire(2), 3);
        full_with = 0;
        expect("40 50");
        assert_string_equal(told, "");
        test_ok(writer_save(&writer, 60, &err));
        cn_rundir_close(&writer.run);
    }
}

/* The real thing: a file system without a free inode. */
static void a_file_system_without_inodes_can_be_pruned(void **unused)
{
    char command[900];
    (void)unused;
    const char *folder = test_folder("inodes");
    snprintf(command, sizeof command, "mount -t tmpfs -o nr_inodes=60 tmpfs %s 2>/dev/null", folder);
    if (system(command)) skip();
    snprintf(path, sizeof path, "%s/run", folder);
    told[0] = 0;
    writer_open(&writer, path, &err);
    for (uint64_t step = 10; step <= 50; step += 10) test_ok(writer_save(&writer, step, &err));
    test_shell("cd %s && i=0; while touch f$i 2>/dev/null; do i=$((i + 1)); done", folder);
    test_code(writer_save(&writer, 60, &err), CAIRN_E_NOSPACE);
    assert_int_equal(retire(2), 3);
    expect("40 50");
    test_ok(writer_save(&writer, 60, &err));
    cn_rundir_close(&writer.run);
    test_shell("umount -l %s", folder);
}

/* Whoever retired it in place died before it was gone: it is no checkpoint, in nobody's way, and goes at the next occasion. */
static void what_was_retired_in_place_is_finished(void **unused)
{
    struct cn_catalog catalog;
    struct cn_rundir run;
    (void)unused;
    make("inplace", 40);
    test_shell(
        "cd %s && mv checkpoint-20/manifest.json checkpoint-20/retired.json && mv checkpoint-30/manifest.json checkpoint-30/retired.json",
        path);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    assert_true(catalog.count == 2 && catalog.readable == 2);
    cn_catalog_done(&catalog);
    test_ok(cn_rundir_open(path, &run, &err)); /* not another tool's */
    cn_rundir_close(&run);
    writer_go_back(&writer, 10, &err);
    test_ok(writer_save(&writer, 30, &err)); /* its name is free */
    test_shell("test -f %s/checkpoint-30/manifest.json", path);
    cn_retire_finish_all(&writer.run);
    expect("10 30 40");
    cn_rundir_close(&writer.run);
}

/* A pruner decided on checkpoint-20 and slept; meanwhile the run went back and saved another step 20. */
static struct writer second;

static void take_the_name(void)
{
    writer_open(&second, path, &err);
    second.lineage[second.lineage_count++] = (struct cn_lineage){ 1, 10 };
    test_shell("mv %s/checkpoint-20 %s/checkpoint-20~1", path, path);
    struct cn_manifest manifest = writer_manifest(&second, 20, NULL);
    struct cn_staging staging;
    struct cn_commit commit = { .manifest = &manifest, .uuid = second.uuid };
    test_ok(cn_staging_begin(&second.run, second.term, &staging, &err));
    test_ok(cn_staging_commit(&staging, &commit, &err));
    cn_staging_abandon(&staging);
}

/* The same, but the commit came before the pruner's folder was swept: only the look at what was moved can tell. */
static void take_the_name_quietly(void)
{
    test_shell("mv %s/checkpoint-20 %s/checkpoint-20~1 && cp -a %s/checkpoint-40 %s/checkpoint-20", path, path, path, path);
}

static void a_pruner_that_slept_trashes_nothing_new(void **unused)
{
    struct cn_catalog catalog;
    (void)unused;
    make("slept", 40);
    before_the_rename = take_the_name;
    test_shell("mv %s/checkpoint-10 %s/.cairn", path, path); /* so that 20 is its first victim */
    retire(2);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    assert_true(catalog.top->manifest.step == 20 && catalog.top->manifest.term == 2 && !strcmp(catalog.top->name, "checkpoint-20"));
    cn_catalog_done(&catalog);
    cn_rundir_close(&second.run);
    cn_rundir_close(&writer.run);
    make("quiet", 40);
    test_shell("mv %s/checkpoint-10 %s/.cairn", path, path);
    before_the_rename = take_the_name_quietly;
    retire(2);
    test_shell("cd %s && grep -q '\"step\":40' checkpoint-20/manifest.json && test -z \"$(ls .cairn/trash)\"",
               path); /* moved, seen and put back */
    cn_rundir_close(&writer.run);
}

/* Marked between the decision and the lock: it stays. */
static void pin_twenty(void)
{
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    test_ok(cn_held_open(writer.run.dir, "checkpoint-20", &pool, &held, &manifest, &err));
    test_ok(cn_marks_change(held.dir, &manifest, &(struct cn_marks_change){ .pin = 1 }, &err));
    cn_held_close(&held);
    cn_pool_done(&pool);
}

static void a_late_pin_counts(void **unused)
{
    (void)unused;
    make("pin", 40);
    before_the_rename = pin_twenty; /* while 10 is about to go, or 30: either way before 20 */
    retire(1);
    test_shell("test -d %s/checkpoint-20 || test -d %s/checkpoint-10", path, path);
    retire(1);
    expect("20 40");
    cn_rundir_close(&writer.run);
}

struct pruner {
    uint64_t retired;
    int failed;
};

static void prune_for_a_while(void *user)
{
    struct pruner *pruner = user;
    struct cn_rundir run;
    cairn_error error = CAIRN_ERROR_INIT;
    if (cn_rundir_open(path, &run, &error)) return;
    for (int i = 0; i < 60; i++) {
        struct cn_retire retire = { .decide = cn_keeping_decide, .decider = &last_three };
        int code = cn_retire(&run, &retire, &error);
        if (code && code != CAIRN_E_GONE) pruner->failed = code;
        pruner->retired += retire.retired;
        if (i % 7 == 0) cn_retire_empty_trash(&run);
    }
    cn_rundir_close(&run);
}

/* A writer and two pruners at once: what is kept is whole and right. */
static void pruners_at_once(void **unused)
{
    struct pruner pruners[2] = { { 0, 0 } };
    struct cn_task *tasks[2];
    struct cn_catalog catalog;
    (void)unused;
    make("many", 10);
    for (int i = 0; i < 2; i++) assert_int_equal(cn_task_start(prune_for_a_while, &pruners[i], &tasks[i]), 0);
    for (uint64_t step = 20; step <= 800; step += 10) test_ok(writer_save(&writer, step, &err));
    for (int i = 0; i < 2; i++) cn_task_join(tasks[i]);
    if (pruners[0].failed || pruners[1].failed) fail_msg("%s %s", cairn_code_name(pruners[0].failed), cairn_code_name(pruners[1].failed));
    retire(3);
    cn_retire_empty_trash(&writer.run);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    assert_true(catalog.count == 3 && catalog.readable == 3 && catalog.head->manifest.step == 800 &&
                catalog.entries[0].manifest.step == 780);
    cn_catalog_done(&catalog);
    test_shell("! ls %s/.cairn/trash | grep -q x", path);
    cn_rundir_close(&writer.run);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(old_ones_go_and_trash_is_empty),
                                        cmocka_unit_test(a_dry_run_touches_nothing),
                                        cmocka_unit_test(what_is_counted_must_be_good),
                                        cmocka_unit_test(what_a_restore_would_take_stays),
                                        cmocka_unit_test(what_is_incomplete_does_not_count),
                                        cmocka_unit_test(what_best_leads_to_stays),
                                        cmocka_unit_test(readers_keep_what_they_hold),
                                        cmocka_unit_test(a_manifest_replaced_under_the_lock_is_looked_at_again),
                                        cmocka_unit_test(readers_are_safe_on_nfs),
                                        cmocka_unit_test(what_is_put_into_an_empty_folder_stays),
                                        cmocka_unit_test(an_empty_folder_is_in_nobodys_way),
                                        cmocka_unit_test(who_removes_empties_what_dead_removers_left),
                                        cmocka_unit_test(leftovers_are_settled),
                                        cmocka_unit_test(trees_go_without_following),
                                        cmocka_unit_test(what_is_retired_goes_by_its_folder_not_its_name),
                                        cmocka_unit_test(what_stays_is_told),
                                        cmocka_unit_test(nothing_goes_while_one_cannot_be_read),
                                        cmocka_unit_test(superseded_and_unhealthy_go_first),
                                        cmocka_unit_test(a_full_disk_can_be_pruned),
                                        cmocka_unit_test(a_file_system_without_inodes_can_be_pruned),
                                        cmocka_unit_test(what_was_retired_in_place_is_finished),
                                        cmocka_unit_test(a_pruner_that_slept_trashes_nothing_new),
                                        cmocka_unit_test(a_late_pin_counts),
                                        cmocka_unit_test(pruners_at_once) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
