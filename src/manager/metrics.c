/* Metrics (see metrics.h). What counts and what waits is decided in store/metricslog. */
#include "manager/metrics.h"

#include "base/limits.h"
#include "store/layout.h"

int cn_metrics_log(cairn_run *run, uint64_t step, const cairn_metric *metrics, size_t count, cairn_error *err)
{
    int code = cn_run_check_process(run, err);
    if (!code && step > CN_MAX_STEP) code = cn_error_set(err, CAIRN_E_USAGE, "step %llu: steps are below 2^63", (unsigned long long)step);
    if (!code && count > CN_MAX_METRICS) code = cn_error_set(err, CAIRN_E_LIMIT, "at most %d metrics", CN_MAX_METRICS);
    for (size_t i = 0; i < count && !code; i++) code = cn_layout_check_metric(metrics[i].name, err);
    return code ? code : cn_metricslog_add(&run->metrics, &run->dir, step, metrics, count, err);
}

int cn_metrics_read(const char *run_path, cn_metrics_each_fn each, void *user, uint64_t *ret_ignored, cairn_error *err)
{
    struct cn_rundir run;
    struct cn_pool pool;
    struct cn_metrics_row *rows = NULL;
    uint64_t count = 0, ignored = 0;
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
