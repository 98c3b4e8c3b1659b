/* Covers src/manager/job.c, src/manager/request.c, src/snapshot/save_stage.c and src/snapshot/save_capture.c: saves that go on behind the caller's
 * back - when they return, what may be changed when, who is told of a failure. */
#include "support.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"
#include "snapshot/save.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600], messages[8192];

#ifdef __SANITIZE_THREAD__
enum { LARGE = 5 << 20 }; /* each access costs ten times as much */
#else
enum { LARGE = 12 << 20 };
#endif
enum { SMALL = 1000, VOLATILE_BYTES = 6 << 20 };

/* Two large late tensors, one small, one large volatile one; a value. */
struct trainer {
    cairn_state *state;
    unsigned char *a, *b, *running, small[SMALL];
    int64_t position;
    uint64_t generation;
};

static void bind(struct trainer *t, const char *item, const char *name, uint64_t size, uint32_t flags, void *address,
                 const uint64_t *generation)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name, tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.flags = flags, tensor.address = address;
    tensor.generation = generation;
    test_ok(cairn_state_bind_tensor(t->state, item, &tensor, &err));
}

static void open_trainer(struct trainer *t)
{
    memset(t, 0, sizeof *t);
    t->a = malloc(LARGE), t->b = malloc(LARGE), t->running = malloc(VOLATILE_BYTES);
    test_ok(cairn_state_new(&t->state, &err));
    bind(t, "model", "a", LARGE, CAIRN_TRAINABLE, t->a, &t->generation);
    bind(t, "model", "small", SMALL, CAIRN_TRAINABLE, t->small, NULL);
    bind(t, "optimizer", "b", LARGE, CAIRN_OPTIMIZER, t->b, NULL);
    bind(t, "ema", "running", VOLATILE_BYTES, CAIRN_VOLATILE, t->running, NULL);
    test_ok(cairn_state_bind_i64(t->state, "data", "position", &t->position, &err));
}

static void train(struct trainer *t, int step)
{
    for (size_t i = 0; i < LARGE; i++) t->a[i] = (unsigned char)(i * 7 + (size_t)step), t->b[i] = (unsigned char)(i / 3 ^ (size_t)step);
    memset(t->running, step, VOLATILE_BYTES);
    memset(t->small, step + 1, SMALL);
    t->position = step;
    t->generation++;
}

static void close_trainer(struct trainer *t)
{
    cairn_state_free(t->state);
    free(t->a), free(t->b), free(t->running);
}

static void note(void *user, const char *message)
{
    size_t used = strlen(messages);
    (void)user;
    snprintf(messages + used, sizeof messages - used, "%s\n", message);
}

static atomic_int committed_count;
static cairn_save_report committed_report;

static void note_committed(void *user, const cairn_save_report *report)
{
    (void)user;
    committed_report = *report;
    atomic_fetch_add(&committed_count, 1);
}

static cairn_run *open_run(const char *name, cairn_run_options options)
{
    cairn_run *run;
    if (name) snprintf(path, sizeof path, "%s/run", test_folder(name));
    messages[0] = 0;
    atomic_store(&committed_count, 0);
    options.message = note;
    options.committed = note_committed;
    test_ok(cairn_run_open(path, &options, &run, &err));
    return run;
}

static int save(cairn_run *run, struct trainer *t, uint64_t step, cairn_save_mode mode)
{
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    options.step = step;
    options.mode = mode;
    return cairn_save(run, t->state, &options, NULL, &err);
}

/* The checkpoint holds what the trainer had at that step. */
static void expect_saved(uint64_t step)
{
    struct trainer t, want;
    cairn_run *run;
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    open_trainer(&t);
    open_trainer(&want);
    train(&want, (int)step);
    test_ok(cairn_run_open(path, NULL, &run, &err));
    options.step = step;
    test_ok(cairn_restore(run, t.state, &options, NULL, &err));
    assert_true(!memcmp(t.a, want.a, LARGE) && !memcmp(t.b, want.b, LARGE) && !memcmp(t.running, want.running, VOLATILE_BYTES));
    assert_true(!memcmp(t.small, want.small, SMALL) && t.position == want.position);
    test_ok(cairn_run_close(run, &err));
    close_trainer(&t);
    close_trainer(&want);
}

static cairn_status status_of(cairn_run *run)
{
    cairn_status status = CAIRN_STATUS_INIT;
    assert_int_equal(cairn_run_status(run, &status), 0);
    return status;
}

static void an_eager_save_may_be_overwritten_at_once(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 4; kind++) { /* threads and arena: all of it, three pieces, one thread, direct or not */
        struct trainer t;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        cairn_save_options saving = CAIRN_SAVE_OPTIONS_INIT;
        cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
        options.arena_bytes = kind == 1 || kind == 3;
        options.io_threads = kind == 2 ? 1 : kind == 3 ? 4 : 0;
        options.io_mode = kind == 3 ? CAIRN_IO_BUFFERED : CAIRN_IO_AUTO;
        open_trainer(&t);
        cairn_run *run = open_run("eager", options);
        for (uint64_t step = 1; step <= 3; step++) {
            train(&t, (int)step);
            saving.step = step;
            test_ok(cairn_save(run, t.state, &saving, &report, &err));
            assert_true(report.step == step && report.total_bytes == 2 * LARGE + VOLATILE_BYTES + SMALL && !report.skipped);
            cairn_status status = status_of(run);
            assert_true(status.phase == CAIRN_PHASE_WRITING || status.phase == CAIRN_PHASE_COMMITTING ||
                        status.phase == CAIRN_PHASE_DURABLE);
            assert_true(status.staged_bytes == report.total_bytes && status.stall_ns > 0);
            memset(t.a, 0xee, LARGE); /* what training does next */
        }
        test_ok(cairn_wait(run, &err));
        assert_true(status_of(run).phase == CAIRN_PHASE_DURABLE && status_of(run).saves_done == 3 &&
                    status_of(run).written_bytes == report.total_bytes);
        assert_true(atomic_load(&committed_count) == 3 && !strcmp(committed_report.name, "checkpoint-3") &&
                    committed_report.written_bytes > 2 * LARGE);
        assert_true(!!strstr(messages, "larger than the arena") == (kind == 1 || kind == 3)); /* three pieces hold 12 MiB */
        test_ok(cairn_run_close(run, &err));
        for (uint64_t step = 1; step <= 3; step++) expect_saved(step);
        close_trainer(&t);
    }
}

/* The state, its tensors' memory and the options may all go as soon as the save returned. */
static void a_state_may_be_freed_while_its_job_runs(void **unused)
{
    struct trainer t;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    char metric_name[] = "loss", tag[] = "first", text[] = "{}", name[] = "config.json";
    const char *tags[] = { tag };
    cairn_metric metric = { metric_name, 0.5 };
    cairn_attachment attachment = { name, NULL, text, 2 };
    (void)unused;
    open_trainer(&t);
    train(&t, 5);
    cairn_run *run = open_run("freed", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    options.step = 5;
    options.metrics = &metric, options.metrics_count = 1, options.tags = tags, options.tags_count = 1, options.attachments = &attachment,
    options.attachments_count = 1;
    test_ok(cairn_save(run, t.state, &options, NULL, &err));
    memset(metric_name, 'x', 4), memset(tag, 'x', 5), memset(text, 'x', 2), memset(name, 'x', 5);
    bind(&t, "more", "later", SMALL, 0, t.small, NULL); /* bound while the job runs: not in this checkpoint */
    close_trainer(&t);
    test_ok(cairn_run_close(run, &err));
    expect_saved(5);
    test_shell(
        "test \"$(cat %s/checkpoint-5/config.json)\" = {} && ! grep -q later %s/checkpoint-5/manifest.json && grep -q loss %s/checkpoint-5/manifest.json",
        path, path, path);
}

/* -------------------------------------------------------------------------------------------------------------- failures */

static void a_failure_is_told_once_by_the_next_call(void **unused)
{
    (void)unused;
    for (int teller = 0; teller < 5; teller++) {
        struct trainer t;
        open_trainer(&t);
        train(&t, 1);
        cairn_run *run = open_run("failure", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
        test_shell("mkdir -p %s/checkpoint-1/theirs", path); /* in the way, found at the commit */
        test_ok(save(run, &t, 1, CAIRN_SAVE_EAGER));
        err = (cairn_error)CAIRN_ERROR_INIT;
        if (teller == 0) test_code(save(run, &t, 2, CAIRN_SAVE_EAGER), CAIRN_E_FOREIGN);
        if (teller == 1) test_code(cairn_wait(run, &err), CAIRN_E_FOREIGN);
        if (teller == 2) test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_FOREIGN);
        if (teller == 3) {
            while (status_of(run).phase != CAIRN_PHASE_FAILED) usleep(1000);
            test_code(cairn_fence(run, &err), CAIRN_E_FOREIGN);
        }
        if (teller == 4) test_code(cairn_run_close(run, &err), CAIRN_E_FOREIGN);
        assert_non_null(strstr(err.message, "checkpoint-1"));
        if (teller < 4) {
            assert_true(status_of(run).saves_failed == 1 && status_of(run).saves_done == 0);
            test_ok(save(run, &t, 2, CAIRN_SAVE_SYNC)); /* told: the run goes on */
            test_ok(cairn_run_close(run, &err));
            test_shell("! test -e %s/checkpoint-1/manifest.json && test -d %s/checkpoint-2", path, path);
        }
        close_trainer(&t);
    }
}

/* A gate: the job's tasks may fetch so many ranges and then wait, so that a test can do something in between. The caller's task passes. */
static struct {
    atomic_int allowed, passed;
    pthread_t caller;
    unsigned char *bytes;
} gate;

static int gated_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    (void)user;
    if (!pthread_equal(pthread_self(), gate.caller)) {
        while (atomic_load(&gate.passed) >= atomic_load(&gate.allowed)) usleep(500);
        memcpy(destination, gate.bytes + offset, size);
        atomic_fetch_add(&gate.passed, 1);
    } else
        memcpy(destination, gate.bytes + offset, size);
    return 0;
}

static int copy_back(void *user, uint64_t offset, size_t size, const void *source)
{
    memcpy((unsigned char *)user + offset, source, size);
    return 0;
}

enum { GATED = 20 << 20 };

/* A state of one tensor behind a gate that lets nothing pass yet. */
static cairn_state *new_gated(const uint64_t *generation)
{
    static const uint64_t size = GATED;
    cairn_state *state;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    free(gate.bytes);
    gate.bytes = calloc(1, GATED);
    gate.caller = pthread_self();
    atomic_store(&gate.allowed, 0);
    atomic_store(&gate.passed, 0);
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "w", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.fetch = gated_fetch, tensor.store = copy_back;
    tensor.user = gate.bytes, tensor.generation = generation;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    return state;
}

static void what_to_do_when_one_still_runs(void **unused)
{
    struct trainer t = { .state = new_gated(NULL) };
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    (void)unused;
    cairn_run *run = open_run("running", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_ok(save(run, &t, 2, CAIRN_SAVE_LAZY));
    assert_int_equal(status_of(run).phase, CAIRN_PHASE_STAGING);
    options.step = 3;
    options.if_running = CAIRN_IF_RUNNING_SKIP;
    test_ok(cairn_save(run, t.state, &options, &report, &err));
    assert_true(report.skipped == 1 && report.step == 3);
    options.if_running = CAIRN_IF_RUNNING_ERROR;
    test_code(cairn_save(run, t.state, &options, &report, &err), CAIRN_E_LOCKED);
    assert_non_null(strstr(err.message, "step 2"));
    options.if_running = (cairn_if_running)9;
    test_code(cairn_save(run, t.state, &options, &report, &err), CAIRN_E_USAGE);
    atomic_store(&gate.allowed, 1000);
    test_ok(cairn_wait(run, &err));
    test_ok(cairn_wait(run, &err));
    test_ok(cairn_fence(run, &err));
    test_ok(cairn_run_close(run, &err));
    test_shell("test -d %s/checkpoint-2 && ! test -e %s/checkpoint-3", path, path);
    cairn_state_free(t.state);
}

/* NFS says it so that what we have open was removed by another host. */
static atomic_bool stale;
int __real_cn_os_sync(cn_file file);
int __wrap_cn_os_sync(cn_file file);
int __wrap_cn_os_sync(cn_file file)
{
    return atomic_load(&stale) ? -ESTALE : __real_cn_os_sync(file);
}

/* In the middle of a save the writer stops; another process takes the run over, goes back and saves; then the first one wakes. */
static void fenced_in_the_middle(bool on_nfs)
{
    struct trainer t = { .state = new_gated(NULL) };
    cairn_listing *listing;
    int status;
    cairn_run *run = open_run("fenced", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    atomic_store(&gate.allowed, 1000000);
    for (uint64_t step = 10; step <= 20; step += 10) {
        memset(gate.bytes, (int)step, GATED);
        test_ok(save(run, &t, step, CAIRN_SAVE_SYNC));
    }
    memset(gate.bytes, 30, GATED);
    atomic_store(&gate.allowed, atomic_load(&gate.passed)); /* nothing more passes */
    test_ok(save(run, &t, 30, CAIRN_SAVE_LAZY));
    pid_t child = fork();
    if (!child) {
        cairn_run *mine;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        cairn_restore_options back = CAIRN_RESTORE_OPTIONS_INIT;
        options.take_over = 1;
        options.io_threads = 1; /* a forked child of several threads starts none of its own */
        back.step = 10;
        atomic_store(&gate.allowed, 1000000);
        if (cairn_run_open(path, &options, &mine, &err) || cairn_restore(mine, t.state, &back, NULL, &err)) _exit(1);
        if (gate.bytes[5] != 10 || save(mine, &t, 15, CAIRN_SAVE_SYNC)) _exit(2);
        _exit(cairn_run_close(mine, &err) ? 3 : 0);
    }
    assert_true(waitpid(child, &status, 0) == child && status == 0);
    atomic_store(&stale, on_nfs);
    atomic_store(&gate.allowed, 1000000);
    test_code(cairn_wait(run, &err), CAIRN_E_FENCED);
    atomic_store(&stale, false);
    test_code(save(run, &t, 40, CAIRN_SAVE_SYNC), CAIRN_E_FENCED);
    test_ok(cairn_run_close(run, &err));
    test_ok(cairn_listing_open(path, &listing, &err));
    assert_int_equal(cairn_listing_count(listing), 3); /* 10, 20 superseded, 15: no 30, no 40 */
    assert_true(cairn_listing_entry(listing, 2)->step == 15 && cairn_listing_entry(listing, 2)->is_head);
    assert_int_equal(cairn_listing_entry(listing, 1)->standing, CAIRN_SUPERSEDED);
    cairn_listing_close(listing);
    cairn_state_free(t.state);
}

static void a_writer_fenced_in_the_middle_wakes_in_vain(void **unused)
{
    (void)unused;
    fenced_in_the_middle(false);
    fenced_in_the_middle(true);
}

static atomic_int slow_ms;

static int crawling_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    if (size > 1000) usleep((useconds_t)atomic_load(&slow_ms) * 1000);
    memcpy(destination, (unsigned char *)user + offset, size);
    return 0;
}

static void a_job_not_yet_staged_may_be_replaced_but_not_two(void **unused)
{
    static unsigned char bytes[40 << 20];
    uint64_t size = sizeof bytes;
    cairn_state *state;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    (void)unused;
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "t", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.fetch = crawling_fetch,
    tensor.store = copy_back, tensor.user = bytes;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    cairn_run *run = open_run("replace", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    options.mode = CAIRN_SAVE_LAZY;
    options.if_running = CAIRN_IF_RUNNING_REPLACE;
    atomic_store(&slow_ms, 40);
    for (options.step = 1; options.step <= 3; options.step++) test_ok(cairn_save(run, state, &options, NULL, &err));
    test_ok(cairn_run_close(run, &err)); /* 2 replaced 1; 3 waited for 2 */
    test_shell("! test -e %s/checkpoint-1 && test -d %s/checkpoint-2 && test -d %s/checkpoint-3 && test -z \"$(ls %s/.cairn/staging)\"",
               path, path, path, path);
    cairn_state_free(state);
}

static void a_cancelled_job_is_told_as_such(void **unused)
{
    static unsigned char bytes[40 << 20];
    uint64_t size = sizeof bytes;
    cairn_state *state;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    (void)unused;
    struct trainer t = { 0 };
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "t", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.fetch = crawling_fetch,
    tensor.store = copy_back, tensor.user = bytes;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    t.state = state;
    cairn_run *run = open_run("cancelled", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    atomic_store(&slow_ms, 40);
    test_ok(save(run, &t, 1, CAIRN_SAVE_LAZY));
    cairn_run_cancel(run);
    test_code(cairn_wait(run, &err), CAIRN_E_CANCELLED);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "step 1 "));
    atomic_store(&slow_ms, 0);
    test_ok(save(run, &t, 2, CAIRN_SAVE_SYNC));
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

/* Another thread reads the figures all the time: they fit each other, and go up. */
struct watcher {
    cairn_run *run;
    atomic_bool over;
    unsigned long looks;
    bool wrong;
};

static void *watch(void *user)
{
    struct watcher *watcher = user;
    uint64_t done = 0;
    while (!atomic_load(&watcher->over)) {
        cairn_status status = CAIRN_STATUS_INIT;
        watcher->wrong |= cairn_run_status(watcher->run, &status) != 0 ||
                          status.staged_bytes > status.total_bytes + (status.total_bytes == 0) * UINT64_MAX || status.saves_done < done ||
                          status.saves_failed;
        done = status.saves_done;
        watcher->looks++;
        usleep(200);
    }
    return NULL;
}

static void figures_may_be_read_at_any_time(void **unused)
{
    struct trainer t;
    pthread_t thread;
    struct watcher watcher = { 0 };
    (void)unused;
    open_trainer(&t);
    train(&t, 1);
    watcher.run = open_run("figures", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(pthread_create(&thread, NULL, watch, &watcher), 0);
    for (uint64_t step = 1; step <= 6; step++) {
        test_ok(save(watcher.run, &t, step, step % 2 ? CAIRN_SAVE_EAGER : CAIRN_SAVE_LAZY));
        test_ok(cairn_fence(watcher.run, &err));
        t.a[step]++;
    }
    test_ok(cairn_wait(watcher.run, &err));
    test_ok(cairn_restore(watcher.run, t.state, NULL, NULL, &err)); /* takes another term */
    test_ok(save(watcher.run, &t, 7, CAIRN_SAVE_SYNC));
    atomic_store(&watcher.over, true);
    pthread_join(thread, NULL);
    assert_true(!watcher.wrong && watcher.looks > 10);
    test_ok(cairn_run_close(watcher.run, &err));
    close_trainer(&t);
}

/* What the callback and the figures say while a restore runs. */
struct restoring {
    cairn_run *run;
    int told;        /* by the callback */
    atomic_int seen; /* by cairn_run_status */
    uint64_t staged, written;
    bool wrong;
    cairn_phase last;
};

static void note_restoring(void *user, const cairn_status *status)
{
    struct restoring *restoring = user;
    restoring->last = status->phase;
    if (status->phase != CAIRN_PHASE_RESTORING) return;
    restoring->wrong |= status->staged_bytes < restoring->staged || status->written_bytes < restoring->written ||
                        status->written_bytes > status->staged_bytes || status->staged_bytes > status->total_bytes;
    restoring->told += status->written_bytes > 0;
    restoring->staged = status->staged_bytes;
    restoring->written = status->written_bytes;
}

static int crawling_store(void *user, uint64_t offset, size_t size, const void *source)
{
    cairn_status status = CAIRN_STATUS_INIT;
    struct restoring *restoring = user;
    (void)size, (void)source;
    if (cairn_run_status(restoring->run, &status) == CAIRN_OK && status.phase == CAIRN_PHASE_RESTORING && offset >= 16 << 20)
        restoring->seen += status.staged_bytes > 0 && status.written_bytes > 0 && status.total_bytes == 40 << 20;
    usleep(60000);
    return 0;
}

static int empty_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    (void)user, (void)offset;
    memset(destination, 7, size);
    return 0;
}

static void a_restore_tells_how_far_it_is(void **unused)
{
    (void)unused;
    for (uint32_t threads = 1; threads <= 2; threads++) {
        uint64_t size = 40 << 20;
        struct restoring restoring = { 0 };
        struct trainer t = { 0 };
        cairn_tensor tensor = CAIRN_TENSOR_INIT;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        test_ok(cairn_state_new(&t.state, &err));
        tensor.name = "t", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.fetch = empty_fetch;
        tensor.store = crawling_store, tensor.user = &restoring;
        test_ok(cairn_state_bind_tensor(t.state, "model", &tensor, &err));
        options.io_threads = threads;
        options.progress = note_restoring;
        options.user = &restoring;
        restoring.run = open_run("restoring", options);
        test_ok(save(restoring.run, &t, 1, CAIRN_SAVE_SYNC));
        test_ok(cairn_restore(restoring.run, t.state, NULL, NULL, &err));
        assert_true(restoring.told && restoring.seen && !restoring.wrong && restoring.last == CAIRN_PHASE_IDLE);
        test_ok(cairn_run_close(restoring.run, &err));
        cairn_state_free(t.state);
    }
}

/* ------------------------------------------------------------------------------------------------------------------ lazy */

/* An empty tensor among late ones has nothing to be staged early. */
static void empty_tensors_are_not_early(void **unused)
{
    static const uint64_t late = CN_EARLY_BYTES, none = 0;
    static unsigned char bytes[CN_EARLY_BYTES];
    struct trainer t = { 0 };
    struct cn_scratch scratch = { 0 };
    struct cn_save_figures figures = { 0 };
    (void)unused;
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "a", late, CAIRN_TRAINABLE, bytes, NULL);
    bind(&t, "model", "b", none, CAIRN_VOLATILE, NULL, NULL);
    bind(&t, "model", "c", late, CAIRN_TRAINABLE, bytes, NULL);
    struct cn_save save = {
        .state = t.state, .limits = { UINT64_C(1) << 32, CN_BLOCK_BYTES }, .figures = &figures, .early = &scratch, .lazy = true
    };
    test_ok(cn_save_prepare(&save, &err));
    assert_true(save.plan.pieces_count == 1 && !cn_save_has_early(&save) && !cn_save_is_early(&save, &save.plan.pieces[0]));
    cn_save_free(&save);
    cn_os_free(scratch.bytes);
    cairn_state_free(t.state);
}

static void small_and_volatile_leaves_may_change_at_once(void **unused)
{
    (void)unused;
    for (int kind = 0; kind < 3; kind++) {
        struct trainer t;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        options.check_early_writes = kind != 2;
        options.arena_bytes = kind == 1;
        options.io_threads = kind == 1 ? 1 : 0;
        open_trainer(&t);
        cairn_run *run = open_run("lazy", options);
        for (int step = 1; step <= 3; step++) {
            train(&t, step);
            test_ok(save(run, &t, (uint64_t)step, CAIRN_SAVE_LAZY));
            memset(t.running, 0xee, VOLATILE_BYTES); /* before the fence */
            memset(t.small, 0xee, SMALL);
            t.position = -1;
            test_ok(cairn_fence(run, &err));
            memset(t.a, 0xee, LARGE); /* after it */
        }
        test_ok(cairn_run_close(run, &err));
        for (uint64_t step = 1; step <= 3; step++) expect_saved(step);
        close_trainer(&t);
    }
}

static const char *written_name;

static const char *say_written(void *user)
{
    (void)user;
    return written_name;
}

/* Between the save's return and the fence somebody writes: all of a tensor, one row of it, after that part was staged, or only its counter moves, or
 * the caller says so when asked.
 * The save fails; nothing wrong is committed in silence. */
static void early_writes_fail_loudly(void **unused)
{
    enum { WHOLE, ONE_ROW, AFTER_STAGING, COUNTER, SAID, KINDS };
    (void)unused;
    for (int kind = 0; kind < KINDS; kind++) {
        uint64_t generation = 7;
        struct trainer t = { .state = new_gated(&generation) };
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        options.check_early_writes = kind == ONE_ROW || kind == AFTER_STAGING; /* witnesses and counter see two others */
        options.written = say_written;
        options.io_threads = 2; /* one of them stages: the first piece first */
        written_name = NULL;
        cairn_run *run = open_run("early", options);
        test_ok(save(run, &t, 1, CAIRN_SAVE_LAZY));
        if (kind == WHOLE) memset(gate.bytes, 0xee, GATED);
        if (kind == ONE_ROW) memset(gate.bytes + GATED / 2 + 12345, 0xee, 1000);
        if (kind == COUNTER) generation++;
        if (kind == SAID) written_name = "model/w";
        if (kind == AFTER_STAGING) {
            atomic_store(&gate.allowed, 1);
            while (!atomic_load(&gate.passed)) usleep(500);
            gate.bytes[12345] = 1; /* of the piece that is staged already: the bytes are right, the trainer is not */
        }
        atomic_store(&gate.allowed, 1000);
        test_code(cairn_fence(run, &err), CAIRN_E_EARLY_WRITE);
        assert_non_null(strstr(err.message, "model/w"));
        assert_non_null(strstr(err.message, "cairn_fence"));
        test_shell("! test -e %s/checkpoint-1 && test -z \"$(ls %s/.cairn/staging)\"", path, path);
        written_name = NULL;
        test_ok(save(run, &t, 2, CAIRN_SAVE_LAZY)); /* told: the next one is saved */
        test_ok(cairn_run_close(run, &err));
        cairn_state_free(t.state);
    }
    free(gate.bytes);
    gate.bytes = NULL;
}

/* A lazy save comes back before a byte is copied. Training computes while the copy goes on without it, so that the fence finds all of it staged; how
 * short the wait is then is for the bench to say. */
static void the_copy_goes_on_without_the_trainer(void **unused)
{
    uint64_t generation = 7;
    (void)unused;
    struct trainer t = { .state = new_gated(&generation) };
    cairn_run *run = open_run("fence", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_ok(save(run, &t, 1, CAIRN_SAVE_LAZY)); /* the gate is closed: who copied first would wait for ever */
    assert_int_equal(status_of(run).staged_bytes, 0);
    atomic_store(&gate.allowed, 1000);
    while (status_of(run).staged_bytes < GATED) usleep(500); /* the forward and backward pass */
    test_ok(cairn_fence(run, &err));
    gate.bytes[12345] = 1;
    generation++;
    test_ok(cairn_wait(run, &err));
    test_shell("test -e %s/checkpoint-1/manifest.json", path);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(t.state);
    free(gate.bytes);
    gate.bytes = NULL;
}

static atomic_int stepped_back;

void __real_cn_task_step_back(void);
void __wrap_cn_task_step_back(void);
void __wrap_cn_task_step_back(void)
{
    atomic_fetch_add(&stepped_back, 1);
    __real_cn_task_step_back();
}

/* Writers let training go first, but not while it waits for them: for what a lazy save must have staged before it returns. */
static void who_is_waited_for_does_not_step_back(void **unused)
{
    static unsigned char bytes[2 * CN_EARLY_BYTES];
    static const uint64_t size = sizeof bytes;
    struct trainer t = { 0 };
    (void)unused;
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "statistics", size, CAIRN_VOLATILE, bytes, NULL);
    cairn_run *run = open_run("waited", (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    atomic_store(&stepped_back, 0);
    test_ok(save(run, &t, 1, CAIRN_SAVE_LAZY));
    test_ok(cairn_wait(run, &err));
    assert_int_equal(atomic_load(&stepped_back), 0);
    test_ok(save(run, &t, 2, CAIRN_SAVE_EAGER));
    test_ok(cairn_wait(run, &err));
    assert_true(atomic_load(&stepped_back) > 0);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(t.state);
}

/* What comes from a device: nobody may look at it before it has arrived, the trainer's own task never. */
enum { DEFERRED_BYTES = 96 << 20, DEFERRED_SMALL = 4096 };
static struct {
    atomic_int arrived, asked_by_caller, fails;
    pthread_t caller;
    unsigned char *bytes;
} device;

static int deferred_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    if (pthread_equal(pthread_self(), device.caller)) atomic_fetch_add(&device.asked_by_caller, 1);
    while (!atomic_load(&device.arrived)) usleep(500);
    memcpy(destination, (unsigned char *)user + offset, size);
    return atomic_load(&device.fails);
}

static cairn_state *new_deferred(void)
{
    static const uint64_t sizes[] = { DEFERRED_BYTES, DEFERRED_SMALL };
    static const char *const names[] = { "large", "small" };
    cairn_state *state;
    test_ok(cairn_state_new(&state, &err));
    for (int i = 0; i < 2; i++) {
        cairn_tensor tensor = CAIRN_TENSOR_INIT;
        tensor.name = names[i], tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &sizes[i];
        tensor.fetch = deferred_fetch, tensor.store = copy_back, tensor.user = device.bytes + (i ? DEFERRED_BYTES : 0);
        tensor.flags = CAIRN_DEFERRED | (i ? CAIRN_VOLATILE : CAIRN_TRAINABLE);
        test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    }
    return state;
}

static int warnings_told;
static void count_warning(void *user, const char *message)
{
    (void)user, (void)message;
    warnings_told++;
}

static void what_is_deferred_is_waited_for_behind(void **unused)
{
    (void)unused;
    device.caller = pthread_self();
    device.bytes = calloc(1, DEFERRED_BYTES + DEFERRED_SMALL);
    struct trainer t = { .state = new_deferred() };
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    options.check_early_writes = 1; /* there is nothing to be checked */
    options.message = count_warning;
    cairn_run *run = open_run("deferred", options);
    for (uint64_t step = 1; step <= 3; step++) {
        atomic_store(&device.arrived, 0);
        atomic_store(&device.fails, step == 2 ? 7 : 0);
        test_ok(save(run, &t, step, CAIRN_SAVE_LAZY)); /* nothing is there: who looked at it here would wait for ever */
        assert_int_equal(status_of(run).staged_bytes, 0);
        memset(device.bytes, (int)(0x40 + step), DEFERRED_BYTES + DEFERRED_SMALL);
        atomic_store(&device.arrived, 1);
        test_code(cairn_wait(run, &err), step == 2 ? CAIRN_E_IO : CAIRN_OK);
        if (step == 2) assert_non_null(strstr(err.message, "fetch callback failed with 7"));
    }
    assert_int_equal(atomic_load(&device.asked_by_caller), 0);
    assert_true(status_of(run).arena_bytes < DEFERRED_BYTES); /* it passes through */
    assert_int_equal(warnings_told, 0);                       /* and nobody was held */
    memset(device.bytes, 0, DEFERRED_BYTES + DEFERRED_SMALL);
    test_ok(cairn_restore(run, t.state, NULL, NULL, &err));
    for (size_t i = 0; i < DEFERRED_BYTES + DEFERRED_SMALL; i++)
        if (device.bytes[i] != 0x43) fail_msg("byte %zu is %d", i, device.bytes[i]);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(t.state);
    free(device.bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_eager_save_may_be_overwritten_at_once),
        cmocka_unit_test(a_state_may_be_freed_while_its_job_runs),
        cmocka_unit_test(a_failure_is_told_once_by_the_next_call),
        cmocka_unit_test(what_to_do_when_one_still_runs),
        cmocka_unit_test(a_writer_fenced_in_the_middle_wakes_in_vain),
        cmocka_unit_test(a_job_not_yet_staged_may_be_replaced_but_not_two),
        cmocka_unit_test(a_cancelled_job_is_told_as_such),
        cmocka_unit_test(figures_may_be_read_at_any_time),
        cmocka_unit_test(a_restore_tells_how_far_it_is),
        cmocka_unit_test(empty_tensors_are_not_early),
        cmocka_unit_test(small_and_volatile_leaves_may_change_at_once),
        cmocka_unit_test(early_writes_fail_loudly),
        cmocka_unit_test(the_copy_goes_on_without_the_trainer),
        cmocka_unit_test(who_is_waited_for_does_not_step_back),
        cmocka_unit_test(what_is_deferred_is_waited_for_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
