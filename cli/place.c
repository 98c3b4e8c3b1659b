/* What stands where a name leads: runs, stores and checkpoints' folders are told apart, so that a message can say what was meant. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli.h"

const char *cli_store(const struct cli *cli)
{
    return cli->store ? cli->store : ".";
}

char *cli_path(const struct cli *cli, const char *run)
{
    return cli->store && run[0] != '/' ? cli_format("%s/%s", cli->store, run) : cli_copy(run);
}

char *cli_find(const struct cli *cli, const char *name)
{
    struct stat info;
    return stat(name, &info) ? cli_path(cli, name) : cli_copy(name);
}

static bool is_there(const char *folder, const char *name)
{
    struct stat info;
    char *path = cli_format("%s/%s", folder, name);
    bool there = !stat(path, &info);
    free(path);
    return there;
}

bool cli_is_run(const char *path)
{
    return is_there(path, "run.json") || is_there(path, ".cairn/terms"); /* it may have lost its run.json */
}

bool cli_is_unreadable(const char *path)
{
    char *manifest = cli_format("%s/manifest.json", path);
    int file = open(manifest, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    bool refused = file < 0 && errno != ENOENT && errno != ENOTDIR && errno != ELOOP;
    if (file >= 0) (void)close(file);
    free(manifest);
    return refused;
}

/* Where Cairn wrote a file of tensors what is there now is damage, whatever it looks like. */
static bool should_hold_tensors(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? cli_format("%.*s", (int)(slash - path), path) : cli_copy("."), *above = cli_format("%s/..", folder);
    bool is_ours = is_there(path, "manifest.json") ||
                   (cli_is_named_safetensors(path) && (is_there(folder, "manifest.json") || is_there(above, "manifest.json")));
    free(above);
    free(folder);
    return is_ours;
}

bool cli_explain_kind(const char *path, cairn_error *err)
{
    const char *kind;
    char *file = should_hold_tensors(path) ? NULL : cli_find_no_safetensors(path, &kind);
    if (!file) return false;
    err->code = CAIRN_E_USAGE;
    snprintf(err->message, sizeof err->message, "%s: not a safetensors file: %s", file, kind);
    free(file);
    return true;
}

/* Whether the folder is a checkpoint of Cairn that has the file. */
static bool holds(const char *folder, const char *file)
{
    cairn_checkpoint *checkpoint;
    const cairn_file_info *info;
    bool found = !strcmp(file, "manifest.json");
    if (!is_there(folder, "manifest.json") || cairn_checkpoint_open(NULL, folder, &checkpoint, NULL)) return false;
    for (size_t i = 0; !found && (info = cairn_checkpoint_file(checkpoint, i)); i++) found = !strcmp(info->name, file);
    cairn_checkpoint_close(checkpoint);
    return found;
}

/* Files of tensors lie in a checkpoint's folder or in its training/. */
char *cli_holder(const char *file)
{
    static const char training[] = "training";
    const char *slash = strrchr(file, '/'), *name = slash ? slash + 1 : file;
    char *folder = slash ? cli_format("%.*s", (int)(slash - file), file) : cli_copy("."), *below = cli_format("%s/%s", training, name),
         *above;
    const char *last = strrchr(folder, '/');
    if (!strcmp(folder, training))
        above = cli_copy(".");
    else
        above = last && !strcmp(last + 1, training) ? cli_format("%.*s", (int)(last - folder), folder)
                : slash                             ? cli_format("%s/..", folder)
                                                    : cli_copy("..");
    char *holder = holds(folder, name) ? folder : holds(above, below) ? above : NULL;
    if (holder != folder) free(folder);
    if (holder != above) free(above);
    free(below);
    return holder;
}

struct runs {
    const char *store;
    char *names; /* "one, two" */
    size_t count;
};

enum { RUNS_NAMED = 5 };

static int note_run(void *user, const char *name)
{
    struct runs *runs = user;
    char *path = cli_format("%s/%s", runs->store, name), *before = runs->names;
    bool is_run = cli_is_run(path); /* not only a folder that may not be looked into */
    free(path);
    if (!is_run || runs->count++ >= RUNS_NAMED) return 0;
    runs->names = before ? cli_format("%s, %s", before, name) : cli_copy(name);
    free(before);
    return 0;
}

/* A store where a run or a checkpoint was asked for. */
static bool explain_store(const char *path, cairn_error *err)
{
    struct runs runs = { .store = path };
    if (cli_is_run(path) || cairn_store_list(path, note_run, &runs, NULL) || !runs.count) return free(runs.names), false;
    err->code = CAIRN_E_USAGE;
    snprintf(err->message, sizeof err->message, "%s is a store, not a run: give -C %s and one of its runs: %s%s", path, path, runs.names,
             runs.count > RUNS_NAMED ? ", ..." : "");
    free(runs.names);
    return true;
}

/* A run where a checkpoint was asked for: the name of one that works. What stands in the current folder goes before the store's, but with @ a name is
 * of the store. */
static bool explain_run(const struct cli *cli, const char *name, const char *path, cairn_error *err)
{
    bool is_here = cli_is_run(name);
    if (err->code != CAIRN_E_USAGE || (!is_here && !cli_is_run(path))) return false;
    char *run = is_here && cli->store ? realpath(name, NULL) : cli_copy(name);
    if (!run) return false;
    for (size_t size = strlen(run); size > 1 && run[size - 1] == '/'; size--) run[size - 1] = 0;
    snprintf(err->message, sizeof err->message, "%s: a run: name a checkpoint of it, as in %s@latest", name, run);
    free(run);
    return true;
}

/* A checkpoint where a run was asked for: by its name, or by the path of its folder. */
static bool explain_checkpoint(const struct cli *cli, const char *name, cairn_error *err)
{
    const char *at = strrchr(name, '@');
    char *run = cli_format("%.*s", (int)(at ? at - name : 0), name), *named = cli_path(cli, run), *path = cli_path(cli, name);
    bool by_name = *run && cli_is_run(named), by_path = !by_name && is_there(path, "manifest.json");
    if (by_name) snprintf(err->message, sizeof err->message, "%s: the name of a checkpoint; give that of its run, %s", name, run);
    if (by_path) snprintf(err->message, sizeof err->message, "%s: a checkpoint; give the name of its run", name);
    if (by_name || by_path) err->code = CAIRN_E_USAGE;
    free(path);
    free(named);
    free(run);
    return by_name || by_path;
}

static bool explain_missing_store(const struct cli *cli, cairn_error *err)
{
    struct stat info;
    if (err->code != CAIRN_E_NOTFOUND || !cli->store || !stat(cli->store, &info) || errno != ENOENT) return false;
    snprintf(err->message, sizeof err->message, "%s: no such folder; -C or CAIRN_STORE names the one that holds the runs", cli->store);
    return true;
}

int cli_fail_store(const struct cli *cli, const cairn_error *err)
{
    cairn_error told = *err;
    (void)explain_missing_store(cli, &told);
    return cli_fail(cli, &told);
}

int cli_fail_name(const struct cli *cli, const char *name, const cairn_error *err)
{
    cairn_error told = *err;
    char *path = cli_path(cli, name);
    bool is_explained = name[0] != '/' && explain_missing_store(cli, &told);
    if (!is_explained && err->code != CAIRN_E_NOMEM)
        (void)(explain_run(cli, name, path, &told) || explain_store(path, &told) || explain_store(name, &told));
    free(path);
    return cli_fail(cli, &told);
}

int cli_fail_run(const struct cli *cli, const char *name, const cairn_error *err)
{
    cairn_error told = *err;
    if (err->code == CAIRN_E_NOTFOUND) (void)explain_checkpoint(cli, name, &told);
    return cli_fail_name(cli, name, &told);
}

int cli_fail_file(const struct cli *cli, const char *name, const cairn_error *err)
{
    cairn_error told = *err;
    char *path = cli_find(cli, name);
    bool is_explained = err->code != CAIRN_E_NOMEM && cli_explain_kind(path, &told);
    free(path);
    return is_explained ? cli_fail(cli, &told) : cli_fail_name(cli, name, err);
}
