/*
 * finetune BASE [OPTION]... - starts from somebody's weights and trains the last block on another text; all the rest is frozen.
 *
 * BASE is a checkpoint (RUN@STEP, a folder) of train_gpt. The frozen tensors are bound with CAIRN_FROZEN: their file is written once, and every later
 * checkpoint links it. Each checkpoint is complete all the same: a folder that any tool opens.
 */
#include "gpt/model.h"
#include "gpt/options.h"
#include "gpt/text.h"

#include "cairn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_BAD_USE = 2, EXIT_FAILED = 3 };

struct tuner {
    const char *base;
    struct gpt_options options;
    struct gpt_text text;
    struct gpt_order order;
    struct gpt_random dropout;
    struct gpt_model model;
    int64_t step;
    uint64_t fingerprint; /* of the text the state was trained on */
    float loss;
    uint8_t *tokens;
    cairn_state *weights; /* what comes from the base */
    cairn_state *state;   /* what is saved and resumed */
    cairn_run *run;
};

static int complain(cairn_error *err, int code, const char *message)
{
    err->code = code;
    snprintf(err->message, sizeof(err->message), "%s", message);
    return code;
}

/* The last block and the final norm learn. */
static void freeze(struct tuner *t)
{
    char last[32];

    snprintf(last, sizeof(last), "h.%zu.", t->options.model.layers - 1);
    for (size_t i = 0; i < t->model.tensors_count; i++) {
        struct gpt_tensor *tensor = &t->model.tensors[i];
        tensor->frozen = strstr(tensor->name, last) == NULL && strstr(tensor->name, "ln_f") == NULL;
    }
}

static int bind_tensor(cairn_state *state, const char *item, const char *name, const struct gpt_tensor *tensor, uint32_t flags,
                       float *address, cairn_error *err)
{
    cairn_tensor bound = CAIRN_TENSOR_INIT;

    bound.name = name;
    bound.dtype = CAIRN_F32;
    bound.rank = tensor->rank;
    bound.shape = tensor->shape;
    bound.flags = flags;
    bound.address = address;
    return cairn_state_bind_tensor(state, item, &bound, err);
}

/* One description of the weights serves twice: to take them from the base, and to keep them. */
static int bind_weights(struct tuner *t, cairn_state *state, cairn_error *err)
{
    int code = CAIRN_OK;

    for (size_t i = 0; i < t->model.tensors_count && code == CAIRN_OK; i++) {
        const struct gpt_tensor *tensor = &t->model.tensors[i];
        code = bind_tensor(state, "model", tensor->name, tensor, tensor->frozen ? CAIRN_FROZEN : CAIRN_TRAINABLE,
                           t->model.parameters + tensor->offset, err);
    }
    return code;
}

static int bind_state(struct tuner *t, cairn_error *err)
{
    int code = bind_weights(t, t->state, err);

    for (size_t i = 0; i < t->model.tensors_count && code == CAIRN_OK; i++) {
        const struct gpt_tensor *tensor = &t->model.tensors[i];
        char first[96], second[96];
        if (tensor->frozen) continue;
        snprintf(first, sizeof(first), "exp_avg/%s", tensor->name);
        snprintf(second, sizeof(second), "exp_avg_sq/%s", tensor->name);
        code = bind_tensor(t->state, "optimizer", first, tensor, CAIRN_OPTIMIZER, t->model.exp_avg + tensor->offset, err);
        if (code == CAIRN_OK)
            code = bind_tensor(t->state, "optimizer", second, tensor, CAIRN_OPTIMIZER, t->model.exp_avg_sq + tensor->offset, err);
    }
    for (int i = 0; i < 4 && code == CAIRN_OK; i++) {
        char name[16];
        snprintf(name, sizeof(name), "dropout/%d", i);
        code = cairn_state_bind_u64(t->state, "rng", name, &t->dropout.word[i], err);
    }
    if (code != CAIRN_OK || cairn_state_bind_i64(t->state, "scheduler", "step", &t->step, err) != 0 ||
        cairn_state_bind_i64(t->state, "data", "epoch", &t->order.epoch, err) != 0 ||
        cairn_state_bind_i64(t->state, "data", "position", &t->order.position, err) != 0 ||
        cairn_state_bind_u64(t->state, "data", "order_seed", &t->order.order_seed, err) != 0 ||
        cairn_state_bind_u64(t->state, "data", "fingerprint", &t->fingerprint, err) != 0)
        return err->code;
    return CAIRN_OK;
}

/* The base numbers characters in its own way: the new text is numbered likewise, and characters that the base has never seen are left out. */
static int take_vocabulary(struct tuner *t, cairn_error *err)
{
    cairn_checkpoint *base;
    size_t known = 0, kept = 0, kept_train = 0;
    int id_of[256];

    if (cairn_checkpoint_open(NULL, t->base, &base, err) != CAIRN_OK) return err->code;
    const cairn_value *data = cairn_value_find(cairn_checkpoint_values(base), "data");
    const char *characters = cairn_value_get_data(cairn_value_find(data, "characters"), &known);
    if (characters == NULL || known == 0 || known > 256) {
        cairn_checkpoint_close(base);
        return complain(err, CAIRN_E_MISMATCH, "the base does not say which characters it knows: it is not of train_gpt");
    }
    for (int i = 0; i < 256; i++) id_of[i] = -1;
    for (size_t i = 0; i < known; i++) id_of[(unsigned char)characters[i]] = (int)i;
    for (size_t i = 0; i < t->text.count; i++) {
        int id = id_of[t->text.characters[t->text.ids[i]]];
        if (i == t->text.train_count) kept_train = kept;
        if (id >= 0) t->text.ids[kept++] = (uint8_t)id;
    }
    t->text.count = kept;
    t->text.train_count = kept_train;
    t->text.vocabulary = known;
    cairn_checkpoint_close(base);
    return CAIRN_OK;
}

static void print_saved(void *user, const cairn_save_report *report)
{
    const struct tuner *t = user;

    if (!t->options.quiet)
        printf("saved %s: %.2f MB written, %.2f MB linked\n", report->name, (double)report->written_bytes * 1e-6,
               (double)report->linked_bytes * 1e-6);
}

static void print_warning(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "finetune: %s\n", message);
}

/* A new run takes its weights from the base; one that was interrupted goes on where it was. */
static int begin(struct tuner *t, cairn_error *err)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;

    options.keep_last = t->options.keep;
    options.message = print_warning;
    options.committed = print_saved;
    options.user = t;
    if (cairn_run_open(t->options.out, &options, &t->run, err) != CAIRN_OK ||
        cairn_restore(t->run, t->state, NULL, &report, err) != CAIRN_OK)
        return err->code;
    if (!report.fresh) {
        if (t->fingerprint != t->text.fingerprint || gpt_order_resume(&t->order) != 0)
            return complain(err, CAIRN_E_USAGE, "the run was trained on another text: give it by --data, or another --out");
        printf("resumed at step %lld\n", (long long)t->step);
        return CAIRN_OK;
    }
    if (cairn_load(NULL, t->base, t->weights, NULL, &report, err) != CAIRN_OK) return err->code;
    printf("started from %s: %llu tensors\n", t->base, (unsigned long long)report.counts[CAIRN_RESTORED]);
    return CAIRN_OK;
}

static int save(struct tuner *t, cairn_error *err)
{
    cairn_metric metric = { "loss", (double)t->loss };
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;

    options.mode = CAIRN_SAVE_LAZY;
    options.step = (uint64_t)t->step;
    options.metrics = &metric;
    options.metrics_count = 1;
    return cairn_save(t->run, t->state, &options, NULL, err);
}

static int tune(struct tuner *t, cairn_error *err)
{
    while (t->step < t->options.steps) {
        gpt_order_batch(&t->order, &t->text, t->model.sequences, t->tokens);
        t->loss = (float)gpt_model_loss(&t->model, t->tokens, &t->dropout);
        if (cairn_fence(t->run, err) != CAIRN_OK) return err->code;
        t->step++;
        gpt_model_update(&t->model, (uint64_t)t->step, t->options.learning_rate, 0.1, 1.0);
        if (t->step % t->options.log_every == 0 && !t->options.quiet) printf("step %lld  loss %.4f\n", (long long)t->step, (double)t->loss);
        if ((t->step % t->options.save_every == 0 || t->step == t->options.steps) && save(t, err) != CAIRN_OK) return err->code;
    }
    return cairn_wait(t->run, err);
}

static int prepare(struct tuner *t, cairn_error *err)
{
    char message[512];
    struct gpt_random random;

    if (gpt_text_load(&t->text, t->options.data, message, sizeof(message)) != 0) return complain(err, CAIRN_E_NOTFOUND, message);
    t->fingerprint = t->text.fingerprint;
    if (take_vocabulary(t, err) != CAIRN_OK) return err->code;
    t->options.model.vocabulary = t->text.vocabulary;
    gpt_random_seed(&random, t->options.seed);
    gpt_random_seed(&t->dropout, t->options.seed + 1);
    t->tokens = calloc(t->options.batch, t->options.model.context + 1);
    if (t->tokens == NULL || gpt_model_init(&t->model, &t->options.model, t->options.batch, &random) != 0)
        return complain(err, CAIRN_E_NOMEM, "out of memory");
    if (gpt_order_init(&t->order, &t->text, t->options.model.context, t->options.seed + 2) != 0)
        return complain(err, CAIRN_E_USAGE, "the text is too short");
    freeze(t);
    if (cairn_state_new(&t->weights, err) != CAIRN_OK || bind_weights(t, t->weights, err) != CAIRN_OK ||
        cairn_state_new(&t->state, err) != CAIRN_OK || bind_state(t, err) != CAIRN_OK)
        return err->code;
    return CAIRN_OK;
}

static const char purpose[] =
    "Usage: finetune BASE [OPTION]...\n"
    "Start from the weights of BASE (RUN@STEP or a folder, of train_gpt) and train the last block on another text. The same command line resumes a\n"
    "run that was killed. Give the model options that the base was trained with.\n";

int main(int argc, char **argv)
{
    static struct tuner tuner;
    cairn_error err = CAIRN_ERROR_INIT;

    if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "--help") != 0)) {
        fputs("finetune: name the base first; see --help\n", stderr);
        return EXIT_BAD_USE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    tuner.base = argv[1];
    if (argv[1][0] != '-') {
        argv[1] = argv[0];
        argc--, argv++;
    }
    int outcome = gpt_options_parse(&tuner.options, "finetune", purpose, argc, argv);
    if (outcome != 0) return outcome < 0 ? EXIT_BAD_USE : EXIT_SUCCESS;
    int code = prepare(&tuner, &err);
    if (code == CAIRN_OK && (code = begin(&tuner, &err)) == CAIRN_OK) code = tune(&tuner, &err);
    cairn_error closing = CAIRN_ERROR_INIT;
    if (cairn_run_close(tuner.run, &closing) != CAIRN_OK && code == CAIRN_OK) {
        code = closing.code;
        err = closing;
    }
    if (code != CAIRN_OK)
        fprintf(stderr, "finetune: %s\n", err.message);
    else if (!tuner.options.quiet)
        printf("finished at step %lld, loss %.4f\n", (long long)tuner.step, (double)tuner.loss);
    cairn_state_free(tuner.state);
    cairn_state_free(tuner.weights);
    gpt_model_done(&tuner.model);
    gpt_order_done(&tuner.order);
    gpt_text_done(&tuner.text);
    free(tuner.tokens);
    return code == CAIRN_OK ? EXIT_SUCCESS : EXIT_FAILED;
}
