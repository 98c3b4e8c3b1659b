/* A checkpoint's data cut for reading: runs of whole digest blocks of one file, so that several tasks read large ranges and each block is
 * digested once. Used by verify and restore. */
#ifndef CN_SNAPSHOT_PIECES_H
#define CN_SNAPSHOT_PIECES_H

#include "snapshot/checkpoint.h"

struct cn_piece {
    uint64_t row;        /* the first tensor */
    uint64_t block;      /* its first block */
    uint64_t begin, end; /* bytes in the file */
};

struct cn_pieces {
    struct cn_piece *list;
    uint64_t count;
    uint64_t total_bytes;
};

/* wanted (one per row) may be NULL: all. Runs break at rows not wanted. */
int cn_pieces_cut(const struct cn_table *table, const bool *wanted, struct cn_pieces *ret_pieces, cairn_error *err);
void cn_pieces_free(struct cn_pieces *pieces);
/* Calls each for every block of the piece: its row, number, bytes (inside the piece's data). Stops at a non-zero return. */
typedef int (*cn_block_fn)(void *user, const struct cn_table_row *row, uint64_t block, const unsigned char *data, size_t size,
                           cairn_error *err);
int cn_pieces_walk(const struct cn_table *table, const struct cn_piece *piece, const unsigned char *data, cn_block_fn each, void *user,
                   cairn_error *err);

#endif
