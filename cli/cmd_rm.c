/* cairn rm: checkpoints that nobody needs any more, or one item of them. */
#include <stdlib.h>

#include "cli.h"

static int remove_one(const struct cli *cli, const char *name)
{
    cairn_error err = CAIRN_ERROR_INIT;
    int code = cli->item ? cairn_drop_item(cli->store, name, cli->item, &err) : cairn_remove(cli->store, name, &err);
    if (code) return cli_fail_name(cli, name, &err);
    char *safe = cli_safe(name);
    if (cli->item)
        printf("dropped %s from %s\n", cli->item, safe);
    else
        printf("removed %s\n", safe);
    free(safe);
    return EXIT_FINE;
}

int cmd_rm(const struct cli *cli)
{
    int worst = EXIT_FINE;
    if (!cli->arguments_count) return cli_usage(cli, "at least one checkpoint");
    for (int i = 0; i < cli->arguments_count; i++) {
        int code = remove_one(cli, cli->arguments[i]);
        if (code > worst) worst = code;
    }
    return worst;
}
