/* Covers src/format/safetensors_read.c: headers that are fine: what the reader makes of them. The bad ones are in test_safetensors_hostile.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/dtype.h"
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
static struct cn_pool pool;

static struct cn_st_header read_header(const char *json, uint64_t data_bytes)
{
    struct cn_st_header header = { 0 };
    cairn_error err = CAIRN_ERROR_INIT;
    cn_pool_done(&pool);
    cn_pool_init(&pool, &alloc, 1 << 20);
    if (cn_st_parse_json(json, strlen(json), 8 + strlen(json) + data_bytes, 3, &pool, &header, &err)) fail_msg("%s", err.message);
    return header;
}

static int finish(void **state)
{
    (void)state;
    cn_pool_done(&pool);
    return 0;
}

static void test_fields(void **state)
{
    (void)state;
    static const char json[] =
        "{\"__metadata__\":{\"format\":\"pt\",\"\":\"\\u00e9\"},\"a/b\":{\"shape\":[2,3,4],\"dtype\":\"BF16\",\"data_offsets\":[8,56]},"
        "\"s\\u0000t\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}";
    struct cn_st_header header = read_header(json, 56);
    assert_int_equal(header.data_offset, 8 + strlen(json));
    assert_int_equal(header.count, 2);
    assert_int_equal(header.metadata_count, 2);
    assert_string_equal(header.metadata[0].key, "format");
    assert_string_equal(header.metadata[0].value, "pt");
    assert_string_equal(header.metadata[1].value, "\xc3\xa9");
    assert_int_equal(header.tensors[0].name_size, 3);
    assert_memory_equal(header.tensors[0].name, "s\0t", 4);
    assert_int_equal(header.tensors[0].dtype, CAIRN_F64);
    assert_int_equal(header.tensors[0].rank, 0);
    const struct cn_st_tensor *second = &header.tensors[1];
    assert_string_equal(second->name, "a/b");
    assert_int_equal(second->dtype, CAIRN_BF16);
    assert_int_equal(second->rank, 3);
    assert_true(second->shape[0] == 2 && second->shape[1] == 3 && second->shape[2] == 4);
    assert_true(second->begin == 8 && second->end == 56);
}

static void test_every_dtype(void **state)
{
    (void)state;
    for (int dtype = CAIRN_DTYPE_NONE + 1; dtype < CAIRN_DTYPE_COUNT; dtype++) {
        char json[128];
        uint64_t bytes = cairn_dtype_bits((cairn_dtype)dtype); /* eight elements */
        snprintf(json, sizeof json, "{\"w\":{\"dtype\":\"%s\",\"shape\":[2,4],\"data_offsets\":[0,%llu]}}",
                 cairn_dtype_name((cairn_dtype)dtype), (unsigned long long)bytes);
        struct cn_st_header header = read_header(json, bytes);
        assert_int_equal(header.tensors[0].dtype, dtype);
    }
}

/* Tensors come sorted by their range; empty ones that share an offset keep the file's order. Shapes that repeat stay right. */
static void test_order(void **state)
{
    (void)state;
    struct cn_st_header header = read_header(
        "{\"z\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[3,5]},\"e2\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[3,3]},"
        "\"y\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[0,3]},\"e1\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[3,3]},"
        "\"e0\":{\"dtype\":\"U8\",\"shape\":[0,3],\"data_offsets\":[3,3]}}",
        5);
    static const char *const expected[] = { "y", "e2", "e1", "e0", "z" };
    for (size_t i = 0; i < 5; i++) {
        assert_string_equal(header.tensors[i].name, expected[i]);
        assert_int_equal(header.tensors[i].rank, i == 3 ? 2 : 1);
    }
    assert_int_equal(header.tensors[4].shape[0], 2);
    assert_int_equal(header.tensors[3].shape[1], 3);
}

static void test_nothing(void **state)
{
    (void)state;
    struct cn_st_header header = read_header(" { } ", 0);
    assert_int_equal(header.count, 0);
    assert_int_equal(header.metadata_count, 0);
    assert_int_equal(read_header("{\"__metadata__\":null}", 0).metadata_count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_every_dtype),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, finish);
}
