/* A pruner: keeps the newest so many, or removes the oldest (R1-R8). A process of its own here, though a writer is one after each save. The lock that
 * lets one pruner work at a time is left out: several are safe, too. */
#include "model.h"

#include <string.h>

enum {
    SWEEP_DEAD = ASLEEP,
    EMPTY_DEAD,
    MAKE_FOLDER,
    LIST,      /* R1, R2 */
    SYNC_LIST, /* R2 */
    NEXT,
    HOLD, /* R3 */
    LET_SHARED,
    LOCK,       /* R3 */
    READ_MARKS, /* R3 */
    LOOK_AGAIN,
    MOVE,      /* R4 */
    LOOK_AT,   /* R5 */
    SYNC_MOVE, /* R6 */
    LET_GO,
    UNLINK, /* R7 */
    RETIRE, /* R8 */
    SYNC_RETIRED,
    FINISH,
    REMOVE_FOLDER
};
enum { ROUNDS = 2 };

static unsigned own_folder(const struct world *w, const struct actor *a)
{
    return PRUNERS + 3 * actor_index(w, a) + a->pruner.round;
}

static unsigned victim(const struct actor *a)
{
    return a->pruner.victim[a->pruner.at];
}

static unsigned name_of_victim(const struct actor *a)
{
    return a->pruner.name[a->pruner.at];
}

/* ---------------------------------------------------------------------------------------------------------------- deciding */

static bool survives(const struct world *w, unsigned c)
{
    return !(w->s.checkpoint[c].flags & UNHEALTHY) && (!has_rule(w, R1) || is_whole(w, c)) &&
           (!has_rule(w, R1_COMPLETE) || is_complete(w, c));
}

static bool is_brief(const struct world *w, const struct actor *a)
{
    return *w->c->plan[actor_index(w, a)].text == '1';
}

static void add_victim(struct actor *a, unsigned most, const struct listing *listing, int at)
{
    if (a->pruner.victims == most) return;
    a->pruner.name[a->pruner.victims] = listing->at[at].name;
    a->pruner.victim[a->pruner.victims++] = listing->at[at].checkpoint;
}

/* Whether the marks pin it: those that cannot be read do, too. */
static bool is_pinned(const struct world *w, unsigned folder)
{
    unsigned highest = highest_marks(&w->s.disk, folder), node = (unsigned)look(&w->s.disk, folder, NAME_MARKS + highest);
    if (!highest) return false;
    return is_lost(&w->s.disk, node) ? has_rule(w, M_UNREAD) : w->s.marks_content[node - MARKS];
}

static void decide(struct world *w, struct actor *a)
{
    struct listing listing;
    unsigned keep = w->c->plan[actor_index(w, a)].target, count = 0;
    list_run(w, &listing);
    int dear = has_rule(w, R1_WHOLE) ? (int)newest_survivor(w, &listing) : 0;
    a->pruner.victims = a->pruner.at = 0;
    for (int round = 0; round < 2; round++)
        for (int i = listing.count - 1; i >= 0; i--) {
            unsigned c = listing.at[i].checkpoint;
            bool safe = i + 1 == dear || (has_rule(w, R_HEAD) && (i + 1 == listing.head || i + 1 == listing.top));
            if (is_pinned(w, FOLDERS + c)) safe = true;
            if (listing.at[i].current != round) continue;
            if (!round && !safe && keep) add_victim(a, is_brief(w, a) ? 1 : MAX_MOVES, &listing, i);
            if (!round) continue;
            if (keep && count >= keep && !safe && !(w->s.checkpoint[c].flags & UNHEALTHY))
                add_victim(a, is_brief(w, a) ? 1 : MAX_MOVES, &listing, i);
            if (!keep && !safe && (i == 0 || !has_rule(w, R_HEAD)) && !a->pruner.victims)
                add_victim(a, is_brief(w, a) ? 1 : MAX_MOVES, &listing, i);
            count += survives(w, c);
        }
    note(w, "R2: lists the run: %u are to go", a->pruner.victims);
}

/* ------------------------------------------------------------------------------------------------------------- one victim */

static void start_over(struct world *w, struct actor *a)
{
    let_go(a);
    w->quiet = false;
    note(w, "things have changed: starts over");
    if (++a->pruner.round == (is_brief(w, a) ? 1 : ROUNDS)) return end(w, a, GONE);
    a->pruner.victims = a->pruner.at = 0;
    go(a, MAKE_FOLDER);
}

static void next_victim(struct actor *a)
{
    let_go(a);
    a->pruner.at++;
    go(a, NEXT);
}

static void hold_victim(struct world *w, struct actor *a)
{
    if (has_rule(w, R3_LOCK) || a->hold.stage != 1) {
        enum holding holding = open_held(w, a, has_rule(w, R3_LOCK), has_rule(w, R3_LOOK));
        if (holding == HOLDING) return;
        if (holding != HELD) return start_over(w, a);
    }
    if (has_rule(w, R3_LOOK) && a->hold.folder != FOLDERS + victim(a)) return start_over(w, a);
    go(a, has_rule(w, R3_LOCK) ? LET_SHARED : READ_MARKS);
}

static void lock_victim(struct world *w, struct actor *a)
{
    if (!take_lease(w, a, EXCLUSIVE)) return next_victim(a);
    note(w, "R3: holds checkpoint %u alone", a->hold.folder - FOLDERS);
    go(a, has_rule(w, R3_UPGRADE) ? LOOK_AGAIN : READ_MARKS);
}

static void move_victim(struct world *w, struct actor *a)
{
    unsigned folder = own_folder(w, a), node = (unsigned)look(&w->s.disk, RUN, name_of_victim(a));
    if (w->c->full_disk) return go(a, RETIRE);
    if (has_rule(w, R4_PATH) && !look(&w->s.disk, TRASH, NAME_P + folder)) return start_over(w, a);
    if (!node) return start_over(w, a);
    note(w, "R4: moves %s (checkpoint %u) into trash", show_name(RUN, name_of_victim(a)), node - FOLDERS);
    if (node == FOLDERS + victim(a)) on_retired(w, a, victim(a));
    (void)move_name(w, RUN, name_of_victim(a), folder, FOLDERS + victim(a));
    a->pruner.moved = (uint8_t)node;
    go(a, LOOK_AT);
}

static void look_at_moved(struct world *w, struct actor *a)
{
    w->quiet = true;
    if (!has_rule(w, R5) || a->pruner.moved == FOLDERS + victim(a)) return go(a, SYNC_MOVE);
    note(w, "R5: that was checkpoint %u: goes back", a->pruner.moved - FOLDERS);
    (void)move_name(w, own_folder(w, a), FOLDERS + victim(a), RUN, name_of_victim(a));
    start_over(w, a);
}

static void unlink_victim(struct world *w, struct actor *a)
{
    unsigned folder = own_folder(w, a), node = (unsigned)look(&w->s.disk, folder, FOLDERS + victim(a));
    note(w, "R7: unlinks the files of checkpoint %u", victim(a));
    if (node) remove_files(w, node, 0);
    if (node) remove_name(w, folder, FOLDERS + victim(a));
    next_victim(a);
}

static void retire_in_place(struct world *w, struct actor *a)
{
    unsigned folder = a->hold.folder;
    if (!manifest_of(&w->s.disk, folder)) return start_over(w, a);
    note(w, "R8: renames the manifest of checkpoint %u to retired.json", folder - FOLDERS);
    on_retired(w, a, folder - (unsigned)FOLDERS);
    (void)move_name(w, folder, NAME_MANIFEST, folder, NAME_RETIRED);
    go(a, SYNC_RETIRED);
}

/* ------------------------------------------------------------------------------------------------------------------- steps */

static void step_deciding(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case SWEEP_DEAD:
        if (sweep_trash(w)) go(a, EMPTY_DEAD);
        return;
    case EMPTY_DEAD:
        if (empty_trash(w, a)) go(a, MAKE_FOLDER);
        return;
    case MAKE_FOLDER:
        if (!w->c->full_disk) put_name(w, TRASH, NAME_P + own_folder(w, a), own_folder(w, a));
        if (!has_rule(w, R2_ORDER)) sync_dir(w, RUN);
        w->quiet = false;
        return go(a, LIST);
    case LIST: decide(w, a); return go(a, SYNC_LIST);
    case SYNC_LIST:
        w->quiet = true;
        if (has_rule(w, R2_SYNC) && has_rule(w, R2_ORDER)) sync_dir(w, RUN);
        return go(a, NEXT);
    default:
        w->quiet = true;
        if (a->pruner.at == a->pruner.victims) return go(a, REMOVE_FOLDER);
        a->hold.name = (uint16_t)name_of_victim(a);
        go(a, HOLD);
    }
}

static void step_retiring(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case HOLD: return hold_victim(w, a);
    case LET_SHARED:
        note(w, "gives the shared lock up for the exclusive one");
        w->quiet = w->c->no_locks;
        a->hold.lease = FREE;
        return go(a, LOCK);
    case LOCK: return lock_victim(w, a);
    case LOOK_AGAIN:
        if ((unsigned)look(&w->s.disk, RUN, a->hold.name) != a->hold.folder || manifest_of(&w->s.disk, a->hold.folder) != a->hold.manifest)
            return start_over(w, a);
        return go(a, READ_MARKS);
    case READ_MARKS:
        note(w, "R3: reads the marks");
        if (has_rule(w, R3_MARKS) && is_pinned(w, a->hold.folder)) return next_victim(a);
        return go(a, MOVE);
    case MOVE: return move_victim(w, a);
    case LOOK_AT: return look_at_moved(w, a);
    case SYNC_MOVE:
        w->quiet = true;
        note(w, "R6: syncs the run folder");
        if (has_rule(w, R6)) sync_dir(w, RUN);
        return go(a, LET_GO);
    case LET_GO: let_go(a); return go(a, UNLINK);
    default: return unlink_victim(w, a);
    }
}

void step_pruner(struct world *w, struct actor *a)
{
    if (a->pc <= NEXT) return step_deciding(w, a);
    switch (a->pc) {
    case RETIRE: return retire_in_place(w, a);
    case SYNC_RETIRED:
        w->quiet = true;
        if (has_rule(w, R8_SYNC)) sync_dir(w, a->hold.folder);
        return go(a, FINISH);
    case FINISH:
        if (finish_retired(w, name_of_victim(a))) next_victim(a);
        return;
    case REMOVE_FOLDER: {
        unsigned folder = own_folder(w, a);
        if (!w->c->full_disk && look(&w->s.disk, TRASH, NAME_P + folder) && !first_name(&w->s.disk, folder))
            remove_name(w, TRASH, NAME_P + folder);
        return end(w, a, OK);
    }
    default: return step_retiring(w, a);
    }
}
