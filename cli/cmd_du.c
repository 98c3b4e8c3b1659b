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

static int cannot_look(const char *path, int os_errno, cairn_error *err)
{
    err->code = CAIRN_E_IO;
    snprintf(err->message, sizeof err->message, "%s: %s", path, strerror(os_errno));
    return err->code;
}

enum { DEEPEST = 64 };

static int read_folder(struct usage *usage, const char *path, size_t folder, int depth, cairn_error *err);

static int read_entry(struct usage *usage, const char *path, const char *name, size_t folder, int depth, cairn_error *err)
{
    struct stat info;
    char *below = cli_format("%s/%s", path, name);
    int code = CAIRN_OK;
    if (lstat(below, &info))
        code = errno == ENOENT ? CAIRN_OK : cannot_look(below, errno, err);
    else if (S_ISDIR(info.st_mode))
        code = depth < DEEPEST ? read_folder(usage, below, folder, depth + 1, err) : cannot_look(below, ELOOP, err);
    else if (S_ISREG(info.st_mode))
        add_file(usage, &info, folder);
    free(below);
    return code;
}

/* Files that go while we look are passed over; what cannot be looked at is an error, for the figures would be too small. */
static int read_folder(struct usage *usage, const char *path, size_t folder, int depth, cairn_error *err)
{
    DIR *dir = opendir(path);
    int code = CAIRN_OK;
    if (!dir) return errno == ENOENT && depth ? CAIRN_OK : cannot_look(path, errno, err);
    errno = 0;
    for (const struct dirent *entry; !code && (entry = readdir(dir)); errno = 0) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        if (!depth) folder = find_folder(usage, entry->d_name);
        code = read_entry(usage, path, entry->d_name, folder, depth, err);
    }
    if (!code && errno) code = cannot_look(path, errno, err);
    (void)closedir(dir);
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
    usage->folders = cli_new(usage->folders_count, sizeof *usage->folders);
    for (size_t i = 0; i < usage->folders_count; i++)
        usage->folders[i].name = cli_copy(i + 1 < usage->folders_count ? cairn_listing_entry(listing, i)->name : "(other)");
    cairn_listing_close(listing);
    code = read_folder(usage, path, 0, 0, err);
    if (!code) add_up(usage);
    return code;
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
    struct json json;
    uint64_t total;
    size_t runs;
    int worst;
};

static void report_run(struct totals *totals, const char *run)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct usage usage = { 0 };
    char bytes[32], *path = cli_path(totals->cli, run), *safe = cli_safe(run);
    totals->runs++;
    if (measure(path, &usage, &err)) {
        int code = cli_fail_run(totals->cli, run, &err);
        if (code > totals->worst) totals->worst = code;
    } else if (totals->cli->json)
        put_usage(&totals->json, &usage, run);
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

static int report_store(struct totals *totals)
{
    cairn_error err = CAIRN_ERROR_INIT;
    if (cairn_store_list(cli_store(totals->cli), report_each, totals, &err)) return cli_fail_name(totals->cli, ".", &err);
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
