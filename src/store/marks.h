/* Marks: what is put on a checkpoint after its commit - tags, a pin, late metrics (docs/FORMAT.md, "Marks"). The whole set is a file marks.<g>.json
 * in the checkpoint's folder; the highest number counts, and replaces the manifest's tags. Any process may add one; nothing is lost when several
 * do so at once (docs/DURABILITY.md, M1-M5). */
#ifndef CN_STORE_MARKS_H
#define CN_STORE_MARKS_H

#include "os/os.h"
#include "store/held.h"
#include "store/manifest.h"

struct cn_marks {
    uint64_t generation; /* 0: there is no file; the manifest's tags count */
    const char *const *tags;
    uint64_t tags_count;
    const cairn_metric *metrics; /* those that came later */
    uint64_t metrics_count;
    bool pinned;
};

struct cn_marks_change {
    const char *const *add_tags, *const *remove_tags;
    size_t add_tags_count, remove_tags_count;
    const cairn_metric *metrics; /* set; one that stands in the manifest is overruled */
    size_t metrics_count;
    int pin;         /* 1: pin, -1: unpin, 0: as it is */
    bool must_match; /* MISMATCH, and nothing is changed, where a tag to be removed is not there */
};

/* The marks that count. Everything lives in pool. CORRUPT and the like if the file is damaged: ret_marks is then its generation, with the manifest's tags. */
int cn_marks_load(cn_file checkpoint_dir, const struct cn_manifest *manifest, struct cn_pool *pool, struct cn_marks *ret_marks,
                  cairn_error *err);
/* Puts them into the manifest as it is shown: its tags and metrics. A damaged file counts as a pin, for nobody knows what it said. */
int cn_marks_merge(cn_file checkpoint_dir, struct cn_pool *pool, struct cn_manifest *manifest, bool *ret_pinned, cairn_error *err);
/* Changes them, durably. checkpoint_dir is held (cn_held_open). */
int cn_marks_change(cn_file checkpoint_dir, const struct cn_manifest *manifest, const struct cn_marks_change *change, cairn_error *err);

/* Exposed for tests and fuzzing. */
int cn_marks_encode(const struct cn_marks *marks, struct cn_buf *buf, cairn_error *err);
int cn_marks_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_marks *ret_marks, cairn_error *err);

#endif
