/* The public calls on metrics.jsonl. */
#include "manager/run.h"

int cairn_log(cairn_run *run, uint64_t step, const cairn_metric *metrics, size_t metrics_count, cairn_error *err)
{
    if (!run || (metrics_count && !metrics)) return cn_error_set(err, CAIRN_E_USAGE, "cairn_log: run and metrics must be given");
    return cn_run_log(run, step, metrics, metrics_count, err);
}

int cairn_metrics_read(const char *run_path,
                       int (*each)(void *user, uint64_t step, uint64_t term, const cairn_metric *metrics, size_t count), void *user,
                       uint64_t *ret_ignored, cairn_error *err)
{
    struct cn_rundir run;
    struct cn_pool pool;
    struct cn_metrics_row *rows = NULL;
    uint64_t count = 0, ignored = 0;
    if (!run_path || !*run_path || !each) return cn_error_set(err, CAIRN_E_USAGE, "cairn_metrics_read: run_path and each must be given");
    int code = cn_rundir_open_read(run_path, &run, err);
    if (code) return code;
    cn_pool_init(&pool, cn_os_alloc(), UINT64_MAX);
    code = cn_metricslog_read(&run, &pool, &rows, &count, &ignored, err);
    for (uint64_t i = 0; i < count && !code; i++) code = each(user, rows[i].step, rows[i].term, rows[i].metrics, rows[i].count);
    if (!code && ret_ignored) *ret_ignored = ignored;
    cn_pool_done(&pool);
    cn_rundir_close(&run);
    return code;
}
