/* Covers src/store/catalog.c, src/store/held.c, src/store/remains.c and src/store/check.c: what a run holds, by its manifests alone; a checkpoint held open; what can
 * be told without reading tensors. */
#include "storefix.h"

#include <limits.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "store/check.h"
#include "store/held.h"
#include "store/remains.h"
#include "store/smallfile.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600];
static struct writer writer;

/* Steps 10 20 30 of term 1, then back to 20 and 30 40 of term 2, then back to 10 (step 15 of term 3 not yet there). */
static void make(const char *name)
{
    snprintf(path, sizeof path, "%s/run", test_folder(name));
    writer_open(&writer, path, &err);
    for (uint64_t step = 10; step <= 30; step += 10) test_ok(writer_save(&writer, step, &err));
    writer_go_back(&writer, 20, &err);
    for (uint64_t step = 30; step <= 40; step += 10) test_ok(writer_save(&writer, step, &err));
}

static void expect_line(const char *want)
{
    struct cn_catalog catalog;
    char found[600] = "";
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    for (uint64_t i = 0; i < catalog.count; i++) {
        const struct cn_catalog_entry *entry = &catalog.entries[i];
        size_t used = strlen(found);
        if (i < catalog.readable)
            snprintf(found + used, sizeof found - used, "%llu/%llu%s%s%s ", (unsigned long long)entry->manifest.step,
                     (unsigned long long)entry->manifest.term, entry->standing == CAIRN_CURRENT ? "" : "-",
                     entry == catalog.head ? "H" : "", entry == catalog.top ? "T" : "");
        else
            snprintf(found + used, sizeof found - used, "%s:%s ", entry->standing == CAIRN_DAMAGED ? "damaged" : "foreign",
                     cairn_code_name(entry->problem_code));
    }
    if (strcmp(found, want)) fail_msg("%s instead of %s", found, want);
    cn_catalog_done(&catalog);
}

static void manifests_are_the_truth(void **unused)
{
    static const char line[] = "10/1 20/1 30/1- 30/2 40/2HT ";
    (void)unused;
    make("truth");
    expect_line(line);
    /* whatever the folders are called */
    test_shell("cd %s && mv checkpoint-10 checkpoint-999 && mv checkpoint-40 checkpoint-1~7 && mv checkpoint-30 checkpoint-0", path);
    expect_line(line);
    /* a copy under another name changes nothing but that it is seen twice */
    test_shell("cd %s && mv checkpoint-999 checkpoint-10", path);
    struct cn_catalog catalog;
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    assert_int_equal(cn_catalog_find(&catalog, 30, 0)->manifest.term, 2);
    assert_int_equal(cn_catalog_find(&catalog, 30, 1)->manifest.term, 1);
    assert_null(cn_catalog_find(&catalog, 30, 3));
    assert_null(cn_catalog_find(&catalog, 35, 0));
    cn_catalog_done(&catalog);
    cn_rundir_close(&writer.run);
}

static void the_head_is_healthy_and_exact(void **unused)
{
    (void)unused;
    make("head");
    struct cn_manifest sick = writer_manifest(&writer, 50, NULL);
    sick.healthy = 0;
    test_ok(writer_commit(&writer, &sick, &err));
    expect_line("10/1 20/1 30/1- 30/2 40/2H 50/2T ");
    struct cn_manifest inexact = writer_manifest(&writer, 60, NULL);
    inexact.exact = 0;
    test_ok(writer_commit(&writer, &inexact, &err));
    expect_line("10/1 20/1 30/1- 30/2 40/2H 50/2 60/2T ");
    cn_rundir_close(&writer.run);
}

static void odd_folders_are_set_aside(void **unused)
{
    (void)unused;
    make("odd");
    test_shell(
        "cd %s && mkdir checkpoint-6 checkpoint-7 checkpoint-x && touch checkpoint-7/theirs && echo x > checkpoint-8 && ln -s checkpoint-10 checkpoint-11 && mkfifo checkpoint-12"
        " && cp -a checkpoint-10 checkpoint-13 && truncate -s -1 checkpoint-13/manifest.json && cp -a checkpoint-10 checkpoint-14"
        " && rm checkpoint-14/manifest.json && mkfifo checkpoint-14/manifest.json && cp -a checkpoint-10 checkpoint-15"
        " && truncate -s 2M checkpoint-15/manifest.json && mkdir -p checkpoint-16/manifest.json",
        path);
    expect_line(
        "10/1 20/1 30/1- 30/2 40/2HT damaged:CORRUPT damaged:LIMIT foreign:PATH foreign:PATH foreign:PATH foreign:PATH foreign:FOREIGN foreign:PATH foreign:FOREIGN ");
    cn_rundir_close(&writer.run);
}

/* What shows that it was Cairn's: training/tensors.json or training/state.json. */
static void what_lost_its_manifest_is_damaged(void **unused)
{
    (void)unused;
    make("lost");
    test_shell("cd %s && rm checkpoint-10/manifest.json && mkdir -p checkpoint-10/training && touch checkpoint-10/training/tensors.json"
               " && rm checkpoint-20/manifest.json && mkdir -p checkpoint-20/training && touch checkpoint-20/training/state.json"
               " && mkdir checkpoint-21 && touch checkpoint-21/training",
               path);
    expect_line("30/1- 30/2 40/2HT damaged:TRUNCATED damaged:TRUNCATED foreign:FOREIGN ");
    test_shell("cd %s && touch checkpoint-10/retired.json && rm -r checkpoint-20/*", path);
    expect_line("30/1- 30/2 40/2HT foreign:FOREIGN "); /* it was retired, or is empty: somebody removes it */
    cn_rundir_close(&writer.run);
}

/* Nothing rests on names; but whoever renamed or copied a folder hears of it. A copy is no checkpoint of its own, whichever name comes first. */
static void odd_names_are_told(void **unused)
{
    static const char *const told[] = { "checkpoint-999 it is of step 10", "checkpoint-40~9 a copy of checkpoint-40: remove it by hand" };
    struct cn_catalog catalog;
    unsigned found = 0;
    (void)unused;
    make("odd-names");
    test_shell("cd %s && mv checkpoint-10 checkpoint-999 && cp -a checkpoint-40 checkpoint-40~9", path);
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    for (uint64_t i = 0; i < catalog.count; i++) {
        char text[300];
        const struct cn_catalog_entry *entry = &catalog.entries[i];
        if (!entry->problem) continue;
        assert_true(i < catalog.readable ? !entry->problem_code && !entry->marks_unreadable : entry->problem_code == CAIRN_E_EXISTS);
        snprintf(text, sizeof text, "%s %s", entry->name, entry->problem);
        for (size_t k = 0; k < 2; k++) found |= !strncmp(text, told[k], strlen(told[k])) ? 1u << k : 0;
    }
    assert_int_equal(found, 3);
    assert_string_equal(catalog.top->name, "checkpoint-40");
    cn_catalog_done(&catalog);
    test_shell("cd %s && rm -r checkpoint-40~9 && cp -a checkpoint-40 checkpoint-4", path);
    expect_line("10/1 20/1 30/1- 30/2 40/2HT foreign:EXISTS ");
    cn_rundir_close(&writer.run);
}

struct mover {
    struct cn_rundir *run;
    unsigned turn, done; /* raised by the lister, UINT_MAX: end; one rename a turn, then done follows */
};

static void rename_once_a_turn(void *user)
{
    struct mover *mover = user;
    static const char *const names[] = { "checkpoint-10", "checkpoint-10~1" };
    for (unsigned turn; (turn = __atomic_load_n(&mover->turn, __ATOMIC_ACQUIRE)) != UINT_MAX;) {
        if (turn == mover->done) continue;
        cn_os_sleep_ns(turn * 7919 % 300000);
        (void)cn_os_rename_new(mover->run->dir, names[~turn & 1], mover->run->dir, names[turn & 1]);
        __atomic_store_n(&mover->done, turn, __ATOMIC_RELEASE);
    }
}

/* Nothing is missed and nothing seen twice while a name changes under the listing. */
static void a_listing_sees_each_once(void **unused)
{
    struct mover mover = { &writer.run, 0, 0 };
    struct cn_task *task;
    (void)unused;
    make("moving");
    assert_int_equal(cn_task_start(rename_once_a_turn, &mover, &task), 0);
    for (unsigned turn = 1; turn <= 400; turn++) {
        struct cn_catalog catalog;
        __atomic_store_n(&mover.turn, turn, __ATOMIC_RELEASE);
        test_ok(cn_catalog_load(&writer.run, &catalog, &err));
        assert_int_equal(catalog.readable, 5);
        cn_catalog_done(&catalog);
        while (__atomic_load_n(&mover.done, __ATOMIC_ACQUIRE) != turn) cn_os_sleep_ns(10000);
    }
    __atomic_store_n(&mover.turn, UINT_MAX, __ATOMIC_RELEASE);
    cn_task_join(task);
    cn_rundir_close(&writer.run);
}

/* A pruner as fast as the listing: every other checkpoint goes right before it is read. */
static bool pruning;

static const char *taking; /* the name of which a checkpoint is taken */
int __real_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    char aside[CN_FOLDER_NAME_BYTES + 8];
    uint64_t step, term;
    snprintf(aside, sizeof aside, "gone-%s", name);
    if (taking && !strcmp(name, taking)) { /* moved into trash when it has been opened, and emptied there but for one file */
        int rc = __real_cn_os_open_dir(dir, name, ret_dir);
        taking = NULL;
        test_shell("cd %s && mv %s .cairn/trash/taken && rm .cairn/trash/taken/manifest.json && touch .cairn/trash/taken/model.safetensors",
                   path, name);
        return rc;
    }
    if (pruning && cn_layout_parse_folder(name, &step, &term) && step % 2) (void)cn_os_rename_new(dir, name, dir, aside);
    return __real_cn_os_open_dir(dir, name, ret_dir);
}

static void what_goes_while_it_is_looked_at_has_gone(void **unused)
{
    enum cn_remains remains = CN_REMAINS_FOREIGN;
    (void)unused;
    make("taken");
    taking = "checkpoint-40";
    assert_int_equal(cn_remains_look(writer.run.dir, "checkpoint-40", &remains), 0);
    assert_null(taking);
    assert_int_equal(remains, CN_REMAINS_NONE);
    taking = "checkpoint-30";
    test_shell("mv %s/.cairn/trash/taken %s/.cairn/trash/earlier", path, path);
    test_ok(cn_rundir_refuse_foreign(&writer.run, &err));
    assert_null(taking);
    cn_rundir_close(&writer.run);
}

static void a_listing_beside_a_pruner_ends(void **unused)
{
    struct cn_catalog catalog;
    uint64_t previous = 0;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("pruner"));
    writer_open(&writer, path, &err);
    for (uint64_t step = 1; step <= 400; step++) test_ok(writer_save(&writer, step, &err));
    pruning = true;
    test_ok(cn_catalog_load(&writer.run, &catalog, &err));
    pruning = false;
    assert_int_equal(catalog.readable, 200);
    for (uint64_t i = 0; i < catalog.readable; i++) {
        assert_true(catalog.entries[i].manifest.step > previous);
        previous = catalog.entries[i].manifest.step;
    }
    cn_catalog_done(&catalog);
    cn_rundir_close(&writer.run);
}

/* ------------------------------------------------------------------------------------------------------------- held open */

static void what_is_held_stays_itself(void **unused)
{
    struct cn_pool pool;
    struct cn_held held;
    struct cn_manifest manifest;
    cn_file file = CN_NO_FILE;
    (void)unused;
    make("held");
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    test_ok(cn_held_open(writer.run.dir, "checkpoint-40", &pool, &held, &manifest, &err));
    assert_true(held.leased && manifest.step == 40 && manifest.term == 2);
    test_shell("mv %s/checkpoint-40 %s/elsewhere", path, path);
    assert_int_equal(cn_os_open_read(held.dir, "manifest.json", &file), 0); /* by the folder, not by the name */
    assert_int_equal(cn_os_lease(file, true), -11);
    cn_held_close(&held);
    assert_int_equal(cn_os_lease(file, true), 0);
    cn_os_close(file);
    cn_held_close(&held);
    test_code(cn_held_open(writer.run.dir, "checkpoint-40", &pool, &held, &manifest, &err), CAIRN_E_NOTFOUND);
    test_code(cn_held_open(writer.run.dir, "run.json", &pool, &held, &manifest, &err), CAIRN_E_PATH);
    cn_pool_done(&pool);
    cn_rundir_close(&writer.run);
}

/* ------------------------------------------------------------------------------------------------------------ quick check */

struct findings {
    char text[2000];
};

static void note(void *user, const char *file, int code, const char *message)
{
    struct findings *findings = user;
    size_t used = strlen(findings->text);
    (void)message;
    snprintf(findings->text + used, sizeof findings->text - used, "%s:%s ", file, cairn_code_name(code));
}

/* A manifest of four files: one header, one JSON, one attached in a folder, one that is missing. */
static void the_quick_check_tells_all(void **unused)
{
    cn_file dir = CN_NO_FILE;
    struct findings findings = { "" };
    struct cn_manifest_file files[] = {
        { .name = "model.safetensors",
          .kind = CN_FILE_TENSORS,
          .size_bytes = 20,
          .header_bytes = 10,
          .header_digest = cn_digest_of("0123456789", 10) },
        { .name = "training/state.json", .kind = CN_FILE_OWN, .size_bytes = 4, .digest = cn_digest_blocks("true", 4) },
        { .name = "a/b", .kind = CN_FILE_ATTACHED, .size_bytes = 3 },
    };
    struct cn_manifest manifest = { .files = files, .files_count = 3 };
    struct cn_digest digest, want = cn_digest_blocks("abc", 3);
    unsigned char room[64];
    (void)unused;
    const char *folder = test_folder("check");
    test_shell(
        "cd %s && mkdir training a && printf 0123456789abcdefghij > model.safetensors && printf true > training/state.json && printf abc > a/b",
        folder);
    assert_int_equal(cn_os_open_dir_path(folder, &dir), 0);
    test_ok(cn_check_quick(dir, &manifest, note, &findings, &err));
    assert_string_equal(findings.text, "");
    test_ok(cn_check_digest(dir, "a/b", room, sizeof room, &digest, &err));
    assert_true(cn_digest_equal(&digest, &want));
    test_code(cn_check_digest(dir, "a/c", room, sizeof room, &digest, &err), CAIRN_E_NOTFOUND);
    test_shell(
        "cd %s && printf X | dd of=model.safetensors conv=notrunc status=none && printf xxxx > training/state.json && printf ab > a/b",
        folder);
    test_code(cn_check_quick(dir, &manifest, note, &findings, &err), CAIRN_E_CORRUPT);
    assert_string_equal(findings.text, "model.safetensors:CORRUPT training/state.json:CORRUPT a/b:TRUNCATED ");
    test_code(cn_check_quick(dir, &manifest, NULL, NULL, &err), CAIRN_E_CORRUPT);
    findings.text[0] = 0;
    test_shell("cd %s && rm model.safetensors && mv a t && ln -s t a && printf truely > training/state.json", folder);
    assert_int_not_equal(cn_check_quick(dir, &manifest, note, &findings, &err), CAIRN_OK);
    assert_string_equal(findings.text, "model.safetensors:TRUNCATED training/state.json:CORRUPT a/b:PATH ");
    cn_os_close(dir);
}

/* A process without descriptors must not take the newest checkpoint for damaged and go on from an older one. */
static void no_descriptors_is_no_damage(void **unused)
{
    struct cn_catalog catalog;
    int status;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("descriptors"));
    writer_open(&writer, path, &err);
    for (uint64_t step = 10; step <= 30; step += 10) test_ok(writer_save(&writer, step, &err));
    pid_t child = fork();
    if (!child) {
        int next = dup(0);
        struct rlimit limit = { (rlim_t)next + 1, (rlim_t)next + 1 };
        close(next);
        if (setrlimit(RLIMIT_NOFILE, &limit)) _exit(2);
        _exit(cn_catalog_load(&writer.run, &catalog, &err) != CAIRN_E_IO || !strstr(err.message, "Too many open files"));
    }
    waitpid(child, &status, 0);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    cn_rundir_close(&writer.run);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(manifests_are_the_truth),
                                        cmocka_unit_test(the_head_is_healthy_and_exact),
                                        cmocka_unit_test(what_lost_its_manifest_is_damaged),
                                        cmocka_unit_test(odd_names_are_told),
                                        cmocka_unit_test(odd_folders_are_set_aside),
                                        cmocka_unit_test(a_listing_sees_each_once),
                                        cmocka_unit_test(what_goes_while_it_is_looked_at_has_gone),
                                        cmocka_unit_test(a_listing_beside_a_pruner_ends),
                                        cmocka_unit_test(what_is_held_stays_itself),
                                        cmocka_unit_test(the_quick_check_tells_all),
                                        cmocka_unit_test(no_descriptors_is_no_damage) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
