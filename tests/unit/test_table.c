/* Covers src/snapshot/table_encode.c and table_decode.c. tensors.json and state.json: what was written comes back; what is sealed and hostile is refused by its kind, without harm. */
#include "support.h"

#include "base/json.h"
#include "os/os.h"
#include "snapshot/statejson.h"
#include "snapshot/table.h"

static cairn_error err = CAIRN_ERROR_INIT;

static struct cn_buf sample(void)
{
    static const uint64_t shape[] = { 3, 5 };
    static struct cn_digest block[1];
    static const struct cn_table_file files[] = { { "model.safetensors", 4196 }, { "training/optimizer.safetensors", 4156 } };
    struct cn_digest digest = cn_digest_of(block, sizeof block);
    struct cn_table_row rows[] = {
        { .item = "model",
          .name = "a",
          .dtype = CAIRN_F32,
          .rank = 2,
          .shape = shape,
          .flags = CAIRN_TRAINABLE,
          .file = 0,
          .begin = 4096,
          .size_bytes = 60,
          .digest = digest,
          .blocks = block,
          .blocks_count = 1,
          .stats_known = true,
          .max_abs = 1.25,
          .norm = 2.5 },
        { .item = "optimizer",
          .name = "m/a",
          .dtype = CAIRN_F32,
          .rank = 2,
          .shape = shape,
          .file = 1,
          .begin = 4096,
          .size_bytes = 60,
          .digest = digest,
          .blocks = block,
          .blocks_count = 1 },
    };
    struct cn_table table = { rows, 2, files, 2 };
    struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    test_ok(cn_table_encode(&table, &buf, &err));
    return buf;
}

static struct cn_buf reseal(const char *text, size_t size)
{
    struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), 4 << 20);
    cn_buf_append(&buf, text, size);
    struct cn_json_writer writer = { .buf = &buf, .need_comma = 1 };
    cn_json_seal(&writer);
    return buf;
}

static int decode_with(const char *from, const char *to)
{
    struct cn_buf buf = sample(), text, changed;
    struct cn_pool pool;
    struct cn_hash index;
    struct cn_table table;
    char *at = strstr(buf.data, from);
    if (!at) fail_msg("the sample has no %s", from);
    cn_buf_init(&text, cn_os_alloc(), 1 << 20);
    cn_buf_append(&text, buf.data, (size_t)(at - buf.data));
    cn_buf_text(&text, to);
    cn_buf_append(&text, at + strlen(from), (size_t)(buf.data + buf.size - CN_SEAL_BYTES - 2 - (at + strlen(from))));
    changed = reseal(text.data, text.size);
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    cn_hash_init(&index, cn_os_alloc(), 1);
    int code = cn_table_decode(changed.data, changed.size, &pool, &index, &table, &err);
    cn_hash_done(&index);
    cn_pool_done(&pool);
    cn_buf_done(&buf);
    cn_buf_done(&text);
    cn_buf_done(&changed);
    return code;
}

static void hostile_tables_are_refused(void **unused)
{
    static const struct {
        const char *from, *to;
        int code;
    } cases[] = {
        { "\"a\"", "\"a\"", CAIRN_OK },
        { "\"a\"", "\"a\",\"later\":[{}]", CAIRN_OK },
        { "\"version\":1", "\"version\":9", CAIRN_E_VERSION },
        { "\"cairn\":\"tensors\"", "\"cairn\":\"state\"", CAIRN_E_FORMAT },
        { "model.safetensors", "../model.safetensors", CAIRN_E_PATH },
        { "\"F32\"", "\"F128\"", CAIRN_E_FORMAT },
        { "[3,5]", "[3,6]", CAIRN_E_FORMAT },
        { "[3,5]", "[18446744073709551615,18446744073709551615]", CAIRN_E_FORMAT },
        { "[3,5]", "[3,5.0]", CAIRN_E_FORMAT },
        { "\"file\":1", "\"file\":2", CAIRN_E_FORMAT },
        { "\"file\":1", "\"file\":4294967296", CAIRN_E_FORMAT },
        { "\"file\":1", "\"file\":0", CAIRN_E_FORMAT }, /* the same bytes twice */
        { "\"offset\":4096", "\"offset\":4200", CAIRN_E_FORMAT },
        { "\"offset\":4096", "\"offset\":18446744073709551615", CAIRN_E_FORMAT },
        { "\"blocks\":[\"", "\"blocks\":[\"00000000000000000000000000000000\",\"", CAIRN_E_FORMAT },
        { "\"digest\":\"", "\"digest\":\"x", CAIRN_E_FORMAT },
        { "\"item\":\"optimizer\",\"name\":\"m/a\"", "\"item\":\"model\",\"name\":\"a\"", CAIRN_E_FORMAT },
        { "\"item\":\"optimizer\"", "\"item\":\"../x\"", CAIRN_E_FORMAT },
        { "\"name\":\"m/a\"", "\"name\":\"m\\u0000a\"", CAIRN_E_FORMAT },
        { "\"size\":60", "\"size\":60,\"size\":60", CAIRN_E_FORMAT },
        { "\"norm\":2.5", "\"norm\":true", CAIRN_E_FORMAT },
        { "\"files\":[", "\"files\":[],\"files\":[", CAIRN_E_FORMAT },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = decode_with(cases[i].from, cases[i].to);
        if (code != cases[i].code)
            fail_msg("%s -> %s: %s instead of %s (%s)", cases[i].from, cases[i].to, cairn_code_name(code), cairn_code_name(cases[i].code),
                     err.message);
    }
}

static int read_state(const char *items)
{
    cairn_value *values = NULL;
    char text[4096];
    snprintf(text, sizeof text, "{\"cairn\":\"state\",\"version\":1,\"items\":%s", items);
    struct cn_buf buf = reseal(text, strlen(text));
    int code = cn_statejson_read(buf.data, buf.size, &values, &err);
    cairn_value_free(values);
    cn_buf_done(&buf);
    return code;
}

static void hostile_values_are_refused(void **unused)
{
    static const struct {
        const char *items;
        int code;
    } cases[] = {
        { "{\"a\":{\"b\":[1,2.5,null,{\"$tuple\":[]},{\"$type\":\"os.system\",\"value\":\"rm\"}]}}", CAIRN_OK },
        { "{\"a\":{\"$tensor\":\"x\",\"as\":\"torch\"}}", CAIRN_OK },
        { "[]", CAIRN_E_FORMAT },
        { "{\"a\":{\"$eval\":\"1\"}}", CAIRN_E_UNSUPPORTED },
        { "{\"a\":{\"b\":1,\"$int\":\"2\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$int\":\"2\",\"b\":1}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$int\":\"007\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$int\":7}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$f\":\"7ff\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$bytes\":\"AAE\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$bytes\":\"AAF=\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$bytes\":\"A=AA\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$map\":[[1]]}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$map\":[[1,2,3]]}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$type\":\"T\"}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"$type\":\"T\",\"value\":{\"$type\":\"U\",\"value\":1}}}", CAIRN_E_FORMAT },
        { "{\"a\":{\"b\":1,\"b\":2}}", CAIRN_E_FORMAT },
        { "{\"a\":123456789012345678901234567890}", CAIRN_E_FORMAT },
        { "{\"a\":18446744073709551615}", CAIRN_E_FORMAT },
        { "{\"a\":1},\"items\":{}", CAIRN_E_FORMAT },
    };
    char deep[400];
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = read_state(cases[i].items);
        if (code != cases[i].code)
            fail_msg("%s: %s instead of %s (%s)", cases[i].items, cairn_code_name(code), cairn_code_name(cases[i].code), err.message);
    }
    memset(deep, '[', sizeof deep - 1);
    deep[sizeof deep - 1] = 0;
    assert_int_equal(read_state(deep), CAIRN_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(hostile_tables_are_refused), cmocka_unit_test(hostile_values_are_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
