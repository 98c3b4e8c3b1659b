/* Plain values of two checkpoints: trees that are walked by name, deep enough to say where they differ. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

enum { LONG_BYTES = 4096 /* of a value in JSON: more is left out without --all */ };

bool diff_same_bits(double a, double b)
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
    if (!diff_same_bits(cairn_value_get_float(a), cairn_value_get_float(b))) return false;
    if (a_size != b_size || (a_data && memcmp(a_data, b_data, a_size))) return false;
    for (size_t i = 0; i < cairn_value_count(a); i++) {
        if (!same_value(cairn_value_at(a, i), cairn_value_at(b, i), depth + 1)) return false;
        if (cairn_value_kind(a) == CAIRN_MAP && !same_value(cairn_value_key_at(a, i), cairn_value_key_at(b, i), depth + 1)) return false;
    }
    return true;
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
    char *text_a = value_text(a), *text_b = value_text(b), *what;
    if (strcmp(text_a, text_b) != 0)
        what = diff_tell_texts(text_a, text_b);
    else
        what = tell_alike(a, b, text_a = cli_cut(text_a, DIFF_SHOWN_BYTES));
    free(text_a);
    free(text_b);
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
    char *text = cli_cut(value_text(value), DIFF_SHOWN_BYTES), *what = cli_format("only in %s: %s", where, text);
    free(text);
    return what;
}

static void put_value(struct diff *diff, const char *key, const cairn_value *value)
{
    char *text = value_text(value), *key_bytes = cli_format("%s_bytes", key);
    size_t size = strlen(text);
    if (diff->cli->all || size <= LONG_BYTES)
        value_json(&diff->rows, key, value, 0);
    else
        json_count(&diff->rows, key_bytes, size);
    free(text);
    free(key_bytes);
}

/* a or b is NULL where the other one alone has the name. */
static void report_value(struct diff *diff, const char *item, const char *path, const cairn_value *a, const cairn_value *b)
{
    diff->values_different++;
    if (diff->cli->json) {
        diff_open_row(diff, item, path, a && b ? "the value differs" : a ? "only in A" : "only in B");
        if (a) put_value(diff, "a", a);
        if (b) put_value(diff, "b", b);
        json_close(&diff->rows, '}');
        return;
    }
    char *what = a && b ? tell_difference(a, b) : a ? tell_only(a, "A") : tell_only(b, "B");
    diff_item_line(diff, item, path, what);
    free(what);
}

/* How much of what one side alone has is told by its tensors. */
enum told { NOTHING_TOLD, SOME_TOLD, ALL_TOLD };

/* other: the checkpoint that lacks the value, NULL if it holds no plain values at all. */
static enum told told_by_tensors(const cairn_checkpoint *other, const char *item, const cairn_value *value)
{
    size_t count = cairn_value_count(value), all = 0, none = 0;
    if (cairn_value_kind(value) == CAIRN_TENSOR_REF)
        return !other || !cairn_checkpoint_find(other, item, cairn_value_get_data(value, NULL)) ? ALL_TOLD : NOTHING_TOLD;
    for (size_t i = 0; i < count; i++) {
        enum told told = told_by_tensors(other, item, cairn_value_at(value, i));
        all += told == ALL_TOLD;
        none += told == NOTHING_TOLD;
    }
    return none == count ? NOTHING_TOLD : all == count ? ALL_TOLD : SOME_TOLD;
}

/* Of two trees: whether the names that both have stand in one order. */
static bool same_order(const cairn_value *a, const cairn_value *b)
{
    for (size_t i = 0, k = 0; i < cairn_value_count(a); i++) {
        const char *key = cairn_value_get_data(cairn_value_key_at(a, i), NULL);
        if (!cairn_value_find(b, key)) continue;
        while (!cairn_value_find(a, cairn_value_get_data(cairn_value_key_at(b, k), NULL))) k++;
        if (strcmp(key, cairn_value_get_data(cairn_value_key_at(b, k++), NULL)) != 0) return false;
    }
    return true;
}

struct trees {
    const cairn_value *a, *b; /* NULL: only the other one is there */
    const char *item, *path;  /* item is NULL above the items */
};

static void compare_trees(struct diff *diff, const struct trees *trees);

static void compare_entry(struct diff *diff, const struct trees *trees, const char *key, const cairn_value *a, const cairn_value *b)
{
    const cairn_value *value = a ? a : b;
    const char *item = trees->item ? trees->item : key;
    bool is_mixed = diff_is_ours(diff->a) != diff_is_ours(diff->b);
    enum told told = a && b ? NOTHING_TOLD : told_by_tensors(is_mixed ? NULL : a ? diff->b : diff->a, item, value);
    if (told == ALL_TOLD || (a && b && same_value(a, b, 0))) return;
    char *path = cli_format("%s%s%s", trees->path, *trees->path ? "/" : "", trees->item ? key : "");
    bool is_walked = a && b ? value_is_tree(a) && value_is_tree(b) : told == SOME_TOLD && value_is_tree(value);
    if (is_walked)
        compare_trees(diff, &(struct trees){ a, b, item, path });
    else
        report_value(diff, item, path, a, b);
    free(path);
}

/* Name by name: deep enough to say where. */
static void compare_trees(struct diff *diff, const struct trees *trees)
{
    const cairn_value *a = trees->a, *b = trees->b;
    uint64_t before = diff->values_different;
    for (size_t i = 0; i < cairn_value_count(a); i++) {
        const char *key = cairn_value_get_data(cairn_value_key_at(a, i), NULL);
        compare_entry(diff, trees, key, cairn_value_at(a, i), cairn_value_find(b, key));
    }
    for (size_t i = 0; i < cairn_value_count(b); i++) {
        const char *key = cairn_value_get_data(cairn_value_key_at(b, i), NULL);
        if (!cairn_value_find(a, key)) compare_entry(diff, trees, key, NULL, cairn_value_at(b, i));
    }
    if (diff->values_different != before || same_order(a, b)) return;
    diff->values_different++;
    diff_report(diff, trees->item ? trees->item : "", trees->path, "the order of the names differs");
}

/* What a file calls metadata is no part of a training's state: it is compared with another file's alone. */
void diff_values(struct diff *diff)
{
    bool a_is_ours = diff_is_ours(diff->a), b_is_ours = diff_is_ours(diff->b);
    compare_trees(diff, &(struct trees){ a_is_ours || !b_is_ours ? cairn_checkpoint_values(diff->a) : NULL,
                                         b_is_ours || !a_is_ours ? cairn_checkpoint_values(diff->b) : NULL, NULL, "" });
}
