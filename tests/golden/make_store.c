/* Writes the golden store: a small run with every dtype, every kind of value, shards, frozen tensors, aliases, an attachment, tags, an unhealthy
 * step and a superseded one. make_store STORE. The tar of what version 0.1.0 wrote lies beside this file and is never written anew. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cairn.h"

static cairn_error err = CAIRN_ERROR_INIT;
#define MUST(call)                                                                                                                         \
    do {                                                                                                                                   \
        if (call) {                                                                                                                        \
            fprintf(stderr, "%s: %s\n", #call, err.message);                                                                               \
            exit(1);                                                                                                                       \
        }                                                                                                                                  \
    } while (0)

enum { WIDTH = 3000 };
static float weights[7][WIDTH], frozen[4][WIDTH], moments[7][WIDTH];
static unsigned char every[CAIRN_DTYPE_COUNT][8 * 24];
static int64_t position;
static uint64_t word;
static double rate;
static int warm;

static void bind(cairn_state *state, const char *item, const char *name, cairn_dtype dtype, uint32_t rank, const uint64_t *shape,
                 uint32_t flags, void *address)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = rank;
    tensor.shape = shape;
    tensor.flags = flags;
    tensor.address = address;
    MUST(cairn_state_bind_tensor(state, item, &tensor, &err));
}

static void set_values(cairn_state *state)
{
    static const unsigned char bytes[] = { 0, 1, 2, 254, 255 };
    cairn_value *map = cairn_value_map(), *list = cairn_value_list(), *odd = cairn_value_map(), *tuple = cairn_value_tuple();
    cairn_value_append(list, cairn_value_int(-5));
    cairn_value_append(list, cairn_value_float(0.1));
    cairn_value_append(list, cairn_value_float(-INFINITY));
    cairn_value_append(list, cairn_value_null());
    cairn_value_append(tuple, cairn_value_bool(1));
    cairn_value_append(tuple, cairn_value_string("caf\xc3\xa9 \"x\"\n", 10));
    cairn_value_set_pair(odd, cairn_value_int(3), cairn_value_string("three", 5));
    cairn_value_set_tag(odd, "Counter");
    cairn_value_set(map, "list", list);
    cairn_value_set(map, "tuple", tuple);
    cairn_value_set(map, "odd", odd);
    cairn_value_set(map, "bytes", cairn_value_bytes(bytes, sizeof bytes));
    cairn_value_set(map, "big", cairn_value_big_int("-123456789012345678901234567890"));
    MUST(cairn_state_set_value(state, "extra", "tree", map, &err));
}

static cairn_state *make_state(void)
{
    static const uint64_t wide[] = { 7, WIDTH }, four[] = { 4, WIDTH }, cube[] = { 2, 3, 4 }, none[] = { 3, 0 };
    cairn_state *state;
    MUST(cairn_state_new(&state, &err));
    bind(state, "model", "wte.weight", CAIRN_F32, 2, wide, CAIRN_TRAINABLE, weights);
    bind(state, "model", "base.weight", CAIRN_F32, 2, four, CAIRN_FROZEN, frozen);
    bind(state, "model", "scale", CAIRN_F32, 0, NULL, CAIRN_TRAINABLE, &weights[0][0]);
    bind(state, "model", "empty", CAIRN_BF16, 2, none, 0, NULL);
    MUST(cairn_state_bind_alias(state, "model", "lm_head.weight", "wte.weight", &err));
    bind(state, "optimizer", "exp_avg/wte.weight", CAIRN_F32, 2, wide, CAIRN_OPTIMIZER, moments);
    for (int dtype = CAIRN_BOOL; dtype < CAIRN_DTYPE_COUNT; dtype++) {
        char name[64];
        snprintf(name, sizeof name, "every~1kind/%s", cairn_dtype_name((cairn_dtype)dtype));
        bind(state, "kinds", name, (cairn_dtype)dtype, 3, cube, CAIRN_VOLATILE, every[dtype]);
    }
    MUST(cairn_state_bind_i64(state, "data", "position", &position, &err));
    MUST(cairn_state_bind_u64(state, "rng", "words/0", &word, &err));
    MUST(cairn_state_bind_f64(state, "scheduler", "rate", &rate, &err));
    MUST(cairn_state_bind_bool(state, "scheduler", "warm", &warm, &err));
    set_values(state);
    return state;
}

static void train(uint64_t step)
{
    for (int row = 0; row < 7; row++)
        for (int i = 0; i < WIDTH; i++) {
            weights[row][i] = (float)((int)step - i % 17) / 8;
            moments[row][i] = (float)(i % 13) / 4;
            frozen[row % 4][i] = (float)(i % 7) - 3;
        }
    for (int dtype = CAIRN_BOOL; dtype < CAIRN_DTYPE_COUNT; dtype++)
        for (int i = 0; i < 8 * 24; i++) every[dtype][i] = (unsigned char)(dtype == CAIRN_BOOL ? i & 1 : (i * 7 + dtype) & 0x3f);
    position = -(int64_t)step;
    word = UINT64_MAX - step;
    rate = 1.0 / (double)(step + 3);
    warm = step < 20;
}

static void save(cairn_run *run, cairn_state *state, uint64_t step, int broken)
{
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    options.mode = CAIRN_SAVE_SYNC;
    cairn_metric metrics[] = { { "loss", 100.0 / (double)step }, { "accuracy", step == 20 ? NAN : 0.5 } };
    cairn_attachment config = { "config.json", NULL, "{\"model_type\": \"golden\"}\n", 25 };
    const char *tags[] = { "release" };
    train(step);
    if (broken) moments[6][WIDTH - 1] = NAN;
    options.step = step;
    options.epoch = (double)step / 16;
    options.metrics = metrics;
    options.metrics_count = 2;
    options.attachments = &config;
    options.attachments_count = 1;
    options.tags = tags;
    options.tags_count = step == 20;
    options.config = "{\"lr\": 0.001}";
    MUST(cairn_save(run, state, &options, NULL, &err));
}

int main(int argc, char **argv)
{
    char path[4096];
    cairn_run *run;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_options back = CAIRN_RESTORE_OPTIONS_INIT;
    if (argc != 2) return 2;
    snprintf(path, sizeof path, "%s/golden", argv[1]);
    options.shard_bytes = 60000;
    options.best_metric = "loss";
    options.io_mode = CAIRN_IO_BUFFERED;
    cairn_state *state = make_state();
    MUST(cairn_run_open(path, &options, &run, &err));
    save(run, state, 10, 0);
    save(run, state, 20, 0);
    save(run, state, 30, 0);
    back.step = 20;
    MUST(cairn_restore(run, state, &back, NULL, &err));
    save(run, state, 30, 0);
    save(run, state, 40, 1);
    MUST(cairn_run_close(run, &err));
    cairn_state_free(state);
    return 0;
}
