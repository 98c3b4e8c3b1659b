/* cairn tag: tags, pins and late metrics, beside whoever saves and reads. */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

/* "accuracy=0.83": the name is cut off in place. What is wrong with it is said. */
static int parse_metric(const struct cli *cli, char *text, cairn_metric *metric)
{
    char *equals = strrchr(text, '='), *end = NULL;
    errno = 0;
    if (equals && equals > text && equals[1] && !isspace((unsigned char)equals[1])) metric->value = strtod(equals + 1, &end);
    bool is_too_large = errno == ERANGE && isinf(metric->value);
    if (end && !*end && end > equals + 1 && !is_too_large) {
        *equals = 0;
        metric->name = text;
        return EXIT_FINE;
    }
    char *what = !equals || equals == text ? cli_format("--metric %s: give NAME=VALUE, as in accuracy=0.83", text)
                                           : cli_format("--metric %s: '%s' is no number", text, equals + 1),
         *safe = cli_safe(what);
    int code = cli_usage(cli, safe);
    free(safe);
    free(what);
    return code;
}

static int mark(const struct cli *cli, const cairn_metric *metrics)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    const char *const *tags = (const char *const *)(cli->arguments + 1);
    size_t count = (size_t)cli->arguments_count - 1;
    if (cli->remove)
        options.remove_tags = tags, options.remove_tags_count = count;
    else
        options.add_tags = tags, options.add_tags_count = count;
    options.metrics = metrics;
    options.metrics_count = (size_t)cli->metrics_count;
    options.pin = cli->pin - cli->unpin;
    options.must_match = 1; /* taking off what is not there is a mistake in the name */
    int code = cairn_mark(cli->store, cli->arguments[0], &options, &err);
    if (code == CAIRN_E_LIMIT) err.code = CAIRN_E_USAGE; /* more than a checkpoint takes was asked for: nothing is damaged */
    int status = code ? cli_fail_name(cli, cli->arguments[0], &err) : EXIT_FINE;
    return code == CAIRN_E_MISMATCH ? EXIT_NO : status;
}

int cmd_tag(const struct cli *cli)
{
    int code = EXIT_FINE;
    if (!cli->arguments_count) return cli_usage(cli, "a checkpoint, then tags");
    if (cli->arguments_count == 1 && !cli->pin && !cli->unpin && !cli->metrics_count)
        return cli_usage(cli, "nothing to change: give tags, --pin, --unpin or --metric");
    if (cli->pin && cli->unpin) return cli_usage(cli, "--pin or --unpin, not both");
    for (int i = 1; i < cli->arguments_count; i++)
        if (strchr(cli->arguments[i], '@')) return cli_usage(cli, "a tag has no '@'; the checkpoint comes first, then its tags");
    cairn_metric *metrics = cli_new((size_t)cli->metrics_count + 1, sizeof *metrics);
    for (int i = 0; i < cli->metrics_count && !code; i++) code = parse_metric(cli, cli->metrics[i], &metrics[i]);
    if (!code) code = mark(cli, metrics);
    free(metrics);
    return code;
}
