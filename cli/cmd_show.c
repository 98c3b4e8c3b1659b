/* cairn show: what is in a checkpoint, a .safetensors file or a sharded folder. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { PAGE = 40, DEEPEST = 64 };

static char *shape_text(const cairn_tensor_info *tensor)
{
    size_t size = 3 + (size_t)tensor->rank * 22, used = 1;
    char *text = malloc(size);
    if (!text) abort();
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

static json_t *value_json(const cairn_value *value, int depth)
{
    size_t size = 0;
    const char *data = cairn_value_get_data(value, &size);
    json_t *object;
    if (depth > DEEPEST) return json_string("...");
    switch (cairn_value_kind(value)) {
    case CAIRN_NULL: return json_null();
    case CAIRN_BOOLEAN: return json_boolean(cairn_value_get_bool(value));
    case CAIRN_INT: return json_integer(cairn_value_get_int(value));
    case CAIRN_FLOAT: return cli_json_number(cairn_value_get_float(value));
    case CAIRN_LIST:
    case CAIRN_TUPLE:
        object = json_array();
        for (size_t i = 0; i < cairn_value_count(value); i++)
            json_array_append_new(object, value_json(cairn_value_at(value, i), depth + 1));
        return object;
    case CAIRN_MAP:
        object = json_object();
        for (size_t i = 0; i < cairn_value_count(value); i++) {
            json_t *key = value_json(cairn_value_key_at(value, i), depth + 1);
            char *text = json_is_string(key) ? strdup(json_string_value(key)) : json_dumps(key, JSON_ENCODE_ANY);
            json_object_set_new(object, text ? text : "?", value_json(cairn_value_at(value, i), depth + 1));
            free(text);
            json_decref(key);
        }
        return object;
    case CAIRN_TENSOR_REF: return json_pack("{s:o}", "tensor", cli_json_text(data));
    case CAIRN_BYTES: return json_pack("{s:I}", "bytes", (json_int_t)size);
    default: return cli_json_text(data);
    }
}

static bool is_leaf(const cairn_value *value)
{
    cairn_kind kind = cairn_value_kind(value);
    return kind != CAIRN_MAP && kind != CAIRN_LIST && kind != CAIRN_TUPLE;
}

/* The fewest digits that read back as the same number. */
static char *shortest(double number)
{
    char *text = malloc(40);
    if (!text) abort();
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, 40, "%.*g", digits, number);
        if (strtod(text, NULL) == number) break;
    }
    return text;
}

/* One line per plain value, by its path. References to tensors stand in the table of tensors. */
static void print_values(const cairn_value *value, const char *path, int depth)
{
    if (cairn_value_kind(value) == CAIRN_TENSOR_REF || depth > DEEPEST) return;
    if (is_leaf(value) || !cairn_value_count(value)) {
        json_t *json = value_json(value, depth);
        char *text = cairn_value_kind(value) == CAIRN_FLOAT ? shortest(cairn_value_get_float(value)) : json_dumps(json, JSON_ENCODE_ANY),
             *safe = cli_safe(text ? text : "?"), *name = cli_safe(path);
        printf("  %s = %s\n", name, safe);
        free(text);
        free(safe);
        free(name);
        json_decref(json);
        return;
    }
    for (size_t i = 0; i < cairn_value_count(value); i++) {
        char part[64], *below;
        const cairn_value *key = cairn_value_key_at(value, i);
        const char *name = key ? cairn_value_get_data(key, NULL) : NULL;
        if (!name) snprintf(part, sizeof part, "%zu", i), name = part;
        if (asprintf(&below, "%s%s%s", path, *path ? "/" : "", name) < 0) abort();
        print_values(cairn_value_at(value, i), below, depth + 1);
        free(below);
    }
}

static void print_summary(const cairn_checkpoint_info *info)
{
    char bytes[32], time[32], number[32];
    char *path = cli_safe(info->path);
    printf("%s\n", path);
    free(path);
    if (info->source == CAIRN_SOURCE_CHECKPOINT) {
        printf("  step %llu, term %llu, saved %s UTC, %s%s\n  id %s\n", (unsigned long long)info->entry.step,
               (unsigned long long)info->entry.term, cli_time(info->entry.time_ns, time),
               info->entry.healthy ? "healthy" : "UNHEALTHY (NaN or Inf)", info->entry.exact ? "" : ", inexact", info->entry.id);
        for (size_t i = 0; i < info->entry.metrics_count; i++) {
            char *name = cli_safe(info->entry.metrics[i].name);
            printf("  %s = %s\n", name, cli_number(info->entry.metrics[i].value, number));
            free(name);
        }
    } else
        puts(info->source == CAIRN_SOURCE_FILE ? "  a safetensors file that Cairn did not write"
                                               : "  a model folder that Cairn did not write");
    printf("  %zu tensor%s, %s, in %zu file%s\n", info->tensors_count, cli_s(info->tensors_count), cli_bytes(info->tensor_bytes, bytes),
           info->files_count, cli_s(info->files_count));
}

static json_t *show_json(const cairn_checkpoint *checkpoint)
{
    static const char *const sources[] = { "checkpoint", "file", "sharded" };
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    json_t *tensors = json_array(), *files = json_array(), *metrics = json_object();
    for (size_t i = 0; i < info->tensors_count; i++) {
        const cairn_tensor_info *tensor = cairn_checkpoint_tensor(checkpoint, i);
        json_t *shape = json_array();
        for (uint32_t k = 0; k < tensor->rank; k++) json_array_append_new(shape, json_integer((json_int_t)tensor->shape[k]));
        json_t *row =
            json_pack("{s:o, s:o, s:s, s:o, s:I, s:o, s:I}", "item", cli_json_text(tensor->item), "name", cli_json_text(tensor->name),
                      "dtype", cairn_dtype_name(tensor->dtype), "shape", shape, "size_bytes", (json_int_t)tensor->size_bytes, "file",
                      cli_json_text(tensor->file), "offset", (json_int_t)tensor->file_offset);
        if (tensor->digest[0]) json_object_set_new(row, "digest", json_string(tensor->digest));
        if (tensor->statistics.known)
            json_object_set_new(row, "statistics",
                                json_pack("{s:o, s:o, s:I, s:I}", "max_abs", cli_json_number(tensor->statistics.max_abs), "norm",
                                          cli_json_number(tensor->statistics.norm), "nan", (json_int_t)tensor->statistics.nan_count, "inf",
                                          (json_int_t)tensor->statistics.inf_count));
        json_array_append_new(tensors, row);
    }
    for (size_t i = 0; i < info->files_count; i++) {
        const cairn_file_info *file = cairn_checkpoint_file(checkpoint, i);
        json_array_append_new(files, json_pack("{s:o, s:I, s:s}", "name", cli_json_text(file->name), "size_bytes",
                                               (json_int_t)file->size_bytes, "digest", file->digest));
    }
    for (size_t i = 0; i < info->entry.metrics_count; i++)
        json_object_set_new(metrics, info->entry.metrics[i].name, cli_json_number(info->entry.metrics[i].value));
    const cairn_value *values = cairn_checkpoint_values(checkpoint);
    json_t *object =
        json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o}", "version", 1, "source", sources[info->source], "path", cli_json_text(info->path),
                  "metrics", metrics, "files", files, "tensors", tensors, "values", values ? value_json(values, 0) : json_null());
    if (info->source == CAIRN_SOURCE_CHECKPOINT)
        json_object_update_new(object,
                               json_pack("{s:s, s:I, s:I, s:b, s:b}", "id", info->entry.id, "step", (json_int_t)info->entry.step, "term",
                                         (json_int_t)info->entry.term, "healthy", info->entry.healthy, "exact", info->entry.exact));
    return object;
}

int cmd_show(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_checkpoint *checkpoint;
    if (cli->arguments_count != 1) return cli_usage(cli, "give one checkpoint or file");
    if (cairn_checkpoint_open(cli->store, cli->arguments[0], &checkpoint, &err)) return cli_fail(cli, &err);
    const cairn_checkpoint_info *info = cairn_checkpoint_get_info(checkpoint);
    int code = EXIT_FINE;
    if (cli->json)
        code = cli_print_json(show_json(checkpoint));
    else {
        print_summary(info);
        struct table table = { .heads = { "ITEM", "TENSOR", "DTYPE", "SHAPE", "SIZE", "MAX", "NORM", "" },
                               .right = { 0, 0, 0, 0, 1, 1, 1, 0 },
                               .columns = 8,
                               .wide = 1 };
        size_t shown = cli->all || info->tensors_count <= PAGE ? info->tensors_count : PAGE;
        for (size_t i = 0; i < shown; i++) add_tensor(&table, cairn_checkpoint_tensor(checkpoint, i));
        if (shown) table_print(&table);
        if (shown < info->tensors_count) printf("... and %zu more; --all shows them\n", info->tensors_count - shown);
        const cairn_value *values = cairn_checkpoint_values(checkpoint);
        if (values && cairn_value_count(values)) puts("values");
        if (values && cairn_value_count(values)) print_values(values, "", 0);
    }
    cairn_checkpoint_close(checkpoint);
    return code;
}
