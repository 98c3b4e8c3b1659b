/* manifest.json: what is accepted is encoded again, and that reads and encodes to the same bytes. */
#include "fuzz.h"
#include "store/manifest.h"

/* No way out of the folder: no part is empty, ".", or "..". */
static bool stays_inside(const char *name)
{
    for (;; name++) {
        size_t size = strcspn(name, "/");
        if (!size || (name[0] == '.' && (size == 1 || (size == 2 && name[1] == '.')))) return false;
        name += size;
        if (!*name) return true;
    }
}

void fuzz_one(const uint8_t *data, size_t size, struct cn_pool *pool)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct cn_manifest manifest, again;
    struct cn_buf first, second;
    int code = cn_manifest_decode(data, size, pool, &manifest, &err);
    fuzz_check_error(code, &err);
    if (code) return;
    for (uint64_t i = 0; i < manifest.files_count; i++) {
        const char *name = manifest.files[i].name;
        FUZZ_REQUIRE(stays_inside(name) && cn_manifest_find(&manifest, name) == &manifest.files[i]);
    }
    cn_buf_init(&first, cn_os_alloc(), 64 << 20);
    cn_buf_init(&second, cn_os_alloc(), 64 << 20);
    code = cn_manifest_encode(&manifest, &first, &err);
    FUZZ_REQUIRE(!code || code == CAIRN_E_LIMIT); /* rewritten it may be longer: "\/" */
    if (!code) {
        FUZZ_REQUIRE(!cn_manifest_decode(first.data, first.size, pool, &again, &err));
        FUZZ_REQUIRE(!cn_manifest_encode(&again, &second, &err));
        FUZZ_REQUIRE(first.size == second.size && !memcmp(first.data, second.data, first.size));
    }
    cn_buf_done(&first);
    cn_buf_done(&second);
}
