/* bench - how fast Cairn is, measured against the plainest code for the same hardware in the same run. See docs/PERFORMANCE.md. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raw.h"
#include "report.h"
#include "rows.h"
#include "scratch.h"

enum { EXIT_MISSED = 1, EXIT_BAD_USE = 2, LARGE_TENSORS = 32 };

static volatile sig_atomic_t asked_to_stop;

static void ask_to_stop(int signal_number)
{
    asked_to_stop = signal_number;
    signal(signal_number, SIG_DFL); /* a second one does not wait */
}

void must(int code, const cairn_error *err)
{
    if (code) die("%s: %s", cairn_code_name(code), err->message);
}

void stop_if_asked(void)
{
    if (!asked_to_stop) return;
    scratch_remove();
    signal(asked_to_stop, SIG_DFL);
    raise(asked_to_stop);
}

static const char usage[] =
    "Usage: bench [OPTION]...\n"
    "Measures Cairn against plain code that does the same with the hardware alone.\n"
    "\n"
    "  --size SIZE         of the state: 64M, 2G (default), 8G\n"
    "  --rounds N          at least 9 for figures to be trusted (default 9)\n"
    "  --only ROW[,ROW]    these rows alone, by name or by the first part of it: save, stall, lazy, train, verify, restore, map, open, ls,\n"
    "                      save-after-many, frozen, memory, peers\n"
    "  --growth            how cost grows, too, up to the state's size and the checkpoints kept; with --only none: that alone\n"
    "  --checkpoints N     kept in the rows about listings (default 10000)\n"
    "  --dir FOLDER        on the disk to measure (default: the current one)\n"
    "  --idle MINUTES      how long to wait for an idle machine (default 5)\n"
    "  --program PATH      the program whose `ls` is measured (default build/cairn)\n"
    "  --python PATH       with torch and safetensors, to measure them beside (default build/venv/bin/python)\n"
    "  --json FILE, --svg FILE   results, and charts of them\n"
    "  --check             exit 1 if a target is missed\n";

struct outputs {
    const char *json, *svg;
    bool check;
};

static uint64_t parse_size(const char *text)
{
    char *end;
    double number = strtod(text, &end);
    int shift = *end == 'G' ? 30 : *end == 'M' ? 20 : -1;
    if (shift < 0 || end[1] || number <= 0 || number > 1024) die("--size %s: a number and M or G", text);
    return (uint64_t)(number * (double)(UINT64_C(1) << shift)) / 4096 * 4096;
}

static long parse_count(const char *name, const char *text, long most)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*end || end == text || number < 1 || number > most) die("--%s %s: a number from 1 to %ld", name, text, most);
    return number;
}

static void parse(int argc, char **argv, struct bench_options *options, struct outputs *outputs)
{
    static const struct option known[] = { { "size", 1, 0, 's' },    { "rounds", 1, 0, 'r' }, { "only", 1, 0, 'o' },
                                           { "growth", 0, 0, 'g' },  { "dir", 1, 0, 'd' },    { "idle", 1, 0, 'i' },
                                           { "json", 1, 0, 'j' },    { "svg", 1, 0, 'v' },    { "check", 0, 0, 'c' },
                                           { "program", 1, 0, 'p' }, { "help", 0, 0, 'h' },   { "checkpoints", 1, 0, 'n' },
                                           { "python", 1, 0, 'y' },  { 0, 0, 0, 0 } };
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 's': options->size_bytes = parse_size(optarg); break;
        case 'r': options->rounds = (int)parse_count("rounds", optarg, MAX_ROUNDS); break;
        case 'n': options->checkpoints = (uint32_t)parse_count("checkpoints", optarg, 1000000); break;
        case 'i': options->idle_minutes = atof(optarg); break;
        case 'o': options->only = optarg; break;
        case 'd': options->dir = optarg; break;
        case 'p': options->program = optarg; break;
        case 'y': options->python = optarg; break;
        case 'g': options->growth = true; break;
        case 'j': outputs->json = optarg; break;
        case 'v': outputs->svg = optarg; break;
        case 'c': outputs->check = true; break;
        case 'h': fputs(usage, stdout); exit(0);
        default: fputs(usage, stderr); exit(EXIT_BAD_USE);
        }
    }
    if (optind < argc) die("%s: not an option; see --help", argv[optind]);
    if (options->only && bench_unknown(options->only)) die("--only %s: no row is called that; see --help", bench_unknown(options->only));
}

static void measure(struct bench *bench, struct growth *growth)
{
    struct state state;
    uint64_t most = UINT64_C(2) << 30, room = UINT64_C(16) << 20;
    struct buffer buffer = { .bytes =
                                 (bench->options.size_bytes < most ? bench->options.size_bytes : most) / (4 << 20) * (4 << 20) + room };
    rows_open(bench);
    rows_listing(bench);
    rows_frozen(bench);
    if (bench->options.growth) growth_measure(bench, growth);
    if (bench->options.only && !strcmp(bench->options.only, "none")) return;
    state_make(&state, bench->options.size_bytes, LARGE_TENSORS, 0);
    rows_memory(bench, &state);
    rows_save(bench, &state);
    rows_train(bench, &state);
    rows_peers(bench, &state);
    buffer.memory = raw_memory_new(buffer.bytes);
    rows_stall(bench, &state, &buffer);
    rows_restore(bench, &state, &buffer);
    raw_memory_free(buffer.memory, buffer.bytes);
    state_free(&state);
}

static FILE *must_create(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) die("%s: %s", path, strerror(errno));
    return file;
}

static void must_finish(FILE *file, const char *path)
{
    if (fclose(file)) die("%s: %s", path, strerror(errno));
}

static void report(const struct bench *bench, const struct growth *growth, const struct outputs *outputs)
{
    report_table(bench, stdout);
    if (outputs->json) {
        FILE *file = must_create(outputs->json);
        report_json(bench, growth, file);
        must_finish(file, outputs->json);
    }
    if (outputs->svg) {
        FILE *file = must_create(outputs->svg);
        report_svg(bench, growth, file);
        must_finish(file, outputs->svg);
    }
}

int main(int argc, char **argv)
{
    static struct bench bench = { .options = { .size_bytes = UINT64_C(2) << 30,
                                               .rounds = 9,
                                               .idle_minutes = 5,
                                               .dir = ".",
                                               .program = "build/cairn",
                                               .python = "build/venv/bin/python",
                                               .checkpoints = 10000 } };
    static struct growth growth;
    struct outputs outputs = { 0 };
    int missed = 0, goals = 0;
    parse(argc, argv, &bench.options, &outputs);
    machine_describe(&bench.machine, bench.options.dir);
    scratch_make(bench.options.dir, 3 * bench.options.size_bytes + (UINT64_C(4) << 30));
    signal(SIGINT, ask_to_stop);
    signal(SIGTERM, ask_to_stop);
    signal(SIGHUP, ask_to_stop);
    measure(&bench, &growth);
    scratch_remove();
    report(&bench, &growth, &outputs);
    for (int i = 0; i < bench.rows_count; i++) missed += !bench_reached(&bench.rows[i]);
    for (int i = 0; i < bench.rows_count; i++) goals += bench.rows[i].goal != GOAL_NONE;
    printf("%d of %d targets reached\n", goals - missed, goals);
    return outputs.check && missed ? EXIT_MISSED : 0;
}
