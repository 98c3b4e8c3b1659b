/* Files that did not change become hard links to the last checkpoint's (see base.h). A file expected to be unchanged is digested where it lies in the
 * caller's memory, while the capture is protected, and linked at once: the link is the pin. One block differs, or the link fails for whatever
 * reason: the whole file is written afresh. A file that was written and turns out to be equal is replaced by a link. */
#include <string.h>

#include "base/check.h"
#include "io/pump.h"
#include "snapshot/save.h"

static const struct cn_digest *base_block(const struct cn_save *save, uint32_t file, uint64_t block)
{
    const struct cn_plan_file *planned = &save->plan.files[file];
    return &save->files[file].base->blocks[block - save->plan.tensors[planned->first_tensor].first_block];
}

static bool all_frozen(const struct cn_save *save, const struct cn_plan_file *file)
{
    for (uint64_t i = 0; i < file->tensors; i++)
        if (!(save->plan.tensors[file->first_tensor + i].leaf->flags & CAIRN_FROZEN)) return false;
    return true;
}

void cn_save_match_base(struct cn_save *save)
{
    for (uint32_t i = 0; i < save->plan.files_count && save->base; i++) {
        const struct cn_plan_file *file = &save->plan.files[i];
        if (file->size_bytes < CN_MIN_LINK_BYTES) continue;
        struct cn_digest header = cn_digest_of(file->header.data, file->header.size);
        save->files[i].base = cn_base_find(save->base, &header, file->size_bytes);
        if (save->files[i].base && (all_frozen(save, file) || save->files[i].base->still)) save->files[i].fate = CN_FATE_EXPECT_LINK;
    }
}

/* Digests the blocks of a piece in place; memory without an address passes through the slot. */
static int digest_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct cn_save *save = user;
    const struct cn_plan_piece *piece = &save->plan.pieces[save->list[index]];
    struct cn_save_file *file = &save->files[piece->file];
    uint64_t at = piece->begin;
    for (uint64_t i = piece->first_tensor; at < piece->end; i++) {
        const struct cn_plan_tensor *tensor = &save->plan.tensors[i];
        const struct cn_leaf *leaf = tensor->leaf;
        uint64_t stop = tensor->begin + leaf->size_bytes;
        while (at < piece->end && at < stop) {
            uint64_t size = cn_min_u64(CN_BLOCK_BYTES, stop - at), offset = at - tensor->begin,
                     block = tensor->first_block + offset / CN_BLOCK_BYTES;
            if (atomic_load_explicit(&file->changed, memory_order_relaxed)) return CAIRN_OK;
            const unsigned char *data = save->sources[i].copy ? save->sources[i].copy + offset
                                        : leaf->address       ? (const unsigned char *)leaf->address + offset
                                                              : NULL;
            int code = data ? CAIRN_OK : cn_leaf_fetch(leaf, offset, size, slot, err);
            if (code) return code;
            save->blocks[block] = cn_digest_of(data ? data : slot, size);
            if (!cn_digest_equal(&save->blocks[block], base_block(save, piece->file, block))) atomic_store(&file->changed, true);
            at += size;
        }
    }
    return CAIRN_OK;
}

static void link_file(struct cn_save *save, uint32_t index)
{
    struct cn_save_file *file = &save->files[index];
    const struct cn_plan_file *planned = &save->plan.files[index];
    const char *last;
    cn_file dir = cn_staging_folder(save->staging, planned->name, &last);
    file->fate = CN_FATE_WRITE;
    if (atomic_load(&file->changed) || cn_base_link(save->base, file->base, dir, last)) return;
    file->fate = CN_FATE_LINKED;
    file->out.info = file->base->info;
    atomic_fetch_add(&save->figures->linked_bytes, planned->size_bytes);
}

static bool is_awaited(const struct cn_save_file *file, bool early)
{
    return file->fate == CN_FATE_EXPECT_LINK && (file->early || !early);
}

int cn_save_link_unchanged(struct cn_save *save, bool early, cairn_error *err)
{
    struct cn_pump pump = { .consume = digest_piece, .user = save, .arena = save->arena, .threads = save->threads, .cancel = save->cancel };
    save->list_count = 0;
    for (uint64_t i = 0; i < save->plan.pieces_count; i++)
        if (is_awaited(&save->files[save->plan.pieces[i].file], early)) save->list[save->list_count++] = i;
    pump.pieces = save->list_count;
    if (!pump.pieces) return CAIRN_OK;
    int code = cn_pump_run(&pump, err);
    if (!code) code = cn_save_open(save, err);
    for (uint32_t i = 0; i < save->plan.files_count && !code; i++)
        if (is_awaited(&save->files[i], early)) link_file(save, i);
    return code;
}

/* The link is made under another name and renamed over, so that the written file stays if it fails. */
int cn_save_link_equal(struct cn_save *save, uint32_t index, cairn_error *err)
{
    struct cn_save_file *file = &save->files[index];
    const struct cn_plan_file *planned = &save->plan.files[index];
    static const char temporary[] = "linked";
    const char *last;
    uint64_t first = save->plan.tensors[planned->first_tensor].first_block;
    if (!file->base || atomic_load(&file->changed)) return CAIRN_OK;
    if (file->base->blocks_count && memcmp(&save->blocks[first], file->base->blocks, file->base->blocks_count * sizeof *file->base->blocks))
        return CAIRN_OK;
    cn_file dir = cn_staging_folder(save->staging, planned->name, &last);
    if (cn_base_link(save->base, file->base, dir, temporary)) return CAIRN_OK;
    int rc = cn_os_rename_over(dir, temporary, dir, last);
    if (rc) return cn_error_errno(err, -rc, "%s: putting a link in its place", planned->name);
    file->fate = CN_FATE_LINKED;
    file->out.info = file->base->info;
    atomic_fetch_add(&save->figures->linked_bytes, planned->size_bytes);
    return CAIRN_OK;
}

/* ------------------------------------------------------------------------------------------------------- the next base */

static int remember_file(const struct cn_save *save, uint32_t index, struct cn_base_file *file, cairn_error *err)
{
    const struct cn_plan_file *planned = &save->plan.files[index];
    uint64_t first = save->plan.tensors[planned->first_tensor].first_block;
    file->info = save->files[index].out.info;
    file->header_digest = cn_digest_of(planned->header.data, planned->header.size);
    file->still = save->files[index].fate == CN_FATE_LINKED;
    file->name = cn_os_copy_text(planned->name);
    file->tensors_count = planned->tensors;
    for (uint64_t i = 0; i < planned->tensors; i++) file->blocks_count += save->plan.tensors[planned->first_tensor + i].blocks;
    file->tensors = cn_os_new_array(planned->tensors, sizeof *file->tensors);
    file->blocks = cn_os_new_array(file->blocks_count, sizeof *file->blocks);
    if (!file->name || !file->tensors || !file->blocks)
        return cn_error_set(err, CAIRN_E_NOMEM, "no memory to remember the new checkpoint's files");
    memcpy(file->tensors, save->totals + planned->first_tensor, planned->tensors * sizeof *file->tensors);
    if (file->blocks_count) memcpy(file->blocks, save->blocks + first, file->blocks_count * sizeof *file->blocks);
    return CAIRN_OK;
}

int cn_save_make_base(const struct cn_save *save, struct cn_base *base, cairn_error *err)
{
    int code = cn_base_begin(base, save->plan.files_count, err);
    for (uint32_t i = 0; i < save->plan.files_count && !code; i++)
        if (save->plan.files[i].size_bytes >= CN_MIN_LINK_BYTES) code = remember_file(save, i, &base->files[base->files_count++], err);
    int rc = code ? 0 : cn_os_open_dir(save->staging->dir, ".", &base->dir);
    if (!code && rc) code = cn_error_errno(err, -rc, "opening the new checkpoint's folder once more");
    if (code) cn_base_clear(base);
    return code;
}
