/* Covers src/manager/keeping.c: what stays after a save and by cairn_keep, through the public calls. */
#include "runfix.h"

#include <math.h>

static char told[4096];

static void expect(const char *steps)
{
    test_shell("cd %s && test \"$(ls -d checkpoint-* | sort -V | sed s/checkpoint-// | xargs)\" = '%s' || { ls %s; false; }", path, steps,
               path);
}

static void save_ten(void)
{
    static const double losses[] = { NAN, 1.5, 9, 7, 1, 1.5, 8, 6, 7, 9 };
    for (uint64_t i = 0; i < 10; i++) save(10 * (i + 1), i == 3 ? NULL : &losses[i]);
}

static void the_last_and_the_best_stay_after_each_save(void **unused)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    (void)unused;
    options.keep_last = 2;
    options.keep_best = 1;
    options.best_metric = "loss";
    make_state("best");
    open_run(&options);
    save_ten();
    expect("50 90 100");
    test_shell("test \"$(readlink %s/best)\" = checkpoint-50", path);
    test_ok(cairn_run_close(run, &err));
    options.keep_best = 2; /* 10 has NaN, 40 nothing; of 20 and 60, which are as good, the newer one */
    make_state("two");
    open_run(&options);
    save_ten();
    expect("50 60 90 100");
    test_ok(cairn_run_close(run, &err));
    options.best_is_max = 1;
    options.keep_last = 0; /* what the run resumes from stays all the same */
    make_state("max");
    open_run(&options);
    save_ten();
    expect("30 100");
    test_shell("test \"$(readlink %s/best)\" = checkpoint-100", path);
    test_ok(cairn_run_close(run, &err));
    options.best_metric = NULL;
    test_code(cairn_run_open(path, &options, &run, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "best_metric"));
}

static void tell(void *user, const char *name, uint32_t reasons)
{
    (void)user;
    size_t used = strlen(told);
    used += (size_t)snprintf(told + used, sizeof told - used, "%s", name + strlen("checkpoint-"));
    for (int i = 0; i < 32; i++)
        if (reasons & 1u << i) used += (size_t)snprintf(told + used, sizeof told - used, " %s", cairn_kept_name(1u << i));
    snprintf(told + used, sizeof told - used, "\n");
}

static void keep(uint32_t last, uint32_t best, int dry_run)
{
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    options.last = last;
    options.best = best;
    options.metric = "loss";
    options.dry_run = dry_run;
    options.kept = tell;
    told[0] = 0;
    test_ok(cairn_keep(path, &options, NULL, &err));
}

static void a_dry_run_tells_why(void **unused)
{
    static const char *const tags[] = { "release" };
    cairn_mark_options mark = CAIRN_MARK_OPTIONS_INIT;
    char name[700];
    (void)unused;
    make_state("why");
    open_run(NULL);
    save_ten();
    test_ok(cairn_run_close(run, &err));
    mark.pin = 1;
    mark.add_tags = tags;
    mark.add_tags_count = 1;
    snprintf(name, sizeof name, "%s/checkpoint-50", path);
    test_ok(cairn_mark(NULL, name, &mark, &err));
    test_shell("ln -s checkpoint-30 %s/best", path);
    keep(2, 2, 1);
    assert_string_equal(told, "100 newest head whole last\n90 last\n60 best\n50 best pinned tagged\n30 best-link\n");
    expect("10 20 30 40 50 60 70 80 90 100");
    keep(2, 2, 0);
    assert_string_equal(told, "");
    expect("30 50 60 90 100");
    assert_string_equal(cairn_kept_name(0), "?");
    assert_string_equal(cairn_kept_name(CAIRN_KEPT_LAST | CAIRN_KEPT_BEST), "?");
    assert_string_equal(cairn_kept_name(1u << 31), "?");
}

/* An evaluator's metrics come later, and count. */
static void late_metrics_count(void **unused)
{
    static const cairn_metric best = { "loss", -1 };
    cairn_mark_options mark = CAIRN_MARK_OPTIONS_INIT;
    char name[700];
    (void)unused;
    make_state("late");
    open_run(NULL);
    save_ten();
    test_ok(cairn_run_close(run, &err));
    mark.metrics = &best;
    mark.metrics_count = 1;
    snprintf(name, sizeof name, "%s/checkpoint-40", path);
    test_ok(cairn_mark(NULL, name, &mark, &err));
    keep(1, 2, 0);
    expect("40 50 100");
}

/* A damaged one is no best; of one that lost its optimizer the weights are there. */
static void the_best_are_whole_but_may_lack_an_item(void **unused)
{
    static float weights[4], moments[4];
    static const uint64_t shape[] = { 4 };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    char name[700];
    (void)unused;
    make_state("lack");
    tensor.name = "w";
    tensor.dtype = CAIRN_F32;
    tensor.rank = 1;
    tensor.shape = shape;
    tensor.address = weights;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    tensor.address = moments;
    test_ok(cairn_state_bind_tensor(state, "optimizer", &tensor, &err));
    open_run(NULL);
    save_ten();
    test_ok(cairn_run_close(run, &err));
    snprintf(name, sizeof name, "%s/checkpoint-60", path);
    test_ok(cairn_drop_item(NULL, name, "optimizer", &err));
    test_shell("rm %s/checkpoint-50/model.safetensors", path);
    keep(1, 1, 0);
    expect("60 100");
}

static void a_rule_must_say_what_it_means(void **unused)
{
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    (void)unused;
    make_state("usage");
    open_run(NULL);
    save_ten();
    test_ok(cairn_run_close(run, &err));
    test_code(cairn_keep(path, &options, NULL, &err), CAIRN_E_USAGE);
    options.best = 1;
    test_code(cairn_keep(path, &options, NULL, &err), CAIRN_E_USAGE);
    options.metric = "";
    test_code(cairn_keep(path, &options, NULL, &err), CAIRN_E_USAGE);
    options.metric = "no such metric";
    options.last = 1;
    test_code(cairn_keep(path, &options, NULL, &err), CAIRN_E_NOTFOUND);
    options.dry_run = 1;
    test_code(cairn_keep(path, &options, NULL, &err), CAIRN_E_NOTFOUND);
    assert_non_null(strstr(err.message, "'no such metric'"));
    expect("10 20 30 40 50 60 70 80 90 100");
}

/* A run that keeps the best alone, of which nothing is known yet. */
static void nothing_goes_before_the_metric_is_known(void **unused)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    (void)unused;
    options.best_metric = "reported by nobody";
    options.keep_best = 1;
    make_state("unknown");
    open_run(&options);
    save_ten();
    test_ok(cairn_run_close(run, &err));
    expect("10 20 30 40 50 60 70 80 90 100");
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(the_last_and_the_best_stay_after_each_save),
                                        cmocka_unit_test(a_dry_run_tells_why),
                                        cmocka_unit_test(late_metrics_count),
                                        cmocka_unit_test(the_best_are_whole_but_may_lack_an_item),
                                        cmocka_unit_test(a_rule_must_say_what_it_means),
                                        cmocka_unit_test(nothing_goes_before_the_metric_is_known) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
