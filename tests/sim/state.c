/* See state.h. */
#include "state.h"

#include <string.h>

#include "os/os.h"
#include "random.h"

static void fill(uint64_t attempt, uint64_t tensor, unsigned char *bytes, uint64_t size)
{
    struct sim_random random = { attempt * 16 + tensor };
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = sim_random_next(&random);
        memcpy(bytes + i, &word, size - i < 8 ? size - i : 8);
    }
}

static void fill_moments(uint64_t attempt, float *moments)
{
    for (unsigned i = 0; i < SIM_MOMENTS; i++) moments[i] = (float)(attempt * 1000 + i); /* no NaN among them */
}

enum { WEIGHT, BIAS, FROZEN };

/* What is called frozen changes seldom, but it does: nobody may rely on the flag. */
static uint64_t frozen_since(uint64_t attempt)
{
    return attempt / 3;
}

void sim_state_bytes(uint64_t attempt, const char *name, unsigned char *ret_bytes, uint64_t size)
{
    if (!strcmp(name, "weight")) fill(attempt, WEIGHT, ret_bytes, size);
    if (!strcmp(name, "bias")) fill(attempt, BIAS, ret_bytes, size);
    if (!strcmp(name, "frozen")) fill(frozen_since(attempt), FROZEN, ret_bytes, size);
    if (!strcmp(name, "moments")) fill_moments(attempt, (float *)(void *)ret_bytes);
}

void sim_state_fill(struct sim_state *state, uint64_t attempt)
{
    state->attempt = (int64_t)attempt;
    fill(attempt, WEIGHT, state->weight, SIM_WEIGHT_BYTES);
    fill(attempt, BIAS, state->bias, SIM_BIAS_BYTES);
    fill_moments(attempt, state->moments);
    if (state->frozen) fill(frozen_since(attempt), FROZEN, state->frozen, SIM_FROZEN_BYTES);
}

static bool holds(uint64_t attempt, uint64_t tensor, const unsigned char *bytes, uint64_t size)
{
    static unsigned char want[SIM_FROZEN_BYTES];
    fill(attempt, tensor, want, size);
    return !memcmp(want, bytes, size);
}

bool sim_state_is(const struct sim_state *state, uint64_t attempt, bool with_optimizer)
{
    float moments[SIM_MOMENTS];
    fill_moments(attempt, moments);
    bool same = state->attempt == (int64_t)attempt && holds(attempt, WEIGHT, state->weight, SIM_WEIGHT_BYTES) &&
                holds(attempt, BIAS, state->bias, SIM_BIAS_BYTES);
    if (state->frozen) same = same && holds(frozen_since(attempt), FROZEN, state->frozen, SIM_FROZEN_BYTES);
    return same && (!with_optimizer || !memcmp(moments, state->moments, sizeof moments));
}

static int bind(struct sim_state *state, const char *item, const char *name, cairn_dtype dtype, uint64_t count, uint32_t flags,
                void *address, cairn_error *err)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = 1;
    tensor.shape = &count;
    tensor.flags = flags;
    tensor.address = address;
    return cairn_state_bind_tensor(state->state, item, &tensor, err);
}

int sim_state_open(struct sim_state *state, bool with_frozen, cairn_error *err)
{
    *state = (struct sim_state){ .weight = cn_os_new(SIM_WEIGHT_BYTES), .bias = cn_os_new(SIM_BIAS_BYTES) };
    state->moments = cn_os_new(SIM_MOMENTS * sizeof(float));
    int code = cairn_state_new(&state->state, err);
    if (!code) code = bind(state, "model", "weight", CAIRN_U8, SIM_WEIGHT_BYTES, CAIRN_TRAINABLE, state->weight, err);
    if (!code) code = bind(state, "model", "bias", CAIRN_U8, SIM_BIAS_BYTES, CAIRN_TRAINABLE, state->bias, err);
    if (!code) code = bind(state, "optimizer", "moments", CAIRN_F32, SIM_MOMENTS, CAIRN_OPTIMIZER, state->moments, err);
    if (!code) code = cairn_state_bind_i64(state->state, "trainer", "attempt", &state->attempt, err);
    if (code || !with_frozen) return code;
    state->frozen = cn_os_new(SIM_FROZEN_BYTES);
    return bind(state, "model", "frozen", CAIRN_U8, SIM_FROZEN_BYTES, CAIRN_FROZEN, state->frozen, err);
}

void sim_state_close(struct sim_state *state)
{
    cairn_state_free(state->state);
    cn_os_free(state->weight);
    cn_os_free(state->bias);
    cn_os_free(state->frozen);
    cn_os_free(state->moments);
    *state = (struct sim_state){ 0 };
}
