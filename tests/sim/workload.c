/* Random workloads (see workload.h). A seed decides the machine, who works in it, and what happens to it. */
#include "workload.h"

#include "actors.h"
#include "judge.h"
#include "world.h"

struct plan {
    struct sim_random random;
    struct sim_actor actors[SIM_MAX_ACTORS];
    unsigned count;
    bool prunes, goes_back;
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
    actor->back_in = plan->goes_back ? 3 : 0;
    actor->dense = sim_random_once_in(&plan->random, 2);
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
    bool with_frozen = sim_random_once_in(&plan.random, 16);
    plan.goes_back = sim_random_percent(&plan.random, 40);
    plan.keep_last = 1 + (uint32_t)sim_random_below(&plan.random, 3);
    sim_world_begin(seed, &profile, trace);
    sim_ledger_begin(with_frozen);
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

/* ----------------------------------------------------------------------------------------------------------------- duels */

static void start_duelist(struct plan *plan, const char *name, void (*run)(void *), unsigned percent)
{
    struct sim_actor *actor = sim_random_percent(&plan->random, percent) ? new_actor(plan) : NULL;
    if (!actor) return;
    actor->take_over = true;
    actor->dense = true;
    actor->back_in = (unsigned)sim_random_below(&plan->random, 3);
    actor->saves = 1 + (unsigned)sim_random_below(&plan->random, 3);
    actor->keep_last = plan->keep_last;
    if (run == sim_write) actor->keep_last = plan->prunes && sim_random_once_in(&plan->random, 4) ? plan->keep_last : 0;
    if (run == sim_prune && sim_random_once_in(&plan->random, 2)) actor->action = SIM_KEEP;
    actor->io_threads = 1;
    actor->save_mode = CAIRN_SAVE_SYNC;
    sim_process_start(name, run, actor);
}

static void prepare(struct plan *plan)
{
    struct sim_actor *actor = new_actor(plan);
    actor->dense = true;
    actor->saves = 1 + (unsigned)sim_random_below(&plan->random, 3);
    actor->io_threads = 1;
    actor->save_mode = CAIRN_SAVE_SYNC;
    actor->delay_ns = 0;
    sim_process_start("writer", sim_write, actor);
    sim_run();
}

bool sim_duel(uint64_t seed, bool trace)
{
    static struct plan plan;
    plan = (struct plan){ .random = { seed * 2 } };
    struct sim_profile profile = draw_profile(&plan.random);
    plan.prunes = sim_random_percent(&plan.random, 60);
    bool with_frozen = sim_random_once_in(&plan.random, 32);
    plan.keep_last = 1 + (uint32_t)sim_random_below(&plan.random, 2);
    unsigned stop_in = 3u << sim_random_below(&plan.random, 4);
    profile.stop_in = 0;
    if (sim_random_once_in(&plan.random, 2)) profile.list_batch = 1;
    sim_world_begin(seed, &profile, trace);
    sim_ledger_begin(with_frozen);
    prepare(&plan);
    world.profile.stop_in = 20 * stop_in;
    world.profile.stop_at_names_in = stop_in;
    world.profile.kill_at_names_in = sim_random_once_in(&plan.random, 2) ? 40 : 0;
    start_duelist(&plan, "writer", sim_write, 90);
    start_duelist(&plan, "writer", sim_write, 60);
    for (int i = 0; i < 2 && plan.prunes; i++) start_duelist(&plan, "pruner", sim_prune, 60);
    for (int i = 0; i < 3; i++) start_duelist(&plan, "tagger", sim_tag, 20);
    start_duelist(&plan, "reader", sim_read, 25);
    if (sim_random_percent(&plan.random, 60))
        world.cut_at_change = world.changes + 1 + sim_random_below(&plan.random, 40u << sim_random_below(&plan.random, 4));
    if (sim_random_percent(&plan.random, 30)) world.kill_at_call = world.calls + 1 + sim_random_below(&plan.random, 1000);
    for (sim_run(); world.killed && !world.failed; sim_run()) survive_kill(&plan);
    if (!world.power_is_out && sim_random_once_in(&plan.random, 2)) sim_judge(false);
    return sim_end_judged();
}
