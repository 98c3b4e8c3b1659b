/* Every maximum in one place. A limit that users meet is also in docs/FORMAT.md. */
#ifndef CN_BASE_LIMITS_H
#define CN_BASE_LIMITS_H

#include <stdint.h>

#define CN_BLOCK_BYTES (UINT64_C(4) << 20)         /* the digest grid; part of the format */
#define CN_PAGE_BYTES UINT64_C(4096)               /* alignment of data in files and of direct I/O; part of the format */
#define CN_MAX_FILE_BYTES (UINT64_C(1) << 48)      /* of one data file */
#define CN_MAX_ST_HEADER_BYTES UINT64_C(100000000) /* that we read (the reference's limit) */
#define CN_MAX_ST_METADATA 65536                   /* pairs of __metadata__ that we read */
#define CN_MAX_OUR_HEADER_BYTES UINT64_C(25000000) /* that we write (what the Hub's parser reads) */
#define CN_MAX_MANIFEST_BYTES (UINT64_C(1) << 20)
#define CN_MANIFEST_MEMORY_BYTES (64 * CN_MAX_MANIFEST_BYTES) /* what a manifest and its marks may take when they are read */
#define CN_MAX_MARKS_BYTES (UINT64_C(1) << 20)
#define CN_MAX_TENSORS_JSON_BYTES (UINT64_C(1) << 30)
#define CN_MAX_STATE_JSON_BYTES (UINT64_C(256) << 20)
#define CN_MAX_PROVENANCE_BYTES (UINT64_C(4) << 20)
#define CN_MAX_RUN_JSON_BYTES (UINT64_C(64) << 10)
#define CN_MAX_INDEX_BYTES (UINT64_C(100) << 20)          /* the Hub's index.json */
#define CN_MAX_CATALOG_BYTES (UINT64_C(4) << 30)          /* memory of a run's listing */
#define CN_MAX_METRICS_FILE_BYTES (UINT64_C(4) << 30)     /* metrics.jsonl */
#define CN_MAX_PENDING_METRICS_BYTES (UINT64_C(64) << 20) /* rows that wait for their term's first checkpoint */
#define CN_MAX_ATTACHED_BYTES (UINT64_C(1) << 30)         /* one attached file */
#define CN_MAX_JSON_DEPTH 64
#define CN_MAX_VALUE_LEVELS 62 /* of a value in state.json, the parts of its name counted in: two are the file's */
#define CN_MAX_NAME_BYTES 1023 /* of a tensor or a value, that we write */
#define CN_MAX_NAME_PARTS 32   /* of such a name, outside item model: half of the levels, so that some are left for a value */
#define CN_MAX_PART_BYTES 255  /* of one part of a path */
#define CN_MAX_FOLDER_DEPTH 32 /* folders within folders, in a checkpoint */
#define CN_MAX_ITEM_BYTES 64
#define CN_MAX_STEP (UINT64_MAX >> 1) /* signed integers elsewhere hold it */
#define CN_MAX_METRICS 1000
#define CN_MAX_METRIC_NAME_BYTES 255
#define CN_MAX_TAGS 100
#define CN_MAX_TAG_BYTES 100
#define CN_MAX_FILES 100000 /* in one checkpoint */
#define CN_MAX_ITEMS 1000
#define CN_MAX_TENSORS 10000000
#define CN_MAX_LINEAGE 10000
#define CN_MAX_IO_THREADS 16
#define CN_MAX_PATH_BYTES 4096
#define CN_MIN_ARENA_PIECES 3

#endif
