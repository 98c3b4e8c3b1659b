/* Opening a run: it is made (D1), taken over (T1-T6), and restored from. */
#include "writer.h"

#include <assert.h>

/* ------------------------------------------------------------------------------------------------------------- taking over */

static unsigned next_term(const struct world *w)
{
    const struct disk *disk = &w->s.disk;
    unsigned highest = highest_in(disk, TERMS);
    for (unsigned i = 0; i < disk->now_count && has_rule(w, T1_STAGING); i++)
        if (disk->now[i].dir == STAGING && w->s.checkpoint[disk->now[i].node - FOLDERS].term > highest)
            highest = w->s.checkpoint[disk->now[i].node - FOLDERS].term;
    struct listing listing;
    list_run(w, &listing);
    for (unsigned i = 0; i < listing.count && has_rule(w, T1_MANIFESTS); i++)
        if (w->s.checkpoint[listing.at[i].checkpoint].term > highest) highest = w->s.checkpoint[listing.at[i].checkpoint].term;
    return highest + 1;
}

static void link_number(struct world *w, struct actor *a)
{
    unsigned node = TERM_FILES + 4 * writer_self(w, a) + a->writer.takes;
    if (!has_rule(w, T2))
        put_over(w, TERMS, a->writer.term, node);
    else if (!put_name(w, TERMS, a->writer.term, node))
        return go(a, TAKE_NUMBER);
    note(w, "T2: takes term %u", a->writer.term);
    a->writer.takes++;
    assert(a->writer.takes < 4);
    go(a, SYNC_TERMS);
}

/* T4, one folder a step, listed again until nothing is left. */
static void sweep_one(struct world *w, struct actor *a)
{
    const struct disk *disk = &w->s.disk;
    for (unsigned i = 0; i < disk->now_count && has_rule(w, T4); i++) {
        unsigned folder = disk->now[i].node;
        if (disk->now[i].dir != STAGING || w->s.checkpoint[folder - FOLDERS].term >= a->writer.term) continue;
        note(w, "T4: moves the staging folder of term %u away", w->s.checkpoint[folder - FOLDERS].term);
        (void)move_name(w, STAGING, folder, TRASH, NAME_S + folder);
        return;
    }
    go(a, SYNC_SWEPT);
}

static void check_taken(struct world *w, struct actor *a)
{
    struct writer *writer = &a->writer;
    if (has_rule(w, T6_CHECK) && !term_is_ours(w, a)) return end(w, a, FENCED);
    note(w, "T6: term %u is still ours", writer->term);
    if (writer->term > w->s.opened) w->s.opened = writer->term;
    go(a, writer->term_used ? writer->listed ? HOLD : LIST : SWEEP_OPENING);
    writer->term_used = 0;
}

/* ----------------------------------------------------------------------------------------------------------------- restore */

/* The oldest other one of the line, or the newest that is healthy, whole and complete. below: only what comes before it. */
static int pick(const struct world *w, const struct listing *listing, bool back, int below)
{
    int found = -1;
    for (int i = 0; i < listing->count && back; i++)
        if (listing->at[i].current && i + 1 != listing->head) return i;
    for (int i = 0; i < listing->count && !back; i++) {
        unsigned c = listing->at[i].checkpoint;
        if (!listing->at[i].current || w->s.checkpoint[c].flags & (UNHEALTHY | BROKEN)) continue;
        if (has_rule(w, G_COMPLETE) && !is_complete(w, c)) continue;
        if (below < 0 || comes_before(&w->s, c, (unsigned)below)) found = i;
    }
    return found;
}

/* What was not seen is not listed: line and head are those of the rest. */
static void keep_seen(const struct world *w, struct listing *listing, uint16_t seen)
{
    struct world partial = *w;
    for (unsigned i = 0; i < listing->count; i++)
        if (!(seen >> listing->at[i].checkpoint & 1)) hide(&partial.s.disk, RUN, listing->at[i].name);
    list_run(&partial, listing);
}

static bool choose_checkpoint(struct world *w, struct actor *a, int below)
{
    struct listing listing;
    list_run(w, &listing);
    if (w->c->torn_listing && !w->probing) keep_seen(w, &listing, a->writer.seen);
    a->writer.seen = a->writer.seen_before = 0;
    a->writer.halves_seen = a->writer.upper_first = 0;
    int found = pick(w, &listing, a->writer.back, below);
    if (found < 0) return false;
    let_go(a);
    a->hold.name = listing.at[found].name;
    a->writer.base = (uint8_t)(listing.at[found].checkpoint + 1);
    note(w, "lists the run: %s is checkpoint %u, %s", show_name(RUN, a->hold.name), a->writer.base - 1u,
         a->writer.back ? "to go back to" : "the one to resume from");
    return true;
}

/* Where readdir is torn it gives one half of the names, then the other: what is renamed from the second to the first meanwhile is missed. */
static void list_half(struct world *w, struct actor *a)
{
    struct writer *writer = &a->writer;
    struct listing listing;
    if (!w->c->torn_listing || w->probing) {
        w->quiet = true;
        return go(a, PICK);
    }
    list_run(w, &listing);
    if (!(writer->halves_seen & 1)) writer->upper_first = (uint8_t)choose(w, 2);
    bool upper = (writer->halves_seen & 1) != writer->upper_first;
    for (unsigned i = 0; i < listing.count; i++)
        if ((listing.at[i].name >= NAME_ASIDE) == upper) writer->seen |= (uint16_t)(1u << listing.at[i].checkpoint);
    note(w, "reads half of the names");
    if (!(++writer->halves_seen & 1)) {
        bool agree = writer->halves_seen > 2 && !(writer->seen & ~writer->seen_before);
        if (agree) writer->seen = writer->seen_before;
        if (agree || !has_rule(w, G_TWICE)) return go(a, PICK);
        writer->seen_before = writer->seen;
        writer->seen = 0;
        writer->halves_seen = 2;
    }
}

static void list_to_restore(struct world *w, struct actor *a, int next)
{
    struct listing listing;
    list_run(w, &listing);
    if (choose_checkpoint(w, a, -1)) return go(a, next);
    if (a->writer.back) return end(w, a, GONE);
    if (listing.count) return end(w, a, STUCK);
    a->writer.base = 0;
    go(a, next == HOLD ? NEXT : next);
}

static void hold(struct world *w, struct actor *a)
{
    unsigned meant = a->writer.base - 1u;
    enum holding holding = open_held(w, a, has_rule(w, G_LEASE), has_rule(w, G_LOOK));
    if (holding == HOLDING) return;
    if (holding == HELD) {
        unsigned c = a->hold.folder - (unsigned)FOLDERS;
        a->writer.base = (uint8_t)(c + 1);
        on_restored(w, a, c, !a->writer.back);
        return go(a, READ);
    }
    let_go(a);
    if (a->writer.back) return end(w, a, GONE);
    note(w, "what was listed is not there any more");
    if (has_rule(w, G_RELIST)) return go(a, LIST);
    if (!choose_checkpoint(w, a, (int)meant)) end(w, a, STUCK);
}

/* Without a lock it may go while it is read: that is told as damage, and an older one is taken; not followed here. */
static void read_files(struct world *w, struct actor *a)
{
    bool there = look(&w->s.disk, a->hold.folder, NAME_DATA);
    if (!there && !w->c->no_locks) violate(w, "a restore loses what it reads");
    if (!there) return end(w, a, STUCK);
    if (!has_rule(w, G_LEASE) || w->c->no_locks) let_go(a);
    note(w, "reads it");
    a->writer.back = 0;
    go(a, NEXT);
}

/* ------------------------------------------------------------------------------------------------------------------- steps */

/* A folder that is nobody's checkpoint stands in the run: refused at the open. */
static bool finds_foreign(const struct world *w)
{
    const struct disk *disk = &w->s.disk;
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == RUN && is_checkpoint(disk->now[i].node) && !manifest_of(disk, disk->now[i].node) &&
            !is_retired(w, disk->now[i].node))
            return true;
    return false;
}

void step_opening(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case OPEN:
        if (put_name(w, ROOT, NAME_OF_RUN, RUN)) note(w, "makes the run's folder");
        return go(a, D1_SYNC);
    case D1_SYNC:
        w->quiet = true;
        if (has_rule(w, D1)) sync_dir(w, ROOT);
        return go(a, LOOK_AROUND);
    case LOOK_AROUND:
        if (finds_foreign(w)) return end(w, a, FOREIGN);
        note(w, "opens the run");
        return go(a, TAKE_NUMBER);
    case EARLY_LIST: return list_to_restore(w, a, TAKE_NUMBER);
    case TAKE_NUMBER:
        a->writer.term = (uint8_t)next_term(w);
        note(w, "T1: the next number is %u", a->writer.term);
        return go(a, LINK_NUMBER);
    case LINK_NUMBER: return link_number(w, a);
    case SYNC_TERMS:
        w->quiet = true;
        if (has_rule(w, T3)) sync_dir(w, TERMS);
        return go(a, SWEEP);
    case SWEEP: return sweep_one(w, a);
    case SYNC_SWEPT:
        w->quiet = true;
        if (has_rule(w, T5)) sync_dir(w, STAGING);
        return go(a, CHECK_TAKEN);
    case CHECK_TAKEN: return check_taken(w, a);
    case SWEEP_OPENING:
        if (sweep_trash(w)) go(a, EMPTY_OPENING);
        return;
    case EMPTY_OPENING:
        if (empty_trash(w, a)) go(a, *writer_plan(w, a) == 'b' ? NEXT : LIST);
        return;
    case LIST: return list_half(w, a);
    case PICK: return list_to_restore(w, a, HOLD);
    case HOLD: return hold(w, a);
    default: return read_files(w, a);
    }
}
