/* Covers src/manager/schedule.c: when a save is due and when to stop, through the public calls. */
#include "runfix.h"

#include <signal.h>

#include "manager/schedule.h"

static int is_due(uint64_t step)
{
    int due = -1;
    test_ok(cairn_run_is_due(run, step, &due, &err));
    assert_true(due == 0 || due == 1);
    return due;
}

static void steps_are_counted_over_restores(void **unused)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_options older = CAIRN_RESTORE_OPTIONS_INIT;
    int due = 7;
    (void)unused;
    options.save_every_steps = 500;
    make_state("due");
    assert_int_equal(open_run(&options), 0);
    assert_int_equal(is_due(0), 0);
    assert_int_equal(is_due(499), 0);
    assert_int_equal(is_due(501), 1);
    assert_int_equal(is_due(501), 1); /* asking has no effect within a step */
    assert_int_equal(is_due(502), 0); /* it was left out */
    assert_int_equal(is_due(998), 0);
    assert_int_equal(is_due(1003), 1);
    save(1003, NULL);
    assert_int_equal(is_due(1003), 0);
    assert_int_equal(is_due(1004), 0);
    save(1499, NULL); /* nobody had asked */
    save(1501, NULL);
    assert_int_equal(is_due(1502), 0);
    test_ok(cairn_run_close(run, &err));
    assert_int_equal(open_run(&options), 1501);
    assert_int_equal(is_due(1501), 0);
    assert_int_equal(is_due(1502), 0);
    assert_int_equal(is_due(2000), 1);
    older.step = 1003;
    test_ok(cairn_restore(run, state, &older, NULL, &err));
    assert_int_equal(is_due(1004), 0);
    assert_int_equal(is_due(1500), 1);
    test_code(cairn_run_is_due(run, UINT64_MAX, &due, &err), CAIRN_E_USAGE);
    test_code(cairn_run_is_due(run, 1, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_run_is_due(NULL, 1, &due, &err), CAIRN_E_USAGE);
    assert_int_equal(due, 7);
    test_ok(cairn_run_close(run, &err));
}

enum { MS = 1000000 };

static void time_counts_from_the_last_save(void **unused)
{
    struct cn_schedule schedule;
    (void)unused;
    cn_schedule_init(&schedule, (struct cn_due_rules){ .every_ms = 100 }, 7 * MS);
    assert_false(cn_schedule_is_due(&schedule, 1, 106 * MS));
    assert_true(cn_schedule_is_due(&schedule, 2, 107 * MS));
    assert_true(cn_schedule_is_due(&schedule, 3, 108 * MS)); /* until a save begins */
    cn_schedule_begin(&schedule, 3, 110 * MS);
    assert_false(cn_schedule_is_due(&schedule, 4, 209 * MS));
    cn_schedule_resume(&schedule, 3);
    assert_true(cn_schedule_is_due(&schedule, 4, 210 * MS));
    assert_false(cn_schedule_is_due(&schedule, 3, 900 * MS)); /* restored: there is nothing to save */
    cn_schedule_init(&schedule, (struct cn_due_rules){ 0, 0 }, 0);
    assert_false(cn_schedule_is_due(&schedule, 1, UINT64_MAX));
}

static void on_signal(int number)
{
    if (number == SIGUSR1) cairn_run_request_save(run);
    if (number == SIGTERM) cairn_run_request_stop(run);
}

static void a_signal_handler_may_ask_for_a_save(void **unused)
{
    (void)unused;
    make_state("signal");
    open_run(NULL);
    assert_true(signal(SIGUSR1, on_signal) != SIG_ERR);
    assert_int_equal(is_due(1), 0);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(is_due(1), 1);
    assert_int_equal(is_due(2), 1);
    save(2, NULL);
    assert_int_equal(is_due(3), 0);
    assert_false(cairn_run_should_stop(run));
    save(3, NULL);
    assert_int_equal(raise(SIGUSR1), 0);
    assert_int_equal(is_due(3), 0); /* it is saved: the next step */
    assert_int_equal(is_due(4), 1);
    test_ok(cairn_run_close(run, &err));
    signal(SIGUSR1, SIG_DFL);
    cairn_run_request_save(NULL);
    cairn_run_request_stop(NULL);
    assert_false(cairn_run_should_stop(NULL));
}

static void a_stop_waits_for_a_save(void **unused)
{
    cairn_save_options odd = TEST_SAVE_OPTIONS;
    (void)unused;
    make_state("stop");
    open_run(NULL);
    assert_true(signal(SIGTERM, on_signal) != SIG_ERR);
    save(10, NULL);
    assert_int_equal(is_due(11), 0);
    assert_int_equal(raise(SIGTERM), 0);
    assert_false(cairn_run_should_stop(run));
    odd.step = 5;
    test_code(cairn_save(run, state, &odd, NULL, &err), CAIRN_E_USAGE); /* refused: that was no save */
    assert_false(cairn_run_should_stop(run));
    assert_int_equal(is_due(12), 1);
    assert_false(cairn_run_should_stop(run));
    save(12, NULL);
    assert_true(cairn_run_should_stop(run));
    assert_int_equal(is_due(13), 0); /* who goes on goes on as before */
    assert_true(cairn_run_should_stop(run));
    test_ok(cairn_run_close(run, &err));
    /* all is saved */
    assert_int_equal(open_run(NULL), 12);
    assert_int_equal(raise(SIGTERM), 0);
    assert_false(cairn_run_should_stop(run));
    assert_int_equal(is_due(12), 0);
    assert_true(cairn_run_should_stop(run));
    test_ok(cairn_run_close(run, &err));
    signal(SIGTERM, SIG_DFL);
}

/* No room for another save must not make training go on for ever. */
static void a_stop_does_not_wait_for_success(void **unused)
{
    cairn_save_options options = TEST_SAVE_OPTIONS;
    (void)unused;
    make_state("fails");
    open_run(NULL);
    cairn_run_request_stop(run);
    assert_int_equal(is_due(1), 1);
    test_shell("rm -r %s/.cairn/staging", path);
    options.step = 1;
    assert_int_not_equal(cairn_save(run, state, &options, NULL, &err), CAIRN_OK);
    assert_true(cairn_run_should_stop(run));
    (void)cairn_run_close(run, &err);
    cairn_state_free(state);
    state = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(steps_are_counted_over_restores), cmocka_unit_test(time_counts_from_the_last_save),
                                        cmocka_unit_test(a_signal_handler_may_ask_for_a_save), cmocka_unit_test(a_stop_waits_for_a_save),
                                        cmocka_unit_test(a_stop_does_not_wait_for_success) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
