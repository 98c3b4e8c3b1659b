/* Restoring in place (see restore.h). A block is stored only after its digest was found right; plain values are set only after the last
 * block. A failure before the first store leaves the state as it was. Only memory that is FRESH may be read into directly. */
#include "snapshot/restore.h"

#include <string.h>

#include "base/dtype.h"
#include "base/limits.h"
#include "io/pump.h"
#include "snapshot/statejson.h"
#include "snapshot/unbound.h"
#include "snapshot/value.h"

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory to restore a state");
}

/* ------------------------------------------------------------------------------------------------------------- matching */

static bool is_selected(const struct cn_restore *restore, const char *item)
{
    const cairn_restore_options *options = restore->options;
    if (!options->items) return true;
    for (size_t i = 0; i < options->items_count; i++)
        if (options->items[i] && !strcmp(options->items[i], item)) return true;
    return false;
}

static int missing(struct cn_restore *restore, uint64_t at, cairn_error *err)
{
    const struct cn_leaf *leaf = restore->state->leaves[at];
    bool required = leaf->flags & (CAIRN_TRAINABLE | CAIRN_OPTIMIZER);
    struct cn_shown shown;
    restore->outcomes[at] = required ? CAIRN_MISSING : CAIRN_NEW;
    if (!required || restore->options->allow_missing) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_MISMATCH, "%s: '%s' is bound and not in the checkpoint; allow_missing leaves such tensors as they are",
                        restore->checkpoint->path, cn_show_text(&shown, leaf->key));
}

static int match_tensor(struct cn_restore *restore, uint64_t at, cairn_error *err)
{
    const struct cn_leaf *leaf = restore->state->leaves[at];
    const cairn_checkpoint *checkpoint = restore->checkpoint;
    const struct cn_table_row *row = cn_checkpoint_row(checkpoint, cn_state_item(restore->state, leaf), leaf->name);
    if (!row) return missing(restore, at, err);
    if (row->dtype != leaf->dtype || row->rank != leaf->rank || memcmp(row->shape, leaf->shape, row->rank * sizeof *row->shape)) {
        char bound[96], stored[96];
        struct cn_shown shown;
        return cn_error_set(err, CAIRN_E_MISMATCH, "%s: '%s' is bound as %s %s, the checkpoint has %s %s", checkpoint->path,
                            cn_show_text(&shown, leaf->key), cairn_dtype_name(leaf->dtype),
                            cn_shape_text(leaf->rank, leaf->shape, bound, sizeof bound), cairn_dtype_name(row->dtype),
                            cn_shape_text(row->rank, row->shape, stored, sizeof stored));
    }
    restore->leaves[row - checkpoint->table.rows] = leaf;
    restore->outcomes[at] = CAIRN_RESTORED;
    return CAIRN_OK;
}

static bool to_u64(const cairn_value *value, uint64_t *ret_number)
{
    if (value->kind == CAIRN_INT && value->as.integer >= 0) {
        *ret_number = (uint64_t)value->as.integer;
        return true;
    }
    if (value->kind != CAIRN_BIG_INT || !value->as.data.size || value->as.data.bytes[0] == '-') return false;
    uint64_t number = 0;
    for (const char *at = value->as.data.bytes; *at; at++)
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(*at - '0'), &number)) return false;
    *ret_number = number;
    return true;
}

/* Does the stored value fit what is bound? Tagged values fit trees only. */
static bool fits(const struct cn_leaf *leaf, const cairn_value *value)
{
    uint64_t number;
    if (leaf->kind == CN_LEAF_VALUE) return true;
    if (value->tag) return false;
    switch (leaf->kind) {
    case CN_LEAF_I64: return value->kind == CAIRN_INT;
    case CN_LEAF_U64: return to_u64(value, &number);
    case CN_LEAF_F64: return value->kind == CAIRN_FLOAT || value->kind == CAIRN_INT;
    case CN_LEAF_BOOL: return value->kind == CAIRN_BOOLEAN;
    default: return false;
    }
}

static const char *bound_kind_name(const struct cn_leaf *leaf)
{
    switch (leaf->kind) {
    case CN_LEAF_I64: return "an integer of 64 bits";
    case CN_LEAF_U64: return "an unsigned integer of 64 bits";
    case CN_LEAF_F64: return "a float";
    case CN_LEAF_BOOL: return "a boolean";
    default: return "a value";
    }
}

static const char *value_kind_name(const cairn_value *value)
{
    switch (value->kind) {
    case CAIRN_NULL: return "null";
    case CAIRN_BOOLEAN: return "a boolean";
    case CAIRN_INT: return value->as.integer < 0 ? "a negative integer" : "an integer";
    case CAIRN_BIG_INT: return "an integer of 2^63 or more in size";
    case CAIRN_FLOAT: return "a float";
    case CAIRN_STRING: return "a text";
    case CAIRN_BYTES: return "bytes";
    case CAIRN_LIST: return "a list";
    case CAIRN_TUPLE: return "a tuple";
    case CAIRN_MAP: return "a map";
    default: return "a tensor";
    }
}

static int match_value(struct cn_restore *restore, uint64_t at, cairn_error *err)
{
    const struct cn_leaf *leaf = restore->state->leaves[at];
    struct cn_shown shown;
    const char *item = cn_state_item(restore->state, leaf);
    const cairn_value *value = restore->checkpoint->values ? cn_statejson_find(restore->checkpoint->values, item, leaf->name) : NULL;
    if (leaf->kind == CN_LEAF_ALIAS) {
        restore->outcomes[at] = restore->outcomes[leaf->target];
        return CAIRN_OK;
    }
    if (!value) return missing(restore, at, err);
    if (!fits(leaf, value))
        return cn_error_set(err, CAIRN_E_MISMATCH, "%s: '%s' is bound as %s, the checkpoint has %s", restore->checkpoint->path,
                            cn_show_text(&shown, leaf->key), bound_kind_name(leaf), value_kind_name(value));
    restore->values[at] = cn_value_copy(value);
    restore->outcomes[at] = CAIRN_RESTORED;
    return restore->values[at] ? CAIRN_OK : no_memory(err);
}

static int match(struct cn_restore *restore, cairn_error *err)
{
    const cairn_state *state = restore->state;
    bool any = false;
    for (uint64_t i = 0; i < state->count; i++) {
        const struct cn_leaf *leaf = state->leaves[i];
        int code = CAIRN_OK;
        if (!is_selected(restore, cn_state_item(state, leaf)))
            restore->outcomes[i] = CAIRN_SKIPPED;
        else
            code = leaf->kind == CN_LEAF_TENSOR ? match_tensor(restore, i, err) : match_value(restore, i, err);
        if (code) return code;
        any |= restore->outcomes[i] == CAIRN_RESTORED;
    }
    if (any || !state->count) return CAIRN_OK;
    return cn_error_set(err, CAIRN_E_MISMATCH, "%s: not one bound leaf is in the checkpoint", restore->checkpoint->path);
}

int cn_restore_choose(const cairn_restore_options *options, const cairn_checkpoint *checkpoint, cairn_state **state, cairn_error *err)
{
    cairn_error error = CAIRN_ERROR_INIT;
    if (!options->state_for) return CAIRN_OK;
    *state = NULL;
    int code = options->state_for(options->user, checkpoint, state, &error);
    if (!code && *state) return CAIRN_OK;
    if (!code) code = CAIRN_E_CANCELLED;
    if (error.code != code) cn_error_set(&error, code, "%s: the caller gave no state to fill from it", checkpoint->path);
    if (err) *err = error;
    return code;
}

int cn_restore_prepare(struct cn_restore *restore, cairn_error *err)
{
    const struct cn_table *table = &restore->checkpoint->table;
    restore->leaves = cn_os_new_array(table->count, sizeof *restore->leaves);
    restore->outcomes = cn_os_new_array(restore->state->count, 1);
    restore->values = cn_os_new_array(restore->state->count, sizeof *restore->values);
    cn_auto_free bool *wanted = cn_os_new_array(table->count, sizeof *wanted);
    restore->unbound_room_bytes = cn_unbound_room_bytes(restore->state, restore->checkpoint->values);
    restore->unbound_room = cn_os_new(restore->unbound_room_bytes);
    if (!restore->leaves || !restore->outcomes || !restore->values || !restore->unbound_room || !wanted) return no_memory(err);
    int code = match(restore, err);
    if (code) return code;
    for (uint64_t i = 0; i < table->count; i++) wanted[i] = restore->leaves[i] != NULL;
    return cn_pieces_cut(table, wanted, &restore->pieces, err);
}

/* -------------------------------------------------------------------------------------------------------------- storing */

static int store_block(void *user, const struct cn_table_row *row, uint64_t block, const unsigned char *data, size_t size, cairn_error *err)
{
    struct cn_restore *restore = user;
    const cairn_checkpoint *checkpoint = restore->checkpoint;
    if (row->blocks) {
        struct cn_digest found = cn_digest_of(data, size);
        if (!cn_digest_equal(&found, &row->blocks[block])) return cn_checkpoint_damaged_block(checkpoint, row, block, err);
    }
    const struct cn_leaf *leaf = restore->leaves[row - checkpoint->table.rows];
    if (!(leaf->flags & CAIRN_FRESH)) atomic_store_explicit(&restore->touched, true, memory_order_relaxed);
    if (leaf->address && data == (unsigned char *)leaf->address + block * CN_BLOCK_BYTES) return CAIRN_OK; /* it was read there */
    int code = cn_leaf_store(leaf, block * CN_BLOCK_BYTES, size, data, err);
    if (code) atomic_store_explicit(&restore->refused, true, memory_order_relaxed);
    return code;
}

static void count(atomic_uint_fast64_t *figure, uint64_t bytes)
{
    if (figure) atomic_fetch_add(figure, bytes);
}

/* Where a piece may be read to without a copy: fresh memory of one tensor, in whole pages; else NULL. */
static unsigned char *fresh_place(const struct cn_restore *restore, const struct cn_piece *piece)
{
    const struct cn_table_row *row = &restore->checkpoint->table.rows[piece->row];
    const struct cn_leaf *leaf = restore->leaves[piece->row];
    if (!(leaf->flags & CAIRN_FRESH) || !leaf->address || piece->end > row->begin + row->size_bytes) return NULL;
    unsigned char *place = (unsigned char *)leaf->address + (piece->begin - row->begin);
    return (uintptr_t)place % CN_PAGE_BYTES || piece->begin % CN_PAGE_BYTES || piece->end % CN_PAGE_BYTES ? NULL : place;
}

static int restore_piece(void *user, uint64_t index, unsigned char *slot, cairn_error *err)
{
    struct cn_restore *restore = user;
    const cairn_checkpoint *checkpoint = restore->checkpoint;
    const struct cn_piece *piece = &restore->pieces.list[index];
    const struct cn_table_row *row = &checkpoint->table.rows[piece->row];
    size_t size = (size_t)(piece->end - piece->begin);
    unsigned char *place = fresh_place(restore, piece);
    const unsigned char *data;
    int code = cn_infile_read_slot(&checkpoint->files[row->file], piece->begin, size, place ? place : slot,
                                   place ? size : cn_arena_slot_bytes(restore->arena), &data, err);
    if (code) return code;
    count(restore->read_bytes, size);
    code = cn_pieces_walk(&checkpoint->table, piece, data, store_block, restore, err);
    if (!code) count(restore->stored_bytes, size);
    return code;
}

static void set_value(struct cn_leaf *leaf, cairn_value **value)
{
    uint64_t number = 0;
    switch (leaf->kind) {
    case CN_LEAF_I64: *(int64_t *)leaf->address = (*value)->as.integer; break;
    case CN_LEAF_U64:
        to_u64(*value, &number);
        *(uint64_t *)leaf->address = number;
        break;
    case CN_LEAF_F64: *(double *)leaf->address = cairn_value_get_float(*value); break;
    case CN_LEAF_BOOL: *(int *)leaf->address = (*value)->as.truth; break;
    case CN_LEAF_VALUE:
        cairn_value_free(leaf->value);
        leaf->value = *value;
        cn_value_give_to_state(leaf->value);
        *value = NULL;
        break;
    default: break;
    }
}

static void tick(void *user)
{
    const struct cn_restore *restore = user;
    if (restore->tick) restore->tick(restore->user);
}

int cn_restore_run(struct cn_restore *restore, cairn_error *err)
{
    struct cn_pump pump = { .pieces = restore->pieces.count,
                            .consume = restore_piece,
                            .user = restore,
                            .arena = restore->arena,
                            .threads = restore->threads,
                            .cancel = restore->cancel,
                            .tick = tick };
    int code = cn_pump_run(&pump, err);
    if (code) return cn_error_prefix(err, code, "%s", restore->checkpoint->path);
    for (uint64_t i = 0; i < restore->state->count; i++)
        if (restore->values[i]) set_value(restore->state->leaves[i], &restore->values[i]);
    return CAIRN_OK;
}

/* ------------------------------------------------------------------------------------------------------------ reporting */

static void report_leaf(cairn_restore_report *report, const char *item, const char *name, cairn_outcome outcome)
{
    report->counts[outcome]++;
    if (report->leaf) report->leaf(report->user, item, name, outcome);
}

static void report_unbound(void *user, const char *item, const char *name)
{
    report_leaf(user, item, name, CAIRN_UNEXPECTED);
}

void cn_restore_report(const struct cn_restore *restore, cairn_restore_report *report)
{
    const struct cn_table *table = &restore->checkpoint->table;
    for (uint64_t i = 0; i < restore->state->count; i++) {
        const struct cn_leaf *leaf = restore->state->leaves[i];
        report_leaf(report, cn_state_item(restore->state, leaf), leaf->name, (cairn_outcome)restore->outcomes[i]);
    }
    for (uint64_t i = 0; i < table->count; i++)
        if (!restore->leaves[i] && !cn_state_find(restore->state, table->rows[i].item, table->rows[i].name))
            report_leaf(report, table->rows[i].item, table->rows[i].name, CAIRN_UNEXPECTED);
    cn_unbound_tell(restore->state, restore->checkpoint->values, restore->unbound_room, restore->unbound_room_bytes, report_unbound,
                    report);
    report->bytes = restore->pieces.total_bytes;
}

void cn_restore_free(struct cn_restore *restore)
{
    if (restore->values)
        for (uint64_t i = 0; i < restore->state->count; i++) cairn_value_free(restore->values[i]);
    cn_os_free(restore->leaves);
    cn_os_free(restore->outcomes);
    cn_os_free(restore->values);
    cn_pieces_free(&restore->pieces);
    cn_os_free(restore->unbound_room);
    restore->leaves = NULL, restore->outcomes = NULL, restore->values = NULL, restore->unbound_room = NULL;
}
