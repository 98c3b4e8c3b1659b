/* cairn du: what checkpoints take on the disk. Unchanged files are hard links, so that an inode counts once: in "own" if removing the checkpoint would
 * free it, else in "shared". */
#include <errno.h>
#include <fts.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

struct file {
    dev_t device;
    ino_t inode;
    nlink_t links;
    uint64_t size;
    size_t folder; /* index of the checkpoint, or that of "other" */
};

struct folder {
    char *name;
    uint64_t size, own;
};

struct usage {
    struct file *files;
    size_t files_count, files_capacity;
    struct folder *folders; /* checkpoints, then "other" */
    size_t folders_count;
    uint64_t total; /* every inode once */
};

static void add_file(struct usage *usage, const struct stat *info, size_t folder)
{
    if (usage->files_count == usage->files_capacity) {
        usage->files_capacity = usage->files_capacity ? 2 * usage->files_capacity : 1024;
        usage->files = realloc(usage->files, usage->files_capacity * sizeof *usage->files);
        if (!usage->files) abort();
    }
    usage->files[usage->files_count++] = (struct file){ info->st_dev, info->st_ino, info->st_nlink, (uint64_t)info->st_size, folder };
}

static size_t find_folder(const struct usage *usage, const char *below)
{
    size_t size = strcspn(below, "/"), i = 0;
    while (i + 1 < usage->folders_count && (strlen(usage->folders[i].name) != size || strncmp(usage->folders[i].name, below, size))) i++;
    return i;
}

static int cannot_look(const char *path, int os_errno, cairn_error *err)
{
    err->code = CAIRN_E_IO;
    snprintf(err->message, sizeof err->message, "%s: %s", path, strerror(os_errno));
    return err->code;
}

/* Files that go while we look are passed over; what cannot be looked at is an error, for the figures would be too small. */
static int read_tree(struct usage *usage, const char *path, cairn_error *err)
{
    char *const roots[] = { (char *)(uintptr_t)path, NULL };
    FTS *tree = fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR, NULL);
    size_t folder = usage->folders_count - 1;
    if (!tree) return cannot_look(path, errno, err);
    int code = CAIRN_OK;
    for (FTSENT *entry; !code && (entry = fts_read(tree));) {
        bool failed = entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR || entry->fts_info == FTS_NS;
        if (entry->fts_level == 1) folder = find_folder(usage, entry->fts_name);
        if (entry->fts_info == FTS_F) add_file(usage, entry->fts_statp, folder);
        if (failed && entry->fts_errno != ENOENT) code = cannot_look(entry->fts_path, entry->fts_errno, err);
    }
    (void)fts_close(tree);
    return code;
}

static int by_inode(const void *a, const void *b)
{
    const struct file *x = a, *y = b;
    if (x->device != y->device) return x->device < y->device ? -1 : 1;
    if (x->inode != y->inode) return x->inode < y->inode ? -1 : 1;
    return (x->folder > y->folder) - (x->folder < y->folder);
}

static void add_up(struct usage *usage)
{
    qsort(usage->files, usage->files_count, sizeof *usage->files, by_inode);
    for (size_t i = 0, next; i < usage->files_count; i = next) {
        const struct file *file = &usage->files[i];
        bool one_folder = true;
        for (next = i; next < usage->files_count && usage->files[next].device == file->device && usage->files[next].inode == file->inode;
             next++) {
            bool again = next > i && usage->files[next].folder == usage->files[next - 1].folder;
            if (!again) usage->folders[usage->files[next].folder].size += file->size;
            one_folder = one_folder && usage->files[next].folder == file->folder;
        }
        if (one_folder && next - i == file->links) usage->folders[file->folder].own += file->size;
        usage->total += file->size;
    }
}

static int measure(const char *path, struct usage *usage, cairn_error *err)
{
    cairn_listing *listing;
    int code = cairn_listing_open(path, &listing, err);
    if (code) return code;
    usage->folders_count = cairn_listing_count(listing) + 1;
    usage->folders = calloc(usage->folders_count, sizeof *usage->folders);
    if (!usage->folders) abort();
    for (size_t i = 0; i < usage->folders_count; i++) {
        usage->folders[i].name = strdup(i + 1 < usage->folders_count ? cairn_listing_entry(listing, i)->name : "(other)");
        if (!usage->folders[i].name) abort();
    }
    cairn_listing_close(listing);
    code = read_tree(usage, path, err);
    if (!code) add_up(usage);
    return code;
}

static void forget(struct usage *usage)
{
    for (size_t i = 0; i < usage->folders_count; i++) free(usage->folders[i].name);
    free(usage->folders);
    free(usage->files);
}

static json_t *usage_json(const struct usage *usage, const char *run)
{
    json_t *rows = json_array();
    for (size_t i = 0; i + 1 < usage->folders_count; i++) {
        const struct folder *folder = &usage->folders[i];
        json_array_append_new(rows,
                              json_pack("{s:o, s:I, s:I, s:I}", "name", cli_json_text(folder->name), "size_bytes", (json_int_t)folder->size,
                                        "own_bytes", (json_int_t)folder->own, "shared_bytes", (json_int_t)(folder->size - folder->own)));
    }
    return json_pack("{s:o, s:o, s:I, s:I}", "run", cli_json_text(run), "checkpoints", rows, "other_bytes",
                     (json_int_t)usage->folders[usage->folders_count - 1].size, "total_bytes", (json_int_t)usage->total);
}

static void print_usage(const struct usage *usage)
{
    struct table table = {
        .heads = { "CHECKPOINT", "SIZE", "OWN", "SHARED" }, .right = { false, true, true, true }, .columns = 4, .wide = 0
    };
    char size[32], own[32], shared[32];
    for (size_t i = 0; i < usage->folders_count; i++) {
        const struct folder *folder = &usage->folders[i];
        cli_bytes(folder->size, size);
        cli_bytes(folder->own, own);
        cli_bytes(folder->size - folder->own, shared);
        table_add(&table, (const char *const[]){ folder->name, size, own, shared });
    }
    table_print(&table);
}

struct totals {
    const struct cli *cli;
    json_t *runs;
    uint64_t total;
    int worst;
};

static void report_run(struct totals *totals, const char *run)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct usage usage = { 0 };
    char bytes[32], *path = cli_path(totals->cli, run), *safe = cli_safe(run);
    int code = measure(path, &usage, &err);
    if (code) {
        int exit_code = cli_fail(totals->cli, &err);
        if (exit_code > totals->worst) totals->worst = exit_code;
    } else if (totals->runs)
        json_array_append_new(totals->runs, usage_json(&usage, run));
    else {
        print_usage(&usage);
        printf("%s: %s\n", safe, cli_bytes(usage.total, bytes));
    }
    totals->total += usage.total;
    forget(&usage);
    free(path);
    free(safe);
}

static int report_each(void *user, const char *name)
{
    report_run(user, name);
    return 0;
}

int cmd_du(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct totals totals = { .cli = cli, .runs = cli->json ? json_array() : NULL };
    for (int i = 0; i < cli->arguments_count; i++) report_run(&totals, cli->arguments[i]);
    if (!cli->arguments_count && cairn_store_list(cli->store ? cli->store : ".", report_each, &totals, &err))
        return json_decref(totals.runs), cli_fail(cli, &err);
    if (!totals.runs) return totals.worst;
    int code = cli_print_json(json_pack("{s:i, s:o, s:I}", "version", 1, "runs", totals.runs, "total_bytes", (json_int_t)totals.total));
    return code ? code : totals.worst;
}
