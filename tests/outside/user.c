/* A stranger's program: it knows the installed header alone. Saves a tensor in the run that is named, brings it back, and says what it found. */
#include <cairn.h>
#include <stdio.h>
#include <string.h>

static int fail(const cairn_error *err)
{
    fprintf(stderr, "%s: %s\n", cairn_code_name(err->code), err->message);
    return 1;
}

int main(int argc, char **argv)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_state *state = NULL;
    cairn_run *run = NULL;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    uint64_t shape[2];
    float weights[6];
    int i;
    if (argc != 2) return 2;
    if (strcmp(cairn_version(), CAIRN_VERSION_STRING)) return 2;
    shape[0] = 2;
    shape[1] = 3;
    memset(weights, 0, sizeof weights);
    tensor.name = "weight";
    tensor.dtype = CAIRN_F32;
    tensor.rank = 2;
    tensor.shape = shape;
    tensor.address = weights;
    tensor.flags = CAIRN_TRAINABLE;
    if (cairn_state_new(&state, &err) || cairn_state_bind_tensor(state, "model", &tensor, &err)) return fail(&err);
    if (cairn_run_open(argv[1], NULL, &run, &err) || cairn_restore(run, state, NULL, &report, &err)) return fail(&err);
    for (i = 0; i < 6; i++)
        if (weights[i] != (float)(report.step * (uint64_t)(i + 1))) return 1;
    for (i = 0; i < 6; i++) weights[i] = (float)((report.step + 1) * (uint64_t)(i + 1));
    options.step = report.step + 1;
    options.mode = CAIRN_SAVE_SYNC;
    if (cairn_save(run, state, &options, NULL, &err) || cairn_run_close(run, &err)) return fail(&err);
    cairn_state_free(state);
    printf("step %d saved\n", (int)options.step);
    return 0;
}
