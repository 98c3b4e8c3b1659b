/* cairn ls: the runs of a store, or the checkpoints of a run. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli.h"

static const char *const standings[] = { "current", "superseded", "damaged", "foreign" };

static void describe_marks(const cairn_entry *entry, char *text, size_t size)
{
    text[0] = 0;
    const char *marks[] = { entry->is_latest ? "latest" : NULL, entry->is_head ? "head" : NULL, entry->is_best ? "best" : NULL };
    for (int i = 0; i < 3; i++)
        if (marks[i]) snprintf(text + strlen(text), size - strlen(text), "%s%s", text[0] ? "," : "", marks[i]);
    if (entry->pinned) snprintf(text + strlen(text), size - strlen(text), "%spinned", text[0] ? "," : "");
    for (size_t i = 0; i < entry->tags_count; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s%s", text[0] ? "," : "", entry->tags[i]);
}

static void describe_metrics(const cairn_entry *entry, char *text, size_t size)
{
    char number[32];
    text[0] = 0;
    for (size_t i = 0; i < entry->metrics_count && i < 3; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s%s=%s", i ? " " : "", entry->metrics[i].name,
                 cli_number(entry->metrics[i].value, number));
}

static void describe_state(const cairn_entry *entry, char *text, size_t size)
{
    bool readable = entry->standing == CAIRN_CURRENT || entry->standing == CAIRN_SUPERSEDED;
    snprintf(text, size, "%s%s%s", entry->standing == CAIRN_CURRENT ? "ok" : standings[entry->standing],
             readable && !entry->healthy ? ",unhealthy" : "", readable && !entry->exact ? ",inexact" : "");
    for (size_t i = 0; i < entry->dropped_count && readable; i++)
        snprintf(text + strlen(text), size - strlen(text), ",no %s", entry->dropped[i]);
}

static void add_row(struct table *table, const cairn_entry *entry)
{
    char step[32] = "-", size[32] = "-", tensors[32] = "-", time[32] = "-", marks[256], metrics[256], state[64];
    if (entry->standing <= CAIRN_SUPERSEDED) {
        snprintf(step, sizeof step, "%llu", (unsigned long long)entry->step);
        snprintf(tensors, sizeof tensors, "%llu", (unsigned long long)entry->tensors);
        cli_bytes(entry->bytes, size);
        cli_time(entry->time_ns, time);
    }
    describe_marks(entry, marks, sizeof marks);
    describe_metrics(entry, metrics, sizeof metrics);
    describe_state(entry, state, sizeof state);
    table_add(table, (const char *const[]){ step, state, size, marks, metrics, tensors, time, entry->name });
}

static void print_problems(const cairn_listing *listing)
{
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        if (!entry->problem) continue;
        char *name = cli_safe(entry->name), *problem = cli_safe(entry->problem);
        printf("%s: %s\n", name, problem);
        free(name);
        free(problem);
    }
}

static json_t *entry_json(const cairn_entry *entry)
{
    json_t *row = json_pack("{s:o, s:s}", "name", cli_json_text(entry->name), "standing", standings[entry->standing]);
    if (entry->problem) json_object_set_new(row, "problem", cli_json_text(entry->problem));
    if (entry->standing > CAIRN_SUPERSEDED) return row;
    char time[32];
    json_t *metrics = json_object(), *tags = json_array(), *dropped = json_array();
    for (size_t i = 0; i < entry->metrics_count; i++)
        json_object_set_new(metrics, entry->metrics[i].name, cli_json_number(entry->metrics[i].value));
    for (size_t i = 0; i < entry->tags_count; i++) json_array_append_new(tags, cli_json_text(entry->tags[i]));
    for (size_t i = 0; i < entry->dropped_count; i++) json_array_append_new(dropped, cli_json_text(entry->dropped[i]));
    json_object_update_new(row, json_pack("{s:b, s:o}", "pinned", entry->pinned, "dropped", dropped));
    json_object_update_new(row,
                           json_pack("{s:s, s:I, s:I, s:s, s:o, s:b, s:b, s:b, s:b, s:b, s:I, s:I, s:o, s:o}", "id", entry->id, "step",
                                     (json_int_t)entry->step, "term", (json_int_t)entry->term, "time", cli_time(entry->time_ns, time),
                                     "epoch", cli_json_number(entry->epoch), "healthy", entry->healthy, "exact", entry->exact, "latest",
                                     entry->is_latest, "head", entry->is_head, "best", entry->is_best, "size_bytes",
                                     (json_int_t)entry->bytes, "tensors", (json_int_t)entry->tensors, "metrics", metrics, "tags", tags));
    return row;
}

static int list_run(const struct cli *cli, const char *path)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_listing *listing;
    if (cairn_listing_open(path, &listing, &err)) return cli_fail(cli, &err);
    if (cli->json) {
        json_t *rows = json_array();
        for (size_t i = 0; i < cairn_listing_count(listing); i++) json_array_append_new(rows, entry_json(cairn_listing_entry(listing, i)));
        json_t *object = json_pack("{s:i, s:o, s:s, s:o}", "version", 1, "run", cli_json_text(path), "id", cairn_listing_run_id(listing),
                                   "checkpoints", rows);
        cairn_listing_close(listing);
        return cli_print_json(object);
    }
    struct table table = { .heads = { "STEP", "STATE", "SIZE", "MARKS", "METRICS", "TENSORS", "SAVED (UTC)", "FOLDER" },
                           .right = { true, false, true, false, false, true },
                           .columns = 8,
                           .wide = 4 };
    for (size_t i = 0; i < cairn_listing_count(listing); i++) add_row(&table, cairn_listing_entry(listing, i));
    if (table.count)
        table_print(&table);
    else
        puts("no checkpoints yet");
    print_problems(listing);
    cairn_listing_close(listing);
    return EXIT_FINE;
}

struct store_walk {
    const struct cli *cli;
    struct table table;
    json_t *rows;
};

static int add_run(void *user, const char *name)
{
    struct store_walk *walk = user;
    cairn_listing *listing;
    cairn_error err = CAIRN_ERROR_INIT;
    char *path = cli_path(walk->cli, name), count[32] = "-", latest[32] = "-", size[32] = "-", time[32] = "-", note[64] = "";
    uint64_t current = 0, bytes = 0;
    if (cairn_listing_open(path, &listing, &err))
        snprintf(note, sizeof note, "%.60s", err.message);
    else {
        for (size_t i = 0; i < cairn_listing_count(listing); i++) {
            const cairn_entry *entry = cairn_listing_entry(listing, i);
            current += entry->standing == CAIRN_CURRENT;
            bytes += entry->bytes;
            if (!entry->is_latest) continue;
            snprintf(latest, sizeof latest, "%llu", (unsigned long long)entry->step);
            cli_time(entry->time_ns, time);
        }
        snprintf(count, sizeof count, "%llu", (unsigned long long)current);
        cli_bytes(bytes, size);
        cairn_listing_close(listing);
    }
    if (walk->rows) {
        json_t *row =
            json_pack("{s:o, s:I, s:I}", "name", cli_json_text(name), "checkpoints", (json_int_t)current, "size_bytes", (json_int_t)bytes);
        if (err.code) json_object_set_new(row, "problem", cli_json_text(err.message));
        json_array_append_new(walk->rows, row);
    } else
        table_add(&walk->table, (const char *const[]){ name, count, latest, size, time, note });
    free(path);
    return 0;
}

static int list_store(const struct cli *cli)
{
    const char *store = cli->store ? cli->store : ".";
    cairn_error err = CAIRN_ERROR_INIT;
    struct store_walk walk = { .cli = cli,
                               .rows = cli->json ? json_array() : NULL,
                               .table = { .heads = { "RUN", "CHECKPOINTS", "LATEST", "SIZE", "SAVED (UTC)", "" },
                                          .right = { false, true, true, true },
                                          .columns = 6,
                                          .wide = 0 } };
    if (cairn_store_list(store, add_run, &walk, &err)) return cli_fail(cli, &err);
    if (cli->json) return cli_print_json(json_pack("{s:i, s:o, s:o}", "version", 1, "store", cli_json_text(store), "runs", walk.rows));
    if (walk.table.count)
        table_print(&walk.table);
    else
        puts("no runs here; -C names the folder that holds them");
    return EXIT_FINE;
}

int cmd_ls(const struct cli *cli)
{
    struct stat info;
    if (cli->arguments_count > 1) return cli_usage(cli, "one run at most");
    if (cli->arguments_count) {
        char *path = cli_path(cli, cli->arguments[0]);
        int code = list_run(cli, path);
        free(path);
        return code;
    }
    char *marker = cli_path(cli, "run.json");
    bool is_run = !stat(marker, &info);
    free(marker);
    return is_run ? list_run(cli, cli->store ? cli->store : ".") : list_store(cli);
}
