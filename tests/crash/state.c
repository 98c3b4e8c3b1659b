#include "state.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t mix(uint64_t number)
{
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

/* What stands at index of the tensor whose salt this is. */
static uint64_t word(uint64_t chain, uint64_t salt, uint64_t index)
{
    return mix(chain * salt + index);
}

static const struct {
    const char *item, *name;
    uint64_t count, salt, flags;
} tensors[] = {
    { "model", "weight", WEIGHTS, 1, CAIRN_TRAINABLE },
    { "optimizer", "moment", MOMENTS, 3, CAIRN_OPTIMIZER },
    { "model", "frozen", FROZEN, 0, CAIRN_FROZEN }, /* salt 0: of no chain */
};
enum { TENSORS = sizeof tensors / sizeof *tensors };

static uint64_t *words_of(struct training *t, int tensor)
{
    uint64_t *words[TENSORS] = { t->weight, t->moment, t->frozen };
    return words[tensor];
}

static void fill(struct training *t)
{
    for (int i = 0; i < TENSORS; i++)
        for (uint64_t k = 0; k < tensors[i].count; k++) words_of(t, i)[k] = word(t->chain, tensors[i].salt, k);
}

/* A tensor of one byte that kills who saves it, if it is told to. */
static int fetch_fuse(void *user, uint64_t offset, size_t size, void *destination)
{
    const struct training *t = user;
    (void)offset;
    if (t->dies) kill(getpid(), SIGKILL);
    memset(destination, 0, size);
    return 0;
}

static int store_fuse(void *user, uint64_t offset, size_t size, const void *source)
{
    (void)user, (void)offset, (void)size, (void)source;
    return 0;
}

static int bind_tensors(struct training *t, cairn_error *err)
{
    const uint64_t one[] = { 1 };
    cairn_tensor fuse = CAIRN_TENSOR_INIT;
    fuse.name = "fuse", fuse.dtype = CAIRN_U8, fuse.rank = 1, fuse.shape = one;
    fuse.fetch = fetch_fuse, fuse.store = store_fuse, fuse.user = t;
    int code = cairn_state_bind_tensor(t->state, "train", &fuse, err);
    for (int i = 0; !code && i < TENSORS; i++) {
        cairn_tensor tensor = CAIRN_TENSOR_INIT;
        tensor.name = tensors[i].name;
        tensor.dtype = CAIRN_U64;
        tensor.rank = 1;
        tensor.shape = &tensors[i].count;
        tensor.flags = (uint32_t)tensors[i].flags;
        tensor.address = words_of(t, i);
        code = cairn_state_bind_tensor(t->state, tensors[i].item, &tensor, err);
    }
    return code;
}

int training_begin(struct training *t, cairn_error *err)
{
    memset(t, 0, sizeof *t);
    t->chain = 1;
    fill(t);
    int code = cairn_state_new(&t->state, err);
    if (!code) code = bind_tensors(t, err);
    if (!code) code = cairn_state_bind_i64(t->state, "train", "step", &t->step, err);
    if (!code) code = cairn_state_bind_u64(t->state, "train", "chain", &t->chain, err);
    if (code) training_end(t);
    return code;
}

void training_end(struct training *t)
{
    cairn_state_free(t->state);
    t->state = NULL;
}

void training_step(struct training *t, uint64_t way)
{
    uint64_t sum = t->chain;
    for (int i = 0; i < TENSORS; i++)
        for (uint64_t k = 0; k < tensors[i].count; k++) sum = sum * 31 + words_of(t, i)[k];
    t->step++;
    t->chain = mix(sum ^ mix(way)) >> 2; /* every reader has integers of 63 bits */
    fill(t);
}

bool training_is_whole(const struct training *t)
{
    for (int i = 0; i < TENSORS; i++)
        for (uint64_t k = 0; k < tensors[i].count; k++)
            if (words_of((struct training *)(uintptr_t)t, i)[k] != word(t->chain, tensors[i].salt, k)) return false;
    return true;
}

static const cairn_value *value_at(const cairn_checkpoint *checkpoint, const char *item, const char *name)
{
    const cairn_value *values = cairn_checkpoint_values(checkpoint);
    const cairn_value *tree = values ? cairn_value_find(values, item) : NULL;
    return tree ? cairn_value_find(tree, name) : NULL;
}

static bool was_dropped(const cairn_checkpoint *checkpoint, const char *item)
{
    const cairn_entry *entry = &cairn_checkpoint_get_info(checkpoint)->entry;
    for (size_t i = 0; i < entry->dropped_count; i++)
        if (!strcmp(entry->dropped[i], item)) return true;
    return false;
}

static int words_are_right(cairn_checkpoint *checkpoint, const cairn_tensor_info *tensor, bool mapped, uint64_t chain, uint64_t salt,
                           char *problem, size_t size)
{
    cairn_error err = CAIRN_ERROR_INIT;
    uint64_t *own = malloc(tensor->size_bytes);
    const void *words = own;
    int code = mapped ? cairn_checkpoint_map(checkpoint, tensor, &words, &err)
                      : cairn_checkpoint_read(checkpoint, tensor, 0, tensor->size_bytes, own, &err);
    if (code) snprintf(problem, size, "%s: %s", tensor->name, err.message);
    for (uint64_t k = 0; !code && k < tensor->size_bytes / 8; k++)
        if (((const uint64_t *)words)[k] != word(chain, salt, k)) {
            snprintf(problem, size, "%s[%llu] is wrong", tensor->name, (unsigned long long)k);
            code = -1;
        }
    free(own);
    return code;
}

int checkpoint_is_whole(cairn_checkpoint *checkpoint, bool mapped, uint64_t *ret_chain, char *ret_problem, size_t size)
{
    const cairn_value *value = value_at(checkpoint, "train", "chain");
    if (!value) {
        snprintf(ret_problem, size, "it has no chain");
        return -1;
    }
    const uint64_t chain = (uint64_t)cairn_value_get_int(value);
    for (int i = 0; i < TENSORS; i++) {
        const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, tensors[i].item, tensors[i].name);
        if (!tensor && was_dropped(checkpoint, tensors[i].item)) continue;
        if (!tensor || tensor->size_bytes != 8 * tensors[i].count) {
            snprintf(ret_problem, size, "%s is missing or of another size", tensors[i].name);
            return -1;
        }
        int code = words_are_right(checkpoint, tensor, mapped, chain, tensors[i].salt, ret_problem, size);
        if (code) return code;
    }
    *ret_chain = chain;
    return 0;
}
