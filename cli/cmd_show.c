/* cairn show: what is in a checkpoint, a .safetensors file or a sharded folder. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { PAGE = 40 /* tensors; entries of a list or map */, LONG_BYTES = 200 };

static char *shape_text(const cairn_tensor_info *tensor)
{
    size_t size = 3 + (size_t)tensor->rank * 22, used = 1;
    char *text = cli_new(size, 1);
    text[0] = '[';
    for (uint32_t i = 0; i < tensor->rank; i++)
        used += (size_t)snprintf(text + used, size - used, "%s%llu", i ? "," : "", (unsigned long long)tensor->shape[i]);
    snprintf(text + used, size - used, "]");
    return text;
}

static void add_tensor(struct table *table, const cairn_tensor_info *tensor)
{
    char bytes[32], largest[32] = "-", norm[32] = "-", odd[48] = "";
    char *shape = shape_text(tensor);
    if (tensor->statistics.known) {
        cli_number(tensor->statistics.max_abs, largest);
        cli_number(tensor->statistics.norm, norm);
        if (tensor->statistics.nan_count || tensor->statistics.inf_count)
            snprintf(odd, sizeof odd, "%llu NaN %llu Inf", (unsigned long long)tensor->statistics.nan_count,
                     (unsigned long long)tensor->statistics.inf_count);
    }
    table_add(table, (const char *const[]){ tensor->item, tensor->name, cairn_dtype_name(tensor->dtype), shape,
                                            cli_bytes(tensor->size_bytes, bytes), largest, norm, odd });
    free(shape);
}

static bool is_leaf(const cairn_value *value)
{
    cairn_kind kind = cairn_value_kind(value);
    return kind != CAIRN_MAP && kind != CAIRN_LIST && kind != CAIRN_TUPLE;
}

static void print_value(const struct cli *cli, const cairn_value *value, const char *path)
{
    char *text = value_text(value);
    if (!cli->all) text = cli_cut(text, LONG_BYTES);
    char *safe = cli_safe(text), *name = cli_safe(path);
    printf("  %s = %s\n", name, safe);
    free(text);
    free(safe);
    free(name);
}

static void print_rest(const cairn_value *value, size_t from, const char *path)
{
    size_t left = 0;
    for (size_t i = from; i < cairn_value_count(value); i++) left += value_is_plain(cairn_value_at(value, i));
    char *name = cli_safe(path);
    printf("  %s: %zu more; --all shows them\n", name, left);
    free(name);
}

/* One line per plain value, by its path. References to tensors stand in the table of tensors. */
static void print_values(const struct cli *cli, const cairn_value *value, const char *path, int depth)
{
    size_t count = cairn_value_count(value), shown = 0;
    if (cairn_value_kind(value) == CAIRN_TENSOR_REF || depth > VALUE_DEEPEST) return;
    if (is_leaf(value) || !count) {
        print_value(cli, value, path);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        if (!value_is_plain(cairn_value_at(value, i))) continue;
        if (depth && shown++ == PAGE && !cli->all) {
            print_rest(value, i, path);
            return;
        }
        const cairn_value *key = cairn_value_key_at(value, i);
        char *name = key ? value_key_text(key) : cli_format("%zu", i), *below = cli_format("%s%s%s", path, *path ? "/" : "", name);
        print_values(cli, cairn_value_at(value, i), below, depth + 1);
        free(below);
        free(name);
    }
}

/* Of a file that Cairn did not write these are its metadata, which may be empty. */
static const cairn_value *values_to_print(const cairn_checkpoint *checkpoint)
{
    const cairn_value *values = cairn_checkpoint_values(checkpoint);
    bool is_ours = cairn_checkpoint_get_info(checkpoint)->source == CAIRN_SOURCE_CHECKPOINT;
    if (!cairn_value_count(is_ours ? values : cairn_value_find(values, "__metadata__"))) return NULL;
    return value_is_plain(values) ? values : NULL;
}

/* provenance.json has one member a line; what it says of itself is left out. */
static void print_provenance(const char *text)
{
    puts("provenance");
    for (const char *line = text; line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t size = strcspn(line, "\n");
        const char *colon = memchr(line, ':', size);
        if (*line != '"' || !colon || !strncmp(line, "\"digest\"", 8)) continue;
        size -= line[size - 1] == ',';
        char *member = cli_format("%.*s = %.*s", (int)(colon - line) - 2, line + 1, (int)(line + size - colon) - 1, colon + 1),
             *safe = cli_safe(member);
        printf("  %s\n", safe);
        free(member);
        free(safe);
    }
}

static void print_marks(const cairn_entry *entry)
{
    char number[32];
    for (size_t i = 0; i < entry->metrics_count; i++) {
        char *name = cli_safe(entry->metrics[i].name);
        printf("  %s = %s\n", name, cli_number(entry->metrics[i].value, number));
        free(name);
    }
    for (size_t i = 0; i < entry->tags_count; i++) {
        char *tag = cli_safe(entry->tags[i]);
        printf("%s'%s'", i ? ", " : "  tags: ", tag);
        free(tag);
    }
    if (entry->tags_count) putchar('\n');
    if (entry->pinned) puts("  pinned");
}

static void print_saved(const cairn_entry *entry)
{
    char time[32];
    printf("  step %llu, term %llu, saved %s UTC, %s%s\n  id %s\n", (unsigned long long)entry->step, (unsigned long long)entry->term,
           cli_time(entry->time_ns, time), entry->healthy ? "healthy" : "UNHEALTHY (NaN or Inf)", entry->exact ? "" : ", inexact",
           entry->id);
    print_marks(entry);
}

static void print_foreign(const cairn_checkpoint_info *info)
{
    char *holder = info->source == CAIRN_SOURCE_FILE ? cli_holder(info->path) : NULL, *safe = cli_safe(holder ? holder : "");
    if (holder)
        printf("  a file of the checkpoint %s\n", safe);
    else
        puts(info->source == CAIRN_SOURCE_FILE ? "  a safetensors file that Cairn did not write"
                                               : "  a model folder that Cairn did not write");
    free(safe);
    free(holder);
}

static void print_summary(const cairn_checkpoint_info *info)
{
    char bytes[32], *path = cli_safe(info->path);
    printf("%s\n", path);
    free(path);
    if (info->source == CAIRN_SOURCE_CHECKPOINT)
        print_saved(&info->entry);
    else
        print_foreign(info);
    printf("  %zu tensor%s, %s, in %zu file%s\n", info->tensors_count, cli_s(info->tensors_count), cli_bytes(info->tensor_bytes, bytes),
           info->files_count, cli_s(info->files_count));
}

static void print_checkpoint(const struct cli *cli, const cairn_checkpoint *checkpoint)
{
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    const cairn_value *values = values_to_print(checkpoint);
    const char *provenance = cairn_checkpoint_provenance(checkpoint);
    struct table table = { .heads = { "ITEM", "TENSOR", "DTYPE", "SHAPE", "SIZE", "MAX", "NORM", "" },
                           .right = { 0, 0, 0, 0, 1, 1, 1, 0 },
                           .columns = 8,
                           .wide = 1 };
    size_t shown = cli->all || info->tensors_count <= PAGE ? info->tensors_count : PAGE;
    print_summary(info);
    for (size_t i = 0; i < shown; i++) add_tensor(&table, cairn_checkpoint_tensor(checkpoint, i));
    if (shown) table_print(&table);
    if (shown < info->tensors_count) printf("... and %zu more; --all shows them\n", info->tensors_count - shown);
    if (values) puts("values");
    if (values) print_values(cli, values, "", 0);
    if (provenance) print_provenance(provenance);
}

/* -------------------------------------------------------------------------------------------------------------------- JSON */

static void put_statistics(struct json *json, const cairn_statistics *statistics)
{
    json_open(json, "statistics", '{');
    json_number(json, "max_abs", statistics->max_abs);
    json_number(json, "norm", statistics->norm);
    json_count(json, "nan", statistics->nan_count);
    json_count(json, "inf", statistics->inf_count);
    json_close(json, '}');
}

static void put_tensor(struct json *json, const cairn_tensor_info *tensor)
{
    json_open(json, NULL, '{');
    json_text(json, "item", tensor->item);
    json_text(json, "name", tensor->name);
    json_text(json, "dtype", cairn_dtype_name(tensor->dtype));
    json_open(json, "shape", '[');
    for (uint32_t i = 0; i < tensor->rank; i++) json_count(json, NULL, tensor->shape[i]);
    json_close(json, ']');
    json_count(json, "size_bytes", tensor->size_bytes);
    json_text(json, "file", tensor->file);
    json_count(json, "offset", tensor->file_offset);
    if (tensor->digest[0]) json_text(json, "digest", tensor->digest);
    if (tensor->statistics.known) put_statistics(json, &tensor->statistics);
    json_close(json, '}');
}

static void put_files(struct json *json, const cairn_checkpoint *checkpoint)
{
    const cairn_file_info *file;
    json_open(json, "files", '[');
    for (size_t i = 0; (file = cairn_checkpoint_file(checkpoint, i)); i++) {
        json_open(json, NULL, '{');
        json_text(json, "name", file->name);
        json_count(json, "size_bytes", file->size_bytes);
        json_text(json, "digest", file->digest);
        json_close(json, '}');
    }
    json_close(json, ']');
}

static void put_saved(struct json *json, const cairn_checkpoint *checkpoint)
{
    const cairn_entry *entry = &cairn_checkpoint_get_info(checkpoint)->entry;
    const char *provenance = cairn_checkpoint_provenance(checkpoint);
    entry_json(json, entry);
    json_truth(json, "pinned", entry->pinned);
    json_texts(json, "tags", entry->tags, entry->tags_count);
    if (provenance) json_text(json, "provenance", provenance);
}

static int print_json(const cairn_checkpoint *checkpoint)
{
    static const char *const sources[] = { "checkpoint", "file", "sharded" };
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    const cairn_tensor_info *tensor;
    const cairn_value *values = cairn_checkpoint_values(checkpoint);
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_text(&json, "source", sources[info->source]);
    json_text(&json, "path", info->path);
    json_open(&json, "metrics", '{');
    for (size_t i = 0; i < info->entry.metrics_count; i++) json_number(&json, info->entry.metrics[i].name, info->entry.metrics[i].value);
    json_close(&json, '}');
    put_files(&json, checkpoint);
    json_open(&json, "tensors", '[');
    for (size_t i = 0; (tensor = cairn_checkpoint_tensor(checkpoint, i)); i++) put_tensor(&json, tensor);
    json_close(&json, ']');
    if (values)
        value_json(&json, "values", values, 0);
    else
        json_null(&json, "values");
    if (info->source == CAIRN_SOURCE_CHECKPOINT) put_saved(&json, checkpoint);
    json_close(&json, '}');
    return json_print(&json);
}

int cmd_show(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_checkpoint *checkpoint;
    int code = EXIT_FINE;
    if (cli->arguments_count != 1) return cli_usage(cli, "give one checkpoint or file");
    if (cairn_checkpoint_open(cli->store, cli->arguments[0], &checkpoint, &err)) return cli_fail_file(cli, cli->arguments[0], &err);
    if (cli->json)
        code = print_json(checkpoint);
    else
        print_checkpoint(cli, checkpoint);
    cairn_checkpoint_close(checkpoint);
    return code;
}
