/* Everybody else: readers, pruners, taggers. They may come too late for a checkpoint; what they hold must not change under them. */
#include "actors.h"

#include <stdio.h>
#include <string.h>

#include "world.h"

static void surprise(const char *what, const cairn_error *error)
{
    sim_fail("%s: %s: %s", what, cairn_code_name(error->code), error->message);
}

static void pause_a_little(struct sim_actor *actor)
{
    if (sim_random_once_in(&actor->random, 2)) cn_os_sleep_ns(sim_random_below(&actor->random, 30000000));
}

/* A name as people give it: of an attempt that the ledger knows, by its step alone. */
static uint64_t choose_name(struct sim_actor *actor, char name[64])
{
    if (!ledger.attempts_count) return 0;
    uint64_t number = 1 + sim_random_below(&actor->random, ledger.attempts_count);
    snprintf(name, 64, "run@%llu", (unsigned long long)ledger.attempts[number].at.step);
    return number;
}

static bool is_too_late(int code)
{
    return code == CAIRN_E_NOTFOUND || code == CAIRN_E_GONE;
}

/* ---------------------------------------------------------------------------------------------------------------- reader */

static void compare_tensors(struct sim_actor *actor, const cairn_checkpoint *checkpoint)
{
    const cairn_value *trainer = cairn_value_find(cairn_checkpoint_values(checkpoint), "trainer");
    uint64_t number = (uint64_t)cairn_value_get_int(cairn_value_find(trainer, "attempt"));
    unsigned char *have = cn_os_new(SIM_FROZEN_BYTES), *want = cn_os_new(SIM_FROZEN_BYTES);
    const cairn_tensor_info *tensor;
    cairn_error error = CAIRN_ERROR_INIT;
    for (size_t i = 0; (tensor = cairn_checkpoint_tensor(checkpoint, i)) && !world.failed; i++) {
        pause_a_little(actor);
        int code = cairn_checkpoint_read(checkpoint, tensor, 0, tensor->size_bytes, have, &error);
        sim_state_bytes(number, tensor->name, want, tensor->size_bytes);
        if (code)
            surprise("reading what is held open", &error);
        else if (memcmp(have, want, tensor->size_bytes) != 0)
            sim_fail("reading what is held open: other bytes than attempt %llu saved", (unsigned long long)number);
    }
    cn_os_free(have);
    cn_os_free(want);
}

void sim_read(void *user)
{
    struct sim_actor *actor = user;
    if (actor->delay_ns) cn_os_sleep_ns(actor->delay_ns);
    for (unsigned i = 0; i < actor->actions && !world.failed; i++) {
        char name[64] = "run@latest";
        cairn_checkpoint *checkpoint;
        cairn_error error = CAIRN_ERROR_INIT;
        if (sim_random_once_in(&actor->random, 2)) (void)choose_name(actor, name);
        int code = cairn_checkpoint_open(SIM_STORE, name, &checkpoint, &error);
        if (code && !is_too_late(code)) surprise("opening a checkpoint", &error);
        if (!code) {
            compare_tensors(actor, checkpoint);
            cairn_checkpoint_close(checkpoint);
        }
        pause_a_little(actor);
    }
}

/* ---------------------------------------------------------------------------------------------------------------- pruner */

static int keep(struct sim_actor *actor, cairn_error *error)
{
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    options.last = actor->keep_last;
    sim_ledger_keeps(options.last);
    int code = cairn_keep(SIM_RUN, &options, NULL, error);
    return code == CAIRN_E_LOCKED ? CAIRN_OK : code; /* another pruner was stopped with the lock in its hands */
}

/* Several may be of that step, of other lines: which one goes is known only when no other one ever was. */
static void note_removed(uint64_t number)
{
    unsigned same = 0;
    for (uint64_t i = 1; i <= ledger.attempts_count; i++) same += ledger.attempts[i].at.step == ledger.attempts[number].at.step;
    if (same == 1) ledger.attempts[number].gone = true;
}

static int remove_one(struct sim_actor *actor, cairn_error *error)
{
    char name[64];
    uint64_t number = choose_name(actor, name);
    if (!number) return CAIRN_OK;
    uint64_t step = ledger.attempts[number].at.step;
    sim_ledger_ask_removal(step);
    int code = cairn_remove(SIM_STORE, name, error);
    if (!code) note_removed(number);
    ledger.going[step]--;
    return code == CAIRN_E_USAGE || code == CAIRN_E_LOCKED ? CAIRN_OK : code;
}

static int drop_one(struct sim_actor *actor, cairn_error *error)
{
    char name[64];
    uint64_t number = choose_name(actor, name);
    if (!number) return CAIRN_OK;
    uint64_t step = ledger.attempts[number].at.step;
    sim_ledger_ask_drop(step);
    int code = cairn_drop_item(SIM_STORE, name, "optimizer", error);
    ledger.stripping[step]--;
    return code == CAIRN_E_USAGE || code == CAIRN_E_LOCKED ? CAIRN_OK : code;
}

void sim_prune(void *user)
{
    struct sim_actor *actor = user;
    if (actor->delay_ns) cn_os_sleep_ns(actor->delay_ns);
    for (unsigned i = 0; i < actor->actions && !world.failed; i++) {
        cairn_error error = CAIRN_ERROR_INIT;
        unsigned action = actor->action >= 0 ? (unsigned)actor->action : (unsigned)sim_random_below(&actor->random, SIM_UPKEEPS);
        int code = action == SIM_KEEP ? keep(actor, &error) : action == SIM_REMOVE ? remove_one(actor, &error) : drop_one(actor, &error);
        if (code && !is_too_late(code)) surprise(action == SIM_KEEP ? "keep" : action == SIM_REMOVE ? "rm" : "drop", &error);
        pause_a_little(actor);
    }
}

/* ---------------------------------------------------------------------------------------------------------------- tagger */

static struct sim_tag *new_tag(uint64_t step)
{
    if (ledger.tags_count == SIM_MAX_TAGS) return NULL;
    struct sim_tag *tag = &ledger.tags[ledger.tags_count++];
    *tag = (struct sim_tag){ .step = step };
    snprintf(tag->text, sizeof tag->text, "tag-%u", ledger.tags_count);
    return tag;
}

static void add_tag(struct sim_actor *actor)
{
    char name[64];
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    uint64_t number = choose_name(actor, name);
    struct sim_tag *tag = number ? new_tag(ledger.attempts[number].at.step) : NULL;
    if (!tag) return;
    const char *text = tag->text;
    options.add_tags = &text;
    options.add_tags_count = 1;
    int code = cairn_mark(SIM_STORE, name, &options, &error);
    if (!code) tag->state = SIM_TAG_THERE;
    if (code && !is_too_late(code)) surprise("tagging", &error);
}

static void take_tag_off(struct sim_actor *actor)
{
    cairn_error error = CAIRN_ERROR_INIT;
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    if (!ledger.tags_count) return;
    struct sim_tag *tag = &ledger.tags[sim_random_below(&actor->random, ledger.tags_count)];
    if (tag->state != SIM_TAG_THERE) return;
    const char *text = tag->text;
    char name[64];
    snprintf(name, sizeof name, "run@%s", tag->text);
    tag->state = SIM_TAG_LEAVING;
    options.remove_tags = &text;
    options.remove_tags_count = 1;
    int code = cairn_mark(SIM_STORE, name, &options, &error);
    if (!code) tag->state = SIM_TAG_GONE;
    if (code && code != CAIRN_E_GONE) surprise("taking a tag off", &error); /* GONE: it has another name by now */
}

void sim_tag(void *user)
{
    struct sim_actor *actor = user;
    if (actor->delay_ns) cn_os_sleep_ns(actor->delay_ns);
    for (unsigned i = 0; i < actor->actions && !world.failed; i++) {
        if (actor->action == 0 || (actor->action < 0 && !sim_random_once_in(&actor->random, 3)))
            add_tag(actor);
        else
            take_tag_off(actor);
        pause_a_little(actor);
    }
}
