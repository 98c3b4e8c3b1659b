/* The disk: names in folders and contents of files. A change of a folder's names is seen at once and durable only after a sync of the folder; a power
 * cut keeps any subset of the changes that were not synced. A file's content is durable only after its own sync.
 *
 * A rename within the trash is durable at once here: who finds which folder there after a cut makes no difference to anybody, and the number of states
 * is much smaller.
 *
 * A rename from one folder to another is one change, as journaling file systems make it, and durable when either folder is synced; without
 * A_WHOLE it is two, each durable with its own folder alone. */
#include "model.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static unsigned key(const struct entry *entry)
{
    return (unsigned)entry->dir << 16 | entry->name;
}

/* Applies one change to a sorted array of entries. */
static uint8_t apply(struct entry *entries, uint8_t count, const struct entry *change)
{
    unsigned at = 0;
    if (!change->dir) return count;
    while (at < count && key(&entries[at]) < key(change)) at++;
    bool there = at < count && key(&entries[at]) == key(change);
    if (there && change->node) {
        entries[at].node = change->node;
    } else if (there) {
        memmove(&entries[at], &entries[at + 1], (count - at - 1u) * sizeof *entries);
        memset(&entries[--count], 0, sizeof *entries);
    } else if (change->node) {
        assert(count < MAX_ENTRIES);
        memmove(&entries[at + 1], &entries[at], (count - at) * sizeof *entries);
        entries[at] = *change;
        count++;
    }
    return count;
}

static void remember(struct world *w, struct entry first, struct entry second)
{
    struct disk *disk = &w->s.disk;
    if (w->s.cuts == w->c->cuts) return;
    if (first.dir == TRASH && (second.dir == TRASH || !second.dir)) {
        disk->durable_count = apply(disk->durable, disk->durable_count, &first);
        disk->durable_count = apply(disk->durable, disk->durable_count, &second);
        return;
    }
    assert(disk->ops_count < MAX_OPS);
    disk->pending[disk->ops_count++] = (struct op){ { first, second } };
}

static void change(struct world *w, struct entry first, struct entry second)
{
    struct disk *disk = &w->s.disk;
    disk->now_count = apply(disk->now, disk->now_count, &first);
    disk->now_count = apply(disk->now, disk->now_count, &second);
    if (!has_rule(w, A_WHOLE) && second.dir && first.dir != second.dir) {
        remember(w, first, (struct entry){ 0 });
        remember(w, second, (struct entry){ 0 });
    } else {
        remember(w, first, second);
    }
}

int look(const struct disk *disk, unsigned dir, unsigned name)
{
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == dir && disk->now[i].name == name) return disk->now[i].node;
    return NOTHING;
}

unsigned first_name_but(const struct disk *disk, unsigned dir, unsigned but)
{
    for (unsigned i = 0; i < disk->now_count; i++)
        if (disk->now[i].dir == dir && disk->now[i].name != but) return disk->now[i].name;
    return 0;
}

unsigned first_name(const struct disk *disk, unsigned dir)
{
    return first_name_but(disk, dir, 0);
}

void hide(struct disk *disk, unsigned dir, unsigned name)
{
    struct entry entry = { (uint8_t)dir, NOTHING, (uint16_t)name };
    disk->now_count = apply(disk->now, disk->now_count, &entry);
}

bool put_name(struct world *w, unsigned dir, unsigned name, unsigned node)
{
    if (look(&w->s.disk, dir, name)) return false;
    change(w, (struct entry){ (uint8_t)dir, (uint8_t)node, (uint16_t)name }, (struct entry){ 0 });
    return true;
}

void put_over(struct world *w, unsigned dir, unsigned name, unsigned node)
{
    change(w, (struct entry){ (uint8_t)dir, (uint8_t)node, (uint16_t)name }, (struct entry){ 0 });
}

bool remove_name(struct world *w, unsigned dir, unsigned name)
{
    if (!look(&w->s.disk, dir, name)) return false;
    change(w, (struct entry){ (uint8_t)dir, NOTHING, (uint16_t)name }, (struct entry){ 0 });
    return true;
}

void move_over(struct world *w, unsigned dir, unsigned name, unsigned to_dir, unsigned to_name)
{
    uint8_t node = (uint8_t)look(&w->s.disk, dir, name);
    change(w, (struct entry){ (uint8_t)dir, NOTHING, (uint16_t)name }, (struct entry){ (uint8_t)to_dir, node, (uint16_t)to_name });
}

enum moved move_name(struct world *w, unsigned dir, unsigned name, unsigned to_dir, unsigned to_name)
{
    if (!look(&w->s.disk, dir, name)) return NO_SOURCE;
    if (look(&w->s.disk, to_dir, to_name)) return NAME_TAKEN;
    move_over(w, dir, name, to_dir, to_name);
    return MOVED;
}

void exchange_names(struct world *w, unsigned dir, unsigned name, unsigned other)
{
    uint8_t a = (uint8_t)look(&w->s.disk, dir, name), b = (uint8_t)look(&w->s.disk, dir, other);
    change(w, (struct entry){ (uint8_t)dir, b, (uint16_t)name }, (struct entry){ (uint8_t)dir, a, (uint16_t)other });
}

/* ------------------------------------------------------------------------------------------------------------- durability */

static void drop_change(struct op *op, unsigned which)
{
    op->change[which] = (struct entry){ 0 };
}

/* What an older change says about a name that a newer one has made durable counts no more. */
static void outdate(struct disk *disk, unsigned before, const struct op *newer)
{
    for (unsigned i = 0; i < before; i++)
        for (unsigned k = 0; k < 2; k++)
            for (unsigned n = 0; n < 2; n++)
                if (newer->change[n].dir && disk->pending[i].change[k].dir && key(&disk->pending[i].change[k]) == key(&newer->change[n]))
                    drop_change(&disk->pending[i], k);
}

static bool touches(const struct op *op, unsigned dir)
{
    return op->change[0].dir == dir || op->change[1].dir == dir;
}

void sync_dir(struct world *w, unsigned dir)
{
    struct disk *disk = &w->s.disk;
    unsigned kept = 0;
    bool any = false;
    for (unsigned i = 0; i < disk->ops_count; i++) {
        struct op op = disk->pending[i];
        if (!touches(&op, dir)) {
            disk->pending[kept++] = op;
            continue;
        }
        any = true;
        for (unsigned k = 0; k < 2; k++) disk->durable_count = apply(disk->durable, disk->durable_count, &op.change[k]);
        outdate(disk, kept, &op);
    }
    unsigned left = 0;
    for (unsigned i = 0; i < kept; i++)
        if (disk->pending[i].change[0].dir || disk->pending[i].change[1].dir) disk->pending[left++] = disk->pending[i];
    memset(&disk->pending[left], 0, (disk->ops_count - left) * sizeof *disk->pending);
    disk->ops_count = (uint8_t)left;
    w->quiet = !any;
}

void write_file(struct world *w, unsigned node)
{
    struct disk *disk = &w->s.disk;
    if (w->s.cuts < w->c->cuts) disk->unsynced[node / 64] |= UINT64_C(1) << node % 64;
}

void sync_file(struct world *w, unsigned node)
{
    w->s.disk.unsynced[node / 64] &= ~(UINT64_C(1) << node % 64);
}

bool is_lost(const struct disk *disk, unsigned node)
{
    return disk->lost[node / 64] >> node % 64 & 1;
}

void forget_durability(struct disk *disk)
{
    memset(disk->durable, 0, sizeof disk->durable);
    memset(disk->pending, 0, sizeof disk->pending);
    memset(disk->unsynced, 0, sizeof disk->unsynced);
    disk->durable_count = disk->ops_count = 0;
}

void put_durable(struct disk *disk, unsigned dir, unsigned name, unsigned node)
{
    struct entry entry = { (uint8_t)dir, (uint8_t)node, (uint16_t)name };
    disk->now_count = apply(disk->now, disk->now_count, &entry);
    disk->durable_count = apply(disk->durable, disk->durable_count, &entry);
}

void cut_power(struct world *w)
{
    struct disk *disk = &w->s.disk;
    for (unsigned i = 0; i < disk->ops_count; i++) {
        if (!choose(w, 2)) continue;
        for (unsigned k = 0; k < 2; k++) disk->durable_count = apply(disk->durable, disk->durable_count, &disk->pending[i].change[k]);
    }
    for (unsigned node = 0; node < NODES; node++)
        if (disk->unsynced[node / 64] >> node % 64 & 1 && choose(w, 2)) disk->lost[node / 64] |= UINT64_C(1) << node % 64;
    memcpy(disk->now, disk->durable, sizeof disk->now);
    disk->now_count = disk->durable_count;
    memset(disk->pending, 0, sizeof disk->pending);
    memset(disk->unsynced, 0, sizeof disk->unsynced);
    disk->ops_count = 0;
    w->s.cuts++;
    if (w->s.cuts == w->c->cuts) forget_durability(disk);
}

/* ------------------------------------------------------------------------------------------------------------------ texts */

const char *show_name(unsigned dir, unsigned name)
{
    static char text[4][64];
    static unsigned next;
    char *out = text[next++ % 4];
    const char *suffix = name & NAME_SUFFIX ? ".suffix" : "";
    unsigned plain = name & ~(unsigned)NAME_SUFFIX;
    if (dir == RUN && plain >= NAME_ASIDE)
        snprintf(out, sizeof text[0], "checkpoint-%u~%u%s", plain >> 4 & 15, plain & 15, suffix);
    else if (dir == RUN)
        snprintf(out, sizeof text[0], "checkpoint-%u%s", plain, suffix);
    else if (dir == TRASH)
        snprintf(out, sizeof text[0], "trash/%c%u", name >= NAME_S ? 's' : name >= NAME_X ? 'x' : 'p', name & 255);
    else
        snprintf(out, sizeof text[0], "%u/%u", dir, name);
    return out;
}
