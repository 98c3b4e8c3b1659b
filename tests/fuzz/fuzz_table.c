/* tensors.json: what is accepted has ranges inside its files, in order and apart; encoded again it reads and encodes to the same bytes. */
#include "fuzz.h"
#include "snapshot/table.h"

static int decode(const void *data, size_t size, uint64_t seed, struct cn_pool *pool, struct cn_table *ret_table, cairn_error *err)
{
    struct cn_hash index;
    cn_hash_init(&index, cn_os_alloc(), seed);
    int code = cn_table_decode(data, size, pool, &index, ret_table, err);
    FUZZ_REQUIRE(code || index.count == ret_table->count);
    cn_hash_done(&index);
    return code;
}

static void check_rows(const struct cn_table *table)
{
    uint64_t end = 0;
    for (uint64_t i = 0; i < table->count; i++) {
        const struct cn_table_row *row = &table->rows[i];
        FUZZ_REQUIRE(row->file < table->files_count);
        if (i && row->file != table->rows[i - 1].file) end = 0;
        FUZZ_REQUIRE(row->begin >= end && cn_add(row->begin, row->size_bytes, &end) && end <= table->files[row->file].size_bytes);
        FUZZ_REQUIRE(row->blocks_count == cn_table_blocks(row->size_bytes));
    }
}

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_table table, again;
    struct cn_buf first, second;
    int code = decode(data, size, 1, pool, &table, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    check_rows(&table);
    cn_buf_init(&first, cn_os_alloc(), 64 << 20);
    cn_buf_init(&second, cn_os_alloc(), 64 << 20);
    FUZZ_REQUIRE(!cn_table_encode(&table, &first, &err));
    FUZZ_REQUIRE(!decode(first.data, first.size, 2, pool, &again, &err));
    FUZZ_REQUIRE(!cn_table_encode(&again, &second, &err));
    FUZZ_REQUIRE(first.size == second.size && !memcmp(first.data, second.data, first.size));
    cn_buf_done(&first);
    cn_buf_done(&second);
}
