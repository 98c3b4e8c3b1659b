/* Covers src/store/commit.c and src/store/tidy.c: a staging folder becomes a checkpoint by one rename, or never. */
#include "storefix.h"
#include "store/tidy.h"

#include <unistd.h>

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600], told[4096];

static void fresh(const char *name)
{
    snprintf(path, sizeof path, "%s/run", test_folder(name));
}

static void note(void *user, const char *text)
{
    (void)user;
    snprintf(told, sizeof told, "%.4000s", text);
}

static void a_checkpoint_appears_whole(void **unused)
{
    struct writer writer;
    struct cn_staging staging;
    (void)unused;
    fresh("whole");
    writer_open(&writer, path, &err);
    test_ok(cn_staging_begin(&writer.run, writer.term, &staging, &err));
    test_ok(cn_staging_make_dirs(&staging, "a/b/c.txt", &err));
    test_ok(cn_staging_make_dirs(&staging, "a/b/d.txt", &err));
    test_shell("test -d %s/.cairn/staging/1-*/a/b -a -d %s/.cairn/staging/1-*/training && ! test -e %s/checkpoint-7", path, path, path);
    struct cn_manifest manifest = writer_manifest(&writer, 7, NULL);
    struct cn_commit commit = { .manifest = &manifest, .uuid = writer.uuid };
    test_ok(cn_staging_commit(&staging, &commit, &err));
    assert_string_equal(commit.name, "checkpoint-7");
    cn_staging_abandon(&staging); /* safe after a commit: nothing goes */
    cn_staging_abandon(&staging);
    test_shell("test -f %s/checkpoint-7/manifest.json -a -d %s/checkpoint-7/a/b && test -z \"$(ls %s/.cairn/staging)\"", path, path, path);
    cn_rundir_close(&writer.run);
}

static void an_abandoned_one_leaves_nothing(void **unused)
{
    struct writer writer;
    struct cn_staging staging;
    (void)unused;
    fresh("abandoned");
    writer_open(&writer, path, &err);
    test_ok(cn_staging_begin(&writer.run, writer.term, &staging, &err));
    test_shell("cd %s/.cairn/staging/1-* && touch training/x && ln -s / root", path);
    cn_staging_abandon(&staging);
    test_shell("test -z \"$(ls %s/.cairn/staging)\" && test -d /etc", path);
    cn_rundir_close(&writer.run);
}

/* D6: who has our name. */
static void the_name_is_freed_or_refused(void **unused)
{
    struct writer writer, later;
    (void)unused;
    fresh("name");
    writer_open(&writer, path, &err);
    test_ok(writer_save(&writer, 10, &err));
    test_ok(writer_save(&writer, 20, &err));
    test_code(writer_save(&writer, 20, &err), CAIRN_E_EXISTS);
    writer_go_back(&writer, 10, &err);
    test_ok(writer_save(&writer, 20, &err)); /* the superseded one makes room */
    test_shell("test -d %s/checkpoint-20~1 -a -d %s/checkpoint-20", path, path);
    writer_go_back(&writer, 20, &err); /* term 3; then by hand: the wished-for name is taken, too */
    writer.lineage[1].step = 15;
    test_shell("cp -a %s/checkpoint-10 %s/checkpoint-20~2", path, path);
    test_ok(writer_save(&writer, 20, &err));
    test_shell("test -d %s/checkpoint-20~3 && ! ls -d %s/checkpoint-20~2.*", path, path); /* a checkpoint still */
    /* a damaged one is set aside and told */
    test_shell("echo x >> %s/checkpoint-20/manifest.json", path);
    struct cn_manifest manifest = writer_manifest(&writer, 20, NULL);
    struct cn_staging staging;
    struct cn_commit commit = { .manifest = &manifest, .uuid = writer.uuid, .message = note };
    test_ok(cn_staging_begin(&writer.run, writer.term, &staging, &err));
    test_ok(cn_staging_commit(&staging, &commit, &err));
    cn_staging_abandon(&staging);
    assert_non_null(strstr(told, "damaged"));
    test_shell("test -d %s/checkpoint-20.damaged", path);
    /* one of a higher term: fenced, whatever the term files say */
    writer_open(&later, path, &err);
    test_ok(writer_save(&later, 30, &err));
    test_shell("rm %s/.cairn/terms/%d", path, (int)later.term);
    test_code(writer_save(&writer, 30, &err), CAIRN_E_FENCED);
    cn_rundir_close(&later.run);
    cn_rundir_close(&writer.run);
}

static bool prune_at_open; /* a pruner takes checkpoint-20 just before it is opened */

int __real_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    if (prune_at_open && !strcmp(name, "checkpoint-20")) {
        prune_at_open = false;
        test_shell("rm -r %s/checkpoint-20", path);
    }
    return __real_cn_os_open_dir(dir, name, ret_dir);
}

static void a_name_that_is_pruned_meanwhile_is_free(void **unused)
{
    struct writer writer;
    (void)unused;
    fresh("pruned");
    writer_open(&writer, path, &err);
    test_ok(writer_save(&writer, 10, &err));
    test_ok(writer_save(&writer, 20, &err));
    writer_go_back(&writer, 10, &err);
    prune_at_open = true;
    test_ok(writer_save(&writer, 20, &err));
    assert_false(prune_at_open);
    cn_rundir_close(&writer.run);
}

static void another_runs_checkpoint_is_foreign(void **unused)
{
    struct writer writer, other;
    char other_path[600];
    (void)unused;
    fresh("other");
    writer_open(&other, path, &err);
    test_ok(writer_save(&other, 5, &err));
    snprintf(other_path, sizeof other_path, "%.599s", path);
    fresh("mine");
    writer_open(&writer, path, &err);
    test_shell("cp -a %s/checkpoint-5 %s/checkpoint-5", other_path, path);
    test_code(writer_save(&writer, 5, &err), CAIRN_E_FOREIGN);
    test_shell("cmp %s/checkpoint-5/manifest.json %s/checkpoint-5/manifest.json", other_path, path);
    cn_rundir_close(&writer.run);
    cn_rundir_close(&other.run);
}

/* P8: a writer that sleeps in the middle of a save and wakes after a take-over, at each place it can sleep. */
static void a_sleeper_is_fenced_wherever_it_slept(void **unused)
{
    (void)unused;
    for (int saved = 0; saved < 2; saved++) {
        struct writer sleeper, next;
        struct cn_staging staging;
        fresh("sleeper");
        writer_open(&sleeper, path, &err);
        test_ok(cn_staging_begin(&sleeper.run, sleeper.term, &staging, &err));
        writer_open(&next, path, &err);
        if (saved) test_ok(writer_save(&next, 10, &err));
        struct cn_manifest manifest = writer_manifest(&sleeper, 10, NULL);
        struct cn_commit commit = { .manifest = &manifest, .uuid = sleeper.uuid };
        test_code(cn_staging_commit(&staging, &commit, &err), CAIRN_E_FENCED);
        cn_staging_abandon(&staging);
        test_shell("test %d = $(ls -d %s/checkpoint-* 2>/dev/null | wc -l)", saved, path);
        if (!saved) test_ok(writer_save(&next, 10, &err));
        cn_rundir_close(&sleeper.run);
        cn_rundir_close(&next.run);
    }
}

/* D8: a pruner's folder is renamed away by a commit. */
static void pruners_lose_their_target(void **unused)
{
    struct writer writer;
    (void)unused;
    fresh("pruner");
    writer_open(&writer, path, &err);
    test_shell("mkdir -p %s/.cairn/trash/p0123/x %s/.cairn/trash/s1", path, path);
    test_ok(writer_save(&writer, 1, &err));
    test_shell("cd %s/.cairn/trash && ! test -e p0123 && test -d x*/x && test -d s1", path);
    cn_rundir_close(&writer.run);
}

static void links_are_hints(void **unused)
{
    struct writer writer;
    (void)unused;
    fresh("links");
    writer_open(&writer, path, &err);
    cn_tidy_links(&writer.run, "checkpoint-1", NULL, note, NULL);
    cn_tidy_links(&writer.run, "checkpoint-2", "checkpoint-1", note, NULL);
    cn_tidy_links(&writer.run, "checkpoint-2", "checkpoint-1", note, NULL);
    test_shell(
        "cd %s && test $(readlink latest) = checkpoint-2 -a $(readlink best) = checkpoint-1 && test -z \"$(ls -A .cairn | grep tmp)\"",
        path);
    told[0] = 0;
    test_shell("cd %s && rm latest best && echo mine > latest && mkdir best", path); /* the user's own: they stay */
    cn_tidy_links(&writer.run, "checkpoint-3", NULL, note, NULL);
    assert_non_null(strstr(told, "latest"));
    cn_tidy_links(&writer.run, NULL, "checkpoint-3", note, NULL);
    assert_non_null(strstr(told, "best"));
    cn_tidy_links(&writer.run, "checkpoint-3", NULL, NULL, NULL);
    test_shell("cd %s && test $(cat latest) = mine -a -d best", path);
    cn_rundir_close(&writer.run);
}

/* What killed writers left goes; what may be somebody's yet, or is none of ours, stays. */
static void temporaries_of_the_dead_go(void **unused)
{
    static const char id[] = "0123456789abcdef0123456789abcdef";
    struct writer writer;
    (void)unused;
    fresh("temporaries");
    writer_open(&writer, path, &err);
    test_shell("cd %s/.cairn && touch .tmp-%s .tmp-%sx .tmp-1 terms/.tmp-%s-1 terms/.tmp-%s-2 terms/.tmp-%s-01", path, id, id, id, id, id);
    cn_tidy_temporaries(&writer.run, writer.term);
    test_shell("cd %s/.cairn && test \"$(ls -d .tmp-* terms/.tmp-* | xargs)\" = '.tmp-%sx .tmp-1 terms/.tmp-%s-01 terms/.tmp-%s-2'", path,
               id, id, id);
    cn_rundir_close(&writer.run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_checkpoint_appears_whole),         cmocka_unit_test(an_abandoned_one_leaves_nothing),
        cmocka_unit_test(the_name_is_freed_or_refused),       cmocka_unit_test(a_name_that_is_pruned_meanwhile_is_free),
        cmocka_unit_test(another_runs_checkpoint_is_foreign), cmocka_unit_test(a_sleeper_is_fenced_wherever_it_slept),
        cmocka_unit_test(pruners_lose_their_target),          cmocka_unit_test(links_are_hints),
        cmocka_unit_test(temporaries_of_the_dead_go)
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
