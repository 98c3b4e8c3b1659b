/* Covers src/store/layout.c, src/store/id.c, src/store/relative.c and src/store/utctime.c: names on disk, identities and points in time, all as text alone. */
#include "support.h"

#include <errno.h>
#include <time.h>

#include "store/id.h"
#include "store/layout.h"
#include "store/relative.h"
#include "store/utctime.h"

static cairn_error err = CAIRN_ERROR_INIT;

static void folders_have_one_spelling(void **unused)
{
    static const struct {
        const char *name;
        bool good;
        uint64_t step, term;
    } cases[] = {
        { "checkpoint-0", true, 0, 0 },
        { "checkpoint-1200", true, 1200, 0 },
        { "checkpoint-7~3", true, 7, 3 },
        { "checkpoint-18446744073709551615", true, UINT64_MAX, 0 },
        { "checkpoint-", false, 0, 0 },
        { "checkpoint-18446744073709551616", false, 0, 0 },
        { "checkpoint-007", false, 0, 0 },
        { "checkpoint--1", false, 0, 0 },
        { "checkpoint-1~", false, 0, 0 },
        { "checkpoint-1~0", false, 0, 0 },
        { "checkpoint-1~02", false, 0, 0 },
        { "checkpoint-1~2~3", false, 0, 0 },
        { "checkpoint-1 ", false, 0, 0 },
        { "checkpoint-+1", false, 0, 0 },
        { "Checkpoint-1", false, 0, 0 },
        { "checkpoint-1.damaged", false, 0, 0 },
        { "", false, 0, 0 },
        { "checkpoint", false, 0, 0 },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t step = 42, term = 42;
        char back[CN_FOLDER_NAME_BYTES];
        bool good = cn_layout_parse_folder(cases[i].name, &step, &term);
        if (good != cases[i].good) fail_msg("%s", cases[i].name);
        if (!good) {
            assert_true(step == 42 && term == 42);
            continue;
        }
        assert_true(step == cases[i].step && term == cases[i].term);
        cn_layout_folder(step, term, back);
        assert_string_equal(back, cases[i].name);
    }
    assert_true(cn_layout_looks_like_checkpoint("checkpoint-x") && !cn_layout_looks_like_checkpoint("checkpoint"));
}

static void items_are_plain_words(void **unused)
{
    static const char *const good[] = { "model", "a", "A-b_c.9", "_x", "0" };
    static const char *const bad[] = { "", "state", "tensors", "provenance", ".x", "-x", "a/b", "a b", "\xc3\xa4", "../x", "a:b" };
    char longest[66];
    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) test_ok(cn_layout_check_item(good[i], &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) test_code(cn_layout_check_item(bad[i], &err), CAIRN_E_USAGE);
    memset(longest, 'a', 65);
    longest[65] = 0;
    test_code(cn_layout_check_item(longest, &err), CAIRN_E_USAGE);
    longest[64] = 0;
    test_ok(cn_layout_check_item(longest, &err));
}

static void runs_have_names_that_mean_nothing_else(void **unused)
{
    static const char *const good[] = { "a", "store/gpt-small", "a b", "latest2", ".", "..", "./a", "a.b", "r\xc3\xa9seau", ".hidden/a" };
    static const char *const bad[] = { "latest", "x/best", "checkpoint-5", "a@b", "a\nb", "a\xff", ".hidden", "x/.hidden", "..a" };
    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) test_ok(cn_layout_check_run(good[i], &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) test_code(cn_layout_check_run(bad[i], &err), CAIRN_E_USAGE);
}

static void attachments_stay_inside_and_out_of_our_way(void **unused)
{
    static const char *const good[] = { "config.json", "a/b/c.txt", "tokenizer model", "x~y", "training.json" };
    static const char *const bad[] = { "",
                                       "/etc/passwd",
                                       "../x",
                                       "a/../b",
                                       "a//b",
                                       "a/",
                                       ".hidden",
                                       "a/.b",
                                       "-x",
                                       "a\\b",
                                       "c:\\x",
                                       "a\nb",
                                       "x\x7f",
                                       "\xff",
                                       "manifest.json",
                                       "training",
                                       "training/x",
                                       "marks.3.json",
                                       "retired.json",
                                       "extra.safetensors",
                                       "a/b.safetensors" };
    char part[300];
    (void)unused;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) test_ok(cn_layout_check_attachment(good[i], &err));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) test_code(cn_layout_check_attachment(bad[i], &err), CAIRN_E_PATH);
    memset(part, 'a', 256);
    part[256] = 0;
    test_code(cn_layout_check_attachment(part, &err), CAIRN_E_PATH);
    part[255] = 0;
    test_ok(cn_layout_check_attachment(part, &err));
    test_ok(cn_layout_check_file("training/state.json", strlen("training/state.json"), &err));
    test_code(cn_layout_check_file("manifest.json", strlen("manifest.json"), &err), CAIRN_E_PATH);
    test_code(cn_layout_check_file("a\0b", 3, &err), CAIRN_E_PATH);
}

static void files_are_named_as_the_hub_does(void **unused)
{
    char name[64];
    (void)unused;
    assert_int_equal(cn_layout_data_file("model", NULL, 1, 1, name, sizeof name), 0);
    assert_string_equal(name, "model.safetensors");
    assert_int_equal(cn_layout_data_file("model", "adapter_model", 1, 1, name, sizeof name), 0);
    assert_string_equal(name, "adapter_model.safetensors");
    assert_int_equal(cn_layout_data_file("optimizer", NULL, 2, 30, name, sizeof name), 0);
    assert_string_equal(name, "training/optimizer-00002-of-00030.safetensors");
    assert_int_equal(cn_layout_data_file("model", NULL, 1, 100000, name, sizeof name), CAIRN_E_LIMIT);
    assert_int_equal(cn_layout_data_file("model", NULL, 1, 1, name, 10), CAIRN_E_LIMIT);
    assert_int_equal(cn_layout_index_file("model", NULL, name, sizeof name), 0);
    assert_string_equal(name, "model.safetensors.index.json");
    assert_int_equal(cn_layout_index_file("ema", NULL, name, 8), CAIRN_E_LIMIT);
}

/* Against the C library's calendar, over every day that can be written. */
static void times_come_back(void **unused)
{
    static const char *const bad[] = { "",
                                       "2026-11-24",
                                       "2026-11-24T10:00:00Z",
                                       "2026-13-01T00:00:00.000000000Z",
                                       "2026-00-01T00:00:00.000000000Z",
                                       "2026-01-32T00:00:00.000000000Z",
                                       "2026-01-00T00:00:00.000000000Z",
                                       "2026-01-01T24:00:00.000000000Z",
                                       "2026-01-01T00:60:00.000000000Z",
                                       "2026-01-01T00:00:61.000000000Z",
                                       "1969-01-01T00:00:00.000000000Z",
                                       "2262-01-01T00:00:00.000000000Z",
                                       "2026-01-01T00:00:00.000000000Zx",
                                       "2026-01-01 00:00:00.000000000Z",
                                       "2026-01-01T00:00:00.00000000aZ" };
    char text[CN_UTC_BYTES], want[64];
    int64_t back;
    (void)unused;
    for (int64_t day = 0; day < 106000; day++) {
        int64_t time_ns = (day * 86400 + day % 86400) * 1000000000 + day;
        time_t seconds = (time_t)(time_ns / 1000000000);
        cn_utctime_format(time_ns, text);
        strftime(want, sizeof want, "%Y-%m-%dT%H:%M:%S", gmtime(&seconds));
        if (strncmp(text, want, 19) || !cn_utctime_parse(text, &back) || back != time_ns) fail_msg("%s, not %s", text, want);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (cn_utctime_parse(bad[i], &back)) fail_msg("%s", bad[i]);
    cn_utctime_format(-5, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000000000Z");
}

static void identities_are_new_and_known(void **unused)
{
    char one[CN_ID_BYTES], other[CN_ID_BYTES];
    (void)unused;
    assert_int_equal(cn_id_new(one, NULL), 0);
    assert_int_equal(cn_id_new(other, NULL), 0);
    assert_string_not_equal(one, other);
    assert_true(cn_id_is(one, strlen(one)));
    assert_false(cn_id_is(one, 31) || cn_id_is("0123456789ABCDEF0123456789abcdef", 32) || cn_id_is("", 0) ||
                 cn_id_is("../../../../../../../../../../xx/", 32));
}

static void relative_names_stay_below(void **unused)
{
    char path[300];
    cn_file dir = CN_NO_FILE, folder = CN_NO_FILE;
    const char *last;
    (void)unused;
    snprintf(path, sizeof path, "%s", test_folder("relative"));
    test_shell("cd '%s' && mkdir -p a/b && touch a/b/file && ln -s /etc away && touch plain", path);
    assert_int_equal(cn_os_open_dir_path(path, &dir), 0);
    assert_int_equal(cn_relative_open_folder(dir, "a/b/file", &folder, &last), 0);
    struct cn_file_info info;
    assert_string_equal(last, "file");
    assert_int_equal(cn_os_stat_at(folder, last, &info), 0);
    cn_os_close(folder);
    assert_int_equal(cn_relative_open_folder(dir, "plain", &folder, &last), 0);
    assert_int_equal(cn_os_stat_at(folder, "a", &info), 0);
    cn_os_close(folder);
    assert_int_not_equal(cn_relative_open_folder(dir, "away/passwd", &folder, &last), 0);
    assert_int_not_equal(cn_relative_open_folder(dir, "plain/x", &folder, &last), 0);
    assert_int_equal(cn_relative_open_folder(dir, "none/x", &folder, &last), -ENOENT);
    char longest[400];
    memset(longest, 'x', 300);
    strcpy(longest + 300, "/y");
    assert_int_equal(cn_relative_open_folder(dir, longest, &folder, &last), -ENAMETOOLONG);
    cn_os_close(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(identities_are_new_and_known),
                                        cmocka_unit_test(relative_names_stay_below),
                                        cmocka_unit_test(folders_have_one_spelling),
                                        cmocka_unit_test(items_are_plain_words),
                                        cmocka_unit_test(runs_have_names_that_mean_nothing_else),
                                        cmocka_unit_test(attachments_stay_inside_and_out_of_our_way),
                                        cmocka_unit_test(files_are_named_as_the_hub_does),
                                        cmocka_unit_test(times_come_back) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
