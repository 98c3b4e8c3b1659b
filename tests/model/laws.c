/* What must hold in every state, whoever sleeps, dies or loses power there. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

static uint16_t bit(unsigned c)
{
    return (uint16_t)(1u << c);
}

static bool is_given_up(const struct state *s, unsigned end, unsigned c)
{
    for (unsigned at = end + 1; at; at = s->checkpoint[at - 1].parent)
        if (s->given_up[at - 1] & bit(c)) return true;
    return false;
}

/* Acknowledged, not retired by a rule, and neither on the line that ends there nor left behind knowingly: -1, if there is none. */
static int left_out_by(const struct state *s, unsigned end, uint16_t knowingly)
{
    for (unsigned c = 0; c < MAX_CHECKPOINTS; c++)
        if ((s->acknowledged & ~s->doomed & ~knowingly) & bit(c) && !on_line(s, end, c) && !is_given_up(s, end, c)) return (int)c;
    return -1;
}

/* ----------------------------------------------------------------------------------------------- what actors say they did */

/* The default may pass over what is unhealthy, broken or thinned; going back leaves behind what it was asked to. */
void on_restored(struct world *w, struct actor *a, unsigned c, bool default_choice)
{
    struct state *s = &w->s;
    uint16_t knowingly = 0;
    for (unsigned d = 0; d < MAX_CHECKPOINTS; d++)
        if (s->checkpoint[d].step && !on_line(s, c, d) &&
            (!default_choice || s->checkpoint[d].flags & (UNHEALTHY | BROKEN) || !is_complete(w, d)) && name_in_run(&s->disk, FOLDERS + d))
            knowingly |= bit(d);
    if (default_choice && !is_complete(w, c)) violate(w, "resume: what is resumed from lacks an item");
    note(w, "restores checkpoint %u (step %u, term %u)", c, s->checkpoint[c].step, s->checkpoint[c].term);
    a->writer.gives_up = knowingly;
    if (a->writer.term >= s->opened && left_out_by(s, c, knowingly) >= 0)
        violate(w, "newest: an older one is resumed from than was acknowledged");
}

void on_committed(struct world *w, struct actor *a, unsigned c)
{
    struct state *s = &w->s;
    s->given_up[c] = a->writer.gives_up;
    if (a->writer.term < s->opened)
        violate(w, "one writer: a commit after another writer took over");
    else if (left_out_by(s, c, 0) >= 0)
        violate(w, "one lineage: a commit leaves out what was acknowledged");
    a->writer.gives_up = 0;
}

void on_acknowledged(struct world *w, unsigned c)
{
    const struct checkpoint *all = w->s.checkpoint;
    for (unsigned d = 0; d < MAX_CHECKPOINTS; d++)
        if (w->s.acknowledged & bit(d) && all[d].term == all[c].term && all[d].step == all[c].step)
            violate(w, "one lineage: a step is acknowledged twice under one term");
    w->s.acknowledged |= bit(c);
}

static bool is_held(const struct world *w, const struct actor *a, unsigned c)
{
    for (unsigned i = 0; i < MAX_ACTORS; i++) {
        const struct actor *other = &w->s.actor[i];
        bool holds = other->role == READER || other->role == WRITER || other->role == TAGGER;
        if (other != a && holds && other->hold.stage == 3 && other->hold.folder == FOLDERS + c) return true;
    }
    return false;
}

/* Told before c goes. */
void on_retired(struct world *w, struct actor *a, unsigned c)
{
    struct listing listing;
    bool resumable = false;
    list_run(w, &listing);
    for (unsigned i = 0; i < listing.count; i++) {
        unsigned other = listing.at[i].checkpoint;
        if (other == c && i + 1 == listing.top) violate(w, "pruning: the newest is removed");
        if (other == c && i + 1 == listing.head) violate(w, "pruning: the head is removed");
        resumable |= other != c && listing.at[i].current && is_survivor(w, other);
    }
    if (w->s.checkpoint[c].flags & UNREADABLE_MARKS) violate(w, "marks: one whose marks cannot be read is removed");
    if (!resumable) violate(w, "pruning: the last whole one is removed");
    if (!w->c->no_locks && is_held(w, a, c)) violate(w, "pruning: one that somebody holds is removed");
    w->s.doomed |= bit(c);
}

/* A removal that the cut undid has not happened; whoever had taken over is dead. */
void on_cut(struct world *w)
{
    w->s.opened = 0;
    for (unsigned c = 0; c < MAX_CHECKPOINTS; c++)
        if (name_in_run(&w->s.disk, FOLDERS + c) && manifest_of(&w->s.disk, FOLDERS + c)) w->s.doomed &= (uint16_t)~bit(c);
}

void on_unlinking(struct world *w, unsigned folder)
{
    unsigned c = folder - FOLDERS;
    if (w->s.acknowledged & ~w->s.doomed & bit(c)) violate(w, "kept: files are unlinked of what nobody decided to remove");
}

/* ------------------------------------------------------------------------------------------------------------- the states */

static void check_visible(struct world *w)
{
    const struct disk *disk = &w->s.disk;
    for (unsigned i = 0; i < disk->now_count; i++) {
        unsigned node = disk->now[i].node, c = node - FOLDERS;
        if (disk->now[i].dir != RUN || !is_checkpoint(node) || w->s.checkpoint[c].flags & BROKEN) continue;
        if (is_retired(w, node)) continue;
        if (!manifest_of(disk, node))
            violate(w, "atomic: a folder without a manifest stands in the run");
        else if (!is_whole(w, c))
            violate(w, "atomic: a listed checkpoint is not whole");
    }
}

static bool lies_in_trash(const struct disk *disk, unsigned node)
{
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir >= PRUNERS && disk->now[i].dir < FILES && disk->now[i].node == node) return true;
    return false;
}

static void check_kept(struct world *w)
{
    const struct disk *disk = &w->s.disk;
    uint16_t must = w->s.acknowledged & (uint16_t)~w->s.doomed;
    if (must && (unsigned)look(disk, ROOT, NAME_OF_RUN) != RUN) violate(w, "kept: the run's folder is gone");
    for (unsigned c = 0; c < MAX_CHECKPOINTS; c++) {
        unsigned name = must & bit(c) ? name_in_run(disk, FOLDERS + c) : 1;
        if (!name && !(w->c->may_be_away && lies_in_trash(disk, FOLDERS + c)))
            violate(w, "kept: an acknowledged checkpoint is not in the run");
    }
}

static void check_marks(struct world *w)
{
    for (unsigned i = 0; i < MAX_ACTORS; i++) {
        const struct plan *plan = &w->c->plan[i];
        if (plan->role != TAGGER || !(w->s.marked >> i & 1)) continue;
        unsigned folder = FOLDERS + plan->target, highest = highest_marks(&w->s.disk, folder);
        unsigned node = (unsigned)look(&w->s.disk, folder, NAME_MARKS + highest);
        if (w->s.doomed & bit(plan->target))
            violate(w, "marks: a marked checkpoint is removed");
        else if (!highest || is_lost(&w->s.disk, node) || !(w->s.marks_content[node - MARKS] >> i & 1))
            violate(w, "marks: an acknowledged mark is lost");
    }
}

static void check_target(struct world *w)
{
    unsigned node = (unsigned)look(&w->s.disk, ROOT, NAME_TARGET);
    if (!is_checkpoint(node) || !is_whole(w, node - FOLDERS)) violate(w, "atomic: neither the old nor the new one is there");
}

/* The head has what a resume needs, and there is one that has it and is whole. */
static void check_head(struct world *w)
{
    struct listing listing;
    list_run(w, &listing);
    if (!listing.head || !w->c->with_items) return;
    if (!is_complete(w, listing.at[listing.head - 1].checkpoint)) violate(w, "resume: an item of the head is dropped");
    if (!newest_survivor(w, &listing)) violate(w, "resume: nothing whole is left that has all its items");
}

/* ----------------------------------------------------------------------------------------------------- somebody can resume */

enum { CACHE = 1 << 22 };
static uint64_t *resumed; /* hashes of states in which it went well */

void clear_probes(void)
{
    free(resumed);
    resumed = NULL;
}

static uint64_t mix(uint64_t hash, const void *bytes, unsigned size)
{
    const unsigned char *at = bytes;
    for (unsigned i = 0; i < size; i++) hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

static uint64_t hash_for_probe(const struct state *s)
{
    uint64_t hash = mix(UINT64_C(0xcbf29ce484222325), s->disk.now, s->disk.now_count * sizeof s->disk.now[0]);
    hash = mix(hash, s->disk.lost, sizeof s->disk.lost);
    hash = mix(hash, s->checkpoint, sizeof s->checkpoint);
    hash = mix(hash, s->given_up, sizeof s->given_up);
    const uint16_t promised[] = { s->acknowledged, s->doomed, s->opened };
    hash = mix(hash, promised, sizeof promised);
    return hash | 1;
}

/* A fresh writer alone: it must come to the end of a save, whatever state the others have left. */
static void check_resume(struct world *w)
{
    static struct world probe;
    uint64_t hash = hash_for_probe(&w->s);
    if (!resumed) resumed = calloc(CACHE, sizeof *resumed);
    if (!resumed) abort();
    if (resumed[hash >> 20 & (CACHE - 1)] == hash) return;
    probe = *w;
    probe.probing = true;
    probe.tracing = false;
    probe.s.cuts = w->c->cuts;
    forget_durability(&probe.s.disk);
    memset(probe.s.actor, 0, sizeof probe.s.actor);
    probe.s.actor[0].role = WRITER;
    for (int i = 0; i < 500 && probe.s.actor[0].pc != ENDED && !probe.violation; i++) step_writer(&probe, &probe.s.actor[0]);
    if (probe.violation)
        violate(w, probe.violation);
    else if (probe.s.actor[0].pc != ENDED || probe.s.actor[0].outcome != OK)
        violate(w, "resume: a new writer cannot go on");
    else
        resumed[hash >> 20 & (CACHE - 1)] = hash;
}

void check_laws(struct world *w)
{
    if (w->c->plan[0].role == REPLACER) return check_target(w);
    check_visible(w);
    check_kept(w);
    check_marks(w);
    check_head(w);
    if (!w->violation && !w->c->no_probe) check_resume(w);
}
