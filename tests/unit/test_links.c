/* Covers src/snapshot/base.c, src/snapshot/save_link.c and src/manager/sharers.c: files that did not change become hard links, everything else is
 * written afresh; each checkpoint stays complete on its own. cn_os_link stands in for file systems that refuse, cn_os_open_dir and cn_os_copy_text
 * for a process that has no more descriptors or memory. */
#include "support.h"

#include <glob.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <unistd.h>

#include "os/os.h"

static cairn_error err = CAIRN_ERROR_INIT;
static char path[600];

/* ---------------------------------------------------------------------------------------------------- links that are refused */

static int refuse_links_with;

int __real_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to);
int __wrap_cn_os_link(cn_file from_dir, const char *from, cn_file to_dir, const char *to)
{
    if (refuse_links_with && strstr(from, ".safetensors")) return -refuse_links_with;
    return __real_cn_os_link(from_dir, from, to_dir, to);
}

/* The call of this number, counted from 1, finds no descriptor left; folders of a checkpoint that is open already. */
static int lacking_at, lacking_calls;
static bool starving;

int __real_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir);
int __wrap_cn_os_open_dir(cn_file dir, const char *name, cn_file *ret_dir)
{
    if (!strcmp(name, ".") && ++lacking_calls == lacking_at) return -EMFILE;
    return __real_cn_os_open_dir(dir, name, ret_dir);
}

char *__real_cn_os_copy_text(const char *text);
char *__wrap_cn_os_copy_text(const char *text);
char *__wrap_cn_os_copy_text(const char *text)
{
    return starving ? NULL : __real_cn_os_copy_text(text);
}

/* ----------------------------------------------------------------------------------------------------------------- a model */

enum { FROZEN_BYTES = 20 << 20, FROZEN = 3, TRAINED_BYTES = 500 << 10, MOMENT_BYTES = 3 << 20 };

struct model {
    cairn_state *state;
    unsigned char *frozen[FROZEN], *trained, *moment;
    int64_t position;
};

static void bind(struct model *m, const char *item, const char *name, uint64_t size, uint32_t flags, unsigned char *address)
{
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    tensor.name = name, tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.flags = flags, tensor.address = address;
    test_ok(cairn_state_bind_tensor(m->state, item, &tensor, &err));
}

/* hint: FROZEN, or nothing to go by. */
static void open_model(struct model *m, uint32_t hint)
{
    char name[32];
    memset(m, 0, sizeof *m);
    test_ok(cairn_state_new(&m->state, &err));
    for (int i = 0; i < FROZEN; i++) {
        m->frozen[i] = malloc(FROZEN_BYTES);
        for (size_t k = 0; k < FROZEN_BYTES; k++) m->frozen[i][k] = (unsigned char)(k * 31 >> 4 ^ (size_t)i);
        snprintf(name, sizeof name, "base.%d", i);
        bind(m, hint ? "model" : "backbone", name, FROZEN_BYTES, hint, m->frozen[i]);
    }
    m->trained = malloc(TRAINED_BYTES), m->moment = malloc(MOMENT_BYTES);
    bind(m, "model", "adapter", TRAINED_BYTES, CAIRN_TRAINABLE, m->trained);
    test_ok(cairn_state_bind_i64(m->state, "data", "position", &m->position, &err));
}

static void train(struct model *m, int step)
{
    memset(m->trained, step, TRAINED_BYTES);
    memset(m->moment, step, MOMENT_BYTES);
    m->position = step;
}

static void close_model(struct model *m)
{
    cairn_state_free(m->state);
    for (int i = 0; i < FROZEN; i++) free(m->frozen[i]);
    free(m->trained), free(m->moment);
}

static cairn_run *open_run(const char *name)
{
    cairn_run *run;
    if (name) snprintf(path, sizeof path, "%s/run", test_folder(name));
    test_ok(cairn_run_open(path, NULL, &run, &err));
    return run;
}

static cairn_save_report save(cairn_run *run, struct model *m, int step)
{
    cairn_save_options options = TEST_SAVE_OPTIONS;
    cairn_save_report report = CAIRN_SAVE_REPORT_INIT;
    train(m, step);
    options.step = (uint64_t)step;
    test_ok(cairn_save(run, m->state, &options, &report, &err));
    return report;
}

/* Verified byte by byte, and what came back is what was trained. */
static void expect_whole(int step, const struct model *want)
{
    struct model m;
    char name[700];
    cairn_checkpoint *checkpoint;
    snprintf(name, sizeof name, "%s@%d", path, step);
    test_ok(cairn_verify(NULL, name, NULL, NULL, &err));
    memset(&m, 0, sizeof m);
    unsigned char *bytes = malloc(FROZEN_BYTES);
    test_ok(cairn_checkpoint_open(NULL, name, &checkpoint, &err));
    for (size_t i = 0; i < cairn_checkpoint_get_info(checkpoint)->tensors_count; i++) {
        const cairn_tensor_info *tensor = cairn_checkpoint_tensor(checkpoint, i);
        test_ok(cairn_checkpoint_read(checkpoint, tensor, 0, tensor->size_bytes, bytes, &err));
        if (!strncmp(tensor->name, "base.", 5))
            assert_int_equal(memcmp(bytes, want->frozen[tensor->name[5] - '0'], FROZEN_BYTES), 0);
        else
            assert_true(bytes[0] == step && bytes[tensor->size_bytes - 1] == step);
    }
    cairn_checkpoint_close(checkpoint);
    free(bytes);
}

static bool is_linked(int step, int other)
{
    char command[2000];
    snprintf(
        command, sizeof command,
        "cd %s && for f in checkpoint-%d/*.safetensors checkpoint-%d/training/*.safetensors; do g=checkpoint-%d${f#checkpoint-%d}; test $f -ef $g && exit 0; done; exit 1",
        path, step, step, other, step);
    return system(command) == 0;
}

/* ----------------------------------------------------------------------------------------------------------------- tests */

static void frozen_bytes_are_written_once(void **unused)
{
    struct model m;
    (void)unused;
    open_model(&m, CAIRN_FROZEN);
    cairn_run *run = open_run("once");
    cairn_save_report first = save(run, &m, 1);
    assert_true(first.linked_bytes == 0 && first.written_bytes > FROZEN * FROZEN_BYTES);
    for (int step = 2; step <= 4; step++) {
        cairn_save_report report = save(run, &m, step);
        assert_true(report.written_bytes < first.written_bytes / 50 && report.linked_bytes > first.written_bytes / 100 * 98);
        assert_true(is_linked(step, 1));
    }
    /* each is complete when all others are gone */
    test_shell("cd %s && rm -rf checkpoint-1 checkpoint-2 checkpoint-4", path);
    expect_whole(3, &m);
    /* the base is gone: the next one is written afresh, and whole */
    cairn_save_report fresh = save(run, &m, 5);
    assert_int_equal(fresh.linked_bytes, 0);
    expect_whole(5, &m);
    test_ok(cairn_run_close(run, &err));
    /* after a resume: known from the restore's digests */
    run = open_run(NULL);
    test_ok(cairn_restore(run, m.state, NULL, NULL, &err));
    cairn_save_report resumed = save(run, &m, 6);
    assert_true(resumed.written_bytes < first.written_bytes / 50 && is_linked(6, 5));
    expect_whole(6, &m);
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

/* What linked files say about their tensors is what was said when they were written. */
static void statistics_come_along(void **unused)
{
    static float weights[600000];
    const uint64_t shape = 600000;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    cairn_state *state;
    cairn_save_options options = TEST_SAVE_OPTIONS;
    (void)unused;
    for (size_t i = 0; i < 600000; i++) weights[i] = (float)i * 0.37f;
    weights[7] = __builtin_nanf("");
    test_ok(cairn_state_new(&state, &err));
    tensor.name = "w", tensor.dtype = CAIRN_F32, tensor.rank = 1, tensor.shape = &shape, tensor.flags = CAIRN_FROZEN,
    tensor.address = weights;
    test_ok(cairn_state_bind_tensor(state, "model", &tensor, &err));
    cairn_run *run = open_run("statistics");
    for (options.step = 1; options.step <= 2; options.step++) test_ok(cairn_save(run, state, &options, NULL, &err));
    test_ok(cairn_run_close(run, &err));
    run = open_run(NULL);
    test_ok(cairn_restore(run, state, NULL, NULL, &err));
    options.step = 3;
    test_ok(cairn_save(run, state, &options, NULL, &err));
    test_ok(cairn_run_close(run, &err));
    test_shell(
        "cd %s && cmp checkpoint-1/training/tensors.json checkpoint-2/training/tensors.json && cmp checkpoint-1/training/tensors.json checkpoint-3/training/tensors.json"
        " && test checkpoint-1/model.safetensors -ef checkpoint-3/model.safetensors && grep -q '\"nan\":1' checkpoint-3/training/tensors.json",
        path);
    cairn_state_free(state);
}

static void one_bit_in_the_last_block_is_stored(void **unused)
{
    struct model m;
    (void)unused;
    open_model(&m, CAIRN_FROZEN);
    cairn_run *run = open_run("bit");
    save(run, &m, 1);
    save(run, &m, 2);
    m.frozen[2][FROZEN_BYTES - 1] ^= 1;
    cairn_save_report report = save(run, &m, 3);
    assert_true(report.written_bytes > FROZEN * FROZEN_BYTES);
    expect_whole(3, &m);
    m.frozen[2][FROZEN_BYTES - 1] ^= 1;
    expect_whole(2, &m);
    m.frozen[2][FROZEN_BYTES - 1] ^= 1;
    report = save(run, &m, 4);
    assert_true(report.linked_bytes > 0 && is_linked(4, 3));
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

/* Of the shared file: the other one's name. Of the trained one's: nobody. */
static void note_sharers(void *user, const cairn_damage *damage)
{
    if (damage->shared_with) snprintf(user, 200, "%s", damage->shared_with);
}

/* r+b writes through every link: such a file is never linked again. What it damaged is told by verify. */
static void a_file_changed_by_hand_is_not_linked(void **unused)
{
    struct model m;
    (void)unused;
    open_model(&m, CAIRN_FROZEN);
    cairn_run *run = open_run("hand");
    save(run, &m, 1);
    save(run, &m, 2);
    usleep(20000);
    char pattern[700];
    glob_t files;
    snprintf(pattern, sizeof pattern, "%s/checkpoint-2/*.safetensors", path);
    assert_int_equal(glob(pattern, 0, NULL, &files), 0);
    for (size_t i = 0; i < files.gl_pathc; i++) test_damage(path, files.gl_pathv[i] + strlen(path) + 1, 100000);
    globfree(&files);
    cairn_save_report report = save(run, &m, 3);
    assert_int_equal(report.linked_bytes, 0);
    expect_whole(3, &m);
    char name[700];
    snprintf(name, sizeof name, "%s@2", path);
    cairn_verify_options options = CAIRN_VERIFY_OPTIONS_INIT;
    char sharers[200] = "";
    options.damage = note_sharers;
    options.user = sharers;
    test_code(cairn_verify(NULL, name, &options, NULL, &err), CAIRN_E_CORRUPT);
    assert_string_equal(sharers, "checkpoint-1");
    /* however the damaged one is named */
    test_shell("cd %s && rm latest && ln -s checkpoint-2 latest && ln -s run/checkpoint-2 ../link", path);
    static const char *const names[] = { "checkpoint-2/", "latest", "checkpoint-2/training/..", "../link" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        sharers[0] = 0;
        snprintf(name, sizeof name, "%s/%s", path, names[i]);
        test_code(cairn_verify(NULL, name, &options, NULL, &err), CAIRN_E_CORRUPT);
        assert_string_equal(sharers, "checkpoint-1");
    }
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

static void every_refused_link_means_writing(void **unused)
{
    static const int errors[] = { EXDEV, EMLINK, EPERM, EIO, ENOSPC };
    (void)unused;
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        struct model m;
        open_model(&m, i % 2 ? CAIRN_FROZEN : 0); /* both ways to a link */
        cairn_run *run = open_run("refused");
        save(run, &m, 1);
        refuse_links_with = errors[i];
        cairn_save_report report = save(run, &m, 2);
        assert_true(report.linked_bytes == 0 && report.written_bytes > FROZEN * FROZEN_BYTES);
        refuse_links_with = 0;
        expect_whole(2, &m);
        report = save(run, &m, 3);
        assert_true(report.linked_bytes > 0);
        expect_whole(3, &m);
        test_ok(cairn_run_close(run, &err));
        close_model(&m);
    }
}

/* Without a hint: what turned out equal is linked after all, and the next time it is not even copied. */
static void what_stands_still_is_learnt(void **unused)
{
    struct model m;
    cairn_status status = CAIRN_STATUS_INIT;
    (void)unused;
    open_model(&m, 0);
    cairn_run *run = open_run("learnt");
    save(run, &m, 1);
    for (int step = 2; step <= 3; step++) {
        cairn_save_report report = save(run, &m, step);
        assert_true(report.linked_bytes > FROZEN * FROZEN_BYTES && report.written_bytes < 2 * TRAINED_BYTES);
        assert_int_equal(cairn_run_status(run, &status), 0);
        assert_true(step == 2 ? status.staged_bytes > FROZEN * FROZEN_BYTES : status.staged_bytes <= TRAINED_BYTES);
        assert_true(is_linked(step, 1));
        expect_whole(step, &m);
    }
    m.frozen[0][5]++;
    cairn_save_report report = save(run, &m, 4);
    assert_true(report.linked_bytes == 0);
    expect_whole(4, &m);
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

static void save_lazily(cairn_run *run, struct model *m, int step)
{
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    train(m, step);
    options.step = (uint64_t)step;
    options.mode = CAIRN_SAVE_LAZY;
    test_ok(cairn_save(run, m->state, &options, NULL, &err));
}

/* Lazily, what may change at once is compared before the save returns: linked where it stood still, and else as it was then. */
static void what_may_change_at_once_is_linked_lazily_too(void **unused)
{
    struct model m;
    cairn_status status = CAIRN_STATUS_INIT;
    (void)unused;
    open_model(&m, CAIRN_FROZEN | CAIRN_VOLATILE);
    cairn_run *run = open_run("lazily");
    for (int step = 1; step <= 3; step++) {
        if (step == 3) m.frozen[0][5] ^= 0xff;
        save_lazily(run, &m, step);
        m.frozen[1][7] ^= 0xff; /* before the fence */
        test_ok(cairn_fence(run, &err));
        test_ok(cairn_wait(run, &err));
        m.frozen[1][7] ^= 0xff;
        assert_int_equal(cairn_run_status(run, &status), 0);
        assert_true(step == 2 ? status.linked_bytes > FROZEN * FROZEN_BYTES && status.staged_bytes <= TRAINED_BYTES : !status.linked_bytes);
        expect_whole(step, &m);
    }
    assert_true(is_linked(2, 1));
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

/* A gate in the trained tensor: when the job waits there the frozen files are linked already. */
static atomic_bool open_gate, at_gate;

static int gated_fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    if (size > 1000) {
        atomic_store(&at_gate, true);
        while (!atomic_load(&open_gate)) usleep(500);
    }
    memcpy(destination, (unsigned char *)user + offset, size);
    return 0;
}

static int no_store(void *user, uint64_t offset, size_t size, const void *source)
{
    memcpy((unsigned char *)user + offset, source, size);
    return 0;
}

static void removing_all_others_in_the_middle_of_a_save_is_harmless(void **unused)
{
    struct model m;
    cairn_save_options options = CAIRN_SAVE_OPTIONS_INIT;
    cairn_tensor tensor = CAIRN_TENSOR_INIT;
    const uint64_t size = MOMENT_BYTES;
    (void)unused;
    open_model(&m, CAIRN_FROZEN);
    tensor.name = "moment", tensor.dtype = CAIRN_U8, tensor.rank = 1, tensor.shape = &size, tensor.fetch = gated_fetch,
    tensor.store = no_store;
    tensor.user = m.moment;
    test_ok(cairn_state_bind_tensor(m.state, "optimizer", &tensor, &err));
    cairn_run *run = open_run("middle");
    atomic_store(&open_gate, true);
    save(run, &m, 1);
    save(run, &m, 2);
    train(&m, 3);
    atomic_store(&open_gate, false);
    atomic_store(&at_gate, false);
    options.mode = CAIRN_SAVE_LAZY;
    options.step = 3;
    test_ok(cairn_save(run, m.state, &options, NULL, &err));
    while (!atomic_load(&at_gate)) usleep(500);
    test_shell("rm -rf %s/checkpoint-1 %s/checkpoint-2", path, path);
    atomic_store(&open_gate, true);
    test_ok(cairn_wait(run, &err));
    cairn_status status = CAIRN_STATUS_INIT;
    assert_int_equal(cairn_run_status(run, &status), 0);
    assert_true(status.linked_bytes > FROZEN * FROZEN_BYTES);
    expect_whole(3, &m);
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

static void note(void *user, const char *message)
{
    snprintf(user, 1000, "%s", message);
}

/* The newest checkpoint is good: for want of descriptors or memory nothing comes back, or that one does and the next save writes all. */
static void want_of_descriptors_or_memory_is_no_damage(void **unused)
{
    struct model m;
    char told[1000] = "";
    cairn_run_options options = CAIRN_RUN_OPTIONS_INIT;
    (void)unused;
    options.message = note;
    options.user = told;
    open_model(&m, CAIRN_FROZEN);
    cairn_run *run = open_run("lacking");
    save(run, &m, 1);
    save(run, &m, 2);
    test_ok(cairn_run_close(run, &err));
    test_ok(cairn_run_open(path, &options, &run, &err));
    int refused = 0, restored = 0;
    lacking_at = 0;
    do {
        cairn_restore_report report = CAIRN_RESTORE_REPORT_INIT;
        lacking_at++;
        lacking_calls = 0;
        int code = cairn_restore(run, m.state, NULL, &report, &err);
        refused += code != 0;
        if (code)
            assert_int_equal(err.os_errno, EMFILE);
        else
            assert_int_equal(report.step, 2);
        restored += !code && strstr(told, "the next save will write all files afresh: ");
    } while (lacking_calls >= lacking_at);
    lacking_at = 0;
    assert_true(refused && restored);
    told[0] = 0;
    starving = true;
    int code = cairn_restore(run, m.state, NULL, NULL, &err);
    starving = false;
    test_ok(code);
    assert_non_null(strstr(told, "afresh: no memory"));
    assert_int_equal(save(run, &m, 3).linked_bytes, 0);
    expect_whole(3, &m);
    test_ok(cairn_run_close(run, &err));
    close_model(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frozen_bytes_are_written_once),
        cmocka_unit_test(statistics_come_along),
        cmocka_unit_test(one_bit_in_the_last_block_is_stored),
        cmocka_unit_test(a_file_changed_by_hand_is_not_linked),
        cmocka_unit_test(every_refused_link_means_writing),
        cmocka_unit_test(what_stands_still_is_learnt),
        cmocka_unit_test(what_may_change_at_once_is_linked_lazily_too),
        cmocka_unit_test(want_of_descriptors_or_memory_is_no_damage),
        cmocka_unit_test(removing_all_others_in_the_middle_of_a_save_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
