/* cairn tag: tags, pins and late metrics, beside whoever saves and reads. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* "accuracy=0.83": the name is cut off in place. */
static bool parse_metric(char *text, cairn_metric *metric)
{
    char *equals = strrchr(text, '='), *end;
    if (!equals || !equals[1]) return false;
    metric->value = strtod(equals + 1, &end);
    if (*end) return false;
    *equals = 0;
    metric->name = text;
    return true;
}

int cmd_tag(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    if (!cli->arguments_count) return cli_usage(cli, "a checkpoint, then tags");
    if (cli->arguments_count == 1 && !cli->pin && !cli->metrics_count)
        return cli_usage(cli, "nothing to change: give tags, --pin, --unpin or --metric");
    cairn_metric *metrics = calloc((size_t)cli->metrics_count + 1, sizeof *metrics);
    if (!metrics) return EXIT_FAILED;
    for (int i = 0; i < cli->metrics_count; i++)
        if (!parse_metric(cli->metrics[i], &metrics[i])) {
            free(metrics);
            return cli_usage(cli, "--metric wants NAME=VALUE");
        }
    const char *const *tags = (const char *const *)(cli->arguments + 1);
    size_t count = (size_t)cli->arguments_count - 1;
    if (cli->remove)
        options.remove_tags = tags, options.remove_tags_count = count;
    else
        options.add_tags = tags, options.add_tags_count = count;
    options.metrics = metrics;
    options.metrics_count = (size_t)cli->metrics_count;
    options.pin = cli->pin;
    int code = cairn_mark(cli->store, cli->arguments[0], &options, &err);
    free(metrics);
    return code ? cli_fail(cli, &err) : EXIT_FINE;
}
