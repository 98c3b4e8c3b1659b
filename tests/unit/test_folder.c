/* Covers src/manager/folder.c, src/store/standalone.c, src/manager/follow.c and src/api/folder.c: one folder outside any run, replaced in one step; and an evaluator that follows
 * a trainer who saves, prunes and goes back. CAIRN_FOLLOW_S sets for how long (default 3 s). */
#include "support.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "os/os.h"

static cairn_error err = CAIRN_ERROR_INIT;

enum { LARGE = 300000 };

struct model {
    cairn_state *state;
    float *weights;
    int64_t epoch;
};

static void open_model(struct model *m)
{
    static const uint64_t shape[] = { 3, LARGE / 3 };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    m->weights = calloc(LARGE, sizeof(float));
    m->epoch = 0;
    test_ok(cairn_state_new(&m->state, &err));
    tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 2, tensor.shape = shape, tensor.address = m->weights,
    tensor.flags = CAIRN_TRAINABLE;
    test_ok(cairn_state_bind_tensor(m->state, "model", &tensor, &err));
    test_ok(cairn_state_bind_i64(m->state, "run", "epoch", &m->epoch, &err));
}

static void close_model(struct model *m)
{
    cairn_state_free(m->state);
    free(m->weights);
}

static void train(struct model *m, int64_t epoch)
{
    for (size_t i = 0; i < LARGE; i++) m->weights[i] = (float)epoch + (float)i * 0.5f;
    m->epoch = epoch;
}

static void expect(struct model *m, int64_t epoch)
{
    assert_true(m->epoch == epoch && m->weights[0] == (float)epoch && m->weights[LARGE - 1] == (float)epoch + (LARGE - 1) * 0.5f);
}

static void a_folder_is_saved_replaced_and_loaded(void **unused)
{
    struct model m;
    char path[600], folder[300];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    cairn_restore_report restored = CAIRN_RESTORE_REPORT_INIT;
    cairn_attachment config = { "config.json", NULL, "{}", 2 };
    (void)unused;
    open_model(&m);
    snprintf(folder, sizeof folder, "%s", test_folder("one"));
    snprintf(path, sizeof path, "%s/adapter/", folder);
    train(&m, 1);
    options.attachments = &config, options.attachments_count = 1;
    test_ok(cairn_save_folder(path, m.state, &options, &report, &err));
    assert_true(!strcmp(report.name, "adapter") && report.total_bytes == LARGE * 4 && report.healthy);
    train(&m, 2);
    test_code(cairn_save_folder(path, m.state, &options, NULL, &err), CAIRN_E_EXISTS);
    test_ok(cairn_load(folder, "adapter", m.state, NULL, &restored, &err));
    expect(&m, 1);
    assert_true(restored.counts[CAIRN_RESTORED] == 2 && restored.bytes == LARGE * 4);
    options.replace = 1;
    for (int64_t epoch = 2; epoch <= 4; epoch++) {
        train(&m, epoch);
        test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
        train(&m, 99);
        test_ok(cairn_load(NULL, path, m.state, NULL, NULL, &err));
        expect(&m, epoch);
        test_ok(cairn_verify(NULL, path, NULL, NULL, &err));
    }
    test_shell("test \"$(ls -A %s)\" = adapter && test -f %s/adapter/config.json", folder, folder);
    /* a reader that has the old one open keeps it */
    cairn_checkpoint *old;
    float first;
    test_ok(cairn_checkpoint_open(NULL, path, &old, &err));
    train(&m, 5);
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    test_ok(cairn_checkpoint_read(old, cairn_checkpoint_tensor(old, 0), 0, 4, &first, &err));
    assert_true(first == 4);
    cairn_checkpoint_close(old);
    close_model(&m);
}

static void what_stands_there_is_not_harmed(void **unused)
{
    struct model m;
    char path[600], folder[300];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    (void)unused;
    open_model(&m);
    options.replace = 1;
    snprintf(folder, sizeof folder, "%s", test_folder("stands"));
    static const char *const plants[] = { "mkdir %s/x && touch %s/x/precious", "echo hi > %s/x", "ln -s /etc %s/x", "mkfifo %s/x",
                                          "mkdir %s/x" };
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        test_shell("rm -rf %s/x", folder);
        test_shell(plants[i], folder, folder);
        snprintf(path, sizeof path, "%s/x", folder);
        test_code(cairn_save_folder(path, m.state, &options, NULL, &err), CAIRN_E_FOREIGN);
        test_shell("test \"$(ls -A %s)\" = x", folder);
    }
    snprintf(path, sizeof path, "%s/none/x", folder);
    test_code(cairn_save_folder(path, m.state, &options, NULL, &err), CAIRN_E_NOTFOUND);
    test_code(cairn_save_folder("/", m.state, &options, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_save_folder("a/..", m.state, &options, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_save_folder(NULL, m.state, &options, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_save_folder("x", NULL, &options, NULL, &err), CAIRN_E_USAGE);
    options.io_threads = 99;
    test_code(cairn_save_folder("x", m.state, &options, NULL, &err), CAIRN_E_USAGE);
    options.struct_size = 1;
    test_code(cairn_save_folder("x", m.state, &options, NULL, &err), CAIRN_E_USAGE);
    test_code(cairn_load(NULL, "/nowhere", m.state, NULL, NULL, &err), CAIRN_E_NOTFOUND);
    test_code(cairn_load(NULL, NULL, m.state, NULL, NULL, &err), CAIRN_E_USAGE);
    close_model(&m);
}

/* A checkpoint of a run is no folder of its own, whatever replace says; nor is a pinned one for replacing. */
static void what_a_run_holds_is_not_replaced(void **unused)
{
    struct model m;
    char path[600], folder[300];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    cairn_save_options saving = CAIRN_SAVE_OPTIONS_INIT;
    cairn_mark_options marks = CAIRN_MARK_OPTIONS_INIT;
    cairn_run *run;
    (void)unused;
    options.replace = 1;
    snprintf(folder, sizeof folder, "%s", test_folder("held"));
    snprintf(path, sizeof path, "%s/run", folder);
    open_model(&m);
    test_ok(cairn_run_open(path, NULL, &run, &err));
    saving.step = 1;
    test_ok(cairn_save(run, m.state, &saving, NULL, &err));
    test_ok(cairn_run_close(run, &err));
    static const char *const names[] = { "checkpoint-1", "checkpoint-2", "mine" };
    for (int lost = 0; lost < 2; lost++) {
        for (size_t i = 0; i < 3; i++) {
            snprintf(path, sizeof path, "%s/run/%s", folder, names[i]);
            test_code(cairn_save_folder(path, m.state, &options, NULL, &err), CAIRN_E_USAGE);
            assert_non_null(strstr(err.message, "lies in a run's folder"));
        }
        test_shell(
            "cd %s/run && test \"$(ls -d checkpoint-* mine 2>/dev/null)\" = checkpoint-1 && test -z \"$(ls -d .[0-9a-f]*.cairn 2>/dev/null)\" && rm -f run.json",
            folder);
    }
    snprintf(path, sizeof path, "%s/own", folder);
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    marks.pin = 1;
    test_ok(cairn_mark(NULL, path, &marks, &err));
    test_code(cairn_save_folder(path, m.state, &options, NULL, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "pinned"));
    marks.pin = -1;
    test_ok(cairn_mark(NULL, path, &marks, &err));
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    close_model(&m);
}

/* ------------------------------------------------------------------------------------------- others are faster by a moment */

static const char *meanwhile; /* a shell command: done once, just before the new folder takes its name */

static void do_meanwhile(void)
{
    const char *command = meanwhile;
    meanwhile = NULL;
    if (command) test_shell("%s", command);
}

int __real_cn_os_exchange(cn_file dir, const char *one, const char *other);
int __wrap_cn_os_exchange(cn_file dir, const char *one, const char *other);
int __wrap_cn_os_exchange(cn_file dir, const char *one, const char *other)
{
    do_meanwhile();
    return __real_cn_os_exchange(dir, one, other);
}

int __real_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_rename_new(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    do_meanwhile();
    return __real_cn_os_rename_new(from_dir, from, to_dir, to);
}

static int folders_fail_with; /* errno: no folder can be listed, as for its marks */

int __real_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);
int __wrap_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user);
int __wrap_cn_os_list(cn_file dir, int (*each)(void *user, const char *name), void *user)
{
    return folders_fail_with ? -folders_fail_with : __real_cn_os_list(dir, each, user);
}

/* It is looked at again: what is a checkpoint is replaced, what is none stays beside. */
static void what_comes_meanwhile_is_looked_at(void **unused)
{
    static const struct {
        const char *before, *meanwhile;
        int code;
        const char *after;
    } cases[] = {
        { "true", "cp -a first x", CAIRN_OK, "test -f x/manifest.json" },
        { "cp -a first x", "rm -r x", CAIRN_OK, "test -f x/manifest.json" },
        { "cp -a first x", "rm -r x && mkdir x && touch x/precious", CAIRN_E_FOREIGN, "test \"$(ls x.replaced.*)\" = precious" },
        { "cp -a first x", "rm -r x && echo precious > x", CAIRN_E_FOREIGN, "test \"$(cat x.replaced.*)\" = precious" },
        { "cp -a first x", "cp pinned/marks.1.json x", CAIRN_E_USAGE, "test -f x.replaced.*/marks.1.json" },
        { "cp -a first x", "echo '{' > x/marks.1.json", CAIRN_E_TRUNCATED, "test -f x.replaced.*/marks.1.json" },
    };
    struct model m;
    char path[600], folder[300], command[600];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    cairn_mark_options pin = CAIRN_MARK_OPTIONS_INIT;
    (void)unused;
    open_model(&m);
    snprintf(folder, sizeof folder, "%s", test_folder("meanwhile"));
    snprintf(path, sizeof path, "%s/first", folder);
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    test_shell("cp -a %s %s/pinned", path, folder);
    pin.pin = 1;
    test_ok(cairn_mark(folder, "pinned", &pin, &err));
    snprintf(path, sizeof path, "%s/x", folder);
    options.replace = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_shell("cd %s && rm -rf x* && %s", folder, cases[i].before);
        snprintf(command, sizeof command, "cd %s && %s", folder, cases[i].meanwhile);
        meanwhile = command;
        test_code(cairn_save_folder(path, m.state, &options, NULL, &err), cases[i].code);
        assert_null(meanwhile);
        test_shell("cd %s && %s && test -z \"$(ls -d .*.cairn* 2>/dev/null)\"", folder, cases[i].after);
        test_ok(cairn_load(NULL, path, m.state, NULL, NULL, &err)); /* ours stands there */
    }
    close_model(&m);
}

/* What a dead saver left goes, even half removed. An old checkpoint that is pinned stays, so does what came by an exchange and is none. */
static void what_a_dead_saver_left_goes(void **unused)
{
    static const char hidden[] = ".0123456789abcdef0123456789abcdef.cairn";
    static const struct {
        const char *plant, *suffix;
        bool stays;
    } cases[] = {
        { "mkdir $hidden", "", false },
        { "mkdir -p $hidden/training && touch $hidden/model.safetensors", "", false },
        { "cp -a x $hidden && rm $hidden/manifest.json", "", false },
        { "cp -a x $hidden", "-old", false },
        { "cp -a x $hidden && cp pinned/marks.1.json $hidden", "-old", true },
        { "cp -a x $hidden && echo x > $hidden/marks.1.json", "-old", true },
        { "mkdir -p $hidden/training && touch $hidden/training/thesis", "-old", true },
        { "echo precious > $hidden", "-old", true },
    };
    struct model m;
    char path[600], folder[300];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    cairn_mark_options pin = CAIRN_MARK_OPTIONS_INIT;
    (void)unused;
    open_model(&m);
    options.replace = 1;
    snprintf(folder, sizeof folder, "%s", test_folder("leftovers"));
    snprintf(path, sizeof path, "%s/x", folder);
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    test_shell("cp -a %s %s/pinned", path, folder);
    pin.pin = 1;
    test_ok(cairn_mark(folder, "pinned", &pin, &err));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_shell("cd %s && hidden=%s%s && %s", folder, hidden, cases[i].suffix, cases[i].plant);
        test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
        test_shell("cd %s && test %s -e %s%s && rm -rf .*.cairn*", folder, cases[i].stays ? "" : "!", hidden, cases[i].suffix);
    }
    close_model(&m);
}

/* Whether it is pinned must be known: a system call that fails is no "no". */
static void what_cannot_be_looked_at_is_not_replaced(void **unused)
{
    struct model m;
    char path[600];
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    (void)unused;
    open_model(&m);
    options.replace = 1;
    snprintf(path, sizeof path, "%s/x", test_folder("blind"));
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    test_shell("echo x >> %s/manifest.json", path); /* damaged: what its marks say counts yet */
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    folders_fail_with = EIO;
    test_code(cairn_save_folder(path, m.state, &options, NULL, &err), CAIRN_E_IO);
    folders_fail_with = 0;
    test_ok(cairn_load(NULL, path, m.state, NULL, NULL, &err));
    close_model(&m);
}

/* Whole pages and not, several blocks, and a tail. */
enum { FRESH_BYTES = (8 << 20) + 4096, ODD_BYTES = (4 << 20) + 20 };

struct memory {
    cairn_state *state;
    unsigned char *whole, *odd; /* page-aligned */
};

static void open_memory(struct memory *memory, uint32_t flags, size_t shift)
{
    static const uint64_t shapes[] = { FRESH_BYTES, ODD_BYTES };
    test_ok(cairn_state_new(&memory->state, &err));
    memory->whole = aligned_alloc(4096, FRESH_BYTES + 4096), memory->odd = aligned_alloc(4096, ODD_BYTES + 8192 - ODD_BYTES % 4096);
    for (int i = 0; i < 2; i++) {
        cairn_tensor tensor = CAIRN_TENSOR_INIT;
        tensor.name = i ? "odd" : "whole", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &shapes[i], tensor.flags = flags;
        tensor.address = (i ? memory->odd : memory->whole) + shift;
        memset(tensor.address, 0x5a, shapes[i]);
        test_ok(cairn_state_bind_tensor(memory->state, "model", &tensor, &err));
    }
}

static void close_memory(struct memory *memory)
{
    cairn_state_free(memory->state);
    free(memory->whole);
    free(memory->odd);
}

struct heard {
    uint64_t calls, done_bytes, total_bytes;
    bool went_back;
};

static void hear(void *user, uint64_t done_bytes, uint64_t total_bytes)
{
    struct heard *heard = user;
    heard->calls++;
    heard->went_back |= done_bytes < heard->done_bytes || done_bytes > total_bytes;
    heard->done_bytes = done_bytes, heard->total_bytes = total_bytes;
}

static void a_load_tells_how_far_it_is(void **unused)
{
    char path[600];
    struct memory saved;
    struct heard heard = { 0 }, of_damaged = { 0 };
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/weights", test_folder("told"));
    open_memory(&saved, 0, 0);
    test_ok(cairn_save_folder(path, saved.state, NULL, NULL, &err));
    options.progress = hear, options.user = &heard;
    test_ok(cairn_load(NULL, path, saved.state, &options, NULL, &err));
    assert_true(heard.calls > 1 && heard.done_bytes == FRESH_BYTES + ODD_BYTES && heard.total_bytes == heard.done_bytes &&
                !heard.went_back);
    test_damage(path, "model.safetensors", 6 << 20);
    options.user = &of_damaged;
    test_code(cairn_load(NULL, path, saved.state, &options, NULL, &err), CAIRN_E_TORN_STATE);
    assert_int_equal(err.cause, CAIRN_E_CORRUPT);
    assert_true(of_damaged.calls && of_damaged.done_bytes < of_damaged.total_bytes); /* never that all is done */
    close_memory(&saved);
}

static void fresh_memory_is_read_into_and_checked(void **unused)
{
    char path[600];
    struct memory saved, loaded;
    (void)unused;
    snprintf(path, sizeof path, "%s/weights", test_folder("fresh"));
    open_memory(&saved, 0, 0);
    for (size_t i = 0; i < FRESH_BYTES; i++) saved.whole[i] = (unsigned char)(i * 31 >> 7);
    for (size_t i = 0; i < ODD_BYTES; i++) saved.odd[i] = (unsigned char)(i * 17 >> 5);
    test_ok(cairn_save_folder(path, saved.state, NULL, NULL, &err));
    for (size_t shift = 0; shift < 128; shift += 64) { /* the second is no whole page */
        for (int cached = 0; cached < 2; cached++) {
            open_memory(&loaded, CAIRN_FRESH, shift);
            if (!cached) test_shell("for file in %s/*.safetensors; do dd if=$file iflag=nocache count=0 status=none; done", path);
            test_ok(cairn_load(NULL, path, loaded.state, NULL, NULL, &err));
            assert_memory_equal(loaded.whole + shift, saved.whole, FRESH_BYTES);
            assert_memory_equal(loaded.odd + shift, saved.odd, ODD_BYTES);
            close_memory(&loaded);
        }
    }
    test_damage(path, "model.safetensors", 6 << 20);
    open_memory(&loaded, CAIRN_FRESH, 0);
    test_code(cairn_load(NULL, path, loaded.state, NULL, NULL, &err), CAIRN_E_CORRUPT); /* never TORN_STATE: there was nothing in it */
    assert_int_equal(err.cause, CAIRN_OK);
    close_memory(&loaded);
    close_memory(&saved);
}

/* Somebody's published weights, damage told before and after the first byte, a step of a run. */
static void anything_that_can_be_opened_can_be_loaded(void **unused)
{
    struct model m;
    char path[600], folder[300];
    (void)unused;
    open_model(&m);
    snprintf(folder, sizeof folder, "%s", test_folder("load"));
    snprintf(path, sizeof path, "%s/a", folder);
    train(&m, 7);
    test_ok(cairn_save_folder(path, m.state, NULL, NULL, &err));
    test_shell("cd %s && mkdir hub && cp a/model.safetensors hub && cp a/model.safetensors other.safetensors", folder);
    cairn_state *weights_only;
    static const uint64_t shape[] = { 3, LARGE / 3 }, wrong[] = { LARGE };
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    test_ok(cairn_state_new(&weights_only, &err));
    tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 2, tensor.shape = shape, tensor.address = m.weights,
    tensor.flags = CAIRN_TRAINABLE;
    test_ok(cairn_state_bind_tensor(weights_only, "model", &tensor, &err));
    static const char *const names[] = { "a", "hub", "other.safetensors" };
    for (int i = 0; i < 3; i++) {
        memset(m.weights, 0, LARGE * 4);
        test_ok(cairn_load(folder, names[i], weights_only, NULL, NULL, &err));
        assert_true(m.weights[2] == 8);
    }
    cairn_state_free(weights_only);
    test_ok(cairn_state_new(&weights_only, &err));
    tensor.rank = 1, tensor.shape = wrong;
    test_ok(cairn_state_bind_tensor(weights_only, "model", &tensor, &err));
    test_code(cairn_load(folder, "hub", weights_only, NULL, NULL, &err), CAIRN_E_MISMATCH);
    cairn_state_free(weights_only);
    test_damage(folder, "a/model.safetensors", 5000);
    test_code(cairn_load(folder, "a", m.state, NULL, NULL, &err), CAIRN_E_CORRUPT); /* one block: nothing was touched */
    close_model(&m);
}

/* Killed at random while it replaces: the old one or the new one, never none, never half. */
static void a_kill_leaves_the_old_or_the_new(void **unused)
{
    char path[600], folder[300];
    struct model m;
    (void)unused;
    snprintf(folder, sizeof folder, "%s", test_folder("kill"));
    snprintf(path, sizeof path, "%s/a", folder);
    open_model(&m);
    train(&m, 1);
    test_ok(cairn_save_folder(path, m.state, NULL, NULL, &err));
    for (int round = 0; round < 30; round++) {
        pid_t child = fork();
        if (!child) {
            cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
            options.replace = 1;
            for (int64_t epoch = 2;; epoch++) {
                train(&m, epoch);
                if (cairn_save_folder(path, m.state, &options, NULL, NULL)) _exit(1);
            }
        }
        usleep(5000 + (useconds_t)(round * 777 % 30000));
        kill(child, SIGKILL);
        int status;
        waitpid(child, &status, 0);
        assert_true(WIFSIGNALED(status));
        test_ok(cairn_load(NULL, path, m.state, NULL, NULL, &err));
        expect(&m, m.epoch);
    }
    /* what the killed ones left goes with the next save beside it, of any name; a folder that merely looks hidden stays */
    test_shell("mkdir %s/.cairn %s/.precious.cairn", folder, folder);
    snprintf(path, sizeof path, "%s/b", folder);
    test_ok(cairn_save_folder(path, m.state, NULL, NULL, &err));
    test_shell("test \"$(ls -A %s | xargs)\" = '.cairn .precious.cairn a b'", folder);
    close_model(&m);
}

/* Replaced under a reader's hands: it reads on, and the old one goes with the first save after it is done. */
static void a_replaced_one_stays_while_it_is_read(void **unused)
{
    char path[600], folder[300];
    struct model m;
    cairn_checkpoint *reader;
    cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
    float *first = malloc(LARGE * sizeof *first);
    (void)unused;
    options.replace = 1;
    snprintf(folder, sizeof folder, "%s", test_folder("read"));
    snprintf(path, sizeof path, "%s/a", folder);
    open_model(&m);
    train(&m, 1);
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    memcpy(first, m.weights, LARGE * sizeof *first);
    test_ok(cairn_checkpoint_open(NULL, path, &reader, &err));
    for (int64_t epoch = 2; epoch < 4; epoch++) {
        train(&m, epoch);
        test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
        test_shell("test $(ls -A %s | wc -l) = 2", folder);
    }
    float *read = malloc(LARGE * sizeof *read);
    test_ok(cairn_checkpoint_read(reader, cairn_checkpoint_find(reader, "model", "w"), 0, LARGE * sizeof *read, read, &err));
    assert_memory_equal(read, first, LARGE * sizeof *read);
    cairn_checkpoint_close(reader);
    test_ok(cairn_save_folder(path, m.state, &options, NULL, &err));
    test_shell("test \"$(ls -A %s)\" = a", folder);
    free(first);
    free(read);
    close_model(&m);
}

/* A save beside another one that is still at it takes nothing away from it. */
static void savers_beside_each_other_do_no_harm(void **unused)
{
    char folder[300];
    pid_t children[4];
    (void)unused;
    snprintf(folder, sizeof folder, "%s", test_folder("beside"));
    for (int i = 0; i < 4; i++) {
        if ((children[i] = fork())) continue;
        char path[600];
        struct model m;
        cairn_folder_options options = CAIRN_FOLDER_OPTIONS_INIT;
        options.replace = 1;
        snprintf(path, sizeof path, "%s/%d", folder, i % 3);
        open_model(&m);
        for (int64_t epoch = 1; epoch <= 30; epoch++) {
            train(&m, epoch);
            int code = cairn_save_folder(path, m.state, &options, NULL, &err);
            if (code && code != CAIRN_E_EXISTS) fprintf(stderr, "%s\n", err.message), _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < 4; i++) {
        int status;
        waitpid(children[i], &status, 0);
        assert_int_equal(status, 0);
    }
    test_shell("test \"$(ls -A %s | xargs)\" = '0 1 2'", folder);
}

/* ------------------------------------------------------------------------------------------------------------- following */

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Saves, keeps three, goes back every now and then, until it is over. */
static int run_trainer(const char *path, double until)
{
    struct model m;
    cairn_run *run;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_save_options saving = CAIRN_SAVE_OPTIONS_INIT;
    cairn_restore_options restoring = CAIRN_RESTORE_OPTIONS_INIT;
    open_model(&m);
    options.keep_last = 3;
    if (cairn_run_open(path, &options, &run, &err)) return 1;
    for (uint64_t step = 1; seconds() < until || step < 50; step++) {
        train(&m, (int64_t)step);
        saving.step = step;
        if (cairn_save(run, m.state, &saving, NULL, &err)) return 2;
        usleep(50000); /* other tests want the processor, too */
        if (step % 200 == 0) {
            restoring.step = step - 2;
            if (cairn_wait(run, &err)) return 3;
            if (cairn_restore(run, m.state, &restoring, NULL, &err)) return 4;
            step += 1; /* numbers go on, so that the follower can tell */
        }
    }
    int code = cairn_run_close(run, &err);
    close_model(&m);
    return code ? 5 : 0;
}

static void an_evaluator_follows_a_live_run(void **unused)
{
    const char *wish = getenv("CAIRN_FOLLOW_S");
    double duration = wish ? atof(wish) : 3, until = seconds() + duration;
    char path[600];
    struct model m;
    cairn_position position = { 0, 0 }, before;
    uint64_t opened = 0, gone = 0;
    bool ended = false;
    int status = 0;
    (void)unused;
    snprintf(path, sizeof path, "%s/store/run", test_folder("follow"));
    pid_t trainer = fork();
    if (!trainer) _exit(run_trainer(path, until));
    open_model(&m);
    for (;;) { /* until the trainer has ended and nothing more comes */
        cairn_checkpoint *checkpoint;
        before = position;
        if (!ended && waitpid(trainer, &status, WNOHANG) == trainer) ended = true;
        test_ok(cairn_wait_for_new(path, &position, 500, &checkpoint, &err));
        if (!checkpoint) {
            if (ended) break;
            continue;
        }
        assert_true(position.term > before.term || (position.term == before.term && position.step > before.step));
        const cairn_tensor_info *tensor = cairn_checkpoint_find(checkpoint, "model", "w");
        int code = cairn_checkpoint_read(checkpoint, tensor, 0, LARGE * 4, m.weights, &err);
        if (code == CAIRN_E_GONE)
            gone++;
        else
            test_ok(code);
        m.epoch = cairn_value_get_int(cairn_value_find(cairn_value_find(cairn_checkpoint_values(checkpoint), "run"), "epoch"));
        if (!code) expect(&m, (int64_t)position.step); /* whole, and the one it says it is */
        cairn_checkpoint_close(checkpoint);
        opened++;
    }
    assert_int_equal(status, 0);
    print_message("%llu checkpoints followed in %.0f s, %llu gone\n", (unsigned long long)opened, duration, (unsigned long long)gone);
    assert_true(opened >= (uint64_t)duration * 3);
    /* the newest of all was seen */
    cairn_listing *listing;
    test_ok(cairn_listing_open(path, &listing, &err));
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        if (entry->is_latest) assert_true(entry->step == position.step && entry->term == position.term);
    }
    cairn_listing_close(listing);
    close_model(&m);
}

/* It is told of once; what comes after it is followed. */
static void a_damaged_one_stops_no_follower(void **unused)
{
    struct model m;
    char path[600];
    cairn_run *run;
    cairn_position position = { 0, 0 };
    cairn_save_options options = TEST_SAVE_OPTIONS;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("damaged"));
    open_model(&m);
    test_ok(cairn_run_open(path, NULL, &run, &err));
    for (options.step = 1; options.step <= 3; options.step++) test_ok(cairn_save(run, m.state, &options, NULL, &err));
    test_ok(cairn_run_close(run, &err));
    test_shell("truncate -s 50 %s/checkpoint-2/training/tensors.json", path);
    for (uint64_t step = 1; step <= 3; step++) {
        cairn_checkpoint *checkpoint = NULL;
        int code = cairn_wait_for_new(path, &position, 1000, &checkpoint, &err);
        test_code(code, step == 2 ? CAIRN_E_CORRUPT : CAIRN_OK);
        assert_true(position.step == step && (checkpoint != NULL) == (step != 2));
        cairn_checkpoint_close(checkpoint);
    }
    close_model(&m);
}

static void what_can_never_be_a_run_is_not_waited_for(void **unused)
{
    static const char *const hopeless[] = { "/dev/null", "/dev/null/run", "/proc/self/status", "/proc/self/status/" };
    cairn_position position = { 0, 0 };
    cairn_checkpoint *checkpoint = NULL;
    (void)unused;
    for (size_t i = 0; i < sizeof hopeless / sizeof *hopeless; i++) {
        double start = seconds();
        err.message[0] = 0;
        test_code(cairn_wait_for_new(hopeless[i], &position, 5000, &checkpoint, &err), CAIRN_E_NOTFOUND);
        assert_true(seconds() - start < 4 && strstr(err.message, hopeless[i]) && strstr(err.message, "Not a directory"));
    }
}

static void waiting_has_an_end(void **unused)
{
    cairn_position position = { 0, 0 };
    cairn_checkpoint *checkpoint = (cairn_checkpoint *)(uintptr_t)8;
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("end"));
    double start = seconds();
    err.message[0] = 0;
    test_ok(cairn_wait_for_new(path, &position, 60, &checkpoint, &err));
    assert_true(!checkpoint && seconds() - start >= 0.06);
    test_shell("mkdir %s", path);
    test_ok(cairn_wait_for_new(path, &position, 60, &checkpoint, &err)); /* it may be about to become one */
    assert_true(!checkpoint && !err.message[0]);
    test_shell("echo junk > %s/run.json", path);
    test_code(cairn_wait_for_new(path, &position, 60, &checkpoint, &err), CAIRN_E_TRUNCATED);
    test_code(cairn_wait_for_new(path, NULL, 60, &checkpoint, &err), CAIRN_E_USAGE);
    test_code(cairn_wait_for_new("", &position, 60, &checkpoint, &err), CAIRN_E_USAGE);
}

int main(void)
{
    const char *only = getenv("CAIRN_TEST_ONLY");
    if (only) cmocka_set_test_filter(only);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_is_saved_replaced_and_loaded),
        cmocka_unit_test(a_load_tells_how_far_it_is),
        cmocka_unit_test(fresh_memory_is_read_into_and_checked),
        cmocka_unit_test(what_stands_there_is_not_harmed),
        cmocka_unit_test(what_a_run_holds_is_not_replaced),
        cmocka_unit_test(what_comes_meanwhile_is_looked_at),
        cmocka_unit_test(what_a_dead_saver_left_goes),
        cmocka_unit_test(what_cannot_be_looked_at_is_not_replaced),
        cmocka_unit_test(anything_that_can_be_opened_can_be_loaded),
        cmocka_unit_test(a_kill_leaves_the_old_or_the_new),
        cmocka_unit_test(a_replaced_one_stays_while_it_is_read),
        cmocka_unit_test(savers_beside_each_other_do_no_harm),
        cmocka_unit_test(an_evaluator_follows_a_live_run),
        cmocka_unit_test(waiting_has_an_end),
        cmocka_unit_test(what_can_never_be_a_run_is_not_waited_for),
        cmocka_unit_test(a_damaged_one_stops_no_follower),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
