/* Covers src/snapshot/save.c, src/snapshot/restore.c, src/snapshot/unbound.c, src/manager/run_save.c and src/manager/run_restore.c: the whole way through the public calls -
 * save, restore, fall back, fence, refuse - over direct and buffered I/O, one thread and several, an arena of three pieces. */
#include "support.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "os/os.h"
#include "snapshot/value.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char messages[8192];

enum { ROWS = 300, COLUMNS = 10007 };

struct trainer {
    cairn_state *state;
    float *weights, *moments;
    uint8_t mask[5001];
    float scale;
    int64_t position;
    uint64_t rng;
    double rate;
    int warm;
};

static void note(void *user, const char *message)
{
    (void)user;
    size_t used = strlen(messages);
    snprintf(messages + used, sizeof messages - used, "%s\n", message);
}

static void bind(struct trainer *t, const char *item, const char *name, cairn_dtype dtype, uint32_t rank, const uint64_t *shape,
                 uint32_t flags, void *address)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.rank = rank;
    tensor.shape = shape;
    tensor.flags = flags;
    tensor.address = address;
    test_ok(cairn_state_bind_tensor(t->state, item, &tensor, &err));
}

static void trainer_open(struct trainer *t)
{
    static const uint64_t shape[] = { ROWS, COLUMNS }, bytes[] = { 5001 }, none[] = { 0, 7 };
    memset(t, 0, sizeof *t);
    test_ok(cairn_state_new(&t->state, &err));
    t->weights = calloc(ROWS * COLUMNS, sizeof(float));
    t->moments = calloc(ROWS * COLUMNS, sizeof(float));
    bind(t, "model", "wte", CAIRN_F32, 2, shape, CAIRN_TRAINABLE, t->weights);
    bind(t, "model", "mask", CAIRN_U8, 1, bytes, 0, t->mask);
    bind(t, "model", "scale", CAIRN_F32, 0, NULL, CAIRN_FROZEN, &t->scale);
    bind(t, "model", "nothing", CAIRN_BF16, 2, none, 0, NULL);
    bind(t, "optimizer", "exp_avg/wte", CAIRN_F32, 2, shape, CAIRN_OPTIMIZER, t->moments);
    test_ok(cairn_state_bind_alias(t->state, "model", "head", "wte", &err));
    test_ok(cairn_state_bind_i64(t->state, "data", "position", &t->position, &err));
    test_ok(cairn_state_bind_u64(t->state, "rng", "words/0", &t->rng, &err));
    test_ok(cairn_state_bind_f64(t->state, "scheduler", "rate", &t->rate, &err));
    test_ok(cairn_state_bind_bool(t->state, "scheduler", "warm", &t->warm, &err));
}

static void trainer_close(struct trainer *t)
{
    cairn_state_free(t->state);
    free(t->weights);
    free(t->moments);
}

static void train(struct trainer *t, uint64_t step)
{
    for (size_t i = 0; i < ROWS * COLUMNS; i++) {
        t->weights[i] = (float)step + (float)i * 1e-3f;
        t->moments[i] = -(float)i / (float)(step + 1);
    }
    t->mask[5000] = (uint8_t)step;
    t->scale = 0.5f;
    t->position = -(int64_t)step;
    t->rng = UINT64_MAX - step;
    t->rate = 1.0 / (double)(step + 3);
    t->warm = step & 1;
}

static void check(const struct trainer *t, uint64_t step)
{
    struct trainer want = { .weights = malloc(ROWS * COLUMNS * sizeof(float)), .moments = malloc(ROWS * COLUMNS * sizeof(float)) };
    train(&want, step);
    assert_memory_equal(t->weights, want.weights, ROWS * COLUMNS * sizeof(float));
    assert_memory_equal(t->moments, want.moments, ROWS * COLUMNS * sizeof(float));
    assert_int_equal(t->mask[5000], want.mask[5000]);
    assert_true(t->scale == want.scale && t->position == want.position && t->rng == want.rng && t->rate == want.rate &&
                t->warm == want.warm);
    free(want.weights);
    free(want.moments);
}

static cairn_run *open_run(const char *path, cairn_run_options options)
{
    cairn_run *run = NULL;
    options.message = note;
    test_ok(cairn_run_open(path, &options, &run, &err));
    return run;
}

static int save(cairn_run *run, struct trainer *t, uint64_t step)
{
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_metric metric = { "loss", 1.0 / (double)step };
    train(t, step);
    options.step = step;
    options.metrics = &metric;
    options.metrics_count = 1;
    return cairn_save(run, t->state, &options, NULL, &err);
}

#define SEALED_LATER "{\"cairn\":\"run\",\"version\":2,\"id\":\"0123456789abcdef0123456789abcdef\""

/* A run with checkpoints of steps 10, 20, .. count * 10. */
static void make_run(const char *path, int count)
{
    struct trainer t;
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    for (int i = 1; i <= count; i++) test_ok(save(run, &t, (uint64_t)i * 10));
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static uint64_t restore(cairn_run *run, struct trainer *t)
{
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    test_ok(cairn_restore(run, t->state, NULL, &report, &err));
    return report.step;
}

static void every_engine_round_trips(void **unused)
{
    static const struct {
        cairn_io_mode mode;
        uint32_t threads;
        uint64_t arena, shard;
    } cases[] = { { CAIRN_IO_AUTO, 0, 0, 0 },     { CAIRN_IO_BUFFERED, 4, 0, 0 },   { CAIRN_IO_AUTO, 1, 0, 0 },
                  { CAIRN_IO_BUFFERED, 1, 1, 0 }, { CAIRN_IO_AUTO, 3, 1, 5000000 }, { CAIRN_IO_BUFFERED, 3, 1, 5000000 } };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct trainer t;
        char path[600];
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        snprintf(path, sizeof path, "%s/store/run", test_folder("engine"));
        options.io_mode = cases[i].mode;
        options.io_threads = cases[i].threads;
        options.arena_bytes = cases[i].arena;
        options.shard_bytes = cases[i].shard;
        trainer_open(&t);
        cairn_run *run = open_run(path, options);
        assert_int_equal(restore(run, &t), 0);
        test_ok(save(run, &t, 10));
        test_ok(save(run, &t, 20));
        test_ok(cairn_run_close(run, &err));
        memset(t.weights, 0xff, ROWS * COLUMNS * sizeof(float));
        run = open_run(path, options);
        assert_int_equal(restore(run, &t), 20);
        check(&t, 20);
        test_ok(cairn_run_close(run, &err));
        char newest[700];
        snprintf(newest, sizeof newest, "%s/checkpoint-20", path);
        test_ok(cairn_verify(NULL, newest, NULL, NULL, &err));
        trainer_close(&t);
    }
}

static void damage_falls_back_loudly(void **unused)
{
    struct trainer t;
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("damage"));
    make_run(path, 3);
    test_damage(path, "checkpoint-30/model-00002-of-00002.safetensors", 9000000);
    trainer_open(&t);
    messages[0] = 0;
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(run, &t), 20);
    check(&t, 20);
    const char *told = strstr(messages, "checkpoint-30 is damaged and passed over: ");
    assert_non_null(told);
    assert_null(strstr(told + 1, "checkpoint-30")); /* its name stands there once */
    /* step 30 again, another way: the damaged one is set aside, not deleted */
    test_ok(save(run, &t, 30));
    test_shell("test -f %s/checkpoint-30~1/manifest.json && test -f %s/checkpoint-30/manifest.json", path, path);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static void a_broken_manifest_is_passed_over(void **unused)
{
    struct trainer t;
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("manifest"));
    make_run(path, 2);
    test_shell("truncate -s -7 %s/checkpoint-20/manifest.json", path);
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(run, &t), 10);
    check(&t, 10);
    test_ok(save(run, &t, 20));
    test_shell("test -d %s/checkpoint-20.damaged", path);
    test_ok(cairn_run_close(run, &err));
    test_shell("truncate -s 3 %s/checkpoint-10/manifest.json %s/checkpoint-20/manifest.json", path, path);
    run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_CORRUPT);
    test_code(save(run, &t, 30), CAIRN_E_USAGE);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

/* Somebody deleted it, or a copy left it out: that is no other tool's folder, and the run goes on as beside any damage. */
static void a_lost_manifest_is_damage(void **unused)
{
    struct trainer t;
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("lost"));
    make_run(path, 2);
    test_shell("rm %s/checkpoint-20/manifest.json", path);
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(run, &t), 10);
    test_ok(save(run, &t, 20));
    test_shell("test -d %s/checkpoint-20.damaged/training || { ls -R %s; false; }", path, path);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static void only_damage_after_the_first_byte_is_torn(void **unused)
{
    struct trainer t;
    char path[600];
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("torn"));
    make_run(path, 1);
    test_damage(path, "checkpoint-10/training/optimizer.safetensors", 12000000);
    trainer_open(&t);
    options.io_threads = 1;
    cairn_run *run = open_run(path, options);
    test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_TORN_STATE);
    assert_non_null(strstr(err.message, "block 2"));
    assert_int_equal(err.cause, CAIRN_E_CORRUPT);
    cairn_save_options save = TEST_SAVE_OPTIONS;
    save.step = 50;
    test_code(cairn_save(run, t.state, &save, NULL, &err), CAIRN_E_TORN_STATE); /* a mixture is never saved */
    const char *items[] = { "model" };
    cairn_restore_options of_model = CAIRN_RESTORE_OPTIONS_INIT;
    of_model.items = items;
    of_model.items_count = 1;
    test_ok(cairn_restore(run, t.state, &of_model, NULL, &err));
    test_code(cairn_save(run, t.state, &save, NULL, &err), CAIRN_E_TORN_STATE); /* the rest of it is what it was */
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static struct {
    float *weights;
    const char *path; /* the run whose step 10 goes, damaged, once the first bytes of it are stored; NULL: nothing happens */
} goes;

enum { GOING = 3 << 20 };

static int fetch_weights(void *user, uint64_t offset, size_t size, void *data)
{
    (void)user;
    memcpy(data, (char *)goes.weights + offset, size);
    return 0;
}

static int store_and_go(void *user, uint64_t offset, size_t size, const void *data)
{
    (void)user;
    memcpy((char *)goes.weights + offset, data, size);
    if (goes.path) {
        test_damage(goes.path, "checkpoint-10/model.safetensors", 12000000);
        test_shell("mv %s/checkpoint-10 %s.away", goes.path, goes.path);
    }
    goes.path = NULL;
    return 0;
}

/* Half of a checkpoint is in memory, the rest of it is damaged, and its folder has gone: whatever a second look finds, that is a mixture. */
static void what_was_torn_and_has_gone_is_torn(void **unused)
{
    static const uint64_t size = GOING;
    (void)unused;
    for (int named = 0; named < 2; named++) {
        char path[600];
        cairn_state *state;
        cairn_tensor tensor = CAIRN_TENSOR_INIT;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        cairn_restore_options restoring = CAIRN_RESTORE_OPTIONS_INIT;
        cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
        cairn_save_options saving = TEST_SAVE_OPTIONS;
        snprintf(path, sizeof path, "%s/run", test_folder("gone"));
        goes.weights = calloc(GOING, sizeof(float));
        test_ok(cairn_state_new(&state, &err));
        tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 1, tensor.shape = &size, tensor.fetch = fetch_weights,
        tensor.store = store_and_go;
        test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
        options.io_threads = 1;
        cairn_run *run = open_run(path, options);
        for (saving.step = 10; saving.step <= (named ? 20 : 10); saving.step += 10) test_ok(cairn_save(run, state, &saving, NULL, &err));
        if (named) restoring.step = 10;
        goes.path = path;
        test_code(cairn_restore(run, state, &restoring, &report, &err), CAIRN_E_TORN_STATE);
        assert_null(goes.path);
        saving.step = 30;
        test_code(cairn_save(run, state, &saving, NULL, &err), CAIRN_E_TORN_STATE);
        test_ok(cairn_run_close(run, &err));
        cairn_state_free(state);
        free(goes.weights);
    }
}

/* A manifest of the next version of the format, its seal right. */
static void make_newer(const char *path, const char *checkpoint)
{
    char name[700], text[65536];
    struct cn_buf buf;
    snprintf(name, sizeof name, "%s/%s/manifest.json", path, checkpoint);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    char *version = strstr(text, "\"version\":1"), *digest = strstr(text, ",\n\"digest\"");
    assert_true(version && digest);
    version[strlen("\"version\":")] = '2';
    cn_buf_init(&buf, cn_os_alloc(), sizeof text);
    cn_buf_append(&buf, text, (size_t)(digest - text));
    struct cn_json_writer writer = { .buf = &buf, .need_comma = 1 };
    cn_json_seal(&writer);
    file = fopen(name, "w");
    assert_true(file && fwrite(buf.data, 1, buf.size, file) == buf.size && !fclose(file));
    cn_buf_done(&buf);
}

/* What cannot be read is no damage, and may be the newest whatever its step: a way that began far back. */
static void what_cannot_be_read_stops_a_restore(void **unused)
{
    struct trainer t;
    char path[600];
    cairn_restore_options restoring = CAIRN_RESTORE_OPTIONS_INIT;
    (void)unused;
    for (int alone = 0; alone < 2; alone++) {
        snprintf(path, sizeof path, "%s/run", test_folder("unreadable"));
        make_run(path, alone ? 1 : 3);
        trainer_open(&t);
        cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
        restoring.step = 10;
        if (!alone) test_ok(cairn_restore(run, t.state, &restoring, NULL, &err));
        if (!alone) test_ok(save(run, &t, 15));
        test_ok(cairn_run_close(run, &err));
        /* of a newer version: the seal is right */
        make_newer(path, alone ? "checkpoint-10" : "checkpoint-15");
        messages[0] = 0;
        run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
        test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_VERSION);
        assert_non_null(strstr(err.message, "name a step"));
        assert_null(strstr(messages, "damaged"));
        test_ok(cairn_run_close(run, &err));
        trainer_close(&t);
    }
}

static void a_run_that_lost_its_description_is_refused(void **unused)
{
    struct trainer t;
    char path[600];
    cairn_run *run = NULL;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("orphans"));
    make_run(path, 1);
    test_shell("rm '%s/run.json'", path);
    test_code(cairn_run_open(path, NULL, &run, &err), CAIRN_E_FOREIGN);
    assert_non_null(strstr(err.message, "run.json is missing"));
    cairn_listing *listing;
    test_code(cairn_listing_open(path, &listing, &err), CAIRN_E_FORMAT);
    assert_non_null(strstr(err.message, "put it back from a copy"));
    test_code(cairn_run_open("/", NULL, &run, &err), CAIRN_E_USAGE);
    trainer_open(&t);
    snprintf(path, sizeof path, "%s/run", test_folder("steps"));
    test_ok(cairn_run_open(path, NULL, &run, &err));
    cairn_save_options save = TEST_SAVE_OPTIONS;
    save.step = UINT64_MAX;
    test_code(cairn_save(run, t.state, &save, NULL, &err), CAIRN_E_USAGE);
    save.step = 1, save.tags_count = 1;
    test_code(cairn_save(run, t.state, &save, NULL, &err), CAIRN_E_USAGE);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static void going_back_takes_another_way(void **unused)
{
    struct trainer t;
    char path[600];
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_listing *listing;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("back"));
    make_run(path, 4);
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    options.step = 20;
    test_ok(cairn_restore(run, t.state, &options, NULL, &err));
    check(&t, 20);
    test_code(save(run, &t, 20), CAIRN_E_EXISTS);
    test_code(save(run, &t, 15), CAIRN_E_USAGE);
    test_ok(save(run, &t, 30));
    test_ok(cairn_run_close(run, &err));
    test_ok(cairn_listing_open(path, &listing, &err));
    assert_int_equal(cairn_listing_count(listing), 5);
    int superseded = 0;
    for (size_t i = 0; i < 5; i++) superseded += cairn_listing_entry(listing, i)->standing == CAIRN_SUPERSEDED;
    assert_int_equal(superseded, 2);
    assert_true(cairn_listing_entry(listing, 4)->is_head && cairn_listing_entry(listing, 4)->step == 30);
    cairn_listing_close(listing);
    run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(run, &t), 30);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static void a_second_writer_is_locked_out_or_fences(void **unused)
{
    struct trainer t, u;
    char path[600];
    cairn_run *first, *second = NULL;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("writers"));
    make_run(path, 1);
    trainer_open(&t);
    trainer_open(&u);
    first = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    restore(first, &t);
    test_code(cairn_run_open(path, NULL, &second, &err), CAIRN_E_LOCKED);
    pid_t child = fork();
    if (!child) {
        cairn_run *mine = NULL;
        cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
        if (cairn_run_open(path, NULL, &mine, &err) != CAIRN_E_LOCKED) _exit(1);
        if (save(first, &t, 20) != CAIRN_E_FORKED) _exit(2);
        if (cairn_run_close(first, &err) != CAIRN_E_FORKED) _exit(6);
        options.take_over = 1;
        if (cairn_run_open(path, &options, &mine, &err)) _exit(3);
        if (cairn_restore(mine, u.state, NULL, NULL, &err)) _exit(4);
        _exit(save(mine, &u, 20) ? 5 : 0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    test_code(save(first, &t, 20), CAIRN_E_FENCED);
    test_code(save(first, &t, 30), CAIRN_E_FENCED);
    test_ok(cairn_run_close(first, &err));
    second = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(second, &t), 20);
    test_ok(cairn_run_close(second, &err));
    trainer_close(&t);
    trainer_close(&u);
}

static void what_stands_in_the_way_is_refused_and_stays(void **unused)
{
    static const char *const plants[] = { "mkdir -p %s/checkpoint-20/theirs",
                                          "mkdir %s/checkpoint-20 && echo hi > %s/checkpoint-20/model.safetensors",
                                          "ln -s /etc %s/checkpoint-20", "mkfifo %s/checkpoint-20", "echo hi > %s/checkpoint-20" };
    (void)unused;
    for (size_t i = 0; i < sizeof plants / sizeof *plants; i++) {
        struct trainer t;
        char path[600];
        snprintf(path, sizeof path, "%s/run", test_folder("plant"));
        make_run(path, 1);
        trainer_open(&t);
        cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
        restore(run, &t);
        test_shell(plants[i], path, path);
        test_code(save(run, &t, 20), CAIRN_E_FOREIGN);
        assert_non_null(strstr(err.message, "checkpoint-20"));
        test_shell("test -e %s/checkpoint-20 -o -L %s/checkpoint-20", path, path);
        test_shell("test -z \"$(ls %s/.cairn/staging)\"", path);
        test_ok(save(run, &t, 30));
        test_ok(cairn_run_close(run, &err));
        trainer_close(&t);
    }
}

/* The newest one, moved to another disk and linked back; another run's; a place that is meant for runs, or is a checkpoint. */
static void what_is_no_place_for_a_run_is_refused(void **unused)
{
    static const struct {
        const char *plant, *path, *says;
        int code;
    } cases[] = {
        { "mv run/checkpoint-20 aside && ln -s ../aside run/checkpoint-20", "run", "checkpoint-20", CAIRN_E_FOREIGN },
        { "cp -a other/checkpoint-30 run/checkpoint-30", "run", "another run", CAIRN_E_FOREIGN },
        { "touch run/checkpoint-30", "run", "checkpoint-30", CAIRN_E_FOREIGN },
        { "true", ".", "it holds runs", CAIRN_E_USAGE },
        { "true", "run/checkpoint-10/x", "is a checkpoint", CAIRN_E_USAGE },
        { "rm run/run.json", "run", "start it from", CAIRN_E_FOREIGN },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char folder[300], path[600];
        cairn_run *run = NULL;
        snprintf(folder, sizeof folder, "%s", test_folder("places"));
        snprintf(path, sizeof path, "%s/other", folder);
        make_run(path, 3);
        snprintf(path, sizeof path, "%s/run", folder);
        make_run(path, 2);
        test_shell("cd %s && %s", folder, cases[i].plant);
        snprintf(path, sizeof path, "%s/%s", folder, cases[i].path);
        test_code(cairn_run_open(path, NULL, &run, &err), cases[i].code);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s", err.message);
    }
}

static void another_tools_folder_is_refused_by_name(void **unused)
{
    char path[600];
    cairn_run *run = NULL;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("foreign"));
    test_shell("mkdir -p %s/checkpoint-7 && touch %s/checkpoint-7/trainer_state.json", path, path);
    test_code(cairn_run_open(path, NULL, &run, &err), CAIRN_E_FOREIGN);
    assert_non_null(strstr(err.message, "holds what Cairn did not write: checkpoint-7; choose"));
    test_shell("cd %s && for step in 1 22 333 4444; do cp -r checkpoint-7 checkpoint-$step; done", path);
    test_code(cairn_run_open(path, NULL, &run, &err), CAIRN_E_FOREIGN);
    int named = 0;
    for (const char *at = err.message; (at = strstr(at, "checkpoint-")); at++) named++;
    assert_int_equal(named, 3);
    assert_non_null(strstr(err.message, " and 2 more; choose"));
    test_shell("test ! -e %s/run.json", path);
}

static void nan_makes_a_checkpoint_unhealthy(void **unused)
{
    struct trainer t;
    char path[600];
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("nan"));
    make_run(path, 2);
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    restore(run, &t);
    train(&t, 30);
    t.moments[ROWS * COLUMNS - 1] = __builtin_nanf("");
    options.step = 30;
    messages[0] = 0;
    test_ok(cairn_save(run, t.state, &options, &report, &err));
    assert_false(report.healthy);
    assert_non_null(strstr(messages, "unhealthy"));
    test_ok(cairn_run_close(run, &err));
    run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(run, &t), 20);
    check(&t, 20);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static void keep_last_keeps_what_it_must(void **unused)
{
    struct trainer t;
    char path[600];
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_checkpoint *reader;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("keep"));
    make_run(path, 3);
    options.keep_last = 2;
    options.best_metric = "loss";
    options.best_is_max = 1; /* step 10 has the highest */
    test_ok(cairn_checkpoint_open(NULL, strcat(strcpy(messages, path), "@20"), &reader, &err));
    trainer_open(&t);
    cairn_run *run = open_run(path, options);
    restore(run, &t);
    test_ok(save(run, &t, 40));
    /* 40, 30 are the last two; 10 is the best; a reader holds 20 */
    test_shell("cd %s && test -d checkpoint-40 && test -d checkpoint-30 && test -d checkpoint-20 && test -d checkpoint-10", path);
    test_shell("test \"$(readlink %s/best)\" = checkpoint-10 && test \"$(readlink %s/latest)\" = checkpoint-40", path, path);
    cairn_checkpoint_close(reader);
    test_ok(save(run, &t, 50));
    test_shell(
        "cd %s && test -d checkpoint-50 && test -d checkpoint-40 && test ! -e checkpoint-30 && test ! -e checkpoint-20 && test -d checkpoint-10",
        path);
    test_shell("test -z \"$(ls %s/.cairn/trash)\"", path);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
}

static void a_mismatch_touches_nothing(void **unused)
{
    struct trainer t;
    char path[600];
    float other[6] = { 1, 2, 3, 4, 5, 6 };
    const uint64_t shape[] = { 2, 3 };
    cairn_run *run;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("mismatch"));
    make_run(path, 1);
    memset(&t, 0, sizeof t);
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "wte", CAIRN_F32, 2, shape, CAIRN_TRAINABLE, other);
    run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_MISMATCH);
    assert_non_null(strstr(err.message, "[2, 3]"));
    assert_true(other[0] == 1 && other[5] == 6);
    cairn_state_free(t.state);
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "lost", CAIRN_F32, 2, shape, CAIRN_TRAINABLE, other);
    test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_MISMATCH);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(t.state);
}

static void note_outcome(void *user, const char *item, const char *name, cairn_outcome outcome)
{
    size_t used = strlen(user);
    snprintf((char *)user + used, 2000 - used, "%s/%s=%d ", item, name, (int)outcome);
}

/* Of plain values, too, what the checkpoint has and nobody asked for: the largest trees without tensors in which nothing is bound. */
static void values_that_nothing_is_bound_to_are_told(void **unused)
{
    static float w[4] = { 1, 2, 3, 4 };
    static const uint64_t shape[] = { 4 };
    struct trainer t = { 0 }, u = { 0 };
    char path[600], told[2000] = "";
    int64_t epoch = 3;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("unbound"));
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "a.b", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, w);
    bind(&t, "optimizer", "state/0/exp_avg", CAIRN_F32, 1, shape, CAIRN_OPTIMIZER, w);
    test_ok(cairn_state_bind_i64(t.state, "optimizer", "state/0/step", &epoch, &err));
    test_ok(cairn_state_bind_i64(t.state, "loop", "epoch", &epoch, &err));
    test_ok(cairn_state_bind_i64(t.state, "loop", "best/of/all", &epoch, &err));
    test_ok(cairn_state_bind_i64(t.state, "loop", "best/of/a~1few~0", &epoch, &err));
    test_ok(cairn_state_bind_i64(t.state, "model", "version/of it", &epoch, &err));
    cairn_value *tree = cairn_value_map();
    test_ok(cairn_value_set(tree, "name", cairn_value_string("x", 1)));
    test_ok(cairn_state_set_value(t.state, "loop", "config", tree, &err));
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    saving.step = 1;
    test_ok(cairn_save(run, t.state, &saving, NULL, &err));
    test_ok(cairn_state_new(&u.state, &err));
    bind(&u, "model", "a.b", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, w);
    test_ok(cairn_state_bind_i64(u.state, "loop", "best/of/all", &epoch, &err));
    report.leaf = note_outcome;
    report.user = told;
    test_ok(cairn_restore(run, u.state, NULL, &report, &err));
    assert_string_equal(told, "model/a.b=0 loop/best/of/all=0 optimizer/state/0/exp_avg=2 model/version/of it=2 optimizer/state/0/step=2 "
                              "loop/epoch=2 loop/best/of/a~1few~0=2 loop/config=2 ");
    assert_int_equal(report.counts[CAIRN_UNEXPECTED], 6);
    told[0] = 0;
    test_ok(cairn_restore(run, t.state, NULL, &report, &err));
    assert_null(strstr(told, "=2"));
    cairn_state_free(t.state);
    cairn_state_free(u.state);
    test_ok(cairn_run_close(run, &err));
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MEASURED = 0 };
#else
enum { MEASURED = 1 };
#endif

enum { LONG_KEY = 1 << 20, LEAVES = 2000 };

static void count_long_name(void *user, const char *item, const char *name, cairn_outcome outcome)
{
    int *told = user;
    if (outcome == CAIRN_UNEXPECTED && !strcmp(item, "opt") && strlen(name) > LONG_KEY && atoi(strrchr(name, '/') + 1) == *told) ++*told;
}

/* How many long names were told, in order. */
static int restore_long_names(const char *path)
{
    static float w[4];
    static const uint64_t shape[] = { 4 };
    struct trainer t = { 0 };
    int told = 0;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    report.leaf = count_long_name;
    report.user = &told;
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "w", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, w);
    int code = cairn_load(path, "latest", t.state, NULL, &report, &err);
    cairn_state_free(t.state);
    return code ? code : told;
}

/* One long key around a tensor and many values (P13): memory goes with the file, not with the length of the path times the number of leaves. */
static void long_names_of_what_nothing_is_bound_to_take_no_memory(void **unused)
{
    static float w[4] = { 1, 2, 3, 4 };
    static const uint64_t shape[] = { 4 };
    struct trainer t = { 0 };
    char path[600], part[16];
    cairn_value *root = cairn_value_map(), *folder = cairn_value_map();
    char *key = malloc(LONG_KEY + 1);
    struct rusage idle, usage;
    int status;
    (void)unused;
    memset(key, 'k', LONG_KEY);
    key[LONG_KEY] = 0;
    assert_int_equal(cairn_value_set(folder, "t", cn_value_tensor_ref("w", 1)), CAIRN_OK);
    for (int i = 0; i < LEAVES; i++) {
        snprintf(part, sizeof part, "%d", i);
        assert_int_equal(cairn_value_set(folder, part, cairn_value_int(i)), CAIRN_OK);
    }
    assert_int_equal(cairn_value_set(root, key, folder), CAIRN_OK);
    free(key);
    snprintf(path, sizeof path, "%s/run", test_folder("long"));
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "model", "w", CAIRN_F32, 1, shape, CAIRN_TRAINABLE, w);
    test_ok(cairn_state_set_value(t.state, "opt", "x", root, &err));
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    test_ok(cairn_save(run, t.state, &saving, NULL, &err));
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(t.state);
    for (int round = 0; round < 2; round++) {
        pid_t child = fork();
        if (!child) _exit(round && restore_long_names(path) != LEAVES);
        assert_int_equal(wait4(child, &status, 0, round ? &usage : &idle), child);
        assert_int_equal(status, 0);
    }
    long took_mib = (usage.ru_maxrss - idle.ru_maxrss) / 1024;
    print_message("restored within %ld MiB\n", took_mib);
    assert_true(!MEASURED || took_mib < 64);
}

/* Each leaf is told once; items select; what is missing is an error unless it is allowed; another kind of value is a mismatch. */
static void a_restore_tells_of_each_leaf(void **unused)
{
    struct trainer t;
    char path[600], told[2000] = "";
    const char *const items[] = { "data", "scheduler" };
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("tells"));
    make_run(path, 1);
    trainer_open(&t);
    report.leaf = note_outcome;
    report.user = told;
    options.items = items;
    options.items_count = 2;
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_ok(cairn_restore(run, t.state, &options, &report, &err));
    assert_true(t.position == -10 && t.weights[5] == 0 && report.counts[CAIRN_RESTORED] == 3 && report.counts[CAIRN_SKIPPED] == 7);
    assert_non_null(strstr(told, "data/position=0 "));
    assert_non_null(strstr(told, "model/wte=5 "));
    trainer_close(&t);
    test_ok(cairn_run_close(run, &err));
}

static void a_restore_tells_what_is_missing_and_what_is_new(void **unused)
{
    struct trainer u = { 0 };
    char path[600];
    float lost[6] = { 1, 2, 3, 4, 5, 6 };
    int64_t unheard = 77, as_integer = 5;
    const uint64_t shape[] = { 2, 3 };
    const char *const scheduler = "scheduler";
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("missing"));
    make_run(path, 1);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_ok(cairn_state_new(&u.state, &err));
    bind(&u, "model", "lost", CAIRN_F32, 2, shape, CAIRN_OPTIMIZER, lost);
    test_ok(cairn_state_bind_i64(u.state, "data", "unheard", &unheard, &err));
    test_ok(cairn_state_bind_i64(u.state, "data", "position", &as_integer, &err));
    test_code(cairn_restore(run, u.state, NULL, &report, &err), CAIRN_E_MISMATCH);
    assert_non_null(strstr(err.message, "model/lost"));
    options.allow_missing = 1;
    test_ok(cairn_restore(run, u.state, &options, &report, &err));
    assert_true(lost[5] == 6 && unheard == 77 && as_integer == -10);
    assert_true(report.counts[CAIRN_MISSING] == 1 && report.counts[CAIRN_NEW] == 1 && report.counts[CAIRN_RESTORED] == 1 &&
                report.counts[CAIRN_UNEXPECTED] == 8);
    options.items = &scheduler; /* nothing of it is bound */
    options.items_count = 1;
    test_code(cairn_restore(run, u.state, &options, &report, &err), CAIRN_E_MISMATCH);
    cairn_state_free(u.state);
    test_ok(cairn_run_close(run, &err));
}

static void a_restore_tells_what_is_of_another_kind(void **unused)
{
    static const struct {
        const char *item, *name;
        int kind;
        const char *says;
    } wrong[] = { { "scheduler", "rate", 0, "rate' is bound as an integer of 64 bits, the checkpoint has a float" },
                  { "scheduler", "warm", 0, "has a boolean" },
                  { "data", "position", 1, "as an unsigned integer of 64 bits, the checkpoint has a negative integer" },
                  { "data", "position", 3, "as a boolean, the checkpoint has a negative integer" },
                  { "rng", "words/0", 0, "has an integer of 2^63 or more in size" },
                  { "scheduler", "warm", 2, "as a float, the checkpoint has a boolean" } };
    struct trainer u = { 0 };
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("kinds"));
    make_run(path, 1);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        int64_t integer = 0;
        uint64_t number = 0;
        double real = 0;
        int truth = 0;
        test_ok(cairn_state_new(&u.state, &err));
        if (wrong[i].kind == 0) test_ok(cairn_state_bind_i64(u.state, wrong[i].item, wrong[i].name, &integer, &err));
        if (wrong[i].kind == 1) test_ok(cairn_state_bind_u64(u.state, wrong[i].item, wrong[i].name, &number, &err));
        if (wrong[i].kind == 2) test_ok(cairn_state_bind_f64(u.state, wrong[i].item, wrong[i].name, &real, &err));
        if (wrong[i].kind == 3) test_ok(cairn_state_bind_bool(u.state, wrong[i].item, wrong[i].name, &truth, &err));
        test_code(cairn_restore(run, u.state, NULL, NULL, &err), CAIRN_E_MISMATCH);
        if (!strstr(err.message, wrong[i].says)) fail_msg("%s", err.message);
        cairn_state_free(u.state);
    }
    test_ok(cairn_run_close(run, &err));
}

/* A torn attempt is made good by an older checkpoint only if that one covers all that was touched. */
static void an_older_one_must_cover_what_was_torn(void **unused)
{
    struct trainer t, small = { 0 };
    char path[600];
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    float weights[6] = { 0 };
    const uint64_t shape[] = { 2, 3 };
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("cover"));
    options.io_threads = 1;
    cairn_run *run = open_run(path, options);
    test_ok(cairn_state_new(&small.state, &err)); /* step 5 holds less than step 10 */
    bind(&small, "model", "other", CAIRN_F32, 2, shape, 0, weights);
    saving.step = 5;
    test_ok(cairn_save(run, small.state, &saving, NULL, &err));
    trainer_open(&t);
    test_ok(save(run, &t, 10));
    test_damage(path, "checkpoint-10/training/optimizer.safetensors", 12000000);
    messages[0] = 0;
    test_code(cairn_restore(run, t.state, NULL, NULL, &err), CAIRN_E_TORN_STATE);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
    cairn_state_free(small.state);
}

/* Steps 10 and 20 hold a and b, step 5 holds a alone. Each attempt on 20 and 10 fails in the middle: what either had begun must come back whole. */
static void what_any_torn_attempt_touched_must_be_covered(void **unused)
{
    enum { BYTES = 9 << 20 };
    static const uint64_t shape[] = { BYTES };
    struct trainer with = { 0 }, without = { 0 };
    char path[600];
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    uint8_t *a = calloc(1, BYTES), *b = calloc(1, BYTES);
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("twice"));
    options.io_threads = 1;
    cairn_run *run = open_run(path, options);
    test_ok(cairn_state_new(&without.state, &err));
    bind(&without, "a", "a", CAIRN_U8, 1, shape, CAIRN_TRAINABLE, a);
    test_ok(cairn_state_new(&with.state, &err));
    bind(&with, "b", "b", CAIRN_U8, 1, shape, 0, b);
    bind(&with, "a", "a", CAIRN_U8, 1, shape, CAIRN_TRAINABLE, a);
    saving.step = 5;
    test_ok(cairn_save(run, without.state, &saving, NULL, &err));
    a[0] = 1; /* else the file would be linked */
    saving.step = 10;
    test_ok(cairn_save(run, with.state, &saving, NULL, &err));
    a[0] = 2;
    saving.step = 20;
    test_ok(cairn_save(run, without.state, &saving, NULL, &err));
    test_damage(path, "checkpoint-10/training/a.safetensors", 8000000);
    test_damage(path, "checkpoint-20/training/a.safetensors", 8000000);
    b[0] = 2;
    test_code(cairn_restore(run, with.state, NULL, NULL, &err), CAIRN_E_TORN_STATE);
    assert_int_equal(b[0], 0);
    assert_int_equal(err.cause, CAIRN_E_CORRUPT); /* of the one that tore it, whatever came then */
    if (!strstr(err.message, "checkpoint-5: it does not hold all")) fail_msg("%s", err.message);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(with.state);
    cairn_state_free(without.state);
    free(a);
    free(b);
}

/* Whoever binds what a checkpoint holds: a always, b where it is there. */
struct chooser {
    cairn_state *states[4];
    int asked;
    bool refuses;
    int code; /* with which it refuses */
    bool needs_b;
    uint8_t *a, *b;
};

static int state_for(void *user, const cairn_checkpoint *checkpoint, cairn_state **ret_state, cairn_error *ret_error)
{
    static const uint64_t shape[] = { 9 << 20 };
    struct chooser *chooser = user;
    struct trainer t = { 0 };
    if (chooser->refuses) return chooser->code;
    if (chooser->needs_b && !cairn_checkpoint_find(checkpoint, "b", "b")) {
        strcpy(ret_error->message, "b is missing");
        return ret_error->code = CAIRN_E_MISMATCH;
    }
    test_ok(cairn_state_new(&t.state, &err));
    chooser->states[chooser->asked++] = t.state;
    bind(&t, "a", "a", CAIRN_U8, 1, shape, CAIRN_TRAINABLE, chooser->a);
    if (cairn_checkpoint_find(checkpoint, "b", "b")) bind(&t, "b", "b", CAIRN_U8, 1, shape, CAIRN_OPTIMIZER, chooser->b);
    *ret_state = t.state;
    return CAIRN_OK;
}

static void chooser_clear(struct chooser *chooser)
{
    while (chooser->asked) cairn_state_free(chooser->states[--chooser->asked]);
    chooser->a[0] = chooser->b[0] = 9;
}

/* A step that holds a alone, or b besides. */
static void save_of_chooser(cairn_run *run, struct chooser *chooser, uint64_t step, bool with_b)
{
    static const uint64_t shape[] = { 9 << 20 };
    struct trainer t = { 0 };
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    chooser->a[0] = chooser->b[0] = (uint8_t)step;
    saving.step = step;
    test_ok(cairn_state_new(&t.state, &err));
    bind(&t, "a", "a", CAIRN_U8, 1, shape, CAIRN_TRAINABLE, chooser->a);
    if (with_b) bind(&t, "b", "b", CAIRN_U8, 1, shape, CAIRN_OPTIMIZER, chooser->b);
    test_ok(cairn_save(run, t.state, &saving, NULL, &err));
    cairn_state_free(t.state);
}

static void each_checkpoint_gets_its_own_state(void **unused)
{
    char path[600], name[640];
    struct chooser chooser = { .a = calloc(1, 9 << 20), .b = calloc(1, 9 << 20) };
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_restore_options choosing = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("chooser"));
    options.io_threads = 1;
    cairn_run *run = open_run(path, options);
    save_of_chooser(run, &chooser, 3, false);
    save_of_chooser(run, &chooser, 4, true);
    save_of_chooser(run, &chooser, 5, true);
    choosing.state_for = state_for;
    choosing.user = &chooser;
    chooser_clear(&chooser);
    test_ok(cairn_restore(run, NULL, &choosing, &report, &err));
    assert_true(report.step == 5 && chooser.a[0] == 5 && chooser.b[0] == 5 && chooser.asked == 1);
    chooser_clear(&chooser);
    test_damage(path, "checkpoint-5/training/b.safetensors", 8000000); /* found in the middle: the state for step 4 covers it */
    test_ok(cairn_restore(run, NULL, &choosing, &report, &err));
    assert_true(report.step == 4 && chooser.a[0] == 4 && chooser.b[0] == 4 && chooser.asked == 2);
    chooser_clear(&chooser);
    test_damage(path, "checkpoint-4/training/b.safetensors", 8000000); /* the one for step 3 does not */
    test_code(cairn_restore(run, NULL, &choosing, &report, &err), CAIRN_E_TORN_STATE);
    chooser_clear(&chooser);
    test_shell("cd %s && chmod u+w checkpoint-[45]/training/b.safetensors && truncate -s 100 checkpoint-[45]/training/b.safetensors", path);
    test_ok(cairn_restore(run, NULL, &choosing, &report, &err)); /* found before anything is touched */
    assert_true(report.step == 3 && chooser.a[0] == 3 && chooser.b[0] == 9);
    chooser_clear(&chooser);
    chooser.refuses = true;
    test_code(cairn_restore(run, NULL, &choosing, &report, &err), CAIRN_E_CANCELLED);
    snprintf(name, sizeof name, "%s/checkpoint-3", path);
    test_code(cairn_load(NULL, name, NULL, &choosing, &report, &err), CAIRN_E_CANCELLED);
    chooser.code = CAIRN_E_NOMEM; /* whatever it is, and has no words for */
    test_code(cairn_restore(run, NULL, &choosing, &report, &err), CAIRN_E_NOMEM);
    test_code(cairn_load(NULL, name, NULL, &choosing, &report, &err), CAIRN_E_NOMEM);
    assert_non_null(strstr(err.message, "gave no state"));
    test_code(cairn_load(NULL, name, NULL, &choosing, &report, NULL), CAIRN_E_NOMEM);
    chooser.refuses = false;
    test_ok(cairn_load(NULL, name, NULL, &choosing, &report, &err));
    assert_true(report.step == 3 && chooser.a[0] == 3);
    test_code(cairn_load(NULL, name, NULL, NULL, &report, &err), CAIRN_E_USAGE);
    chooser_clear(&chooser);
    test_ok(cairn_run_close(run, &err));
    free(chooser.a);
    free(chooser.b);
}

/* What does not fit is the caller's to say as much as the library's: where an item was dropped, an older one is taken; else it ends there. */
static void a_choosers_mismatch_is_one(void **unused)
{
    char path[600], item[640];
    struct chooser chooser = { .needs_b = true, .a = calloc(1, 9 << 20), .b = calloc(1, 9 << 20) };
    cairn_restore_options choosing = CAIRN_RESTORE_OPTIONS_INIT;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    (void)unused;
    choosing.state_for = state_for;
    choosing.user = &chooser;
    snprintf(path, sizeof path, "%s/run", test_folder("chosen"));
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    for (uint64_t step = 3; step <= 5; step++) save_of_chooser(run, &chooser, step, true);
    snprintf(item, sizeof item, "%s/checkpoint-4", path);
    test_ok(cairn_drop_item(NULL, item, "b", &err));
    test_shell("cd %s && chmod u+w checkpoint-5/training/b.safetensors && truncate -s 100 checkpoint-5/training/b.safetensors", path);
    chooser_clear(&chooser);
    test_ok(cairn_restore(run, NULL, &choosing, &report, &err));
    assert_true(report.step == 3 && chooser.a[0] == 3 && chooser.b[0] == 3 && report.skipped_damaged == 1);
    chooser_clear(&chooser);
    save_of_chooser(run, &chooser, 6, false);
    test_code(cairn_restore(run, NULL, &choosing, &report, &err), CAIRN_E_MISMATCH);
    if (!strstr(err.message, "checkpoint-6: b is missing")) fail_msg("%s", err.message);
    chooser_clear(&chooser);
    test_ok(cairn_run_close(run, &err));
    free(chooser.a);
    free(chooser.b);
}

/* Memory behind callbacks, on a device that fails at one of them. */
struct device {
    uint8_t *memory;
    int stores, failing; /* the store of this number fails */
};

static int device_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    memcpy(destination, ((struct device *)user)->memory + offset, size);
    return 0;
}

static int device_store(void *user, uint64_t offset, size_t size, const void *source)
{
    struct device *device = user;
    if (++device->stores == device->failing) return 7;
    memcpy(device->memory + offset, source, size);
    return 0;
}

static void a_store_that_fails_ends_the_restore(void **unused)
{
    enum { BYTES = 9 << 20 };
    static const uint64_t shape[] = { BYTES };
    struct device device = { .memory = calloc(1, BYTES) };
    char path[600];
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    cairn_save_options saving = TEST_SAVE_OPTIONS;
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    cairn_state *state;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("device"));
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "t";
    tensor.dtype = CAIRN_U8;
    tensor.rank = 1;
    tensor.shape = shape;
    tensor.fetch = device_fetch;
    tensor.store = device_store;
    tensor.user = &device;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    options.io_threads = 1;
    cairn_run *run = open_run(path, options);
    for (saving.step = 10; saving.step <= 20; saving.step += 10) {
        device.memory[0] = (uint8_t)saving.step;
        test_ok(cairn_save(run, state, &saving, NULL, &err));
    }
    messages[0] = 0;
    for (device.failing = 1; device.failing <= 3; device.failing++) {
        device.stores = 0;
        test_code(cairn_restore(run, state, NULL, NULL, &err), CAIRN_E_TORN_STATE);
        assert_non_null(strstr(err.message, "store callback failed with 7"));
        assert_int_equal(device.stores, device.failing);
    }
    assert_null(strstr(messages, "passed over"));
    device.failing = 0;
    test_ok(cairn_restore(run, state, NULL, &report, &err));
    assert_true(report.step == 20 && device.memory[0] == 20);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
    free(device.memory);
}

static void bad_bindings_are_refused(void **unused)
{
    cairn_state *state;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    const uint64_t shape[] = { 3 }, huge[] = { UINT64_MAX, UINT64_MAX };
    char long_name[10001];
    float data[3];
    (void)unused;
    memset(long_name, 'a', 10000);
    long_name[10000] = 0;
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "a";
    tensor.rank = 1;
    tensor.shape = shape;
    tensor.address = data;
    tensor.dtype = (cairn_dtype)99;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE);
    tensor.dtype = CAIRN_F4; /* 12 bits */
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE);
    tensor.dtype = CAIRN_F32;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE);
    tensor.name = long_name;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_LIMIT);
    tensor.name = "bell\a";
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_USAGE);
    assert_null(strchr(err.message, '\a'));
    tensor.name = "a//b";
    test_code(cairn_state_bind_tensor(state, "optimizer", &tensor, &err), CAIRN_E_USAGE);
    tensor.name = "x/../y"; /* data, not a path: parts named ".." are fine */
    test_ok(cairn_state_bind_tensor(state, "optimizer", &tensor, &err));
    test_code(cairn_state_bind_tensor(state, "../evil", &tensor, &err), CAIRN_E_USAGE);
    test_code(cairn_state_bind_tensor(state, "tensors", &tensor, &err), CAIRN_E_USAGE);
    tensor.name = "b";
    tensor.rank = 2;
    tensor.shape = huge;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_LIMIT);
    tensor.rank = 65;
    test_code(cairn_state_bind_tensor(state, "model", &tensor, &err), CAIRN_E_LIMIT);
    cairn_state_free(state);
}

static void a_small_disk_says_what_is_missing(void **unused)
{
    struct trainer t;
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s", test_folder("small"));
    char command[800];
    snprintf(command, sizeof command, "mount -t tmpfs -o size=40m tmpfs %s 2>/dev/null", path);
    if (system(command)) skip();
    strcat(path, "/run");
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    restore(run, &t);
    test_ok(save(run, &t, 10));
    test_code(save(run, &t, 20), CAIRN_E_NOSPACE);
    assert_non_null(strstr(err.message, "missing"));
    test_shell("test -z \"$(ls %s/.cairn/staging)\"", path);
    assert_int_equal(restore(run, &t), 10);
    check(&t, 10);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
    /* lazily: the lock file stays open for the life of a process */
    test_shell("umount -l %.*s", (int)(strlen(path) - 4), path);
}

static int cancelling_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    (void)offset;
    memset(destination, 0, size);
    cairn_run_cancel(*(cairn_run **)user);
    return 0;
}

static int quiet_store(void *user, uint64_t offset, size_t size, const void *source)
{
    (void)user, (void)offset, (void)size, (void)source;
    return 0;
}

static void cancel_loses_nothing(void **unused)
{
    char path[600];
    cairn_run *run;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_save_options options = TEST_SAVE_OPTIONS;
    const uint64_t shape[] = { 64 << 20 };
    cairn_state *state;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("cancel"));
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "t";
    tensor.dtype = CAIRN_U8;
    tensor.rank = 1;
    tensor.shape = shape;
    tensor.fetch = cancelling_fetch;
    tensor.store = quiet_store;
    tensor.user = &run;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    options.step = 1;
    test_code(cairn_save(run, state, &options, NULL, &err), CAIRN_E_CANCELLED);
    test_shell("test -z \"$(ls %s/.cairn/staging)\" && test ! -e %s/checkpoint-1", path, path);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

/* Killed between renaming an old checkpoint away and removing it: gone when the run is opened again, not only with its next save. */
static void what_a_killed_pruner_left_goes_at_the_next_open(void **unused)
{
    char path[600];
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("leftover"));
    make_run(path, 3);
    test_shell("cd %s && id=$(sed -n 's/.*\"id\":\"\\([0-9a-f]*\\)\".*/\\1/p' checkpoint-10/manifest.json | head -1) && test -n \"$id\""
               " && mkdir .cairn/trash/p1 && mv checkpoint-10 .cairn/trash/p1/$id",
               path);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    test_shell("test -z \"$(ls -A %s/.cairn/trash)\" && test -e %s/checkpoint-20/manifest.json", path, path);
    test_ok(cairn_run_close(run, &err));
}

static void a_newer_format_is_refused_and_untouched(void **unused)
{
    char path[600], name[700];
    cairn_run *run = NULL;
    cairn_listing *listing = NULL;
    struct cn_buf buf;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("newer"));
    test_shell("mkdir %s", path);
    cn_buf_init(&buf, cn_os_alloc(), 1000);
    cn_buf_text(&buf, SEALED_LATER);
    struct cn_json_writer writer = { .buf = &buf, .need_comma = 1 };
    cn_json_seal(&writer);
    snprintf(name, sizeof name, "%s/run.json", path);
    FILE *file = fopen(name, "w");
    assert_true(file && fwrite(buf.data, 1, buf.size, file) == buf.size && !fclose(file));
    cn_buf_done(&buf);
    test_code(cairn_run_open(path, NULL, &run, &err), CAIRN_E_VERSION);
    test_code(cairn_listing_open(path, &listing, &err), CAIRN_E_VERSION);
    test_shell("test \"$(ls -A %s)\" = run.json", path);
}

static void a_read_only_store_is_an_error_and_readable(void **unused)
{
    char path[600], command[2000];
    cairn_run *run = NULL;
    cairn_checkpoint *checkpoint;
    (void)unused;
    snprintf(path, sizeof path, "%s/run", test_folder("readonly"));
    make_run(path, 1);
    snprintf(command, sizeof command, "mount --bind %s %s 2>/dev/null && mount -o remount,bind,ro %s", path, path, path);
    if (system(command)) skip();
    test_code(cairn_run_open(path, NULL, &run, &err), CAIRN_E_IO);
    assert_non_null(strstr(err.message, "Read-only"));
    test_ok(cairn_checkpoint_open(NULL, strcat(strcpy(messages, path), "@10"), &checkpoint, &err));
    cairn_checkpoint_close(checkpoint);
    test_ok(cairn_verify(NULL, messages, NULL, NULL, &err));
    test_shell("umount -l %s", path);
}

static void an_overlay_works(void **unused)
{
    char base[300], path[600], command[4000];
    struct trainer t;
    (void)unused;
    snprintf(base, sizeof base, "%.250s", test_folder("overlay"));
    snprintf(command, sizeof command,
             "mkdir %s/merged %s/t && mount -t tmpfs tmpfs %s/t 2>/dev/null && mkdir %s/t/lower %s/t/upper %s/t/work && "
             "mount -t overlay overlay -o lowerdir=%s/t/lower,upperdir=%s/t/upper,workdir=%s/t/work %s/merged 2>/dev/null",
             base, base, base, base, base, base, base, base, base, base);
    if (system(command)) {
        test_shell("umount -l %s/t 2>/dev/null; true", base);
        skip();
    }
    snprintf(path, sizeof path, "%s/merged/run", base);
    make_run(path, 2);
    trainer_open(&t);
    cairn_run *run = open_run(path, (cairn_run_options)CAIRN_RUN_OPTIONS_INIT);
    assert_int_equal(restore(run, &t), 20);
    check(&t, 20);
    test_ok(cairn_run_close(run, &err));
    trainer_close(&t);
    test_shell("umount -l %s/merged %s/t", base, base);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_engine_round_trips),
        cmocka_unit_test(damage_falls_back_loudly),
        cmocka_unit_test(a_lost_manifest_is_damage),
        cmocka_unit_test(a_broken_manifest_is_passed_over),
        cmocka_unit_test(only_damage_after_the_first_byte_is_torn),
        cmocka_unit_test(what_was_torn_and_has_gone_is_torn),
        cmocka_unit_test(what_cannot_be_read_stops_a_restore),
        cmocka_unit_test(a_run_that_lost_its_description_is_refused),
        cmocka_unit_test(going_back_takes_another_way),
        cmocka_unit_test(a_second_writer_is_locked_out_or_fences),
        cmocka_unit_test(what_stands_in_the_way_is_refused_and_stays),
        cmocka_unit_test(what_is_no_place_for_a_run_is_refused),
        cmocka_unit_test(another_tools_folder_is_refused_by_name),
        cmocka_unit_test(nan_makes_a_checkpoint_unhealthy),
        cmocka_unit_test(keep_last_keeps_what_it_must),
        cmocka_unit_test(a_mismatch_touches_nothing),
        cmocka_unit_test(a_restore_tells_of_each_leaf),
        cmocka_unit_test(a_restore_tells_what_is_missing_and_what_is_new),
        cmocka_unit_test(a_restore_tells_what_is_of_another_kind),
        cmocka_unit_test(values_that_nothing_is_bound_to_are_told),
        cmocka_unit_test(long_names_of_what_nothing_is_bound_to_take_no_memory),
        cmocka_unit_test(an_older_one_must_cover_what_was_torn),
        cmocka_unit_test(what_any_torn_attempt_touched_must_be_covered),
        cmocka_unit_test(each_checkpoint_gets_its_own_state),
        cmocka_unit_test(a_choosers_mismatch_is_one),
        cmocka_unit_test(a_store_that_fails_ends_the_restore),
        cmocka_unit_test(bad_bindings_are_refused),
        cmocka_unit_test(a_small_disk_says_what_is_missing),
        cmocka_unit_test(cancel_loses_nothing),
        cmocka_unit_test(what_a_killed_pruner_left_goes_at_the_next_open),
        cmocka_unit_test(a_newer_format_is_refused_and_untouched),
        cmocka_unit_test(a_read_only_store_is_an_error_and_readable),
        cmocka_unit_test(an_overlay_works),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
