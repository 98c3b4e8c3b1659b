/* Reading manifest.json (see manifest.h). Nothing is handed out that was not checked: the seal first, then every member's type and range. */
#include <string.h>

#include "base/check.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "store/layout.h"
#include "store/manifest.h"
#include "store/utctime.h"

struct decoder {
    struct cn_json json;
    struct cn_pool *pool;
    struct cn_buf list; /* the array being collected */
    struct cn_hash names;
    struct cn_manifest manifest;
    const char *kind;
    uint64_t version;
};

static int no_memory(cairn_error *err)
{
    return cn_error_set(err, CAIRN_E_NOMEM, "no memory for a manifest");
}

static int read_id(struct decoder *decoder, char ret_id[CN_ID_BYTES], bool may_be_empty, cairn_error *err)
{
    const char *text;
    size_t size;
    int code = cn_json_string(&decoder->json, &text, &size, err);
    if (code) return code;
    if (!(may_be_empty && !size) && !cn_id_is(text, size)) return cn_json_fail(&decoder->json, err, "an id of 32 hex digits was expected");
    memcpy(ret_id, text, size + 1);
    return CAIRN_OK;
}

static int read_digest(struct decoder *decoder, struct cn_digest *ret_digest, cairn_error *err)
{
    const char *text;
    size_t size;
    int code = cn_json_string(&decoder->json, &text, &size, err);
    if (code) return code;
    return cn_digest_parse(text, size, ret_digest) ? CAIRN_OK : cn_json_fail(&decoder->json, err, "a digest of 32 hex digits was expected");
}

/* Ends the array being collected: a copy in the pool. */
static int keep_list(struct decoder *decoder, size_t item_size, const void *ret_array, uint64_t *ret_count, cairn_error *err)
{
    void *copy = decoder->list.failed ? NULL : cn_pool_copy(decoder->pool, decoder->list.data, decoder->list.size);
    if (!copy) return no_memory(err);
    memcpy((void *)(uintptr_t)ret_array, &copy, sizeof copy);
    *ret_count = decoder->list.size / item_size;
    cn_buf_cut(&decoder->list, 0);
    return CAIRN_OK;
}

static int add_name(struct decoder *decoder, const char *name, size_t size, cairn_error *err)
{
    int added = cn_hash_add(&decoder->names, name, size, 0, NULL);
    if (added == 1) return cn_json_fail(&decoder->json, err, "a name is given twice");
    return added ? no_memory(err) : CAIRN_OK;
}

static int limit(struct decoder *decoder, cairn_error *err, const char *what, int most)
{
    return cn_error_at(err, CAIRN_E_LIMIT, decoder->json.token_start, "more than %d %s", most, what);
}

static int read_guards(struct decoder *decoder, cairn_error *err)
{
    struct cn_manifest *manifest = &decoder->manifest;
    const char *key;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "guards as an object", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "healthy"))
            code = cn_json_bool(&decoder->json, &manifest->healthy, err);
        else if (!strcmp(key, "exact"))
            code = cn_json_bool(&decoder->json, &manifest->exact, err);
        else if (!strcmp(key, "nan"))
            code = cn_json_u64(&decoder->json, &manifest->nan_count, err);
        else if (!strcmp(key, "inf"))
            code = cn_json_u64(&decoder->json, &manifest->inf_count, err);
        else
            code = cn_json_skip(&decoder->json, err);
    }
    return code;
}

static int read_lineage(struct decoder *decoder, cairn_error *err)
{
    bool more;
    uint64_t before = 0;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "lineage as a list", err);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        struct cn_lineage entry = { 0 };
        code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "a [term, step] pair", err);
        if (!code) code = cn_json_u64(&decoder->json, &entry.term, err);
        if (!code) code = cn_json_u64(&decoder->json, &entry.step, err);
        if (!code) code = cn_json_expect(&decoder->json, CN_JSON_ARRAY_END, "the end of a [term, step] pair", err);
        if (!code && entry.term <= before) code = cn_json_fail(&decoder->json, err, "lineage terms must ascend");
        if (!code && decoder->list.size / sizeof entry >= CN_MAX_LINEAGE) code = limit(decoder, err, "lineage entries", CN_MAX_LINEAGE);
        before = entry.term;
        if (!code) cn_buf_append(&decoder->list, &entry, sizeof entry);
    }
    return code ? code : keep_list(decoder, sizeof(struct cn_lineage), &decoder->manifest.lineage, &decoder->manifest.lineage_count, err);
}

static int read_metrics(struct decoder *decoder, cairn_error *err)
{
    bool more;
    cn_hash_done(&decoder->names);
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "metrics as an object", err);
    cairn_metric metric;
    while (!code && !(code = cn_json_next_key(&decoder->json, &metric.name, NULL, &more, err)) && more) {
        code = add_name(decoder, metric.name, strlen(metric.name), err);
        if (!code && cn_layout_check_metric(metric.name, NULL)) code = cn_json_fail(&decoder->json, err, "not a name of a metric");
        if (!code) code = cn_json_f64(&decoder->json, &metric.value, err);
        if (!code && decoder->list.size / sizeof metric >= CN_MAX_METRICS) code = limit(decoder, err, "metrics", CN_MAX_METRICS);
        if (!code) cn_buf_append(&decoder->list, &metric, sizeof metric);
    }
    return code ? code : keep_list(decoder, sizeof metric, &decoder->manifest.metrics, &decoder->manifest.metrics_count, err);
}

/* What a list of texts holds, and how one is judged. */
struct texts {
    const char *what;
    int most;
    int (*check)(const char *text, cairn_error *err);
};

static int read_texts(struct decoder *decoder, const struct texts *texts, const void *ret_array, uint64_t *ret_count, cairn_error *err)
{
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "a list", err);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        const char *text;
        code = cn_json_string(&decoder->json, &text, NULL, err);
        if (!code && decoder->list.size / sizeof text >= (size_t)texts->most) code = limit(decoder, err, texts->what, texts->most);
        if (!code && texts->check(text, NULL)) code = cn_json_fail(&decoder->json, err, "not a name for that");
        if (!code) cn_buf_append(&decoder->list, &text, sizeof text);
    }
    return code ? code : keep_list(decoder, sizeof(char *), ret_array, ret_count, err);
}

static int read_item(struct decoder *decoder, struct cn_manifest_item *item, cairn_error *err)
{
    const char *key;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "an object per item", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        if (!strcmp(key, "tensors"))
            code = cn_json_u64(&decoder->json, &item->tensors, err);
        else if (!strcmp(key, "values"))
            code = cn_json_u64(&decoder->json, &item->values, err);
        else if (!strcmp(key, "size"))
            code = cn_json_u64(&decoder->json, &item->size_bytes, err);
        else
            code = cn_json_skip(&decoder->json, err);
    }
    return code;
}

static int read_items(struct decoder *decoder, cairn_error *err)
{
    bool more;
    cn_hash_done(&decoder->names);
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "items as an object", err);
    struct cn_manifest_item item = { 0 };
    while (!code && !(code = cn_json_next_key(&decoder->json, &item.name, NULL, &more, err)) && more) {
        code = add_name(decoder, item.name, strlen(item.name), err);
        if (!code && cn_layout_check_item(item.name, err)) code = cn_json_fail(&decoder->json, err, "not an item's name");
        if (!code) code = read_item(decoder, &item, err);
        if (!code && decoder->list.size / sizeof item >= CN_MAX_ITEMS) code = limit(decoder, err, "items", CN_MAX_ITEMS);
        if (!code) cn_buf_append(&decoder->list, &item, sizeof item);
        item = (struct cn_manifest_item){ 0 };
    }
    return code ? code : keep_list(decoder, sizeof item, &decoder->manifest.items, &decoder->manifest.items_count, err);
}

static int read_kind(struct decoder *decoder, enum cn_file_kind *ret_kind, cairn_error *err)
{
    const char *text;
    int code = cn_json_string(&decoder->json, &text, NULL, err);
    if (code) return code;
    if (!strcmp(text, "tensors"))
        *ret_kind = CN_FILE_TENSORS;
    else if (!strcmp(text, "own"))
        *ret_kind = CN_FILE_OWN;
    else if (!strcmp(text, "attached"))
        *ret_kind = CN_FILE_ATTACHED;
    else
        return cn_json_fail(&decoder->json, err, "an unknown kind of file");
    return CAIRN_OK;
}

static int read_file(struct decoder *decoder, struct cn_manifest_file *file, cairn_error *err)
{
    enum { NAME = 1, KIND = 2, SIZE = 4, DIGEST = 8, HEADER_SIZE = 16, HEADER_DIGEST = 32 };
    static const char *const keys[] = { "name", "kind", "size", "digest", "header_size", "header_digest" };
    unsigned seen = 0;
    const char *key;
    size_t size = 0;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "an object per file", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        unsigned field = 0;
        for (unsigned i = 0; i < 6; i++)
            if (!strcmp(key, keys[i])) field = 1u << i;
        if (seen & field) return cn_json_fail(&decoder->json, err, "a member is given twice");
        seen |= field;
        switch (field) {
        case NAME: code = cn_json_string(&decoder->json, &file->name, &size, err); break;
        case KIND: code = read_kind(decoder, &file->kind, err); break;
        case SIZE: code = cn_json_u64(&decoder->json, &file->size_bytes, err); break;
        case DIGEST: code = read_digest(decoder, &file->digest, err); break;
        case HEADER_SIZE: code = cn_json_u64(&decoder->json, &file->header_bytes, err); break;
        case HEADER_DIGEST: code = read_digest(decoder, &file->header_digest, err); break;
        default: code = cn_json_skip(&decoder->json, err);
        }
    }
    if (code) return code;
    unsigned needed = NAME | KIND | SIZE | DIGEST | (file->kind == CN_FILE_TENSORS ? HEADER_SIZE | HEADER_DIGEST : 0);
    if ((seen & needed) != needed) return cn_json_fail(&decoder->json, err, "a file lacks a member");
    if (file->size_bytes > CN_MAX_FILE_BYTES || file->header_bytes > file->size_bytes ||
        file->header_bytes > CN_MAX_OUR_HEADER_BYTES + 2 * CN_PAGE_BYTES)
        return cn_json_fail(&decoder->json, err, "a file's size is out of range");
    code = cn_layout_check_file(file->name, size, err);
    return code ? code : add_name(decoder, file->name, size, err);
}

static int read_files(struct decoder *decoder, cairn_error *err)
{
    bool more;
    cn_hash_done(&decoder->names);
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "files as a list", err);
    while (!code && !(code = cn_json_next_element(&decoder->json, &more, err)) && more) {
        struct cn_manifest_file file = { 0 };
        code = read_file(decoder, &file, err);
        if (!code && decoder->list.size / sizeof file >= CN_MAX_FILES) code = limit(decoder, err, "files", CN_MAX_FILES);
        if (!code) cn_buf_append(&decoder->list, &file, sizeof file);
    }
    return code ? code : keep_list(decoder, sizeof(struct cn_manifest_file), &decoder->manifest.files, &decoder->manifest.files_count, err);
}

static int read_time(struct decoder *decoder, cairn_error *err)
{
    const char *text;
    int code = cn_json_string(&decoder->json, &text, NULL, err);
    if (code) return code;
    return cn_utctime_parse(text, &decoder->manifest.time_ns) ? CAIRN_OK : cn_json_fail(&decoder->json, err, "a time in UTC was expected");
}

/* Features a reader must know to read rightly: none exist yet. */
static int read_requires(struct decoder *decoder, cairn_error *err)
{
    bool more;
    const char *feature;
    struct cn_shown shown;
    int code = cn_json_expect(&decoder->json, CN_JSON_ARRAY, "requires as a list", err);
    if (!code) code = cn_json_next_element(&decoder->json, &more, err);
    if (code || !more) return code;
    code = cn_json_string(&decoder->json, &feature, NULL, err);
    return code ? code
                : cn_error_set(err, CAIRN_E_VERSION, "it needs the feature \"%s\", which this version does not know: use a newer one",
                               cn_show_text(&shown, feature));
}

enum {
    KIND,
    VERSION,
    REQUIRES,
    ID,
    RUN,
    PARENT,
    TERM,
    STEP,
    EPOCH,
    TIME,
    GUARDS,
    GENERATION,
    LINEAGE,
    METRICS,
    TAGS,
    ITEMS,
    DROPPED,
    FILES,
    SEAL,
    MEMBERS
};
static const char *const member_names[MEMBERS] = { "cairn", "version", "requires", "id",     "run",        "parent",  "term",
                                                   "step",  "epoch",   "time",     "guards", "generation", "lineage", "metrics",
                                                   "tags",  "items",   "dropped",  "files",  "digest" };

static int read_version(struct decoder *decoder, cairn_error *err)
{
    int code = cn_json_u64(&decoder->json, &decoder->version, err);
    if (code || decoder->version == CN_FORMAT_VERSION) return code;
    return cn_error_set(err, CAIRN_E_VERSION, "format version %llu; this version of Cairn knows %d: use a newer one",
                        (unsigned long long)decoder->version, CN_FORMAT_VERSION);
}

static int read_member(struct decoder *decoder, int member, cairn_error *err)
{
    struct cn_manifest *manifest = &decoder->manifest;
    static const struct texts tags = { "tags", CN_MAX_TAGS, cn_layout_check_tag },
                              dropped = { "dropped items", CN_MAX_ITEMS, cn_layout_check_item };
    switch (member) {
    case KIND: return cn_json_string(&decoder->json, &decoder->kind, NULL, err);
    case VERSION: return read_version(decoder, err);
    case REQUIRES: return read_requires(decoder, err);
    case ID: return read_id(decoder, manifest->id, false, err);
    case RUN: return read_id(decoder, manifest->run_id, true, err);
    case PARENT: return read_id(decoder, manifest->parent_id, true, err);
    case TERM: return cn_json_u64(&decoder->json, &manifest->term, err);
    case STEP: return cn_json_u64(&decoder->json, &manifest->step, err);
    case EPOCH: return cn_json_f64(&decoder->json, &manifest->epoch, err);
    case TIME: return read_time(decoder, err);
    case GUARDS: return read_guards(decoder, err);
    case GENERATION: return cn_json_u64(&decoder->json, &manifest->generation, err);
    case LINEAGE: return read_lineage(decoder, err);
    case METRICS: return read_metrics(decoder, err);
    case TAGS: return read_texts(decoder, &tags, &manifest->tags, &manifest->tags_count, err);
    case ITEMS: return read_items(decoder, err);
    case DROPPED: return read_texts(decoder, &dropped, &manifest->dropped, &manifest->dropped_count, err);
    case FILES: return read_files(decoder, err);
    default: return cn_json_skip(&decoder->json, err);
    }
}

static int read_all(struct decoder *decoder, cairn_error *err)
{
    uint32_t seen = 0;
    const char *key;
    bool more;
    int code = cn_json_expect(&decoder->json, CN_JSON_OBJECT, "an object", err);
    while (!code && !(code = cn_json_next_key(&decoder->json, &key, NULL, &more, err)) && more) {
        int member = 0;
        while (member < MEMBERS && strcmp(key, member_names[member])) member++;
        if (member < MEMBERS && seen >> member & 1) return cn_json_fail(&decoder->json, err, "a member is given twice");
        if (member < MEMBERS) seen |= 1u << member;
        code = read_member(decoder, member, err);
    }
    if (!code) code = cn_json_expect(&decoder->json, CN_JSON_END, "the end", err);
    if (code) return code;
    if (seen != (1u << MEMBERS) - 1) return cn_error_set(err, CAIRN_E_FORMAT, "a member is missing");
    return strcmp(decoder->kind, "checkpoint") ? cn_error_set(err, CAIRN_E_FORMAT, "not a checkpoint's manifest") : CAIRN_OK;
}

int cn_manifest_decode(const void *data, size_t size, struct cn_pool *pool, struct cn_manifest *ret_manifest, cairn_error *err)
{
    if (size > CN_MAX_MANIFEST_BYTES)
        return cn_error_set(err, CAIRN_E_LIMIT, "larger than %llu bytes", (unsigned long long)CN_MAX_MANIFEST_BYTES);
    int code = cn_json_check_seal(data, size, err);
    if (code) return code;
    struct decoder decoder = { .pool = pool };
    cn_json_init(&decoder.json, data, size, pool);
    cn_buf_init(&decoder.list, pool->alloc, 16 * CN_MAX_MANIFEST_BYTES);
    cn_hash_init(&decoder.names, pool->alloc, 0x5eed ^ (uint64_t)(uintptr_t)pool);
    code = read_all(&decoder, err);
    cn_hash_done(&decoder.names);
    cn_buf_done(&decoder.list);
    if (!code) *ret_manifest = decoder.manifest;
    return code;
}

const struct cn_manifest_file *cn_manifest_find(const struct cn_manifest *manifest, const char *file_name)
{
    for (uint64_t i = 0; i < manifest->files_count; i++)
        if (!strcmp(manifest->files[i].name, file_name)) return &manifest->files[i];
    return NULL;
}

uint64_t cn_manifest_bytes(const struct cn_manifest *manifest)
{
    uint64_t total = 0;
    for (uint64_t i = 0; i < manifest->files_count; i++)
        if (!cn_add(total, manifest->files[i].size_bytes, &total)) return UINT64_MAX;
    return total;
}

bool cn_manifest_on_line(const struct cn_manifest *head, uint64_t term, uint64_t step)
{
    if (term == head->term) return step <= head->step;
    for (uint64_t i = 0; i < head->lineage_count; i++)
        if (head->lineage[i].term == term) return step <= head->lineage[i].step;
    return false;
}
