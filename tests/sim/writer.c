/* A writer: opens the run, restores, saves some times. It may go back to an older step, in which case the saves after that begin another line. */
#include "actors.h"

#include <stdio.h>
#include <string.h>

#include "world.h"

static void surprise(const char *what, const cairn_error *error)
{
    sim_fail("%s: %s: %s", what, cairn_code_name(error->code), error->message);
}

/* Told when a checkpoint is durable: this is the acknowledgement that everything is held to. */
static void committed(void *user, const cairn_save_report *report)
{
    (void)user;
    uint64_t number = sim_ledger_find(report->term, report->step);
    if (!number)
        sim_fail("a save was acknowledged that nobody began");
    else
        sim_ledger_acknowledge(number, report->id);
}

/* Who finds itself fenced or locked out must have had company. */
static bool had_company(const struct sim_actor *actor)
{
    for (unsigned i = 0; i < world.processes_count; i++) {
        const struct sim_process *other = &world.processes[i];
        if (other != sim_self() && other->is_writer && other->over_at_call >= actor->opened_at_call) return true;
    }
    return false;
}

static uint64_t term_of(const cairn_run *run)
{
    cairn_status status = CAIRN_STATUS_INIT;
    (void)cairn_run_status(run, &status);
    return status.term;
}

static int open_run(struct sim_actor *actor, cairn_error *error)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    options.take_over = actor->take_over;
    options.keep_last = actor->keep_last;
    options.io_threads = actor->io_threads;
    options.committed = committed;
    options.user = actor;
    int code = CAIRN_E_LOCKED;
    sim_ledger_keeps(actor->keep_last);
    uint64_t highest = ledger.highest_term;
    sim_self()->is_writer = true;
    actor->opened_at_call = world.calls;
    for (int i = 0; i < 20 && code == CAIRN_E_LOCKED; i++) {
        if (i) cn_os_sleep_ns(UINT64_C(50000000));
        code = cairn_run_open(SIM_RUN, &options, &actor->run, error);
    }
    if (code && !((code == CAIRN_E_LOCKED || code == CAIRN_E_FENCED) && had_company(actor))) surprise("opening the run", error);
    if (!code) sim_ledger_begin_term(term_of(actor->run), highest);
    return code;
}

/* What came back is what some attempt saved, and says which. */
static void judge_state(struct sim_actor *actor, const cairn_restore_report *report)
{
    uint64_t number = (uint64_t)actor->state.attempt;
    if (!number || number > ledger.attempts_count || !sim_state_is(&actor->state, number, true)) {
        sim_fail("restore: the state is not what attempt %llu saved", (unsigned long long)number);
        return;
    }
    struct sim_place_in_time at = { report->term, report->step };
    if (sim_ledger_compare(ledger.attempts[number].at, at)) sim_fail("restore: the state is of another step than its report says");
    actor->parent = number;
}

static int restore(struct sim_actor *actor, uint64_t step, cairn_error *error)
{
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    struct sim_place_in_time newest = sim_ledger_newest();
    options.step = step;
    int code = cairn_restore(actor->run, actor->state.state, &options, &report, error);
    if (code) {
        bool by_name = step != CAIRN_STEP_DEFAULT && (code == CAIRN_E_NOTFOUND || code == CAIRN_E_GONE || code == CAIRN_E_MISMATCH);
        if (!by_name && !(code == CAIRN_E_FENCED && had_company(actor))) surprise("restore", error);
        return code;
    }
    if (report.skipped_damaged) sim_fail("restore: damaged checkpoints were passed over");
    actor->step = report.step;
    actor->parent = 0;
    if (!report.fresh) judge_state(actor, &report);
    struct sim_place_in_time found = { report.term, report.step };
    if (step == CAIRN_STEP_DEFAULT) sim_ledger_restored(term_of(actor->run), found, newest);
    sim_trace("RESTORED step %llu of term %llu", (unsigned long long)report.step, (unsigned long long)report.term);
    return CAIRN_OK;
}

/* An older step of the line, by the ledger. 0: there is none. */
static uint64_t choose_older(struct sim_actor *actor)
{
    uint64_t chosen = 0, count = 0;
    for (uint64_t number = ledger.attempts[actor->parent].parent; number; number = ledger.attempts[number].parent)
        if (sim_random_once_in(&actor->random, ++count)) chosen = ledger.attempts[number].at.step;
    return chosen;
}

static int go_back(struct sim_actor *actor, cairn_error *error)
{
    uint64_t step = actor->parent && (actor->back_in == 1 || !sim_random_once_in(&actor->random, 3)) ? choose_older(actor) : 0;
    if (!step) return restore(actor, CAIRN_STEP_DEFAULT, error); /* the newest once more, with a term of its own */
    int code = restore(actor, step, error);
    if (!code || code == CAIRN_E_FENCED) return code;
    return restore(actor, CAIRN_STEP_DEFAULT, error); /* pruned, or an item of it was dropped */
}

static int save(struct sim_actor *actor, cairn_error *error)
{
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    const cairn_metric metric = { "loss", 1.0 };
    options.step = actor->step + 1 + (actor->dense ? 0 : sim_random_below(&actor->random, 3));
    options.mode = actor->save_mode >= 0 ? (cairn_save_mode)actor->save_mode : (cairn_save_mode)sim_random_below(&actor->random, 3);
    options.metrics = &metric;
    options.metrics_count = 1;
    int code = cairn_wait(actor->run, error); /* so that the term and the end of the line are known */
    if (code) return code;
    uint64_t number = sim_ledger_save(term_of(actor->run), options.step, actor->parent);
    sim_state_fill(&actor->state, number);
    code = cairn_save(actor->run, actor->state.state, &options, &report, error);
    if (!code && options.mode == CAIRN_SAVE_LAZY) code = cairn_fence(actor->run, error);
    if (!code && options.mode == CAIRN_SAVE_SYNC && !ledger.attempts[number].acknowledged)
        sim_fail("a save returned without being durable");
    actor->parent = number;
    actor->step = options.step;
    return code;
}

static int save_some(struct sim_actor *actor, cairn_error *error)
{
    int code = CAIRN_OK;
    for (unsigned i = 0; i < actor->saves && !code; i++) {
        if (actor->back_in && sim_random_once_in(&actor->random, actor->back_in)) code = go_back(actor, error);
        if (!code) code = save(actor, error);
        if (sim_random_once_in(&actor->random, 3)) cn_os_sleep_ns(sim_random_below(&actor->random, 20000000));
    }
    return code;
}

void sim_write(void *user)
{
    struct sim_actor *actor = user;
    cairn_error error = CAIRN_ERROR_INIT, closing = CAIRN_ERROR_INIT;
    if (actor->delay_ns) cn_os_sleep_ns(actor->delay_ns);
    if (open_run(actor, &error)) return;
    if (sim_state_open(&actor->state, ledger.with_frozen, &error)) surprise("binding the state", &error);
    int code = restore(actor, CAIRN_STEP_DEFAULT, &error);
    if (!code) code = save_some(actor, &error);
    int closed = cairn_run_close(actor->run, &closing);
    if (!code && closed) code = closed, error = closing;
    if (code && !(code == CAIRN_E_FENCED && had_company(actor))) surprise("saving", &error);
    sim_state_close(&actor->state);
}
