/* base/json alone: whatever is accepted has tokens that can be written again and then read as the same tokens; skipping agrees with reading. */
#include "fuzz.h"

/* All tokens to their end; written into copy when it is not NULL. */
static int read_tokens(const void *data, size_t size, struct cn_pool *pool, struct cn_buf *copy, cairn_error *err)
{
    struct cn_json json;
    struct cn_json_writer writer = { .buf = copy };
    enum cn_json_token token = CN_JSON_NULL;
    int code = CAIRN_OK;
    cn_json_init(&json, data, size, pool);
    while (!(code = cn_json_next(&json, &token, err)) && token != CN_JSON_END) {
        FUZZ_REQUIRE(json.position <= size && json.token_start < json.position);
        switch (token) {
        case CN_JSON_OBJECT: cn_json_begin_object(&writer); break;
        case CN_JSON_OBJECT_END: cn_json_end_object(&writer); break;
        case CN_JSON_ARRAY: cn_json_begin_array(&writer); break;
        case CN_JSON_ARRAY_END: cn_json_end_array(&writer); break;
        case CN_JSON_KEY: cn_json_key_sized(&writer, json.text, json.text_size); break;
        case CN_JSON_STRING: cn_json_put_sized(&writer, json.text, json.text_size); break;
        case CN_JSON_UINT: cn_json_put_u64(&writer, json.number); break;
        case CN_JSON_INT: cn_json_put_i64(&writer, json.negative); break;
        case CN_JSON_FLOAT: cn_json_put_f64(&writer, json.real); break;
        case CN_JSON_TRUE: cn_json_put_bool(&writer, 1); break;
        case CN_JSON_FALSE: cn_json_put_bool(&writer, 0); break;
        default: cn_json_put_null(&writer); break;
        }
    }
    fuzz_check_error(code, err);
    return code;
}

static int skip_all(const void *data, size_t size, struct cn_pool *pool)
{
    struct cn_json json;
    cairn_error err = CAIRN_ERROR_INIT;
    cn_json_init(&json, data, size, pool);
    int code = cn_json_skip(&json, &err);
    if (!code) code = cn_json_expect(&json, CN_JSON_END, "the end", &err);
    fuzz_check_error(code, &err);
    return code;
}

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_buf first, second;
    cn_buf_init(&first, cn_os_alloc(), 64 << 20);
    cn_buf_init(&second, cn_os_alloc(), 64 << 20);
    int code = read_tokens(data, size, pool, &first, &err);
    FUZZ_REQUIRE(!skip_all(data, size, pool) == !code);
    if (!code) {
        FUZZ_REQUIRE(!read_tokens(first.data, first.size, pool, &second, &err));
        FUZZ_REQUIRE(first.size == second.size && !memcmp(first.data, second.data, first.size));
    }
    cn_buf_done(&first);
    cn_buf_done(&second);
}
