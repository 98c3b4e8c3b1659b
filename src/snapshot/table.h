/* tensors.json: tensor by tensor where its bytes are, what they digest to, and what is in them (docs/FORMAT.md, "tensors.json").
 * The table of a checkpoint, written after the data and read at open. */
#ifndef CN_SNAPSHOT_TABLE_H
#define CN_SNAPSHOT_TABLE_H

#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/stats.h"

struct cn_table_row {
    const char *item, *name;
    cairn_dtype dtype;
    uint32_t rank;
    const uint64_t *shape;
    uint32_t flags; /* CAIRN_TRAINABLE ... */
    uint32_t file;  /* index into files */
    uint64_t begin; /* of the first byte, in the file */
    uint64_t size_bytes;
    struct cn_digest digest;        /* over blocks */
    const struct cn_digest *blocks; /* one per CN_BLOCK_BYTES, the last one shorter */
    uint64_t blocks_count;
    bool stats_known;
    double max_abs, norm;
    uint64_t nan_count, inf_count;
};

struct cn_table_file {
    const char *name; /* relative to the checkpoint folder */
    uint64_t size_bytes;
};

struct cn_table {
    const struct cn_table_row *rows; /* by file, then offset: the order of the data */
    uint64_t count;
    const struct cn_table_file *files;
    uint32_t files_count;
};

/* Sealed. */
int cn_table_encode(const struct cn_table *table, struct cn_buf *buf, cairn_error *err);
/* Everything lives in pool. index, empty before: from "item\0name" to a row's number; its keys live in pool. Checks the seal, names, dtypes, that shape and size agree, that ranges lie in their files in order and do not
 * overlap, block counts, duplicates of (item, name). */
int cn_table_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_hash *index, struct cn_table *ret_table,
                    cairn_error *err);

static inline uint64_t cn_table_blocks(uint64_t size_bytes)
{
    return (size_bytes + CN_BLOCK_BYTES - 1) / CN_BLOCK_BYTES;
}

#endif
