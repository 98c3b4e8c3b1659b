/* The plan of a save (see plan.h). It must stay a pure function of names, dtypes, shapes, flags and limits.
 *
 * Invariants
 *  1. Every tensor lies in exactly one file; tensors fill their file's data section without gap.
 *  2. Every digest block lies in exactly one piece, and pieces cover every byte of every data section.
 *  3. A piece reaches over its end by less than a page, so a slot of piece_bytes + 2 pages holds what it copies. */
#include "snapshot/plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "format/hubindex.h"
#include "os/os.h"
#include "snapshot/table.h"
#include "store/layout.h"

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to plan a save");
}

static int compare_tensors(const void *left, const void *right)
{
    const struct cn_plan_tensor *planned = left, *other = right;
    const struct cn_leaf *a = planned->leaf, *b = other->leaf;
    if (a->item != b->item) return a->item < b->item ? -1 : 1;
    if (planned->apart != other->apart) return planned->apart ? -1 : 1;
    struct cn_st_tensor x = { .name = a->name, .name_size = a->name_size, .dtype = a->dtype };
    struct cn_st_tensor y = { .name = b->name, .name_size = b->name_size, .dtype = b->dtype };
    return cn_st_compare(&x, &y);
}

static struct cn_st_tensor describe(const struct cn_leaf *leaf, uint64_t begin)
{
    return (struct cn_st_tensor){ .name = leaf->name,
                                  .name_size = leaf->name_size,
                                  .dtype = leaf->dtype,
                                  .rank = leaf->rank,
                                  .shape = leaf->shape,
                                  .begin = begin,
                                  .end = begin + leaf->size_bytes };
}

/* Who asks for a file by a name of its own - an adapter's - looks for no others beside it. */
static bool is_one_file(const cairn_state *state, const struct cn_leaf *leaf)
{
    return state->items[leaf->item].file_stem;
}

static int collect(const cairn_state *state, struct cn_plan *plan, cairn_error *err)
{
    plan->tensors = cn_os_new_array(state->count ? state->count : 1, sizeof *plan->tensors);
    if (!plan->tensors) return no_memory(err);
    for (uint64_t i = 0; i < state->count; i++) {
        const struct cn_leaf *leaf = state->leaves[i];
        if (leaf->kind != CN_LEAF_TENSOR) continue;
        bool apart = leaf->flags & CAIRN_FROZEN && !is_one_file(state, leaf);
        plan->tensors[plan->tensors_count++] = (struct cn_plan_tensor){ .leaf = leaf, .apart = apart };
        if (!cn_add(plan->total_bytes, leaf->size_bytes, &plan->total_bytes) || plan->total_bytes > CN_MAX_FILE_BYTES)
            return cn_error_set(err, CAIRN_E_LIMIT, "the state's tensors together exceed %llu bytes",
                                (unsigned long long)CN_MAX_FILE_BYTES);
    }
    qsort(plan->tensors, plan->tensors_count, sizeof *plan->tensors, compare_tensors);
    return CAIRN_OK;
}

/* ----------------------------------------------------------------------------------------------------------- into files */

static int open_file(struct cn_plan *plan, uint64_t first_tensor, cairn_error *err)
{
    if (plan->files_count == CN_MAX_FILES) return cn_error_set(err, CAIRN_E_LIMIT, "the state needs more than %d files", CN_MAX_FILES);
    if (plan->files_count == plan->files_capacity) {
        uint32_t capacity = plan->files_capacity ? plan->files_capacity * 2 : 8;
        struct cn_plan_file *files = cn_os_new_array(capacity, sizeof *files);
        if (!files) return no_memory(err);
        if (plan->files_count) memcpy(files, plan->files, plan->files_count * sizeof *files);
        cn_os_free(plan->files);
        plan->files = files;
        plan->files_capacity = capacity;
    }
    struct cn_plan_file *file = &plan->files[plan->files_count++];
    *file = (struct cn_plan_file){ .first_tensor = first_tensor };
    cn_buf_init(&file->header, cn_os_alloc(), CN_MAX_OUR_HEADER_BYTES + CN_PAGE_BYTES);
    return CAIRN_OK;
}

/* Greedy, in order: a shard ends where the next tensor would make it too large, where the group ends, or where its header would. */
static int cut_files(struct cn_plan *plan, const cairn_state *state, const struct cn_plan_limits *limits, cairn_error *err)
{
    uint64_t bytes = 0, header = 0;
    for (uint64_t i = 0; i < plan->tensors_count; i++) {
        const struct cn_plan_tensor *before = i ? &plan->tensors[i - 1] : NULL;
        const struct cn_leaf *leaf = plan->tensors[i].leaf;
        struct cn_st_tensor entry = describe(leaf, 0);
        uint64_t entry_bytes = cn_st_entry_bytes(&entry);
        bool same_group = before && before->leaf->item == leaf->item && before->apart == plan->tensors[i].apart;
        bool fits = (bytes + leaf->size_bytes <= limits->shard_bytes || is_one_file(state, leaf)) &&
                    header + entry_bytes <= CN_MAX_OUR_HEADER_BYTES - 2 * CN_PAGE_BYTES;
        if (!same_group || !fits) {
            int code = open_file(plan, i, err);
            if (code) return code;
            bytes = header = 0;
        }
        bytes += leaf->size_bytes;
        header += entry_bytes;
        plan->tensors[i].file = plan->files_count - 1;
        plan->files[plan->files_count - 1].tensors++;
    }
    return CAIRN_OK;
}

static const struct cn_item *item_of(const struct cn_plan *plan, const cairn_state *state, uint32_t file)
{
    return &state->items[plan->tensors[plan->files[file].first_tensor].leaf->item];
}

static uint32_t shards_from(const struct cn_plan *plan, const cairn_state *state, uint32_t file)
{
    uint32_t end = file;
    while (end < plan->files_count && item_of(plan, state, end) == item_of(plan, state, file)) end++;
    return end - file;
}

static int name_index(struct cn_plan_file *first, const struct cn_item *item, cairn_error *err)
{
    char name[256];
    if (first->shards < 2) return CAIRN_OK;
    if (cn_layout_index_file(item->name, item->file_stem, name, sizeof name))
        return cn_error_set(err, CAIRN_E_LIMIT, "item '%s': its index has too long a name", item->name);
    first->index_name = cn_os_copy_text(name);
    return first->index_name ? CAIRN_OK : no_memory(err);
}

static int name_files(struct cn_plan *plan, const cairn_state *state, cairn_error *err)
{
    for (uint32_t first = 0, shards; first < plan->files_count; first += shards) {
        const struct cn_item *item = item_of(plan, state, first);
        plan->files[first].shards = shards = shards_from(plan, state, first);
        for (uint32_t i = 0; i < shards; i++) {
            char name[256];
            int code = cn_layout_data_file(item->name, item->file_stem, i + 1, shards, name, sizeof name);
            if (code) return cn_error_set(err, CAIRN_E_LIMIT, "item '%s': too many shards", item->name);
            if (!(plan->files[first + i].name = cn_os_copy_text(name))) return no_memory(err);
        }
        int code = name_index(&plan->files[first], item, err);
        if (code) return code;
    }
    return CAIRN_OK;
}

static int write_header(struct cn_plan *plan, struct cn_plan_file *file, cairn_error *err)
{
    cn_auto_free struct cn_st_tensor *entries = cn_os_new_array(file->tensors, sizeof *entries);
    if (!entries) return no_memory(err);
    uint64_t offset = 0;
    for (uint64_t i = 0; i < file->tensors; i++) {
        entries[i] = describe(plan->tensors[file->first_tensor + i].leaf, offset);
        offset = entries[i].end;
    }
    int code = cn_st_write_header(&file->header, entries, file->tensors, CN_ST_OUR_METADATA, 1, err);
    if (code) return cn_error_prefix(err, code, "%s", file->name);
    uint64_t begin = file->header.size;
    for (uint64_t i = 0; i < file->tensors; i++) plan->tensors[file->first_tensor + i].begin = begin + entries[i].begin;
    file->size_bytes = begin + offset;
    plan->data_bytes += file->size_bytes;
    return CAIRN_OK;
}

/* ---------------------------------------------------------------------------------------------------------- into pieces */

/* Calls each whole digest block of a file a part of the last piece, or the start of the next one. Run twice: to count, and to fill. */
static uint64_t cut_pieces(const struct cn_plan *plan, struct cn_plan_piece *pieces)
{
    uint64_t count = 0, begin = 0, end = 0;
    uint32_t open_file_index = UINT32_MAX;
    for (uint64_t i = 0; i < plan->tensors_count; i++) {
        const struct cn_plan_tensor *tensor = &plan->tensors[i];
        for (uint64_t block = 0; block < tensor->blocks; block++) {
            uint64_t from = tensor->begin + block * CN_BLOCK_BYTES;
            uint64_t to = cn_min_u64(from + CN_BLOCK_BYTES, tensor->begin + tensor->leaf->size_bytes);
            if (tensor->file != open_file_index || to - begin > plan->piece_bytes) {
                open_file_index = tensor->file;
                begin = from;
                if (pieces) pieces[count] = (struct cn_plan_piece){ .file = tensor->file, .begin = from, .first_tensor = i };
                count++;
            }
            end = to;
            if (pieces) pieces[count - 1].end = end;
        }
    }
    return count;
}

int cn_plan_make(const cairn_state *state, const struct cn_plan_limits *limits, struct cn_plan *ret_plan, cairn_error *err)
{
    struct cn_plan plan = { .piece_bytes = limits->piece_bytes };
    int code = collect(state, &plan, err);
    if (!code) code = cut_files(&plan, state, limits, err);
    if (!code) code = name_files(&plan, state, err);
    for (uint32_t i = 0; i < plan.files_count && !code; i++) code = write_header(&plan, &plan.files[i], err);
    for (uint64_t i = 0; i < plan.tensors_count && !code; i++) {
        plan.tensors[i].first_block = plan.blocks_count;
        plan.tensors[i].blocks = cn_table_blocks(plan.tensors[i].leaf->size_bytes);
        plan.blocks_count += plan.tensors[i].blocks;
    }
    if (!code) {
        plan.pieces_count = cut_pieces(&plan, NULL);
        plan.pieces = cn_os_new_array(plan.pieces_count ? plan.pieces_count : 1, sizeof *plan.pieces);
        if (plan.pieces)
            cut_pieces(&plan, plan.pieces);
        else
            code = no_memory(err);
    }
    if (code)
        cn_plan_free(&plan);
    else
        *ret_plan = plan;
    return code;
}

void cn_plan_free(struct cn_plan *plan)
{
    for (uint32_t i = 0; i < plan->files_count; i++) {
        cn_os_free(plan->files[i].name);
        cn_os_free(plan->files[i].index_name);
        cn_buf_done(&plan->files[i].header);
    }
    cn_os_free(plan->files);
    cn_os_free(plan->tensors);
    cn_os_free(plan->pieces);
    *plan = (struct cn_plan){ 0 };
}

void cn_plan_pages(const struct cn_plan *plan, const struct cn_plan_piece *piece, uint64_t *ret_from, uint64_t *ret_to, uint64_t *ret_end)
{
    *ret_from = cn_align_up(piece->begin, CN_PAGE_BYTES);
    *ret_to = cn_align_up(piece->end, CN_PAGE_BYTES);
    *ret_end = cn_min_u64(*ret_to, plan->files[piece->file].size_bytes);
}

/* -------------------------------------------------------------------------------------------------------------- indexes */

static int write_index(const struct cn_plan *plan, uint32_t first, uint32_t shards, struct cn_buf *content, cairn_error *err)
{
    uint64_t first_tensor = plan->files[first].first_tensor, count = 0, total = 0;
    for (uint32_t i = 0; i < shards; i++) count += plan->files[first + i].tensors;
    cn_auto_free struct cn_hub_row *rows = cn_os_new_array(count, sizeof *rows);
    cn_auto_free const char **files = cn_os_new_array(shards, sizeof *files);
    if (!rows || !files) return no_memory(err);
    for (uint32_t i = 0; i < shards; i++) {
        const char *slash = strrchr(plan->files[first + i].name, '/');
        files[i] = slash ? slash + 1 : plan->files[first + i].name;
    }
    for (uint64_t i = 0; i < count; i++) {
        const struct cn_plan_tensor *tensor = &plan->tensors[first_tensor + i];
        rows[i] = (struct cn_hub_row){ tensor->leaf->name, tensor->leaf->name_size, tensor->file - first };
        total += tensor->leaf->size_bytes;
    }
    struct cn_hub_index index = { .rows = rows, .count = count, .files = files, .files_count = shards, .total_size = total };
    return cn_hub_write(content, &index, err);
}

int cn_plan_indexes(const struct cn_plan *plan, int (*each)(void *user, const char *name, const struct cn_buf *content, cairn_error *err),
                    void *user, cairn_error *err)
{
    for (uint32_t first = 0; first < plan->files_count; first += plan->files[first].shards) {
        const struct cn_plan_file *file = &plan->files[first];
        if (!file->index_name) continue;
        cn_auto_buf struct cn_buf content;
        cn_buf_init(&content, cn_os_alloc(), CN_MAX_INDEX_BYTES);
        int code = write_index(plan, first, file->shards, &content, err);
        if (!code) code = each(user, file->index_name, &content, err);
        if (code) return code;
    }
    return CAIRN_OK;
}
