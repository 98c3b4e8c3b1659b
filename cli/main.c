/* cairn - look at, check, compare, mark and remove checkpoints. Options are read here; each command has a file of its own. */
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const struct option options[] = { { "json", no_argument, NULL, 'j' },
                                         { "help", no_argument, NULL, 'h' },
                                         { "quick", no_argument, NULL, 'q' },
                                         { "strict", no_argument, NULL, 's' },
                                         { "all", no_argument, NULL, 'a' },
                                         { "version", no_argument, NULL, 'v' },
                                         { "remove", no_argument, NULL, 'r' },
                                         { "pin", no_argument, NULL, 'p' },
                                         { "unpin", no_argument, NULL, 'u' },
                                         { "dry-run", no_argument, NULL, 'n' },
                                         { "item", required_argument, NULL, 'i' },
                                         { "last", required_argument, NULL, 'l' },
                                         { "metric", required_argument, NULL, 'm' },
                                         { "read", no_argument, NULL, 'e' },
                                         { "best", required_argument, NULL, 'b' },
                                         { "max", no_argument, NULL, 'x' },
                                         { NULL, 0, NULL, 0 } };

static int print_help(void)
{
    puts("usage: cairn COMMAND [OPTIONS] ...\n\nLooks at, checks, compares, marks and removes the checkpoints of training runs.\n");
    for (int i = 0; i < cli_commands_count; i++) printf("  %-8s %s\n", cli_commands[i].name, cli_commands[i].summary);
    puts("\n  -C STORE    the folder that holds the runs (or CAIRN_STORE; default: the current folder)\n"
         "  --json      machine-readable output\n"
         "  -h, --help  of cairn, or of a command\n"
         "  --version\n\n"
         "Exit status: 0 fine, 1 the answer is no or damage was found, 2 bad use, 3 could not do it.");
    return EXIT_FINE;
}

/* What getopt found wrong: ':' a value is missing, '?' anything else. Of letters it knows the letter alone. */
static char *describe_refused(const char *argument, int problem)
{
    bool is_long = !optopt || (!strncmp(argument, "--", 2) && (problem == ':' || strchr(argument, '=')));
    char *safe = cli_safe(is_long ? argument : (char[]){ '-', (char)optopt, 0 });
    char *what = problem == ':' ? cli_format("%s wants a value", safe) : cli_format("no option %s", safe);
    free(safe);
    return what;
}

static const struct command *find_command(const char *name)
{
    for (int i = 0; name && i < cli_commands_count; i++)
        if (!strcmp(cli_commands[i].name, name)) return &cli_commands[i];
    return NULL;
}

/* The command may stand behind the option: it is told when all is parsed. */
static int refuse(const struct cli *cli, const char *what)
{
    const struct command *command = find_command(cli->arguments[0]);
    if (command)
        fprintf(stderr, "cairn %s: %s; see `cairn %s --help`\n", command->name, what, command->name);
    else
        fprintf(stderr, "cairn: %s; see `cairn --help`, `cairn COMMAND --help`\n", what);
    return EXIT_USAGE;
}

/* Letters of the options that were given, for check_options. */
static int parse(struct cli *cli, int argc, char **argv, char *given)
{
    char *refused = NULL;
    cli->metrics = cli_new((size_t)argc + 1, sizeof *cli->metrics); /* as many as there are arguments */
    for (int option; (option = getopt_long(argc, argv, ":C:hn", options, NULL)) != -1;) {
        if (!strchr(given, option) && option != 'h') given[strlen(given)] = (char)option;
        switch (option) {
        case 'C':
            if (!*optarg) return fputs("cairn: -C wants a folder, not an empty name\n", stderr), EXIT_USAGE;
            cli->store = optarg;
            break;
        case 'j': cli->json = true; break;
        case 'h': cli->help = true; break;
        case 'q': cli->quick = true; break;
        case 's': cli->strict = true; break;
        case 'a': cli->all = true; break;
        case 'e': cli->read = true; break;
        case 'r': cli->remove = true; break;
        case 'p': cli->pin = true; break;
        case 'u': cli->unpin = true; break;
        case 'n': cli->dry_run = true; break;
        case 'i': cli->item = optarg; break;
        case 'l': cli->last = optarg; break;
        case 'b': cli->best = optarg; break;
        case 'x': cli->max = true; break;
        case 'm': cli->metrics[cli->metrics_count++] = optarg; break;
        case 'v': printf("cairn %s\n", cairn_version()); return -1;
        default:
            if (!refused) refused = describe_refused(argv[optind - 1], option);
        }
    }
    cli->arguments = argv + optind;
    cli->arguments_count = argc - optind;
    int code = refused ? refuse(cli, refused) : EXIT_FINE;
    free(refused);
    return code;
}

/* An option that the command does not take is a mistake, never silently ignored. */
static int check_options(const struct cli *cli, const struct command *command, const char *given)
{
    char what[64];
    for (; *given; given++) {
        if (strchr(command->options, *given)) continue;
        const struct option *option = options;
        while (option->name && option->val != *given) option++;
        snprintf(what, sizeof what, "it takes no %s%s", option->name ? "--" : "-", option->name ? option->name : "C");
        return cli_usage(cli, what);
    }
    return EXIT_FINE;
}

/* An unset variable in a script: "$run". */
static int check_names(const struct cli *cli)
{
    for (int i = 0; i < cli->arguments_count; i++)
        if (!*cli->arguments[i]) return cli_usage(cli, "a name is empty");
    if (cli->item && !*cli->item) return cli_usage(cli, "--item wants a name, not an empty one");
    return EXIT_FINE;
}

static int run_command(struct cli *cli, const struct command *command, const char *given)
{
    if (cli->help) return fputs(command->help, stdout), EXIT_FINE;
    cli->command = command->name;
    cli->arguments++;
    cli->arguments_count--;
    int code = check_options(cli, command, given);
    if (!code) code = check_names(cli);
    return code ? code : command->run(cli);
}

static int run(struct cli *cli, const char *given)
{
    if (!cli->arguments_count) return cli->help ? print_help() : (print_help(), EXIT_USAGE);
    const struct command *command = find_command(cli->arguments[0]);
    if (command) return run_command(cli, command, given);
    char *safe = cli_safe(cli->arguments[0]);
    fprintf(stderr, "cairn: no command '%s'; `cairn --help` lists them\n", safe);
    free(safe);
    return EXIT_USAGE;
}

/* A file that is opened must not take the place of a stream that was closed: what is printed would be written into it. What stands there instead
 * refuses. */
static void fill_streams(void)
{
    for (int stream = 0; stream <= 2; stream++)
        if (fcntl(stream, F_GETFD) < 0) (void)open("/dev/null", stream ? O_RDONLY : O_WRONLY);
}

int main(int argc, char **argv)
{
    const char *store = getenv("CAIRN_STORE");
    struct cli cli = { .command = "", .store = store && *store ? store : NULL };
    char given[sizeof options / sizeof *options + 2] = "";
    fill_streams();
    signal(SIGPIPE, SIG_DFL); /* `cairn ls | head` ends quietly */
    signal(SIGXFSZ, SIG_IGN); /* a limit on files is an error like others */
    int code = parse(&cli, argc, argv, given);
    if (!code) code = run(&cli, given);
    free(cli.metrics);
    if (fflush(stdout) || ferror(stdout)) return fputs("cairn: the output could not be written\n", stderr), EXIT_FAILED;
    return code < 0 ? EXIT_FINE : code;
}
