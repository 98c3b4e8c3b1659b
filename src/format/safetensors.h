/* safetensors: the file format of the data files.
 *
 *     u64 little endian N | N bytes of JSON | data
 *     {"__metadata__": {string: string}, "<name>": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ...}
 *
 * Offsets count from the first byte after the JSON; tensors lie without gap or overlap and fill the data to its last byte.
 * Reading is strict: what the reference reader refuses we refuse, and besides it duplicate keys anywhere and unknown fields in an entry.
 * Tolerated: JSON white space around the object, any order of entries, an unaligned data section. */
#ifndef CN_FORMAT_SAFETENSORS_H
#define CN_FORMAT_SAFETENSORS_H

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"

struct cn_st_tensor {
    const char *name; /* NUL-terminated besides; may hold NUL */
    size_t name_size;
    cairn_dtype dtype;
    uint32_t rank;
    const uint64_t *shape;
    uint64_t begin, end; /* from the start of the data section */
};

struct cn_st_pair {
    const char *key, *value;
};

struct cn_st_header {
    struct cn_st_tensor *tensors; /* by (begin, end), then in file order */
    uint64_t count;
    struct cn_st_pair *metadata;
    uint64_t metadata_count;
    uint64_t data_offset; /* 8 + N */
};

enum { CN_ST_PREFIX_BYTES = 8 };
/* The one pair of __metadata__ that our writer writes: some loaders refuse a file without. */
#define CN_ST_OUR_METADATA ((const struct cn_st_pair[1]){ { "format", "pt" } })

/* The first 8 bytes: N, checked against the limit and the file's size. TRUNCATED, LIMIT, and FORMAT, which names
 * the format, for a zip archive, a pickle and GGUF. prefix_size: bytes there are (< 8: TRUNCATED). */
int cn_st_parse_prefix(const void *prefix, size_t prefix_size, uint64_t file_bytes, uint64_t *ret_json_bytes, cairn_error *err);
/* The JSON. Everything lives in pool. seed keys the duplicate table. Errors carry the byte position in the file. */
int cn_st_parse_json(const void *json, uint64_t json_bytes, uint64_t file_bytes, uint64_t seed, struct cn_pool *pool,
                     struct cn_st_header *ret_header, cairn_error *err);

/* The order of tensors in a file we write: bit width descending, then name bytes. For qsort. */
int cn_st_compare(const struct cn_st_tensor *a, const struct cn_st_tensor *b);
/* Appends prefix, JSON and padding so that data starts on a multiple of CN_PAGE_BYTES. tensors are in file order with begin and end
 * set. metadata pairs as given. LIMIT: over CN_MAX_OUR_HEADER_BYTES. */
int cn_st_write_header(struct cn_buf *buf, const struct cn_st_tensor *tensors, uint64_t count, const struct cn_st_pair *metadata,
                       uint64_t metadata_count, cairn_error *err);
/* Whether bytes are the header that cn_st_write_header makes of the same pairs and tensors: told tensor by tensor, and without memory for the whole.
 * end must be called; want of memory counts as a difference. */
struct cn_st_match {
    const char *bytes;
    uint64_t size, matched;
    struct cn_buf piece;
    bool first, same;
};
void cn_st_match_begin(struct cn_st_match *match, const struct cn_alloc *alloc, const void *bytes, uint64_t size,
                       const struct cn_st_pair *metadata, uint64_t metadata_count);
void cn_st_match_tensor(struct cn_st_match *match, const struct cn_st_tensor *tensor);
bool cn_st_match_end(struct cn_st_match *match);
/* An upper bound of the bytes one tensor takes in a header: for cutting shards. */
uint64_t cn_st_entry_bytes(const struct cn_st_tensor *tensor);

#endif
