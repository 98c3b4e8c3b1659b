/* A trainer of one tensor for tests/permissions.sh and tests/places.sh. Knows the public header alone.
 *
 *     trainer save RUN COUNT [KEEP]    resumes and saves COUNT steps more; KEEP checkpoints stay (0: all)
 *     trainer open RUN                 opens the run for writing and closes it
 *     trainer hold RUN STEP            opens that checkpoint, says "held", and closes it when stdin ends
 *
 * Messages of the library go to stderr, one line each. Exit status: 0; 2 bad use; 3 an error of the library, after "CODE: message" on stderr. */
#include <cairn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ELEMENTS = 5000 };
static cairn_error err = CAIRN_ERROR_INIT;
static float weights[ELEMENTS];

static int fail(void)
{
    fprintf(stderr, "%s: %s\n", cairn_code_name(err.code), err.message);
    return 3;
}

static void print(void *user, const char *message)
{
    (void)user;
    fprintf(stderr, "message: %s\n", message);
}

static int open_run(const char *path, uint32_t keep, cairn_run **ret_run)
{
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    options.message = print;
    options.keep_last = keep;
    return cairn_run_open(path, &options, ret_run, &err);
}

static int bind(cairn_state *state)
{
    const uint64_t shape[] = { ELEMENTS };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = "weight";
    tensor.dtype = CAIRN_F32;
    tensor.rank = 1;
    tensor.shape = shape;
    tensor.address = weights;
    tensor.flags = CAIRN_TRAINABLE;
    return cairn_state_bind_tensor(state, "model", &tensor, &err);
}

static int save(cairn_run *run, cairn_state *state, uint64_t count)
{
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    int code = cairn_restore(run, state, NULL, &report, &err);
    options.mode = CAIRN_SAVE_SYNC;
    for (options.step = report.step + 1; !code && options.step <= report.step + count; options.step++) {
        for (size_t i = 0; i < ELEMENTS; i++) weights[i] = (float)(options.step * (i + 1));
        code = cairn_save(run, state, &options, NULL, &err);
    }
    if (!code) printf("%llu\n", (unsigned long long)(report.step + count));
    return code;
}

static int train(const char *path, uint64_t count, uint32_t keep)
{
    cairn_run *run = NULL;
    cairn_state *state = NULL;
    int code = cairn_state_new(&state, &err);
    if (!code) code = bind(state);
    if (!code) code = open_run(path, keep, &run);
    if (!code) code = save(run, state, count);
    if (code) (void)cairn_run_close(run, NULL);
    if (!code) code = cairn_run_close(run, &err);
    cairn_state_free(state);
    return code ? fail() : 0;
}

static void wait_for_the_end(void)
{
    printf("held\n");
    fflush(stdout);
    while (getchar() != EOF) continue;
}

static int open_and_close(const char *path)
{
    cairn_run *run = NULL;
    if (open_run(path, 0, &run)) return fail();
    return cairn_run_close(run, &err) ? fail() : 0;
}

static int hold(const char *run, const char *step)
{
    char name[1000];
    cairn_checkpoint *checkpoint = NULL;
    snprintf(name, sizeof name, "%s@%s", run, step);
    if (cairn_checkpoint_open(NULL, name, &checkpoint, &err)) return fail();
    wait_for_the_end();
    cairn_checkpoint_close(checkpoint);
    return 0;
}

int main(int argc, char **argv)
{
    const char *what = argc > 2 ? argv[1] : "";
    if (!strcmp(what, "save") && argc > 3) return train(argv[2], strtoull(argv[3], NULL, 10), argc > 4 ? (uint32_t)atoi(argv[4]) : 0);
    if (!strcmp(what, "open")) return open_and_close(argv[2]);
    if (!strcmp(what, "hold") && argc > 3) return hold(argv[2], argv[3]);
    return 2;
}
