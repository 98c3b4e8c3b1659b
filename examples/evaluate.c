/*
 * evaluate RUN [OPTION]... - follows a live run of train_gpt and puts the validation loss on each checkpoint as a late metric.
 *
 * It needs no agreement with the trainer: it waits for the next checkpoint, holds it open while it reads, and lets go. What the trainer prunes
 * before it could be opened is passed over. It ends when it has seen the last step, or when nothing has come for a while.
 */
#include "gpt/model.h"
#include "gpt/options.h"
#include "gpt/text.h"

#include "cairn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_BAD_USE = 2, EXIT_FAILED = 3, IDLE_MS = 20000, BATCHES = 4 };

struct evaluator {
    const char *run;
    struct gpt_options options;
    struct gpt_text text;
    struct gpt_model model;
    uint8_t *tokens;
};

static int fail(const char *message)
{
    fprintf(stderr, "evaluate: %s\n", message);
    return EXIT_FAILED;
}

/* The weights alone: optimizer, data position and the rest stay on disk. */
static int read_weights(struct evaluator *e, const cairn_checkpoint *checkpoint, cairn_error *err)
{
    for (size_t i = 0; i < e->model.tensors_count; i++) {
        const struct gpt_tensor *tensor = &e->model.tensors[i];
        const cairn_tensor_info *stored = cairn_checkpoint_find(checkpoint, "model", tensor->name);
        if (stored == NULL || stored->size_bytes != tensor->count * sizeof(float)) {
            err->code = CAIRN_E_MISMATCH;
            snprintf(err->message, sizeof(err->message), "%s: another model than these options describe: %s", e->run, tensor->name);
            return err->code;
        }
        int code = cairn_checkpoint_read(checkpoint, stored, 0, stored->size_bytes, e->model.parameters + tensor->offset, err);
        if (code != CAIRN_OK) return code;
    }
    return CAIRN_OK;
}

static double validation_loss(struct evaluator *e)
{
    size_t context = e->model.config.context, sequences = e->model.sequences;
    double sum = 0.0;

    for (size_t batch = 0; batch < BATCHES; batch++) {
        for (size_t i = 0; i < sequences; i++)
            gpt_text_validation(&e->text, (batch * sequences + i) * 13, context, e->tokens + i * (context + 1));
        sum += gpt_model_loss(&e->model, e->tokens, NULL);
    }
    return sum / BATCHES;
}

/* Returns the code of what went wrong. GONE: the trainer has removed it meanwhile; the next one will do. */
static int evaluate_one(struct evaluator *e, const cairn_checkpoint *checkpoint, cairn_error *err)
{
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    cairn_mark_options mark = CAIRN_MARK_OPTIONS_INIT;
    cairn_metric metric = { "eval_loss", 0.0 };

    int code = read_weights(e, checkpoint, err);
    if (code != CAIRN_OK) return code;
    metric.value = validation_loss(e);
    mark.metrics = &metric;
    mark.metrics_count = 1;
    code = cairn_mark(NULL, info->path, &mark, err); /* while it is held open: it is the one that was read */
    if (code == CAIRN_OK && !e->options.quiet) printf("step %llu: eval_loss %.4f\n", (unsigned long long)info->entry.step, metric.value);
    return code;
}

/* Of one checkpoint, which is behind us then. */
static int is_damage(int code)
{
    return code <= CAIRN_E_FORMAT && code >= CAIRN_E_PATH;
}

static int follow(struct evaluator *e)
{
    cairn_position position = { 0, 0 };
    cairn_error err = CAIRN_ERROR_INIT;
    unsigned evaluated = 0;

    while (position.step < (uint64_t)e->options.steps) {
        cairn_checkpoint *checkpoint;
        int code = cairn_wait_for_new(e->run, &position, IDLE_MS, &checkpoint, &err);
        if (is_damage(code)) {
            fprintf(stderr, "evaluate: passed over: %s\n", err.message);
            continue;
        }
        if (code != CAIRN_OK) return fail(err.message);
        if (checkpoint == NULL) break;
        code = evaluate_one(e, checkpoint, &err);
        cairn_checkpoint_close(checkpoint);
        if (code != CAIRN_OK && code != CAIRN_E_GONE && code != CAIRN_E_NOTFOUND) return fail(err.message);
        evaluated += code == CAIRN_OK;
    }
    printf("%u checkpoints evaluated, the last of step %llu\n", evaluated, (unsigned long long)position.step);
    return evaluated > 0 ? EXIT_SUCCESS : fail("no checkpoint came");
}

static int prepare(struct evaluator *e)
{
    char message[512];
    struct gpt_random random;

    if (gpt_text_load(&e->text, e->options.data, message, sizeof(message)) != 0) return fail(message);
    e->options.model.vocabulary = e->text.vocabulary;
    gpt_random_seed(&random, 1);
    e->tokens = calloc(e->options.batch, e->options.model.context + 1);
    if (e->tokens == NULL || gpt_model_init(&e->model, &e->options.model, e->options.batch, &random) != 0) return fail("out of memory");
    return EXIT_SUCCESS;
}

static const char purpose[] =
    "Usage: evaluate RUN [OPTION]...\n"
    "Follow a live run and put the validation loss on each checkpoint. Give the options that train_gpt was given.\n";

int main(int argc, char **argv)
{
    static struct evaluator evaluator;

    if (argc < 2 || (argv[1][0] == '-' && strcmp(argv[1], "--help") != 0)) {
        fputs("evaluate: name the run first; see --help\n", stderr);
        return EXIT_BAD_USE;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    evaluator.run = argv[1];
    if (argv[1][0] != '-') {
        argv[1] = argv[0];
        argc--, argv++;
    }
    int outcome = gpt_options_parse(&evaluator.options, "evaluate", purpose, argc, argv);
    if (outcome != 0) return outcome < 0 ? EXIT_BAD_USE : EXIT_SUCCESS;
    int status = prepare(&evaluator);
    if (status == EXIT_SUCCESS) status = follow(&evaluator);
    gpt_model_done(&evaluator.model);
    gpt_text_done(&evaluator.text);
    free(evaluator.tokens);
    return status;
}
