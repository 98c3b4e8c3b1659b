/* An open run: who writes (term, lock), where its line stands, and the jobs on it. The order of a save is
 * snapshot -> store -> what is kept; of a restore: catalog -> quick check -> term -> snapshot. One task per run, and one for its job, which alone
 * touches what a job changes until it has ended; status and cancel any task. */
#ifndef CN_MANAGER_RUN_H
#define CN_MANAGER_RUN_H

#include <stdatomic.h>

#include "io/arena.h"
#include "manager/job.h"
#include "manager/schedule.h"
#include "snapshot/defaults.h"
#include "snapshot/restore.h"
#include "snapshot/save.h"
#include "store/catalog.h"
#include "store/held.h"
#include "store/metricslog.h"
#include "store/rundir.h"

/* What the next checkpoint continues. */
struct cn_line {
    struct cn_lineage *lineage; /* ancestors' terms, without the run's own */
    uint64_t lineage_count;
    char parent_id[CN_ID_BYTES]; /* "" at the start */
    uint64_t last_step;
    bool started; /* there is a parent */
};

struct cn_best {
    bool known;
    double value;
    char name[CN_FOLDER_NAME_BYTES], id[CN_ID_BYTES];
};

/* The arena being made behind the caller's back. */
struct cn_reserve {
    struct cn_task *task; /* NULL: none */
    uint64_t slot_bytes;
    uint32_t slots;
    struct cn_arena *arena; /* what came of it; NULL: no memory */
};

struct cairn_run {
    struct cn_rundir dir;
    struct cn_os_lock *run_lock; /* NULL: taken over, or locks are refused here */
    char uuid[CN_ID_BYTES];
    uint64_t term, process; /* term: changed under lock */
    bool term_used;         /* a checkpoint was committed under it */
    bool has_checkpoints;   /* at open */
    bool names_stale;       /* the next commit has folders to rename: it leaves others behind, or their names are wrong already */
    bool restored;
    bool torn;                 /* a restore failed half-way: nothing is saved until one succeeds */
    cairn_run_options options; /* best_metric copied */
    char *best_metric;
    struct cn_origin *origin;
    struct cn_line line;
    struct cn_best best;
    struct cn_schedule schedule;
    struct cn_held resumed; /* what was resumed from stays until the next save is durable */
    bool trainable_known;   /* of the last save: */
    struct cn_digest trainable_digest;
    uint64_t trainable_step;
    struct cn_arena *arena;
    struct cn_reserve reserve;
    struct cn_base base;     /* what the next save may link to */
    struct cn_scratch early; /* for a lazy save's copies and witnesses */
    struct cn_buf table;     /* for a save's tensors.json */
    struct cn_metricslog metrics;
    bool stall_told;
    atomic_bool cancel;
    struct cn_job *job; /* the save that runs, or has ended and was not told of; NULL */
    bool replaced;      /* the last save replaced the one before it */
    cairn_save_report last_report;
    /* under lock but for the atomics */
    struct cn_mutex *lock;
    struct cn_cond *changed; /* a job's phase was raised */
    cairn_status status;
    uint64_t started_ns;
    struct cn_save_figures figures;
};

int cn_run_open(const char *path, const cairn_run_options *options, cairn_run **ret_run, cairn_error *err);
int cn_run_close(cairn_run *run, cairn_error *err); /* the last job's failure */
int cn_run_reserve(cairn_run *run, const cairn_state *state, cairn_error *err);
int cn_run_is_due(cairn_run *run, uint64_t step, int *ret_due, cairn_error *err);

int cn_run_save(cairn_run *run, cairn_state *state, const cairn_save_options *options, cairn_save_report *ret_report, cairn_error *err);
int cn_run_restore(cairn_run *run, cairn_state *state, const cairn_restore_options *options, cairn_restore_report *ret_report,
                   cairn_error *err);

/* For the jobs. */
int cn_run_check_process(const cairn_run *run, cairn_error *err); /* FORKED */
void cn_run_message(cairn_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cn_run_tell(void *run, const char *message); /* as a callback */
void cn_run_begin_job(cairn_run *run, cairn_phase phase, uint64_t step);
void cn_run_clear_figures(cairn_run *run); /* of bytes: a restore that tries another checkpoint counts anew */
void cn_run_set_phase(cairn_run *run, cairn_phase phase, uint64_t total_bytes);
void cn_run_end_job(cairn_run *run, int code, bool abandoned); /* DURABLE, FAILED or ABANDONED, and tells the progress callback */
void cn_run_tick(void *user);
int cn_run_take_term(cairn_run *run, cairn_error *err);
/* An arena with slots for pieces of piece_bytes, enough for total_bytes within the limits; kept from job to job. */
int cn_run_need_arena(cairn_run *run, uint64_t piece_bytes, uint64_t total_bytes, cairn_error *err);
int cn_run_need_arena_for(cairn_run *run, const cairn_state *state, cairn_error *err); /* all of it */
uint32_t cn_run_threads(const cairn_run *run, enum cn_work work);
uint64_t cn_run_piece_bytes(const cairn_run *run);
/* Looks the best one up among healthy checkpoints on the line that ends in head. */
void cn_run_find_best(cairn_run *run, const struct cn_catalog *catalog, const struct cn_manifest *head);
bool cn_run_is_better(const cairn_run *run, const struct cn_manifest *manifest, double *ret_value);

#endif
