/* The simulated disk (see disk.h). Invariants:
 *
 * 1. `names` is `durable_names` with every op that is not done applied in order; `now` is `durable` with every write applied in order.
 * 2. Nothing becomes durable by itself: only by a sync, or by luck in a cut.
 * 3. A change that is made durable overtakes earlier ones of the same entry: these can come back no more. */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct sim_name_op {
    struct sim_name_op *next;
    struct sim_change changes[SIM_MAX_CHANGES];
    size_t count;
};

static void *need(void *memory)
{
    if (!memory) abort(); /* the harness itself has no memory */
    return memory;
}

/* --------------------------------------------------------------------------------------------------------------- entries */

static uint64_t order_of(const struct sim_disk *disk, const char *name)
{
    uint64_t hash = disk->order_seed;
    for (; *name; name++) hash = (hash ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

static struct sim_entry *find(const struct sim_entries *entries, const char *name)
{
    for (size_t i = 0; i < entries->count; i++)
        if (!strcmp(entries->list[i].name, name)) return &entries->list[i];
    return NULL;
}

static void set(const struct sim_disk *disk, struct sim_entries *entries, const char *name, struct sim_inode *inode)
{
    struct sim_entry *entry = find(entries, name);
    if (entry && inode) {
        entry->inode = inode;
    } else if (entry) {
        free(entry->name);
        *entry = entries->list[--entries->count];
    } else if (inode) {
        if (entries->count == entries->capacity) {
            entries->capacity = entries->capacity ? 2 * entries->capacity : 8;
            entries->list = need(realloc(entries->list, entries->capacity * sizeof *entries->list));
        }
        entries->list[entries->count++] = (struct sim_entry){ need(strdup(name)), order_of(disk, name), inode };
    }
}

static void clear(struct sim_entries *entries)
{
    for (size_t i = 0; i < entries->count; i++) free(entries->list[i].name);
    free(entries->list);
    *entries = (struct sim_entries){ 0 };
}

struct sim_entry *sim_disk_find(const struct sim_inode *dir, const char *name)
{
    return find(&dir->names, name);
}

/* ------------------------------------------------------------------------------------------------------------ life and end */

struct sim_inode *sim_disk_new(struct sim_disk *disk, enum sim_type type, uint32_t mode)
{
    struct sim_inode *inode = need(calloc(1, sizeof *inode));
    *inode = (struct sim_inode){ .next = disk->inodes, .number = disk->next_number++, .type = type, .mode = mode };
    disk->inodes = inode;
    return inode;
}

void sim_disk_init(struct sim_disk *disk, uint64_t order_seed, enum sim_renames renames)
{
    *disk = (struct sim_disk){ .next_number = 2, .order_seed = order_seed, .renames = renames };
    disk->root = sim_disk_new(disk, SIM_DIR, 0755);
    disk->root->parent = disk->root;
    disk->root->label[0] = '/';
}

static void forget_writes(struct sim_inode *inode)
{
    for (struct sim_write *write = inode->first, *next; write; write = next) {
        next = write->next;
        free(write);
    }
    inode->first = inode->last = NULL;
}

static void free_op(struct sim_name_op *op)
{
    for (size_t i = 0; i < op->count; i++) free(op->changes[i].name);
    free(op);
}

static void forget_ops(struct sim_disk *disk)
{
    for (struct sim_name_op *op = disk->ops, *next; op; op = next) {
        next = op->next;
        free_op(op);
    }
    disk->ops = disk->last_op = NULL;
}

void sim_disk_free(struct sim_disk *disk)
{
    forget_ops(disk);
    for (struct sim_inode *inode = disk->inodes, *next; inode; inode = next) {
        next = inode->next;
        forget_writes(inode);
        clear(&inode->names);
        clear(&inode->durable_names);
        free(inode->now.data);
        free(inode->durable.data);
        free(inode);
    }
    *disk = (struct sim_disk){ 0 };
}

/* ----------------------------------------------------------------------------------------------------------------- names */

static void see(const struct sim_disk *disk, const struct sim_change *change)
{
    const struct sim_entry *before = find(&change->dir->names, change->name);
    if (before) before->inode->links--;
    set(disk, &change->dir->names, change->name, change->inode);
    if (!change->inode) return;
    change->inode->links++;
    if (change->inode->type == SIM_DIR) change->inode->parent = change->dir;
    snprintf(change->inode->label, sizeof change->inode->label, "%.63s", change->name);
}

void sim_disk_change(struct sim_disk *disk, const struct sim_change *changes, size_t count)
{
    struct sim_name_op *op = need(calloc(1, sizeof *op));
    op->count = count;
    for (size_t i = 0; i < count; i++) {
        op->changes[i] = changes[i];
        op->changes[i].name = need(strdup(changes[i].name));
        see(disk, &changes[i]);
    }
    if (disk->last_op)
        disk->last_op->next = op;
    else
        disk->ops = op;
    disk->last_op = op;
}

/* Invariant 3 */
static void overtake(struct sim_disk *disk, const struct sim_name_op *until, const struct sim_change *change)
{
    for (struct sim_name_op *op = disk->ops; op != until; op = op->next)
        for (size_t i = 0; i < op->count; i++)
            if (op->changes[i].dir == change->dir && !strcmp(op->changes[i].name, change->name)) op->changes[i].done = true;
}

static void make_durable(struct sim_disk *disk, const struct sim_name_op *op, struct sim_change *change)
{
    if (change->done) return;
    change->done = true;
    set(disk, &change->dir->durable_names, change->name, change->inode);
    overtake(disk, op, change);
}

/* Within one folder the halves of a rename are never apart: it is one block, one transaction, or one log item everywhere. */
static bool is_one(const struct sim_disk *disk, const struct sim_name_op *op)
{
    return disk->renames == SIM_RENAME_WHOLE || op->count == 1 || op->changes[0].dir == op->changes[1].dir;
}

/* A folder never has two names: no file system comes back so. But one whose old name is durably gone may be nowhere. */
static bool moves_folder(const struct sim_name_op *op)
{
    return op->count == 2 && op->changes[1].inode->type == SIM_DIR;
}

static bool touches(const struct sim_name_op *op, const struct sim_inode *dir)
{
    for (size_t i = 0; i < op->count; i++)
        if (op->changes[i].dir == dir) return true;
    return false;
}

static void drop_done_ops(struct sim_disk *disk)
{
    struct sim_name_op **link = &disk->ops;
    disk->last_op = NULL;
    while (*link) {
        struct sim_name_op *op = *link;
        bool done = true;
        for (size_t i = 0; i < op->count; i++) done &= op->changes[i].done;
        if (done) {
            *link = op->next;
            free_op(op);
        } else {
            disk->last_op = op;
            link = &op->next;
        }
    }
}

static bool comes_with(const struct sim_disk *disk, const struct sim_name_op *op, size_t change, const struct sim_inode *dir)
{
    return is_one(disk, op) || op->changes[change].dir == dir || (moves_folder(op) && op->changes[1].dir == dir);
}

void sim_disk_sync_names(struct sim_disk *disk, struct sim_inode *dir)
{
    for (struct sim_name_op *op = disk->ops; op; op = op->next) {
        if (!touches(op, dir)) continue;
        for (size_t i = 0; i < op->count; i++)
            if (comes_with(disk, op, i, dir)) make_durable(disk, op, &op->changes[i]);
    }
    drop_done_ops(disk);
}

/* --------------------------------------------------------------------------------------------------------------- content */

static void resize(struct sim_bytes *bytes, uint64_t size)
{
    if (size > bytes->capacity) {
        bytes->capacity = size + size / 2 + 64;
        bytes->data = need(realloc(bytes->data, bytes->capacity));
    }
    if (size > bytes->size) memset(bytes->data + bytes->size, 0, size - bytes->size);
    bytes->size = size;
}

static void put(struct sim_bytes *bytes, uint64_t offset, const void *data, uint64_t size)
{
    if (offset + size > bytes->size) resize(bytes, offset + size);
    if (size) memcpy(bytes->data + offset, data, size);
}

static void note(struct sim_inode *file, uint64_t offset, const void *data, uint64_t size)
{
    struct sim_write *write = need(malloc(sizeof *write + size));
    *write = (struct sim_write){ .offset = offset, .size = size, .file_size = file->now.size };
    if (size) memcpy(write->data, data, size);
    if (file->last)
        file->last->next = write;
    else
        file->first = write;
    file->last = write;
}

void sim_disk_write(struct sim_inode *file, uint64_t offset, const void *data, uint64_t size)
{
    put(&file->now, offset, data, size);
    note(file, offset, data, size);
}

void sim_disk_resize(struct sim_inode *file, uint64_t size)
{
    resize(&file->now, size);
    note(file, 0, NULL, 0);
}

static void copy(struct sim_bytes *to, const struct sim_bytes *from)
{
    resize(to, 0);
    put(to, 0, from->data, from->size);
}

void sim_disk_sync_content(struct sim_inode *file)
{
    if (!file->first) return;
    copy(&file->durable, &file->now);
    forget_writes(file);
}

/* ------------------------------------------------------------------------------------------------------------- the power cut */

/* How much of what is unsynced stays: nothing, all, what came before some moment (a journal in order), or each with a chance. */
struct luck {
    struct sim_random *random;
    unsigned percent;
    bool in_order;
    uint64_t left; /* in order: so many more are kept */
};

static struct luck draw_luck(struct sim_random *random, uint64_t count)
{
    static const unsigned chances[] = { 0, 5, 30, 50, 70, 95, 100 };
    struct luck luck = { .random = random, .percent = chances[sim_random_below(random, sizeof chances / sizeof *chances)] };
    luck.in_order = sim_random_once_in(random, 4);
    luck.left = sim_random_below(random, count + 1);
    return luck;
}

static bool is_kept(struct luck *luck)
{
    if (luck->in_order) return luck->left && luck->left--;
    return sim_random_percent(luck->random, luck->percent);
}

static void cut_names(struct sim_disk *disk, struct sim_random *random)
{
    uint64_t count = 0;
    for (const struct sim_name_op *op = disk->ops; op; op = op->next) count++;
    struct luck luck = draw_luck(random, count);
    for (struct sim_name_op *op = disk->ops; op; op = op->next) {
        bool kept = is_kept(&luck);
        for (size_t i = 0; i < op->count; i++) {
            struct sim_change *change = &op->changes[i];
            if (i && !is_one(disk, op) && !moves_folder(op)) kept = is_kept(&luck);
            if (kept && !change->done) set(disk, &change->dir->durable_names, change->name, change->inode);
        }
    }
    forget_ops(disk);
}

/* A write reaches the platter by sectors, in any order. */
static void keep_sectors(struct sim_inode *file, const struct sim_write *write, struct luck *luck)
{
    for (uint64_t done = 0; done < write->size;) {
        uint64_t offset = write->offset + done, size = SIM_SECTOR_BYTES - offset % SIM_SECTOR_BYTES;
        if (size > write->size - done) size = write->size - done;
        if (offset + size > file->durable.size) size = offset < file->durable.size ? file->durable.size - offset : 0;
        if (!size) return; /* beyond the size that was kept */
        if (is_kept(luck)) memcpy(file->durable.data + offset, write->data + done, size);
        done += size;
    }
}

/* The size is metadata: any one that the file had since its sync may have been written down, with or without the data. */
static void cut_content(struct sim_inode *file, struct sim_random *random)
{
    uint64_t count = 0, sectors = 0, chosen;
    for (const struct sim_write *write = file->first; write; write = write->next) count++, sectors += write->size / SIM_SECTOR_BYTES + 1;
    struct luck luck = draw_luck(random, sectors);
    chosen = luck.percent == 100 ? count : luck.percent == 0 ? sim_random_below(random, 2) * count : sim_random_below(random, count + 1);
    const struct sim_write *write = file->first;
    for (uint64_t i = 1; i < chosen; i++) write = write->next;
    if (chosen) resize(&file->durable, write->file_size);
    for (write = file->first; write; write = write->next) keep_sectors(file, write, &luck);
    copy(&file->now, &file->durable);
    forget_writes(file);
}

static void see_platter(struct sim_disk *disk)
{
    for (struct sim_inode *inode = disk->inodes; inode; inode = inode->next) {
        inode->links = 0;
        clear(&inode->names);
        for (size_t i = 0; i < inode->durable_names.count; i++)
            set(disk, &inode->names, inode->durable_names.list[i].name, inode->durable_names.list[i].inode);
    }
    for (struct sim_inode *inode = disk->inodes; inode; inode = inode->next)
        for (size_t i = 0; i < inode->names.count; i++) {
            struct sim_inode *child = inode->names.list[i].inode;
            child->links++;
            if (child->type == SIM_DIR) child->parent = inode;
        }
}

void sim_disk_cut(struct sim_disk *disk, struct sim_random *random)
{
    cut_names(disk, random);
    for (struct sim_inode *inode = disk->inodes; inode; inode = inode->next)
        if (inode->type == SIM_FILE && inode->first) cut_content(inode, random);
    see_platter(disk);
}
