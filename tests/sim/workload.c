/* Random workloads (see workload.h). A seed decides the machine, who works in it, and what happens to it. */
#include "workload.h"

#include "actors.h"
#include "judge.h"
#include "world.h"

struct plan {
    struct sim_random random;
    struct sim_actor actors[SIM_MAX_ACTORS];
    unsigned count;
    bool prunes, with_frozen, goes_back;
    uint32_t keep_last;
};

static struct sim_profile draw_profile(struct sim_random *random)
{
    static const unsigned switches[] = { 2, 5, 20, 100 };
    struct sim_profile profile = { .switch_in = switches[sim_random_below(random, 4)] };
    profile.stop_in = sim_random_once_in(random, 2) ? 100u << sim_random_below(random, 5) : 0;
    profile.clock_in = sim_random_once_in(random, 2) ? 300 : 0;
    profile.cores = 1 + (unsigned)sim_random_below(random, 4);
    profile.list_batch = 1 + (unsigned)sim_random_below(random, 10);
    profile.clock_tick_ns = sim_random_once_in(random, 2) ? 4000000 : 1;
    profile.refuse_direct = sim_random_once_in(random, 3);
    profile.renames = sim_random_once_in(random, 3) ? SIM_RENAME_HALVES : SIM_RENAME_WHOLE;
    return profile;
}

static struct sim_actor *new_actor(struct plan *plan)
{
    if (plan->count == SIM_MAX_ACTORS) return NULL;
    struct sim_actor *actor = &plan->actors[plan->count++];
    *actor = (struct sim_actor){ .random = sim_random_fork(&plan->random, plan->count), .save_mode = -1, .action = -1 };
    if (sim_random_once_in(&plan->random, 2)) actor->delay_ns = sim_random_below(&plan->random, 50000000);
    actor->actions = 1 + (unsigned)sim_random_below(&plan->random, 4);
    return actor;
}

static void start_writer(struct plan *plan, bool second)
{
    struct sim_actor *actor = new_actor(plan);
    if (!actor) return;
    actor->take_over = second ? !sim_random_once_in(&plan->random, 3) : sim_random_once_in(&plan->random, 4);
    actor->with_frozen = plan->with_frozen;
    actor->goes_back = plan->goes_back;
    actor->saves = 1 + (unsigned)sim_random_below(&plan->random, 4);
    actor->keep_last = plan->prunes && sim_random_once_in(&plan->random, 2) ? plan->keep_last : 0;
    actor->io_threads = (uint32_t)sim_random_below(&plan->random, 3);
    sim_process_start("writer", sim_write, actor);
}

static void start_visitors(struct plan *plan)
{
    static void (*const kinds[])(void *) = { sim_read, sim_tag, sim_prune };
    static const char *const names[] = { "reader", "tagger", "pruner" };
    for (unsigned kind = 0; kind < (plan->prunes ? 3 : 2); kind++)
        for (unsigned i = (unsigned)sim_random_below(&plan->random, 3); i; i--) {
            struct sim_actor *actor = new_actor(plan);
            if (!actor) return;
            actor->keep_last = plan->keep_last;
            sim_process_start(names[kind], kinds[kind], actor);
        }
}

/* A process dies, the others go on; now and then it comes back. */
static void survive_kill(struct plan *plan)
{
    bool was_writer = world.killed->is_writer;
    sim_process_kill(world.killed);
    world.killed = NULL;
    world.kill_at_call = sim_random_once_in(&plan->random, 2) ? world.calls + 1 + sim_random_below(&plan->random, 2000) : UINT64_MAX;
    if (was_writer && sim_random_once_in(&plan->random, 2)) start_writer(plan, false);
}

static void go_through(struct plan *plan)
{
    start_writer(plan, false);
    if (sim_random_percent(&plan->random, 40)) start_writer(plan, true);
    start_visitors(plan);
    if (sim_random_percent(&plan->random, 60)) world.cut_at_call = world.calls + 1 + sim_random_below(&plan->random, 4000);
    if (sim_random_percent(&plan->random, 40)) world.kill_at_call = world.calls + 1 + sim_random_below(&plan->random, 2500);
    for (sim_run(); world.killed && !world.failed; sim_run()) survive_kill(plan);
}

bool sim_workload(uint64_t seed, bool trace)
{
    static struct plan plan;
    plan = (struct plan){ .random = { seed * 2 + 1 } };
    struct sim_profile profile = draw_profile(&plan.random);
    plan.prunes = sim_random_percent(&plan.random, 60);
    plan.with_frozen = sim_random_once_in(&plan.random, 16);
    plan.goes_back = sim_random_percent(&plan.random, 40);
    plan.keep_last = 1 + (uint32_t)sim_random_below(&plan.random, 3);
    sim_world_begin(seed, &profile, trace);
    sim_ledger_begin();
    for (unsigned round = 1 + (unsigned)sim_random_below(&plan.random, 3); round && !world.failed; round--) {
        go_through(&plan);
        if (world.failed) break;
        if (!world.power_is_out && sim_random_once_in(&plan.random, 2)) sim_judge(false);
        if (!world.failed) sim_power_cut();
        sim_judge(true);
        if (!world.failed) sim_power_cut(); /* what the judge was told holds over another one, too */
        sim_judge(false);
    }
    bool good = !world.failed;
    sim_world_end();
    return good;
}
