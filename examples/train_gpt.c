/*
 * train_gpt - trains a small character-level transformer and survives kill -9: the same command line resumes.
 *
 * It uses libc and cairn.h alone. The arithmetic is in gpt/; the lines that keep the run are here, in three functions that a
 * trainer of your own can copy: bind_state (what is the state?), resume (bring it back), save (keep it).
 *
 *  1. Whatever the next step depends on is in the state: weights, Adam's moments, the dropout generator, the data's order and
 *     position. That, and nothing else, is why a killed run ends with the bits of one that was never stopped.
 *  2. A signal sets a flag; the step is finished, saved, and the program ends.
 *  3. Saves are lazy: the weights are copied behind the next forward and backward pass, and cairn_fence stands before the first change.
 */
#include "gpt/check.h"
#include "gpt/model.h"
#include "gpt/options.h"
#include "gpt/text.h"

#include "cairn.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_BAD_USE = 2, EXIT_FAILED = 3, VALIDATION_BATCHES = 2, HISTORY_PAGE = 4096 };

struct trainer {
    struct gpt_options options;
    struct gpt_text text;
    struct gpt_order order;
    struct gpt_random dropout;
    struct gpt_model model;
    int64_t step; /* optimizer steps completed */
    int64_t saved_step;
    double learning_rate;
    uint64_t fingerprint;  /* of the text the state was trained on */
    int64_t history_pages; /* of HISTORY_PAGE entries: enough for all steps */
    float *loss;           /* entry i after step i + 1 */
    float *val_loss;       /* the same; 0 where it was not evaluated */
    uint8_t *tokens;       /* a batch */
    char config[512];
    int terminal;
    cairn_state *state;
    cairn_run *run;
};

static volatile sig_atomic_t stop_asked;

static void ask_stop(int signal_number)
{
    (void)signal_number;
    stop_asked = 1;
}

static double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ================================================================================================== keeping the run */

static int bind_tensor(cairn_state *state, const char *item, const char *name, const struct gpt_tensor *shape, uint32_t flags,
                       float *address, cairn_error *err)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;

    tensor.name = name;
    tensor.dtype = CAIRN_F32;
    tensor.rank = shape->rank;
    tensor.shape = shape->shape;
    tensor.flags = flags;
    tensor.address = address;
    return cairn_state_bind_tensor(state, item, &tensor, err);
}

static int bind_vector(cairn_state *state, const char *item, const char *name, cairn_dtype dtype, uint64_t count, uint32_t flags,
                       void *address, cairn_error *err)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;

    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = 1;
    tensor.shape = &count;
    tensor.flags = flags;
    tensor.address = address;
    return cairn_state_bind_tensor(state, item, &tensor, err);
}

/* In tensors of one size: --steps may be raised, and a checkpoint has the first of those that are bound then. */
static int bind_history(struct trainer *t, const char *kind, float *entries, cairn_error *err)
{
    char name[64];

    for (int64_t page = 0; page < t->history_pages; page++) {
        snprintf(name, sizeof(name), "%s/%lld", kind, (long long)page);
        if (bind_vector(t->state, "history", name, CAIRN_F32, HISTORY_PAGE, CAIRN_VOLATILE, entries + page * HISTORY_PAGE, err) != 0)
            return err->code;
    }
    return CAIRN_OK;
}

/* Says what the state is, once: a save reads through these addresses and a restore writes through them. */
static int bind_state(struct trainer *t, cairn_error *err)
{
    cairn_state *state = t->state;

    for (size_t i = 0; i < t->model.tensors_count; i++) {
        const struct gpt_tensor *tensor = &t->model.tensors[i];
        char first[96], second[96];
        snprintf(first, sizeof(first), "exp_avg/%s", tensor->name);
        snprintf(second, sizeof(second), "exp_avg_sq/%s", tensor->name);
        if (bind_tensor(state, "model", tensor->name, tensor, CAIRN_TRAINABLE, t->model.parameters + tensor->offset, err) != 0 ||
            bind_tensor(state, "optimizer", first, tensor, CAIRN_OPTIMIZER, t->model.exp_avg + tensor->offset, err) != 0 ||
            bind_tensor(state, "optimizer", second, tensor, CAIRN_OPTIMIZER, t->model.exp_avg_sq + tensor->offset, err) != 0)
            return err->code;
    }
    if (cairn_state_bind_alias(state, "model", "lm_head.weight", t->model.tensors[0].name, err) != 0 || /* tied to the embedding */
        cairn_state_bind_i64(state, "scheduler", "step", &t->step, err) != 0 ||
        cairn_state_bind_f64(state, "scheduler", "learning_rate", &t->learning_rate, err) != 0 ||
        bind_vector(state, "rng", "dropout", CAIRN_U64, 4, CAIRN_VOLATILE, t->dropout.word, err) != 0 ||
        cairn_state_bind_i64(state, "data", "epoch", &t->order.epoch, err) != 0 ||
        cairn_state_bind_i64(state, "data", "position", &t->order.position, err) != 0 ||
        cairn_state_bind_u64(state, "data", "order_seed", &t->order.order_seed, err) != 0 ||
        cairn_state_bind_u64(state, "data", "fingerprint", &t->fingerprint, err) != 0 ||
        cairn_state_set_value(state, "data", "characters", cairn_value_bytes(t->text.characters, t->text.vocabulary), err) != 0 ||
        bind_history(t, "loss", t->loss, err) != 0 || bind_history(t, "val_loss", t->val_loss, err) != 0)
        return err->code;
    return CAIRN_OK;
}

static void print_warning(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "train_gpt: %s\n", message);
}

/* Called behind training, when a checkpoint is durable. */
static void print_saved(void *user, const cairn_save_report *report)
{
    const struct trainer *t = user;

    if (!t->options.quiet)
        printf("%ssaved %s (%.1f MB in %.0f ms)\n", t->terminal ? "\r\033[K" : "", report->name, (double)report->total_bytes * 1e-6,
               (double)report->elapsed_ns * 1e-6);
}

/* Opens the run and brings its newest checkpoint back; a new run stays at step 0. */
static int resume(struct trainer *t, cairn_error *err)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;

    options.keep_last = t->options.keep;
    options.best_metric = "val_loss";
    options.message = print_warning;
    options.committed = print_saved;
    options.user = t;
    options.check_early_writes = 1; /* a demo proves what a long training run may take for granted */
    if (cairn_run_open(t->options.out, &options, &t->run, err) != 0 || cairn_restore(t->run, t->state, NULL, &report, err) != 0)
        return err->code;
    t->saved_step = t->step;
    if (report.fresh) return CAIRN_OK;
    if (t->fingerprint != t->text.fingerprint || gpt_order_resume(&t->order) != 0) {
        err->code = CAIRN_E_USAGE;
        snprintf(err->message, sizeof(err->message), "%s was trained on another text than %s: give it by --data, or another --out",
                 t->options.out, t->options.data);
        return err->code;
    }
    if (t->step > t->options.steps) {
        err->code = CAIRN_E_USAGE;
        snprintf(err->message, sizeof(err->message), "%s is at step %lld, beyond --steps %lld: give more steps, or another --out",
                 t->options.out, (long long)t->step, (long long)t->options.steps);
        return err->code;
    }
    if (!t->options.quiet)
        printf("resumed at step %lld from %s (%.1f MB in %.0f ms)\n", (long long)t->step, report.name, (double)report.bytes * 1e-6,
               (double)report.elapsed_ns * 1e-6);
    return CAIRN_OK;
}

static int is_evaluated(const struct trainer *t)
{
    return t->step % t->options.eval_every == 0 || t->step == t->options.steps;
}

static int save(struct trainer *t, cairn_error *err)
{
    cairn_metric metrics[2] = { { "loss", (double)t->loss[t->step - 1] }, { "val_loss", (double)t->val_loss[t->step - 1] } };
    cairn_attachment config = { "config.json", NULL, t->config, strlen(t->config) };
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;

    options.mode = CAIRN_SAVE_LAZY;
    options.step = (uint64_t)t->step;
    options.epoch = (double)t->order.epoch + (double)t->order.position / (double)t->order.count;
    options.metrics = metrics;
    options.metrics_count = is_evaluated(t) ? 2 : 1;
    options.attachments = &config;
    options.attachments_count = 1;
    options.config = t->config;
    if (cairn_save(t->run, t->state, &options, NULL, err) != 0) return err->code;
    t->saved_step = t->step;
    return CAIRN_OK;
}

/* ========================================================================================================= training */

/* Rises in a straight line during warm-up, then falls to a tenth along half a cosine. */
static double scheduled_rate(const struct gpt_options *options, int64_t step)
{
    if (step < options->warmup) return options->learning_rate * (double)(step + 1) / (double)options->warmup;
    double progress = (double)(step - options->warmup) / (double)(options->steps - options->warmup);
    return options->learning_rate * (0.1 + 0.45 * (1.0 + cos(3.141592653589793 * progress)));
}

static int train_step(struct trainer *t, cairn_error *err)
{
    gpt_order_batch(&t->order, &t->text, t->model.sequences, t->tokens);
    t->loss[t->step] = (float)gpt_model_loss(&t->model, t->tokens, &t->dropout);
    if (cairn_fence(t->run, err) != 0) /* the weights change now: a save that still copies them must be done with it */
        return err->code;
    t->learning_rate = scheduled_rate(&t->options, t->step);
    t->step++;
    gpt_model_update(&t->model, (uint64_t)t->step, t->learning_rate, 0.1, 1.0);
    return CAIRN_OK;
}

static void evaluate(struct trainer *t)
{
    size_t context = t->model.config.context, sequences = t->model.sequences;
    double sum = 0.0;

    for (size_t batch = 0; batch < VALIDATION_BATCHES; batch++) {
        for (size_t i = 0; i < sequences; i++) /* spread over the whole validation part, always the same windows */
            gpt_text_validation(&t->text, (batch * sequences + i) * 7, context, t->tokens + i * (context + 1));
        sum += gpt_model_loss(&t->model, t->tokens, NULL);
    }
    t->val_loss[t->step - 1] = (float)(sum / VALIDATION_BATCHES);
}

static void show_progress(const struct trainer *t, double tokens_per_second)
{
    int64_t evaluated = t->step;

    if (t->options.quiet || (!t->terminal && t->step % t->options.log_every != 0 && t->step != t->options.steps)) return;
    printf("%sstep %lld/%lld  loss %.4f", t->terminal ? "\r\033[K" : "", (long long)t->step, (long long)t->options.steps,
           (double)t->loss[t->step - 1]);
    while (evaluated > 0 && t->val_loss[evaluated - 1] == 0.0f) evaluated--;
    if (evaluated > 0) printf("  val %.4f", (double)t->val_loss[evaluated - 1]);
    printf("  %.0f tokens/s%s", tokens_per_second, t->terminal ? "" : "\n");
    fflush(stdout);
}

static int train(struct trainer *t, cairn_error *err)
{
    size_t tokens_per_step = t->model.sequences * t->model.config.context;
    double rate = 0.0;

    while (t->step < t->options.steps && !stop_asked) {
        double begin = seconds_now();
        if (train_step(t, err) != 0) return err->code;
        double now = (double)tokens_per_step / (seconds_now() - begin);
        rate = rate > 0.0 ? 0.9 * rate + 0.1 * now : now;
        if (is_evaluated(t)) evaluate(t);
        show_progress(t, rate);
        if (t->step % t->options.save_every == 0 && save(t, err) != 0) return err->code;
    }
    if (t->step > t->saved_step && save(t, err) != 0) return err->code;
    return cairn_wait(t->run, err);
}

/* ==================================================================================================== around it all */

/* One row per step, with digits enough to tell any two floats apart. */
static int write_losses(const struct trainer *t, const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL) return -1;
    fprintf(file, "step,loss,val_loss\n");
    for (int64_t step = 1; step <= t->step; step++) {
        fprintf(file, "%lld,%.9g,", (long long)step, (double)t->loss[step - 1]);
        if (t->val_loss[step - 1] != 0.0f) fprintf(file, "%.9g", (double)t->val_loss[step - 1]);
        fprintf(file, "\n");
    }
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}

/* In the words of GPT-2's config.json: whoever reads such checkpoints can open this one. */
static void write_config(struct trainer *t)
{
    const struct gpt_config *c = &t->model.config;

    snprintf(t->config, sizeof(t->config),
             "{\"architectures\": [\"GPT2LMHeadModel\"], \"model_type\": \"gpt2\", \"n_layer\": %zu, \"n_head\": %zu, \"n_embd\": %zu, "
             "\"n_positions\": %zu, \"vocab_size\": %zu, \"resid_pdrop\": %g, \"embd_pdrop\": %g, \"attn_pdrop\": 0.0, "
             "\"tie_word_embeddings\": true, \"batch\": %zu, \"steps\": %lld, \"learning_rate\": %g, \"seed\": %llu}\n",
             c->layers, c->heads, c->width, c->context, c->vocabulary, (double)c->dropout, (double)c->dropout, t->model.sequences,
             (long long)t->options.steps, t->options.learning_rate, (unsigned long long)t->options.seed);
}

static int prepare(struct trainer *t, char *message, size_t message_bytes)
{
    struct gpt_options *options = &t->options;
    struct gpt_random random;

    if (gpt_text_load(&t->text, options->data, message, message_bytes) != 0) return -1;
    options->model.vocabulary = t->text.vocabulary;
    t->fingerprint = t->text.fingerprint;
    gpt_random_seed(&random, options->seed);
    gpt_random_seed(&t->dropout, options->seed + 1);
    snprintf(message, message_bytes, "out of memory");
    if (gpt_model_init(&t->model, &options->model, options->batch, &random) != 0) return -1;
    t->history_pages = (options->steps + HISTORY_PAGE - 1) / HISTORY_PAGE;
    t->loss = calloc((size_t)t->history_pages * HISTORY_PAGE, sizeof(*t->loss));
    t->val_loss = calloc((size_t)t->history_pages * HISTORY_PAGE, sizeof(*t->val_loss));
    t->tokens = calloc(options->batch, options->model.context + 1);
    if (t->loss == NULL || t->val_loss == NULL || t->tokens == NULL) return -1;
    snprintf(message, message_bytes, "%s: too short a text for a context of %zu", options->data, options->model.context);
    if (gpt_order_init(&t->order, &t->text, options->model.context, options->seed + 2) != 0) return -1;
    write_config(t);
    return 0;
}

static int fail(const struct trainer *t, const char *message)
{
    fprintf(stderr, "%strain_gpt: %s\n", t->terminal ? "\n" : "", message);
    return EXIT_FAILED;
}

static int run_trainer(struct trainer *t)
{
    char message[512];
    cairn_error err = CAIRN_ERROR_INIT;

    if (prepare(t, message, sizeof(message)) != 0) return fail(t, message);
    if (t->options.check_gradients) return gpt_check_gradients(&t->model, &t->order, &t->text) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    if (!t->options.quiet)
        printf("%zu parameters, %zu characters of text, %zu kinds of them\n", t->model.count, t->text.count, t->text.vocabulary);
    if (cairn_state_new(&t->state, &err) != 0 || bind_state(t, &err) != 0 || resume(t, &err) != 0 || train(t, &err) != 0)
        return fail(t, err.message);
    cairn_run *run = t->run;
    t->run = NULL;
    if (cairn_run_close(run, &err) != 0) return fail(t, err.message);
    if (t->options.loss_csv != NULL && write_losses(t, t->options.loss_csv) != 0) {
        snprintf(message, sizeof(message), "cannot write %s", t->options.loss_csv);
        return fail(t, message);
    }
    if (!t->options.quiet) printf("%s at step %lld\n", t->step < t->options.steps ? "stopped" : "finished", (long long)t->step);
    return EXIT_SUCCESS;
}

static const char purpose[] =
    "Usage: train_gpt [OPTION]...\n"
    "Train a small character-level transformer. The same command line resumes a run that was killed. SIGTERM and SIGINT\n"
    "finish the step, save and end.\n";

int main(int argc, char **argv)
{
    static struct trainer trainer;
    struct sigaction action = { .sa_handler = ask_stop };
    int outcome = gpt_options_parse(&trainer.options, "train_gpt", purpose, argc, argv);

    if (outcome != 0) return outcome < 0 ? EXIT_BAD_USE : EXIT_SUCCESS;
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    setvbuf(stdout, NULL, _IOLBF, 0);
    trainer.terminal = isatty(STDOUT_FILENO);
    int status = run_trainer(&trainer);
    cairn_run_close(trainer.run, NULL);
    cairn_state_free(trainer.state);
    gpt_model_done(&trainer.model);
    gpt_order_done(&trainer.order);
    gpt_text_done(&trainer.text);
    free(trainer.loss);
    free(trainer.val_loss);
    free(trainer.tokens);
    return status;
}
