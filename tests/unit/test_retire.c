/* Covers src/store/retire.c: how a checkpoint goes, and which never does. */
#include "storefix.h"

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

static uint64_t retire(uint32_t keep_last)
{
    struct cn_retire retire = { .keep_last = keep_last, .message = note };
    test_ok(cn_retire(&writer.run, &retire, &err));
    return retire.retired;
}

static void expect(const char *names)
{
    test_shell("cd %s && test \"$(ls -d checkpoint-* | sort -V | sed s/checkpoint-// | xargs)\" = '%s' || { ls %s; false; }", path, names, path);
}

static void old_ones_go_and_trash_is_empty(void **unused)
{
    (void)unused;
    make("old", 60);
    assert_int_equal(retire(0), 0);
    expect("10 20 30 40 50 60");
    assert_int_equal(retire(2), 4);
    expect("50 60");
    test_shell("test -z \"$(ls %s/.cairn/trash)\"", path);
    assert_int_equal(retire(2), 0);
    assert_string_equal(told, "");
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

/* What pruners that died left: x... is emptied, but for what was never meant; p... of a living one stays. */
static void leftovers_are_settled(void **unused)
{
    struct cn_catalog catalog;
    (void)unused;
    make("leftovers", 40);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    const char *meant = cn_catalog_find(&catalog, 10, 0)->manifest.id, *other = cn_catalog_find(&catalog, 40, 0)->manifest.id;
    test_shell("cd %s && mkdir .cairn/trash/x1 .cairn/trash/p2 .cairn/trash/s3 .cairn/trash/odd && mv checkpoint-10 .cairn/trash/x1/%s"
               " && mv checkpoint-20 .cairn/trash/x1/%s && mv checkpoint-30 .cairn/trash/p2/keep && touch .cairn/trash/x1/junk", path, meant, other);
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
    test_shell("cd %s && mkdir -p outside victim/a/b && touch outside/keep victim/a/f && ln -s ../../outside victim/a/b/link && ln -s outside plain"
               " && cd victim && for i in $(seq 40); do mkdir deep && cd deep; done", path);
    assert_int_not_equal(cn_retire_remove_tree(writer.run.dir, "victim", &err), CAIRN_OK); /* deeper than any of ours: told, not followed for ever */
    test_shell("cd %s/victim && rm -rf deep", path);
    test_ok(cn_retire_remove_tree(writer.run.dir, "victim", &err));
    test_ok(cn_retire_remove_tree(writer.run.dir, "plain", &err));
    test_ok(cn_retire_remove_tree(writer.run.dir, "never", &err));
    test_shell("cd %s && ! test -e victim && ! test -L plain && test -f outside/keep", path);
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
        struct cn_retire retire = { .keep_last = 3 };
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
    assert_true(catalog.count == 3 && catalog.readable == 3 && catalog.head->manifest.step == 800 && catalog.entries[0].manifest.step == 780);
    cn_catalog_done(&catalog);
    test_shell("! ls %s/.cairn/trash | grep -q x", path);
    cn_rundir_close(&writer.run);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(old_ones_go_and_trash_is_empty), cmocka_unit_test(what_is_counted_must_be_good),
                                        cmocka_unit_test(readers_keep_what_they_hold), cmocka_unit_test(leftovers_are_settled),
                                        cmocka_unit_test(trees_go_without_following), cmocka_unit_test(pruners_at_once) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
