/* Covers src/format/hubindex.c. The Hub's index: what is read, what is refused (file names that are paths above all), what we write, byte by byte. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "format/hubindex.h"

static long blocks, fail_after = -1;

static void *test_resize(void *user, void *memory, size_t size)
{
    (void)user;
    if (fail_after == 0) return NULL;
    if (fail_after > 0) fail_after--;
    void *result = realloc(memory, size);
    blocks += !memory && result;
    return result;
}

static void test_release(void *user, void *memory)
{
    (void)user;
    blocks -= memory != NULL;
    free(memory);
}

static const struct cn_alloc alloc = { test_resize, test_release, NULL };
static struct cn_pool pool;

static int parse(const char *json, size_t size, struct cn_hub_index *ret_index, cairn_error *err)
{
    char *exact = malloc(size ? size : 1); /* as large as its content: a sanitizer sees any step outside */
    memcpy(exact, json, size);
    cn_pool_done(&pool);
    cn_pool_init(&pool, &alloc, 64 << 20);
    int code = cn_hub_parse(exact, size, 7, &pool, ret_index, err);
    free(exact);
    return code;
}

static int parse_text(const char *json, struct cn_hub_index *ret_index, cairn_error *err)
{
    return parse(json, strlen(json), ret_index, err);
}

static int finish(void **state)
{
    (void)state;
    cn_pool_done(&pool);
    assert_int_equal(blocks, 0);
    return 0;
}

static const char sample[] = "{\"metadata\": {\"total_size\": 48, \"total_parameters\": 12, \"who\": [\"me\", {}]},\n"
                             " \"weight_map\": {\"b\": \"model-00002-of-00002.safetensors\", \"a\": \"model-00001-of-00002.safetensors\",\n"
                             "  \"c\\u0000\": \"model-00002-of-00002.safetensors\"}, \"more\": null}\n";

static void test_read(void **state)
{
    (void)state;
    struct cn_hub_index index = { 0 };
    assert_int_equal(parse_text(sample, &index, NULL), 0);
    assert_int_equal(index.count, 3);
    assert_int_equal(index.files_count, 2);
    assert_int_equal(index.total_size, 48);
    assert_string_equal(index.files[0], "model-00002-of-00002.safetensors");
    assert_string_equal(index.files[1], "model-00001-of-00002.safetensors");
    assert_string_equal(index.rows[1].tensor, "a");
    assert_int_equal(index.rows[0].file, 0);
    assert_int_equal(index.rows[1].file, 1);
    assert_int_equal(index.rows[2].file, 0);
    assert_int_equal(index.rows[2].tensor_size, 2);
}

static void test_read_variants(void **state)
{
    (void)state;
    struct cn_hub_index index = { 0 };
    assert_int_equal(parse_text("{\"weight_map\":{}}", &index, NULL), 0);
    assert_int_equal(index.count, 0);
    assert_int_equal(parse_text("{\"weight_map\":{\"a\":\"x.safetensors\"},\"metadata\":{\"total_size\":12.0}}", &index, NULL), 0);
    assert_int_equal(index.total_size, 12);
    assert_int_equal(parse_text("{\"weight_map\":{\"a\":\"x.safetensors\"},\"metadata\":{\"total_size\":-5}}", &index, NULL), 0);
    assert_int_equal(index.total_size, 0);
    assert_int_equal(parse_text("{\"weight_map\":{\"../a\":\"..x.safetensors\"}}", &index, NULL), CAIRN_E_PATH); /* no leading point */
    assert_int_equal(parse_text("{\"weight_map\":{\"../a\":\"x..y.safetensors\"}}", &index, NULL), 0);           /* tensor names are data */
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {
        "",
        "[]",
        "{}",
        "null",
        "{\"weight_map\":[]}",
        "{\"weight_map\":null}",
        "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":null}}",
        "{\"weight_map\":{\"a\":{\"b\":\"x.safetensors\"}}}",
        "{\"metadata\":{}}",
        "{\"weight_map\":{},\"weight_map\":{}}",
        "{\"metadata\":{},\"weight_map\":{},\"metadata\":{}}",
        "{\"metadata\":3,\"weight_map\":{}}",
        "{\"weight_map\":{}} x",
        "{\"weight_map\":{\"a\":\"x.safetensors\",\"\\u0061\":\"x.safetensors\"}}",
        "{\"metadata\":{\"total_size\":\"12\"},\"weight_map\":{}}",
        "{\"weight_map\":{\"a\":\"x.safetensors\",}}",
        "{\"weight_map\":{\"\xff\":\"x.safetensors\"}}",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cn_hub_index index = { .count = 99 };
        cairn_error err = CAIRN_ERROR_INIT;
        int code = parse_text(wrong[i], &index, &err);
        if (code != CAIRN_E_FORMAT) fail_msg("%s: %s", wrong[i], cairn_code_name(code));
        assert_int_equal(index.count, 99);
        assert_true(err.message[0]);
    }
}

/* I1: a value of weight_map that is a path, and its like. */
static void test_paths(void **state)
{
    (void)state;
    static const struct {
        const char *json, *name;
        size_t size;
    } wrong[] = {
#define NAME(json, name) { "{\"weight_map\":{\"a\":\"" json "\"}}", name, sizeof(name) - 1 }
        NAME("../x.safetensors", "../x.safetensors"),
        NAME("/etc/passwd", "/etc/passwd"),
        NAME("/x.safetensors", "/x.safetensors"),
        NAME("a/../../b.safetensors", "a/../../b.safetensors"),
        NAME("sub/x.safetensors", "sub/x.safetensors"),
        NAME("\\\\\\\\h\\\\s.safetensors", "\\\\h\\s.safetensors"),
        NAME("file:x.safetensors", "file:x.safetensors"),
        NAME("https://h/x.safetensors", "https://h/x.safetensors"),
        NAME("C:x.safetensors", "C:x.safetensors"),
        NAME("x.safetensors\\u0000", "x.safetensors\0"),
        NAME("x\\u0000.safetensors", "x\0.safetensors"),
        NAME("x\\n.safetensors", "x\n.safetensors"),
        NAME("x\\u007f.safetensors", "x\x7f.safetensors"),
        NAME("", ""),
        NAME(".", "."),
        NAME("..", ".."),
        NAME(".safetensors", ".safetensors"),
        NAME(".x.safetensors", ".x.safetensors"),
        NAME("-x.safetensors", "-x.safetensors"),
        NAME("x.bin", "x.bin"),
        NAME("x.SAFETENSORS", "x.SAFETENSORS"),
        NAME("x.safetensors ", "x.safetensors "),
        NAME("model.safetensors.index.json", "model.safetensors.index.json"), /* I9: an index is no shard */
#undef NAME
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        struct cn_hub_index index;
        cairn_error err = CAIRN_ERROR_INIT;
        int code = parse_text(wrong[i].json, &index, &err);
        if (code != CAIRN_E_PATH) fail_msg("%s: %s", wrong[i].json, cairn_code_name(code));
        assert_int_equal(err.offset, strlen("{\"weight_map\":{\"a\":"));
        assert_null(strchr(err.message, '\n'));
        assert_int_equal(cn_hub_check_file_name(wrong[i].name, wrong[i].size, NULL), CAIRN_E_PATH);
    }
}

static void test_name_length(void **state)
{
    (void)state;
    char name[300];
    memset(name, 'x', sizeof name);
    memcpy(name + 255 - 12, ".safetensors", 12);
    assert_int_equal(cn_hub_check_file_name(name, 255, NULL), 0);
    memset(name, 'x', sizeof name);
    memcpy(name + 256 - 12, ".safetensors", 12);
    assert_int_equal(cn_hub_check_file_name(name, 256, NULL), CAIRN_E_PATH);
    assert_int_equal(cn_hub_check_file_name("model-00001-of-00004.safetensors", 32, NULL), 0);
}

static void test_cut_and_changed(void **state)
{
    (void)state;
    struct cn_hub_index index;
    char text[sizeof sample];
    for (size_t size = 0; size + 2 < sizeof sample; size++) assert_int_equal(parse(sample, size, &index, NULL), CAIRN_E_FORMAT);
    for (size_t at = 0; at < sizeof sample - 1; at++) {
        memcpy(text, sample, sizeof sample);
        for (int value = 0; value < 256; value++) {
            text[at] = (char)value;
            if (parse(text, sizeof sample - 1, &index, NULL)) continue;
            for (uint64_t i = 0; i < index.count; i++) assert_true(index.rows[i].file < index.files_count);
            for (uint32_t i = 0; i < index.files_count; i++)
                assert_int_equal(cn_hub_check_file_name(index.files[i], strlen(index.files[i]), NULL), 0);
        }
    }
}

static void test_allocations_failing(void **state)
{
    (void)state;
    struct cn_hub_index index;
    int code = CAIRN_E_NOMEM;
    cn_pool_done(&pool);
    for (long after = 0; code && after < 100; after++) {
        fail_after = after;
        code = parse_text(sample, &index, NULL);
        assert_true(code == CAIRN_OK || code == CAIRN_E_NOMEM);
        if (after < 4) assert_int_equal(code, CAIRN_E_NOMEM);
    }
    fail_after = -1;
    assert_int_equal(code, CAIRN_OK);
}

static void test_many_rows(void **state)
{
    (void)state;
    enum { ROWS = 100000 };
    struct cn_hub_index index;
    cairn_error err = CAIRN_ERROR_INIT;
    char *json = malloc(ROWS * 64);
    size_t used = (size_t)sprintf(json, "{\"weight_map\":{\"x\":\"x.safetensors\"");
    for (int i = 1; i < ROWS; i++) used += (size_t)sprintf(json + used, ",\"%d\":\"model-%d.safetensors\"", i, i % 10);
    used += (size_t)sprintf(json + used, "}}");
    if (parse(json, used, &index, &err)) fail_msg("%s", err.message);
    assert_int_equal(index.count, ROWS);
    assert_int_equal(index.files_count, 11);
    free(json);
}

static void test_write(void **state)
{
    (void)state;
    static const char expected[] =
        "{\n  \"metadata\": {\n    \"total_size\": 48\n  },\n  \"weight_map\": {\n"
        "    \"a\": \"m-00001-of-00002.safetensors\",\n    \"q\\\"\\n\\u0000\": \"m-00002-of-00002.safetensors\"\n  }\n}\n";
    const char *files[] = { "m-00001-of-00002.safetensors", "m-00002-of-00002.safetensors" };
    struct cn_hub_row rows[] = { { "a", 1, 0 }, { "q\"\n", 4, 1 } };
    struct cn_hub_index index = { rows, 2, files, 2, 48 }, back;
    struct cn_buf buf;
    cn_buf_init(&buf, &alloc, 1 << 20);
    assert_int_equal(cn_hub_write(&buf, &index, NULL), 0);
    assert_string_equal(buf.data, expected);
    assert_int_equal(parse(buf.data, buf.size, &back, NULL), 0);
    assert_int_equal(back.count, 2);
    assert_int_equal(back.total_size, 48);
    assert_memory_equal(back.rows[1].tensor, "q\"\n", 4);
    cn_buf_cut(&buf, 0);
    index.count = 0;
    assert_int_equal(cn_hub_write(&buf, &index, NULL), 0);
    assert_int_equal(parse(buf.data, buf.size, &back, NULL), 0);
    cn_buf_done(&buf);
    cn_buf_init(&buf, &alloc, 20);
    assert_int_equal(cn_hub_write(&buf, &index, NULL), CAIRN_E_LIMIT);
    cn_buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read),      cmocka_unit_test(test_read_variants),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_paths),     cmocka_unit_test(test_name_length),         cmocka_unit_test(test_cut_and_changed),
        cmocka_unit_test(test_many_rows), cmocka_unit_test(test_allocations_failing), cmocka_unit_test(test_write),
    };
    return cmocka_run_group_tests(tests, NULL, finish);
}
