/* Covers src/format/safetensors_write.c. The header we write: byte by byte, padded to a page, in a fixed order, and what the reader makes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/limits.h"
#include "format/safetensors.h"

static void *test_resize(void *user, void *memory, size_t size)
{
    (void)user;
    return realloc(memory, size);
}

static void test_release(void *user, void *memory)
{
    (void)user;
    free(memory);
}

static const struct cn_alloc alloc = { test_resize, test_release, NULL };
static const struct cn_st_pair metadata[] = { { "format", "pt" } };

static struct cn_st_tensor tensor(const char *name, cairn_dtype dtype)
{
    return (struct cn_st_tensor){ .name = name, .name_size = strlen(name), .dtype = dtype };
}

static void test_bytes(void **state)
{
    (void)state;
    static const uint64_t shape[] = { 2, 3 };
    static const char expected[] =
        "{\"__metadata__\":{\"format\":\"pt\"},\"q\\\"\\n\xc3\xa9\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]},"
        "\"s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[24,25]}}";
    struct cn_st_tensor tensors[] = { tensor("q\"\n\xc3\xa9", CAIRN_F32), tensor("s", CAIRN_U8) };
    tensors[0].rank = 2;
    tensors[0].shape = shape;
    tensors[0].end = tensors[1].begin = 24;
    tensors[1].end = 25;
    struct cn_buf buf;
    struct cn_pool pool;
    struct cn_st_header header;
    uint64_t json_bytes;
    cn_buf_init(&buf, &alloc, 1 << 20);
    cn_pool_init(&pool, &alloc, 1 << 20);
    assert_int_equal(cn_st_write_header(&buf, tensors, 2, metadata, 1, NULL), 0);
    assert_int_equal(buf.size, CN_PAGE_BYTES);
    assert_memory_equal(buf.data, "\xf8\x0f\0\0\0\0\0\0", 8); /* 4088 */
    assert_memory_equal(buf.data + 8, expected, sizeof expected - 1);
    for (size_t i = 8 + sizeof expected - 1; i < buf.size; i++) assert_int_equal(buf.data[i], ' ');
    assert_int_equal(cn_st_parse_prefix(buf.data, 8, buf.size + 25, &json_bytes, NULL), 0);
    assert_int_equal(cn_st_parse_json(buf.data + 8, json_bytes, buf.size + 25, 1, &pool, &header, NULL), 0);
    assert_int_equal(header.data_offset, CN_PAGE_BYTES);
    assert_string_equal(header.tensors[0].name, tensors[0].name);
    cn_pool_done(&pool);
    cn_buf_done(&buf);
}

/* Data starts on a page whatever the header's length; a header that fills its page exactly is not padded by another. */
static void test_padding(void **state)
{
    (void)state;
    char name[1024];
    size_t full_at = 0;
    for (size_t size = 900; size <= 1000; size++) {
        memset(name, 'n', size);
        name[size] = 0;
        struct cn_st_tensor tensors[4];
        for (int i = 0; i < 4; i++) {
            tensors[i] = tensor(name, CAIRN_U8);
            tensors[i].name_size = size - (i == 3 ? 0 : 3);
        }
        struct cn_buf buf;
        cn_buf_init(&buf, &alloc, 1 << 20);
        assert_int_equal(cn_st_write_header(&buf, tensors, 4, NULL, 0, NULL), 0);
        assert_int_equal(buf.size % CN_PAGE_BYTES, 0);
        assert_memory_equal(buf.data + 8, "{\"nnn", 5); /* no __metadata__ without pairs */
        if (buf.size == CN_PAGE_BYTES) full_at = size;
        cn_buf_done(&buf);
    }
    assert_true(full_at > 900 && full_at < 1000);
}

static void test_compare(void **state)
{
    (void)state;
    static const char *const names[] = { "b", "a", "ab", "\xc3\xa9", "Z" };
    struct cn_st_tensor wide = tensor("z", CAIRN_F64), narrow = tensor("a", CAIRN_BOOL), four = tensor("a", CAIRN_F4),
                        six = tensor("a", CAIRN_F6_E2M3);
    assert_true(cn_st_compare(&wide, &narrow) < 0 && cn_st_compare(&narrow, &wide) > 0);
    assert_true(cn_st_compare(&narrow, &six) < 0 && cn_st_compare(&six, &four) < 0);
    static const int order[] = { 4, 1, 2, 0, 3 }; /* Z a ab b é: by bytes */
    for (int i = 0; i < 4; i++) {
        struct cn_st_tensor first = tensor(names[order[i]], CAIRN_F32), second = tensor(names[order[i + 1]], CAIRN_I32);
        assert_true(cn_st_compare(&first, &second) < 0 && cn_st_compare(&second, &first) > 0);
        assert_int_equal(cn_st_compare(&first, &first), 0);
    }
}

/* cn_st_entry_bytes is an upper bound, with the worst of names and shapes. */
static void test_entry_bytes(void **state)
{
    (void)state;
    uint64_t shape[CAIRN_MAX_RANK];
    for (int i = 0; i < CAIRN_MAX_RANK; i++) shape[i] = UINT64_MAX;
    struct cn_st_tensor worst = {
        .name = "\1\2\3\4\5\6\16\17", .name_size = 8, .dtype = CAIRN_F8_E4M3FNUZ, .rank = CAIRN_MAX_RANK, .shape = shape
    };
    worst.begin = worst.end = UINT64_MAX;
    struct cn_st_tensor tensors[64];
    for (int i = 0; i < 64; i++) tensors[i] = worst;
    struct cn_buf buf;
    cn_buf_init(&buf, &alloc, 1 << 20);
    assert_int_equal(cn_st_write_header(&buf, tensors, 64, NULL, 0, NULL), 0);
    const char *end = buf.data + buf.size;
    while (end[-1] == ' ') end--;
    assert_true((uint64_t)(end - buf.data - 8) <= 64 * cn_st_entry_bytes(&worst) + 2);
    cn_buf_done(&buf);
}

static void test_limit(void **state)
{
    (void)state;
    struct cn_st_tensor one = tensor("w", CAIRN_U8);
    struct cn_buf buf;
    cairn_error err = CAIRN_ERROR_INIT;
    cn_buf_init(&buf, &alloc, 1000); /* less than a page */
    assert_int_equal(cn_st_write_header(&buf, &one, 1, metadata, 1, &err), CAIRN_E_LIMIT);
    assert_true(err.message[0]);
    cn_buf_done(&buf);
    char *name = calloc(1, CN_MAX_OUR_HEADER_BYTES + 1);
    memset(name, 'x', CN_MAX_OUR_HEADER_BYTES);
    struct cn_st_tensor large = tensor(name, CAIRN_U8);
    cn_buf_init(&buf, &alloc, UINT64_C(1) << 30);
    assert_int_equal(cn_st_write_header(&buf, &large, 1, metadata, 1, &err), CAIRN_E_LIMIT);
    cn_buf_done(&buf);
    free(name);
}

static bool matches(const void *bytes, uint64_t size, const struct cn_st_tensor *tensors, uint64_t count, uint64_t metadata_count)
{
    struct cn_st_match match;
    cn_st_match_begin(&match, &alloc, bytes, size, metadata, metadata_count);
    for (uint64_t i = 0; i < count; i++) cn_st_match_tensor(&match, &tensors[i]);
    return cn_st_match_end(&match);
}

/* Each of its bytes counts, its length, and everything that it was made of. */
static void test_match(void **state)
{
    (void)state;
    struct cn_st_tensor tensors[] = { tensor("q\"", CAIRN_F32), tensor("s", CAIRN_U8) };
    for (uint64_t count = 0; count <= 2; count++)
        for (uint64_t pairs = 0; pairs <= 1; pairs++) {
            struct cn_buf buf;
            cn_buf_init(&buf, &alloc, 1 << 20);
            assert_int_equal(cn_st_write_header(&buf, tensors, count, metadata, pairs, NULL), 0);
            assert_true(matches(buf.data, buf.size, tensors, count, pairs));
            assert_false(matches(buf.data, buf.size, tensors, count, !pairs));
            if (count) assert_false(matches(buf.data, buf.size, tensors, count - 1, pairs));
            if (count) assert_false(matches(buf.data, buf.size, tensors + 1, count, pairs));
            for (size_t at = 0; at < buf.size; at++) {
                buf.data[at] ^= 1;
                assert_false(matches(buf.data, buf.size, tensors, count, pairs));
                buf.data[at] ^= 1;
            }
            for (size_t size = 0; size < buf.size; size += size < 200 ? 1 : 97) {
                char *cut = malloc(size + 1);
                memcpy(cut, buf.data, size);
                assert_false(matches(cut, size, tensors, count, pairs));
                free(cut);
            }
            cn_buf_fill(&buf, ' ', CN_PAGE_BYTES); /* a page too much, and said so */
            buf.data[1] = 0x1f;
            assert_false(matches(buf.data, buf.size, tensors, count, pairs));
            cn_buf_done(&buf);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_padding), cmocka_unit_test(test_compare),
        cmocka_unit_test(test_entry_bytes), cmocka_unit_test(test_limit),   cmocka_unit_test(test_match),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
