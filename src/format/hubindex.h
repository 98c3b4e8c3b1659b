/* The Hub's index of a sharded model: <stem>.safetensors.index.json.
 *     {"metadata": {"total_size": <bytes>}, "weight_map": {"<tensor>": "<file>", ...}}
 * File names are names of the same folder, never a path: anything else is PATH. */
#ifndef CN_FORMAT_HUBINDEX_H
#define CN_FORMAT_HUBINDEX_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"

struct cn_hub_row {
    const char *tensor;
    size_t tensor_size;
    uint32_t file; /* index into files */
};

struct cn_hub_index {
    struct cn_hub_row *rows; /* in file order */
    uint64_t count;
    const char **files; /* distinct, in order of first mention */
    uint32_t files_count;
    uint64_t total_size; /* 0 when not given */
};

int cn_hub_parse(const void *json, size_t size, uint64_t seed, struct cn_pool *pool, struct cn_hub_index *ret_index, cairn_error *err);
/* 2-space indent, as the Hub's tools write it; rows in the given order. */
int cn_hub_write(struct cn_buf *buf, const struct cn_hub_index *index, cairn_error *err);
/* A plain file name fit for a shard: one part, no '/', '\\', ':', NUL or control character, not "." or "..", no leading '-' or '.',
 * at most 255 bytes, ends in ".safetensors". */
int cn_hub_check_file_name(const char *name, size_t size, cairn_error *err);

#endif
