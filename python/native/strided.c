/* Tensors whose elements do not lie in a row (transposed, sliced, channels last): the library sees them packed, row-major, through two callbacks, which
 * several of its threads call at once for different ranges, without the GIL.
 *
 * Dimensions that lie in a row are one. A row is the part that memory holds together: the innermost dimension where its elements are neighbours, else
 * one element. Ranges may begin and end anywhere. */
#include "native.h"

#include <stdlib.h>
#include <string.h>

struct dimension {
    uint64_t extent;
    int64_t stride_bytes;
};

struct strided {
    struct py_reached reached;
    char *base;
    uint64_t row_bytes;                          /* of one element at least */
    uint32_t rank;                               /* dimensions outside of the row */
    struct dimension dimensions[CAIRN_MAX_RANK]; /* the innermost first */
};

/* A dimension of extent 1 has no say, and a tensor without elements no order. */
bool py_strided_is_packed(const cairn_tensor *tensor, uint32_t element_bytes, const Py_ssize_t *strides)
{
    uint64_t expected = element_bytes;
    bool packed = true;
    for (uint32_t i = tensor->rank; i-- > 0;) {
        if (!tensor->shape[i]) return true;
        if (tensor->shape[i] > 1) packed &= strides[i] >= 0 && (uint64_t)strides[i] == expected;
        expected *= tensor->shape[i];
    }
    return packed;
}

/* From the innermost dimension outwards: what goes on where the one inside it ended becomes one with it. */
static struct strided *new_strided(const cairn_tensor *tensor, uint32_t element_bytes, const Py_ssize_t *strides)
{
    struct strided *strided = calloc(1, sizeof *strided);
    if (!strided) return NULL;
    strided->base = tensor->address;
    strided->row_bytes = element_bytes;
    for (uint32_t i = tensor->rank; i-- > 0;) {
        struct dimension *inner = strided->rank ? &strided->dimensions[strided->rank - 1] : NULL;
        if (tensor->shape[i] == 1) continue;
        if (!inner && strides[i] == (int64_t)strided->row_bytes)
            strided->row_bytes *= tensor->shape[i];
        else if (inner && strides[i] == inner->stride_bytes * (int64_t)inner->extent)
            inner->extent *= tensor->shape[i];
        else
            strided->dimensions[strided->rank++] = (struct dimension){ tensor->shape[i], strides[i] };
    }
    return strided;
}

/* Where row number row begins, and how many after it follow at the innermost stride. */
static char *find_row(const struct strided *strided, uint64_t row, uint64_t *ret_following)
{
    char *at = strided->base;
    *ret_following = strided->rank ? strided->dimensions[0].extent - row % strided->dimensions[0].extent : 1;
    for (uint32_t i = 0; i < strided->rank; i++) {
        at += (int64_t)(row % strided->dimensions[i].extent) * strided->dimensions[i].stride_bytes;
        row /= strided->dimensions[i].extent;
    }
    return at;
}

/* count rows between memory that is packed and memory that is not. A copy of fixed size is one instruction; elements are mostly 2, 4 or 8 bytes. */
#define MOVE_ROWS(size)                                                                                                                    \
    if (store)                                                                                                                             \
        for (uint64_t i = 0; i < count; i++, packed += (size), at += stride) memcpy(at, packed, (size));                                   \
    else                                                                                                                                   \
        for (uint64_t i = 0; i < count; i++, packed += (size), at += stride) memcpy(packed, at, (size))

static void move_rows(char *packed, char *at, int64_t stride, uint64_t row_bytes, uint64_t count, bool store)
{
    switch (row_bytes) {
    case 1: MOVE_ROWS(1); break;
    case 2: MOVE_ROWS(2); break;
    case 4: MOVE_ROWS(4); break;
    case 8: MOVE_ROWS(8); break;
    default: MOVE_ROWS(row_bytes);
    }
}

static void move_range(const struct strided *strided, uint64_t offset, uint64_t size, char *packed, bool store)
{
    while (size) {
        uint64_t following, within = offset % strided->row_bytes, whole = size / strided->row_bytes;
        char *at = find_row(strided, offset / strided->row_bytes, &following);
        uint64_t moved = strided->row_bytes - within; /* a part of one row, at the beginning or the end */
        if (!within && whole) {
            uint64_t count = whole < following ? whole : following;
            move_rows(packed, at, strided->rank ? strided->dimensions[0].stride_bytes : 0, strided->row_bytes, count, store);
            moved = count * strided->row_bytes;
        } else {
            if (moved > size) moved = size;
            memcpy(store ? at + within : packed, store ? packed : at + within, moved);
        }
        offset += moved;
        packed += moved;
        size -= moved;
    }
}

static int fetch(void *user, uint64_t offset, size_t size, void *destination)
{
    move_range(user, offset, size, destination, false);
    return 0;
}

static int store(void *user, uint64_t offset, size_t size, const void *source)
{
    move_range(user, offset, size, (char *)(uintptr_t)source, true);
    return 0;
}

struct py_reached *py_strided_reach(cairn_tensor *tensor, uint32_t element_bytes, const Py_ssize_t *strides)
{
    struct strided *strided = new_strided(tensor, element_bytes, strides);
    return strided ? py_reach(tensor, &strided->reached, fetch, store) : NULL;
}
