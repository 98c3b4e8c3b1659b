/* cairn keep: old checkpoints go, the newest stay - or, with --dry-run, are told. */
#include <errno.h>
#include <stdlib.h>

#include "cli.h"

struct keeping {
    const struct cli *cli;
    json_t *removed, *stayed; /* JSON only */
};

static void tell_removed(void *user, const char *name)
{
    struct keeping *keeping = user;
    if (keeping->removed)
        json_array_append_new(keeping->removed, cli_json_text(name));
    else
        printf("%s %s\n", keeping->cli->dry_run ? "would remove" : "removed", name);
}

static void tell_stayed(void *user, const char *message)
{
    struct keeping *keeping = user;
    char *safe = cli_safe(message);
    if (keeping->stayed)
        json_array_append_new(keeping->stayed, json_string(safe));
    else
        printf("%s\n", safe);
    free(safe);
}

static int keep_run(const struct cli *cli, const char *run, uint32_t last, json_t *runs)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct keeping keeping = { cli, runs ? json_array() : NULL, runs ? json_array() : NULL };
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    cairn_keep_report report = CAIRN_KEEP_REPORT_INIT;
    options.last = last;
    options.dry_run = cli->dry_run;
    options.removed = tell_removed;
    options.message = tell_stayed;
    options.user = &keeping;
    char *path = cli_path(cli, run), *safe = cli_safe(run);
    int code = cairn_keep(path, &options, &report, &err);
    if (!code && runs)
        json_array_append_new(runs, json_pack("{s:o, s:b, s:o, s:o, s:I}", "run", cli_json_text(run), "dry_run", cli->dry_run, "removed",
                                              keeping.removed, "messages", keeping.stayed, "kept", (json_int_t)report.kept));
    else if (!code)
        printf("%s: %llu %s, %llu %s\n", safe, (unsigned long long)report.removed, cli->dry_run ? "would go" : "removed",
               (unsigned long long)report.kept, cli->dry_run ? "would stay" : "kept");
    if (code && runs) json_decref(keeping.removed), json_decref(keeping.stayed);
    free(path);
    free(safe);
    return code ? cli_fail(cli, &err) : EXIT_FINE;
}

int cmd_keep(const struct cli *cli)
{
    char *end = NULL;
    int worst = EXIT_FINE;
    errno = 0;
    unsigned long last = cli->last && cli->last[0] >= '0' && cli->last[0] <= '9' ? strtoul(cli->last, &end, 10) : 0;
    if (!cli->last) return cli_usage(cli, "say how many stay: --last N");
    if (!last || !end || *end || errno || last > UINT32_MAX) return cli_usage(cli, "--last wants a number from 1");
    if (!cli->arguments_count) return cli_usage(cli, "give a run");
    json_t *runs = cli->json ? json_array() : NULL;
    for (int i = 0; i < cli->arguments_count; i++) {
        int code = keep_run(cli, cli->arguments[i], (uint32_t)last, runs);
        if (code > worst) worst = code;
    }
    if (!runs) return worst;
    int code = cli_print_json(json_pack("{s:i, s:o}", "version", 1, "runs", runs));
    return code ? code : worst;
}
