/* cairn diff: two checkpoints tensor by tensor. Digests settle what they can; only what differs is read, in pieces of bounded memory. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { PIECE = 4 << 20, PAGE = 40, SHOWN_BYTES = 60 };

struct diff {
    const struct cli *cli;
    const cairn_checkpoint *a, *b;
    uint64_t same, different, only_a, only_b, values_different;
    uint64_t reported;
    struct json rows, metrics; /* with --json */
    unsigned char *room_a, *room_b;
    struct progress progress;
    uint64_t done_bytes;
};

enum { ROW_DEPTH = 2 }; /* in the output */

struct difference {
    uint64_t elements, first;
    double largest;
    bool is_float;
};

/* Whether one more line fits what is printed without --all. */
static bool is_shown(struct diff *diff)
{
    return diff->reported++ < PAGE || diff->cli->all;
}

static void print_line(struct diff *diff, const char *where, const char *what)
{
    if (!is_shown(diff)) return;
    char *safe_where = cli_safe(where), *safe = cli_safe(what);
    progress_wipe(&diff->progress);
    printf("%s: %s\n", safe_where, safe);
    free(safe_where);
    free(safe);
}

static void print_item_line(struct diff *diff, const char *item, const char *name, const char *what)
{
    char *where = cli_format("%s:%s", item, name);
    print_line(diff, where, what);
    free(where);
}

static void open_row(struct diff *diff, const char *item, const char *name, const char *what)
{
    json_open(&diff->rows, NULL, '{');
    json_text(&diff->rows, "item", item);
    json_text(&diff->rows, "name", name);
    json_text(&diff->rows, "difference", what);
}

static void report(struct diff *diff, const char *item, const char *name, const char *what)
{
    if (!diff->cli->json) {
        print_item_line(diff, item, name, what);
        return;
    }
    open_row(diff, item, name, what);
    json_close(&diff->rows, '}');
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

static bool same_bits(double a, double b)
{
    uint64_t a_bits, b_bits;
    memcpy(&a_bits, &a, sizeof a);
    memcpy(&b_bits, &b, sizeof b);
    return a_bits == b_bits;
}

static bool same_value(const cairn_value *a, const cairn_value *b, int depth)
{
    size_t a_size = 0, b_size = 0;
    const char *a_data = cairn_value_get_data(a, &a_size), *b_data = cairn_value_get_data(b, &b_size), *a_tag = cairn_value_tag(a),
               *b_tag = cairn_value_tag(b);
    if (depth > VALUE_DEEPEST || cairn_value_kind(a) != cairn_value_kind(b) || cairn_value_count(a) != cairn_value_count(b)) return false;
    if (!a_tag != !b_tag || (a_tag && strcmp(a_tag, b_tag))) return false;
    if (cairn_value_get_int(a) != cairn_value_get_int(b) || cairn_value_get_bool(a) != cairn_value_get_bool(b)) return false;
    if (!same_bits(cairn_value_get_float(a), cairn_value_get_float(b))) return false;
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

/* Text that is at most SHOWN_BYTES long, cut at a code point. */
static char *cut(char *text)
{
    size_t size = strlen(text), end = SHOWN_BYTES;
    if (size <= SHOWN_BYTES) return text;
    while (end && ((unsigned char)text[end] & 0xc0) == 0x80) end--;
    char *shorter = cli_format("%.*s...", (int)end, text);
    free(text);
    return shorter;
}

static char *kind_text(const cairn_value *value)
{
    const char *tag = cairn_value_tag(value);
    return cli_format("%s%s%s", value_kind_name(value), tag ? " " : "", tag ? tag : "");
}

/* Where both print alike their kinds may differ; else it is the bits: bytes of one size, or the payload of a NaN. */
static char *tell_alike(const cairn_value *a, const cairn_value *b, const char *text)
{
    char *kind_a = kind_text(a), *kind_b = kind_text(b);
    char *what = strcmp(kind_a, kind_b) ? cli_format("%s (%s) -> %s (%s)", text, kind_a, text, kind_b)
                                        : cli_format("%s in both, but not bit for bit", text);
    free(kind_a);
    free(kind_b);
    return what;
}

static char *tell_values(const cairn_value *a, const cairn_value *b)
{
    char *whole_a = value_text(a), *whole_b = value_text(b);
    bool alike = !strcmp(whole_a, whole_b);
    whole_a = cut(whole_a);
    whole_b = cut(whole_b);
    char *what = alike ? tell_alike(a, b, whole_a) : cli_format("%s -> %s", whole_a, whole_b);
    free(whole_a);
    free(whole_b);
    return what;
}

static bool is_list(const cairn_value *value)
{
    return cairn_value_kind(value) == CAIRN_LIST || cairn_value_kind(value) == CAIRN_TUPLE;
}

/* Two lists of one length: how many entries differ, and the first. */
static char *tell_entries(const cairn_value *a, const cairn_value *b)
{
    size_t differ = 0, first = 0, count = cairn_value_count(a);
    for (size_t i = 0; i < count; i++) {
        if (same_value(cairn_value_at(a, i), cairn_value_at(b, i), 0)) continue;
        if (!differ++) first = i;
    }
    if (!differ) return tell_values(a, b);
    char *values = tell_values(cairn_value_at(a, first), cairn_value_at(b, first));
    char *what = cli_format("%zu of %zu entries differ%s, the first at %zu: %s", differ, count, differ == 1 ? "s" : "", first, values);
    free(values);
    return what;
}

static char *tell_difference(const cairn_value *a, const cairn_value *b)
{
    size_t count = cairn_value_count(a), other = cairn_value_count(b);
    if (!is_list(a) || cairn_value_kind(a) != cairn_value_kind(b)) return tell_values(a, b);
    return count == other ? tell_entries(a, b) : cli_format("%zu entr%s -> %zu", count, count == 1 ? "y" : "ies", other);
}

static char *tell_only(const cairn_value *value, const char *where)
{
    char *text = cut(value_text(value)), *what = cli_format("only in %s: %s", where, text);
    free(text);
    return what;
}

/* a or b is NULL where the other one alone has the name. */
static void report_value(struct diff *diff, const char *item, const char *path, const cairn_value *a, const cairn_value *b)
{
    diff->values_different++;
    if (diff->cli->json) {
        open_row(diff, item, path, a && b ? "the value differs" : a ? "only in A" : "only in B");
        if (a) value_json(&diff->rows, "a", a, 0);
        if (b) value_json(&diff->rows, "b", b, 0);
        json_close(&diff->rows, '}');
        return;
    }
    char *what = a && b ? tell_difference(a, b) : a ? tell_only(a, "A") : tell_only(b, "B");
    print_item_line(diff, item, path, what);
    free(what);
}

/* Two trees, name by name: deep enough to say where. item is NULL above the items. */
static void compare_values(struct diff *diff, const cairn_value *a, const cairn_value *b, const char *item, const char *path)
{
    uint64_t before = diff->values_different;
    for (int side = 0; side < 2; side++) {
        const cairn_value *from = side ? b : a, *to = side ? a : b;
        for (size_t i = 0; i < cairn_value_count(from); i++) {
            const char *key = cairn_value_get_data(cairn_value_key_at(from, i), NULL);
            const cairn_value *value = cairn_value_at(from, i), *other = cairn_value_find(to, key);
            if (other && (side || same_value(value, other, 0))) continue;
            char *below = cli_format("%s%s%s", path, *path ? "/" : "", item ? key : "");
            if (other && is_tree(value) && is_tree(other))
                compare_values(diff, value, other, item ? item : key, below);
            else
                report_value(diff, item ? item : key, below, side ? other : value, side ? value : other);
            free(below);
        }
    }
    if (diff->values_different != before || same_value(a, b, 0)) return;
    diff->values_different++;
    report(diff, item ? item : "", path, "the order of the names differs");
}

/* ------------------------------------------------------------------------------------------ what does not decide: metrics, config */

static const cairn_metric *find_metric(const cairn_checkpoint *checkpoint, const char *name)
{
    const cairn_entry *entry = &cairn_checkpoint_get_info(checkpoint)->entry;
    for (size_t i = 0; i < entry->metrics_count; i++)
        if (!strcmp(entry->metrics[i].name, name)) return &entry->metrics[i];
    return NULL;
}

static void put_metric(struct json *json, const cairn_metric *a, const cairn_metric *b)
{
    json_open(json, NULL, '{');
    json_text(json, "name", a ? a->name : b->name);
    if (a) json_number(json, "a", a->value);
    if (b) json_number(json, "b", b->value);
    json_close(json, '}');
}

static void report_metric(struct diff *diff, const cairn_metric *a, const cairn_metric *b)
{
    char number_a[40] = "", number_b[40] = "";
    if (diff->cli->json) {
        put_metric(&diff->metrics, a, b);
        return;
    }
    if (a) cli_exact(a->value, number_a);
    if (b) cli_exact(b->value, number_b);
    char *where = cli_format("metric %s", a ? a->name : b->name), *what = cli_format("%s%s%s",
                                                                                     a && b ? number_a
                                                                                     : a    ? "only in A: "
                                                                                            : "only in B: ",
                                                                                     a && b ? " -> " : "", b ? number_b : number_a);
    print_line(diff, where, what);
    free(where);
    free(what);
}

static void compare_metrics(struct diff *diff)
{
    const cairn_entry *a = &cairn_checkpoint_get_info(diff->a)->entry, *b = &cairn_checkpoint_get_info(diff->b)->entry;
    for (size_t i = 0; i < a->metrics_count; i++) {
        const cairn_metric *other = find_metric(diff->b, a->metrics[i].name);
        if (!other || !same_bits(other->value, a->metrics[i].value)) report_metric(diff, &a->metrics[i], other);
    }
    for (size_t i = 0; i < b->metrics_count; i++)
        if (!find_metric(diff->a, b->metrics[i].name)) report_metric(diff, NULL, &b->metrics[i]);
}

/* In place: the text between the quotes of a JSON string. \u escapes stay as they are. */
static void unescape(char *text)
{
    static const char letters[] = "bfnrt", meant[] = "\b\f\n\r\t";
    char *to = text;
    for (const char *from = text; *from; from++) {
        const char *letter = *from == '\\' && from[1] ? strchr(letters, from[1]) : NULL;
        if (letter)
            *to++ = meant[letter - letters], from++;
        else if (*from == '\\' && from[1] && from[1] != 'u')
            *to++ = *++from;
        else
            *to++ = *from;
    }
    *to = 0;
}

/* The member of provenance.json, which has one a line; NULL: none. */
static char *config_of(const cairn_checkpoint *checkpoint)
{
    static const char head[] = "\n\"config\":\"";
    const char *text = cairn_checkpoint_provenance(checkpoint), *at = text ? strstr(text, head) : NULL;
    if (!at) return NULL;
    at += sizeof head - 1;
    size_t size = strcspn(at, "\n");
    while (size && at[size] != '"') size--;
    char *config = cli_format("%.*s", (int)size, at);
    unescape(config);
    return config;
}

/* From a little before the place where they part. */
static char *tell_config(const char *a, const char *b)
{
    enum { BEFORE = 20 };
    size_t at = 0;
    while (a[at] && a[at] == b[at]) at++;
    at = at > BEFORE ? at - BEFORE : 0;
    while (at && ((unsigned char)a[at] & 0xc0) == 0x80) at--;
    const char *dots = at ? "..." : "";
    char *text_a = cut(cli_copy(a + at)), *text_b = cut(cli_copy(b + at)), *what = cli_format("%s%s -> %s%s", dots, text_a, dots, text_b);
    free(text_a);
    free(text_b);
    return what;
}

static void print_config(struct diff *diff)
{
    char *a = config_of(diff->a), *b = config_of(diff->b), *what = NULL;
    if (a && b && strcmp(a, b)) what = tell_config(a, b);
    if (!a != !b) what = cli_format("only in %s", a ? "A" : "B");
    if (what) print_line(diff, "config", what);
    free(a);
    free(b);
    free(what);
}

static void put_config(struct diff *diff, struct json *json)
{
    char *a = config_of(diff->a), *b = config_of(diff->b);
    if (!a != !b || (a && strcmp(a, b))) {
        json_open(json, "config", '{');
        if (a) json_text(json, "a", a);
        if (b) json_text(json, "b", b);
        json_close(json, '}');
    }
    free(a);
    free(b);
}

/* ------------------------------------------------------------------------------------------------------------------- result */

static int print_json(struct diff *diff, bool equal)
{
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_truth(&json, "equal", equal);
    json_count(&json, "same", diff->same);
    json_count(&json, "different", diff->different);
    json_count(&json, "only_a", diff->only_a);
    json_count(&json, "only_b", diff->only_b);
    json_count(&json, "values_different", diff->values_different);
    json_splice(&json, "differences", &diff->rows);
    json_splice(&json, "metrics", &diff->metrics);
    put_config(diff, &json);
    json_close(&json, '}');
    return json_print(&json);
}

static int finish(struct diff *diff)
{
    progress_wipe(&diff->progress);
    bool equal = !diff->different && !diff->only_a && !diff->only_b && !diff->values_different;
    if (diff->cli->json) return print_json(diff, equal) ? EXIT_FAILED : equal ? EXIT_FINE : EXIT_NO;
    if (diff->reported > PAGE && !diff->cli->all)
        printf("... and %llu more; --all prints them\n", (unsigned long long)(diff->reported - PAGE));
    if (equal)
        printf("identical: %llu tensor%s and all values, bit for bit\n", (unsigned long long)diff->same, cli_s(diff->same));
    else
        printf("tensors: %llu identical, %llu different, %llu only in A, %llu only in B; values: %llu different\n",
               (unsigned long long)diff->same, (unsigned long long)diff->different, (unsigned long long)diff->only_a,
               (unsigned long long)diff->only_b, (unsigned long long)diff->values_different);
    return equal ? EXIT_FINE : EXIT_NO;
}

static bool is_ours(const cairn_checkpoint *checkpoint)
{
    return cairn_checkpoint_get_info(checkpoint)->source == CAIRN_SOURCE_CHECKPOINT;
}

static int compare(struct diff *diff, cairn_error *err)
{
    int code = compare_tensors(diff, err);
    if (code) return code;
    if (cairn_checkpoint_values(diff->a) && cairn_checkpoint_values(diff->b))
        compare_values(diff, cairn_checkpoint_values(diff->a), cairn_checkpoint_values(diff->b), NULL, "");
    if (!is_ours(diff->a) || !is_ours(diff->b)) return CAIRN_OK;
    compare_metrics(diff);
    if (!diff->cli->json) print_config(diff);
    return CAIRN_OK;
}

/* 1 is an answer here: what cannot be read, damaged or not, is a failure. */
static int fail(const struct cli *cli, const char *name, const cairn_error *err)
{
    int code = name ? cli_fail_name(cli, name, err) : cli_fail(cli, err);
    return code == EXIT_NO ? EXIT_FAILED : code;
}

static int compare_open(const struct cli *cli, const cairn_checkpoint *a, const cairn_checkpoint *b)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct diff diff = { .cli = cli, .a = a, .b = b, .room_a = cli_new(PIECE, 1), .room_b = cli_new(PIECE, 1) };
    json_start(&diff.rows, ROW_DEPTH);
    json_start(&diff.metrics, ROW_DEPTH);
    int code = compare(&diff, &err);
    int exit_code = code ? fail(cli, NULL, &err) : finish(&diff);
    json_drop(&diff.rows);
    json_drop(&diff.metrics);
    free(diff.room_a);
    free(diff.room_b);
    return exit_code;
}

int cmd_diff(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_checkpoint *a = NULL, *b = NULL;
    if (cli->arguments_count != 2) return cli_usage(cli, "give two checkpoints or files");
    if (cairn_checkpoint_open(cli->store, cli->arguments[0], &a, &err)) return fail(cli, cli->arguments[0], &err);
    int code =
        cairn_checkpoint_open(cli->store, cli->arguments[1], &b, &err) ? fail(cli, cli->arguments[1], &err) : compare_open(cli, a, b);
    cairn_checkpoint_close(a);
    cairn_checkpoint_close(b);
    return code;
}
