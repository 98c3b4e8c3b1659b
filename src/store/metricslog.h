/* metrics.jsonl: every metric a run reported, a row per line (docs/FORMAT.md, "metrics.jsonl"). Only the run's writer appends. A term begins with a row
 * that voids earlier rows beyond the step it resumed from; until the first checkpoint of a term is committed its rows wait in memory, for a crash
 * before that resumes the old head. Shared between the caller's task and a save job. */
#ifndef CN_STORE_METRICSLOG_H
#define CN_STORE_METRICSLOG_H

#include "store/rundir.h"

struct cn_metricslog {
    struct cn_mutex *mutex;
    cn_file file;          /* CN_NO_FILE: not opened yet */
    struct cn_buf pending; /* rows of a term without a checkpoint */
    uint64_t term, resumed;
    bool begun; /* the term's first row is in the file */
};

int cn_metricslog_init(struct cn_metricslog *log, cairn_error *err);
void cn_metricslog_done(struct cn_metricslog *log); /* takes a zeroed one */
/* From now on rows belong to this term, which went on from step resumed. What an older term still held back is forgotten. */
void cn_metricslog_begin(struct cn_metricslog *log, uint64_t term, uint64_t resumed);
int cn_metricslog_add(struct cn_metricslog *log, const struct cn_rundir *run, uint64_t step, const cairn_metric *metrics, uint64_t count,
                      cairn_error *err);
/* A checkpoint of the term is durable: its rows may be written, and are. */
int cn_metricslog_commit(struct cn_metricslog *log, const struct cn_rundir *run, cairn_error *err);

struct cn_metrics_row {
    uint64_t step, term;
    const cairn_metric *metrics;
    uint64_t count;
};
/* The rows that count, in order; everything lives in pool. *ret_ignored: lines that are no rows (a torn tail, damage) - they are left out. */
int cn_metricslog_read(const struct cn_rundir *run, struct cn_pool *pool, struct cn_metrics_row **ret_rows, uint64_t *ret_count,
                       uint64_t *ret_ignored, cairn_error *err);
/* The same from bytes: for tests and fuzzing. */
int cn_metricslog_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_metrics_row **ret_rows, uint64_t *ret_count,
                         uint64_t *ret_ignored, cairn_error *err);

#endif
