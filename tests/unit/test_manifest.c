/* Covers src/store/manifest_encode.c and manifest_decode.c. manifest.json: what was written comes back; any changed byte and any cut is found; what is sealed and hostile is refused by its kind. */
#include "support.h"

#include "base/json.h"
#include "os/os.h"
#include "store/manifest.h"

static cairn_error err = CAIRN_ERROR_INIT;

static struct cn_manifest sample(void)
{
    static const struct cn_lineage lineage[] = { { 1, 100 }, { 3, 250 } };
    static const cairn_metric metrics[] = { { "loss", 0.1 }, { "odd \"name\"", -1e300 } };
    static const char *const tags[] = { "release" };
    static const struct cn_manifest_item items[] = { { "model", 2, 0, 80 } };
    static const struct cn_manifest_file files[] = {
        { .name = "model.safetensors", .kind = CN_FILE_TENSORS, .size_bytes = 4176, .header_bytes = 4096 },
        { .name = "sub/tokenizer.json", .kind = CN_FILE_ATTACHED, .size_bytes = 7 },
    };
    struct cn_manifest manifest = { .term = 5,
                                    .step = 300,
                                    .epoch = 1.5,
                                    .time_ns = INT64_C(1764000000123456789),
                                    .healthy = 1,
                                    .exact = 1,
                                    .generation = 2,
                                    .lineage = lineage,
                                    .lineage_count = 2,
                                    .metrics = metrics,
                                    .metrics_count = 2,
                                    .tags = tags,
                                    .tags_count = 1,
                                    .items = items,
                                    .items_count = 1,
                                    .files = files,
                                    .files_count = 2 };
    memcpy(manifest.id, "0123456789abcdef0123456789abcdef", 33);
    memcpy(manifest.run_id, "fedcba9876543210fedcba9876543210", 33);
    return manifest;
}

static int decode(const void *data, size_t size, struct cn_pool *pool, struct cn_manifest *manifest)
{
    cn_pool_init(pool, cn_os_alloc(), 64 << 20);
    return cn_manifest_decode(data, size, pool, manifest, &err);
}

static struct cn_buf encode(const struct cn_manifest *manifest)
{
    struct cn_buf buf;
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    test_ok(cn_manifest_encode(manifest, &buf, &err));
    return buf;
}

static void comes_back(void **unused)
{
    struct cn_manifest manifest = sample(), found;
    struct cn_buf buf = encode(&manifest);
    struct cn_pool pool;
    (void)unused;
    test_ok(decode(buf.data, buf.size, &pool, &found));
    assert_true(found.term == 5 && found.step == 300 && found.epoch == 1.5 && found.time_ns == manifest.time_ns && found.healthy &&
                found.exact);
    assert_true(found.lineage_count == 2 && found.lineage[1].term == 3 && found.lineage[1].step == 250);
    assert_string_equal(found.metrics[1].name, "odd \"name\"");
    assert_true(found.metrics[1].value == -1e300 && found.generation == 2);
    assert_string_equal(found.files[1].name, "sub/tokenizer.json");
    assert_true(cn_manifest_on_line(&found, 5, 300) && cn_manifest_on_line(&found, 3, 250) && !cn_manifest_on_line(&found, 3, 251) &&
                !cn_manifest_on_line(&found, 2, 1));
    cn_pool_done(&pool);
    cn_buf_done(&buf);
}

static void any_change_is_found(void **unused)
{
    struct cn_manifest manifest = sample(), found;
    struct cn_buf buf = encode(&manifest);
    struct cn_pool pool;
    (void)unused;
    for (size_t at = 0; at < buf.size; at++)
        for (int bit = 0; bit < 8; bit++) {
            buf.data[at] ^= (char)(1 << bit);
            if (!decode(buf.data, buf.size, &pool, &found)) fail_msg("byte %zu bit %d changed and not found", at, bit);
            cn_pool_done(&pool);
            buf.data[at] ^= (char)(1 << bit);
        }
    for (size_t size = 0; size < buf.size; size++) {
        assert_int_not_equal(decode(buf.data, size, &pool, &found), 0);
        cn_pool_done(&pool);
    }
    cn_buf_done(&buf);
}

/* Replaces text in the sealed file and seals it again: what an attacker can do. */
static int decode_with(const char *from, const char *to)
{
    struct cn_manifest manifest = sample(), found;
    struct cn_buf buf = encode(&manifest), changed;
    struct cn_pool pool;
    char *at = strstr(buf.data, from);
    if (!at) fail_msg("the sample has no %s", from);
    cn_buf_init(&changed, cn_os_alloc(), 4 << 20);
    cn_buf_append(&changed, buf.data, (size_t)(at - buf.data));
    cn_buf_text(&changed, to);
    const char *rest = at + strlen(from);
    cn_buf_append(&changed, rest, (size_t)(buf.data + buf.size - CN_SEAL_BYTES - 2 - rest));
    struct cn_json_writer writer = { .buf = &changed, .need_comma = 1 };
    cn_json_seal(&writer);
    int code = decode(changed.data, changed.size, &pool, &found);
    cn_pool_done(&pool);
    cn_buf_done(&changed);
    cn_buf_done(&buf);
    return code;
}

static void hostile_ones_are_refused(void **unused)
{
    static const struct {
        const char *from, *to;
        int code;
    } cases[] = {
        { "\"version\":1", "\"version\":1", CAIRN_OK },
        { "\"version\":1", "\"version\":1,\"later\":{\"x\":[1,2]}", CAIRN_OK },
        { "\"version\":1", "\"version\":2", CAIRN_E_VERSION },
        { "\"requires\":[]", "\"requires\":[\"delta\"]", CAIRN_E_VERSION },
        { "model.safetensors", "../../etc/passwd", CAIRN_E_PATH },
        { "model.safetensors", "/etc/passwd", CAIRN_E_PATH },
        { "model.safetensors", "a//b", CAIRN_E_PATH },
        { "model.safetensors", "manifest.json", CAIRN_E_PATH },
        { "model.safetensors", "a\\u0000b", CAIRN_E_PATH },
        { "model.safetensors", ".hidden", CAIRN_E_PATH },
        { "model.safetensors", "sub/tokenizer.json", CAIRN_E_FORMAT },
        { "\"kind\":\"tensors\"", "\"kind\":\"code\"", CAIRN_E_FORMAT },
        { "\"size\":4176", "\"size\":18446744073709551615", CAIRN_E_FORMAT },
        { "\"header_size\":4096", "\"header_size\":5000", CAIRN_E_FORMAT },
        { "\"size\":4176", "\"size\":-1", CAIRN_E_FORMAT },
        { "\"term\":5", "\"term\":5,\"term\":6", CAIRN_E_FORMAT },
        { "\"term\":5", "\"term\":\"5\"", CAIRN_E_FORMAT },
        { "\"term\":5,", "", CAIRN_E_FORMAT },
        { "[3,250]", "[1,250]", CAIRN_E_FORMAT },
        { "[3,250]", "[3]", CAIRN_E_FORMAT },
        { "\"cairn\":\"checkpoint\"", "\"cairn\":\"run\"", CAIRN_E_FORMAT },
        { "\"id\":\"0123", "\"id\":\"0xyz", CAIRN_E_FORMAT },
        { "\"loss\":0.1", "\"loss\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", CAIRN_E_FORMAT },
        { "\"time\":\"20", "\"time\":\"99", CAIRN_E_FORMAT },
        { "\"model\":{", "\"../model\":{", CAIRN_E_FORMAT },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int code = decode_with(cases[i].from, cases[i].to);
        if (code != cases[i].code)
            fail_msg("%s -> %s: %s instead of %s (%s)", cases[i].from, cases[i].to, cairn_code_name(code), cairn_code_name(cases[i].code),
                     err.message);
    }
}

static void nesting_is_bounded(void **unused)
{
    char deep[2000];
    (void)unused;
    strcpy(deep, "\"version\":1,\"later\":");
    memset(deep + strlen(deep), '[', 1000);
    deep[1020] = 0;
    assert_int_equal(decode_with("\"version\":1", deep), CAIRN_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(comes_back), cmocka_unit_test(any_change_is_found),
                                        cmocka_unit_test(hostile_ones_are_refused), cmocka_unit_test(nesting_is_bounded) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
