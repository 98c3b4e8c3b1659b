/* One folder without a run, saved and replaced: after a cut it is one that was acknowledged last, or a later one, and whole. */
#include "workload.h"

#include "actors.h"
#include "world.h"

#define TARGET SIM_STORE "/best"

static uint64_t begun, acknowledged;

/* The folder above it is the caller's to make durable. */
static void make_store(void)
{
    (void)cn_os_make_dir_path(SIM_STORE);
    cn_file root = CN_NO_FILE;
    if (!cn_os_open_dir_path("/", &root)) (void)cn_os_sync_dir(root);
    (void)cn_os_close(root);
}

static void save_often(void *user)
{
    uint64_t last = *(uint64_t *)user;
    struct sim_state state;
    cairn_error error = CAIRN_ERROR_INIT;
    if (sim_state_open(&state, false, &error)) sim_fail("folder: %s", error.message);
    make_store();
    while (begun < last && !world.failed) {
        cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
        options.replace = 1;
        options.io_threads = 1 + (uint32_t)(begun % 2);
        sim_state_fill(&state, ++begun);
        if (cairn_save_folder(TARGET, state.state, &options, NULL, &error)) sim_fail("folder: %s", error.message);
        acknowledged = begun;
        sim_trace("ACKNOWLEDGED: %llu", (unsigned long long)begun);
    }
    sim_state_close(&state);
}

/* Another folder beside it: what a dead saver of the first one left goes with this save. */
static void save_beside(void *user)
{
    struct sim_state state;
    cairn_error error = CAIRN_ERROR_INIT;
    (void)user;
    if (sim_state_open(&state, false, &error)) sim_fail("folder: %s", error.message);
    sim_state_fill(&state, 77);
    if (cairn_save_folder(TARGET "-too", state.state, NULL, NULL, &error)) sim_fail("folder beside: %s", error.message);
    sim_state_close(&state);
}

static void judge_folder(void *user)
{
    struct sim_state state;
    cairn_error error = CAIRN_ERROR_INIT;
    (void)user;
    if (sim_state_open(&state, false, &error)) sim_fail("folder: %s", error.message);
    int code = cairn_load(NULL, TARGET, state.state, NULL, NULL, &error);
    uint64_t number = code ? 0 : (uint64_t)state.attempt;
    if (code && (acknowledged || code != CAIRN_E_NOTFOUND)) sim_fail("folder: it does not load: %s", error.message);
    if (!code && !sim_state_is(&state, number, true)) sim_fail("folder: it is not what was saved");
    if (number < acknowledged)
        sim_fail("folder: save %llu was acknowledged, and %llu is there", (unsigned long long)acknowledged, (unsigned long long)number);
    sim_state_close(&state);
}

static void in_process(const char *name, void (*run)(void *), void *user)
{
    if (world.failed) return;
    sim_process_start(name, run, user);
    sim_run();
}

static void begin(uint64_t seed, bool trace)
{
    struct sim_profile profile = { .switch_in = 4, .cores = 2, .list_batch = 4, .clock_tick_ns = 4000000, .refuse_direct = seed % 2 };
    profile.renames = seed % 3 == 2 ? SIM_RENAME_HALVES : SIM_RENAME_WHOLE;
    begun = acknowledged = 0;
    sim_world_begin(seed, &profile, trace);
}

/* The power goes, whatever is left is judged, a saver goes on, and so again. */
static bool end(void)
{
    static uint64_t last;
    if (!world.failed) sim_power_cut();
    in_process("judge", judge_folder, NULL);
    last = begun + 1;
    in_process("saver", save_often, &last);
    if (!world.failed) sim_power_cut();
    in_process("judge", judge_folder, NULL);
    bool good = !world.failed;
    sim_world_end();
    return good;
}

bool sim_folder_run(uint64_t seed, uint64_t cut, bool trace, uint64_t *ret_changes)
{
    static uint64_t last;
    begin(seed, trace);
    world.luck.state += cut * 977;
    if (cut) world.cut_at_change = 1 + (cut - 1) / SIM_OUTCOMES;
    last = 3;
    in_process("saver", save_often, &last);
    *ret_changes = world.changes;
    return end();
}

bool sim_beside_run(uint64_t seed, uint64_t cut, bool trace, uint64_t *ret_changes)
{
    static uint64_t last;
    begin(seed, trace);
    last = 1;
    in_process("saver", save_often, &last);
    last = 2;
    world.kill_after_exchange = true;
    in_process("killed saver", save_often, &last);
    if (world.killed) sim_process_kill(world.killed);
    world.killed = NULL;
    world.kill_after_exchange = false;
    world.kill_at_call = UINT64_MAX;
    uint64_t start = world.changes;
    world.luck.state += cut * 977;
    if (cut) world.cut_at_change = start + 1 + (cut - 1) / SIM_OUTCOMES;
    in_process("saver beside", save_beside, NULL);
    *ret_changes = world.changes - start;
    return end();
}
