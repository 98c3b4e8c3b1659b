/* The simulated disk: inodes, whose content and names are separate things. Both exist twice: as every process sees them now, and as they lie on the
 * platter. What is not yet on the platter is a list of changes, and a power cut keeps any part of it (README.md says what is assumed). */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "random.h"

enum { SIM_SECTOR_BYTES = 512 };

enum sim_type { SIM_FILE, SIM_DIR, SIM_SYMLINK };

struct sim_bytes {
    unsigned char *data;
    uint64_t size, capacity;
};

/* A write, or with data NULL a new size. */
struct sim_write {
    struct sim_write *next;
    uint64_t offset, size;
    uint64_t file_size; /* after it */
    unsigned char data[];
};

struct sim_inode;

struct sim_entry {
    char *name;
    uint64_t order; /* in a listing: by hash, as real folders are */
    struct sim_inode *inode;
};

struct sim_entries {
    struct sim_entry *list;
    size_t count, capacity;
};

struct sim_inode {
    struct sim_inode *next;
    uint64_t number;
    enum sim_type type;
    uint32_t mode, links;
    int64_t mtime_ns;
    char label[64];                 /* the last name it was given: for the trace */
    struct sim_bytes now, durable;  /* a file's content, a symlink's target */
    struct sim_write *first, *last; /* not synced yet, in order */
    struct sim_entries names, durable_names;
    struct sim_inode *parent; /* of a folder */
};

/* What a disk with its file system does to the names that were not synced when the power goes. */
enum sim_renames {
    SIM_RENAME_WHOLE, /* a rename is kept or lost as one; a sync of either folder makes it durable */
    SIM_RENAME_HALVES, /* between folders only the sync of its own folder makes a half durable; a file may come back with both names or none */
};

struct sim_disk {
    struct sim_inode *inodes, *root;
    struct sim_name_op *ops, *last_op; /* of all folders, in order, not synced */
    uint64_t next_number, order_seed;
    enum sim_renames renames;
};

void sim_disk_init(struct sim_disk *disk, uint64_t order_seed, enum sim_renames renames);
void sim_disk_free(struct sim_disk *disk);

struct sim_inode *sim_disk_new(struct sim_disk *disk, enum sim_type type, uint32_t mode);
struct sim_entry *sim_disk_find(const struct sim_inode *dir, const char *name); /* NULL: none */

/* One change of names: all of it happens at once. inode NULL: the name goes. */
struct sim_change {
    struct sim_inode *dir;
    char *name;
    struct sim_inode *inode;
    bool done; /* durable, or overtaken by a later one that is */
};

enum { SIM_MAX_CHANGES = 2 };

void sim_disk_change(struct sim_disk *disk, const struct sim_change *changes, size_t count);
void sim_disk_sync_names(struct sim_disk *disk, struct sim_inode *dir);

void sim_disk_write(struct sim_inode *file, uint64_t offset, const void *data, uint64_t size);
void sim_disk_resize(struct sim_inode *file, uint64_t size);
void sim_disk_sync_content(struct sim_inode *file);

/* The power goes: the random numbers say what of the unsynced is kept, lost, torn. Afterwards the platter is what everybody sees. */
void sim_disk_cut(struct sim_disk *disk, struct sim_random *random);

#endif
