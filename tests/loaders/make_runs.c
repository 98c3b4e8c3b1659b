/* Writes three runs for loaders.sh: DIR/single with the model in one file, DIR/frozen with a frozen part in a file of its own, DIR/sharded cut by size;
 * each with an optimizer, values and attached files beside it. Uses cairn.h alone. */
#include <stdio.h>
#include <string.h>

#include "cairn.h"

static float weights[4][64];
static double moments[2][64];
static int64_t epoch = 3;

static int bind_tensor(cairn_state *state, const char *item, const char *name, cairn_dtype dtype, uint32_t flags, void *address,
                       cairn_error *err)
{
    const uint64_t shape[] = { 8, 8 };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = 2;
    tensor.shape = shape;
    tensor.flags = flags;
    tensor.address = address;
    return cairn_state_bind_tensor(state, item, &tensor, err);
}

static int bind_all(cairn_state *state, uint32_t base_flags, cairn_error *err)
{
    int code = bind_tensor(state, "model", "wte.weight", CAIRN_F32, CAIRN_TRAINABLE, weights[0], err);
    if (!code) code = bind_tensor(state, "model", "h.0.attn.weight", CAIRN_F32, CAIRN_TRAINABLE, weights[1], err);
    if (!code) code = bind_tensor(state, "model", "h.0.mlp.weight", CAIRN_F32, CAIRN_TRAINABLE, weights[2], err);
    if (!code) code = bind_tensor(state, "model", "base/frozen", CAIRN_F32, base_flags, weights[3], err);
    if (!code) code = cairn_state_bind_alias(state, "model", "lm_head.weight", "wte.weight", err);
    if (!code) code = bind_tensor(state, "optimizer", "state/0/exp_avg", CAIRN_F64, CAIRN_OPTIMIZER, moments[0], err);
    if (!code) code = bind_tensor(state, "ema", "wte.weight", CAIRN_F64, 0, moments[1], err);
    if (!code) code = cairn_state_bind_i64(state, "run", "epoch", &epoch, err);
    return code;
}

static int write_saves(const char *dir, const char *name, uint64_t shard_bytes, cairn_state *state, cairn_error *err)
{
    static const cairn_attachment attachments[] = { { "config.json", NULL, "{}\n", 3 }, { "tokenizer.json", NULL, "{}\n", 3 } };
    char path[1024];
    cairn_run *run;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_save_options save = CAIRN_SAVE_OPTIONS_INIT;
    save.mode = CAIRN_SAVE_SYNC;
    options.shard_bytes = shard_bytes;
    save.attachments = attachments;
    save.attachments_count = 2;
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int code = cairn_run_open(path, &options, &run, err);
    if (code) return code;
    for (save.step = 9; !code && save.step <= 10; save.step++) {
        weights[0][0] += 1;
        code = cairn_save(run, state, &save, NULL, err);
    }
    int closed = cairn_run_close(run, code ? NULL : err);
    return code ? code : closed;
}

static int write_run(const char *dir, const char *name, uint64_t shard_bytes, uint32_t base_flags, cairn_error *err)
{
    cairn_state *state = NULL;
    int code = cairn_state_new(&state, err);
    if (!code) code = bind_all(state, base_flags, err);
    if (!code) code = write_saves(dir, name, shard_bytes, state, err);
    cairn_state_free(state);
    return code;
}

int main(int argc, char **argv)
{
    cairn_error err = CAIRN_ERROR_INIT;
    if (argc != 2) return 2;
    for (int i = 0; i < 64; i++) weights[1][i] = (float)i;
    int code = write_run(argv[1], "single", 0, CAIRN_TRAINABLE, &err);
    if (!code) code = write_run(argv[1], "frozen", 0, CAIRN_FROZEN, &err);
    if (!code) code = write_run(argv[1], "sharded", 300, CAIRN_TRAINABLE, &err);
    if (code) fprintf(stderr, "make_runs: %s\n", err.message);
    return code != 0;
}
