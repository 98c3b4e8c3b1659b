/* Tensors of two checkpoints. Digests settle what they can; only what differs is read, or with --read all of it, in pieces of bounded
 * memory. */
#include <math.h>
#include <string.h>

#include "diff.h"

struct difference {
    uint64_t elements, first;
    uint64_t nan_count; /* of elements: NaN on one side or on both */
    double largest;     /* of the others */
    bool is_float;
};

static double half_to_double(uint16_t half)
{
    int exponent = half >> 10 & 31;
    double fraction = half & 0x3ff, value = exponent == 31 ? (fraction ? NAN : INFINITY)
                                            : exponent     ? ldexp(1024 + fraction, exponent - 25)
                                                           : ldexp(fraction, -24);
    return half & 0x8000 ? -value : value;
}

static double element(cairn_dtype dtype, const unsigned char *at)
{
    double wide;
    float value;
    uint32_t bits;
    uint16_t half;
    switch (dtype) {
    case CAIRN_F64: return memcpy(&wide, at, 8), wide;
    case CAIRN_F32: return memcpy(&value, at, 4), (double)value;
    case CAIRN_BF16:
        memcpy(&half, at, 2);
        bits = (uint32_t)half << 16;
        return memcpy(&value, &bits, 4), (double)value;
    default: return memcpy(&half, at, 2), half_to_double(half);
    }
}

static void compare_piece(struct difference *difference, cairn_dtype dtype, size_t width, uint64_t base, const unsigned char *a,
                          const unsigned char *b, size_t size)
{
    for (size_t i = 0; i + width <= size; i += width) {
        if (!memcmp(a + i, b + i, width)) continue;
        if (!difference->elements++) difference->first = (base + i) / width;
        if (!difference->is_float) continue;
        double distance = fabs(element(dtype, a + i) - element(dtype, b + i));
        if (isnan(distance)) difference->nan_count++;
        if (distance > difference->largest) difference->largest = distance;
    }
}

static int compare_data(struct diff *diff, const cairn_tensor_info *a, const cairn_tensor_info *b, struct difference *difference,
                        cairn_error *err)
{
    uint32_t bits = cairn_dtype_bits(a->dtype);
    size_t width = bits >= 8 ? bits / 8 : 1;
    *difference = (struct difference){ .is_float = a->dtype == CAIRN_F64 || a->dtype == CAIRN_F32 || a->dtype == CAIRN_F16 ||
                                                   a->dtype == CAIRN_BF16 };
    for (uint64_t at = 0; at < a->size_bytes; at += DIFF_PIECE) {
        size_t size = a->size_bytes - at < DIFF_PIECE ? (size_t)(a->size_bytes - at) : DIFF_PIECE;
        int code = cairn_checkpoint_read(diff->a, a, at, size, diff->room_a, err);
        if (!code) code = cairn_checkpoint_read(diff->b, b, at, size, diff->room_b, err);
        if (code) return code;
        if (memcmp(diff->room_a, diff->room_b, size)) compare_piece(difference, a->dtype, width, at, diff->room_a, diff->room_b, size);
    }
    return CAIRN_OK;
}

static void report_difference(struct diff *diff, const cairn_tensor_info *tensor, const struct difference *difference)
{
    char what[256], nans[48] = "", number[48] = "";
    bool some_finite = difference->nan_count < difference->elements;
    if (difference->nan_count) snprintf(nans, sizeof nans, ", %llu NaN", (unsigned long long)difference->nan_count);
    if (difference->is_float && some_finite)
        snprintf(number, sizeof number, ", %sby up to %.4g", difference->nan_count ? "else " : "", difference->largest);
    snprintf(what, sizeof what, "%llu %s, the first at %llu%s%s", (unsigned long long)difference->elements,
             cairn_dtype_bits(tensor->dtype) < 8 ? "bytes differ"
             : difference->elements == 1         ? "element differs"
                                                 : "elements differ",
             (unsigned long long)difference->first, nans, number);
    diff_report(diff, tensor->item, tensor->name, what);
}

static bool same_shape(const cairn_tensor_info *a, const cairn_tensor_info *b)
{
    return a->rank == b->rank && !memcmp(a->shape, b->shape, a->rank * sizeof *a->shape);
}

static int compare_tensor(struct diff *diff, const cairn_tensor_info *a, const cairn_tensor_info *b, cairn_error *err)
{
    struct difference difference;
    if (a->dtype != b->dtype || !same_shape(a, b)) {
        diff->different++;
        diff_report(diff, a->item, a->name, a->dtype != b->dtype ? "another dtype" : "another shape");
        return CAIRN_OK;
    }
    if (!diff->cli->read && a->digest[0] && !strcmp(a->digest, b->digest)) {
        diff->same++;
        diff->by_digest++;
        return CAIRN_OK;
    }
    int code = compare_data(diff, a, b, &difference, err);
    if (code) return code;
    if (difference.elements) {
        diff->different++;
        report_difference(diff, a, &difference);
    } else
        diff->same++;
    return CAIRN_OK;
}

int diff_tensors(struct diff *diff, cairn_error *err)
{
    const cairn_tensor_info *tensor, *other;
    uint64_t total = cairn_checkpoint_get_info(diff->a)->tensor_bytes;
    progress_start(&diff->progress, diff->cli);
    for (size_t i = 0; (tensor = cairn_checkpoint_tensor(diff->a, i)); i++) {
        progress_show(&diff->progress, diff->done_bytes += tensor->size_bytes, total);
        other = cairn_checkpoint_find(diff->b, tensor->item, tensor->name);
        if (!other) {
            diff->only_a++;
            diff_report(diff, tensor->item, tensor->name, "only in A");
            continue;
        }
        int code = compare_tensor(diff, tensor, other, err);
        if (code) return code;
    }
    for (size_t i = 0; (tensor = cairn_checkpoint_tensor(diff->b, i)); i++) {
        if (cairn_checkpoint_find(diff->a, tensor->item, tensor->name)) continue;
        diff->only_b++;
        diff_report(diff, tensor->item, tensor->name, "only in B");
    }
    return CAIRN_OK;
}
