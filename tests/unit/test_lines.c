/* Covers src/store/metricslog.c, src/manager/metrics.c and src/api/metrics.c, and going back as a whole: another way taken from an older step, by
 * choice, after damage, after NaN; what was left behind is listed, named and voided, never harmed. */
#include "support.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "store/catalog.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600], told[8192];
static float weights[1000];
static cairn_state *state;

static void note(void *user, const char *message)
{
    size_t used = strlen(told);
    (void)user;
    snprintf(told + used, sizeof told - used, "%s\n", message);
}

static cairn_run *open_run(const char *name)
{
    static const uint64_t shape[] = { 1000 };
    cairn_run *run;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    if (name) snprintf(path, sizeof path, "%s/run", test_folder(name));
    told[0] = 0;
    options.message = note;
    options.best_metric = "loss";
    cairn_state_free(state);
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 1, tensor.shape = shape, tensor.address = weights,
    tensor.flags = CAIRN_TRAINABLE;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    test_ok(cairn_run_open(path, &options, &run, &err));
    return run;
}

/* way tells two step 40s apart. */
static void save(cairn_run *run, uint64_t step, int way)
{
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_metric metric = { "loss", 100.0 - (double)step + way };
    for (size_t i = 0; i < 1000; i++) weights[i] = (float)(step * 10 + (uint64_t)way) + (float)i;
    options.step = step;
    options.metrics = &metric, options.metrics_count = 1;
    test_ok(cairn_save(run, state, &options, NULL, &err));
}

static uint64_t restore(cairn_run *run, uint64_t step)
{
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    options.step = step;
    test_ok(cairn_restore(run, state, &options, &report, &err));
    return report.step;
}

/* "10 20 -30 40H": steps by (term, step), '-' for superseded ones. */
static void expect_line(const char *want)
{
    cairn_listing *listing;
    char found[1000] = "";
    test_ok(cairn_listing_open(path, &listing, &err));
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s%s%llu%s", i ? " " : "",
                 entry->standing == CAIRN_SUPERSEDED ? "-"
                 : entry->standing == CAIRN_CURRENT  ? ""
                                                     : "?",
                 (unsigned long long)entry->step, entry->is_head ? "H" : "");
    }
    cairn_listing_close(listing);
    if (strcmp(found, want)) fail_msg("'%s' instead of '%s'", found, want);
}

static void expect_names(const char *want)
{
    test_shell("cd %s && test \"$(ls -d checkpoint-* | sed s/checkpoint-// | sort -n | xargs)\" = '%s' || { ls %s; false; }", path, want,
               path);
}

static int add_row(void *user, uint64_t step, uint64_t term, const cairn_metric *metrics, size_t count)
{
    char *text = user;
    size_t used = strlen(text);
    snprintf(text + used, 2000 - used, "%s%llu/%llu:%s=%g", used ? " " : "", (unsigned long long)step, (unsigned long long)term,
             count ? metrics[0].name : "-", count ? metrics[0].value : 0.0);
    return 0;
}

static void expect_rows(const char *want, uint64_t ignored)
{
    char found[2000] = "";
    uint64_t left_out = 99;
    test_ok(cairn_metrics_read(path, add_row, found, &left_out, &err));
    if (strcmp(found, want)) fail_msg("'%s' instead of '%s'", found, want);
    assert_int_equal(left_out, ignored);
}

/* The next append leaves half of its bytes and fails: a disk that is full. */
static bool tear;
int __real_cn_os_append(cn_file file, const void *data, size_t size);
int __wrap_cn_os_append(cn_file file, const void *data, size_t size);
int __wrap_cn_os_append(cn_file file, const void *data, size_t size)
{
    if (!tear) return __real_cn_os_append(file, data, size);
    tear = false;
    (void)__real_cn_os_append(file, data, size / 2);
    return -ENOSPC;
}

/* What happens right after the run was looked at. */
static void (*meanwhile)(void);
int __real_cn_catalog_load(const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *error);
int __wrap_cn_catalog_load(const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *error);
int __wrap_cn_catalog_load(const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *error)
{
    void (*happens)(void) = meanwhile;
    int code = __real_cn_catalog_load(run, catalog, error);
    meanwhile = NULL;
    if (happens) happens();
    return code;
}

static void a_torn_row_takes_no_other_with_it(void **unused)
{
    const cairn_metric metric = { "m", 1.0 };
    (void)unused;
    cairn_run *run = open_run("torn");
    save(run, 10, 0);
    tear = true;
    assert_int_equal(cairn_log(run, 11, &metric, 1, &err), CAIRN_E_NOSPACE);
    test_ok(cairn_log(run, 12, &metric, 1, &err));
    test_ok(cairn_run_close(run, &err));
    expect_rows("10/1:loss=90 12/1:m=1", 1);

    run = open_run("torn-begin");
    tear = true;
    save(run, 10, 0); /* the row that begins the term is torn */
    save(run, 20, 0);
    test_ok(cairn_run_close(run, &err));
    expect_rows("10/1:loss=90 20/1:loss=80", 1);
}

static void three_ways_in_one_process(void **unused)
{
    (void)unused;
    cairn_run *run = open_run("three");
    for (uint64_t step = 10; step <= 40; step += 10) save(run, step, 0);
    expect_line("10 20 30 40H");
    assert_int_equal(restore(run, 20), 20);
    expect_line("10 20 30 40H"); /* nothing is left behind before the first commit */
    save(run, 40, 1);
    expect_line("10 20 -30 -40 40H");
    expect_names("10 20 30~1 40 40~1");
    expect_rows("10/1:loss=90 20/1:loss=80 40/2:loss=61", 0);
    assert_int_equal(restore(run, 10), 10);
    save(run, 20, 2);
    save(run, 30, 2);
    expect_line("10 -20 -30 -40 -40 20 30H");
    expect_names("10 20 20~1 30 30~1 40~1 40~2");
    expect_rows("10/1:loss=90 20/3:loss=82 30/3:loss=72", 0);
    assert_int_equal(restore(run, CAIRN_STEP_DEFAULT), 30); /* the head: the line just goes on */
    save(run, 40, 2);
    assert_int_equal(restore(run, 30), 30);
    assert_true(weights[0] == 302);
    save(run, 35, 3);
    expect_rows("10/1:loss=90 20/3:loss=82 30/3:loss=72 35/5:loss=68", 0);
    test_ok(cairn_run_close(run, &err));
    run = open_run(NULL);
    assert_int_equal(restore(run, CAIRN_STEP_DEFAULT), 35);
    assert_true(weights[0] == 353);
    test_ok(cairn_run_close(run, &err));
    /* what was superseded is there, by name */
    cairn_checkpoint *checkpoint;
    char name[700];
    snprintf(name, sizeof name, "%s@40~2", path);
    test_ok(cairn_checkpoint_open(NULL, name, &checkpoint, &err));
    test_ok(cairn_checkpoint_read(checkpoint, cairn_checkpoint_find(checkpoint, "model", "w"), 0, 4, weights, &err));
    assert_true(weights[0] == 401);
    cairn_checkpoint_close(checkpoint);
    test_shell("test \"$(readlink %s/latest)\" = checkpoint-35", path);
}

static void after_damage_and_after_nan(void **unused)
{
    (void)unused;
    cairn_run *run = open_run("damage");
    for (uint64_t step = 10; step <= 40; step += 10) save(run, step, 0);
    test_ok(cairn_run_close(run, &err));
    test_damage(path, "checkpoint-40/model.safetensors", 4100);
    run = open_run(NULL);
    assert_int_equal(restore(run, CAIRN_STEP_DEFAULT), 30);
    assert_non_null(strstr(told, "checkpoint-40 is damaged"));
    save(run, 40, 1);
    expect_names("10 20 30 40 40~1");
    expect_line("10 20 30 -40 40H");
    weights[3] = NAN;
    cairn_save_options options = TEST_SAVE_OPTIONS;
    options.step = 50;
    test_ok(cairn_save(run, state, &options, NULL, &err));
    expect_line("10 20 30 -40 40H 50");
    assert_int_equal(restore(run, CAIRN_STEP_DEFAULT), 40); /* the healthy one */
    save(run, 45, 2);
    expect_line("10 20 30 -40 40 -50 45H");
    test_ok(cairn_run_close(run, &err));
}

/* Folders renamed at random: the manifests are the truth. */
static void names_are_hints(void **unused)
{
    (void)unused;
    cairn_run *run = open_run("names");
    for (uint64_t step = 10; step <= 40; step += 10) save(run, step, 0);
    restore(run, 20);
    save(run, 30, 1);
    test_ok(cairn_run_close(run, &err));
    srand(3);
    for (int round = 0; round < 20; round++) {
        test_shell(
            "cd %s && i=0; for d in checkpoint-*; do i=$((i + 1)); mv $d .moving-$i; done; for d in .moving-*; do mv $d checkpoint-$(( (%d + ${d#.moving-} * 7919) %% 100000 ))~$(( %d %% 5 + 1 )); done",
            path, rand() % 100000, rand());
        expect_line("10 20 -30 -40 30H");
        run = open_run(NULL);
        assert_int_equal(restore(run, CAIRN_STEP_DEFAULT), 30);
        assert_true(weights[0] == 301);
        if (round == 19) {
            save(run, 50, 0); /* the next commit gives superseded ones a name that is in nobody's way; those of the line keep theirs */
            test_shell(
                "cd %s && test \"$(ls -d checkpoint-30~1 checkpoint-40~1 checkpoint-50 | wc -l)\" = 3 && test $(ls -d checkpoint-* | wc -l) = 6",
                path);
        }
        test_ok(cairn_run_close(run, &err));
    }
}

static unsigned opens_left; /* until checkpoint-30 gets another name, as by a writer that goes back; 0: never */
static bool name_is_given_on;

int __real_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    if (!strcmp(name, "checkpoint-30") && opens_left && !--opens_left) {
        test_shell("mv %s/checkpoint-30 %s/checkpoint-30~1", path, path);
        if (name_is_given_on) test_shell("mv %s.other %s/checkpoint-30", path, path);
    }
    return __real_cn_os_open_dir(dir, name, ret_dir);
}

/* What came back and what the report says of it are of one checkpoint. */
static void restore_either(cairn_run *run, uint64_t step)
{
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    options.step = step;
    weights[0] = 0;
    test_ok(cairn_restore(run, state, &options, &report, &err));
    assert_int_equal(report.step, 30);
    if (weights[0] != (report.term == 1 ? 300 : 301))
        fail_msg("%g, term %d, opens left %u of %s", weights[0], (int)report.term, opens_left, path);
}

/* The run whose checkpoint-30 is of the first way; one of the second way lies beside it. */
static cairn_run *make_two_ways(const char *name)
{
    cairn_run *run = open_run(name);
    for (uint64_t at = 10; at <= 30; at += 10) save(run, at, 0);
    restore(run, 20);
    save(run, 30, 1);
    test_ok(cairn_run_close(run, &err));
    test_shell("cd %s && mv checkpoint-30 ../run.other && mv checkpoint-30~1 checkpoint-30", path);
    return open_run(NULL);
}

/* It moves between being listed and being opened, at every one of its openings; its name leads nowhere then, or to one of another line. */
static void move_at_every_opening(const char *name, uint64_t step)
{
    for (unsigned opening = 1, moved = 1; moved; opening++) {
        char folder[64];
        snprintf(folder, sizeof folder, "%s-%u", name, opening);
        cairn_run *run = make_two_ways(folder);
        opens_left = opening;
        restore_either(run, step);
        moved = !opens_left;
        opens_left = 0;
        assert_string_equal(told, "");
        test_ok(cairn_run_close(run, &err));
        assert_true(moved || opening > 3);
    }
}

static void what_is_renamed_meanwhile_is_no_damage(void **unused)
{
    (void)unused;
    move_at_every_opening("moved", CAIRN_STEP_DEFAULT);
    move_at_every_opening("moved-named", 30);
    name_is_given_on = true;
    move_at_every_opening("given-on", CAIRN_STEP_DEFAULT);
    move_at_every_opening("given-on-named", 30);
    name_is_given_on = false;
}

/* The first way's step 30: -1 if it is not there, else how many tags it has. */
static int tags_of_first(void)
{
    cairn_listing *listing;
    int tags = -1;
    unsigned left = opens_left;
    opens_left = 0; /* not while we look */
    test_ok(cairn_listing_open(path, &listing, &err));
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        if (entry->step == 30 && entry->term == 1) tags = (int)entry->tags_count;
    }
    cairn_listing_close(listing);
    opens_left = left;
    return tags;
}

static void untag(const char *name)
{
    static const char *const tag[] = { "mine" };
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    options.remove_tags = tag, options.remove_tags_count = 1;
    int code = cairn_mark(NULL, name, &options, &err);
    assert_true(!code || code == CAIRN_E_GONE);
    assert_int_equal(tags_of_first(), code ? 1 : 0);
}

static void open_tagged(const char *name)
{
    cairn_checkpoint *checkpoint;
    test_ok(cairn_checkpoint_open(NULL, name, &checkpoint, &err));
    assert_int_equal(cairn_checkpoint_get_info(checkpoint)->entry.term, 1);
    cairn_checkpoint_close(checkpoint);
}

/* A tag leads to one checkpoint; what has its folder's name by the time of acting is another one. */
static void a_tag_leads_to_its_checkpoint(void **unused)
{
    static void (*const acts[])(const char *name) = { untag, open_tagged };
    static const char *const tag[] = { "mine" };
    (void)unused;
    name_is_given_on = true;
    for (unsigned act = 0; act < 2; act++)
        for (unsigned opening = 1, moved = 1; moved; opening++) {
            char name[700];
            cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
            snprintf(name, sizeof name, "tagged-%u-%u", act, opening);
            test_ok(cairn_run_close(make_two_ways(name), &err));
            options.add_tags = tag, options.add_tags_count = 1;
            snprintf(name, sizeof name, "%s/checkpoint-30", path);
            test_ok(cairn_mark(NULL, name, &options, &err));
            opens_left = opening;
            snprintf(name, sizeof name, "%s@mine", path);
            acts[act](name);
            moved = !opens_left;
            opens_left = 0;
            assert_true(moved || opening > 1);
        }
    name_is_given_on = false;
}

/* ------------------------------------------------------------------------------------------------------------ metrics.jsonl */

static void rows_wait_for_their_terms_first_checkpoint(void **unused)
{
    cairn_metric metric = { "lr", 0.5 }, two[] = { { "a", NAN }, { "b", -1e300 } };
    (void)unused;
    cairn_run *run = open_run("rows");
    expect_rows("", 0);
    test_ok(cairn_log(run, 5, &metric, 1, &err));
    expect_rows("", 0);
    save(run, 10, 0);
    test_ok(cairn_log(run, 12, &metric, 1, &err));
    test_ok(cairn_log(run, 13, two, 2, &err));
    expect_rows("5/1:lr=0.5 10/1:loss=90 12/1:lr=0.5 13/1:a=nan", 0);
    test_ok(cairn_run_close(run, &err));
    /* resumed and killed before a checkpoint: nothing has changed */
    pid_t child = fork();
    if (!child) {
        run = open_run(NULL);
        restore(run, CAIRN_STEP_DEFAULT);
        cairn_log(run, 11, &metric, 1, &err);
        kill(getpid(), 9);
    }
    waitpid(child, NULL, 0);
    expect_rows("5/1:lr=0.5 10/1:loss=90 12/1:lr=0.5 13/1:a=nan", 0);
    run = open_run(NULL);
    restore(run, CAIRN_STEP_DEFAULT);
    test_ok(cairn_log(run, 11, &metric, 1, &err));
    save(run, 20, 0);
    expect_rows("5/1:lr=0.5 10/1:loss=90 11/3:lr=0.5 20/3:loss=80", 0);
    /* a torn tail is ignored, and closed by whoever comes next */
    test_ok(cairn_run_close(run, &err));
    test_shell("cd %s && printf '{\"step\":21,\"te' >> metrics.jsonl", path);
    expect_rows("5/1:lr=0.5 10/1:loss=90 11/3:lr=0.5 20/3:loss=80", 1);
    run = open_run(NULL);
    restore(run, CAIRN_STEP_DEFAULT);
    save(run, 30, 0);
    expect_rows("5/1:lr=0.5 10/1:loss=90 11/3:lr=0.5 20/3:loss=80 30/4:loss=70", 1);
    /* one changed byte: that row is left out, and told */
    test_shell("cd %s && sed -i 's/\"step\":10,/\"step\":18,/' metrics.jsonl", path);
    expect_rows("5/1:lr=0.5 11/3:lr=0.5 20/3:loss=80 30/4:loss=70", 2);
    test_code(cairn_log(run, 31, &(cairn_metric){ "", 1 }, 1, &err), CAIRN_E_USAGE);
    test_code(cairn_log(run, 31, NULL, 1, &err), CAIRN_E_USAGE);
    test_code(cairn_log(run, UINT64_C(1) << 63, &metric, 1, &err), CAIRN_E_USAGE);
    test_code(cairn_log(NULL, 31, &metric, 1, &err), CAIRN_E_USAGE);
    test_code(cairn_log(run, 31, &metric, 1001, &err), CAIRN_E_LIMIT);
    test_code(cairn_metrics_read("/nowhere", add_row, NULL, NULL, &err), CAIRN_E_NOTFOUND);
    test_code(cairn_metrics_read(path, NULL, NULL, NULL, &err), CAIRN_E_USAGE);
    test_ok(cairn_run_close(run, &err));
    /* any junk for a file is ignored rows */
    test_shell("cd %s && head -c 5000 /dev/urandom > metrics.jsonl", path);
    char found[2000] = "";
    uint64_t ignored = 0;
    test_ok(cairn_metrics_read(path, add_row, found, &ignored, &err));
    assert_true(!found[0] && ignored > 0);
    test_shell("cd %s && rm metrics.jsonl && ln -s /etc/passwd metrics.jsonl", path);
    test_code(cairn_metrics_read(path, add_row, found, &ignored, &err), CAIRN_E_PATH);
    run = open_run(NULL);
    restore(run, CAIRN_STEP_DEFAULT);
    save(run, 40, 0); /* the checkpoint counts; the log is a message */
    assert_non_null(strstr(told, "metrics.jsonl"));
    test_ok(cairn_run_close(run, &err));
}

/* A writer that was overtaken and goes on reporting: its rows do not count. */
static void an_overtaken_writer_reports_in_vain(void **unused)
{
    cairn_metric metric = { "lr", 9 };
    int status;
    (void)unused;
    cairn_run *run = open_run("overtaken");
    save(run, 10, 0);
    pid_t child = fork();
    if (!child) {
        cairn_run *mine;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        cairn_save_options saving = TEST_SAVE_OPTIONS;
        cairn_metric loss = { "loss", 1 };
        options.take_over = 1;
        saving.step = 20;
        saving.metrics = &loss, saving.metrics_count = 1;
        if (cairn_run_open(path, &options, &mine, &err) || cairn_restore(mine, state, NULL, NULL, &err) ||
            cairn_save(mine, state, &saving, NULL, &err))
            _exit(1);
        _exit(cairn_run_close(mine, &err) ? 2 : 0);
    }
    assert_true(waitpid(child, &status, 0) == child && status == 0);
    test_ok(cairn_log(run, 15, &metric, 1, &err));
    expect_rows("10/1:loss=90 20/2:loss=1", 0);
    cairn_run_close(run, NULL);
}

static void remove_the_newest(void)
{
    test_shell("rm -r %s/checkpoint-30", path);
}

/* Another writer takes the run over and saves two steps, keeping the last alone or all; what it drops the optimizer of, or NULL. */
static void take_over(uint64_t first_step, uint32_t keep_last, const char *drop)
{
    int status;
    pid_t child = fork();
    if (!child) {
        cairn_run *mine;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        cairn_save_options saving = TEST_SAVE_OPTIONS;
        char name[640];
        options.take_over = 1;
        options.keep_last = keep_last;
        int code = cairn_run_open(path, &options, &mine, &err);
        if (!code) code = cairn_restore(mine, state, NULL, NULL, &err);
        for (saving.step = first_step; !code && saving.step <= first_step + 10; saving.step += 10)
            code = cairn_save(mine, state, &saving, NULL, &err);
        snprintf(name, sizeof name, "%s/%s", path, drop ? drop : "");
        if (!code && drop) code = cairn_drop_item(NULL, name, "optimizer", &err);
        _exit(code || cairn_run_close(mine, &err));
    }
    assert_true(waitpid(child, &status, 0) == child && status == 0);
}

static void take_over_and_prune(void)
{
    take_over(40, 1, NULL);
}

static void take_over_and_drop(void)
{
    take_over(60, 0, "checkpoint-50"); /* which is the head no more */
}

static cairn_run *open_run_with_moment(const char *name)
{
    static float moment;
    cairn_run *run = open_run(name);
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = "moment", tensor.dtype = CAIRN_F32, tensor.address = &moment, tensor.flags = CAIRN_OPTIMIZER;
    test_ok(cairn_state_bind_tensor(state, "optimizer", &tensor, &err));
    return run;
}

/* What goes between a look at the run and the opening of what was chosen is not damaged: the run is looked at again. */
static void what_goes_meanwhile_is_no_damage(void **unused)
{
    (void)unused;
    cairn_run *run = open_run_with_moment("meanwhile");
    save(run, 10, 0);
    save(run, 20, 0);
    save(run, 30, 0);
    meanwhile = remove_the_newest;
    assert_int_equal(restore(run, CAIRN_STEP_DEFAULT), 20);
    assert_null(strstr(told, "damaged"));
    test_ok(cairn_run_close(run, &err)); /* what it resumed from was held */
    run = open_run_with_moment(NULL);
    meanwhile = take_over_and_prune;
    test_code(cairn_restore(run, state, NULL, NULL, &err), CAIRN_E_FENCED);
    assert_null(strstr(told, "damaged"));
    cairn_run_close(run, NULL);
    expect_line("50H");
    run = open_run_with_moment(NULL);
    meanwhile = take_over_and_drop;
    test_code(cairn_restore(run, state, NULL, NULL, &err), CAIRN_E_FENCED);
    cairn_run_close(run, NULL);
    expect_line("50 60 70H");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_torn_row_takes_no_other_with_it),
        cmocka_unit_test(three_ways_in_one_process),
        cmocka_unit_test(after_damage_and_after_nan),
        cmocka_unit_test(names_are_hints),
        cmocka_unit_test(what_is_renamed_meanwhile_is_no_damage),
        cmocka_unit_test(a_tag_leads_to_its_checkpoint),
        cmocka_unit_test(rows_wait_for_their_terms_first_checkpoint),
        cmocka_unit_test(an_overtaken_writer_reports_in_vain),
        cmocka_unit_test(what_goes_meanwhile_is_no_damage),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    cairn_state_free(state);
    return failed;
}
