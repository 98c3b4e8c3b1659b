/*
 * The command line that train_gpt, evaluate and finetune share. Every number has a least and a largest value; what is wrong is named.
 */
#include "gpt/options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

static const char usage[] = "\n"
                            "  --out RUN         the run's folder (ckpts/gpt-demo)\n"
                            "  --data PATH       text to train on: a file, or a folder of files (/usr/share/common-licenses)\n"
                            "  --steps N         optimizer steps in all (300); --warmup N of them (20)\n"
                            "  --save-every N    save a checkpoint every N steps (10) and at the end\n"
                            "  --keep N          keep the newest N checkpoints (3); 0 keeps all\n"
                            "  --eval-every N    validation loss every N steps (10)\n"
                            "  --log-every N     a line of progress every N steps when the output is no terminal (10)\n"
                            "  --seed N          of the weights, the dropout and the data's order (1)\n"
                            "  --layers N  --heads N  --width N  --context N  --batch N\n"
                            "                    size of the model (3, 4, 144, 64) and sequences in a batch (12)\n"
                            "  --dropout P       share of activations dropped (0.1); --learning-rate R (0.002)\n"
                            "  --loss-csv FILE   write the losses of all steps when done\n"
                            "  --check-gradients compare the gradients with finite differences, train nothing\n"
                            "  --quiet           errors only\n"
                            "  --help\n"
                            "\n"
                            "Exit status: 0 fine, 2 bad use, 3 could not do it.\n";

enum {
    OUT = 256,
    DATA,
    STEPS,
    WARMUP,
    SAVE_EVERY,
    KEEP,
    EVAL_EVERY,
    LOG_EVERY,
    SEED,
    LAYERS,
    HEADS,
    WIDTH,
    CONTEXT,
    BATCH,
    DROPOUT,
    LEARNING_RATE,
    LOSS_CSV,
    CHECK_GRADIENTS,
    QUIET,
    HELP
};

static const struct option names[] = {
    { "out", required_argument, NULL, OUT },
    { "data", required_argument, NULL, DATA },
    { "steps", required_argument, NULL, STEPS },
    { "warmup", required_argument, NULL, WARMUP },
    { "save-every", required_argument, NULL, SAVE_EVERY },
    { "keep", required_argument, NULL, KEEP },
    { "eval-every", required_argument, NULL, EVAL_EVERY },
    { "log-every", required_argument, NULL, LOG_EVERY },
    { "seed", required_argument, NULL, SEED },
    { "layers", required_argument, NULL, LAYERS },
    { "heads", required_argument, NULL, HEADS },
    { "width", required_argument, NULL, WIDTH },
    { "context", required_argument, NULL, CONTEXT },
    { "batch", required_argument, NULL, BATCH },
    { "dropout", required_argument, NULL, DROPOUT },
    { "learning-rate", required_argument, NULL, LEARNING_RATE },
    { "loss-csv", required_argument, NULL, LOSS_CSV },
    { "check-gradients", no_argument, NULL, CHECK_GRADIENTS },
    { "quiet", no_argument, NULL, QUIET },
    { "help", no_argument, NULL, HELP },
    { NULL, 0, NULL, 0 },
};

static const char *program; /* that parses now: for its complaints */

static int complain(const char *name, const char *wanted)
{
    fprintf(stderr, "%s: --%s wants %s; see --help\n", program, name, wanted);
    return -1;
}

/* The option's number, or `least - 1` after a complaint. */
static int64_t whole(const char *name, int64_t least, int64_t most)
{
    char *end, wanted[64];

    errno = 0;
    long long number = strtoll(optarg, &end, 10);
    if (errno == 0 && end != optarg && *end == '\0' && number >= least && number <= most) return number;
    snprintf(wanted, sizeof(wanted), "a whole number from %lld to %lld", (long long)least, (long long)most);
    complain(name, wanted);
    return least - 1;
}

static double fraction(const char *name, double most)
{
    char *end, wanted[64];
    double number = strtod(optarg, &end);

    if (end != optarg && *end == '\0' && number >= 0.0 && number <= most) return number;
    snprintf(wanted, sizeof(wanted), "a number from 0 to %g", most);
    complain(name, wanted);
    return -1.0;
}

/* Takes one option. Returns 0, 1 for help, -1 after a complaint. */
static int take(struct gpt_options *o, int which, const char *name)
{
    int64_t number = 0;

    switch (which) {
    case OUT: o->out = optarg; return 0;
    case DATA: o->data = optarg; return 0;
    case LOSS_CSV: o->loss_csv = optarg; return 0;
    case CHECK_GRADIENTS: o->check_gradients = 1; return 0;
    case QUIET: o->quiet = 1; return 0;
    case HELP: return 1;
    case STEPS: return (o->steps = whole(name, 1, 10000000)) < 1 ? -1 : 0;
    case WARMUP: return (o->warmup = whole(name, 0, 10000000)) < 0 ? -1 : 0;
    case SAVE_EVERY: return (o->save_every = whole(name, 1, 10000000)) < 1 ? -1 : 0;
    case EVAL_EVERY: return (o->eval_every = whole(name, 1, 10000000)) < 1 ? -1 : 0;
    case LOG_EVERY: return (o->log_every = whole(name, 1, 10000000)) < 1 ? -1 : 0;
    case KEEP: o->keep = (uint32_t)(number = whole(name, 0, 1000000)); return number < 0 ? -1 : 0;
    case SEED: o->seed = (uint64_t)(number = whole(name, 0, INT64_MAX)); return number < 0 ? -1 : 0;
    case LAYERS: o->model.layers = (size_t)(number = whole(name, 1, 64)); return number < 1 ? -1 : 0;
    case HEADS: o->model.heads = (size_t)(number = whole(name, 1, 64)); return number < 1 ? -1 : 0;
    case WIDTH: o->model.width = (size_t)(number = whole(name, 4, 4096)); return number < 4 ? -1 : 0;
    case CONTEXT: o->model.context = (size_t)(number = whole(name, 2, 1024)); return number < 2 ? -1 : 0;
    case BATCH: o->batch = (size_t)(number = whole(name, 2, 1024)); return number < 2 ? -1 : 0;
    case DROPOUT: o->model.dropout = (float)fraction(name, 0.9); return o->model.dropout < 0.0f ? -1 : 0;
    case LEARNING_RATE: return (o->learning_rate = fraction(name, 1.0)) < 0.0 ? -1 : 0;
    default: return -1; /* getopt has said why */
    }
}

int gpt_options_parse(struct gpt_options *options, const char *name, const char *purpose, int argc, char **argv)
{
    int which, at = 0;

    program = name;
    *options = (struct gpt_options){ .out = "ckpts/gpt-demo",
                                     .data = "/usr/share/common-licenses",
                                     .steps = 300,
                                     .save_every = 10,
                                     .eval_every = 10,
                                     .log_every = 10,
                                     .warmup = 20,
                                     .keep = 3,
                                     .seed = 1,
                                     .learning_rate = 0.002,
                                     .batch = 12,
                                     .model = { .layers = 3, .heads = 4, .width = 144, .context = 64, .dropout = 0.1f } };
    while ((which = getopt_long(argc, argv, "", names, &at)) != -1) {
        int outcome = take(options, which, names[at].name);
        if (outcome > 0) printf("%s%s", purpose, usage);
        if (outcome != 0) return outcome;
    }
    if (optind < argc) {
        fprintf(stderr, "%s: '%s' is no option; see --help\n", program, argv[optind]);
        return -1;
    }
    if (options->model.width % options->model.heads != 0 || options->model.width % 4 != 0)
        return complain("width", "a multiple of 4 and of --heads");
    if (options->batch % 2 != 0) return complain("batch", "an even number");
    if (options->warmup >= options->steps) options->warmup = options->steps / 2;
    return 0;
}
