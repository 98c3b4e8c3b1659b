/* Marks (see marks.h). A file of marks is never changed: a change is the whole set under the next number. Older ones go only when the newer one is
 * durable. */
#include "store/marks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/json.h"
#include "base/limits.h"
#include "store/id.h"
#include "store/layout.h"
#include "store/smallfile.h"

enum { TRIES = 1000, NAME_BYTES = 64, VERSION = 1 };
#define KIND "marks"

/* ------------------------------------------------------------------------------------------------------- their form in JSON */

int cn_marks_encode(const struct cn_marks *marks, struct cn_buf *buf, cairn_error *err)
{
    struct cn_json_writer writer = { .buf = buf };
    cn_json_begin_object(&writer);
    cn_json_key(&writer, "cairn");
    cn_json_put_string(&writer, KIND);
    cn_json_key(&writer, "version");
    cn_json_put_u64(&writer, VERSION);
    cn_json_key(&writer, "pinned");
    cn_json_put_bool(&writer, marks->pinned);
    cn_json_key(&writer, "tags");
    cn_json_begin_array(&writer);
    for (uint64_t i = 0; i < marks->tags_count; i++) cn_json_put_string(&writer, marks->tags[i]);
    cn_json_end_array(&writer);
    cn_json_key(&writer, "metrics");
    cn_json_begin_object(&writer);
    for (uint64_t i = 0; i < marks->metrics_count; i++) {
        cn_json_key(&writer, marks->metrics[i].name);
        cn_json_put_f64(&writer, marks->metrics[i].value);
    }
    cn_json_end_object(&writer);
    cn_json_seal(&writer);
    return cn_buf_check(buf, "the marks", err);
}

/* Tags and metrics are collected into arrays of fixed room: their numbers are bounded. */
struct decoder {
    struct cn_json json;
    const char **tags;
    cairn_metric *metrics;
    struct cn_marks marks;
};

static int read_tags(struct decoder *decoder, cairn_error *err)
{
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "tags as a list", err);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        const char *tag;
        code = cn_json_string(&decoder->json, &tag, NULL, err);
        if (!code && decoder->marks.tags_count == CN_MAX_TAGS)
            code = cn_error_at(err, CAIRN_E_LIMIT, decoder->json.token_start, "more than %d tags", CN_MAX_TAGS);
        if (!code && cn_layout_check_tag(tag, NULL)) code = cn_json_fail(&decoder->json, err, "not a tag");
        if (!code) decoder->tags[decoder->marks.tags_count++] = tag;
    }
    return code;
}

static int read_metrics(struct decoder *decoder, cairn_error *err)
{
    bool more;
    const char *name;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "metrics as an object", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &name, NULL, &more, err)) && more) {
        if (decoder->marks.metrics_count == CN_MAX_METRICS)
            return cn_error_at(err, CAIRN_E_LIMIT, decoder->json.token_start, "more than %d metrics", CN_MAX_METRICS);
        for (uint64_t i = 0; i < decoder->marks.metrics_count; i++)
            if (!strcmp(decoder->metrics[i].name, name)) return cn_json_fail(&decoder->json, err, "a metric is given twice");
        if (cn_layout_check_metric(name, NULL)) return cn_json_fail(&decoder->json, err, "not a name of a metric");
        cairn_metric *metric = &decoder->metrics[decoder->marks.metrics_count++];
        metric->name = name;
        code = cn_json_f64(&decoder->json, &metric->value, err);
    }
    return code;
}

static int read_all(struct decoder *decoder, cairn_error *err)
{
    const char *key, *kind = "";
    uint64_t version = 0;
    int pinned = 0;
    bool more;
    unsigned seen = 0;
    static const char *const keys[] = { "cairn", "version", "pinned", "tags", "metrics" };
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        unsigned at = 0;
        while (at < 5 && strcmp(key, keys[at])) at++;
        if (at < 5 && seen >> at & 1) return cn_json_fail(&decoder->json, err, "a member is given twice");
        seen |= 1u << at;
        if (at == 0)
            code = cn_json_string(&decoder->json, &kind, NULL, err);
        else if (at == 1)
            code = cn_json_u64(&decoder->json, &version, err);
        else if (version > VERSION)
            code = cn_json_skip(&decoder->json, err); /* whatever it means there */
        else if (at == 2)
            code = cn_json_bool(&decoder->json, &pinned, err);
        else if (at == 3)
            code = read_tags(decoder, err);
        else if (at == 4)
            code = read_metrics(decoder, err);
        else
            code = cn_json_skip(&decoder->json, err);
    }
    if (!code) code = cn_json_expect(&decoder->json, CN_JSON_END, "the end", err);
    if (code) return code;
    if (!strcmp(kind, KIND) && version > VERSION) /* a newer one may have other members */
        return cn_error_set(err, CAIRN_E_VERSION, "marks of version %llu; this program knows %d", (unsigned long long)version, VERSION);
    if (strcmp(kind, KIND) || !version || (seen & 31) != 31)
        return cn_error_set(err, CAIRN_E_FORMAT, "not a file of marks, or a member is missing");
    decoder->marks.pinned = pinned;
    return CAIRN_OK;
}

int cn_marks_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_marks *ret_marks, cairn_error *err)
{
    struct decoder decoder = { .tags = cn_pool_take_array(pool, CN_MAX_TAGS, sizeof(char *)),
                               .metrics = cn_pool_take_array(pool, CN_MAX_METRICS, sizeof(cairn_metric)) };
    if (!decoder.tags || !decoder.metrics) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for marks");
    int code = cn_json_check_seal(data, size, err);
    if (code) return code;
    cn_json_init(&decoder.json, data, size, pool);
    code = read_all(&decoder, err);
    if (code) return code;
    decoder.marks.tags = decoder.tags;
    decoder.marks.metrics = decoder.metrics;
    *ret_marks = decoder.marks;
    return CAIRN_OK;
}

/* --------------------------------------------------------------------------------------------------------------- finding */

/* "marks.12.json": canonical decimal, from 1. */
static bool parse_name(const char *name, uint64_t *ret_generation)
{
    size_t size = strlen(CN_NAME_MARKS);
    if (strncmp(name, CN_NAME_MARKS, size)) return false;
    name += size;
    return cn_decimal_take(&name, ret_generation) && *ret_generation && !strcmp(name, ".json");
}

static int raise_generation(void *user, const char *name)
{
    uint64_t generation, *highest = user;
    if (parse_name(name, &generation) && generation > *highest) *highest = generation;
    return 0;
}

static void make_name(uint64_t generation, char ret_name[NAME_BYTES])
{
    snprintf(ret_name, NAME_BYTES, CN_NAME_MARKS "%llu.json", (unsigned long long)generation);
}

static int find_highest(cn_file dir, uint64_t *ret_highest)
{
    *ret_highest = 0;
    return cn_os_list(dir, raise_generation, ret_highest);
}

/* Until two listings agree: one that takes its time may miss the file that came and the one that went. */
static int find_settled(cn_file dir, uint64_t *ret_highest)
{
    uint64_t before;
    int rc = find_highest(dir, ret_highest), tries = TRIES;
    do {
        before = *ret_highest;
        if (!rc) rc = find_highest(dir, ret_highest);
    } while (!rc && *ret_highest != before && --tries);
    return rc;
}

static int load(cn_file dir, int (*find)(cn_file, uint64_t *), const struct cn_manifest *manifest, struct cn_pool *pool,
                struct cn_marks *ret_marks, cairn_error *err)
{
    for (int i = 0; i < TRIES; i++) {
        struct cn_marks marks = { .tags = manifest->tags, .tags_count = manifest->tags_count };
        char name[NAME_BYTES], *data;
        size_t size;
        uint64_t highest;
        int rc = find(dir, &highest);
        if (rc) return cn_error_errno(err, -rc, "listing the checkpoint");
        make_name(highest, name);
        int code = highest ? cn_smallfile_load(dir, name, CN_MAX_MARKS_BYTES, &data, &size, err) : CAIRN_OK;
        if (code == CAIRN_E_NOTFOUND) continue; /* a newer one came and this one went */
        if (!code && highest) {
            code = cn_marks_decode(data, size, pool, &marks, err);
            cn_os_free(data);
            if (code) code = cn_error_prefix(err, code, "%s", name);
        }
        marks.generation = highest;
        *ret_marks = marks;
        return code;
    }
    return cn_error_set(err, CAIRN_E_GONE, "the marks keep changing while they are read: try again");
}

int cn_marks_load(cn_file checkpoint_dir, const struct cn_manifest *manifest, struct cn_pool *pool, struct cn_marks *ret_marks,
                  cairn_error *err)
{
    return load(checkpoint_dir, find_highest, manifest, pool, ret_marks, err);
}

static const cairn_metric *find_metric(const cairn_metric *metrics, uint64_t count, const char *name)
{
    for (uint64_t i = 0; i < count; i++)
        if (!strcmp(metrics[i].name, name)) return &metrics[i];
    return NULL;
}

int cn_marks_merge(cn_file checkpoint_dir, struct cn_pool *pool, struct cn_manifest *manifest, bool *ret_pinned, cairn_error *err)
{
    struct cn_marks marks;
    int code = cn_marks_load(checkpoint_dir, manifest, pool, &marks, err);
    *ret_pinned = code || marks.pinned;
    if (code || !marks.generation) return code;
    manifest->tags = marks.tags;
    manifest->tags_count = marks.tags_count;
    if (!marks.metrics_count) return CAIRN_OK;
    cairn_metric *metrics = cn_pool_take_array(pool, manifest->metrics_count + marks.metrics_count, sizeof *metrics);
    if (!metrics) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for marks");
    uint64_t count = 0;
    for (uint64_t i = 0; i < manifest->metrics_count; i++)
        if (!find_metric(marks.metrics, marks.metrics_count, manifest->metrics[i].name)) metrics[count++] = manifest->metrics[i];
    memcpy(metrics + count, marks.metrics, marks.metrics_count * sizeof *metrics);
    manifest->metrics = metrics;
    manifest->metrics_count = count + marks.metrics_count;
    return CAIRN_OK;
}

/* -------------------------------------------------------------------------------------------------------------- changing */

static bool holds_tag(const struct cn_marks *marks, const char *tag)
{
    for (uint64_t i = 0; i < marks->tags_count; i++)
        if (!strcmp(marks->tags[i], tag)) return true;
    return false;
}

static bool is_listed(const char *const *tags, size_t count, const char *tag)
{
    for (size_t i = 0; i < count; i++)
        if (!strcmp(tags[i], tag)) return true;
    return false;
}

static uint64_t bits_of(double number)
{
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

/* By their bits: the caller's arithmetic may take subnormal numbers for zero. But a NaN's do not survive its text. */
static bool same_number(double a, double b)
{
    return (a != a && b != b) || bits_of(a) == bits_of(b);
}

/* A change that asks for two things at once could never be done. */
static int check_change(const struct cn_marks_change *change, cairn_error *err)
{
    struct cn_shown shown;
    for (size_t i = 0; i < change->add_tags_count; i++)
        if (is_listed(change->remove_tags, change->remove_tags_count, change->add_tags[i]))
            return cn_error_set(err, CAIRN_E_USAGE, "tag \"%s\" is to be added and removed at once",
                                cn_show_text(&shown, change->add_tags[i]));
    for (size_t i = 0; i < change->metrics_count; i++)
        if (find_metric(change->metrics, i, change->metrics[i].name))
            return cn_error_set(err, CAIRN_E_USAGE, "metric \"%s\" is given twice", cn_show_text(&shown, change->metrics[i].name));
    return CAIRN_OK;
}

/* Is everything that the change asks for as it asks? */
static bool is_done(const struct cn_marks *marks, const struct cn_marks_change *change)
{
    for (size_t i = 0; i < change->add_tags_count; i++)
        if (!holds_tag(marks, change->add_tags[i])) return false;
    for (size_t i = 0; i < change->remove_tags_count; i++)
        if (holds_tag(marks, change->remove_tags[i])) return false;
    for (size_t i = 0; i < change->metrics_count; i++) {
        const cairn_metric *found = find_metric(marks->metrics, marks->metrics_count, change->metrics[i].name);
        if (!found || !same_number(found->value, change->metrics[i].value)) return false;
    }
    return !change->pin || marks->pinned == (change->pin > 0);
}

static int check_removed(const struct cn_marks *marks, const struct cn_marks_change *change, cairn_error *err)
{
    struct cn_shown shown;
    for (size_t i = 0; i < change->remove_tags_count; i++)
        if (!holds_tag(marks, change->remove_tags[i]))
            return cn_error_set(err, CAIRN_E_MISMATCH, "it has no tag '%s'", cn_show_text(&shown, change->remove_tags[i]));
    return CAIRN_OK;
}

/* Nobody knows what they said, and they count as a pin. Unpinning is the way out: they begin afresh, with the manifest's tags, under the next number. */
static int load_or_begin_afresh(cn_file checkpoint_dir, const struct cn_manifest *manifest, const struct cn_marks_change *change,
                                struct cn_pool *pool, struct cn_marks *ret_marks, cairn_error *err)
{
    cairn_error error = CAIRN_ERROR_INIT;
    int code = load(checkpoint_dir, find_settled, manifest, pool, ret_marks, &error);
    if (change->pin < 0 && (code == CAIRN_E_CORRUPT || code == CAIRN_E_TRUNCATED || code == CAIRN_E_FORMAT || code == CAIRN_E_LIMIT)) {
        ret_marks->pinned = true;
        return CAIRN_OK;
    }
    if (code && err) *err = error;
    return code;
}

static int apply(const struct cn_marks *marks, const struct cn_marks_change *change, struct cn_pool *pool, struct cn_marks *ret_marks,
                 cairn_error *err)
{
    const char **tags = cn_pool_take_array(pool, marks->tags_count + change->add_tags_count, sizeof *tags);
    cairn_metric *metrics = cn_pool_take_array(pool, marks->metrics_count + change->metrics_count, sizeof *metrics);
    if (!tags || !metrics) return cn_error_set(err, CAIRN_E_NOMEM, "no memory for marks");
    struct cn_marks result = {
        .generation = marks->generation + 1, .tags = tags, .metrics = metrics, .pinned = change->pin ? change->pin > 0 : marks->pinned
    };
    for (uint64_t i = 0; i < marks->tags_count; i++)
        if (!is_listed(change->remove_tags, change->remove_tags_count, marks->tags[i])) tags[result.tags_count++] = marks->tags[i];
    for (size_t i = 0; i < change->add_tags_count; i++)
        if (!holds_tag(&result, change->add_tags[i])) tags[result.tags_count++] = change->add_tags[i];
    for (uint64_t i = 0; i < marks->metrics_count; i++)
        if (!find_metric(change->metrics, change->metrics_count, marks->metrics[i].name))
            metrics[result.metrics_count++] = marks->metrics[i];
    for (size_t i = 0; i < change->metrics_count; i++) metrics[result.metrics_count++] = change->metrics[i];
    if (result.tags_count > CN_MAX_TAGS) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d tags", CN_MAX_TAGS);
    if (result.metrics_count > CN_MAX_METRICS) return cn_error_set(err, CAIRN_E_LIMIT, "at most %d metrics", CN_MAX_METRICS);
    *ret_marks = result;
    return CAIRN_OK;
}

/* M1, M2: written aside and synced, then linked to its number; EXISTS: somebody was faster. */
static int put(cn_file dir, const struct cn_marks *marks, cairn_error *err)
{
    cn_auto_buf struct cn_buf buf;
    char name[NAME_BYTES], temporary[NAME_BYTES], hex[CN_ID_BYTES];
    cn_buf_init(&buf, cn_os_alloc(), CN_MAX_MARKS_BYTES);
    int code = cn_marks_encode(marks, &buf, err);
    if (!code) code = cn_id_new(hex, err);
    if (code) return code;
    snprintf(temporary, sizeof temporary, ".marks-%s", hex);
    make_name(marks->generation, name);
    code = cn_smallfile_put(dir, temporary, buf.data, buf.size, 0644, err);
    if (code) return code;
    int rc = cn_os_link(dir, temporary, dir, name);
    /* no links here: a rename takes the number, with the whole set at once: what others had set must not stand behind an empty file */
    if (rc && rc != -EEXIST) rc = cn_os_rename_new(dir, temporary, dir, name);
    (void)cn_os_unlink(dir, temporary); /* after a rename there is none */
    if (!rc || rc == -EEXIST) return rc ? CAIRN_E_EXISTS : CAIRN_OK;
    return cn_error_errno(err, -rc, "%s: creating it", name);
}

struct sweep {
    cn_file dir;
    uint64_t generation;
};

static int remove_older(void *user, const char *name)
{
    const struct sweep *sweep = user;
    uint64_t generation;
    if (parse_name(name, &generation) && generation < sweep->generation) (void)cn_os_unlink(sweep->dir, name);
    return 0;
}

int cn_marks_change(cn_file checkpoint_dir, const struct cn_manifest *manifest, const struct cn_marks_change *change, cairn_error *err)
{
    struct cn_pool pool;
    struct cn_marks marks = { 0 }, wanted = { 0 };
    bool ours = false, was_put = false;
    int code = check_change(change, err);
    if (code) return code;
    cn_pool_init(&pool, cn_os_alloc(), CN_MANIFEST_MEMORY_BYTES);
    for (int i = 0; i < TRIES && !code; i++) {
        cn_pool_done(&pool);
        code = load_or_begin_afresh(checkpoint_dir, manifest, change, &pool, &marks, err);
        if (!code && change->must_match && !was_put) code = check_removed(&marks, change, err);
        /* M3: listed again after ours was put: it must be in the highest, which may be another's */
        if (code || (ours |= is_done(&marks, change)) || i + 1 == TRIES) break;
        code = apply(&marks, change, &pool, &wanted, err);
        if (!code) code = put(checkpoint_dir, &wanted, err);
        was_put |= !code;
        if (code == CAIRN_E_EXISTS) code = CAIRN_OK;
    }
    if (!code && !ours) code = cn_error_set(err, CAIRN_E_GONE, "others keep changing the marks: try again");
    int rc = code ? 0 : cn_os_sync_dir(checkpoint_dir); /* M4 */
    if (rc) code = cn_error_errno(err, -rc, "syncing the checkpoint's folder");
    struct sweep sweep = { checkpoint_dir, marks.generation };
    if (!code) (void)cn_os_list(checkpoint_dir, remove_older, &sweep); /* M5 */
    cn_pool_done(&pool);
    return code;
}
