/* What pruners that died have left, and what was retired where it stood: whoever opens or commits finishes it (R7, R8). */
#include "model.h"

/* An empty folder is what a pruner leaves that died before it removed it: nothing of a checkpoint, and nobody else's. */
bool is_retired(const struct world *w, unsigned folder)
{
    const struct disk *disk = &w->s.disk;
    if (manifest_of(disk, folder)) return false;
    return look(disk, folder, NAME_RETIRED) || (has_rule(w, R8_EMPTY) && !first_name(disk, folder));
}

void remove_files(struct world *w, unsigned folder, unsigned but)
{
    unsigned names[MAX_ENTRIES], count = 0;
    for (unsigned i = 0; i < w->s.disk.now_count; i++)
        if (w->s.disk.now[i].dir == folder && w->s.disk.now[i].name != but) names[count++] = w->s.disk.now[i].name;
    if (count && is_checkpoint(folder)) on_unlinking(w, folder);
    for (unsigned i = 0; i < count; i++) remove_name(w, folder, names[i]);
}

/* Files, then retired.json when they are gone for good, then the folder; one of them a step. true: there is nothing of it any more. */
bool finish_retired(struct world *w, unsigned name)
{
    struct disk *disk = &w->s.disk;
    unsigned folder = (unsigned)look(disk, RUN, name), first = first_name(disk, folder);
    unsigned last = has_rule(w, R8_LAST) ? NAME_RETIRED : 0;
    if (!folder || (has_rule(w, R8_OWN) && !is_retired(w, folder))) return true;
    if (first && first_name_but(disk, folder, last)) {
        note(w, "R8: unlinks the files of retired checkpoint %u", folder - FOLDERS);
        if (has_rule(w, R8_FINISH)) sync_dir(w, folder);
        w->quiet = false;
        remove_files(w, folder, last);
    } else if (first) {
        note(w, "R8: unlinks retired.json of checkpoint %u", folder - FOLDERS);
        if (has_rule(w, R8_GONE)) sync_dir(w, folder);
        w->quiet = false;
        remove_name(w, folder, NAME_RETIRED);
    } else {
        note(w, "R8: removes the empty folder %s", show_name(RUN, name));
        remove_name(w, RUN, name);
    }
    return false;
}

enum { LIST, SYNC, SETTLE, RETIRED };

static void list_trash(struct world *w, struct emptying *e)
{
    const struct disk *disk = &w->s.disk;
    e->folders = e->staged = 0;
    for (unsigned i = 0; i < disk->now_count; i++) {
        unsigned name = disk->now[i].name;
        if (disk->now[i].dir != TRASH) continue;
        if (name >= NAME_S) e->staged |= (uint16_t)(1u << (disk->now[i].node - FOLDERS));
        if (name >= NAME_X && name < NAME_S) e->folders |= (uint16_t)(1u << (disk->now[i].node - PRUNERS));
    }
    if (e->folders) note(w, "R7: lists what a commit has taken from pruners");
}

/* Only what bears its own id goes; another one was moved by a pruner that slept, and goes back. */
static void settle(struct world *w, struct emptying *e, unsigned folder, unsigned id)
{
    unsigned node = (unsigned)look(&w->s.disk, folder, id), c = node - FOLDERS;
    const struct checkpoint *checkpoint = &w->s.checkpoint[c];
    if (has_rule(w, R7_NAME) && node != id && manifest_of(&w->s.disk, node)) {
        note(w, "R7: checkpoint %u lies there under the id of %u: goes back", c, id - FOLDERS);
        if (move_name(w, folder, id, RUN, checkpoint->step) != NAME_TAKEN) return;
        if (move_name(w, folder, id, RUN, aside(checkpoint)) == NAME_TAKEN) e->folders &= (uint16_t) ~(1u << (folder - PRUNERS));
        return;
    }
    note(w, "R7: unlinks the files of checkpoint %u", c);
    remove_files(w, node, 0);
    remove_name(w, folder, id);
}

static bool settle_one(struct world *w, struct emptying *e)
{
    for (unsigned i = 0; i < 16; i++) {
        if (e->staged >> i & 1) {
            remove_files(w, FOLDERS + i, 0);
            remove_name(w, TRASH, NAME_S + FOLDERS + i);
            e->staged &= (uint16_t) ~(1u << i);
            note(w, "removes an older writer's staging folder");
            return false;
        }
        if (!(e->folders >> i & 1)) continue;
        unsigned id = first_name(&w->s.disk, PRUNERS + i);
        if (id) {
            settle(w, e, PRUNERS + i, id);
        } else {
            remove_name(w, TRASH, NAME_X + PRUNERS + i);
            e->folders &= (uint16_t) ~(1u << i);
        }
        return false;
    }
    return true;
}

static bool finish_next(struct world *w)
{
    for (unsigned i = 0; i < w->s.disk.now_count; i++) {
        const struct entry *entry = &w->s.disk.now[i];
        if (entry->dir == RUN && is_checkpoint(entry->node) && is_retired(w, entry->node)) return finish_retired(w, entry->name);
    }
    return true;
}

bool sweep_trash(struct world *w)
{
    const struct disk *disk = &w->s.disk;
    for (unsigned i = 0; i < disk->now_count; i++) {
        const struct entry entry = disk->now[i];
        if (entry.dir != TRASH || entry.node < PRUNERS || entry.name >= NAME_X) continue;
        note(w, "renames pruner's folder %s away", show_name(TRASH, entry.name));
        (void)move_name(w, TRASH, entry.name, TRASH, NAME_X + entry.node);
        return false;
    }
    w->quiet = true;
    return true;
}

bool empty_trash(struct world *w, struct actor *a)
{
    struct emptying *e = &a->emptying;
    bool list_first = has_rule(w, R7_ORDER);
    switch (e->stage) {
    case LIST:
        if (list_first) list_trash(w, e);
        if (!list_first) sync_dir(w, RUN);
        e->stage = SYNC;
        if (list_first) w->quiet = false;
        return false;
    case SYNC:
        if (!list_first) list_trash(w, e);
        w->quiet = list_first;
        if (list_first && has_rule(w, R7_SYNC)) sync_dir(w, RUN);
        e->stage = SETTLE;
        return false;
    case SETTLE:
        if (!settle_one(w, e)) return false;
        e->stage = RETIRED;
        w->quiet = true;
        return false;
    default:
        if (!finish_next(w)) return false;
        *e = (struct emptying){ 0 };
        return true;
    }
}
