/* cairn diff: two checkpoints tensor by tensor. Digests settle what they can; only what differs is read, in pieces of bounded memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { PIECE = 4 << 20, DEEPEST = 64 };

struct diff {
    const struct cli *cli;
    const cairn_checkpoint *a, *b;
    uint64_t same, different, only_a, only_b, values_different;
    json_t *rows;
    unsigned char *room_a, *room_b;
    struct progress progress;
    uint64_t done_bytes;
};

struct difference {
    uint64_t elements, first;
    double largest;
    bool is_float;
};

static void report(struct diff *diff, const char *item, const char *name, const char *what)
{
    if (diff->rows) {
        json_array_append_new(diff->rows,
                              json_pack("{s:o, s:o, s:s}", "item", cli_json_text(item), "name", cli_json_text(name), "difference", what));
        return;
    }
    char *safe_item = cli_safe(item), *safe = cli_safe(name);
    progress_wipe(&diff->progress);
    printf("%s:%s: %s\n", safe_item, safe, what);
    free(safe_item);
    free(safe);
}

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
        if (distance > difference->largest || isnan(distance)) difference->largest = distance;
    }
}

static int compare_data(struct diff *diff, const cairn_tensor_info *a, const cairn_tensor_info *b, struct difference *difference,
                        cairn_error *err)
{
    uint32_t bits = cairn_dtype_bits(a->dtype);
    size_t width = bits >= 8 ? bits / 8 : 1;
    *difference = (struct difference){ .is_float = a->dtype == CAIRN_F64 || a->dtype == CAIRN_F32 || a->dtype == CAIRN_F16 ||
                                                   a->dtype == CAIRN_BF16 };
    for (uint64_t at = 0; at < a->size_bytes; at += PIECE) {
        size_t size = a->size_bytes - at < PIECE ? (size_t)(a->size_bytes - at) : PIECE;
        int code = cairn_checkpoint_read(diff->a, a, at, size, diff->room_a, err);
        if (!code) code = cairn_checkpoint_read(diff->b, b, at, size, diff->room_b, err);
        if (code) return code;
        if (memcmp(diff->room_a, diff->room_b, size)) compare_piece(difference, a->dtype, width, at, diff->room_a, diff->room_b, size);
    }
    return CAIRN_OK;
}

static int compare_tensor(struct diff *diff, const cairn_tensor_info *a, const cairn_tensor_info *b, cairn_error *err)
{
    char what[256], number[32] = "";
    struct difference difference;
    if (a->dtype != b->dtype || a->rank != b->rank || memcmp(a->shape, b->shape, a->rank * sizeof *a->shape)) {
        diff->different++;
        snprintf(what, sizeof what, "another %s", a->dtype != b->dtype ? "dtype" : "shape");
        report(diff, a->item, a->name, what);
        return CAIRN_OK;
    }
    if (a->digest[0] && !strcmp(a->digest, b->digest)) {
        diff->same++;
        return CAIRN_OK;
    }
    int code = compare_data(diff, a, b, &difference, err);
    if (code) return code;
    if (!difference.elements) {
        diff->same++;
        return CAIRN_OK;
    }
    diff->different++;
    if (difference.is_float) snprintf(number, sizeof number, ", by up to %.4g", difference.largest);
    snprintf(what, sizeof what, "%llu %s, the first at %llu%s", (unsigned long long)difference.elements,
             cairn_dtype_bits(a->dtype) < 8 ? "bytes differ"
             : difference.elements == 1     ? "element differs"
                                            : "elements differ",
             (unsigned long long)difference.first, number);
    report(diff, a->item, a->name, what);
    return CAIRN_OK;
}

static int compare_tensors(struct diff *diff, cairn_error *err)
{
    const cairn_tensor_info *tensor, *other;
    uint64_t total = cairn_checkpoint_get_info(diff->a)->tensor_bytes;
    progress_start(&diff->progress, diff->cli);
    for (size_t i = 0; (tensor = cairn_checkpoint_tensor(diff->a, i)); i++) {
        progress_show(&diff->progress, diff->done_bytes += tensor->size_bytes, total);
        other = cairn_checkpoint_find(diff->b, tensor->item, tensor->name);
        if (!other) {
            diff->only_a++;
            report(diff, tensor->item, tensor->name, "only in A");
            continue;
        }
        int code = compare_tensor(diff, tensor, other, err);
        if (code) return code;
    }
    for (size_t i = 0; (tensor = cairn_checkpoint_tensor(diff->b, i)); i++) {
        if (cairn_checkpoint_find(diff->a, tensor->item, tensor->name)) continue;
        diff->only_b++;
        report(diff, tensor->item, tensor->name, "only in B");
    }
    return CAIRN_OK;
}

/* ---------------------------------------------------------------------------------------------------------- plain values */

static bool same_value(const cairn_value *a, const cairn_value *b, int depth)
{
    size_t a_size = 0, b_size = 0;
    const char *a_data = cairn_value_get_data(a, &a_size), *b_data = cairn_value_get_data(b, &b_size), *a_tag = cairn_value_tag(a),
               *b_tag = cairn_value_tag(b);
    double x = cairn_value_get_float(a), y = cairn_value_get_float(b);
    uint64_t x_bits, y_bits;
    if (depth > DEEPEST || cairn_value_kind(a) != cairn_value_kind(b) || cairn_value_count(a) != cairn_value_count(b)) return false;
    if (!a_tag != !b_tag || (a_tag && strcmp(a_tag, b_tag))) return false;
    memcpy(&x_bits, &x, sizeof x);
    memcpy(&y_bits, &y, sizeof y);
    if (cairn_value_get_int(a) != cairn_value_get_int(b) || cairn_value_get_bool(a) != cairn_value_get_bool(b) || x_bits != y_bits)
        return false;
    if (a_size != b_size || (a_data && memcmp(a_data, b_data, a_size))) return false;
    for (size_t i = 0; i < cairn_value_count(a); i++) {
        if (!same_value(cairn_value_at(a, i), cairn_value_at(b, i), depth + 1)) return false;
        if (cairn_value_kind(a) == CAIRN_MAP && !same_value(cairn_value_key_at(a, i), cairn_value_key_at(b, i), depth + 1)) return false;
    }
    return true;
}

/* A map without type tag whose keys are all text: it can be walked by name. */
static bool is_tree(const cairn_value *value)
{
    bool tree = cairn_value_kind(value) == CAIRN_MAP && !cairn_value_tag(value);
    for (size_t i = 0; i < cairn_value_count(value) && tree; i++) {
        const cairn_value *key = cairn_value_key_at(value, i);
        tree = cairn_value_kind(key) == CAIRN_STRING && !cairn_value_tag(key);
    }
    return tree;
}

static void report_value(struct diff *diff, const char *item, const char *path, const char *what)
{
    diff->values_different++;
    report(diff, item, path, what);
}

/* Two trees, name by name: deep enough to say where. item is NULL above the items. */
static void compare_values(struct diff *diff, const cairn_value *a, const cairn_value *b, const char *item, const char *path)
{
    uint64_t before = diff->values_different;
    for (int side = 0; side < 2; side++) {
        const cairn_value *from = side ? b : a, *to = side ? a : b;
        for (size_t i = 0; i < cairn_value_count(from); i++) {
            const char *key = cairn_value_get_data(cairn_value_key_at(from, i), NULL);
            const cairn_value *left = cairn_value_at(from, i), *right = cairn_value_find(to, key);
            if (right && (side || same_value(left, right, 0))) continue;
            char *below;
            if (asprintf(&below, "%s%s%s", path, *path ? "/" : "", item ? key : "") < 0) abort();
            if (right && is_tree(left) && is_tree(right))
                compare_values(diff, left, right, item ? item : key, below);
            else
                report_value(diff, item ? item : key, below, right ? "the value differs" : side ? "only in B" : "only in A");
            free(below);
        }
    }
    if (diff->values_different == before && !same_value(a, b, 0))
        report_value(diff, item ? item : "", path, "the order of the names differs");
}

static int finish(struct diff *diff)
{
    progress_wipe(&diff->progress);
    bool equal = !diff->different && !diff->only_a && !diff->only_b && !diff->values_different;
    if (diff->rows) {
        int code = cli_print_json(json_pack("{s:i, s:b, s:I, s:I, s:I, s:I, s:I, s:o}", "version", 1, "equal", equal, "same",
                                            (json_int_t)diff->same, "different", (json_int_t)diff->different, "only_a",
                                            (json_int_t)diff->only_a, "only_b", (json_int_t)diff->only_b, "values_different",
                                            (json_int_t)diff->values_different, "differences", diff->rows));
        return code ? code : equal ? EXIT_FINE : EXIT_NO;
    }
    if (equal)
        printf("identical: %llu tensor%s and all values, bit for bit\n", (unsigned long long)diff->same, cli_s(diff->same));
    else
        printf("tensors: %llu identical, %llu different, %llu only in A, %llu only in B; values: %llu different\n",
               (unsigned long long)diff->same, (unsigned long long)diff->different, (unsigned long long)diff->only_a,
               (unsigned long long)diff->only_b, (unsigned long long)diff->values_different);
    return equal ? EXIT_FINE : EXIT_NO;
}

/* 1 is an answer here: what cannot be read, damaged or not, is a failure. */
static int fail(const struct cli *cli, const cairn_error *err)
{
    int code = cli_fail(cli, err);
    return code == EXIT_NO ? EXIT_FAILED : code;
}

int cmd_diff(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_checkpoint *a = NULL, *b = NULL;
    if (cli->arguments_count != 2) return cli_usage(cli, "give two checkpoints or files");
    int code = cairn_checkpoint_open(cli->store, cli->arguments[0], &a, &err);
    if (!code) code = cairn_checkpoint_open(cli->store, cli->arguments[1], &b, &err);
    struct diff diff = {
        .cli = cli, .a = a, .b = b, .rows = cli->json ? json_array() : NULL, .room_a = malloc(PIECE), .room_b = malloc(PIECE)
    };
    if (!diff.room_a || !diff.room_b) abort();
    if (!code) code = compare_tensors(&diff, &err);
    if (!code && cairn_checkpoint_values(a) && cairn_checkpoint_values(b))
        compare_values(&diff, cairn_checkpoint_values(a), cairn_checkpoint_values(b), NULL, "");
    int exit_code = code ? fail(cli, &err) : finish(&diff);
    free(diff.room_a);
    free(diff.room_b);
    cairn_checkpoint_close(a);
    cairn_checkpoint_close(b);
    return exit_code;
}
