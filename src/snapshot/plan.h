/* The plan of a save: which tensor goes into which file at which byte, and how the files are cut into pieces. A pure function of the state's
 * description, so that every rank computes the same one; nothing in it depends on the tensors' bytes. Names of files are its own: whoever binds may
 * give an item another stem meanwhile.
 *
 * Tensors of an item are grouped (frozen apart from the rest), ordered by bit width and name, and cut into shards. A piece is a run of
 * whole digest blocks of one file, at most piece_bytes; small tensors are packed together. A page belongs to the piece that holds its
 * first byte; that piece also copies the rest of its last page from the next one, so that it is staged, digested and written by itself. */
#ifndef CN_SNAPSHOT_PLAN_H
#define CN_SNAPSHOT_PLAN_H

#include "base/buf.h"
#include "base/digest.h"
#include "base/limits.h"
#include "format/safetensors.h"
#include "snapshot/state.h"

struct cn_plan_tensor {
    const struct cn_leaf *leaf;
    bool apart; /* FROZEN: in files of its own, where its item may have several */
    uint32_t file;
    uint64_t begin;               /* in the file */
    uint64_t first_block, blocks; /* in the plan's block numbering */
};

struct cn_plan_file {
    char *name; /* relative to the checkpoint folder */
    uint64_t first_tensor, tensors;
    struct cn_buf header; /* prefix, JSON, padding */
    uint64_t size_bytes;
    uint32_t shards;  /* of its item, this one first; 0: it is not the first */
    char *index_name; /* of the first of several shards: their index; else NULL */
};

struct cn_plan_piece {
    uint32_t file;
    uint64_t begin, end;   /* whole digest blocks; bytes in the file */
    uint64_t first_tensor; /* the tensor that holds byte begin */
};

struct cn_plan {
    struct cn_plan_tensor *tensors; /* by file, then offset */
    uint64_t tensors_count;
    struct cn_plan_file *files;
    uint32_t files_count, files_capacity;
    struct cn_plan_piece *pieces;
    uint64_t pieces_count;
    uint64_t blocks_count;
    uint64_t total_bytes; /* of tensors */
    uint64_t data_bytes;  /* of data files, headers included */
    uint64_t piece_bytes;
};

struct cn_plan_limits {
    uint64_t shard_bytes, piece_bytes;
};

int cn_plan_make(const cairn_state *state, const struct cn_plan_limits *limits, struct cn_plan *ret_plan, cairn_error *err);
void cn_plan_free(struct cn_plan *plan); /* takes a zeroed one */

/* The pages a piece writes: [*ret_from, *ret_to), page-aligned, and the bytes it copies for that: [begin of the first page, *ret_end). */
void cn_plan_pages(const struct cn_plan *plan, const struct cn_plan_piece *piece, uint64_t *ret_from, uint64_t *ret_to, uint64_t *ret_end);
/* The index files of sharded items, one after the other: calls each with name and content. */
int cn_plan_indexes(const struct cn_plan *plan, int (*each)(void *user, const char *name, const struct cn_buf *content, cairn_error *err),
                    void *user, cairn_error *err);

#endif
