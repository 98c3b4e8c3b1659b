/* state.json: the values that are accepted are written, and read and written to the same bytes. */
#include "fuzz.h"
#include "snapshot/statejson.h"
#include "snapshot/valuejson.h"

/* LIMIT: the writer leaves some levels of depth to whoever reads. */
static int write_value(const cairn_value *value, struct cn_buf *buf)
{
    struct cn_json_writer writer = { .buf = buf };
    cairn_error err = CAIRN_ERROR_INIT;
    cn_buf_init(buf, cn_os_alloc(), 64 << 20);
    int code = cn_valuejson_write(&writer, value, 0, &err);
    FUZZ_REQUIRE(!buf->failed && (!code || code == CAIRN_E_LIMIT));
    return code;
}

static void check_again(const cairn_value *items, struct cn_pool *pool)
{
    struct cn_buf first, second = { 0 };
    struct cn_json json;
    cairn_value *again = NULL;
    cairn_error err = CAIRN_ERROR_INIT;
    if (!write_value(items, &first)) {
        cn_json_init(&json, first.data, first.size, pool);
        FUZZ_REQUIRE(!cn_valuejson_read(&json, &again, &err));
        FUZZ_REQUIRE(!write_value(again, &second));
        FUZZ_REQUIRE(first.size == second.size && !memcmp(first.data, second.data, first.size));
        cn_buf_done(&second);
    }
    cn_buf_done(&first);
    cairn_value_free(again);
}

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_value *items = NULL;
    int code = cn_statejson_read(data, size, &items, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    (void)cn_statejson_find(items, "model", "a/b");
    (void)cn_statejson_find(items, "optimizer", "a~1b/~0/");
    check_again(items, pool);
    cairn_value_free(items);
}
