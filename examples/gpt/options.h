#ifndef GPT_OPTIONS_H
#define GPT_OPTIONS_H

#include "gpt/model.h"

#include <stdint.h>

struct gpt_options {
    const char *out, *data, *loss_csv;
    int64_t steps, save_every, eval_every, log_every, warmup;
    uint32_t keep;
    uint64_t seed;
    double learning_rate;
    size_t batch;            /* sequences, even */
    struct gpt_config model; /* vocabulary is the text's */
    int quiet, check_gradients;
};

/* name: of the program; purpose: the first lines of its help, before the list of options. argv[0] is what getopt's own complaints begin with.
 * Returns 0; 1 when help was asked for and printed; -1 after one line on stderr that says what is wrong. */
int gpt_options_parse(struct gpt_options *options, const char *name, const char *purpose, int argc, char **argv);

#endif
