/* The rows of a run's metrics.jsonl: added to by its writer, read by anybody. */
#ifndef CN_MANAGER_METRICS_H
#define CN_MANAGER_METRICS_H

#include "manager/run.h"

typedef int (*cn_metrics_each_fn)(void *user, uint64_t step, uint64_t term, const cairn_metric *metrics, size_t count);

int cn_metrics_log(cairn_run *run, uint64_t step, const cairn_metric *metrics, size_t count, cairn_error *err);
/* ret_ignored may be NULL. A non-zero return of each stops and is returned. */
int cn_metrics_read(const char *run_path, cn_metrics_each_fn each, void *user, uint64_t *ret_ignored, cairn_error *err);

#endif
