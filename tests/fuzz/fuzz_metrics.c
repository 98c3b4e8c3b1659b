/* metrics.jsonl: damaged lines are left out and counted, the others are read in the order of the file. */
#include "fuzz.h"
#include "store/metricslog.h"

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_metrics_row *rows = NULL;
    uint64_t count = 0, ignored = 0, lines = 1;
    int code = cn_metricslog_decode(data, size, pool, &rows, &count, &ignored, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    for (size_t i = 0; i < size; i++) lines += data[i] == '\n';
    FUZZ_REQUIRE(count + ignored <= lines);
    for (uint64_t i = 0; i < count; i++) {
        if (i) FUZZ_REQUIRE(rows[i].term >= rows[i - 1].term);
        FUZZ_REQUIRE(rows[i].count <= CN_MAX_METRICS);
        for (uint64_t k = 0; k < rows[i].count; k++) FUZZ_REQUIRE(strlen(rows[i].metrics[k].name) <= size);
    }
}
