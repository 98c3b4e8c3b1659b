/* Every system call and every allocation of every operation fails once, and a writer is killed before every one of them (src/os/os.h is the
 * border; the linker's --wrap stands in for it, see test_faults.wrap). After each failure: a code with a message, or success that is true on
 * disk; no descriptor lost; what was committed before comes back bit for bit; the next save works. Leaks are told by the run under ASan. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/os.h"

/* ------------------------------------------------------------------------------------------------------------ the faults */

enum { KILLED = -1 }; /* in place of an errno */

static struct {
    bool armed, fired;
    unsigned long calls, at; /* the call with number `at` fails */
    int error;               /* errno; ENOMEM: allocations are counted and fail, system calls are not */
    const char *name;        /* of the call that failed */
} fault;

static bool counted(const char *name)
{
    if (!fault.armed || ++fault.calls != fault.at) return false;
    fault.fired = true;
    fault.name = name;
    if (fault.error == KILLED) kill(getpid(), SIGKILL);
    return true;
}

static bool strikes(const char *name)
{
    return fault.error != ENOMEM && counted(name);
}

static bool starves(const char *name)
{
    return fault.error == ENOMEM && counted(name);
}

#define FAULTY(name, parameters, arguments)                                                                                                \
    int __real_##name parameters;                                                                                                          \
    int __wrap_##name parameters;                                                                                                          \
    int __wrap_##name parameters                                                                                                           \
    {                                                                                                                                      \
        return strikes(#name) ? -fault.error : __real_##name arguments;                                                                    \
    }
#define HUNGRY(type, name, parameters, arguments)                                                                                          \
    type __real_##name parameters;                                                                                                         \
    type __wrap_##name parameters;                                                                                                         \
    type __wrap_##name parameters                                                                                                          \
    {                                                                                                                                      \
        return starves(#name) ? 0 : __real_##name arguments;                                                                               \
    }

HUNGRY(void *, calloc, (size_t count, size_t size), (count, size))
HUNGRY(void *, realloc, (void *memory, size_t size), (memory, size))
HUNGRY(char *, strdup, (const char *text), (text))
FAULTY(cn_cond_new, (struct cn_cond * *cond), (cond))
FAULTY(cn_mutex_new, (struct cn_mutex * *mutex), (mutex))
FAULTY(cn_os_allocate, (cn_file file, uint64_t size), (file, size))
FAULTY(cn_os_create, (cn_file dir, const char *name, uint32_t mode, bool direct, cn_file *file), (dir, name, mode, direct, file))
FAULTY(cn_os_free_bytes, (cn_file dir, uint64_t *bytes), (dir, bytes))
FAULTY(cn_os_lease, (cn_file file, bool exclusive), (file, exclusive))
FAULTY(cn_os_link, (cn_file from_dir, const char *from, cn_file to_dir, const char *to), (from_dir, from, to_dir, to))
FAULTY(cn_os_list, (cn_file dir, int (*each)(void *, const char *), void *user), (dir, each, user))
FAULTY(cn_os_lock_take, (cn_file dir, const char *name, struct cn_os_lock **lock), (dir, name, lock))
FAULTY(cn_os_make_dir, (cn_file dir, const char *name), (dir, name))
FAULTY(cn_os_make_dir_path, (const char *path), (path))
FAULTY(cn_os_map, (cn_file file, uint64_t size, struct cn_mapping *mapping), (file, size, mapping))
FAULTY(cn_os_open_dir, (cn_file dir, const char *name, cn_file *file), (dir, name, file))
FAULTY(cn_os_open_dir_path, (const char *path, cn_file *file), (path, file))
FAULTY(cn_os_open_read, (cn_file dir, const char *name, cn_file *file), (dir, name, file))
FAULTY(cn_os_open_read_direct, (cn_file dir, const char *name, cn_file *file), (dir, name, file))
FAULTY(cn_os_open_read_path, (const char *path, cn_file *file), (path, file))
FAULTY(cn_os_random, (void *data, size_t size), (data, size))
FAULTY(cn_os_read_at, (cn_file file, uint64_t offset, void *data, size_t size, size_t *count), (file, offset, data, size, count))
FAULTY(cn_os_read_link, (cn_file dir, const char *name, char *target, size_t size), (dir, name, target, size))
FAULTY(cn_os_remove_dir, (cn_file dir, const char *name), (dir, name))
FAULTY(cn_os_rename_new, (cn_file from_dir, const char *from, cn_file to_dir, const char *to), (from_dir, from, to_dir, to))
FAULTY(cn_os_rename_over, (cn_file from_dir, const char *from, cn_file to_dir, const char *to), (from_dir, from, to_dir, to))
FAULTY(cn_os_set_mode, (cn_file file, uint32_t mode), (file, mode))
FAULTY(cn_os_stat, (cn_file file, struct cn_file_info *info), (file, info))
FAULTY(cn_os_stat_at, (cn_file dir, const char *name, struct cn_file_info *info), (dir, name, info))
FAULTY(cn_os_stat_path, (const char *path, struct cn_file_info *info), (path, info))
FAULTY(cn_os_symlink, (const char *target, cn_file dir, const char *name), (target, dir, name))
FAULTY(cn_os_sync, (cn_file file), (file))
FAULTY(cn_os_sync_dir, (cn_file dir), (dir))
FAULTY(cn_os_truncate, (cn_file file, uint64_t size), (file, size))
FAULTY(cn_os_unlink, (cn_file dir, const char *name), (dir, name))
FAULTY(cn_os_write_at, (cn_file file, uint64_t offset, const void *data, size_t size), (file, offset, data, size))
FAULTY(cn_task_start, (void (*run)(void *), void *user, struct cn_task **task), (run, user, task))

/* Arenas without their pages touched: these states need few, and there are thousands of arenas. */
int __wrap_cn_os_pages_new(uint64_t size, void **pages);
int __wrap_cn_os_pages_new(uint64_t size, void **pages)
{
    if (strikes("cn_os_pages_new")) return -fault.error;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return -errno;
    *pages = memory;
    return 0;
}

/* A close that fails has closed all the same. */
int __real_cn_os_close(cn_file file);
int __wrap_cn_os_close(cn_file file);
int __wrap_cn_os_close(cn_file file)
{
    int rc = __real_cn_os_close(file);
    return file >= 0 && strikes("cn_os_close") ? -fault.error : rc;
}

/* ------------------------------------------------------------------------------------------------------------- the state */

static cairn_error err = CAIRN_ERROR_INIT;

enum { ELEMENTS = 3000 };

struct trainer {
    cairn_state *state;
    float weights[ELEMENTS], moments[ELEMENTS];
    int64_t position;
};

static int bind(struct trainer *t)
{
    static const uint64_t shape[] = { 3, 1000 };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    int code = cairn_state_new(&t->state, &err);
    tensor.dtype = CAIRN_F32;
    tensor.rank = 2;
    tensor.shape = shape;
    tensor.name = "wte";
    tensor.flags = CAIRN_TRAINABLE;
    tensor.address = t->weights;
    if (!code) code = cairn_state_bind_tensor(t->state, "model", &tensor, &err);
    tensor.name = "wpe";
    tensor.flags = CAIRN_FROZEN;
    tensor.address = t->moments;
    if (!code) code = cairn_state_bind_tensor(t->state, "model", &tensor, &err);
    tensor.name = "exp_avg/wte";
    tensor.flags = CAIRN_OPTIMIZER;
    if (!code) code = cairn_state_bind_tensor(t->state, "optimizer", &tensor, &err);
    if (!code) code = cairn_state_bind_alias(t->state, "model", "head", "wte", &err);
    if (!code) code = cairn_state_bind_i64(t->state, "data", "position", &t->position, &err);
    return code ? code : cairn_state_set_value(t->state, "data", "files", cairn_value_string("a", 1), &err);
}

static void train(struct trainer *t, uint64_t step)
{
    for (size_t i = 0; i < ELEMENTS; i++) t->weights[i] = (float)step + (float)i, t->moments[i] = -(float)i;
    t->position = (int64_t)step;
}

static int save(cairn_run *run, struct trainer *t, uint64_t step)
{
    static const char *const tags[] = { "good" };
    static const cairn_attachment config = { .name = "more/config.json", .data = "{}", .size_bytes = 2 };
    static const cairn_metric loss = { "loss", 0.5 };
    cairn_save_options options = TEST_SAVE_OPTIONS;
    train(t, step);
    options.step = step;
    options.metrics = &loss;
    options.metrics_count = 1;
    options.attachments = &config;
    options.attachments_count = 1;
    options.tags = step == 10 ? tags : NULL;
    options.tags_count = step == 10;
    return cairn_save(run, t->state, &options, NULL, &err);
}

/* One whole life of a writer: what a trainer does. keep_last bites on the last save. */
static uint32_t keep_last = 2;
static uint64_t back_to = CAIRN_STEP_DEFAULT; /* the step to resume from */

static int live(const char *path, uint64_t step, uint32_t threads)
{
    static struct trainer t;
    cairn_run *run = NULL;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    options.io_threads = threads;
    options.arena_bytes = 1;
    options.keep_last = keep_last;
    options.best_metric = "loss";
    options.shard_bytes = 13000;
    int code = bind(&t);
    if (!code) code = cairn_run_open(path, &options, &run, &err);
    cairn_restore_options restoring = CAIRN_RESTORE_OPTIONS_INIT;
    restoring.step = back_to;
    if (!code) code = cairn_restore(run, t.state, &restoring, &report, &err);
    if (!code) code = save(run, &t, step);
    cairn_run_close(run, NULL);
    cairn_state_free(t.state);
    t.state = NULL;
    return code;
}

/* What stands on disk is what was trained at some step that was acknowledged. */
static uint64_t bring_back(const char *path)
{
    static struct trainer t, want;
    cairn_run *run = NULL;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    test_ok(bind(&t));
    test_ok(cairn_run_open(path, NULL, &run, &err));
    test_ok(cairn_restore(run, t.state, NULL, &report, &err));
    train(&want, report.step);
    if (!report.fresh) {
        assert_memory_equal(t.weights, want.weights, sizeof t.weights);
        assert_memory_equal(t.moments, want.moments, sizeof t.moments);
        assert_int_equal(t.position, want.position);
    }
    cairn_run_close(run, NULL);
    cairn_state_free(t.state);
    return report.step;
}

/* Lock files apart: their descriptors stay open for ever (os_lock.c), so each is looked at once. */
static unsigned open_files(void)
{
    static bool is_lock[1 << 16];
    unsigned count = 0;
    char target[1000];
    DIR *dir = opendir("/proc/self/fd");
    for (struct dirent *entry; (entry = readdir(dir));) {
        int number = atoi(entry->d_name) & 0xffff;
        if (is_lock[number]) continue;
        ssize_t size = readlinkat(dirfd(dir), entry->d_name, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
        is_lock[number] = strstr(target, "/.cairn/lock") || strstr(target, "/.cairn/retire.lock");
        count += !is_lock[number];
    }
    closedir(dir);
    return count;
}

static void arm(unsigned long at, int error)
{
    fault.calls = 0;
    fault.at = at;
    fault.error = error;
    fault.fired = false;
    fault.armed = true;
    err = (cairn_error)CAIRN_ERROR_INIT;
}

static void disarm(int code, unsigned files_before)
{
    fault.armed = false;
    if (code && (err.code != code || !err.message[0] || strchr(err.message, '\n')))
        fail_msg("%s failed with %d as call %lu: %s, and the error says %s \"%s\"", fault.name, fault.error, fault.at,
                 cairn_code_name(code), cairn_code_name(err.code), err.message);
    if (open_files() != files_before)
        fail_msg("%s failed as call %lu: %u descriptors before, %u after", fault.name, fault.at, files_before, open_files());
}

static const int errors[] = { EIO, ENOSPC, ENOMEM };

/* CAIRN_FAULTS=1: every call, which takes minutes; else every so many of them, which takes seconds. */
static unsigned long stride(void)
{
    const char *wish = getenv("CAIRN_FAULTS");
    unsigned long number = wish ? strtoul(wish, NULL, 10) : 0;
    return number ? number : 10;
}

/* ------------------------------------------------------------------------------------------------------------- the tests */

/* Either the step before came back or the one that was being saved; a save that said yes counts. */
static uint64_t look_what_stands(const char *path, uint64_t before, int code)
{
    uint64_t step = bring_back(path);
    if (step != before + 10 && (!code || step != before))
        fail_msg("%s failed as call %lu: %s, and step %llu came back", fault.name, fault.at, cairn_code_name(code),
                 (unsigned long long)step);
    return step;
}

enum { FAULTS_PER_RUN = 40 }; /* terms are kept for ever: a run that lives through thousands of lives gets slow to list */

/* A run lives through many faults: whatever one of them leaves behind the next save meets. */
static void fail_each_call_of_a_run(const char *name, uint32_t threads, unsigned long step_by)
{
    char path[600];
    unsigned long cases = 0;
    uint64_t step = 0;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
        for (unsigned long at = stride() == 1 ? 1 : 1 + e;; at += step_by) {
            if (cases % FAULTS_PER_RUN == 0) {
                snprintf(path, sizeof path, "%s/run", test_folder(name));
                for (step = 0; step < 40;) test_ok(live(path, step += 10, 1));
            }
            unsigned before = open_files();
            arm(at, errors[e]);
            int code = live(path, step + 10, threads);
            disarm(code, before);
            step = look_what_stands(path, step, code);
            if (!fault.fired) {
                assert_int_equal(code, CAIRN_OK);
                break;
            }
            cases++;
        }
    print_message("%lu faults, %u threads\n", cases, threads);
    assert_true(cases * stride() > 400);
}

static void a_run_that_goes_on_and_retires(void **unused)
{
    (void)unused;
    fail_each_call_of_a_run("alone", 1, stride());
}

static void many_tasks(void **unused)
{
    (void)unused;
    fail_each_call_of_a_run("tasks", 3, 3 * stride());
}

/* The writer is killed before its n-th call, for every n: the next one finds the old checkpoint or the new one, and goes on. */
static void killed_before_each_call(void **unused)
{
    char path[600];
    unsigned long cases = 0;
    uint64_t step = 0;
    int status = 1;
    (void)unused;
    for (unsigned long at = 1; status; at += stride(), cases++) {
        if (cases % FAULTS_PER_RUN == 0) {
            snprintf(path, sizeof path, "%s/run", test_folder("killed"));
            for (step = 0; step < 40;) test_ok(live(path, step += 10, 1));
        }
        pid_t child = fork();
        if (!child) {
            arm(at, KILLED);
            _exit(live(path, step + 10, 1) ? 1 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) assert_int_equal(status, 0);
        step = look_what_stands(path, step, WIFSIGNALED(status));
    }
    print_message("%lu kills\n", cases);
    assert_true(cases * stride() > 300);
}

/* The newest step before the head on the current line. */
static uint64_t step_before(const char *path, uint64_t head)
{
    cairn_listing *listing;
    uint64_t step = 0;
    test_ok(cairn_listing_open(path, &listing, &err));
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        if (entry->standing == CAIRN_CURRENT && entry->step < head) step = entry->step;
    }
    cairn_listing_close(listing);
    return step;
}

/* The same while it goes back from the head and takes another way: before its first commit the old head counts, after it the new one. */
static void killed_while_going_back(void **unused)
{
    char path[600];
    unsigned long cases = 0;
    uint64_t step = 0;
    int status = 1;
    (void)unused;
    keep_last = 0;
    for (unsigned long at = 1; status; at += stride(), cases++) {
        if (cases % FAULTS_PER_RUN == 0) {
            snprintf(path, sizeof path, "%s/run", test_folder("back"));
            for (step = 0; step < 30;) test_ok(live(path, step += 10, 1));
        }
        pid_t child = fork();
        if (!child) {
            back_to = step_before(path, step);
            arm(at, KILLED);
            _exit(live(path, step + 10, 1) ? 1 : 0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status)) assert_int_equal(status, 0);
        uint64_t head = look_what_stands(path, step, WIFSIGNALED(status));
        if (head == step) test_ok(live(path, head = step + 10, 1)); /* the old line goes on */
        step = head;
    }
    keep_last = 2;
    print_message("%lu kills\n", cases);
    assert_true(cases * stride() > 300);
}

static void a_new_run(void **unused)
{
    char folder[600], path[700];
    unsigned long cases = 0;
    (void)unused;
    snprintf(folder, sizeof folder, "%s", test_folder("new"));
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
        for (unsigned long at = stride() == 1 ? 1 : 1 + e;; at += stride()) {
            snprintf(path, sizeof path, "%s/%lu/run", folder, cases++);
            unsigned before = open_files();
            arm(at, errors[e]);
            int code = live(path, 10, 1);
            disarm(code, before);
            uint64_t step = look_what_stands(path, 0, code);
            test_ok(live(path, step + 10, 1));
            if (!fault.fired) {
                assert_int_equal(code, CAIRN_OK);
                break;
            }
        }
    print_message("%lu faults\n", cases);
    assert_true(cases * stride() > 400);
}

/* Marks, drops and removals of old checkpoints: a failure leaves each of them as it was or as it was to be. */
static int look_after(const char *path, uint64_t step)
{
    static const char *const tag = "t";
    char name[700];
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    options.add_tags = &tag, options.add_tags_count = 1, options.pin = 1;
    snprintf(name, sizeof name, "%s@%llu", path, (unsigned long long)step - 10);
    int code = cairn_mark(NULL, name, &options, &err);
    if (!code) code = cairn_drop_item(NULL, name, "optimizer", &err);
    snprintf(name, sizeof name, "%s@%llu", path, (unsigned long long)step - 20);
    options.pin = -1, options.add_tags_count = 0, options.remove_tags = &tag, options.remove_tags_count = 1;
    if (!code) code = cairn_mark(NULL, name, &options, &err);
    return code ? code : cairn_remove(NULL, name, &err);
}

static void upkeep(void **unused)
{
    char path[600], name[700];
    unsigned long cases = 0;
    uint64_t step = 0;
    int status;
    (void)unused;
    keep_last = 0;
    for (size_t e = 0; e < sizeof errors / sizeof *errors + 1; e++)
        for (unsigned long at = 1;; at += stride()) {
            if (cases++ % (FAULTS_PER_RUN / 4) == 0) { /* nothing is pruned here */
                snprintf(path, sizeof path, "%s/run", test_folder("upkeep"));
                for (step = 0; step < 30;) test_ok(live(path, step += 10, 1));
            }
            test_ok(live(path, step += 10, 1));
            if (e < sizeof errors / sizeof *errors) {
                unsigned before = open_files();
                arm(at, errors[e]);
                int code = look_after(path, step);
                disarm(code, before);
                if (!fault.fired) break;
            } else {
                pid_t child = fork();
                if (!child) {
                    arm(at, KILLED);
                    _exit(look_after(path, step) ? 1 : 0);
                }
                assert_int_equal(waitpid(child, &status, 0), child);
                if (!WIFSIGNALED(status)) break;
            }
            for (uint64_t back = 0; back <= 20; back += 10) {
                snprintf(name, sizeof name, "%s@%llu", path, (unsigned long long)(step - back));
                int code = cairn_verify(NULL, name, NULL, NULL, &err);
                if (code && !(back == 20 && code == CAIRN_E_NOTFOUND)) fail_msg("%s failed as call %lu: %s", fault.name, at, err.message);
            }
            assert_int_equal(bring_back(path), step);
        }
    keep_last = 2;
    print_message("%lu faults and kills\n", cases);
    assert_true(cases * stride() > 400);
}

static int count_run(void *user, const char *name)
{
    (void)name;
    ++*(int *)user;
    return 0;
}

/* Opens, reads, maps, verifies, lists: all that changes nothing. */
static int look(const char *store, const char *name)
{
    cairn_checkpoint *checkpoint = NULL;
    float row[1000], all[ELEMENTS];
    const void *mapped;
    static const uint64_t start[] = { 1, 0 }, extent[] = { 1, 1000 };
    int code = cairn_checkpoint_open(store, name, &checkpoint, &err);
    const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "wte");
    if (!code) code = cairn_checkpoint_read_slice(checkpoint, tensor, start, extent, row, sizeof row, &err);
    if (!code) code = cairn_checkpoint_read(checkpoint, tensor, 0, sizeof all, all, &err);
    if (!code && (row[0] != all[1000] || all[2999] != all[0] + 2999)) fail_msg("wrong bytes");
    if (!code && cairn_checkpoint_get_info(checkpoint)->source == CAIRN_SOURCE_CHECKPOINT) {
        code = cairn_checkpoint_map(checkpoint, tensor, &mapped, &err);
        if (!code && memcmp(mapped, all, sizeof all)) fail_msg("wrong bytes mapped");
    }
    cairn_checkpoint_close(checkpoint);
    return code ? code : cairn_verify(store, name, NULL, NULL, &err);
}

static int list(const char *store)
{
    char path[700];
    cairn_listing *listing = NULL;
    int runs = 0;
    snprintf(path, sizeof path, "%s/run", store);
    int code = cairn_store_list(store, count_run, &runs, &err);
    if (!code && !runs && !fault.fired) fail_msg("no run");
    if (!code) code = cairn_listing_open(path, &listing, &err);
    if (!code && cairn_listing_count(listing) < 2) fail_msg("%zu checkpoints", cairn_listing_count(listing));
    cairn_listing_close(listing);
    return code;
}

static void fail_each_call_of_a_reader(const char *store, const char *name)
{
    unsigned long cases = 0;
    for (size_t e = 0; e < sizeof errors / sizeof *errors; e++)
        for (unsigned long at = 1;; at += stride()) {
            unsigned before = open_files();
            arm(at, errors[e]);
            int code = name ? look(store, name) : list(store);
            disarm(code, before);
            if (!fault.fired) {
                assert_int_equal(code, CAIRN_OK);
                break;
            }
            cases++;
        }
    print_message("%lu faults\n", cases);
    assert_true(cases > 2);
}

static void readers(void **unused)
{
    char foreign[700], path[700], store[600];
    (void)unused;
    snprintf(store, sizeof store, "%s", test_folder("readers"));
    snprintf(path, sizeof path, "%s/run", store);
    for (uint64_t step = 10; step <= 30; step += 10) test_ok(live(path, step, 1));
    fail_each_call_of_a_reader(store, "run@30");
    fail_each_call_of_a_reader(store, "run@best");
    fail_each_call_of_a_reader(store, "run@good");
    fail_each_call_of_a_reader(store, NULL);
    snprintf(foreign, sizeof foreign, "%s/hub", store);
    test_shell("mkdir %s && cp %s/run/checkpoint-30/model* %s", foreign, store, foreign);
    fail_each_call_of_a_reader(NULL, foreign);
    snprintf(foreign, sizeof foreign, "%s/hub/model-00002-of-00002.safetensors", store);
    test_shell("test -f %s", foreign);
    fail_each_call_of_a_reader(NULL, foreign);
}

/* The system calls of the first save after a resume. With one thread: how often several wait for each other is chance. */
static unsigned long calls_of_a_save(const char *path, uint64_t step)
{
    static struct trainer t;
    cairn_run *run;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    options.io_threads = 1;
    test_ok(bind(&t));
    test_ok(cairn_run_open(path, &options, &run, &err));
    test_ok(cairn_restore(run, t.state, NULL, NULL, &err));
    arm(0, EIO);
    test_ok(save(run, &t, step));
    fault.armed = false;
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(t.state);
    return fault.calls;
}

static void what_a_save_costs_does_not_grow_with_what_is_kept(void **unused)
{
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("kept"));
    keep_last = 0;
    for (uint64_t step = 10; step <= 30; step += 10) test_ok(live(path, step, 1));
    unsigned long few = calls_of_a_save(path, 40);
    for (uint64_t step = 50; step <= 600; step += 10) test_ok(live(path, step, 1));
    assert_int_equal(calls_of_a_save(path, 610), few);
    keep_last = 2;
}

int main(void)
{
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    const struct CMUnitTest tests[] = { cmocka_unit_test(a_new_run),
                                        cmocka_unit_test(a_run_that_goes_on_and_retires),
                                        cmocka_unit_test(many_tasks),
                                        cmocka_unit_test(killed_before_each_call),
                                        cmocka_unit_test(killed_while_going_back),
                                        cmocka_unit_test(readers),
                                        cmocka_unit_test(upkeep),
                                        cmocka_unit_test(what_a_save_costs_does_not_grow_with_what_is_kept) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
