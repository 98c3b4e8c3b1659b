/* What a listing of the run says. Truth lies in the manifests: names are hints. */
#include "model.h"

#include <stdlib.h>
#include <string.h>

bool is_checkpoint(unsigned node)
{
    return node >= FOLDERS && node < FOLDERS + MAX_CHECKPOINTS;
}

unsigned aside(const struct checkpoint *checkpoint)
{
    return NAME_ASIDE + 16u * checkpoint->step + checkpoint->term;
}

bool comes_before(const struct state *s, unsigned c, unsigned d)
{
    const struct checkpoint *a = &s->checkpoint[c], *b = &s->checkpoint[d];
    return a->term != b->term ? a->term < b->term : a->step < b->step;
}

/* The lineage of a checkpoint names, for every term its ancestors were saved in, the last of them. */
bool on_line(const struct state *s, unsigned end, unsigned c)
{
    for (unsigned at = end + 1; at; at = s->checkpoint[at - 1].parent)
        if (s->checkpoint[at - 1].term == s->checkpoint[c].term && s->checkpoint[c].step <= s->checkpoint[at - 1].step) return true;
    return false;
}

unsigned manifest_of(const struct disk *disk, unsigned folder)
{
    return (unsigned)look(disk, folder, NAME_MANIFEST);
}

unsigned name_in_run(const struct disk *disk, unsigned node)
{
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == RUN && disk->now[i].node == node) return disk->now[i].name;
    return 0;
}

unsigned highest_marks(const struct disk *disk, unsigned folder)
{
    unsigned highest = NAME_MARKS;
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == folder && disk->now[i].name > highest) highest = disk->now[i].name;
    return highest - NAME_MARKS;
}

static void insert(const struct state *s, struct listing *listing, unsigned name, unsigned c)
{
    unsigned at = listing->count++;
    while (at && comes_before(s, c, listing->at[at - 1].checkpoint)) {
        listing->at[at] = listing->at[at - 1];
        at--;
    }
    listing->at[at].name = (uint16_t)name;
    listing->at[at].checkpoint = (uint8_t)c;
    listing->at[at].current = 0;
}

void list_run(const struct world *w, struct listing *ret)
{
    const struct disk *disk = &w->s.disk;
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < disk->now_count && ret->count < MAX_CHECKPOINTS; i++) {
        const struct entry *entry = &disk->now[i];
        if (entry->dir != RUN || !is_checkpoint(entry->node)) continue;
        unsigned manifest = manifest_of(disk, entry->node);
        if (manifest && !is_lost(disk, manifest)) insert(&w->s, ret, entry->name, entry->node - (unsigned)FOLDERS);
    }
    ret->top = ret->count;
    for (uint8_t i = 0; i < ret->count; i++) {
        unsigned c = ret->at[i].checkpoint;
        ret->at[i].current = on_line(&w->s, ret->at[ret->top - 1].checkpoint, c);
        if (ret->at[i].current && !(w->s.checkpoint[c].flags & UNHEALTHY)) ret->head = i + 1;
    }
}

static bool file_is_right(const struct disk *disk, unsigned folder, unsigned name, unsigned kind)
{
    unsigned node = (unsigned)look(disk, folder, name);
    return node >= FILES && (node - FILES) % 6 == kind && !is_lost(disk, node);
}

bool is_whole(const struct world *w, unsigned c)
{
    const struct disk *disk = &w->s.disk;
    unsigned folder = FOLDERS + c, manifest = manifest_of(disk, folder);
    if (w->s.checkpoint[c].flags & BROKEN || !manifest || is_lost(disk, manifest)) return false;
    if (!file_is_right(disk, folder, NAME_DATA, DATA)) return false;
    if (!w->c->with_items) return true;
    unsigned kind = (manifest - FILES) % 6, version = kind == MANIFEST_1 ? 1 : kind == MANIFEST_2 ? 2 : 0;
    for (unsigned item = 0; item < 2; item++)
        if (w->s.manifest_items[version] >> item & 1 && !file_is_right(disk, folder, NAME_ITEM_0 + item, ITEM_0 + item)) return false;
    return true;
}

bool is_complete(const struct world *w, unsigned c)
{
    return !w->c->with_items || (manifest_of(&w->s.disk, FOLDERS + c) - FILES) % 6 == MANIFEST;
}

bool is_survivor(const struct world *w, unsigned c)
{
    return !(w->s.checkpoint[c].flags & UNHEALTHY) && is_whole(w, c) && is_complete(w, c);
}

unsigned newest_survivor(const struct world *w, const struct listing *listing)
{
    for (unsigned i = listing->count; i; i--)
        if (listing->at[i - 1].current && is_survivor(w, listing->at[i - 1].checkpoint)) return i;
    return 0;
}
