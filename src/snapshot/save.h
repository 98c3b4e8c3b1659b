/* A save job: the bytes of a bound state become files in a staging folder (docs/DURABILITY.md, "The rule of the whole path").
 *
 *     prepare: plan, values captured as state.json, files created and reserved, headers written
 *     run:     pieces staged into the arena while writers digest them, take statistics and write; files synced and closed
 *     finish:  indexes, tensors.json, state.json written and synced; the rows for the manifest are ready
 *
 * Whoever runs it commits the staging folder afterwards, or abandons it: nothing here is visible to a reader. Figures are shared. */
#ifndef CN_SNAPSHOT_SAVE_H
#define CN_SNAPSHOT_SAVE_H

#include <stdatomic.h>

#include "io/arena.h"
#include "io/outfile.h"
#include "snapshot/plan.h"
#include "base/stats.h"
#include "store/commit.h"

/* Readable from any task while the job runs. */
struct cn_save_figures {
    atomic_uint_fast64_t staged_bytes, written_bytes;
};

struct cn_save {
    /* set by the caller before prepare */
    const cairn_state *state;
    const struct cn_staging *staging;
    struct cn_plan_limits limits;
    cairn_io_mode io_mode;
    uint32_t threads;
    const atomic_bool *cancel;
    struct cn_save_figures *figures;
    void (*tick)(void *tick_user); /* about ten times a second while run works; may be NULL */
    void *tick_user;
    /* the job's own */
    struct cn_plan plan;
    struct cn_arena *arena; /* lent by the caller between prepare and run: it knows the size then */
    struct cn_outfile *outs;
    struct cn_digest *blocks;
    struct cn_stats *stats;
    struct cn_buf state_json;
    struct cn_pool pool; /* of the manifest's rows */
    struct cn_manifest_file *files;
    uint64_t files_count, files_capacity;
    struct cn_manifest_item *items;
    uint64_t items_count;
    uint64_t nan_count, inf_count;      /* in TRAINABLE and OPTIMIZER tensors */
    struct cn_digest trainable_digest;  /* over the digests of TRAINABLE tensors */
    bool has_trainable;
};

int cn_save_prepare(struct cn_save *save, cairn_error *err); /* plan and values only: nothing on disk yet */
int cn_save_run(struct cn_save *save, cairn_error *err);     /* needs save->arena */
int cn_save_finish(struct cn_save *save, cairn_error *err);
/* An own JSON file or an attachment: written, synced, entered into the manifest's rows. */
int cn_save_put(struct cn_save *save, const char *name, enum cn_file_kind kind, const void *data, size_t size, cairn_error *err);
int cn_save_attach(struct cn_save *save, const cairn_attachment *attachment, cairn_error *err);
void cn_save_free(struct cn_save *save); /* closes what is open; takes a zeroed one */

/* The slot size an arena must have for these limits. */
static inline uint64_t cn_save_slot_bytes(uint64_t piece_bytes)
{
    return piece_bytes + 2 * CN_PAGE_BYTES;
}

#endif
