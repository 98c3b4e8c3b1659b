/* A bit of a checkpoint flips, or a file has the content of its namesake in another checkpoint. Whatever it is of: verify says so, and nobody is ever
 * given other bytes than were saved. */
#include "workload.h"

#include <stdio.h>
#include <string.h>

#include "actors.h"
#include "world.h"

struct rot {
    struct sim_random random;
    struct sim_inode *file; /* one of all those in checkpoints, each as likely */
    uint64_t count;
    char checkpoint[64], name[64];
};

static void choose_file(struct rot *rot, struct sim_inode *dir, const char *checkpoint)
{
    for (size_t i = 0; i < dir->names.count; i++) {
        const struct sim_entry *entry = &dir->names.list[i];
        const char *of = checkpoint ? checkpoint : strncmp(entry->name, "checkpoint-", 11) ? NULL : entry->name;
        if (entry->inode->type == SIM_DIR && entry->name[0] != '.') choose_file(rot, entry->inode, of);
        if (entry->inode->type != SIM_FILE || !of || !entry->inode->now.size || !sim_random_once_in(&rot->random, ++rot->count)) continue;
        rot->file = entry->inode;
        snprintf(rot->checkpoint, sizeof rot->checkpoint, "%.63s", of);
        snprintf(rot->name, sizeof rot->name, "%.63s", entry->name);
    }
}

static void flip(struct rot *rot)
{
    uint64_t offset = sim_random_below(&rot->random, rot->file->now.size);
    unsigned char bit = (unsigned char)(1u << sim_random_below(&rot->random, 8));
    rot->file->now.data[offset] ^= bit;
    rot->file->durable.data[offset] ^= bit;
    sim_trace("a bit of %s/%s flips, at %llu", rot->checkpoint, rot->name, (unsigned long long)offset);
}

static struct sim_inode *find_namesake(const struct rot *rot, const struct sim_inode *dir, const char *checkpoint)
{
    struct sim_inode *found = NULL;
    for (size_t i = 0; i < dir->names.count && !found; i++) {
        const struct sim_entry *entry = &dir->names.list[i];
        const char *of = checkpoint ? checkpoint : strncmp(entry->name, "checkpoint-", 11) ? NULL : entry->name;
        if (entry->inode->type == SIM_DIR && entry->name[0] != '.') found = find_namesake(rot, entry->inode, of);
        if (of && strcmp(of, rot->checkpoint) != 0 && !strcmp(entry->name, rot->name)) found = entry->inode;
    }
    return found;
}

/* A write that went astray: the bytes are right, but of another checkpoint. */
static bool mix_up(const struct rot *rot)
{
    const struct sim_inode *other = find_namesake(rot, world.disk.root, NULL);
    if (!other || other->now.size != rot->file->now.size || !memcmp(other->now.data, rot->file->now.data, other->now.size)) return false;
    memcpy(rot->file->now.data, other->now.data, other->now.size);
    memcpy(rot->file->durable.data, other->now.data, other->now.size);
    sim_trace("%s/%s has the content of another checkpoint's", rot->checkpoint, rot->name);
    return true;
}

static void judge_checkpoint(const struct rot *rot, const char *name)
{
    char path[128];
    struct sim_state state;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    snprintf(path, sizeof path, SIM_RUN "/%s", name);
    bool damaged = !strcmp(name, rot->checkpoint);
    if (!cairn_verify(NULL, path, &options, NULL, &error) == damaged)
        sim_fail("rot: %s/%s was damaged; verify of %s: %s", rot->checkpoint, rot->name, name, damaged ? "all is well" : error.message);
    if (sim_state_open(&state, false, &error)) sim_fail("rot: %s", error.message);
    if (!cairn_load(NULL, path, state.state, NULL, NULL, &error) && !sim_state_is(&state, (uint64_t)state.attempt, true))
        sim_fail("rot: %s/%s was damaged; loading %s gave other bytes than were saved", rot->checkpoint, rot->name, name);
    sim_state_close(&state);
}

static void judge_rot(void *user)
{
    struct rot *rot = user;
    cairn_listing *listing;
    cairn_run *run;
    struct sim_state state;
    cairn_error error = CAIRN_ERROR_INIT;
    if (!cairn_listing_open(SIM_RUN, &listing, &error)) {
        for (size_t i = 0; i < cairn_listing_count(listing); i++) judge_checkpoint(rot, cairn_listing_entry(listing, i)->name);
        cairn_listing_close(listing);
    }
    if (sim_state_open(&state, false, &error) || cairn_run_open(SIM_RUN, NULL, &run, &error)) {
        sim_fail("rot: %s", error.message);
        return;
    }
    if (!cairn_restore(run, state.state, NULL, NULL, &error) && !sim_state_is(&state, (uint64_t)state.attempt, true))
        sim_fail("rot: %s/%s was damaged; the restore gave other bytes than were saved", rot->checkpoint, rot->name);
    if (error.code) sim_fail("rot: an older checkpoint is whole, and was not restored: %s", error.message);
    (void)cairn_run_close(run, NULL);
    sim_state_close(&state);
}

bool sim_rot_run(uint64_t seed, bool trace)
{
    static struct sim_actor writer;
    struct rot rot = { .random = { seed } };
    struct sim_profile profile = { .switch_in = 100, .cores = 1 + seed % 3, .list_batch = 10, .clock_tick_ns = 1 };
    writer = (struct sim_actor){ .random = sim_random_fork(&rot.random, 1), .saves = 3, .save_mode = CAIRN_SAVE_SYNC, .io_threads = 1 };
    sim_world_begin(seed, &profile, trace);
    sim_ledger_begin(false);
    sim_process_start("writer", sim_write, &writer);
    sim_run();
    choose_file(&rot, world.disk.root, NULL);
    if (rot.file && !(sim_random_once_in(&rot.random, 3) && mix_up(&rot))) flip(&rot);
    if (!world.failed) sim_process_start("judge", judge_rot, &rot);
    sim_run();
    bool good = !world.failed;
    sim_world_end();
    return good;
}
