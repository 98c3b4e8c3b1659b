/* The base: what the data files of the last checkpoint were - of the one this run saved last or resumed from. A file of the next save that
 * holds the same bytes becomes a hard link to the base's (docs/DURABILITY.md, "Shared files").
 *
 * A file may serve as a link's source only while it looks as it did when we last wrote or verified it: same device, inode, size and time of
 * last change. */
#ifndef CN_SNAPSHOT_BASE_H
#define CN_SNAPSHOT_BASE_H

#include "base/digest.h"
#include "os/os.h"
#include "snapshot/checkpoint.h"

#define CN_MIN_LINK_BYTES (UINT64_C(1) << 20) /* smaller files are written afresh */

/* What tensors.json says about a tensor beside its digests. */
struct cn_base_tensor {
    uint64_t blocks;
    double max_abs, norm;
    uint64_t nan_count, inf_count;
};

struct cn_base_file {
    char *name; /* relative to the checkpoint folder */
    struct cn_file_info info;
    struct cn_digest header_digest;
    struct cn_base_tensor *tensors;
    struct cn_digest *blocks; /* of all tensors, in file order */
    uint64_t tensors_count, blocks_count;
    bool still; /* it did not change in the last save: the next one digests before it copies */
};

struct cn_base {
    cn_file dir; /* of the checkpoint; CN_NO_FILE: no base */
    struct cn_base_file *files;
    uint32_t files_count;
};

void cn_base_clear(struct cn_base *base); /* takes a fresh one: dir CN_NO_FILE, the rest zeros */
/* Room for files_count files, dir not yet set. */
int cn_base_begin(struct cn_base *base, uint32_t files_count, cairn_error *err);
/* From a checkpoint whose wanted rows (one bool per table row) were just read and found right: files all of whose rows are. */
int cn_base_from_checkpoint(struct cn_base *base, const cairn_checkpoint *checkpoint, const bool *wanted, cairn_error *err);
/* The file with this header, or NULL. */
const struct cn_base_file *cn_base_find(const struct cn_base *base, const struct cn_digest *header_digest, uint64_t size_bytes);
/* Links the base's file as name into dir if it still looks as it did: 0; else nothing is left there: -errno, -ESTALE for one that was changed. */
int cn_base_link(const struct cn_base *base, const struct cn_base_file *file, cn_file dir, const char *name);

#endif
