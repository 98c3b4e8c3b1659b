/* Dropping an item (I1-I4): one dropper drops item 0, a second one item 1 of the same checkpoint. */
#include "model.h"

enum { FIND = ASLEEP, SYNC_FOUND, HOLD, LET_SHARED, LOCK, READ_AGAIN, EARLY_UNLINK, WRITE, RENAME, SYNC, UNLINK };

static unsigned target(const struct world *w, const struct actor *a)
{
    return w->c->plan[actor_index(w, a)].target;
}

/* Which of the droppers this is: 0 or 1, the item it drops. */
static unsigned nth(const struct world *w, const struct actor *a)
{
    unsigned n = 0;
    for (unsigned i = 0; i < actor_index(w, a); i++) n += w->c->plan[i].role == DROPPER;
    return n;
}

static unsigned version_of(unsigned manifest)
{
    unsigned kind = (manifest - FILES) % 6;
    return kind == MANIFEST_1 ? 1 : kind == MANIFEST_2 ? 2 : 0;
}

/* marker.content: items that the manifest read lists; marker.generation: its generation. */
static void find(struct world *w, struct actor *a)
{
    struct listing listing;
    list_run(w, &listing);
    for (unsigned i = 0; i < listing.count; i++) {
        if (listing.at[i].checkpoint != target(w, a)) continue;
        if (has_rule(w, I1_HEAD) && (i + 1u == listing.top || i + 1u == listing.head)) return end(w, a, USAGE);
        if (has_rule(w, I1_WHOLE) && i + 1u == newest_survivor(w, &listing)) return end(w, a, USAGE);
        a->hold.name = listing.at[i].name;
        return go(a, SYNC_FOUND);
    }
    end(w, a, GONE);
}

static void hold(struct world *w, struct actor *a)
{
    enum holding holding = open_held(w, a, has_rule(w, I1_LOCK), has_rule(w, G_LOOK));
    if (holding == HOLDING) return;
    if (holding != HELD || a->hold.folder != FOLDERS + target(w, a)) return end(w, a, GONE);
    a->marker.generation = w->s.manifest_generation[version_of(a->hold.manifest)];
    a->marker.content = w->s.manifest_items[version_of(a->hold.manifest)];
    go(a, has_rule(w, I1_LOCK) ? LET_SHARED : READ_AGAIN);
}

static void read_again(struct world *w, struct actor *a)
{
    unsigned manifest = manifest_of(&w->s.disk, a->hold.folder);
    if (has_rule(w, I1_AGAIN) && (!manifest || w->s.manifest_generation[version_of(manifest)] != a->marker.generation))
        return end(w, a, GONE);
    if (!(a->marker.content >> nth(w, a) & 1)) return end(w, a, OK);
    go(a, has_rule(w, I4) ? WRITE : EARLY_UNLINK);
}

static void write_manifest(struct world *w, struct actor *a)
{
    unsigned version = 1 + nth(w, a), node = FILES + 6 * target(w, a) + (version == 1 ? MANIFEST_1 : MANIFEST_2);
    w->s.manifest_items[version] = a->marker.content & (uint8_t) ~(1u << nth(w, a));
    w->s.manifest_generation[version] = (uint8_t)(a->marker.generation + 1);
    a->marker.node = (uint8_t)node;
    write_file(w, node);
    if (has_rule(w, I2)) sync_file(w, node);
    put_name(w, a->hold.folder, NAME_NEW_MANIFEST + actor_index(w, a), node);
    note(w, "I2: writes a manifest of generation %u", a->marker.generation + 1);
    go(a, RENAME);
}

static void unlink_item(struct world *w, struct actor *a, int next)
{
    note(w, "I4: unlinks item %u of checkpoint %u", nth(w, a), target(w, a));
    remove_name(w, a->hold.folder, NAME_ITEM_0 + nth(w, a));
    go(a, next);
}

void step_dropper(struct world *w, struct actor *a)
{
    switch (a->pc) {
    case FIND: return find(w, a);
    case SYNC_FOUND:
        w->quiet = true;
        if (has_rule(w, I1_SYNC)) sync_dir(w, RUN);
        return go(a, HOLD);
    case HOLD: return hold(w, a);
    case LET_SHARED:
        note(w, "gives the shared lock up for the exclusive one");
        w->quiet = w->c->no_locks;
        a->hold.lease = FREE;
        return go(a, LOCK);
    case LOCK:
        if (!take_lease(w, a, EXCLUSIVE)) return end(w, a, LOCKED);
        note(w, "I1: holds checkpoint %u alone", target(w, a));
        return go(a, READ_AGAIN);
    case READ_AGAIN: return read_again(w, a);
    case EARLY_UNLINK: return unlink_item(w, a, WRITE);
    case WRITE: return write_manifest(w, a);
    case RENAME:
        if (!look(&w->s.disk, a->hold.folder, NAME_NEW_MANIFEST + actor_index(w, a))) return end(w, a, GONE);
        move_over(w, a->hold.folder, NAME_NEW_MANIFEST + actor_index(w, a), a->hold.folder, NAME_MANIFEST);
        note(w, "I3: renames it to manifest.json");
        return go(a, SYNC);
    case SYNC:
        w->quiet = true;
        if (has_rule(w, I3)) sync_dir(w, a->hold.folder);
        w->s.dropped |= (uint8_t)(1u << nth(w, a));
        return go(a, UNLINK);
    default:
        if (has_rule(w, I4)) unlink_item(w, a, UNLINK);
        end(w, a, OK);
    }
}
