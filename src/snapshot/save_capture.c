/* Capturing a state for a lazy save: what is copied before the caller goes on, and how it is noticed that somebody wrote too early. Counters and
 * witnesses may only add failures: no bytes are skipped because of them.
 *
 * Witnesses: CN_WITNESSES cache lines spread over each watched tensor, first and last included, taken at the capture and held against the staged
 * bytes. Digests (check_writes): every watched block is digested at the capture, when it was staged, and again before the fence opens. */
#include <string.h>

#include "base/check.h"
#include "os/os.h"
#include "snapshot/save.h"

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to capture a state");
}

/* Staged behind the caller, who must not write to it. */
static bool is_watched(const struct cn_leaf *leaf)
{
    return leaf->size_bytes >= CN_EARLY_BYTES && !(leaf->flags & (CAIRN_VOLATILE | CAIRN_DEFERRED));
}

/* An empty one is nothing: neither late nor copied nor early. */
static bool is_small(const struct cn_leaf *leaf)
{
    return leaf->size_bytes && leaf->size_bytes < CN_EARLY_BYTES && !cn_leaf_is_deferred(leaf);
}

/* Must be staged before the caller goes on. */
static bool is_early(const struct cn_save *save, uint64_t tensor)
{
    return save->plan.tensors[tensor].leaf->size_bytes && !save->sources[tensor].late && !save->sources[tensor].copy;
}

/* Aligned to a witness, so that none reaches over a block's end. */
static uint64_t witness_offset(const struct cn_leaf *leaf, int i)
{
    uint64_t last = cn_align_down(leaf->size_bytes - CN_WITNESS_BYTES, CN_WITNESS_BYTES);
    return cn_align_down(last * (uint64_t)i / (CN_WITNESSES - 1), CN_WITNESS_BYTES);
}

static int refuse(const char *name, const char *how, cairn_error *err)
{
    struct cn_shown shown;
    return cn_error_set(err, CAIRN_E_EARLY_WRITE,
                        "tensor '%s' was written to before it was staged (%s): call cairn_fence before the first change after a lazy save",
                        cn_show_text(&shown, name), how);
}

static int too_early(const struct cn_save *save, uint64_t tensor, const char *how, cairn_error *err)
{
    return refuse(save->plan.tensors[tensor].leaf->key, how, err);
}

/* ------------------------------------------------------------------------------------------------------------ at the save */

static int grow_scratch(struct cn_scratch *scratch, uint64_t size, cairn_error *err)
{
    if (size <= scratch->capacity) return CAIRN_OK;
    cn_os_free(scratch->bytes);
    scratch->capacity = 0;
    scratch->bytes = cn_os_new(size);
    if (!scratch->bytes) return no_memory(err);
    scratch->capacity = size;
    return CAIRN_OK;
}

/* Room for the witnesses, and behind them for the copies. It is kept from save to save: memory that was never touched costs more than what is put there. */
static int make_room(struct cn_save *save, uint64_t *ret_copies, cairn_error *err)
{
    uint64_t witnesses = 0, copies = 0;
    for (uint64_t i = 0; i < save->plan.tensors_count; i++) {
        const struct cn_leaf *leaf = save->plan.tensors[i].leaf;
        if (is_watched(leaf)) witnesses += (uint64_t)CN_WITNESSES * CN_WITNESS_BYTES;
        if (is_small(leaf)) copies += cn_align_up(leaf->size_bytes, CN_WITNESS_BYTES);
    }
    int code = grow_scratch(save->early, witnesses + copies, err);
    save->witnesses = save->early->bytes;
    *ret_copies = witnesses;
    return code;
}

/* `at`: where in the room the copies go. */
static int copy_small(struct cn_save *save, uint64_t at, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    int code = CAIRN_OK;
    for (uint64_t i = 0; i < plan->tensors_count && !code; i++) {
        const struct cn_leaf *leaf = plan->tensors[i].leaf;
        if (!is_small(leaf)) continue;
        code = cn_leaf_fetch(leaf, 0, leaf->size_bytes, save->early->bytes + at, err);
        save->sources[i].copy = save->early->bytes + at;
        at += cn_align_up(leaf->size_bytes, CN_WITNESS_BYTES);
    }
    return code;
}

/* There are many, and so small that a call for each would cost more than the memory. */
static int take_witness(const struct cn_leaf *leaf, uint64_t offset, unsigned char *destination, cairn_error *err)
{
    if (!leaf->address) return cn_leaf_fetch(leaf, offset, CN_WITNESS_BYTES, destination, err);
    memcpy(destination, (const char *)leaf->address + offset, CN_WITNESS_BYTES);
    return CAIRN_OK;
}

static int take_witnesses(struct cn_save *save, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    uint64_t count = 0;
    for (uint64_t i = 0; i < plan->tensors_count; i++) {
        const struct cn_leaf *leaf = plan->tensors[i].leaf;
        struct cn_source *source = &save->sources[i];
        if (leaf->generation) source->generation = *leaf->generation;
        source->late = is_watched(leaf) || cn_leaf_is_deferred(leaf);
        if (!is_watched(leaf)) continue;
        source->first_witness = count;
        for (int k = 0; k < CN_WITNESSES; k++, count++) {
            int code = take_witness(leaf, witness_offset(leaf, k), save->witnesses + count * CN_WITNESS_BYTES, err);
            if (code) return code;
        }
    }
    return CAIRN_OK;
}

/* Digests the watched tensors' blocks as they are in the caller's memory now: into ret_blocks, or against what stands there. */
static int digest_sources(const struct cn_save *save, struct cn_digest *blocks, bool compare, cairn_error *err)
{
    cn_auto_free unsigned char *room = cn_os_new(CN_BLOCK_BYTES);
    if (!room) return no_memory(err);
    for (uint64_t i = 0; i < save->plan.tensors_count; i++) {
        const struct cn_plan_tensor *tensor = &save->plan.tensors[i];
        if (!is_watched(tensor->leaf)) continue;
        for (uint64_t k = 0; k < tensor->blocks; k++) {
            uint64_t offset = k * CN_BLOCK_BYTES, size = cn_min_u64(CN_BLOCK_BYTES, tensor->leaf->size_bytes - offset);
            const void *data = tensor->leaf->address ? (const char *)tensor->leaf->address + offset : NULL;
            int code = data ? CAIRN_OK : cn_leaf_fetch(tensor->leaf, offset, size, room, err);
            if (code) return code;
            struct cn_digest digest = cn_digest_of(data ? data : room, size);
            struct cn_digest *block = &blocks[tensor->first_block + k];
            if (!compare)
                *block = digest;
            else if (!cn_digest_equal(block, &digest))
                return too_early(save, i, "its digest changed", err);
        }
    }
    return CAIRN_OK;
}

int cn_save_capture(struct cn_save *save, cairn_error *err)
{
    uint64_t copies;
    int code = make_room(save, &copies, err);
    if (!code) code = copy_small(save, copies, err);
    if (!code) code = take_witnesses(save, err);
    if (code || !save->check_writes) return code;
    save->captured_blocks = cn_os_new_array(save->plan.blocks_count, sizeof *save->captured_blocks);
    return save->captured_blocks ? digest_sources(save, save->captured_blocks, false, err) : no_memory(err);
}

bool cn_save_is_early(const struct cn_save *save, const struct cn_plan_piece *piece)
{
    if (!save->lazy) return false;
    for (uint64_t i = piece->first_tensor; i < save->plan.tensors_count; i++) {
        const struct cn_plan_tensor *tensor = &save->plan.tensors[i];
        if (tensor->file != piece->file || tensor->begin >= piece->end) break;
        if (is_early(save, i)) return true;
    }
    return false;
}

bool cn_save_has_early(const struct cn_save *save)
{
    for (uint64_t i = 0; i < save->plan.tensors_count && save->lazy; i++)
        if (is_early(save, i)) return true;
    return false;
}

/* ----------------------------------------------------------------------------------------------------------- when staging */

int cn_save_fetch(const struct cn_save *save, uint64_t tensor, uint64_t offset, size_t size, void *destination, cairn_error *err)
{
    const unsigned char *copy = save->sources[tensor].copy;
    if (!copy) return cn_leaf_fetch(save->plan.tensors[tensor].leaf, offset, size, destination, err);
    memcpy(destination, copy + offset, size);
    return CAIRN_OK;
}

int cn_save_check_witnesses(const struct cn_save *save, uint64_t tensor, uint64_t from, uint64_t to, const unsigned char *bytes,
                            cairn_error *err)
{
    const struct cn_source *source = &save->sources[tensor];
    const struct cn_plan_tensor *planned = &save->plan.tensors[tensor];
    if (!is_watched(planned->leaf)) return CAIRN_OK;
    for (int k = 0; k < CN_WITNESSES; k++) {
        uint64_t offset = witness_offset(planned->leaf, k);
        if (offset < from || offset + CN_WITNESS_BYTES > to) continue;
        if (memcmp(bytes + (offset - from), save->witnesses + (source->first_witness + (uint64_t)k) * CN_WITNESS_BYTES, CN_WITNESS_BYTES))
            return too_early(save, tensor, "a witness changed", err);
    }
    for (uint64_t at = from; save->captured_blocks && at < to && at % CN_BLOCK_BYTES == 0; at += CN_BLOCK_BYTES) {
        uint64_t size = cn_min_u64(CN_BLOCK_BYTES, planned->leaf->size_bytes - at);
        if (size > to - at) break; /* the part of a page that belongs to the next piece */
        struct cn_digest digest = cn_digest_of(bytes + (at - from), size);
        if (!cn_digest_equal(&digest, &save->captured_blocks[planned->first_block + at / CN_BLOCK_BYTES]))
            return too_early(save, tensor, "its digest changed", err);
    }
    return CAIRN_OK;
}

int cn_save_check_all(const struct cn_save *save, cairn_error *err)
{
    if (!save->lazy) return CAIRN_OK;
    const char *written = save->written ? save->written(save->user) : NULL;
    if (written) return refuse(written, "its counter of changes moved", err);
    for (uint64_t i = 0; i < save->plan.tensors_count; i++) {
        const struct cn_leaf *leaf = save->plan.tensors[i].leaf;
        if (is_watched(leaf) && leaf->generation && *leaf->generation != save->sources[i].generation)
            return too_early(save, i, "its generation counter moved", err);
    }
    return save->captured_blocks ? digest_sources(save, save->captured_blocks, true, err) : CAIRN_OK;
}
