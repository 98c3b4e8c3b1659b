/* The lock on manifest.json: shared by who reads, exclusive for who retires or drops. Where locks are refused everybody goes on without.
 * An exclusive lock is taken in place of a shared one in two steps, as flock() does it: others may come in between. */
#include "model.h"

#include <string.h>

bool is_held_by_others(const struct world *w, const struct actor *a, unsigned manifest, enum lease wanted)
{
    for (unsigned i = 0; i < MAX_ACTORS; i++) {
        const struct actor *other = &w->s.actor[i];
        if (other == a || other->hold.manifest != manifest || other->hold.lease == FREE) continue;
        if (wanted == EXCLUSIVE || other->hold.lease == EXCLUSIVE) return true;
    }
    return false;
}

bool take_lease(struct world *w, struct actor *a, enum lease lease)
{
    if (w->c->no_locks) return true;
    if (is_held_by_others(w, a, a->hold.manifest, lease)) return false;
    a->hold.lease = (uint8_t)lease;
    return true;
}

void let_go(struct actor *a)
{
    memset(&a->hold, 0, sizeof a->hold);
}

/* Opens what hold.name leads to, takes the shared lock, looks again by the whole path. One step each. */
enum holding open_held(struct world *w, struct actor *a, bool with_lease, bool with_look)
{
    const struct disk *disk = &w->s.disk;
    struct hold *hold = &a->hold;
    switch (hold->stage) {
    case 0:
        hold->folder = (uint8_t)look(disk, RUN, hold->name);
        hold->manifest = hold->folder ? (uint8_t)manifest_of(disk, hold->folder) : 0;
        if (!hold->manifest) return WENT_AWAY;
        hold->stage = with_lease ? 1 : 2;
        note(w, "opens %s (checkpoint %u)", show_name(RUN, hold->name), hold->folder - FOLDERS);
        return HOLDING;
    case 1:
        if (!take_lease(w, a, SHARED)) return BUSY;
        hold->stage = 2;
        note(w, "takes the shared lock");
        return HOLDING;
    default:
        if (with_look && ((unsigned)look(disk, RUN, hold->name) != hold->folder || manifest_of(disk, hold->folder) != hold->manifest))
            return WENT_AWAY;
        hold->stage = 3;
        note(w, "looks again: it is still there");
        return HELD;
    }
}
