/* Tensor types: the complete list of safetensors 0.8, in its own order (see dtype.h). */
#include "base/dtype.h"

#include <stdio.h>
#include <string.h>

#include "base/check.h"
#include "base/error.h"
#include "base/limits.h"

static const struct {
    const char *name;
    uint32_t bits;
} types[CAIRN_DTYPE_COUNT] = {
    [CAIRN_BOOL] = { "BOOL", 8 },
    [CAIRN_F4] = { "F4", 4 },
    [CAIRN_F6_E2M3] = { "F6_E2M3", 6 },
    [CAIRN_F6_E3M2] = { "F6_E3M2", 6 },
    [CAIRN_U8] = { "U8", 8 },
    [CAIRN_I8] = { "I8", 8 },
    [CAIRN_F8_E5M2] = { "F8_E5M2", 8 },
    [CAIRN_F8_E4M3] = { "F8_E4M3", 8 },
    [CAIRN_F8_E8M0] = { "F8_E8M0", 8 },
    [CAIRN_F8_E4M3FNUZ] = { "F8_E4M3FNUZ", 8 },
    [CAIRN_F8_E5M2FNUZ] = { "F8_E5M2FNUZ", 8 },
    [CAIRN_I16] = { "I16", 16 },
    [CAIRN_U16] = { "U16", 16 },
    [CAIRN_F16] = { "F16", 16 },
    [CAIRN_BF16] = { "BF16", 16 },
    [CAIRN_I32] = { "I32", 32 },
    [CAIRN_U32] = { "U32", 32 },
    [CAIRN_F32] = { "F32", 32 },
    [CAIRN_C64] = { "C64", 64 },
    [CAIRN_F64] = { "F64", 64 },
    [CAIRN_I64] = { "I64", 64 },
    [CAIRN_U64] = { "U64", 64 },
};

static int is_dtype(cairn_dtype dtype)
{
    return (int)dtype > CAIRN_DTYPE_NONE && (int)dtype < CAIRN_DTYPE_COUNT;
}

const char *cairn_dtype_name(cairn_dtype dtype)
{
    return is_dtype(dtype) ? types[dtype].name : "?";
}

uint32_t cairn_dtype_bits(cairn_dtype dtype)
{
    return is_dtype(dtype) ? types[dtype].bits : 0;
}

cairn_dtype cn_dtype_parse(const char *name, size_t size)
{
    for (int i = CAIRN_DTYPE_NONE + 1; i < CAIRN_DTYPE_COUNT; i++)
        if (strlen(types[i].name) == size && !memcmp(types[i].name, name, size)) return (cairn_dtype)i;
    return CAIRN_DTYPE_NONE;
}

int cn_dtype_size(cairn_dtype dtype, uint32_t rank, const uint64_t *shape, uint64_t *ret_size_bytes, cairn_error *err)
{
    uint64_t elements = 1, bits;
    char text[128];
    for (uint32_t i = 0; i < rank; i++)
        if (!cn_mul(elements, shape[i], &elements))
            return cn_error_set(err, CAIRN_E_LIMIT, "shape %s overflows", cn_shape_text(rank, shape, text, sizeof text));
    if (!cn_mul(elements, cairn_dtype_bits(dtype), &bits) || bits / 8 > CN_MAX_FILE_BYTES)
        return cn_error_set(err, CAIRN_E_LIMIT, "shape %s of %s is too large", cn_shape_text(rank, shape, text, sizeof text),
                            cairn_dtype_name(dtype));
    if (bits % 8)
        return cn_error_set(err, CAIRN_E_FORMAT, "shape %s of %s fills no whole number of bytes",
                            cn_shape_text(rank, shape, text, sizeof text), cairn_dtype_name(dtype));
    *ret_size_bytes = bits / 8;
    return CAIRN_OK;
}

const char *cn_shape_text(uint32_t rank, const uint64_t *shape, char *buffer, size_t size)
{
    size_t used = 0;
    int added = snprintf(buffer, size, "[");
    for (uint32_t i = 0; i < rank && added >= 0; i++) {
        used += (size_t)added;
        if (used + 26 > size) {
            added = snprintf(buffer + used, size - used, "...");
            break;
        }
        added = snprintf(buffer + used, size - used, "%s%llu", i ? ", " : "", (unsigned long long)shape[i]);
    }
    used += (size_t)added;
    if (used + 1 < size) memcpy(buffer + used, "]", 2);
    return buffer;
}
