/* The power goes after every single change of the disk, in each operation in turn. What was done before the operation is done without a cut; what is
 * counted is from there on. */
#include "workload.h"

#include "actors.h"
#include "judge.h"
#include "world.h"

/* What a case does before it begins to count, and then. */
struct sim_case {
    const char *name;
    bool with_frozen;
    struct {
        bool goes_back;
        unsigned saves;
        uint32_t keep_last, io_threads;
        int save_mode;
    } before, writer; /* saves 0 and no restore: no writer */
    enum { NOBODY, WRITER, KEEPER, REMOVER, DROPPER, TAGGER, UNTAGGER, RESTORER, FOLDER, BESIDE } who;
};

static const struct sim_case cases[] = {
    { .name = "the first save of a new run", .who = WRITER, .writer = { .saves = 1, .io_threads = 1, .save_mode = CAIRN_SAVE_SYNC } },
    { .name = "a save after others",
      .before = { .saves = 2, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 2, .io_threads = 1, .save_mode = CAIRN_SAVE_SYNC } },
    { .name = "an eager save with threads",
      .before = { .saves = 1, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 2, .io_threads = 3, .save_mode = CAIRN_SAVE_EAGER } },
    { .name = "a lazy save with threads",
      .before = { .saves = 1, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 2, .io_threads = 2, .save_mode = CAIRN_SAVE_LAZY } },
    { .name = "a save that shares a file",
      .with_frozen = true,
      .before = { .saves = 2, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 2, .io_threads = 1, .save_mode = CAIRN_SAVE_SYNC } },
    { .name = "a save that prunes",
      .before = { .saves = 3, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 2, .keep_last = 1, .io_threads = 1, .save_mode = CAIRN_SAVE_SYNC } },
    { .name = "opening and restoring",
      .before = { .saves = 2, .save_mode = CAIRN_SAVE_SYNC },
      .who = RESTORER,
      .writer = { .saves = 0, .io_threads = 1 } },
    { .name = "going back",
      .before = { .saves = 3, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 3, .goes_back = true, .io_threads = 1, .save_mode = CAIRN_SAVE_SYNC } },
    { .name = "going back and pruning",
      .before = { .saves = 3, .save_mode = CAIRN_SAVE_SYNC },
      .who = WRITER,
      .writer = { .saves = 3, .goes_back = true, .keep_last = 2, .io_threads = 1, .save_mode = CAIRN_SAVE_SYNC } },
    { .name = "rm", .before = { .saves = 4, .save_mode = CAIRN_SAVE_SYNC }, .who = REMOVER },
    { .name = "keep", .before = { .saves = 4, .save_mode = CAIRN_SAVE_SYNC }, .who = KEEPER },
    { .name = "dropping an item", .before = { .saves = 4, .save_mode = CAIRN_SAVE_SYNC }, .who = DROPPER },
    { .name = "tag", .before = { .saves = 2, .save_mode = CAIRN_SAVE_SYNC }, .who = TAGGER },
    { .name = "tag and untag", .before = { .saves = 2, .save_mode = CAIRN_SAVE_SYNC }, .who = UNTAGGER },
    { .name = "a folder without a run", .who = FOLDER },
    { .name = "a folder beside a dead saver's", .who = BESIDE },
};

const unsigned sim_cases_count = sizeof cases / sizeof *cases;

const char *sim_case_name(unsigned index)
{
    return cases[index].name;
}

static struct sim_actor *begin_actor(struct sim_actor *actor, struct sim_random *random)
{
    *actor = (struct sim_actor){
        .random = sim_random_fork(random, 9), .save_mode = CAIRN_SAVE_SYNC, .io_threads = 1, .keep_last = 1, .dense = true
    };
    return actor;
}

static void before(const struct sim_case *one, struct sim_actor *actor)
{
    actor->saves = one->before.saves;
    actor->keep_last = 0;
    if (!actor->saves) return;
    sim_process_start("before", sim_write, actor);
    sim_run();
}

static void act(const struct sim_case *one, struct sim_actor *actor)
{
    static const int upkeep[] = { [KEEPER] = SIM_KEEP, [REMOVER] = SIM_REMOVE, [DROPPER] = SIM_DROP };
    actor->saves = one->writer.saves;
    actor->back_in = one->writer.goes_back;
    actor->actions = 3;
    actor->action = one->who == TAGGER ? 0 : -1;
    if (one->who == KEEPER || one->who == REMOVER || one->who == DROPPER) {
        actor->action = upkeep[one->who];
        sim_process_start("pruner", sim_prune, actor);
    } else if (one->who == TAGGER || one->who == UNTAGGER) {
        sim_process_start("tagger", sim_tag, actor);
    } else {
        actor->keep_last = one->writer.keep_last;
        actor->io_threads = one->writer.io_threads;
        actor->save_mode = one->writer.save_mode;
        sim_process_start("writer", sim_write, actor);
    }
    sim_run();
}

/* The machine is the same for all cuts of a seed; what the disk makes of the cut is not. */
bool sim_case_run(unsigned index, uint64_t seed, uint64_t cut, bool trace, uint64_t *ret_changes)
{
    static struct sim_actor first, second;
    if (cases[index].who == FOLDER) return sim_folder_run(seed, cut, trace, ret_changes);
    if (cases[index].who == BESIDE) return sim_beside_run(seed, cut, trace, ret_changes);
    struct sim_random random = { seed };
    struct sim_profile profile = { .switch_in = 4, .cores = 2, .list_batch = 4, .clock_tick_ns = 4000000, .refuse_direct = seed % 2 };
    profile.renames = seed % 3 == 2 ? SIM_RENAME_HALVES : SIM_RENAME_WHOLE;
    sim_world_begin(seed, &profile, trace);
    sim_ledger_begin(cases[index].with_frozen);
    before(&cases[index], begin_actor(&first, &random));
    uint64_t start = world.changes;
    if (cut) world.cut_at_change = start + 1 + (cut - 1) / SIM_OUTCOMES;
    world.luck.state += cut * 977;
    if (!world.failed) act(&cases[index], begin_actor(&second, &random));
    *ret_changes = world.changes - start;
    return sim_end_judged();
}
