/* A save job (see save.h): plan, staging, digesting, writing. It must never touch the bound memory but to read it, never allocate nor
 * hold a lock while bytes move, and never retry a file that failed.
 *
 * Invariants
 *  1. Each piece fills its own slot: [page of begin, end of its last page), so pieces need no order.
 *  2. Block i's digest and statistics are written by exactly one task, the one that consumes its piece. */
#include "snapshot/save.h"

#include <math.h>
#include <string.h>

#include "base/check.h"
#include "base/json.h"
#include "io/pump.h"
#include "os/os.h"
#include "snapshot/statejson.h"
#include "snapshot/table.h"
#include "store/layout.h"
#include "store/smallfile.h"

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to save a state");
}

int cn_save_prepare(struct cn_save *save, cairn_error *err)
{
    cn_pool_init(&save->pool, cn_os_alloc(), UINT64_C(1) << 30);
    cn_buf_init(&save->state_json, cn_os_alloc(), CN_MAX_STATE_JSON_BYTES);
    int code = cn_statejson_write(save->state, &save->state_json, err);
    if (!code) code = cn_plan_make(save->state, &save->limits, &save->plan, err);
    if (code) return code;
    const struct cn_plan *plan = &save->plan;
    save->outs = cn_os_new_array(plan->files_count ? plan->files_count : 1, sizeof *save->outs);
    save->blocks = cn_os_new_array(plan->blocks_count ? plan->blocks_count : 1, sizeof *save->blocks);
    save->stats = cn_os_new_array(plan->blocks_count ? plan->blocks_count : 1, sizeof *save->stats);
    for (uint32_t i = 0; i < plan->files_count && save->outs; i++) save->outs[i].file = CN_NO_FILE;
    return save->outs && save->blocks && save->stats ? CAIRN_OK : no_memory(err);
}

/* --------------------------------------------------------------------------------------------------- staging and writing */

/* Fills slot from file offset `from` (its page) to `end`: the tensors' bytes, zeros after the file's last one. */
static int stage_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct cn_save *save = user;
    const struct cn_plan *plan = &save->plan;
    const struct cn_plan_piece *piece = &plan->pieces[index];
    uint64_t base = cn_align_down(piece->begin, CN_PAGE_BYTES), first_page, last_page, end;
    cn_plan_pages(plan, piece, &first_page, &last_page, &end);
    uint64_t at = piece->begin;
    for (uint64_t i = piece->first_tensor; at < end; i++) {
        const struct cn_plan_tensor *tensor = &plan->tensors[i];
        uint64_t stop = cn_min_u64(end, tensor->begin + tensor->leaf->size_bytes);
        if (stop <= at) continue;
        int code = cn_leaf_fetch(tensor->leaf, at - tensor->begin, stop - at, slot + (at - base), err);
        if (code) return code;
        at = stop;
    }
    if (last_page > end) memset(slot + (end - base), 0, last_page - end);
    atomic_fetch_add_explicit(&save->figures->staged_bytes, piece->end - piece->begin, memory_order_relaxed);
    return CAIRN_OK;
}

static void digest_piece(struct cn_save *save, const struct cn_plan_piece *piece, const unsigned char *slot)
{
    uint64_t base = cn_align_down(piece->begin, CN_PAGE_BYTES), at = piece->begin;
    for (uint64_t i = piece->first_tensor; at < piece->end; i++) {
        const struct cn_plan_tensor *tensor = &save->plan.tensors[i];
        uint64_t stop = tensor->begin + tensor->leaf->size_bytes;
        while (at < piece->end && at < stop) {
            uint64_t size = cn_min_u64(CN_BLOCK_BYTES, stop - at), block = tensor->first_block + (at - tensor->begin) / CN_BLOCK_BYTES;
            save->blocks[block] = cn_digest_of(slot + (at - base), size);
            if (cn_stats_known(tensor->leaf->dtype)) save->stats[block] = cn_stats_of(tensor->leaf->dtype, slot + (at - base), size);
            at += size;
        }
    }
}

static int write_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct cn_save *save = user;
    const struct cn_plan_piece *piece = &save->plan.pieces[index];
    uint64_t base = cn_align_down(piece->begin, CN_PAGE_BYTES), from, to, end;
    cn_plan_pages(&save->plan, piece, &from, &to, &end);
    digest_piece(save, piece, slot);
    if (to > from) {
        int code = cn_outfile_write(&save->outs[piece->file], from, slot + (from - base), to - from, err);
        if (code) return code;
    }
    atomic_fetch_add_explicit(&save->figures->written_bytes, piece->end - piece->begin, memory_order_relaxed);
    return CAIRN_OK;
}

/* Headers are whole pages; they pass through a slot because direct I/O wants aligned memory. */
static int write_headers(struct cn_save *save, cairn_error *err)
{
    unsigned char *slot = cn_arena_take(save->arena);
    if (!slot) return cn_error_set(err, CAIRN_E_CANCELLED, "the save was cancelled");
    uint64_t slot_bytes = cn_arena_slot_bytes(save->arena);
    int code = CAIRN_OK;
    for (uint32_t i = 0; i < save->plan.files_count && !code; i++) {
        const struct cn_buf *header = &save->plan.files[i].header;
        for (uint64_t at = 0; at < header->size && !code; at += slot_bytes) {
            uint64_t size = cn_min_u64(slot_bytes, header->size - at);
            memcpy(slot, header->data + at, size);
            code = cn_outfile_write(&save->outs[i], at, slot, size, err);
        }
    }
    cn_arena_give(save->arena, slot);
    return code;
}

static int create_files(struct cn_save *save, cairn_error *err)
{
    for (uint32_t i = 0; i < save->plan.files_count; i++) {
        const struct cn_plan_file *file = &save->plan.files[i];
        const char *slash = strchr(file->name, '/');
        cn_file dir = slash ? save->staging->training : save->staging->dir;
        int code = cn_outfile_create(&save->outs[i], dir, slash ? slash + 1 : file->name, file->size_bytes, save->io_mode, err);
        if (code) return code;
    }
    return CAIRN_OK;
}

static void tick(void *user)
{
    struct cn_save *save = user;
    if (save->tick) save->tick(save->tick_user);
}

int cn_save_run(struct cn_save *save, cairn_error *err)
{
    struct cn_pump pump = { .pieces = save->plan.pieces_count, .produce = stage_piece, .consume = write_piece, .user = save,
                            .arena = save->arena, .threads = save->threads, .stagers = save->threads > 2 ? 2 : 1,
                            .cancel = save->cancel, .tick = tick };
    cn_arena_start(save->arena);
    int code = create_files(save, err);
    if (!code) code = write_headers(save, err);
    if (!code) code = cn_pump_run(&pump, err);
    for (uint32_t i = 0; i < save->plan.files_count && !code; i++) code = cn_outfile_finish(&save->outs[i], err);
    return code;
}

/* ------------------------------------------------------------------------------------------------------------ finishing */

static int add_file(struct cn_save *save, struct cn_manifest_file file, cairn_error *err)
{
    if (save->files_count == save->files_capacity) {
        uint64_t capacity = save->files_capacity ? save->files_capacity * 2 : 16;
        struct cn_manifest_file *files = cn_os_new_array(capacity, sizeof *files);
        if (!files) return no_memory(err);
        if (save->files_count) memcpy(files, save->files, save->files_count * sizeof *files);
        cn_os_free(save->files);
        save->files = files;
        save->files_capacity = capacity;
    }
    file.name = cn_pool_text(&save->pool, file.name);
    if (!file.name) return no_memory(err);
    save->files[save->files_count++] = file;
    return CAIRN_OK;
}

int cn_save_put(struct cn_save *save, const char *name, enum cn_file_kind kind, const void *data, size_t size, cairn_error *err)
{
    const char *in_training = strncmp(name, CN_NAME_TRAINING "/", sizeof CN_NAME_TRAINING) ? NULL : name + sizeof CN_NAME_TRAINING;
    cn_file dir = in_training ? save->staging->training : save->staging->dir;
    int code = cn_smallfile_put(dir, in_training ? in_training : name, data, size, 0644, err);
    if (code) return code;
    return add_file(save, (struct cn_manifest_file){ .name = name, .kind = kind, .size_bytes = size, .digest = cn_digest_blocks(data, size) }, err);
}

int cn_save_attach(struct cn_save *save, const cairn_attachment *attachment, cairn_error *err)
{
    if (!attachment->name) return cn_error_set(err, CAIRN_E_USAGE, "an attached file needs a name");
    struct cn_shown shown;
    cn_show_text(&shown, attachment->name);
    int code = cn_layout_check_attachment(attachment->name, err);
    if (code) return code;
    for (uint64_t i = 0; i < save->files_count; i++)
        if (!strcmp(save->files[i].name, attachment->name))
            return cn_error_set(err, CAIRN_E_USAGE, "attached file \"%s\": the checkpoint has a file of that name", shown.text);
    code = cn_staging_make_dirs((struct cn_staging *)(uintptr_t)save->staging, attachment->name, err);
    if (code) return code;
    struct cn_manifest_file file = { .name = attachment->name, .kind = CN_FILE_ATTACHED, .size_bytes = attachment->size_bytes };
    if (attachment->path) {
        code = cn_smallfile_copy(attachment->path, save->staging->dir, attachment->name, &file.size_bytes, &file.digest, err);
    } else {
        if (attachment->size_bytes && !attachment->data)
            return cn_error_set(err, CAIRN_E_USAGE, "attached file \"%s\": give a path or data", shown.text);
        code = cn_smallfile_put(save->staging->dir, attachment->name, attachment->data, attachment->size_bytes, 0644, err);
        file.digest = cn_digest_blocks(attachment->data, attachment->size_bytes);
    }
    if (code) return cn_error_prefix(err, code, "attached file \"%s\"", shown.text);
    return add_file(save, file, err);
}

static int put_index(void *user, const char *name, const struct cn_buf *content, cairn_error *err)
{
    return cn_save_put(user, name, CN_FILE_OWN, content->data, content->size, err);
}

/* A row of the table from its blocks; adds to the guards. */
static void fill_row(struct cn_save *save, const struct cn_plan_tensor *tensor, struct cn_table_row *row)
{
    const struct cn_leaf *leaf = tensor->leaf;
    *row = (struct cn_table_row){ .item = cn_state_item(save->state, leaf), .name = leaf->name, .dtype = leaf->dtype, .rank = leaf->rank,
                                  .shape = leaf->shape, .flags = leaf->flags, .file = tensor->file, .begin = tensor->begin,
                                  .size_bytes = leaf->size_bytes, .blocks = save->blocks + tensor->first_block,
                                  .blocks_count = tensor->blocks };
    row->digest = cn_digest_of(row->blocks, row->blocks_count * sizeof *row->blocks);
    row->stats_known = cn_stats_known(leaf->dtype);
    if (!row->stats_known) return;
    struct cn_stats total = { 0 };
    for (uint64_t i = 0; i < tensor->blocks; i++) cn_stats_add(&total, &save->stats[tensor->first_block + i]);
    row->max_abs = total.max_abs;
    row->norm = sqrt(total.sum_squares);
    row->nan_count = total.nan_count;
    row->inf_count = total.inf_count;
    if (!(leaf->flags & (CAIRN_TRAINABLE | CAIRN_OPTIMIZER))) return;
    save->nan_count += total.nan_count;
    save->inf_count += total.inf_count;
}

static int enter_data_files(struct cn_save *save, const struct cn_table_row *rows, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    for (uint32_t i = 0; i < plan->files_count; i++) {
        const struct cn_plan_file *file = &plan->files[i];
        struct cn_digest header = cn_digest_of(file->header.data, file->header.size);
        cn_auto_free struct cn_digest *parts = cn_os_new_array(file->tensors + 1, sizeof *parts);
        if (!parts) return no_memory(err);
        parts[0] = header;
        for (uint64_t k = 0; k < file->tensors; k++) parts[k + 1] = rows[file->first_tensor + k].digest;
        struct cn_manifest_file entry = { .name = file->name, .kind = CN_FILE_TENSORS, .size_bytes = file->size_bytes,
                                          .digest = cn_digest_of(parts, (file->tensors + 1) * sizeof *parts),
                                          .header_bytes = file->header.size, .header_digest = header };
        int code = add_file(save, entry, err);
        if (code) return code;
    }
    return CAIRN_OK;
}

/* What of the state's training is in these bytes: two saves with the same digest and other steps are suspicious. */
static int digest_trainable(struct cn_save *save, const struct cn_table_row *rows, cairn_error *err)
{
    uint64_t count = 0;
    cn_auto_free struct cn_digest *digests = cn_os_new_array(save->plan.tensors_count + 1, sizeof *digests);
    if (!digests) return no_memory(err);
    for (uint64_t i = 0; i < save->plan.tensors_count; i++)
        if (rows[i].flags & CAIRN_TRAINABLE && rows[i].size_bytes) digests[count++] = rows[i].digest;
    save->has_trainable = count > 0;
    save->trainable_digest = cn_digest_of(digests, count * sizeof *digests);
    return CAIRN_OK;
}

static int put_table(struct cn_save *save, const struct cn_table_row *rows, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    cn_auto_free struct cn_table_file *files = cn_os_new_array(plan->files_count ? plan->files_count : 1, sizeof *files);
    if (!files) return no_memory(err);
    for (uint32_t i = 0; i < plan->files_count; i++) files[i] = (struct cn_table_file){ plan->files[i].name, plan->files[i].size_bytes };
    struct cn_table table = { .rows = rows, .count = plan->tensors_count, .files = files, .files_count = plan->files_count };
    cn_auto_buf struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), CN_MAX_TENSORS_JSON_BYTES);
    int code = cn_table_encode(&table, &buf, err);
    return code ? code : cn_save_put(save, CN_NAME_TENSORS, CN_FILE_OWN, buf.data, buf.size, err);
}

static int enter_items(struct cn_save *save, cairn_error *err)
{
    const cairn_state *state = save->state;
    save->items = cn_pool_take_array(&save->pool, state->items_count ? state->items_count : 1, sizeof *save->items);
    if (!save->items) return no_memory(err);
    save->items_count = state->items_count;
    for (uint32_t i = 0; i < state->items_count; i++)
        if (!(save->items[i].name = cn_pool_text(&save->pool, state->items[i].name))) return no_memory(err);
    for (uint64_t i = 0; i < state->count; i++) {
        const struct cn_leaf *leaf = &state->leaves[i];
        struct cn_manifest_item *item = &save->items[leaf->item];
        if (leaf->kind == CN_LEAF_TENSOR) item->tensors++;
        else if (leaf->kind != CN_LEAF_ALIAS) item->values++;
        item->size_bytes += leaf->size_bytes;
    }
    return CAIRN_OK;
}

int cn_save_finish(struct cn_save *save, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    cn_auto_free struct cn_table_row *rows = cn_os_new_array(plan->tensors_count ? plan->tensors_count : 1, sizeof *rows);
    if (!rows) return no_memory(err);
    for (uint64_t i = 0; i < plan->tensors_count; i++) fill_row(save, &plan->tensors[i], &rows[i]);
    int code = enter_data_files(save, rows, err);
    if (!code) code = cn_plan_indexes(plan, save->state, put_index, save, err);
    if (!code) code = put_table(save, rows, err);
    if (!code) code = cn_save_put(save, CN_NAME_STATE, CN_FILE_OWN, save->state_json.data, save->state_json.size, err);
    if (!code) code = digest_trainable(save, rows, err);
    return code ? code : enter_items(save, err);
}

void cn_save_free(struct cn_save *save)
{
    if (save->outs)
        for (uint32_t i = 0; i < save->plan.files_count; i++) cn_outfile_abandon(&save->outs[i]);
    cn_os_free(save->outs);
    cn_os_free(save->blocks);
    cn_os_free(save->stats);
    cn_os_free(save->files);
    cn_plan_free(&save->plan);
    if (save->state_json.alloc) cn_buf_done(&save->state_json);
    if (save->pool.alloc) cn_pool_done(&save->pool);
    save->outs = NULL, save->blocks = NULL, save->stats = NULL, save->files = NULL;
}
