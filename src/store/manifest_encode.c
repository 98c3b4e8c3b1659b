/* Writing manifest.json (see manifest.h): a pure function of the struct, members in a fixed order. */
#include "store/manifest.h"

#include "base/json.h"
#include "base/limits.h"
#include "store/layout.h"
#include "store/utctime.h"

static const char *const kind_names[] = { "tensors", "own", "attached" };

static void put_text(struct cn_json_writer *writer, const char *key, const char *text)
{
    cn_json_key(writer, key);
    cn_json_put_string(writer, text);
}

static void put_number(struct cn_json_writer *writer, const char *key, uint64_t number)
{
    cn_json_key(writer, key);
    cn_json_put_u64(writer, number);
}

static void put_digest(struct cn_json_writer *writer, const char *key, const struct cn_digest *digest)
{
    char hex[CN_DIGEST_HEX_BYTES];
    cn_digest_hex(digest, hex);
    put_text(writer, key, hex);
}

static void put_identity(struct cn_json_writer *writer, const struct cn_manifest *manifest)
{
    char time[CN_UTC_BYTES];
    put_text(writer, "cairn", "checkpoint");
    put_number(writer, "version", CN_FORMAT_VERSION);
    cn_json_key(writer, "requires");
    cn_json_begin_array(writer);
    cn_json_end_array(writer);
    put_text(writer, "id", manifest->id);
    put_text(writer, "run", manifest->run_id);
    put_text(writer, "parent", manifest->parent_id);
    put_number(writer, "term", manifest->term);
    put_number(writer, "step", manifest->step);
    cn_json_key(writer, "epoch");
    cn_json_put_f64(writer, manifest->epoch);
    cn_utctime_format(manifest->time_ns, time);
    put_text(writer, "time", time);
}

static void put_guards(struct cn_json_writer *writer, const struct cn_manifest *manifest)
{
    cn_json_key(writer, "guards");
    cn_json_begin_object(writer);
    cn_json_key(writer, "healthy");
    cn_json_put_bool(writer, manifest->healthy);
    cn_json_key(writer, "exact");
    cn_json_put_bool(writer, manifest->exact);
    put_number(writer, "nan", manifest->nan_count);
    put_number(writer, "inf", manifest->inf_count);
    cn_json_end_object(writer);
}

static void put_lineage(struct cn_json_writer *writer, const struct cn_manifest *manifest)
{
    cn_json_key(writer, "lineage");
    cn_json_begin_array(writer);
    for (uint64_t i = 0; i < manifest->lineage_count; i++) {
        cn_json_begin_array(writer);
        cn_json_put_u64(writer, manifest->lineage[i].term);
        cn_json_put_u64(writer, manifest->lineage[i].step);
        cn_json_end_array(writer);
    }
    cn_json_end_array(writer);
}

static void put_texts(struct cn_json_writer *writer, const char *key, const char *const *texts, uint64_t count)
{
    cn_json_key(writer, key);
    cn_json_begin_array(writer);
    for (uint64_t i = 0; i < count; i++) cn_json_put_string(writer, texts[i]);
    cn_json_end_array(writer);
}

static void put_metrics(struct cn_json_writer *writer, const struct cn_manifest *manifest)
{
    cn_json_key(writer, "metrics");
    cn_json_begin_object(writer);
    for (uint64_t i = 0; i < manifest->metrics_count; i++) {
        cn_json_key(writer, manifest->metrics[i].name);
        cn_json_put_f64(writer, manifest->metrics[i].value);
    }
    cn_json_end_object(writer);
}

static void put_items(struct cn_json_writer *writer, const struct cn_manifest *manifest)
{
    cn_json_key(writer, "items");
    cn_json_begin_object(writer);
    for (uint64_t i = 0; i < manifest->items_count; i++) {
        cn_json_key(writer, manifest->items[i].name);
        cn_json_begin_object(writer);
        put_number(writer, "tensors", manifest->items[i].tensors);
        put_number(writer, "values", manifest->items[i].values);
        put_number(writer, "size", manifest->items[i].size_bytes);
        cn_json_end_object(writer);
    }
    cn_json_end_object(writer);
}

static void put_files(struct cn_json_writer *writer, const struct cn_manifest *manifest)
{
    cn_json_key(writer, "files");
    cn_json_begin_array(writer);
    for (uint64_t i = 0; i < manifest->files_count; i++) {
        const struct cn_manifest_file *file = &manifest->files[i];
        cn_json_newline(writer);
        cn_json_begin_object(writer);
        put_text(writer, "name", file->name);
        put_text(writer, "kind", kind_names[file->kind]);
        put_number(writer, "size", file->size_bytes);
        put_digest(writer, "digest", &file->digest);
        if (file->kind == CN_FILE_TENSORS) {
            put_number(writer, "header_size", file->header_bytes);
            put_digest(writer, "header_digest", &file->header_digest);
        }
        cn_json_end_object(writer);
    }
    cn_json_end_array(writer);
}

int cn_manifest_encode(const struct cn_manifest *manifest, struct cn_buf *buf, cairn_error *err)
{
    struct cn_json_writer writer = { .buf = buf };
    cn_json_begin_object(&writer);
    put_identity(&writer, manifest);
    put_guards(&writer, manifest);
    put_number(&writer, "generation", manifest->generation);
    put_lineage(&writer, manifest);
    put_metrics(&writer, manifest);
    put_texts(&writer, "tags", manifest->tags, manifest->tags_count);
    put_items(&writer, manifest);
    put_texts(&writer, "dropped", manifest->dropped, manifest->dropped_count);
    put_files(&writer, manifest);
    cn_json_seal(&writer);
    int code = cn_buf_check(buf, CN_NAME_MANIFEST, err);
    if (code) return code;
    if (buf->size > CN_MAX_MANIFEST_BYTES)
        return cn_error_set(err, CAIRN_E_LIMIT, "manifest.json would exceed %llu bytes: too many files, metrics or tags",
                            (unsigned long long)CN_MAX_MANIFEST_BYTES);
    return CAIRN_OK;
}
