/* The Hub's index of a sharded model: every file name accepted is one that stays in its folder; what is accepted is written and read the same. */
#include "format/hubindex.h"
#include "fuzz.h"

static void check_again(const struct cn_hub_index *index, struct cn_pool *pool)
{
    struct cn_hub_index again;
    struct cn_buf buf;
    cairn_error err = CAIRN_ERROR_INIT;
    cn_buf_init(&buf, cn_os_alloc(), 64 << 20);
    if (!cn_hub_write(&buf, index, &err)) {
        FUZZ_REQUIRE(!cn_hub_parse(buf.data, buf.size, 2, pool, &again, &err));
        FUZZ_REQUIRE(again.count == index->count && again.files_count == index->files_count && again.total_size == index->total_size);
        for (uint64_t i = 0; i < index->count; i++) {
            FUZZ_REQUIRE(index->rows[i].tensor_size == again.rows[i].tensor_size && index->rows[i].file == again.rows[i].file);
            FUZZ_REQUIRE(!memcmp(index->rows[i].tensor, again.rows[i].tensor, index->rows[i].tensor_size));
        }
    }
    cn_buf_done(&buf);
}

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_hub_index index;
    int code = cn_hub_parse(data, size, 1, pool, &index, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    for (uint32_t i = 0; i < index.files_count; i++) {
        FUZZ_REQUIRE(!cn_hub_check_file_name(index.files[i], strlen(index.files[i]), &err));
        FUZZ_REQUIRE(!strpbrk(index.files[i], "/\\:") && index.files[i][0] != '.');
    }
    for (uint64_t i = 0; i < index.count; i++) FUZZ_REQUIRE(index.rows[i].file < index.files_count);
    check_again(&index, pool);
}
