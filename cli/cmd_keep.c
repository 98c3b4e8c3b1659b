/* cairn keep: old checkpoints go, the newest and the best stay - or, with --dry-run, are told with what keeps them. */
#include <errno.h>
#include <stdlib.h>

#include "cli.h"

struct keeping {
    const struct cli *cli;
    const char *metric;
    struct json removed, kept, stayed; /* with --json; stayed: why, though they should go */
};

enum { LIST_DEPTH = 4 }; /* of each in the output */
enum { REASON_BITS = 32 };

static void tell_removed(void *user, const char *name)
{
    struct keeping *keeping = user;
    if (keeping->cli->json)
        json_text(&keeping->removed, NULL, name);
    else
        printf("%s %s\n", keeping->cli->dry_run ? "would remove" : "removed", name);
}

static void put_reasons(struct json *kept, const char *name, uint32_t reasons)
{
    json_open(kept, NULL, '{');
    json_text(kept, "name", name);
    json_open(kept, "reasons", '[');
    for (int i = 0; i < REASON_BITS; i++)
        if (reasons & 1u << i) json_text(kept, NULL, cairn_kept_name(1u << i));
    json_close(kept, ']');
    json_close(kept, '}');
}

/* By what it is among the best is part of the reason. */
static void print_reasons(const char *metric, const char *name, uint32_t reasons)
{
    const char *comma = " ";
    printf("would keep %s:", name);
    for (int i = 0; i < REASON_BITS; i++) {
        if (!(reasons & 1u << i)) continue;
        printf("%s%s", comma, cairn_kept_name(1u << i));
        if (1u << i == CAIRN_KEPT_BEST) printf(" by %s", metric);
        comma = ", ";
    }
    putchar('\n');
}

static void tell_kept(void *user, const char *name, uint32_t reasons)
{
    struct keeping *keeping = user;
    if (keeping->cli->json)
        put_reasons(&keeping->kept, name, reasons);
    else
        print_reasons(keeping->metric, name, reasons);
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
    if (keeping->cli->dry_run) json_splice(runs, "stay", &keeping->kept);
    json_splice(runs, "messages", &keeping->stayed);
    if (kept)
        json_count(runs, "kept", *kept);
    else
        json_null(runs, "kept");
    if (problem) json_text(runs, "problem", problem);
    json_close(runs, '}');
}

static int keep_run(const struct cli *cli, const char *run, const cairn_keep_options *rules, struct json *runs)
{
    cairn_error err = CAIRN_ERROR_INIT;
    char *path = cli_path(cli, run), *safe = cli_safe(run), *metric = cli_safe(rules->metric ? rules->metric : "");
    struct keeping keeping = { .cli = cli, .metric = metric };
    cairn_keep_options options = *rules;
    cairn_keep_report report = CAIRN_KEEP_REPORT_INIT;
    options.dry_run = cli->dry_run;
    options.removed = tell_removed;
    options.kept = tell_kept;
    options.message = tell_stayed;
    options.user = &keeping;
    json_start(&keeping.removed, LIST_DEPTH);
    json_start(&keeping.kept, LIST_DEPTH);
    json_start(&keeping.stayed, LIST_DEPTH);
    int code = cairn_keep(path, &options, &report, &err);
    bool is_counted = !code || report.removed || report.kept; /* of a run whose removals were refused, too */
    if (cli->json)
        put_run(runs, run, &keeping, is_counted ? &report.kept : NULL, code ? err.message : NULL);
    else if (is_counted)
        printf("%s: %llu %s, %llu %s\n", safe, (unsigned long long)report.removed, cli->dry_run ? "would go" : "removed",
               (unsigned long long)report.kept, cli->dry_run ? "would stay" : "kept");
    json_drop(&keeping.removed);
    json_drop(&keeping.kept);
    json_drop(&keeping.stayed);
    free(path);
    free(safe);
    free(metric);
    return code ? cli_fail_run(cli, run, &err) : EXIT_FINE;
}

/* false: text is no number from 1 to what 32 bits hold. */
static bool read_count(const char *text, uint32_t *ret_count)
{
    char *end = NULL;
    errno = 0;
    unsigned long count = text[0] >= '0' && text[0] <= '9' ? strtoul(text, &end, 10) : 0;
    if (!count || !end || *end || errno || count > UINT32_MAX) return false;
    *ret_count = (uint32_t)count;
    return true;
}

static int read_rules(const struct cli *cli, cairn_keep_options *rules)
{
    if (!cli->last && !cli->best) return cli_usage(cli, "say how many stay: --last N, or --best K --metric NAME");
    if (cli->last && !read_count(cli->last, &rules->last)) return cli_usage(cli, "--last wants a number from 1 to 4294967295");
    if (cli->best && !read_count(cli->best, &rules->best)) return cli_usage(cli, "--best wants a number from 1 to 4294967295");
    if (cli->metrics_count > 1) return cli_usage(cli, "the best are the best by one --metric");
    if (cli->best && (!cli->metrics_count || !*cli->metrics[0])) return cli_usage(cli, "--best wants --metric NAME: the best by what?");
    if (!cli->best && (cli->metrics_count || cli->max)) return cli_usage(cli, "--metric and --max go with --best");
    if (cli->best) rules->metric = cli->metrics[0];
    rules->metric_is_max = cli->max;
    return EXIT_FINE;
}

int cmd_keep(const struct cli *cli)
{
    cairn_keep_options rules = CAIRN_KEEP_OPTIONS_INIT;
    int worst = read_rules(cli, &rules);
    if (worst) return worst;
    if (!cli->arguments_count) return cli_usage(cli, "give a run");
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_open(&json, "runs", '[');
    for (int i = 0; i < cli->arguments_count; i++) {
        int code = keep_run(cli, cli->arguments[i], &rules, &json);
        if (code > worst) worst = code;
    }
    json_close(&json, ']');
    json_close(&json, '}');
    int code = cli->json ? json_print(&json) : EXIT_FINE;
    json_drop(&json);
    return code ? code : worst;
}
