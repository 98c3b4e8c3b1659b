/* The head of a .safetensors file. What is accepted fills the data without gap or overlap, and reads the same when our writer has written it. */
#include "base/dtype.h"
#include "format/safetensors.h"
#include "fuzz.h"

static void check_header(const struct cn_st_header *header, uint64_t file_bytes)
{
    uint64_t at = 0, bytes;
    cairn_error err = CAIRN_ERROR_INIT;
    for (uint64_t i = 0; i < header->count; i++) {
        const struct cn_st_tensor *tensor = &header->tensors[i];
        FUZZ_REQUIRE(!cn_dtype_size(tensor->dtype, tensor->rank, tensor->shape, &bytes, &err));
        FUZZ_REQUIRE(tensor->begin == at && tensor->end - tensor->begin == bytes);
        FUZZ_REQUIRE(strlen(tensor->name) <= tensor->name_size);
        at = tensor->end;
    }
    FUZZ_REQUIRE(header->data_offset + at == file_bytes);
}

static void check_again(const struct cn_st_header *header, struct cn_pool *pool)
{
    struct cn_st_header again;
    struct cn_buf buf;
    cairn_error err = CAIRN_ERROR_INIT;
    uint64_t json_bytes, data_bytes = header->count ? header->tensors[header->count - 1].end : 0;
    cn_buf_init(&buf, cn_os_alloc(), 64 << 20);
    if (!cn_st_write_header(&buf, header->tensors, header->count, header->metadata, header->metadata_count, &err)) {
        uint64_t file_bytes = buf.size + data_bytes;
        FUZZ_REQUIRE(buf.size % CN_PAGE_BYTES == 0);
        FUZZ_REQUIRE(!cn_st_parse_prefix(buf.data, CN_ST_PREFIX_BYTES, file_bytes, &json_bytes, &err));
        int code = cn_st_parse_json(buf.data + CN_ST_PREFIX_BYTES, json_bytes, file_bytes, 2, pool, &again, &err);
        FUZZ_REQUIRE(!code && again.count == header->count && again.metadata_count == header->metadata_count);
        for (uint64_t i = 0; i < again.count; i++) {
            const struct cn_st_tensor *a = &header->tensors[i], *b = &again.tensors[i];
            FUZZ_REQUIRE(a->name_size == b->name_size && !memcmp(a->name, b->name, a->name_size) && a->dtype == b->dtype &&
                         a->rank == b->rank);
            FUZZ_REQUIRE(a->begin == b->begin && a->end == b->end && !memcmp(a->shape, b->shape, a->rank * sizeof *a->shape));
        }
    }
    cn_buf_done(&buf);
}

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_st_header header;
    uint64_t json_bytes = 0;
    int code = cn_st_parse_prefix(data, size < CN_ST_PREFIX_BYTES ? size : CN_ST_PREFIX_BYTES, size, &json_bytes, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    FUZZ_REQUIRE(json_bytes <= size - CN_ST_PREFIX_BYTES);
    code = cn_st_parse_json(data + CN_ST_PREFIX_BYTES, json_bytes, size, 1, pool, &header, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    check_header(&header, size);
    check_again(&header, pool);
}
