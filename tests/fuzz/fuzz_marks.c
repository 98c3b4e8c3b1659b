/* marks.<g>.json: what is accepted is encoded again, and that reads and encodes to the same bytes. */
#include "fuzz.h"
#include "store/layout.h"
#include "store/marks.h"

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_marks marks, again;
    struct cn_buf first, second;
    int code = cn_marks_decode(data, size, pool, &marks, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    for (uint64_t i = 0; i < marks.tags_count; i++) FUZZ_REQUIRE(!cn_layout_check_tag(marks.tags[i], &err));
    for (uint64_t i = 0; i < marks.metrics_count; i++) FUZZ_REQUIRE(!cn_layout_check_metric(marks.metrics[i].name, &err));
    cn_buf_init(&first, cn_os_alloc(), 64 << 20);
    cn_buf_init(&second, cn_os_alloc(), 64 << 20);
    FUZZ_REQUIRE(!cn_marks_encode(&marks, &first, &err));
    FUZZ_REQUIRE(!cn_marks_decode(first.data, first.size, pool, &again, &err));
    FUZZ_REQUIRE(!cn_marks_encode(&again, &second, &err));
    FUZZ_REQUIRE(first.size == second.size && !memcmp(first.data, second.data, first.size));
    cn_buf_done(&first);
    cn_buf_done(&second);
}
