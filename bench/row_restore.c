/* Reading back: every byte checked, from the disk and from the page cache; and mapped without a check. */
#include <stdio.h>

#include "raw.h"
#include "rows.h"
#include "scratch.h"
#include "session.h"

enum { DIGESTERS = 8 }; /* as many as Cairn's readers; Cairn itself does not look at it */

struct reading {
    struct session session;
    const struct buffer *buffer;
    struct raw_layout layout;
    char folder[4400], name[128];
};

static double verify_cold(void *user, int threads)
{
    struct reading *reading = user;
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    (void)threads;
    cache_drop(reading->folder);
    double start = now_s();
    must(cairn_verify(reading->session.store, reading->name, &options, NULL, &err), &err);
    return now_s() - start;
}

static double restore(struct reading *reading)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    double start = now_s();
    must(cairn_restore(reading->session.run, reading->session.state->bound, NULL, &report, &err), &err);
    double seconds = now_s() - start;
    if (report.bytes != reading->session.state->bytes) die("the restore brought %llu bytes", (unsigned long long)report.bytes);
    return seconds;
}

static double restore_cold(void *user, int threads)
{
    struct reading *reading = user;
    (void)threads;
    cache_drop(reading->folder);
    return restore(reading);
}

static double restore_warm(void *user, int threads)
{
    struct reading *reading = user;
    (void)threads;
    cache_fill(reading->folder);
    return restore(reading);
}

static double read_cold(void *user, int threads)
{
    struct reading *reading = user;
    cache_drop(reading->folder);
    return raw_read(reading->folder, &reading->layout, reading->buffer->memory, reading->buffer->bytes, true, threads);
}

static double read_digested(void *user, int threads)
{
    struct reading *reading = user;
    cache_drop(reading->folder);
    return raw_read_digested(reading->folder, &reading->layout, reading->buffer->memory, reading->buffer->bytes, true, threads);
}

static double read_warm(void *user, int threads)
{
    struct reading *reading = user;
    cache_fill(reading->folder);
    return raw_read(reading->folder, &reading->layout, reading->buffer->memory, reading->buffer->bytes, false, threads);
}

static double map_ours(void *user, int threads)
{
    struct reading *reading = user;
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_checkpoint *checkpoint;
    (void)threads;
    cache_fill(reading->folder);
    double start = now_s();
    must(cairn_checkpoint_open(reading->session.store, reading->name, &checkpoint, &err), &err);
    size_t count = cairn_checkpoint_get_info(checkpoint)->tensors_count;
    for (size_t i = 0; i < count; i++) {
        const cairn_tensor_info *tensor = cairn_checkpoint_tensor(checkpoint, i);
        const void *data;
        must(cairn_checkpoint_map(checkpoint, tensor, &data, &err), &err);
        raw_touch(data, tensor->size_bytes);
    }
    double seconds = now_s() - start;
    cairn_checkpoint_close(checkpoint);
    return seconds;
}

static double map_raw(void *user, int threads)
{
    struct reading *reading = user;
    (void)threads;
    cache_fill(reading->folder);
    return raw_map(reading->folder, &reading->layout);
}

/* goal 0: none. */
static void measure_cold(struct bench *bench, struct reading *reading, const char *name, const char *what, double (*run)(void *, int),
                         double goal)
{
    struct row *row = bench_row(bench, name, what, "O_DIRECT reader of the same files");
    const struct contender contenders[] = {
        { run, reading, DIGESTERS }, { read_cold, reading, 1 }, { read_cold, reading, 2 }, { read_cold, reading, 4 }
    };
    if (!row) return;
    row->bytes = reading->session.state->bytes;
    bench_rounds(bench, row, contenders, 4, false);
    if (goal > 0) bench_goal(row, GOAL_AT_LEAST, goal);
}

static void measure_warm(struct bench *bench, struct reading *reading)
{
    struct row *row = bench_row(bench, "restore-warm", "restore in place from the page cache, digests checked", "pread on two threads");
    const struct contender contenders[] = { { restore_warm, reading, 0 }, { read_warm, reading, 2 } };
    if (!row) return;
    row->bytes = reading->session.state->bytes;
    bench_rounds(bench, row, contenders, 2, false);
    bench_goal(row, GOAL_AT_LEAST, 0.80);
}

static void measure_map(struct bench *bench, struct reading *reading)
{
    struct row *row = bench_row(bench, "map", "open, map and touch every page, warm: times as long", "bare mmap of the same files");
    const struct contender contenders[] = { { map_ours, reading, 0 }, { map_raw, reading, 0 } };
    if (!row) return;
    bench_rounds(bench, row, contenders, 2, true);
    bench_goal(row, GOAL_AT_MOST, 1.1);
}

void rows_restore(struct bench *bench, struct state *state, const struct buffer *buffer)
{
    struct reading reading = { .buffer = buffer };
    if (!bench_wants(bench, "verify") && !bench_wants(bench, "digest") && !bench_wants(bench, "restore-cold") &&
        !bench_wants(bench, "restore-warm") && !bench_wants(bench, "map"))
        return;
    session_open(&reading.session, bench, state, "read", 0);
    session_save(&reading.session, CAIRN_SAVE_SYNC);
    session_folder(&reading.session, reading.folder, sizeof reading.folder);
    session_checkpoint(&reading.session, reading.name, sizeof reading.name);
    raw_layout_of(reading.folder, &reading.layout);
    measure_cold(bench, &reading, "verify", "full verify, cold", verify_cold, 0.95);
    measure_cold(bench, &reading, "restore-cold", "restore in place, cold, digests checked", restore_cold, 0.95);
    measure_cold(bench, &reading, "digest", "for comparison: an O_DIRECT reader on 8 threads that digests every block", read_digested, 0);
    measure_warm(bench, &reading);
    measure_map(bench, &reading);
    raw_layout_free(&reading.layout);
    session_close(&reading.session);
}
