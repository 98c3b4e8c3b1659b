/* cairn du: what checkpoints take on the disk. Unchanged files are hard links, so that an inode counts once: in "own" if removing the checkpoint would
 * free it, else in "shared". */
#include <dirent.h>
#include <errno.h>
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
    bool incomplete; /* not all of it could be read */
};

struct usage {
    const struct cli *cli;
    struct file *files;
    size_t files_count, files_capacity;
    struct folder *folders; /* checkpoints, then "other" */
    size_t folders_count;
    uint64_t total; /* every inode once */
    bool incomplete;
};

static void add_file(struct usage *usage, const struct stat *info, size_t folder)
{
    if (usage->files_count == usage->files_capacity) {
        usage->files_capacity = usage->files_capacity ? 2 * usage->files_capacity : 1024;
        usage->files = cli_grow(usage->files, usage->files_capacity, sizeof *usage->files);
    }
    usage->files[usage->files_count++] = (struct file){ info->st_dev, info->st_ino, info->st_nlink, (uint64_t)info->st_size, folder };
}

static size_t find_folder(const struct usage *usage, const char *below)
{
    size_t size = strcspn(below, "/"), i = 0;
    while (i + 1 < usage->folders_count && (strlen(usage->folders[i].name) != size || strncmp(usage->folders[i].name, below, size))) i++;
    return i;
}

/* The figures are too small then: it is named, the rest is counted. */
static void cannot_look(struct usage *usage, const char *path, size_t folder, int os_errno)
{
    cairn_error err = CAIRN_ERROR_INIT;
    err.code = CAIRN_E_IO;
    snprintf(err.message, sizeof err.message, "%s: %s", path, strerror(os_errno));
    (void)cli_fail(usage->cli, &err);
    usage->incomplete = usage->folders[folder].incomplete = true;
}

enum { DEEPEST = 64 };

static void read_folder(struct usage *usage, const char *path, size_t folder, int depth);

static void read_entry(struct usage *usage, const char *path, const char *name, size_t folder, int depth)
{
    struct stat info;
    char *below = cli_format("%s/%s", path, name);
    if (lstat(below, &info)) {
        if (errno != ENOENT) cannot_look(usage, below, folder, errno);
    } else if (S_ISDIR(info.st_mode)) {
        if (depth < DEEPEST)
            read_folder(usage, below, folder, depth + 1);
        else
            cannot_look(usage, below, folder, ELOOP);
    } else if (S_ISREG(info.st_mode))
        add_file(usage, &info, folder);
    free(below);
}

/* Files that go while we look are passed over. */
static void read_folder(struct usage *usage, const char *path, size_t folder, int depth)
{
    DIR *dir = opendir(path);
    if (!dir) {
        if (errno != ENOENT || !depth) cannot_look(usage, path, folder, errno);
        return;
    }
    errno = 0;
    for (const struct dirent *entry; (entry = readdir(dir)); errno = 0) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        read_entry(usage, path, entry->d_name, depth ? folder : find_folder(usage, entry->d_name), depth);
    }
    if (errno) cannot_look(usage, path, folder, errno);
    (void)closedir(dir);
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
    usage->folders = cli_new(usage->folders_count, sizeof *usage->folders);
    for (size_t i = 0; i < usage->folders_count; i++)
        usage->folders[i].name = cli_copy(i + 1 < usage->folders_count ? cairn_listing_entry(listing, i)->name : "(other)");
    cairn_listing_close(listing);
    read_folder(usage, path, usage->folders_count - 1, 0);
    add_up(usage);
    return CAIRN_OK;
}

static void forget(struct usage *usage)
{
    for (size_t i = 0; i < usage->folders_count; i++) free(usage->folders[i].name);
    free(usage->folders);
    free(usage->files);
}

static void put_usage(struct json *json, const struct usage *usage, const char *run)
{
    json_open(json, NULL, '{');
    json_text(json, "run", run);
    json_open(json, "checkpoints", '[');
    for (size_t i = 0; i + 1 < usage->folders_count; i++) {
        const struct folder *folder = &usage->folders[i];
        json_open(json, NULL, '{');
        json_text(json, "name", folder->name);
        json_count(json, "size_bytes", folder->size);
        json_count(json, "own_bytes", folder->own);
        json_count(json, "shared_bytes", folder->size - folder->own);
        if (folder->incomplete) json_truth(json, "incomplete", true);
        json_close(json, '}');
    }
    json_close(json, ']');
    json_count(json, "other_bytes", usage->folders[usage->folders_count - 1].size);
    json_count(json, "total_bytes", usage->total);
    json_close(json, '}');
}

static void print_usage(const struct usage *usage)
{
    struct table table = {
        .heads = { "CHECKPOINT", "SIZE", "OWN", "SHARED", "" }, .right = { false, true, true, true, false }, .columns = 5, .wide = 0
    };
    char size[32], own[32], shared[32];
    for (size_t i = 0; i < usage->folders_count; i++) {
        const struct folder *folder = &usage->folders[i];
        cli_bytes(folder->size, size);
        cli_bytes(folder->own, own);
        cli_bytes(folder->size - folder->own, shared);
        table_add(&table, (const char *const[]){ folder->name, size, own, shared, folder->incomplete ? "and what cannot be read" : "" });
    }
    table_print(&table);
}

struct totals {
    const struct cli *cli;
    struct json json;
    uint64_t total;
    size_t runs;
    int worst;
};

static void report_run(struct totals *totals, const char *run)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct usage usage = { .cli = totals->cli };
    char bytes[32], *path = cli_path(totals->cli, run), *safe = cli_safe(run);
    totals->runs++;
    int code = measure(path, &usage, &err) ? cli_fail_run(totals->cli, run, &err) : EXIT_FINE;
    if (code)
        ; /* told */
    else if (totals->cli->json)
        put_usage(&totals->json, &usage, run);
    else {
        print_usage(&usage);
        printf("%s: %s%s\n", safe, cli_bytes(usage.total, bytes), usage.incomplete ? " and what cannot be read" : "");
    }
    if (usage.incomplete) code = EXIT_FAILED;
    if (code > totals->worst) totals->worst = code;
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

static int report_store(struct totals *totals)
{
    cairn_error err = CAIRN_ERROR_INIT;
    if (cairn_store_list(cli_store(totals->cli), report_each, totals, &err)) return cli_fail_store(totals->cli, &err);
    if (!totals->runs && !totals->cli->json) puts("no runs here; -C names the folder that holds them");
    return totals->worst;
}

int cmd_du(const struct cli *cli)
{
    struct totals totals = { .cli = cli };
    json_start(&totals.json, 0);
    json_open(&totals.json, NULL, '{');
    json_count(&totals.json, "version", 1);
    json_open(&totals.json, "runs", '[');
    bool is_run = !cli->arguments_count && cli_is_run(cli_store(cli));
    for (int i = 0; i < cli->arguments_count; i++) report_run(&totals, cli->arguments[i]);
    if (is_run) report_run(&totals, ".");
    int code = cli->arguments_count || is_run ? totals.worst : report_store(&totals);
    json_close(&totals.json, ']');
    json_count(&totals.json, "total_bytes", totals.total);
    json_close(&totals.json, '}');
    if (cli->json && code == totals.worst) code = json_print(&totals.json) ? EXIT_FAILED : code;
    json_drop(&totals.json);
    return code;
}
