/* cairn - look at, check, compare, mark and remove checkpoints. Options are read here; each command has a file of its own. */
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

struct command {
    const char *name;
    int (*run)(const struct cli *cli);
    const char *summary, *help;
};

static const struct command commands[] = {
    { "ls", cmd_ls, "list runs, or the checkpoints of a run",
      "usage: cairn ls [-C STORE] [--json] [RUN]\n"
      "Lists the runs of a store; with RUN (a name or a path) the run's checkpoints.\n"
      "Marks: latest = highest of the line, head = what a restore takes, best = by the run's metric.\n"
      "Example: cairn -C ckpts ls gpt-small\n" },
    { "show", cmd_show, "what is in a checkpoint, a .safetensors file or a sharded folder",
      "usage: cairn show [-C STORE] [--json] [--all] CKPT|FILE\n"
      "CKPT is RUN@STEP, RUN@latest, RUN@best, RUN@TAG, or a path. --all lists every tensor.\n"
      "Example: cairn show gpt-small@latest\n" },
    { "verify", cmd_verify, "check every byte against its digest",
      "usage: cairn verify [-C STORE] [--json] [--quick] CKPT|RUN|FILE...\n"
      "Reads everything and names every damaged block; --quick looks at manifests, sizes and headers.\n"
      "Of a file that Cairn did not write only the structure can be checked.\n"
      "Exit status: 0 all well, 1 damage was found.\n"
      "Example: cairn verify gpt-small\n" },
    { "diff", cmd_diff, "compare two checkpoints tensor by tensor",
      "usage: cairn diff [-C STORE] [--json] A B\n"
      "Exit status: 0 they hold the same tensors and values, 1 they differ.\n"
      "Example: cairn diff gpt-small@900 gpt-small@1000\n" },
    { "tag", cmd_tag, "put tags, a pin or late metrics on a checkpoint",
      "usage: cairn tag [-C STORE] [--remove] [--pin|--unpin] [--metric NAME=VALUE]... CKPT [TAG...]\n"
      "Adds the tags, or takes them off with --remove. What is tagged or pinned is never pruned.\n"
      "Works beside a training that saves. A tag is no number, not latest or best, and has no space, '/', '@' or '~'.\n"
      "Example: cairn tag gpt-small@900 release --pin --metric accuracy=0.83\n" },
    { "rm", cmd_rm, "remove checkpoints, or one item of them",
      "usage: cairn rm [-C STORE] [--item ITEM] CKPT...\n"
      "Removes checkpoints of a run; with --item only the tensors of that item (optimizer). The newest one and the newest\n"
      "healthy one stay, so do tagged and pinned ones, and those that somebody reads.\n"
      "Example: cairn rm gpt-small@100 gpt-small@200~1\n" },
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int print_help(void)
{
    puts("usage: cairn COMMAND [OPTIONS] ...\n\nLooks at, checks, compares, marks and removes the checkpoints of training runs.\n");
    for (int i = 0; i < COMMANDS; i++) printf("  %-8s %s\n", commands[i].name, commands[i].summary);
    puts("\n  -C STORE    the folder that holds the runs (or CAIRN_STORE; default: the current folder)\n"
         "  --json      machine-readable output\n"
         "  --help      of cairn, or of a command\n"
         "  --version\n\n"
         "Exit status: 0 fine, 1 the answer is no or damage was found, 2 bad use, 3 could not do it.");
    return EXIT_FINE;
}

static int parse(struct cli *cli, int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' },   { "help", no_argument, NULL, 'h' },
                                             { "quick", no_argument, NULL, 'q' },  { "all", no_argument, NULL, 'a' },
                                             { "version", no_argument, NULL, 'v' }, { "remove", no_argument, NULL, 'r' },
                                             { "pin", no_argument, NULL, 'p' },    { "unpin", no_argument, NULL, 'u' },
                                             { "item", required_argument, NULL, 'i' }, { "metric", required_argument, NULL, 'm' },
                                             { NULL, 0, NULL, 0 } };
    cli->metrics = calloc((size_t)argc + 1, sizeof *cli->metrics); /* as many as there are arguments, freed at its end */
    if (!cli->metrics) return EXIT_FAILED;
    for (int option; (option = getopt_long(argc, argv, "C:h", options, NULL)) != -1;) {
        switch (option) {
        case 'C': cli->store = optarg; break;
        case 'j': cli->json = true; break;
        case 'h': cli->help = true; break;
        case 'q': cli->quick = true; break;
        case 'a': cli->all = true; break;
        case 'r': cli->remove = true; break;
        case 'p': cli->pin = 1; break;
        case 'u': cli->pin = -1; break;
        case 'i': cli->item = optarg; break;
        case 'm': cli->metrics[cli->metrics_count++] = optarg; break;
        case 'v': printf("cairn %s\n", cairn_version()); return -1;
        default: return EXIT_USAGE;
        }
    }
    cli->arguments = argv + optind;
    cli->arguments_count = argc - optind;
    return EXIT_FINE;
}

int main(int argc, char **argv)
{
    struct cli cli = { .command = "", .store = getenv("CAIRN_STORE") };
    signal(SIGPIPE, SIG_DFL); /* `cairn ls | head` ends quietly */
    int code = parse(&cli, argc, argv);
    if (code) return code < 0 ? EXIT_FINE : code;
    if (!cli.arguments_count) return cli.help ? print_help() : (print_help(), EXIT_USAGE);
    const char *name = cli.arguments[0];
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name)) continue;
        if (cli.help) return fputs(commands[i].help, stdout), EXIT_FINE;
        cli.command = name;
        cli.arguments++;
        cli.arguments_count--;
        code = commands[i].run(&cli);
        if (fflush(stdout) || ferror(stdout)) return fprintf(stderr, "cairn %s: the output could not be written\n", name), EXIT_FAILED;
        free(cli.metrics);
        return code;
    }
    char *safe = cli_safe(name);
    fprintf(stderr, "cairn: no command '%s'; `cairn --help` lists them\n", safe);
    free(safe);
    return EXIT_USAGE;
}
