/* cairn keep: old checkpoints go, the newest stay - or, with --dry-run, are told. */
#include <errno.h>
#include <stdlib.h>

#include "cli.h"

struct keeping {
    const struct cli *cli;
    struct json removed, stayed; /* with --json */
};

enum { LIST_DEPTH = 4 }; /* of both in the output */

static void tell_removed(void *user, const char *name)
{
    struct keeping *keeping = user;
    if (keeping->cli->json)
        json_text(&keeping->removed, NULL, name);
    else
        printf("%s %s\n", keeping->cli->dry_run ? "would remove" : "removed", name);
}

static void tell_stayed(void *user, const char *message)
{
    struct keeping *keeping = user;
    char *safe = cli_safe(message);
    if (keeping->cli->json)
        json_text(&keeping->stayed, NULL, safe);
    else
        printf("%s\n", safe);
    free(safe);
}

/* kept is NULL where nobody knows, problem where all went well. */
static void put_run(struct json *runs, const char *run, struct keeping *keeping, const uint64_t *kept, const char *problem)
{
    json_open(runs, NULL, '{');
    json_text(runs, "run", run);
    json_truth(runs, "dry_run", keeping->cli->dry_run);
    json_splice(runs, "removed", &keeping->removed);
    json_splice(runs, "messages", &keeping->stayed);
    if (kept)
        json_count(runs, "kept", *kept);
    else
        json_null(runs, "kept");
    if (problem) json_text(runs, "problem", problem);
    json_close(runs, '}');
}

static int keep_run(const struct cli *cli, const char *run, uint32_t last, struct json *runs)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct keeping keeping = { .cli = cli };
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    cairn_keep_report report = CAIRN_KEEP_REPORT_INIT;
    options.last = last;
    options.dry_run = cli->dry_run;
    options.removed = tell_removed;
    options.message = tell_stayed;
    options.user = &keeping;
    json_start(&keeping.removed, LIST_DEPTH);
    json_start(&keeping.stayed, LIST_DEPTH);
    char *path = cli_path(cli, run), *safe = cli_safe(run);
    int code = cairn_keep(path, &options, &report, &err);
    bool is_counted = !code || report.removed || report.kept; /* of a run whose removals were refused, too */
    if (cli->json)
        put_run(runs, run, &keeping, is_counted ? &report.kept : NULL, code ? err.message : NULL);
    else if (is_counted)
        printf("%s: %llu %s, %llu %s\n", safe, (unsigned long long)report.removed, cli->dry_run ? "would go" : "removed",
               (unsigned long long)report.kept, cli->dry_run ? "would stay" : "kept");
    json_drop(&keeping.removed);
    json_drop(&keeping.stayed);
    free(path);
    free(safe);
    return code ? cli_fail_run(cli, run, &err) : EXIT_FINE;
}

int cmd_keep(const struct cli *cli)
{
    char *end = NULL;
    int worst = EXIT_FINE;
    errno = 0;
    unsigned long last = cli->last && cli->last[0] >= '0' && cli->last[0] <= '9' ? strtoul(cli->last, &end, 10) : 0;
    if (!cli->last) return cli_usage(cli, "say how many stay: --last N");
    if (!last || !end || *end || errno || last > UINT32_MAX) return cli_usage(cli, "--last wants a number from 1 to 4294967295");
    if (!cli->arguments_count) return cli_usage(cli, "give a run");
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_open(&json, "runs", '[');
    for (int i = 0; i < cli->arguments_count; i++) {
        int code = keep_run(cli, cli->arguments[i], (uint32_t)last, &json);
        if (code > worst) worst = code;
    }
    json_close(&json, ']');
    json_close(&json, '}');
    int code = cli->json ? json_print(&json) : EXIT_FINE;
    json_drop(&json);
    return code ? code : worst;
}
