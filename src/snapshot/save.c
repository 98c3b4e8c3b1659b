/* A save job (see save.h): its plan and values at the start, its tables at the end. */
#include "snapshot/save.h"

#include <string.h>

#include "os/os.h"
#include "snapshot/statejson.h"
#include "snapshot/table.h"
#include "store/layout.h"
#include "store/smallfile.h"

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to save a state");
}

/* Counted now: the caller may bind more while the job runs. */
static int enter_items(struct cn_save *save, cairn_error *err)
{
    const cairn_state *state = save->state;
    save->items = cn_pool_take_array(&save->pool, state->items_count ? state->items_count : 1, sizeof *save->items);
    if (!save->items) return no_memory(err);
    save->items_count = state->items_count;
    for (uint32_t i = 0; i < state->items_count; i++)
        if (!(save->items[i].name = cn_pool_text(&save->pool, state->items[i].name))) return no_memory(err);
    for (uint64_t i = 0; i < state->count; i++) {
        const struct cn_leaf *leaf = state->leaves[i];
        struct cn_manifest_item *item = &save->items[leaf->item];
        if (leaf->kind == CN_LEAF_TENSOR)
            item->tensors++;
        else if (leaf->kind != CN_LEAF_ALIAS)
            item->values++;
        item->size_bytes += leaf->size_bytes;
    }
    return CAIRN_OK;
}

static int make_arrays(struct cn_save *save, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    save->files = cn_os_new_array(plan->files_count, sizeof *save->files);
    save->sources = cn_os_new_array(plan->tensors_count, sizeof *save->sources);
    save->totals = cn_os_new_array(plan->tensors_count, sizeof *save->totals);
    save->list = cn_os_new_array(plan->pieces_count, sizeof *save->list);
    save->places = cn_os_new_array(plan->pieces_count, sizeof *save->places);
    save->blocks = cn_os_new_array(plan->blocks_count, sizeof *save->blocks);
    save->stats = cn_os_new_array(plan->blocks_count, sizeof *save->stats);
    for (uint32_t i = 0; i < plan->files_count && save->files; i++) save->files[i].out.file = CN_NO_FILE;
    return save->files && save->sources && save->totals && save->list && save->places && save->blocks && save->stats ? CAIRN_OK
                                                                                                                     : no_memory(err);
}

int cn_save_prepare(struct cn_save *save, cairn_error *err)
{
    cn_pool_init(&save->pool, cn_os_alloc(), UINT64_C(1) << 30);
    cn_buf_init(&save->state_json, cn_os_alloc(), CN_MAX_STATE_JSON_BYTES);
    int code = cn_statejson_write(save->state, &save->state_json, err);
    if (!code) code = cn_plan_make(save->state, &save->limits, &save->plan, err);
    if (!code) code = make_arrays(save, err);
    if (!code) code = enter_items(save, err);
    if (!code) cn_save_match_base(save);
    return code || !save->lazy ? code : cn_save_capture(save, err);
}

/* ------------------------------------------------------------------------------------------------------------ finishing */

static int add_file(struct cn_save *save, struct cn_manifest_file file, cairn_error *err)
{
    if (save->rows_count == save->rows_capacity) {
        uint64_t capacity = save->rows_capacity ? save->rows_capacity * 2 : 16;
        struct cn_manifest_file *files = cn_os_new_array(capacity, sizeof *files);
        if (!files) return no_memory(err);
        if (save->rows_count) memcpy(files, save->rows, save->rows_count * sizeof *files);
        cn_os_free(save->rows);
        save->rows = files;
        save->rows_capacity = capacity;
    }
    file.name = cn_pool_text(&save->pool, file.name);
    if (!file.name) return no_memory(err);
    save->rows[save->rows_count++] = file;
    return CAIRN_OK;
}

int cn_save_put(struct cn_save *save, const char *name, enum cn_file_kind kind, const void *data, size_t size, cairn_error *err)
{
    const char *last;
    cn_file dir = cn_staging_folder(save->staging, name, &last);
    int code = cn_smallfile_put(dir, last, data, size, 0644, err);
    if (code) return code;
    return add_file(
        save, (struct cn_manifest_file){ .name = name, .kind = kind, .size_bytes = size, .digest = cn_digest_blocks(data, size) }, err);
}

int cn_save_attach(struct cn_save *save, const char *name, const void *data, size_t size, cairn_error *err)
{
    struct cn_shown shown;
    cn_show_text(&shown, name);
    for (uint64_t i = 0; i < save->rows_count; i++)
        if (!strcmp(save->rows[i].name, name))
            return cn_error_set(err, CAIRN_E_USAGE, "attached file \"%s\": the checkpoint has a file of that name", shown.text);
    int code = cn_staging_make_dirs(save->staging, name, err);
    if (!code) code = cn_smallfile_put(save->staging->dir, name, data, size, 0644, err);
    if (code) return cn_error_prefix(err, code, "attached file \"%s\"", shown.text);
    return add_file(
        save,
        (struct cn_manifest_file){ .name = name, .kind = CN_FILE_ATTACHED, .size_bytes = size, .digest = cn_digest_blocks(data, size) },
        err);
}

static int put_index(void *user, const char *name, const struct cn_buf *content, cairn_error *err)
{
    return cn_save_put(user, name, CN_FILE_OWN, content->data, content->size, err);
}

/* Of a file that was linked: what the last checkpoint said. Else from the blocks. */
static struct cn_base_tensor total_of(const struct cn_save *save, uint64_t index)
{
    const struct cn_plan_tensor *tensor = &save->plan.tensors[index];
    const struct cn_save_file *file = &save->files[tensor->file];
    struct cn_stats sum = { 0 };
    if (file->fate == CN_FATE_LINKED) return file->base->tensors[index - save->plan.files[tensor->file].first_tensor];
    if (!cn_stats_known(tensor->leaf->dtype)) return (struct cn_base_tensor){ .blocks = tensor->blocks };
    for (uint64_t i = 0; i < tensor->blocks; i++) cn_stats_add(&sum, &save->stats[tensor->first_block + i]);
    return (struct cn_base_tensor){ tensor->blocks, sum.max_abs, cn_stats_norm(&sum), sum.nan_count, sum.inf_count };
}

/* A row of the table from its blocks; adds to the guards. */
static void fill_row(struct cn_save *save, uint64_t index, struct cn_table_row *row)
{
    const struct cn_plan_tensor *tensor = &save->plan.tensors[index];
    const struct cn_leaf *leaf = tensor->leaf;
    const struct cn_base_tensor total = total_of(save, index);
    *row = (struct cn_table_row){ .item = cn_state_item(save->state, leaf),
                                  .name = leaf->name,
                                  .dtype = leaf->dtype,
                                  .rank = leaf->rank,
                                  .shape = leaf->shape,
                                  .flags = leaf->flags,
                                  .file = tensor->file,
                                  .begin = tensor->begin,
                                  .size_bytes = leaf->size_bytes,
                                  .blocks = save->blocks + tensor->first_block,
                                  .blocks_count = tensor->blocks,
                                  .stats_known = cn_stats_known(leaf->dtype),
                                  .max_abs = total.max_abs,
                                  .norm = total.norm,
                                  .nan_count = total.nan_count,
                                  .inf_count = total.inf_count };
    row->digest = cn_digest_of(row->blocks, row->blocks_count * sizeof *row->blocks);
    save->totals[index] = total;
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
        struct cn_manifest_file entry = { .name = file->name,
                                          .kind = CN_FILE_TENSORS,
                                          .size_bytes = file->size_bytes,
                                          .digest = cn_digest_of(parts, (file->tensors + 1) * sizeof *parts),
                                          .header_bytes = file->header.size,
                                          .header_digest = header };
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
    cn_auto_buf struct cn_buf own = { 0 };
    struct cn_buf *buf = save->table ? save->table : &own;
    if (!buf->alloc) cn_buf_init(buf, cn_os_alloc(), CN_MAX_TENSORS_JSON_BYTES);
    cn_buf_cut(buf, 0);
    int code = cn_table_encode(&table, buf, err);
    return code ? code : cn_save_put(save, CN_NAME_TENSORS, CN_FILE_OWN, buf->data, buf->size, err);
}

int cn_save_finish(struct cn_save *save, cairn_error *err)
{
    const struct cn_plan *plan = &save->plan;
    cn_auto_free struct cn_table_row *rows = cn_os_new_array(plan->tensors_count ? plan->tensors_count : 1, sizeof *rows);
    if (!rows) return no_memory(err);
    for (uint64_t i = 0; i < plan->tensors_count; i++) fill_row(save, i, &rows[i]);
    int code = enter_data_files(save, rows, err);
    if (!code) code = cn_plan_indexes(plan, put_index, save, err);
    if (!code) code = put_table(save, rows, err);
    if (!code) code = cn_save_put(save, CN_NAME_STATE, CN_FILE_OWN, save->state_json.data, save->state_json.size, err);
    return code ? code : digest_trainable(save, rows, err);
}

uint64_t cn_save_written_bytes(const struct cn_save *save)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < save->plan.files_count; i++)
        if (save->files[i].fate != CN_FATE_LINKED) bytes += save->plan.files[i].size_bytes;
    return bytes;
}

uint64_t cn_save_awaited_bytes(const struct cn_save *save)
{
    uint64_t bytes = 0;
    for (uint64_t i = 0; i < save->plan.tensors_count; i++)
        if (!cn_leaf_is_deferred(save->plan.tensors[i].leaf)) bytes += save->plan.tensors[i].leaf->size_bytes;
    return bytes;
}

void cn_save_free(struct cn_save *save)
{
    for (uint32_t i = 0; i < save->plan.files_count && save->files; i++) cn_outfile_abandon(&save->files[i].out);
    cn_os_free(save->files);
    cn_os_free(save->sources);
    cn_os_free(save->captured_blocks);
    cn_os_free(save->totals);
    cn_os_free(save->list);
    cn_os_free(save->places);
    cn_os_free(save->blocks);
    cn_os_free(save->stats);
    cn_os_free(save->rows);
    cn_plan_free(&save->plan);
    if (save->state_json.alloc) cn_buf_done(&save->state_json);
    if (save->pool.alloc) cn_pool_done(&save->pool);
    *save = (struct cn_save){ 0 };
}
