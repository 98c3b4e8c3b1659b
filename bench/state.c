/* The state (see state.h). */
#include "state.h"

#include <stdio.h>

#include "bench.h"
#include "raw.h"

#define BLOCK (UINT64_C(4) << 20)

/* Numbers between -1 and 1, from a generator that is quick enough for gigabytes. */
static void fill(float *values, uint64_t count)
{
    uint64_t random = 88172645463325252u;
    for (uint64_t i = 0; i < count; i++) {
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        values[i] = (float)(int32_t)(random >> 32) * 0x1p-31f;
    }
}

static void bind(struct state *state, uint32_t index)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    char name[64];
    uint64_t extent = state->tensor_bytes / sizeof(float);
    snprintf(name, sizeof name, "model.layers.%u.weight", index);
    tensor.name = name;
    tensor.dtype = CAIRN_F32;
    tensor.rank = 1;
    tensor.shape = &extent;
    tensor.flags = index < state->tensors - state->frozen ? CAIRN_TRAINABLE : CAIRN_FROZEN;
    tensor.address = state->memory + index * state->tensor_bytes;
    must(cairn_state_bind_tensor(state->bound, "model", &tensor, &err), &err);
}

void state_make(struct state *state, uint64_t bytes, uint32_t tensors, uint32_t frozen)
{
    cairn_error err = CAIRN_ERROR_INIT;
    *state = (struct state){ .tensors = tensors, .frozen = frozen, .tensor_bytes = bytes / tensors / 64 * 64 };
    state->bytes = state->tensor_bytes * tensors;
    state->memory_bytes = (state->bytes + BLOCK - 1) / BLOCK * BLOCK + 2 * BLOCK;
    state->memory = raw_memory_new(state->memory_bytes);
    fill((float *)(void *)state->memory, state->bytes / sizeof(float));
    must(cairn_state_new(&state->bound, &err), &err);
    for (uint32_t i = 0; i < tensors; i++) bind(state, i);
}

void state_free(struct state *state)
{
    cairn_state_free(state->bound);
    raw_memory_free(state->memory, state->memory_bytes);
    *state = (struct state){ 0 };
}

void state_step(struct state *state)
{
    for (uint32_t i = 0; i < state->tensors - state->frozen; i++) {
        float *first = (float *)(void *)(state->memory + i * state->tensor_bytes);
        *first = *first * 0.999f + 1e-4f;
    }
}
