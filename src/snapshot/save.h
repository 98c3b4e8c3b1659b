/* A save job: the bytes of a bound state become files in a staging folder (docs/DURABILITY.md, "The rule of the whole path").
 *
 *     prepare: plan, values captured as state.json; lazily: small tensors copied, witnesses taken       (save.c, save_capture.c)
 *     run:     files that did not change linked; the others created and reserved; pieces staged into the arena while
 *              writers digest them, take statistics and write; files synced and closed                  (save_stage.c, save_link.c)
 *     finish:  indexes, tensors.json, state.json written and synced; the rows for the manifest are ready (save.c)
 *
 * Whoever runs it commits the staging folder afterwards, or abandons it: nothing here is visible to a reader. Figures are shared. */
#ifndef CN_SNAPSHOT_SAVE_H
#define CN_SNAPSHOT_SAVE_H

#include <stdatomic.h>

#include "base/stats.h"
#include "io/arena.h"
#include "io/outfile.h"
#include "snapshot/base.h"
#include "snapshot/plan.h"
#include "store/commit.h"

/* Readable from any task while the job runs. */
struct cn_save_figures {
    atomic_uint_fast64_t staged_bytes, written_bytes, linked_bytes;
};

/* Memory that is kept from job to job and grows as needed. */
struct cn_scratch {
    unsigned char *bytes;
    uint64_t capacity;
};

enum { CN_WITNESSES = 16, CN_WITNESS_BYTES = 64 }; /* per late tensor */
#define CN_EARLY_BYTES (UINT64_C(64) << 10)        /* lazily: smaller tensors are copied before the save returns */

/* Where a tensor's bytes come from in this job, and what tells that somebody wrote too early. */
struct cn_source {
    const unsigned char *copy; /* lazily, small tensors: the copy; else NULL */
    bool late;                 /* staged after the save returned: it must not change until then; watched, if it is not DEFERRED */
    uint64_t generation;       /* the caller's counter at the capture */
    uint64_t first_witness;    /* CN_WITNESSES of them, if it is watched */
};

enum cn_file_fate { CN_FATE_WRITE, CN_FATE_EXPECT_LINK, CN_FATE_LINKED };

struct cn_save_file {
    enum cn_file_fate fate;
    const struct cn_base_file *base; /* the last checkpoint's file with the same header; NULL */
    atomic_bool changed;             /* a block differs from the base's */
    bool early;                      /* holds bytes that are to be safe before the caller goes on */
    struct cn_outfile out;
};

struct cn_save {
    /* set by the caller before prepare */
    cairn_state *state;
    const struct cn_staging *staging; /* stands when run begins, or when open has returned */
    struct cn_plan_limits limits;
    cairn_io_mode io_mode;
    uint32_t threads;
    const atomic_bool *cancel;
    struct cn_save_figures *figures;
    const struct cn_base *base;
    bool lazy, check_writes;
    struct cn_scratch *early; /* for copies and witnesses; lazily only */
    struct cn_buf *table;     /* tensors.json, its memory kept from job to job; NULL: this job's alone */
    bool behind; /* the caller waits for the staging alone: it comes first, if the arena holds all, and writers let others go first */
    int (*open)(void *user, cairn_error *err); /* makes the staging folder, once, before the first file; these five may be NULL */
    void (*tick)(void *user);                  /* about ten times a second while run works */
    void (*captured)(void *user);              /* lazily: the caller may go on, but must not modify */
    const char *(*written)(void *user);        /* lazily: NULL, or what was written to since the capture */
    void (*staged)(void *user);                /* the caller may modify */
    void *user;
    /* the job's own */
    struct cn_plan plan;
    struct cn_arena *arena;            /* lent by the caller between prepare and run: it knows the size then */
    struct cn_source *sources;         /* per tensor of the plan */
    unsigned char *witnesses;          /* CN_WITNESS_BYTES each, in early */
    struct cn_digest *captured_blocks; /* check_writes: digests of late tensors' blocks at the capture */
    struct cn_save_file *files;        /* per file of the plan */
    uint64_t *list;                    /* pieces of the pump that runs */
    uint64_t list_count;
    uint64_t *places; /* of the listed pieces in the arena, if it holds all of them */
    bool opened;
    struct cn_digest *blocks; /* per block of the plan */
    struct cn_stats *stats;
    struct cn_base_tensor *totals; /* per tensor: set by finish */
    struct cn_buf state_json;
    struct cn_pool pool; /* of the manifest's rows */
    struct cn_manifest_file *rows;
    uint64_t rows_count, rows_capacity;
    struct cn_manifest_item *items;
    uint64_t items_count;
    uint64_t nan_count, inf_count;     /* in TRAINABLE and OPTIMIZER tensors */
    struct cn_digest trainable_digest; /* over the digests of TRAINABLE tensors */
    bool has_trainable;
};

int cn_save_prepare(struct cn_save *save, cairn_error *err); /* nothing on disk yet */
int cn_save_run(struct cn_save *save, cairn_error *err);     /* needs save->arena; EARLY_WRITE */
int cn_save_finish(struct cn_save *save, cairn_error *err);
/* An own JSON file or an attachment: written, synced, entered into the manifest's rows. */
int cn_save_put(struct cn_save *save, const char *name, enum cn_file_kind kind, const void *data, size_t size, cairn_error *err);
/* Bytes that were captured before; a name that is taken already is USAGE. */
int cn_save_attach(struct cn_save *save, const char *name, const void *data, size_t size, cairn_error *err);
/* After the commit: what the next save may link to. On failure base is empty. */
int cn_save_make_base(const struct cn_save *save, struct cn_base *base, cairn_error *err);
bool cn_save_has_early(const struct cn_save *save);         /* lazily: something must be staged before the caller goes on */
uint64_t cn_save_awaited_bytes(const struct cn_save *save); /* of tensors that the caller waits for: all that are not DEFERRED */
uint64_t cn_save_written_bytes(const struct cn_save *save); /* of data files that were not linked */
void cn_save_free(struct cn_save *save);                    /* closes what is open; takes a zeroed one */

/* For the parts of the job. */
int cn_save_open(struct cn_save *save, cairn_error *err); /* the staging folder stands after it */
int cn_save_capture(struct cn_save *save, cairn_error *err);
bool cn_save_is_early(const struct cn_save *save, const struct cn_plan_piece *piece); /* holds bytes of a large VOLATILE tensor */
int cn_save_fetch(const struct cn_save *save, uint64_t tensor, uint64_t offset, size_t size, void *destination, cairn_error *err);
/* The piece was just staged: do its witnesses still agree? slot holds the file's bytes from base on. EARLY_WRITE. */
int cn_save_check_witnesses(const struct cn_save *save, uint64_t tensor, uint64_t from, uint64_t to, const unsigned char *bytes,
                            cairn_error *err);
int cn_save_check_all(const struct cn_save *save, cairn_error *err); /* everything is staged: counters, and digests again if asked */
/* Settles the fate of files expected to be unchanged: of the early ones, or of all that are left. */
int cn_save_link_unchanged(struct cn_save *save, bool early, cairn_error *err);
int cn_save_link_equal(struct cn_save *save, uint32_t index, cairn_error *err); /* a file that was written and is equal after all */
void cn_save_match_base(struct cn_save *save);

#endif
