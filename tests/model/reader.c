/* A reader takes the shared lock, looks again, then opens the files that the manifest lists. And one who knows of no rule: an editor that puts another
 * file in the place of a checkpoint's data. */
#include "model.h"

enum { FIND = ASLEEP, HOLD, OPEN_FILES, CLOSE };

static void open_files(struct world *w, struct actor *a)
{
    unsigned c = a->hold.folder - (unsigned)FOLDERS;
    unsigned kind = (a->hold.manifest - (unsigned)FILES) % 6, version = kind == MANIFEST_1 ? 1 : kind == MANIFEST_2 ? 2 : 0;
    bool there = look(&w->s.disk, a->hold.folder, NAME_DATA);
    for (unsigned item = 0; item < 2 && w->c->with_items; item++)
        if (w->s.manifest_items[version] >> item & 1) there &= look(&w->s.disk, a->hold.folder, NAME_ITEM_0 + item) != NOTHING;
    note(w, "opens the files of checkpoint %u", c);
    if (!there && !w->c->no_locks) violate(w, "a reader loses what it holds");
    go(a, CLOSE);
}

void step_reader(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case FIND:
        a->hold.name = (uint16_t)name_in_run(&w->s.disk, FOLDERS + w->c->plan[actor_index(w, a)].target);
        return a->hold.name ? go(a, HOLD) : end(w, a, GONE);
    case HOLD: {
        enum holding holding = open_held(w, a, has_rule(w, G_LEASE_READER), has_rule(w, G_LOOK));
        return holding == HOLDING ? (void)0 : holding == HELD ? go(a, OPEN_FILES) : end(w, a, GONE);
    }
    case OPEN_FILES: return open_files(w, a);
    default: return end(w, a, OK);
    }
}

void step_editor(struct world *w, struct actor *a)
{
    unsigned c = w->c->plan[actor_index(w, a)].target;
    note(w, "puts another file in the place of checkpoint %u's data", c);
    if (look(&w->s.disk, FOLDERS + c, NAME_DATA)) put_over(w, FOLDERS + c, NAME_DATA, FILES + 6 * c + ITEM_0);
    w->s.checkpoint[c].flags |= BROKEN;
    end(w, a, OK);
}
