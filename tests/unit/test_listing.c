/* Covers src/api/run.c, src/api/checkpoint.c, src/api/listing.c, src/manager/resolve.c, src/manager/verify_named.c, src/manager/run.c and
 * src/snapshot/place.c: what callers may pass, the names that people write, the listings. A pruner stands behind cn_os_lease and cn_os_stat_path. */
#include "support.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "manager/request.h"
#include "manager/run.h"
#include "os/os.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char store[600];
static float weights[4];

/* A pruner that moves run/checkpoint-N into the trash at the worst moment: when its path is looked at first, or when it is about to be held. */
static uint64_t pruned_step; /* 0: none any more */
static bool prune_at_look;
static char aside[700];

static void prune(void)
{
    char from[700];
    snprintf(from, sizeof from, "%s/run/checkpoint-%llu", store, (unsigned long long)pruned_step);
    pruned_step = 0;
    assert_int_equal(rename(from, aside), 0);
}

int __real_cn_os_lease(cn_file file, bool exclusive);
int __wrap_cn_os_lease(cn_file file, bool exclusive);
int __wrap_cn_os_lease(cn_file file, bool exclusive)
{
    if (pruned_step && !prune_at_look) prune();
    return __real_cn_os_lease(file, exclusive);
}

int __real_cn_os_stat_path(const char *path, struct cn_file_info *ret_info);
int __wrap_cn_os_stat_path(const char *path, struct cn_file_info *ret_info);
int __wrap_cn_os_stat_path(const char *path, struct cn_file_info *ret_info)
{
    char name[64];
    snprintf(name, sizeof name, "/checkpoint-%llu", (unsigned long long)pruned_step);
    if (pruned_step && prune_at_look && strstr(path, name)) prune();
    return __real_cn_os_stat_path(path, ret_info);
}

/* Nothing else can be opened, or listed, for a while. */
static int folders_fail_with, listing_fails_with;

int __real_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    return folders_fail_with ? -folders_fail_with : __real_cn_os_open_dir(dir, name, ret_dir);
}

int __real_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);
int __wrap_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);
int __wrap_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user)
{
    return listing_fails_with ? -listing_fails_with : __real_cn_os_list(dir, each, user);
}

static cairn_state *new_state(void)
{
    static const uint64_t shape[] = { 4 };
    cairn_state *state;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 1, tensor.shape = shape, tensor.address = weights,
    tensor.flags = CAIRN_TRAINABLE;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    return state;
}

static int save(cairn_run *run, cairn_state *state, uint64_t step, double loss, const char *tag)
{
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_metric metric = { "loss", loss };
    weights[0] = (float)step;
    options.step = step;
    options.metrics = &metric;
    options.metrics_count = 1;
    options.tags = &tag;
    options.tags_count = tag != NULL;
    return cairn_save(run, state, &options, NULL, &err);
}

/* run: steps 10 20 30 (gold: 10 and 20; best 20), then back to 20 and 25; other: empty. */
static void make(const char *name)
{
    char path[700];
    cairn_run *run;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_options back = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_state *state = new_state();
    snprintf(store, sizeof store, "%s", test_folder(name));
    snprintf(path, sizeof path, "%s/run", store);
    options.best_metric = "loss";
    test_ok(cairn_run_open(path, &options, &run, &err));
    test_ok(save(run, state, 10, 3, "gold"));
    test_ok(save(run, state, 20, 1, "gold"));
    test_ok(save(run, state, 30, 2, "away"));
    back.step = 20;
    test_ok(cairn_restore(run, state, &back, NULL, &err));
    test_ok(save(run, state, 25, 5, NULL));
    test_ok(cairn_run_close(run, &err));
    snprintf(path, sizeof path, "%s/other", store);
    test_ok(cairn_run_open(path, NULL, &run, &err));
    test_ok(cairn_run_close(run, &err));
    test_shell("cd %s && mkdir no-run lost+found && touch file && ln -s run .hidden", store);
    cairn_state_free(state);
}

static void names_lead_to_checkpoints(void **unused)
{
    static const struct {
        const char *name;
        uint64_t step, term;
    } good[] = { { "run@10", 10, 1 },    { "run@25", 25, 2 },   { "run@latest", 25, 2 },
                 { "run@best", 20, 1 },  { "run@gold", 20, 1 }, { "run@30~1", 30, 1 },
                 { "run@20~1", 20, 1 },  { "run@away", 30, 1 }, { "run/checkpoint-10", 10, 1 },
                 { "run/latest", 25, 2 } };
    static const char *const bad[] = { "run@7",      "run@25~1",  "run@",       "@10",     "other@latest",
                                       "other@best", "no-run@10", "nothing@10", "run@010", "nothing" };
    (void)unused;
    make("names");
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cairn_checkpoint *checkpoint;
        test_ok(cairn_checkpoint_open(store, good[i].name, &checkpoint, &err));
        const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
        if (info->entry.step != good[i].step || info->entry.term != good[i].term) fail_msg("%s", good[i].name);
        cairn_checkpoint_close(checkpoint);
        test_ok(cairn_verify(store, good[i].name, NULL, NULL, &err));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cairn_checkpoint *none = NULL;
        test_code(cairn_checkpoint_open(store, bad[i], &none, &err), CAIRN_E_NOTFOUND);
        assert_true(!none && err.message[0]);
        test_code(cairn_verify(store, bad[i], NULL, NULL, &err), CAIRN_E_NOTFOUND);
    }
    cairn_checkpoint *none = NULL;
    test_code(cairn_checkpoint_open(store, "run", &none, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "run@latest"));
    test_code(cairn_checkpoint_open(store, "run@7", &none, &err), CAIRN_E_NOTFOUND);
    assert_non_null(strstr(err.message, "25, 20, 10"));
    test_code(cairn_checkpoint_open(store, "run", &none, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "run@latest"));
    test_code(cairn_verify(store, "run", NULL, NULL, &err), CAIRN_E_USAGE);
    /* a path that exists wins over a selector */
    test_shell("cp -r %s/run/checkpoint-10 %s/run@best", store, store);
    test_ok(cairn_checkpoint_open(store, "run@best", &none, &err));
    assert_int_equal(cairn_checkpoint_get_info(none)->entry.step, 10);
    cairn_checkpoint_close(none);
}

/* What is pruned while it is opened is gone, not damaged; a name that leads elsewhere then is followed again. */
static void what_is_pruned_meanwhile_is_gone(void **unused)
{
    static const struct {
        const char *name;
        uint64_t then; /* the step it leads to afterwards; 0: GONE */
    } cases[] = { { "run@latest", 30 }, { "run/latest", 0 }, { "run/checkpoint-25", 0 }, { "run/checkpoint-25//", 0 } };
    (void)unused;
    for (size_t i = 0; i < 2 * sizeof cases / sizeof *cases; i++) {
        cairn_checkpoint *checkpoint = NULL;
        cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
        size_t which = i / 2;
        make("pruned");
        snprintf(aside, sizeof aside, "%s/aside", store);
        prune_at_look = i % 2;
        if (prune_at_look && which) continue; /* a path that is not there is not found */
        pruned_step = 25;
        int code = cairn_checkpoint_open(store, cases[which].name, &checkpoint, &err);
        assert_int_equal(pruned_step, 0);
        if (cases[which].then) {
            test_ok(code);
            assert_int_equal(cairn_checkpoint_get_info(checkpoint)->entry.step, cases[which].then);
            cairn_checkpoint_close(checkpoint);
        } else
            test_code(code, CAIRN_E_GONE);
        test_shell("mv %s %s/run/checkpoint-25", aside, store);
        pruned_step = 25;
        test_code(cairn_verify(store, cases[which].name, NULL, &report, &err), cases[which].then ? CAIRN_OK : CAIRN_E_GONE);
        assert_int_equal(report.findings, 0);
    }
}

/* However a path is written, and whether or not its last part is the folder's own name. */
static void paths_lead_to_checkpoints(void **unused)
{
    static const char *const paths[] = { ".",           "./",         "../checkpoint-10", "../checkpoint-10/", "../checkpoint-10//.",
                                         "training/..", "../../link", "../../link/",      "../../links/10",    "../best" };
    char home[1000];
    (void)unused;
    make("paths");
    test_shell("cd %s && ln -s run/checkpoint-10 link && mkdir links && ln -s ../run/checkpoint-10 links/10 && rm run/best && "
               "ln -s checkpoint-10 run/best",
               store);
    assert_non_null(getcwd(home, sizeof home));
    char inside[700];
    snprintf(inside, sizeof inside, "%s/run/checkpoint-10", store);
    assert_int_equal(chdir(inside), 0);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cairn_checkpoint *checkpoint;
        test_ok(cairn_checkpoint_open(NULL, paths[i], &checkpoint, &err));
        assert_int_equal(cairn_checkpoint_get_info(checkpoint)->entry.step, 10);
        assert_string_equal(cairn_checkpoint_get_info(checkpoint)->path, paths[i]);
        cairn_checkpoint_close(checkpoint);
        test_ok(cairn_verify(NULL, paths[i], NULL, NULL, &err));
    }
    test_shell("truncate -s 100 manifest.json");
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cairn_checkpoint *checkpoint;
        cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
        test_code(cairn_checkpoint_open(NULL, paths[i], &checkpoint, &err), CAIRN_E_CORRUPT);
        test_code(cairn_verify(NULL, paths[i], NULL, &report, &err), CAIRN_E_CORRUPT);
        assert_int_equal(report.findings, 1);
    }
    assert_int_equal(chdir(home), 0);
}

static int note(void *user, const char *name)
{
    strcat(strcat(user, name), " ");
    return 0;
}

static int stop(void *user, const char *name)
{
    (void)user, (void)name;
    return 77;
}

static void listings_show_what_there_is(void **unused)
{
    char names[200] = "", path[700];
    cairn_listing *listing = NULL;
    (void)unused;
    make("listing");
    test_ok(cairn_store_list(store, note, names, &err));
    assert_string_equal(names, "other run ");
    assert_int_equal(cairn_store_list(store, stop, names, &err), 77);
    test_code(cairn_store_list("/nowhere", note, names, &err), CAIRN_E_NOTFOUND);
    /* a run that cannot be looked at must not be left out; errno 23 is no code of ours */
    names[0] = 0;
    folders_fail_with = ENFILE;
    test_code(cairn_store_list(store, note, names, &err), CAIRN_E_IO);
    folders_fail_with = 0;
    assert_int_equal(err.os_errno, ENFILE);
    static const int problems[] = { EACCES, EPERM, EIO, ESTALE, ETIMEDOUT, ENAMETOOLONG }; /* who opens it learns of that */
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) {
        names[0] = 0;
        folders_fail_with = problems[i];
        test_ok(cairn_store_list(store, note, names, &err));
        folders_fail_with = 0;
        assert_non_null(strstr(names, "other run "));
        assert_null(strstr(names, ".hidden"));
        assert_null(strstr(names, "lost+found"));
    }
    names[0] = 0;
    folders_fail_with = ENOENT;
    test_ok(cairn_store_list(store, note, names, &err));
    folders_fail_with = 0;
    assert_string_equal(names, "");
    listing_fails_with = ESTALE;
    test_code(cairn_store_list(store, note, names, &err), CAIRN_E_GONE);
    listing_fails_with = 0;
    assert_string_equal(names, "");
    snprintf(path, sizeof path, "%s/run", store);
    test_ok(cairn_listing_open(path, &listing, &err));
    assert_int_equal(cairn_listing_count(listing), 4);
    static const uint64_t steps[] = { 10, 20, 30, 25 };
    for (size_t i = 0; i < 4; i++) assert_int_equal(cairn_listing_entry(listing, i)->step, steps[i]);
    assert_true(cairn_listing_entry(listing, 1)->is_best && cairn_listing_entry(listing, 3)->is_latest &&
                cairn_listing_entry(listing, 3)->is_head);
    assert_int_equal(cairn_listing_entry(listing, 2)->standing, CAIRN_SUPERSEDED);
    assert_null(cairn_listing_entry(listing, 4));
    assert_int_equal(strlen(cairn_listing_run_id(listing)), 32);
    cairn_listing_close(listing);
    cairn_listing_close(NULL);
    assert_true(!cairn_listing_count(NULL) && !cairn_listing_entry(NULL, 0) && !*cairn_listing_run_id(NULL));
    snprintf(path, sizeof path, "%s/no-run", store);
    test_code(cairn_listing_open(path, &listing, &err), CAIRN_E_NOTFOUND);
}

/* What a selector means may be what cannot be read: then no other one is given instead. */
static void a_selector_hides_no_damage(void **unused)
{
    static const struct {
        const char *name;
        int code;
    } cases[] = { { "run@latest", CAIRN_E_CORRUPT }, { "run@25", CAIRN_E_CORRUPT }, { "run@best", CAIRN_OK }, { "run@20", CAIRN_OK } };
    cairn_checkpoint *checkpoint;
    (void)unused;
    for (int linked = 0; linked < 2; linked++) {
        make("hides");
        test_shell("truncate -s -7 %s/run/checkpoint-25/manifest.json", store);
        if (!linked) test_shell("rm %s/run/latest", store);
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
            test_code(cairn_verify(store, cases[i].name, NULL, NULL, &err), cases[i].code);
            if (cases[i].code) assert_non_null(strstr(err.message, "checkpoint-25"));
        }
        test_shell("truncate -s -7 %s/run/checkpoint-20/manifest.json", store);
        test_code(cairn_checkpoint_open(store, "run@best", &checkpoint, &err), CAIRN_E_CORRUPT);
        assert_non_null(strstr(err.message, "checkpoint-20"));
        test_shell("cd %s/run && ln -sfn checkpoint-10 latest && rm -r checkpoint-25 checkpoint-20 checkpoint-30*", store);
        test_ok(cairn_verify(store, "run@latest", NULL, NULL, &err));
        test_shell("cd %s/run && mkdir checkpoint-9 && echo x > checkpoint-9/manifest.json", store);
        test_ok(cairn_verify(store, "run@latest", NULL, NULL, &err)); /* an older one's damage is not in the way */
    }
    make("stale"); /* a link that a killed writer left behind */
    test_shell("cd %s/run && ln -sfn checkpoint-10 latest && truncate -s -7 checkpoint-10/manifest.json", store);
    test_ok(cairn_verify(store, "run@latest", NULL, NULL, &err));
}

/* A store may be put together of links; a run that has lost its run.json is seen, and who opens it learns why. */
static void links_and_lost_runs_are_listed(void **unused)
{
    char names[200] = "", path[700];
    cairn_listing *listing;
    (void)unused;
    make("links");
    test_shell("cd %s && ln -s run linked && ln -s nowhere dangling && ln -s file to-file && rm other/run.json", store);
    test_ok(cairn_store_list(store, note, names, &err));
    assert_string_equal(names, "linked other run ");
    snprintf(path, sizeof path, "%s/linked", store);
    test_ok(cairn_listing_open(path, &listing, &err));
    cairn_listing_close(listing);
    snprintf(path, sizeof path, "%s/other", store);
    test_code(cairn_listing_open(path, &listing, &err), CAIRN_E_FORMAT);
    assert_non_null(strstr(err.message, "run.json is missing"));
}

/* A run of its own, for calls that are refused. */
static cairn_run *open_another(const char *name)
{
    cairn_run *run;
    test_ok(cairn_run_open(test_folder(name), NULL, &run, &err));
    return run;
}

static void opening_without_what_it_needs(void **unused)
{
    cairn_run *run = NULL;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    const char *path = test_folder("opening");
    (void)unused;
    test_code(cairn_run_open(NULL, NULL, &run, &err), CAIRN_E_USAGE);
    test_code(cairn_run_open("", NULL, &run, &err), CAIRN_E_USAGE);
    test_code(cairn_run_open(path, NULL, NULL, &err), CAIRN_E_USAGE);
    options.io_threads = 17;
    test_code(cairn_run_open(path, &options, &run, &err), CAIRN_E_USAGE);
    options.io_threads = 0, options.piece_bytes = 12345;
    test_code(cairn_run_open(path, &options, &run, &err), CAIRN_E_USAGE);
    options.piece_bytes = 16 << 20, options.io_mode = (cairn_io_mode)9;
    test_code(cairn_run_open(path, &options, &run, &err), CAIRN_E_USAGE);
    options.io_mode = CAIRN_IO_AUTO, options.struct_size = 0;
    test_code(cairn_run_open(path, &options, &run, &err), CAIRN_E_USAGE);
    options.struct_size = sizeof options;
    test_ok(cairn_run_open(path, &options, &run, &err));
    cairn_run_cancel(NULL);
    test_ok(cairn_run_close(run, &err));
    test_ok(cairn_run_close(NULL, &err));
}

static void saving_without_what_it_needs(void **unused)
{
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    cairn_state *state = new_state();
    cairn_run *run = open_another("saving");
    (void)unused;
    test_code(cairn_save(NULL, state, &saving, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_save(run, NULL, &saving, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_save(run, state, NULL, NULL, &err), CAIRN_E_USAGE);
    saving.struct_size = 1;
    test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_USAGE);
    saving.struct_size = sizeof saving, saving.step = UINT64_C(1) << 63;
    test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "below 2^63"));
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

static void what_is_no_tag_and_no_metric_is_refused(void **unused)
{
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    cairn_state *state = new_state();
    cairn_run *run = open_another("marks");
    (void)unused;
    static const char *const tags[] = { "7", "latest", "best", "", "a b", "a/b", "a@b", "1~2", "\xff", "x\ny", NULL };
    for (size_t i = 0; i < sizeof tags / sizeof *tags; i++) {
        saving.tags = &tags[i], saving.tags_count = 1;
        test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_USAGE);
    }
    saving.tags_count = 0;
    static const cairn_metric metrics[] = { { "a", 1 }, { "a", 2 }, { "", 1 }, { NULL, 1 }, { "\xff", 1 } };
    saving.metrics = metrics, saving.metrics_count = 2;
    test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_USAGE);
    for (size_t i = 2; i < 5; i++) {
        saving.metrics = &metrics[i], saving.metrics_count = 1;
        test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_USAGE);
    }
    saving.metrics_count = 1001;
    test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_LIMIT);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

static void what_cannot_be_attached_is_refused(void **unused)
{
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    cairn_status status = CAIRN_STATUS_INIT;
    cairn_state *state = new_state();
    cairn_run *run = open_another("attaching");
    (void)unused;
    static const cairn_attachment attachments[] = { { NULL, NULL, "", 0 },
                                                    { "../x", NULL, "", 0 },
                                                    { "a", NULL, NULL, 5 },
                                                    { "a", "/nowhere/a", NULL, 0 },
                                                    { "training/state.json", NULL, "", 0 },
                                                    { "model.safetensors.index.json", NULL, "", 0 },
                                                    { "x/model.safetensors", NULL, "", 0 },
                                                    { "a", "/dev", NULL, 0 } };
    static const int codes[] = { CAIRN_E_USAGE, CAIRN_E_PATH, CAIRN_E_USAGE, CAIRN_E_NOTFOUND,
                                 CAIRN_E_PATH,  CAIRN_E_PATH, CAIRN_E_PATH,  CAIRN_E_PATH };
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        saving.step = i + 1, saving.attachments = &attachments[i], saving.attachments_count = 1;
        test_code(cairn_save(run, state, &saving, NULL, &err), codes[i]);
    }
    assert_non_null(strstr(err.message, "step 8 was not saved"));
    static const cairn_attachment pairs[][2] = { { { "a", NULL, "x", 1 }, { "a", NULL, "y", 1 } },
                                                 { { "a", NULL, "x", 1 }, { "a/b", NULL, "y", 1 } },
                                                 { { "a/b/c", NULL, "x", 1 }, { "a/b", NULL, "y", 1 } } };
    for (size_t i = 0; i < 3; i++) {
        saving.attachments = pairs[i], saving.attachments_count = 2;
        test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_USAGE);
        assert_non_null(strstr(err.message, i ? "folder of another" : "twice"));
    }
    saving.attachments_count = CN_MAX_FILES + 1;
    test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_LIMIT);
    assert_int_equal(cairn_run_status(run, &status), CAIRN_OK);
    assert_true(status.saves_failed == 2 && status.saves_done == 0 && status.phase == CAIRN_PHASE_FAILED && status.term == 1);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

static void restoring_without_what_it_needs(void **unused)
{
    cairn_restore_options restoring = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_status status = CAIRN_STATUS_INIT;
    cairn_state *state = new_state();
    cairn_run *run = open_another("restoring");
    (void)unused;
    test_code(cairn_restore(NULL, state, NULL, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_restore(run, NULL, NULL, NULL, &err), CAIRN_E_USAGE);
    restoring.struct_size = 3;
    test_code(cairn_restore(run, state, &restoring, NULL, &err), CAIRN_E_USAGE);
    restoring.struct_size = sizeof restoring, restoring.step = 5;
    test_code(cairn_restore(run, state, &restoring, NULL, &err), CAIRN_E_NOTFOUND);
    assert_int_equal(cairn_run_status(NULL, &status), CAIRN_E_USAGE);
    status.struct_size = 1;
    assert_int_equal(cairn_run_status(run, &status), CAIRN_E_USAGE);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

static void reading_without_what_it_needs(void **unused)
{
    cairn_listing *listing;
    cairn_checkpoint *checkpoint;
    cairn_verify_options verifying = CAIRN_VERIFY_OPTIONS_INIT;
    (void)unused;
    make("reading");
    test_code(cairn_listing_open(NULL, &listing, &err), CAIRN_E_USAGE);
    test_code(cairn_listing_open("x", NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_store_list(NULL, note, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_store_list("x", NULL, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_open(NULL, NULL, &checkpoint, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_open(NULL, "", &checkpoint, &err), CAIRN_E_USAGE);
    test_code(cairn_checkpoint_open(NULL, "x", NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_verify(NULL, "", NULL, NULL, &err), CAIRN_E_USAGE);
    verifying.struct_size = 0;
    test_code(cairn_verify(store, "run@10", &verifying, NULL, &err), CAIRN_E_USAGE);
    assert_string_equal(cairn_version(), CAIRN_VERSION_STRING);
}

/* A report without its size is one that nobody initialised, or a smaller one of another header: nothing is written into it. */
static void reports_start_from_their_macros(void **unused)
{
    cairn_run *run = NULL;
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    cairn_keep_options keeping = CAIRN_KEEP_OPTIONS_INIT;
    cairn_save_report saved = { .step = 77 };
    cairn_restore_report restored = { .step = 77 };
    cairn_verify_report verified = { .findings = 77 };
    cairn_keep_report kept = { .kept = 77 };
    cairn_state *state = new_state();
    char path[700], folder[700];
    (void)unused;
    make("reports");
    snprintf(path, sizeof path, "%s/run", store);
    snprintf(folder, sizeof folder, "%s/folder", store);
    test_ok(cairn_run_open(path, NULL, &run, &err));
    saving.step = 40;
    keeping.last = 1;
    saved.struct_size = sizeof saved - 1;
    test_code(cairn_save(run, state, &saving, &saved, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "CAIRN_SAVE_REPORT_INIT"));
    test_code(cairn_save_folder(folder, state, NULL, &saved, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "CAIRN_SAVE_REPORT_INIT"));
    test_code(cairn_restore(run, state, NULL, &restored, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "CAIRN_RESTORE_REPORT_INIT"));
    test_code(cairn_load(store, "run@10", state, NULL, &restored, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "CAIRN_RESTORE_REPORT_INIT"));
    test_code(cairn_verify(store, "run@10", NULL, &verified, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "CAIRN_VERIFY_REPORT_INIT"));
    test_code(cairn_keep(path, &keeping, &kept, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "CAIRN_KEEP_REPORT_INIT"));
    assert_true(saved.step == 77 && restored.step == 77 && verified.findings == 77 && kept.kept == 77);
    test_shell("test ! -e %s && test ! -e %s/checkpoint-40 && test -d %s/checkpoint-10", folder, path, path);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

/* A fetch callback that forks in the middle of a save: the child may use nothing of it, its exit disturbs nothing. */
static cairn_run *forking_run;
static cairn_state *forking_state;

static int forking_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    static int forked;
    int status;
    (void)user, (void)offset;
    memset(destination, 7, size);
    if (forked++) return 0;
    pid_t child = fork();
    if (!child) {
        cairn_save_options options = TEST_SAVE_OPTIONS;
        options.step = 99;
        if (cairn_save(forking_run, forking_state, &options, NULL, NULL) != CAIRN_E_FORKED) _exit(1);
        if (cairn_restore(forking_run, forking_state, NULL, NULL, NULL) != CAIRN_E_FORKED) _exit(2);
        _exit(cairn_run_close(forking_run, NULL) == CAIRN_E_FORKED ? 0 : 3);
    }
    return waitpid(child, &status, 0) == child && status == 0 ? 0 : 1;
}

static int no_store(void *user, uint64_t offset, size_t size, const void *source)
{
    (void)user, (void)offset, (void)size, (void)source;
    return 0;
}

static void a_fork_during_a_save_disturbs_nothing(void **unused)
{
    static const uint64_t shape[] = { 9000000 };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_save_options options = TEST_SAVE_OPTIONS;
    char path[700];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("fork"));
    test_ok(cairn_state_new(&forking_state, &err));
    tensor.name = "t", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = shape, tensor.fetch = forking_fetch,
    tensor.store = no_store;
    test_ok(cairn_state_bind_tensor(forking_state, "model", &tensor, &err));
    test_ok(cairn_run_open(path, NULL, &forking_run, &err));
    options.step = 1;
    test_ok(cairn_save(forking_run, forking_state, &options, NULL, &err));
    options.step = 2;
    test_ok(cairn_save(forking_run, forking_state, &options, NULL, &err));
    test_ok(cairn_run_close(forking_run, &err));
    strcat(path, "@1");
    test_ok(cairn_verify(NULL, path, NULL, NULL, &err));
    cairn_state_free(forking_state);
}

/* Each is compared with its folders alone, not with each other: that would take a minute here. */
static void many_attachments_are_checked_at_once(void **unused)
{
    enum { COUNT = CN_MAX_FILES };
    struct name {
        char text[40];
    } *names = calloc(COUNT, sizeof *names);
    cairn_attachment *attachments = calloc(COUNT, sizeof *attachments);
    cairn_save_options options = TEST_SAVE_OPTIONS;
    (void)unused;
    assert_true(names && attachments);
    for (int i = 0; i < COUNT; i++) {
        snprintf(names[i].text, sizeof names[i].text, "folder-%d/file-%d", i / 100, i);
        attachments[i] = (cairn_attachment){ .name = names[i].text };
    }
    options.step = 1, options.attachments = attachments, options.attachments_count = COUNT;
    clock_t start = clock();
    test_ok(cn_request_check(&options, &err));
    attachments[COUNT - 1].name = names[COUNT / 2].text;
    test_code(cn_request_check(&options, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "\"folder-500/file-50000\" is given twice"));
    attachments[COUNT - 1].name = "folder-500";
    test_code(cn_request_check(&options, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "\"folder-500\" is the folder of another"));
    attachments[COUNT - 1].name = "folder-500/file-50000/below/it";
    test_code(cn_request_check(&options, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "\"folder-500/file-50000\" is the folder of another"));
    assert_true(clock() - start < 10 * CLOCKS_PER_SEC);
    free(names);
    free(attachments);
}

/* What the caller can spare is what it takes, however large the state; but three pieces it must have. */
static void an_arena_is_no_larger_than_it_may_be(void **unused)
{
    const uint64_t mib = 1 << 20, limits[] = { 1, 13 * mib, 48 * mib, 50 * mib, 64 * mib }, pieces[] = { 4 * mib, 16 * mib };
    (void)unused;
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++)
        for (int k = 0; k < 2; k++)
            for (uint64_t total = 0; total <= limits[i] + 8 * mib; total += 4 * mib) {
                cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
                cairn_status status = CAIRN_STATUS_INIT;
                cairn_run *run;
                options.arena_bytes = limits[i], options.piece_bytes = pieces[k];
                test_ok(cairn_run_open(test_folder("arena"), &options, &run, &err));
                test_ok(cn_run_need_arena(run, pieces[k], total, &err));
                assert_int_equal(cairn_run_status(run, &status), CAIRN_OK);
                uint64_t least = 3 * (pieces[k] + 2 * CN_PAGE_BYTES), most = limits[i] > least ? limits[i] : least;
                if (status.arena_bytes > most)
                    fail_msg("%llu instead of at most %llu bytes for %llu", (unsigned long long)status.arena_bytes,
                             (unsigned long long)most, (unsigned long long)total);
                assert_true(status.arena_bytes >= least && (limits[i] < 50 * mib || total < 64 * mib || status.arena_bytes > 40 * mib));
                test_ok(cairn_run_close(run, &err));
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_to_checkpoints),
        cmocka_unit_test(what_is_pruned_meanwhile_is_gone),
        cmocka_unit_test(paths_lead_to_checkpoints),
        cmocka_unit_test(listings_show_what_there_is),
        cmocka_unit_test(a_selector_hides_no_damage),
        cmocka_unit_test(links_and_lost_runs_are_listed),
        cmocka_unit_test(opening_without_what_it_needs),
        cmocka_unit_test(saving_without_what_it_needs),
        cmocka_unit_test(what_is_no_tag_and_no_metric_is_refused),
        cmocka_unit_test(what_cannot_be_attached_is_refused),
        cmocka_unit_test(restoring_without_what_it_needs),
        cmocka_unit_test(reading_without_what_it_needs),
        cmocka_unit_test(many_attachments_are_checked_at_once),
        cmocka_unit_test(an_arena_is_no_larger_than_it_may_be),
        cmocka_unit_test(reports_start_from_their_macros),
        cmocka_unit_test(a_fork_during_a_save_disturbs_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
