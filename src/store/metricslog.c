/* metrics.jsonl (see metricslog.h). Rows are appended whole, one write each, and never changed; a torn last one is closed with a newline by whoever
 * appends next. Each row ends in a check value, so that what is torn or damaged is not taken for a row. */
#include "store/metricslog.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "store/smallfile.h"

#define FILE_NAME "metrics.jsonl"
enum { CHECK_BYTES = 28 }; /* "check":"<16 hex>"} and a newline */

int cn_metricslog_init(struct cn_metricslog *log, cairn_error *err)
{
    *log = (struct cn_metricslog){ .file = CN_NO_FILE };
    cn_buf_init(&log->pending, cn_os_alloc(), CN_MAX_PENDING_METRICS_BYTES);
    return cn_mutex_new(&log->mutex) ? cn_error_set(err, CAIRN_E_NOMEM, "no memory for the metrics") : CAIRN_OK;
}

void cn_metricslog_done(struct cn_metricslog *log)
{
    if (!log->mutex) return;
    (void)cn_os_close(log->file);
    cn_buf_done(&log->pending);
    cn_mutex_free(log->mutex);
    *log = (struct cn_metricslog){ .file = CN_NO_FILE };
}

/* --------------------------------------------------------------------------------------------------------------- writing */

/* The line up to here is checked; the rest is the check and the newline. */
static void end_row(struct cn_buf *buf, size_t start)
{
    char hex[CN_DIGEST_HEX_BYTES];
    struct cn_digest digest = cn_digest_of(buf->data + start, buf->size - start);
    cn_digest_hex(&digest, hex);
    cn_buf_format(buf, "\"check\":\"%.16s\"}\n", hex);
}

static void put_row(struct cn_buf *buf, uint64_t step, uint64_t term, const cairn_metric *metrics, uint64_t count)
{
    size_t start = buf->size;
    struct cn_json_writer writer = { .buf = buf };
    cn_json_begin_object(&writer);
    cn_json_key(&writer, "step");
    cn_json_put_u64(&writer, step);
    cn_json_key(&writer, "term");
    cn_json_put_u64(&writer, term);
    cn_json_key(&writer, "metrics");
    cn_json_begin_object(&writer);
    for (uint64_t i = 0; i < count; i++) {
        cn_json_key(&writer, metrics[i].name);
        cn_json_put_f64(&writer, metrics[i].value);
    }
    cn_json_end_object(&writer);
    cn_buf_text(buf, ",");
    if (!buf->failed) end_row(buf, start);
}

/* A tail that was torn by a crash is closed, so that our row starts a line of its own. */
static int open_log(struct cn_metricslog *log, const struct cn_rundir *run)
{
    struct cn_file_info info;
    char last = '\n';
    size_t count = 0;
    int rc = cn_os_open_append(run->dir, FILE_NAME, 0644, &log->file);
    if (!rc) rc = cn_os_stat(log->file, &info);
    if (!rc && info.size_bytes) rc = cn_os_read_at(log->file, info.size_bytes - 1, &last, 1, &count);
    if (!rc && last != '\n') rc = cn_os_append(log->file, "\n", 1);
    return rc;
}

/* A file that failed is dead: whoever opens it anew closes the line that may be torn. */
static void drop_file(struct cn_metricslog *log)
{
    (void)cn_os_close(log->file);
    log->file = CN_NO_FILE;
}

/* Called with the mutex held. */
static int append(struct cn_metricslog *log, const struct cn_rundir *run, const struct cn_buf *rows, cairn_error *err)
{
    int rc = log->file == CN_NO_FILE ? open_log(log, run) : 0;
    if (!rc) rc = cn_os_append(log->file, rows->data, rows->size);
    if (rc) drop_file(log);
    return rc ? cn_error_errno(err, -rc, FILE_NAME ": appending to it") : CAIRN_OK;
}

void cn_metricslog_begin(struct cn_metricslog *log, uint64_t term, uint64_t resumed)
{
    cn_mutex_lock(log->mutex);
    log->term = term;
    log->resumed = resumed;
    log->begun = false;
    cn_buf_cut(&log->pending, 0);
    cn_mutex_unlock(log->mutex);
}

int cn_metricslog_add(struct cn_metricslog *log, const struct cn_rundir *run, uint64_t step, const cairn_metric *metrics, uint64_t count,
                      cairn_error *err)
{
    cn_mutex_lock(log->mutex);
    size_t before = log->pending.size;
    put_row(&log->pending, step, log->term, metrics, count);
    int code = cn_buf_check(&log->pending, "the metrics before the first checkpoint of this term", err);
    if (code)
        cn_buf_cut(&log->pending, before); /* this row alone is lost */
    else if (log->begun)
        code = append(log, run, &log->pending, err);
    if (log->begun) cn_buf_cut(&log->pending, 0);
    cn_mutex_unlock(log->mutex);
    return code ? cn_error_prefix(err, code, "%s", run->path) : CAIRN_OK;
}

int cn_metricslog_commit(struct cn_metricslog *log, const struct cn_rundir *run, cairn_error *err)
{
    int code = CAIRN_OK, rc = 0;
    cn_mutex_lock(log->mutex);
    if (!log->begun) {
        cn_auto_buf struct cn_buf first;
        cn_buf_init(&first, cn_os_alloc(), 2 * CN_MAX_PENDING_METRICS_BYTES);
        cn_buf_format(&first, "{\"term\":%llu,\"resumed\":%llu,", (unsigned long long)log->term, (unsigned long long)log->resumed);
        if (!first.failed) end_row(&first, 0);
        cn_buf_append(&first, log->pending.data, log->pending.size);
        code = cn_buf_check(&first, "the metrics", err);
        if (!code) code = append(log, run, &first, err);
        log->begun = !code;
        if (!code) cn_buf_cut(&log->pending, 0);
    }
    if (!code && log->file != CN_NO_FILE) rc = cn_os_sync(log->file);
    if (rc) { /* a failed sync is never tried again: a new descriptor sees what there is */
        drop_file(log);
        code = cn_error_errno(err, -rc, FILE_NAME ": syncing it");
    }
    cn_mutex_unlock(log->mutex);
    return code ? cn_error_prefix(err, code, "%s", run->path) : CAIRN_OK;
}

/* --------------------------------------------------------------------------------------------------------------- reading */

struct reader {
    struct cn_pool *pool;
    struct cn_buf rows; /* of struct cn_metrics_row */
    uint64_t term, ignored;
};

static int read_metrics(struct cn_json *json, struct reader *reader, struct cn_metrics_row *row, cairn_error *err)
{
    struct cn_json again = *json; /* read twice: to count, and to fill */
    cairn_metric *metrics;
    const char *name;
    bool more;
    double value;
    int code = cn_json_expect(json, CN_JSON_OBJECT, "metrics as an object", err);
    while (!code && !(code = cn_json_next_key(json, &name, NULL, &more, err)) && more) {
        code = cn_json_f64(json, &value, err);
        if (++row->count > CN_MAX_METRICS) return cn_json_fail(json, err, "too many metrics");
    }
    if (code) return code;
    metrics = cn_pool_take_array(reader->pool, row->count, sizeof *metrics);
    if (!metrics) return CAIRN_E_NOMEM;
    code = cn_json_expect(&again, CN_JSON_OBJECT, "metrics as an object", err);
    for (uint64_t i = 0; i < row->count && !code; i++) {
        code = cn_json_next_key(&again, &metrics[i].name, NULL, &more, err);
        if (!code) code = cn_json_f64(&again, &metrics[i].value, err);
    }
    row->metrics = metrics;
    return code;
}

/* A row of a term or of metrics. An older term's row after a newer one has begun: of a writer that was overtaken. */
static int read_row(struct reader *reader, const char *line, size_t size, cairn_error *err)
{
    struct cn_json json;
    struct cn_metrics_row row = { 0 };
    const char *key;
    uint64_t resumed = 0;
    bool more, begins = false, has_step = false;
    cn_json_init(&json, line, size, reader->pool);
    int code = cn_json_expect(&json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "step"))
            code = cn_json_u64(&json, &row.step, err), has_step = true;
        else if (!strcmp(key, "term"))
            code = cn_json_u64(&json, &row.term, err);
        else if (!strcmp(key, "resumed"))
            code = cn_json_u64(&json, &resumed, err), begins = true;
        else if (!strcmp(key, "metrics"))
            code = read_metrics(&json, reader, &row, err);
        else
            code = cn_json_skip(&json, err);
    }
    if (!code) code = cn_json_expect(&json, CN_JSON_END, "the end of the line", err);
    if (code || (!begins && !has_step)) return code ? code : cn_error_set(err, CAIRN_E_FORMAT, "no row");
    if (row.term < reader->term) return CAIRN_OK;
    if (!begins && row.term == reader->term) {
        cn_buf_append(&reader->rows, &row, sizeof row);
        return reader->rows.failed ? CAIRN_E_NOMEM : CAIRN_OK;
    }
    if (!begins) return cn_error_set(err, CAIRN_E_FORMAT, "a row of a term that has not begun");
    reader->term = row.term;
    struct cn_metrics_row *rows = (void *)reader->rows.data;
    uint64_t kept = 0, count = reader->rows.size / sizeof *rows;
    for (uint64_t i = 0; i < count; i++)
        if (rows[i].step <= resumed) rows[kept++] = rows[i];
    reader->rows.size = kept * sizeof *rows;
    return CAIRN_OK;
}

static bool is_checked(const char *line, size_t size)
{
    char hex[CN_DIGEST_HEX_BYTES], want[CHECK_BYTES + 1];
    if (size + 1 < CHECK_BYTES) return false;
    size_t body = size + 1 - CHECK_BYTES;
    if (CN_FUZZING) return true;
    struct cn_digest digest = cn_digest_of(line, body);
    cn_digest_hex(&digest, hex);
    snprintf(want, sizeof want, "\"check\":\"%.16s\"}", hex);
    return !memcmp(line + body, want, CHECK_BYTES - 1);
}

/* What is wrong with a line is not told: it is left out and counted. */
static int read_lines(struct reader *reader, const char *data, size_t size, cairn_error *err)
{
    for (size_t at = 0; at < size;) {
        const char *newline = memchr(data + at, '\n', size - at);
        size_t length = newline ? (size_t)(newline - data) - at : size - at;
        int code = newline && is_checked(data + at, length) ? read_row(reader, data + at, length, NULL) : CAIRN_E_FORMAT;
        if (code == CAIRN_E_NOMEM) return cn_error_set(err, code, "no memory for the metrics");
        reader->ignored += code && length; /* torn, damaged, or an empty line where a torn one was closed */
        at += length + 1;
    }
    return CAIRN_OK;
}

int cn_metricslog_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_metrics_row **ret_rows, uint64_t *ret_count,
                         uint64_t *ret_ignored, cairn_error *err)
{
    struct reader reader = { .pool = pool };
    cn_buf_init(&reader.rows, pool->alloc, CN_MAX_METRICS_FILE_BYTES);
    int code = read_lines(&reader, data, size, err);
    struct cn_metrics_row *rows = code ? NULL : (void *)cn_pool_copy(pool, reader.rows.data, reader.rows.size);
    if (!code && !rows) code = cn_error_set(err, CAIRN_E_NOMEM, "no memory for the metrics");
    if (!code) {
        *ret_rows = rows;
        *ret_count = reader.rows.size / sizeof *rows;
        *ret_ignored = reader.ignored;
    }
    cn_buf_done(&reader.rows);
    return code;
}

int cn_metricslog_read(const struct cn_rundir *run, struct cn_pool *pool, struct cn_metrics_row **ret_rows, uint64_t *ret_count,
                       uint64_t *ret_ignored, cairn_error *err)
{
    char *data = NULL;
    size_t size = 0;
    int code = cn_smallfile_load(run->dir, FILE_NAME, CN_MAX_METRICS_FILE_BYTES, &data, &size, err);
    if (code && code != CAIRN_E_NOTFOUND) return cn_error_prefix(err, code, "%s", run->path);
    code = cn_metricslog_decode(data, size, pool, ret_rows, ret_count, ret_ignored, err);
    cn_os_free(data);
    return code;
}
