/* See judge.h. */
#include "judge.h"

#include <stdio.h>
#include <string.h>

#include "actors.h"
#include "world.h"

struct judgement {
    bool resume;
    bool seen[SIM_MAX_ATTEMPTS];
    uint64_t top; /* the attempt that the listing calls the newest */
};

static void surprise(const char *what, const cairn_error *error)
{
    sim_fail("%s: %s: %s", what, cairn_code_name(error->code), error->message);
}

/* ------------------------------------------------------------------------------------------------------ a single checkpoint */

static bool lacks_optimizer(const cairn_entry *entry)
{
    return entry->dropped_count > 0;
}

/* Reads every byte back and says which attempt it is. 0: failed. */
static uint64_t load(const cairn_entry *entry, const char *path)
{
    struct sim_state state;
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    uint64_t number = 0;
    options.allow_missing = lacks_optimizer(entry);
    int code = sim_state_open(&state, ledger.with_frozen, &error);
    if (!code) code = cairn_load(NULL, path, state.state, &options, NULL, &error);
    if (code)
        surprise("a listed checkpoint does not load", &error);
    else
        number = (uint64_t)state.attempt;
    if (number && (number > ledger.attempts_count || !sim_state_is(&state, number, !lacks_optimizer(entry)))) {
        sim_fail("%s: it is not what attempt %llu saved", path, (unsigned long long)number);
        number = 0;
    }
    sim_state_close(&state);
    return number;
}

static void judge_entry(struct judgement *judgement, const cairn_entry *entry)
{
    char path[128];
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    snprintf(path, sizeof path, SIM_RUN "/%s", entry->name);
    if (entry->standing == CAIRN_DAMAGED || entry->standing == CAIRN_FOREIGN_FOLDER) {
        sim_fail("%s is listed and %s: %s", entry->name, entry->standing == CAIRN_DAMAGED ? "damaged" : "foreign", entry->problem);
        return;
    }
    if (entry->problem) sim_fail("%s: its marks: %s", entry->name, entry->problem);
    if (cairn_verify(NULL, path, &options, NULL, &error)) surprise("a listed checkpoint is not whole", &error);
    uint64_t number = load(entry, path);
    if (!number) return;
    struct sim_attempt *attempt = &ledger.attempts[number];
    struct sim_place_in_time at = { entry->term, entry->step };
    if (sim_ledger_compare(attempt->at, at)) sim_fail("%s: it holds the state of another step", entry->name);
    if (judgement->seen[number]) sim_fail("%s: the same save is listed twice", entry->name);
    if (attempt->acknowledged && strcmp(attempt->id, entry->id)) sim_fail("%s: another id than was acknowledged", entry->name);
    if (attempt->gone) sim_fail("%s: it was removed, and is back", entry->name);
    if (lacks_optimizer(entry) && !attempt->may_lack_optimizer) sim_fail("%s: an item went that nobody dropped", entry->name);
    judgement->seen[number] = true;
    if (entry->is_latest) judgement->top = number;
}

/* ------------------------------------------------------------------------------------------------------------- the whole run */

static void judge_acknowledged(const struct judgement *judgement)
{
    for (uint64_t i = 1; i <= ledger.attempts_count; i++) {
        const struct sim_attempt *attempt = &ledger.attempts[i];
        if (attempt->acknowledged && !judgement->seen[i] && !sim_ledger_may_be_gone(i))
            sim_fail("lost: step %llu of term %llu was acknowledged, and is not there", (unsigned long long)attempt->at.step,
                     (unsigned long long)attempt->at.term);
    }
    struct sim_place_in_time newest = sim_ledger_newest();
    if (newest.term && sim_ledger_compare(ledger.attempts[judgement->top].at, newest) < 0)
        sim_fail("lost: the newest is step %llu of term %llu, but step %llu of term %llu was acknowledged",
                 (unsigned long long)ledger.attempts[judgement->top].at.step, (unsigned long long)ledger.attempts[judgement->top].at.term,
                 (unsigned long long)newest.step, (unsigned long long)newest.term);
}

static void judge_line(const struct judgement *judgement, const cairn_entry *entry)
{
    uint64_t distance, number = sim_ledger_find(entry->term, entry->step);
    bool on_line = number && sim_ledger_descends(judgement->top, number, &distance);
    if (number && on_line != (entry->standing == CAIRN_CURRENT))
        sim_fail("lineage: %s is%s an ancestor of the newest, and is listed as %s", entry->name, on_line ? "" : " not",
                 entry->standing == CAIRN_CURRENT ? "current" : "superseded");
}

static bool carries(const cairn_entry *entry, const char *tag)
{
    for (size_t i = 0; i < entry->tags_count; i++)
        if (!strcmp(entry->tags[i], tag)) return true;
    return false;
}

static void judge_tags(const cairn_listing *listing)
{
    for (unsigned i = 0; i < ledger.tags_count; i++) {
        const struct sim_tag *tag = &ledger.tags[i];
        bool found = false;
        for (size_t k = 0; k < cairn_listing_count(listing); k++) {
            const cairn_entry *entry = cairn_listing_entry(listing, k);
            if (!carries(entry, tag->text)) continue;
            found = true;
            if (entry->step != tag->step) sim_fail("tags: %s is on a checkpoint of another step", tag->text);
        }
        if (tag->state == SIM_TAG_THERE && !found) sim_fail("tags: %s was acknowledged, and is not there", tag->text);
        if (tag->state == SIM_TAG_GONE && found) sim_fail("tags: %s was taken off, and is back", tag->text);
    }
}

static void judge_listing(struct judgement *judgement)
{
    cairn_listing *listing;
    cairn_error error = CAIRN_ERROR_INIT;
    int code = cairn_listing_open(SIM_RUN, &listing, &error);
    if (code == CAIRN_E_NOTFOUND && !sim_ledger_newest().term) return; /* nothing was ever saved: there need not be a run */
    if (code) {
        surprise("listing the run", &error);
        return;
    }
    for (size_t i = 0; i < cairn_listing_count(listing) && !world.failed; i++) judge_entry(judgement, cairn_listing_entry(listing, i));
    if (!world.failed) judge_acknowledged(judgement);
    for (size_t i = 0; i < cairn_listing_count(listing) && !world.failed; i++) judge_line(judgement, cairn_listing_entry(listing, i));
    if (!world.failed) judge_tags(listing);
    cairn_listing_close(listing);
}

static void judge(void *user)
{
    struct judgement *judgement = user;
    judge_listing(judgement);
    if (world.failed || !judgement->resume) return;
    struct sim_actor actor = { .random = { world.seed }, .saves = 1, .save_mode = CAIRN_SAVE_SYNC, .io_threads = 1 };
    uint64_t before = ledger.attempts_count;
    sim_write(&actor);
    if (!world.failed && (ledger.attempts_count == before || !ledger.attempts[ledger.attempts_count].acknowledged))
        sim_fail("resume: no further save");
    struct judgement again = { 0 };
    if (!world.failed) judge_listing(&again);
}

void sim_judge(bool resume)
{
    if (world.failed) return;
    struct judgement judgement = { .resume = resume };
    struct sim_profile profile = world.profile;
    world.profile.stop_in = world.profile.stop_at_names_in = world.profile.kill_at_names_in = 0;
    world.cut_at_change = world.cut_at_call = world.kill_at_call = UINT64_MAX;
    sim_process_start("judge", judge, &judgement);
    sim_run();
    world.profile = profile;
}

bool sim_end_judged(void)
{
    if (!world.failed) sim_power_cut();
    sim_judge(true);
    if (!world.failed) sim_power_cut();
    sim_judge(false);
    bool good = !world.failed;
    sim_world_end();
    return good;
}
