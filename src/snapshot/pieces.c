/* Cutting a checkpoint's data for reading (see pieces.h). */
#include "snapshot/pieces.h"

#include "base/check.h"
#include "base/limits.h"

static uint64_t block_end(const struct cn_table_row *row, uint64_t from)
{
    return cn_min_u64(from + CN_BLOCK_BYTES, row->begin + row->size_bytes);
}

/* Run twice: to count, and to fill. */
static uint64_t cut(const struct cn_table *table, const bool *wanted, struct cn_piece *list)
{
    uint64_t count = 0, begin = 0, end = UINT64_MAX;
    uint32_t file = UINT32_MAX;
    for (uint64_t i = 0; i < table->count; i++) {
        const struct cn_table_row *row = &table->rows[i];
        if (wanted && !wanted[i]) continue;
        for (uint64_t block = 0, from = row->begin; from < row->begin + row->size_bytes; block++, from += CN_BLOCK_BYTES) {
            uint64_t to = block_end(row, from);
            if (row->file != file || from != end || to - begin > CN_BLOCK_BYTES) {
                file = row->file;
                begin = from;
                if (list) list[count] = (struct cn_piece){ .row = i, .block = block, .begin = from };
                count++;
            }
            end = to;
            if (list) list[count - 1].end = to;
        }
    }
    return count;
}

int cn_pieces_cut(const struct cn_table *table, const bool *wanted, struct cn_pieces *ret_pieces, cairn_error *err)
{
    struct cn_pieces pieces = { .count = cut(table, wanted, NULL) };
    pieces.list = cn_os_new_array(pieces.count, sizeof *pieces.list);
    if (!pieces.list) return cn_error_set(err, CAIRN_E_NOMEM, "no memory to plan the reading");
    cut(table, wanted, pieces.list);
    for (uint64_t i = 0; i < pieces.count; i++) pieces.total_bytes += pieces.list[i].end - pieces.list[i].begin;
    *ret_pieces = pieces;
    return CAIRN_OK;
}

void cn_pieces_free(struct cn_pieces *pieces)
{
    cn_os_free(pieces->list);
    *pieces = (struct cn_pieces){ 0 };
}

int cn_pieces_walk(const struct cn_table *table, const struct cn_piece *piece, const unsigned char *data, cn_block_fn each, void *user,
                   cairn_error *err)
{
    uint64_t at = piece->begin, block = piece->block;
    for (uint64_t i = piece->row; at < piece->end; i++, block = 0) {
        const struct cn_table_row *row = &table->rows[i];
        for (uint64_t from = row->begin + block * CN_BLOCK_BYTES; at < piece->end && from < row->begin + row->size_bytes;
             block++, from += CN_BLOCK_BYTES) {
            uint64_t to = block_end(row, from);
            int code = each(user, row, block, data + (from - piece->begin), (size_t)(to - from), err);
            if (code) return code;
            at = to;
        }
    }
    return CAIRN_OK;
}
