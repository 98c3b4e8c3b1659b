/* The public calls on metrics.jsonl. */
#include "manager/metrics.h"

int cairn_log(cairn_run *run, uint64_t step, const cairn_metric *metrics, size_t metrics_count, cairn_error *err)
{
    if (!run || (metrics_count && !metrics)) return cn_error_set(err, CAIRN_E_USAGE, "cairn_log: run and metrics must be given");
    return cn_metrics_log(run, step, metrics, metrics_count, err);
}

int cairn_metrics_read(const char *run_path,
                       int (*each)(void *user, uint64_t step, uint64_t term, const cairn_metric *metrics, size_t count), void *user,
                       uint64_t *ret_ignored, cairn_error *err)
{
    if (!run_path || !*run_path || !each) return cn_error_set(err, CAIRN_E_USAGE, "cairn_metrics_read: run_path and each must be given");
    return cn_metrics_read(run_path, each, user, ret_ignored, err);
}
