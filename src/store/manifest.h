/* manifest.json: what a checkpoint is (docs/FORMAT.md, "manifest.json"). Written last, sealed, at most 1 MiB. Encoding is a pure
 * function of the struct; decoding checks everything it hands out: names, counts, numbers, digests, features. */
#ifndef CN_STORE_MANIFEST_H
#define CN_STORE_MANIFEST_H

#include <stdbool.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/digest.h"
#include "base/error.h"
#include "store/id.h"

enum cn_file_kind { CN_FILE_TENSORS, CN_FILE_OWN, CN_FILE_ATTACHED }; /* "tensors", "own", "attached" */

struct cn_manifest_file {
    const char *name; /* relative to the checkpoint folder */
    enum cn_file_kind kind;
    uint64_t size_bytes;
    struct cn_digest digest; /* TENSORS: over header digest and tensor digests; else the tensor rule over the file */
    /* TENSORS only: the bytes before the data section, and their digest (tensor rule does not apply: one XXH3) */
    uint64_t header_bytes;
    struct cn_digest header_digest;
};

struct cn_manifest_item {
    const char *name;
    uint64_t tensors, values, size_bytes; /* size_bytes: of its tensors */
};

struct cn_lineage {
    uint64_t term, step; /* the last step taken from that term */
};

struct cn_manifest {
    char id[CN_ID_BYTES], run_id[CN_ID_BYTES];
    char parent_id[CN_ID_BYTES]; /* "" for the first */
    uint64_t term, step;
    double epoch;
    int64_t time_ns;
    int healthy, exact;
    uint64_t nan_count, inf_count; /* in judged tensors */
    uint64_t generation;
    const struct cn_lineage *lineage; /* ancestors' terms, ascending */
    uint64_t lineage_count;
    const cairn_metric *metrics;
    uint64_t metrics_count;
    const char *const *tags;
    uint64_t tags_count;
    const struct cn_manifest_item *items;
    uint64_t items_count;
    const char *const *dropped;
    uint64_t dropped_count;
    const struct cn_manifest_file *files;
    uint64_t files_count;
};

int cn_manifest_encode(const struct cn_manifest *manifest, struct cn_buf *buf, cairn_error *err); /* sealed; LIMIT */
/* Everything lives in pool. CORRUPT (seal), FORMAT, LIMIT, PATH, VERSION (newer format, or a feature in "requires" unknown to us). */
int cn_manifest_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_manifest *ret_manifest, cairn_error *err);
const struct cn_manifest_file *cn_manifest_find(const struct cn_manifest *manifest, const char *file_name); /* NULL */
uint64_t cn_manifest_bytes(const struct cn_manifest *manifest);                                             /* sum of file sizes */
/* Is checkpoint (term, step) on the line that ends in head? */
bool cn_manifest_on_line(const struct cn_manifest *head, uint64_t term, uint64_t step);

#endif
