/* A tagger adds one mark of its own to one checkpoint (M1-M5). A file of marks is never changed: a change is the whole set under the next number. */
#include "model.h"

#include <assert.h>

enum { FIND = ASLEEP, HOLD, LOAD, PUT, SYNC, REMOVE_OLDER };

static uint8_t own_mark(const struct world *w, const struct actor *a)
{
    return (uint8_t)(1u << actor_index(w, a));
}

/* Marks that cannot be read end the change with an error: nothing is written over what is not understood. */
static void load(struct world *w, struct actor *a)
{
    struct marker *marker = &a->marker;
    unsigned highest = highest_marks(&w->s.disk, a->hold.folder), node = (unsigned)look(&w->s.disk, a->hold.folder, NAME_MARKS + highest);
    if (highest && is_lost(&w->s.disk, node)) return end(w, a, STUCK);
    uint8_t found = highest ? w->s.marks_content[node - MARKS] : 0;
    bool done = found & own_mark(w, a) || (!has_rule(w, M3) && marker->attempts && marker->seen);
    marker->generation = (uint8_t)(done ? highest : highest + 1);
    marker->content = done ? 0 : (uint8_t)(found | own_mark(w, a));
    note(w, "lists the marks: the highest is %u, with %x", highest, found);
    go(a, done ? SYNC : PUT);
}

static void put(struct world *w, struct actor *a)
{
    struct marker *marker = &a->marker;
    unsigned folder = a->hold.folder, name = NAME_MARKS + marker->generation, node = MARKS + 4 * actor_index(w, a) + marker->attempts;
    marker->seen = !look(&w->s.disk, folder, name) || !has_rule(w, M2);
    if (marker->seen) {
        assert(marker->attempts < 4);
        w->s.marks_content[node - MARKS] = marker->content;
        write_file(w, node);
        if (has_rule(w, M1)) sync_file(w, node);
        put_over(w, folder, name, node);
        marker->attempts++;
        note(w, "M2: links marks.%u with %x", marker->generation, marker->content);
    }
    marker->content = 0;
    go(a, LOAD);
}

static void acknowledge(struct world *w, struct actor *a)
{
    w->s.marked |= own_mark(w, a);
    note(w, "M4: the mark is durable, says the tagger");
    go(a, REMOVE_OLDER);
}

static void remove_older(struct world *w, struct actor *a)
{
    const struct disk *disk = &w->s.disk;
    for (unsigned i = 0; i < disk->now_count; i++) {
        unsigned name = disk->now[i].name;
        if (disk->now[i].dir != a->hold.folder || name <= NAME_MARKS || name >= NAME_MARKS + (unsigned)a->marker.generation) continue;
        note(w, "M5: unlinks marks.%u", name - NAME_MARKS);
        remove_name(w, a->hold.folder, name);
        return;
    }
    if (has_rule(w, M5)) return end(w, a, OK);
    if (has_rule(w, M4)) sync_dir(w, a->hold.folder);
    w->s.marked |= own_mark(w, a);
    end(w, a, OK);
}

void step_tagger(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case FIND:
        a->hold.name = (uint16_t)name_in_run(&w->s.disk, FOLDERS + w->c->plan[actor_index(w, a)].target);
        return a->hold.name ? go(a, HOLD) : end(w, a, GONE);
    case HOLD: {
        enum holding holding = open_held(w, a, has_rule(w, M_LEASE), has_rule(w, G_LOOK));
        if (holding == HELD && a->hold.folder != FOLDERS + w->c->plan[actor_index(w, a)].target) return end(w, a, GONE);
        return holding == HOLDING ? (void)0 : holding == HELD ? go(a, LOAD) : end(w, a, GONE);
    }
    case LOAD: return load(w, a);
    case PUT: return put(w, a);
    case SYNC:
        if (!has_rule(w, M5)) return go(a, REMOVE_OLDER);
        if (has_rule(w, M4)) sync_dir(w, a->hold.folder);
        w->quiet = false;
        return acknowledge(w, a);
    default: return remove_older(w, a);
    }
}
