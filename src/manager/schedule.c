/* When to save and to stop (see schedule.h). */
#include "manager/schedule.h"

#define NS_PER_MS 1000000

_Static_assert(ATOMIC_BOOL_LOCK_FREE == 2, "a signal handler may set them");

void cn_schedule_init(struct cn_schedule *schedule, struct cn_due_rules rules, uint64_t now_ns)
{
    *schedule = (struct cn_schedule){ .rules = rules, .begun_ns = now_ns };
}

/* A stop that comes when there is nothing to save needs no save first: one of the same step would be refused. */
bool cn_schedule_is_due(struct cn_schedule *schedule, uint64_t step, uint64_t now_ns)
{
    bool stop_waits = atomic_load(&schedule->stop_requested) && !atomic_load(&schedule->stops);
    if (step != schedule->asked_step) schedule->from_step = schedule->asked_step;
    schedule->asked_step = step;
    struct cn_due_facts facts = { .step = step,
                                  .from_step = schedule->from_step,
                                  .idle_ms = (now_ns - schedule->begun_ns) / NS_PER_MS,
                                  .is_saved = schedule->has_begun && step <= schedule->begun_step,
                                  .is_asked_for = stop_waits || atomic_load(&schedule->save_requested) };
    if (stop_waits && facts.is_saved) atomic_store(&schedule->stops, true);
    return cn_due(&schedule->rules, &facts);
}

static void go_on_from(struct cn_schedule *schedule, uint64_t step)
{
    schedule->from_step = schedule->asked_step = schedule->begun_step = step;
    schedule->has_begun = true;
}

/* The flags are looked at before anything is captured: a request that comes later than this is one for the next save. */
void cn_schedule_begin(struct cn_schedule *schedule, uint64_t step, uint64_t now_ns)
{
    go_on_from(schedule, step);
    schedule->begun_ns = now_ns;
    atomic_store(&schedule->save_requested, false);
    if (atomic_load(&schedule->stop_requested)) atomic_store(&schedule->stops, true);
}

void cn_schedule_resume(struct cn_schedule *schedule, uint64_t step)
{
    go_on_from(schedule, step);
}
