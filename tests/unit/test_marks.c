/* Covers src/store/marks.c, src/snapshot/drop.c, src/manager/upkeep.c and src/api/upkeep.c: what is done to a checkpoint after its commit, from any
 * process, while others read and save. cn_os_read_link stands in for a place where links cannot be read. */
#include "storefix.h"

#include <errno.h>
#include <fenv.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/json.h"
#include "store/marks.h"
#include "store/smallfile.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char store[600], path[700];

enum { LARGE = 300000 };
static float weights[LARGE], moments[LARGE];
static int64_t epoch;

static cairn_state *new_state(void)
{
    static const uint64_t shape[] = { LARGE };
    cairn_state *state;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 1, tensor.shape = shape, tensor.address = weights,
    tensor.flags = CAIRN_TRAINABLE;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    tensor.name = "exp_avg/w", tensor.address = moments, tensor.flags = CAIRN_OPTIMIZER;
    test_ok(cairn_state_bind_tensor(state, "optimizer", &tensor, &err));
    tensor.name = "exp_avg_sq/w";
    test_ok(cairn_state_bind_tensor(state, "optimizer", &tensor, &err));
    test_ok(cairn_state_bind_i64(state, "values", "epoch", &epoch, &err));
    return state;
}

static int save(cairn_run *run, cairn_state *state, uint64_t step)
{
    static const char *const tags[] = { "first" };
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_metric metric = { "loss", 1.0 };
    for (size_t i = 0; i < LARGE; i++) weights[i] = (float)(step + i), moments[i] = (float)(step * 2 + i);
    options.step = step;
    options.metrics = &metric, options.metrics_count = 1;
    options.tags = tags, options.tags_count = step == 10;
    return cairn_save(run, state, &options, NULL, &err);
}

/* Steps 10 20 30 40; the optimizer in two shards. */
static void make(const char *name)
{
    cairn_run *run;
    cairn_state *state = new_state();
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    options.shard_bytes = 1300000;
    snprintf(store, sizeof store, "%s", test_folder(name));
    snprintf(path, sizeof path, "%s/run", store);
    test_ok(cairn_run_open(path, &options, &run, &err));
    for (uint64_t step = 10; step <= 40; step += 10) test_ok(save(run, state, step));
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

static const cairn_entry *entry_of(cairn_listing *listing, uint64_t step)
{
    for (size_t i = 0; i < cairn_listing_count(listing); i++)
        if (cairn_listing_entry(listing, i)->step == step) return cairn_listing_entry(listing, i);
    fail_msg("no step %d", (int)step);
    return NULL;
}

/* "tags,tags pinned loss=.." of a step. */
static void expect_marks(uint64_t step, const char *want)
{
    cairn_listing *listing;
    char found[2000] = "";
    test_ok(cairn_listing_open(path, &listing, &err));
    const cairn_entry *entry = entry_of(listing, step);
    for (size_t i = 0; i < entry->tags_count; i++) snprintf(found + strlen(found), sizeof found - strlen(found), "%s ", entry->tags[i]);
    if (entry->pinned) strcat(found, "pinned ");
    for (size_t i = 0; i < entry->metrics_count; i++)
        snprintf(found + strlen(found), sizeof found - strlen(found), "%s=%g ", entry->metrics[i].name, entry->metrics[i].value);
    if (strcmp(found, want)) fail_msg("'%s' instead of '%s'", found, want);
    cairn_listing_close(listing);
}

static int mark(const char *name, cairn_mark_options options)
{
    return cairn_mark(store, name, &options, &err);
}

#define MARK(...) ((cairn_mark_options){ .struct_size = sizeof(cairn_mark_options), __VA_ARGS__ })
#define TAGS(...)                                                                                                                          \
    (const char *const[])                                                                                                                  \
    {                                                                                                                                      \
        __VA_ARGS__                                                                                                                        \
    }

static void marks_add_up(void **unused)
{
    const cairn_metric accuracy = { "accuracy", 0.75 }, loss = { "loss", 0.25 };
    (void)unused;
    make("add");
    expect_marks(10, "first loss=1 ");
    test_ok(mark("run@10", MARK(.add_tags = TAGS("release", "gold"), .add_tags_count = 2)));
    expect_marks(10, "first release gold loss=1 ");
    test_ok(mark("run@gold", MARK(.pin = 1, .metrics = &accuracy, .metrics_count = 1)));
    test_ok(mark("run@gold", MARK(.metrics = &loss, .metrics_count = 1, .remove_tags = TAGS("first", "nothing"), .remove_tags_count = 2)));
    expect_marks(10, "release gold pinned accuracy=0.75 loss=0.25 ");
    test_ok(mark("run/checkpoint-10", MARK(.pin = -1)));
    test_ok(mark("run/latest", MARK(.add_tags = TAGS("newest"), .add_tags_count = 1)));
    expect_marks(10, "release gold accuracy=0.75 loss=0.25 ");
    expect_marks(40, "newest loss=1 ");
    expect_marks(20, "loss=1 ");
    test_shell("cd %s/checkpoint-10 && test \"$(ls marks.*)\" = marks.4.json && test -z \"$(ls -A | grep '^\\.')\"", path);
    cairn_checkpoint *checkpoint;
    test_ok(cairn_checkpoint_open(store, "run@release", &checkpoint, &err));
    assert_true(cairn_checkpoint_get_info(checkpoint)->entry.tags_count == 2 && !cairn_checkpoint_get_info(checkpoint)->entry.pinned);
    cairn_checkpoint_close(checkpoint);
    test_ok(cairn_verify(store, "run@10", NULL, NULL, &err));
}

static void bad_marks_are_refused(void **unused)
{
    const cairn_metric none = { "", 1 };
    char many[101][16];
    const char *tags[101];
    (void)unused;
    make("refused");
    test_code(mark("run@10", MARK(.add_tags = TAGS("7"), .add_tags_count = 1)), CAIRN_E_USAGE);
    test_code(mark("run@10", MARK(.remove_tags = TAGS("a/b"), .remove_tags_count = 1)), CAIRN_E_USAGE);
    test_code(mark("run@10", MARK(.metrics = &none, .metrics_count = 1)), CAIRN_E_USAGE);
    test_code(mark("run@10", MARK(.pin = 2)), CAIRN_E_USAGE);
    test_code(mark("run@11", MARK(.pin = 1)), CAIRN_E_NOTFOUND);
    test_code(mark("run", MARK(.pin = 1)), CAIRN_E_USAGE);
    test_code(mark("run/run.json", MARK(.pin = 1)), CAIRN_E_PATH);
    test_code(cairn_mark("/", "/", &MARK(.pin = 1), &err), CAIRN_E_USAGE);
    test_code(cairn_mark(store, "run@10", &(cairn_mark_options){ 0 }, &err), CAIRN_E_USAGE);
    test_code(cairn_mark(store, NULL, NULL, &err), CAIRN_E_USAGE);
    for (int i = 0; i < 101; i++) {
        snprintf(many[i], sizeof many[i], "t%d", i);
        tags[i] = many[i];
    }
    test_code(mark("run@20", MARK(.add_tags = tags, .add_tags_count = 101)), CAIRN_E_LIMIT);
    test_ok(mark("run@20", MARK(.add_tags = tags, .add_tags_count = 100)));
    expect_marks(30, "loss=1 ");
}

/* Three processes at once, each with tags and metrics of its own: nothing is lost. */
static int count_marks(void *user, const char *name)
{
    *(int *)user += !strncmp(name, "marks.", 6);
    return 0;
}

static int marks_of(const char *folder)
{
    char where[800];
    int count = 0;
    cn_file dir;
    snprintf(where, sizeof where, "%s/%s", path, folder);
    assert_int_equal(cn_os_open_dir_path(where, &dir), 0);
    assert_int_equal(cn_os_list(dir, count_marks, &count), 0);
    (void)cn_os_close(dir);
    return count;
}

/* A NaN has many bit patterns, and its text has none of them. */
static void a_metric_that_is_no_number_is_marked_once(void **unused)
{
    double odd = __builtin_copysign(__builtin_nan("7"), -1.0);
    const cairn_metric metric = { "accuracy", odd };
    cairn_mark_options options = CAIRN_MARK_OPTIONS_INIT;
    (void)unused;
    make("nan");
    options.metrics = &metric, options.metrics_count = 1;
    for (int i = 0; i < 2; i++) test_ok(cairn_mark(store, "run@20", &options, &err));
    assert_int_equal(marks_of("checkpoint-20"), 1);
}

static void a_change_that_contradicts_itself_is_refused(void **unused)
{
    static const char *const tags[] = { "release" };
    static const cairn_metric twice[] = { { "accuracy", 0.5 }, { "accuracy", 0.75 } };
    cairn_mark_options both = CAIRN_MARK_OPTIONS_INIT, metrics = CAIRN_MARK_OPTIONS_INIT;
    (void)unused;
    make("contradiction");
    both.add_tags = both.remove_tags = tags, both.add_tags_count = both.remove_tags_count = 1;
    assert_int_equal(cairn_mark(store, "run@20", &both, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "release"));
    metrics.metrics = twice, metrics.metrics_count = 2;
    assert_int_equal(cairn_mark(store, "run@20", &metrics, &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "accuracy"));
    assert_int_equal(marks_of("checkpoint-20"), 0);
    expect_marks(20, "loss=1 ");
}

static void three_at_once_lose_nothing(void **unused)
{
    enum { EACH = 30 };
    pid_t children[3];
    int status;
    cairn_listing *listing;
    (void)unused;
    make("three");
    for (int k = 0; k < 3; k++)
        if (!(children[k] = fork())) {
            for (int i = 0; i < EACH; i++) {
                char tag[32];
                snprintf(tag, sizeof tag, "p%d-%d", k, i);
                cairn_metric metric = { tag, i };
                if (cairn_mark(store, "run@20", &MARK(.add_tags = TAGS(tag), .add_tags_count = 1, .metrics = &metric, .metrics_count = 1),
                               &err))
                    _exit(1);
                if (i >= 3) { /* older ones of its own go again */
                    char old[32];
                    snprintf(old, sizeof old, "p%d-%d", k, i - 3);
                    if (cairn_mark(store, "run@20", &MARK(.remove_tags = TAGS(old), .remove_tags_count = 1), &err)) _exit(2);
                }
            }
            _exit(0);
        }
    for (int k = 0; k < 3; k++) assert_true(waitpid(children[k], &status, 0) == children[k] && status == 0);
    test_ok(cairn_listing_open(path, &listing, &err));
    const cairn_entry *entry = entry_of(listing, 20);
    assert_int_equal(entry->tags_count, 9);
    assert_int_equal(entry->metrics_count, 1 + 3 * EACH);
    cairn_listing_close(listing);
    test_shell("test $(ls %s/checkpoint-20/marks.* | wc -l) = 1", path);
}

static void damaged_marks_are_told_and_pin(void **unused)
{
    cairn_listing *listing;
    (void)unused;
    make("damaged");
    test_ok(mark("run@10", MARK(.remove_tags = TAGS("first"), .remove_tags_count = 1)));
    test_shell("echo x >> %s/checkpoint-10/marks.1.json", path);
    test_ok(cairn_listing_open(path, &listing, &err));
    const cairn_entry *entry = entry_of(listing, 10);
    assert_true(entry->standing == CAIRN_CURRENT && entry->pinned && strstr(entry->problem, "marks.1.json"));
    cairn_listing_close(listing);
    test_code(mark("run@10", MARK(.pin = 1)), CAIRN_E_CORRUPT);
    test_code(cairn_remove(store, "run@10", &err), CAIRN_E_USAGE);
    cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
    test_code(cairn_verify(store, "run@10", NULL, &report, &err), CAIRN_E_CORRUPT);
    assert_true(report.findings == 1 && strstr(err.message, "marks.1.json"));
    cairn_checkpoint *checkpoint; /* which is as good as before */
    test_ok(cairn_checkpoint_open(store, "run@10", &checkpoint, &err));
    cairn_checkpoint_close(checkpoint);
}

/* Asked to, a removal says that there is nothing to remove; it looks at nothing but the manifest and the marks. */
static void a_tag_to_be_removed_may_have_to_be_there(void **unused)
{
    (void)unused;
    make("must");
    test_shell("cd %s/checkpoint-10 && rm model.safetensors", path);
    test_ok(mark("run@10", MARK(.remove_tags = TAGS("nothing"), .remove_tags_count = 1)));
    test_code(mark("run@10", MARK(.remove_tags = TAGS("nothing"), .remove_tags_count = 1, .pin = 1, .must_match = 1)), CAIRN_E_MISMATCH);
    assert_non_null(strstr(err.message, "no tag 'nothing'"));
    test_shell("! ls %s/checkpoint-10/marks.* 2>/dev/null", path);
    test_ok(mark("run@10", MARK(.remove_tags = TAGS("first"), .remove_tags_count = 1, .must_match = 1)));
    expect_marks(10, "loss=1 ");
}

/* Retired where it stands, and not emptied yet: no weights of anybody's. */
static void what_was_retired_is_gone(void **unused)
{
    char name[800];
    (void)unused;
    make("retired");
    test_shell("cd %s/checkpoint-20 && mv manifest.json retired.json", path);
    snprintf(name, sizeof name, "%s/checkpoint-20", path);
    test_code(cairn_verify(NULL, name, NULL, NULL, &err), CAIRN_E_GONE);
}

/* Unpinning is the way out: what its manifest says counts again. */
static void damaged_marks_begin_afresh(void **unused)
{
    (void)unused;
    make("afresh");
    test_ok(mark("run@10", MARK(.add_tags = TAGS("second"), .add_tags_count = 1)));
    test_shell("echo x >> %s/checkpoint-10/marks.1.json", path);
    test_code(cairn_remove(store, "run@10", &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "its marks cannot be read"));
    test_ok(mark("run@10", MARK(.pin = -1)));
    test_shell("cd %s/checkpoint-10 && test \"$(ls marks.*)\" = marks.2.json", path);
    test_ok(cairn_verify(store, "run@10", NULL, NULL, &err));
    test_ok(cairn_verify(store, "run@first", NULL, NULL, &err));
    test_code(cairn_verify(store, "run@second", NULL, NULL, &err), CAIRN_E_NOTFOUND);
    /* what a newer version wrote is no damage */
    test_shell("sed -i 's/\"version\":1/\"version\":2/' %s/checkpoint-10/marks.2.json", path);
    test_code(mark("run@10", MARK(.pin = 1)), CAIRN_E_CORRUPT);
}

/* Made up with a valid seal, as an attacker can. */
static void hostile_marks_are_refused(void **unused)
{
    static const struct {
        const char *text;
        int code;
    } cases[] = {
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":[\"a\"],\"metrics\":{\"x\":1},\"later\":[{}]", CAIRN_OK },
        { "{\"cairn\":\"marks\",\"version\":2,\"pinned\":true,\"tags\":[],\"metrics\":{}", CAIRN_E_VERSION },
        { "{\"cairn\":\"marks\",\"version\":2,\"pinned\":\"until June\",\"tags\":{},\"metrics\":[]", CAIRN_E_VERSION },
        { "{\"cairn\":\"run\",\"version\":1,\"pinned\":true,\"tags\":[],\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":1,\"tags\":[],\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"tags\":[],\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"pinned\":true,\"tags\":[],\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":[\"7\"],\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":[\"../x\"],\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":{},\"metrics\":{}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":[],\"metrics\":{\"a\":1,\"a\":2}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":[],\"metrics\":{\"a\":null}", CAIRN_E_FORMAT },
        { "{\"cairn\":\"marks\",\"version\":1,\"pinned\":true,\"tags\":[],\"metrics\":{\"\":1}", CAIRN_E_FORMAT },
        { "[1", CAIRN_E_FORMAT },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_buf buf;
        struct cn_pool pool;
        struct cn_marks marks;
        cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
        cn_buf_text(&buf, cases[i].text);
        struct cn_json_writer writer = { .buf = &buf, .need_comma = 1 };
        cn_json_seal(&writer);
        cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
        int code = cn_marks_decode(buf.data, buf.size, &pool, &marks, &err);
        if (code != cases[i].code) fail_msg("%s: %s", cases[i].text, cairn_code_name(code));
        for (size_t at = 0; at < buf.size; at++) { /* every flipped bit is found */
            buf.data[at] ^= 1;
            if (!cn_marks_decode(buf.data, buf.size, &pool, &marks, &err)) fail_msg("byte %zu", at);
            buf.data[at] ^= 1;
        }
        cn_pool_done(&pool);
        cn_buf_done(&buf);
    }
}

/* ---------------------------------------------------------------------------------------------------------------- item drop */

static void a_dropped_item_leaves_the_rest_valid(void **unused)
{
    cairn_checkpoint *checkpoint;
    cairn_state *state = new_state();
    cairn_run *run;
    cairn_restore_options options = CAIRN_RESTORE_OPTIONS_INIT;
    static float got[LARGE];
    (void)unused;
    make("drop");
    test_ok(mark("run@20", MARK(.add_tags = TAGS("kept"), .add_tags_count = 1)));
    test_ok(cairn_drop_item(store, "run@20", "optimizer", &err));
    test_ok(cairn_drop_item(store, "run@20", "optimizer", &err)); /* again: fine */
    test_shell(
        "cd %s/checkpoint-20 && ! ls training/optimizer* 2>/dev/null && test -f model.safetensors && test -z \"$(ls -A | grep '^\\.')\"",
        path);
    test_ok(cairn_verify(store, "run@20", NULL, NULL, &err));
    test_ok(cairn_checkpoint_open(store, "run@kept", &checkpoint, &err));
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    assert_true(info->tensors_count == 1 && info->generation == 1 && info->entry.dropped_count == 1 &&
                !strcmp(info->entry.dropped[0], "optimizer"));
    test_ok(cairn_checkpoint_read(checkpoint, cairn_checkpoint_find(checkpoint, "model", "w"), 0, sizeof got, got, &err));
    assert_true(got[5] == 25);
    cairn_checkpoint_close(checkpoint);
    /* what needs the optimizer is told; the model alone comes back */
    test_ok(cairn_run_open(path, NULL, &run, &err));
    options.step = 20;
    test_code(cairn_restore(run, state, &options, NULL, &err), CAIRN_E_MISMATCH);
    options.items = TAGS("model");
    options.items_count = 1;
    test_ok(cairn_restore(run, state, &options, NULL, &err));
    assert_true(weights[5] == 25);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
    /* what must not go */
    test_code(cairn_drop_item(store, "run@40", "optimizer", &err), CAIRN_E_USAGE);
    test_code(cairn_drop_item(store, "run@10", "model", &err), CAIRN_E_USAGE);
    test_code(cairn_drop_item(store, "run@10", "nothing", &err), CAIRN_E_USAGE);
    test_code(cairn_drop_item(store, "run@10", "", &err), CAIRN_E_USAGE);
    test_code(cairn_drop_item(store, "run@10", "values", &err), CAIRN_E_USAGE); /* nothing would become free */
    test_ok(cairn_verify(store, "run@10", NULL, NULL, &err));
}

static void readers_are_safe_from_a_drop(void **unused)
{
    cairn_checkpoint *checkpoint;
    static float got[LARGE];
    (void)unused;
    make("reader");
    test_ok(cairn_checkpoint_open(store, "run@20", &checkpoint, &err));
    test_code(cairn_drop_item(store, "run@20", "optimizer", &err), CAIRN_E_LOCKED);
    test_code(cairn_remove(store, "run@20", &err), CAIRN_E_LOCKED);
    test_ok(cairn_checkpoint_read(checkpoint, cairn_checkpoint_find(checkpoint, "optimizer", "exp_avg/w"), 0, sizeof got, got, &err));
    cairn_checkpoint_close(checkpoint);
    test_ok(cairn_drop_item(store, "run@20", "optimizer", &err));
    /* many readers while items are dropped: before or after, never in between */
    pid_t reader = fork();
    if (!reader) {
        for (int i = 0; i < 300; i++) {
            int code = cairn_checkpoint_open(store, i & 1 ? "run@10" : "run@30", &checkpoint, &err);
            if (code == CAIRN_E_GONE) continue;
            if (code) _exit(1);
            size_t count = cairn_checkpoint_get_info(checkpoint)->tensors_count;
            if (count != 1 && count != 3) _exit(2);
            for (size_t k = 0; k < count; k++)
                if (cairn_checkpoint_read(checkpoint, cairn_checkpoint_tensor(checkpoint, k), 0, 1000, got, &err)) _exit(3);
            cairn_checkpoint_close(checkpoint);
        }
        _exit(0);
    }
    int done = 0, status;
    for (int i = 0; i < 2000 && done < 2; i++) {
        int code = cairn_drop_item(store, done ? "run@30" : "run@10", "optimizer", &err);
        if (!code)
            done++;
        else if (code != CAIRN_E_LOCKED && code != CAIRN_E_GONE)
            fail_msg("%s", err.message);
    }
    assert_true(waitpid(reader, &status, 0) == reader && status == 0 && done == 2);
}

/* ------------------------------------------------------------------------------------------------------------------ remove */

static void removing_asks_what_must_stay(void **unused)
{
    (void)unused;
    make("remove");
    test_code(cairn_remove(store, "run@40", &err), CAIRN_E_USAGE); /* the newest */
    test_code(cairn_remove(store, "run@10", &err), CAIRN_E_USAGE); /* tagged */
    test_ok(mark("run@20", MARK(.pin = 1)));
    test_code(cairn_remove(store, "run@20", &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "pinned"));
    test_ok(mark("run@20", MARK(.pin = -1)));
    test_ok(cairn_remove(store, "run@20", &err));
    test_code(cairn_remove(store, "run@20", &err), CAIRN_E_NOTFOUND);
    test_code(cairn_remove(store, "run", &err), CAIRN_E_USAGE);
    test_code(cairn_remove(store, "", &err), CAIRN_E_USAGE);
    test_ok(mark("run@10", MARK(.remove_tags = TAGS("first"), .remove_tags_count = 1)));
    test_ok(cairn_remove(store, "run/checkpoint-10", &err));
    test_shell("cd %s && test \"$(ls -d checkpoint-* | xargs)\" = 'checkpoint-30 checkpoint-40' && test -z \"$(ls .cairn/trash)\"", path);
    test_shell("cp -r %s/checkpoint-30 %s/alone", path, store);
    test_code(cairn_remove(store, "alone", &err), CAIRN_E_USAGE); /* in no run */
    test_ok(mark("alone", MARK(.pin = 1)));                       /* but marks and drops are fine */
    test_ok(cairn_drop_item(store, "alone", "optimizer", &err));
    test_shell("mkdir %s/checkpoint-99 && mv %s/checkpoint-99 %s/checkpoint-7", path, path, path);
    test_code(cairn_remove(store, "run/checkpoint-7", &err), CAIRN_E_NOTFOUND);
}

/* -------------------------------------------------------------------------------------------------------------------- keep */

static int links_fail_with; /* errno; 0: they are read */

int __real_cn_os_read_link(cn_file dir, const char *name, char *ret_target, size_t size);
int __wrap_cn_os_read_link(cn_file dir, const char *name, char *ret_target, size_t size);
int __wrap_cn_os_read_link(cn_file dir, const char *name, char *ret_target, size_t size)
{
    return links_fail_with ? -links_fail_with : __real_cn_os_read_link(dir, name, ret_target, size);
}

static char went[400];

/* Above a damaged one the newest whole one is what a restore takes. */
static void removing_leaves_one_that_is_whole(void **unused)
{
    (void)unused;
    make("whole");
    test_shell("cd '%s/checkpoint-40' && chmod u+w model.safetensors && truncate -s 100 model.safetensors", path);
    test_code(cairn_remove(store, "run@30", &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "whole"));
    test_code(cairn_drop_item(store, "run@30", "optimizer", &err), CAIRN_E_USAGE);
    test_ok(cairn_remove(store, "run@20", &err));
}

/* Whose newest nobody can tell: that is no folder outside any run. */
static void a_run_without_its_description_keeps_all(void **unused)
{
    (void)unused;
    make("nameless");
    test_shell("rm %s/run.json", path);
    test_code(cairn_drop_item(store, "run/checkpoint-40", "optimizer", &err), CAIRN_E_FORMAT);
    test_code(cairn_remove(store, "run/checkpoint-10", &err), CAIRN_E_FORMAT);
    assert_non_null(strstr(err.message, "run.json is missing"));
    test_shell("ls %s/checkpoint-40/training/optimizer* >/dev/null", path);
}

/* The last one that training can go on from is not the one that an item was dropped of. */
static void removing_leaves_one_that_is_complete(void **unused)
{
    cairn_run *run;
    cairn_state *state = new_state();
    cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
    (void)unused;
    make("complete");
    test_ok(cairn_drop_item(store, "run@30", "optimizer", &err));
    test_shell("cd '%s/checkpoint-40' && chmod u+w model.safetensors && truncate -s 100 model.safetensors", path);
    test_code(cairn_remove(store, "run@20", &err), CAIRN_E_USAGE);
    test_code(cairn_drop_item(store, "run@20", "optimizer", &err), CAIRN_E_USAGE);
    test_ok(cairn_run_open(path, NULL, &run, &err));
    test_ok(cairn_restore(run, state, NULL, &report, &err)); /* and it goes on from there */
    assert_int_equal(report.step, 20);
    assert_int_equal(report.skipped_damaged, 1);
    test_ok(cairn_run_close(run, &err));
    cairn_state_free(state);
}

/* Another one that removes is waited for: "nothing to do" must not mean that. */
static void keeping_waits_for_its_turn(void **unused)
{
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    cairn_keep_report report = CAIRN_KEEP_REPORT_INIT;
    int ready[2], status;
    char byte = 0, lock[800];
    (void)unused;
    make("turn");
    test_ok(mark("run@10", MARK(.remove_tags = TAGS("first"), .remove_tags_count = 1)));
    snprintf(lock, sizeof lock, "%s/.cairn/retire.lock", path);
    assert_int_equal(pipe(ready), 0);
    pid_t other = fork();
    if (!other) {
        struct flock whole = { .l_type = F_WRLCK };
        int file = open(lock, O_RDWR | O_CREAT, 0644);
        if (file < 0 || fcntl(file, F_SETLK, &whole) || write(ready[1], &byte, 1) != 1) _exit(1);
        usleep(200000);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    options.last = 1;
    test_ok(cairn_keep(path, &options, &report, &err));
    assert_int_equal(report.removed, 3);
    assert_true(waitpid(other, &status, 0) == other && status == 0);
    close(ready[0]);
    close(ready[1]);
}

static void removing_leaves_the_best(void **unused)
{
    (void)unused;
    make("best");
    test_shell("ln -s checkpoint-20 %s/best", path);
    test_code(cairn_remove(store, "run@best", &err), CAIRN_E_USAGE);
    test_code(cairn_remove(store, "run@20", &err), CAIRN_E_USAGE);
    assert_non_null(strstr(err.message, "`best`"));
    test_shell("rm %s/best", path);
    test_ok(cairn_remove(store, "run@20", &err));
}

static void counts_without_lists_are_refused(void **unused)
{
    cairn_mark_options tags = CAIRN_MARK_OPTIONS_INIT, removed = CAIRN_MARK_OPTIONS_INIT, metrics = CAIRN_MARK_OPTIONS_INIT;
    (void)unused;
    make("counts");
    tags.add_tags_count = removed.remove_tags_count = metrics.metrics_count = 2;
    test_code(cairn_mark(store, "run@20", &tags, &err), CAIRN_E_USAGE);
    test_code(cairn_mark(store, "run@20", &removed, &err), CAIRN_E_USAGE);
    test_code(cairn_mark(store, "run@20", &metrics, &err), CAIRN_E_USAGE);
    assert_null(cairn_value_string(NULL, 5));
    assert_null(cairn_value_bytes(NULL, 5));
}

static void note_gone(void *user, const char *name)
{
    (void)user;
    strcat(strcat(went, name), " ");
}

/* What is done to a checkpoint is done to the folder that was named, not to one that somebody's link leads to. */
static void links_of_others_are_not_followed(void **unused)
{
    static const char *const nameless[] = { "checkpoint-20/.", "checkpoint-20/training/.." };
    char name[800];
    (void)unused;
    make("others");
    test_shell("ln -s run/checkpoint-20 %s/link && ln -s checkpoint-20 %s/checkpoint-50", store, path);
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, i ? "%s/checkpoint-50" : "%s/../link", path);
        test_code(cairn_remove(NULL, name, &err), CAIRN_E_PATH);
        test_code(cairn_drop_item(NULL, name, "optimizer", &err), CAIRN_E_PATH);
    }
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/%s", path, nameless[i]);
        test_code(cairn_remove(NULL, name, &err), CAIRN_E_USAGE);
    }
    snprintf(name, sizeof name, "%s/checkpoint-20//", path);
    test_ok(cairn_remove(NULL, name, &err));
    test_shell("test ! -e %s/checkpoint-20 && test -L %s/link", path, store);
}

static void old_ones_go_by_a_rule(void **unused)
{
    cairn_keep_options options = CAIRN_KEEP_OPTIONS_INIT;
    cairn_keep_report report = CAIRN_KEEP_REPORT_INIT;
    char nowhere[700];
    (void)unused;
    make("keep");
    test_shell("ln -s checkpoint-20 %s/best", path);
    options.removed = note_gone;
    test_code(cairn_keep(path, &options, &report, &err), CAIRN_E_USAGE); /* how many? */
    options.last = 1;
    options.dry_run = 1;
    test_ok(cairn_keep(path, &options, &report, &err));
    assert_string_equal(went, "checkpoint-30 "); /* 10 is tagged, 20 the best, 40 the newest */
    assert_true(report.removed == 1 && report.kept == 3);
    test_shell("test -e %s/checkpoint-30", path);
    options.dry_run = 0;
    went[0] = 0;
    /* which one is the best cannot be told: none goes */
    links_fail_with = EIO;
    test_code(cairn_keep(path, &options, &report, &err), CAIRN_E_IO);
    links_fail_with = 0;
    assert_non_null(strstr(err.message, "best"));
    assert_string_equal(went, "");
    test_ok(cairn_keep(path, &options, &report, &err));
    assert_string_equal(went, "checkpoint-30 ");
    assert_true(report.removed == 1 && report.kept == 3);
    test_shell("cd %s && test \"$(ls -d checkpoint-* | xargs)\" = 'checkpoint-10 checkpoint-20 checkpoint-40'", path);
    snprintf(nowhere, sizeof nowhere, "%s/nowhere", store);
    test_code(cairn_keep(nowhere, &options, &report, &err), CAIRN_E_NOTFOUND);
    test_shell("test ! -e %s", nowhere); /* asking makes no run */
    test_code(cairn_keep("", &options, &report, &err), CAIRN_E_USAGE);
    options.struct_size = 0;
    test_code(cairn_keep(path, &options, &report, &err), CAIRN_E_USAGE);
}

/* Nobody here can tell whether they are damaged. */
static void marks_of_a_newer_version_are_not_called_damage(void **unused)
{
    static const char newer[] = "{\"cairn\":\"marks\",\"version\":2,\"pinned\":true";
    struct cn_buf buf;
    struct cn_json_writer writer = { .buf = &buf, .need_comma = 1 };
    cairn_verify_report report = CAIRN_VERIFY_REPORT_INIT;
    cn_file dir;
    char folder[800];
    (void)unused;
    make("newer");
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    cn_buf_text(&buf, newer);
    cn_json_seal(&writer);
    snprintf(folder, sizeof folder, "%s/checkpoint-10", path);
    assert_int_equal(cn_os_open_dir_path(folder, &dir), 0);
    test_ok(cn_smallfile_put(dir, "marks.1.json", buf.data, buf.size, 0644, &err));
    (void)cn_os_close(dir);
    cn_buf_done(&buf);
    test_code(cairn_verify(store, "run@10", NULL, &report, &err), CAIRN_E_VERSION);
    assert_int_equal(report.findings, 0);
    assert_non_null(strstr(err.message, "checkpoint-10: marks.1.json: "));
}

/* Numbers that differ are told apart by a process that takes subnormal ones for zero, too. */
static void a_metric_is_what_its_bits_are(void **unused)
{
    static const double values[] = { 0.0, 1e-310, 5e-324, 0.0, -0.0 };
    (void)unused;
    make("bits");
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        fenv_t before;
        cairn_metric metric = { "accuracy", values[i] };
        cairn_checkpoint *checkpoint;
        assert_int_equal(fegetenv(&before), 0);
        test_flush_subnormals();
        int code = mark("run@20", MARK(.metrics = &metric, .metrics_count = 1));
        fesetenv(&before);
        test_ok(code);
        test_ok(cairn_checkpoint_open(store, "run@20", &checkpoint, &err));
        const cairn_entry *entry = &cairn_checkpoint_get_info(checkpoint)->entry;
        assert_string_equal(entry->metrics[entry->metrics_count - 1].name, "accuracy");
        assert_memory_equal(&entry->metrics[entry->metrics_count - 1].value, &values[i], sizeof values[i]);
        cairn_checkpoint_close(checkpoint);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_add_up),
        cmocka_unit_test(bad_marks_are_refused),
        cmocka_unit_test(a_metric_that_is_no_number_is_marked_once),
        cmocka_unit_test(a_change_that_contradicts_itself_is_refused),
        cmocka_unit_test(three_at_once_lose_nothing),
        cmocka_unit_test(a_tag_to_be_removed_may_have_to_be_there),
        cmocka_unit_test(what_was_retired_is_gone),
        cmocka_unit_test(damaged_marks_begin_afresh),
        cmocka_unit_test(damaged_marks_are_told_and_pin),
        cmocka_unit_test(hostile_marks_are_refused),
        cmocka_unit_test(a_dropped_item_leaves_the_rest_valid),
        cmocka_unit_test(readers_are_safe_from_a_drop),
        cmocka_unit_test(removing_asks_what_must_stay),
        cmocka_unit_test(a_run_without_its_description_keeps_all),
        cmocka_unit_test(removing_leaves_one_that_is_complete),
        cmocka_unit_test(keeping_waits_for_its_turn),
        cmocka_unit_test(removing_leaves_the_best),
        cmocka_unit_test(removing_leaves_one_that_is_whole),
        cmocka_unit_test(counts_without_lists_are_refused),
        cmocka_unit_test(links_of_others_are_not_followed),
        cmocka_unit_test(old_ones_go_by_a_rule),
        cmocka_unit_test(marks_of_a_newer_version_are_not_called_damage),
        cmocka_unit_test(a_metric_is_what_its_bits_are),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
