/* The frame around each fuzz target: memory with a limit, and what errors must look like. */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void fuzz_check_error(int code, const cairn_error *err)
{
    FUZZ_REQUIRE(code == err->code);
    if (!code) return;
    FUZZ_REQUIRE(code < 0 && strcmp(cairn_code_name(code), "UNKNOWN"));
    FUZZ_REQUIRE(err->message[0] && memchr(err->message, 0, sizeof err->message));
    for (const char *at = err->message; *at; at++) FUZZ_REQUIRE((unsigned char)*at >= 0x20 && *at != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cn_quota quota;
    struct cn_pool pool;
    cn_quota_init(&quota, cn_os_alloc(), (64 << 20) + 2 * (uint64_t)size);
    cn_pool_init(&pool, &quota.alloc, (64 << 20) + 2 * (uint64_t)size);
    fuzz_one(data, size, &pool);
    cn_pool_done(&pool);
    FUZZ_REQUIRE(!quota.used_bytes); /* nothing is left */
    FUZZ_REQUIRE(!quota.exceeded);
    return 0;
}
