/* cairn ls: the runs of a store, or the checkpoints of a run. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

static const char *const standings[] = { "current", "superseded", "damaged", "foreign" };

enum { TAGS_SHOWN = 5 };

/* MORE after what text holds; takes text. */
static char *join(char *text, const char *separator, const char *more)
{
    char *joined = cli_format("%s%s%s", text, *text ? separator : "", more);
    free(text);
    return joined;
}

/* Tags are quoted, for one may be called as a mark is or hold a comma. None has a space. Those that are too many are counted: show has all. */
static char *describe_marks(const cairn_entry *entry)
{
    char *text = cli_copy("");
    if (entry->is_latest) text = join(text, ",", "latest");
    if (entry->is_head) text = join(text, ",", "head");
    if (entry->is_best) text = join(text, ",", "best");
    if (entry->pinned) text = join(text, ",", "pinned");
    for (size_t i = 0; i < entry->tags_count && i < TAGS_SHOWN; i++) {
        char *quoted = cli_format("'%s'", entry->tags[i]);
        text = join(text, " ", quoted);
        free(quoted);
    }
    if (entry->tags_count <= TAGS_SHOWN) return text;
    char *all = cli_format("%s +%zu", text, entry->tags_count - TAGS_SHOWN);
    free(text);
    return all;
}

static void describe_metrics(const cairn_entry *entry, char *text, size_t size)
{
    char number[32];
    text[0] = 0;
    for (size_t i = 0; i < entry->metrics_count && i < 3; i++)
        snprintf(text + strlen(text), size - strlen(text), "%s%s=%s", i ? " " : "", entry->metrics[i].name,
                 cli_number(entry->metrics[i].value, number));
}

static bool is_unreadable(const char *run, const cairn_entry *entry)
{
    char *path = cli_format("%s/%s", run, entry->name);
    bool unreadable = entry->standing == CAIRN_DAMAGED && cli_is_unreadable(path);
    free(path);
    return unreadable;
}

static void describe_state(const char *run, const cairn_entry *entry, char *text, size_t size)
{
    const char *standing = is_unreadable(run, entry) ? "unreadable" : entry->standing == CAIRN_CURRENT ? "ok" : standings[entry->standing];
    bool readable = entry->standing == CAIRN_CURRENT || entry->standing == CAIRN_SUPERSEDED;
    snprintf(text, size, "%s%s%s", standing, readable && !entry->healthy ? ",unhealthy" : "", readable && !entry->exact ? ",inexact" : "");
    for (size_t i = 0; i < entry->dropped_count && readable; i++)
        snprintf(text + strlen(text), size - strlen(text), ",no %s", entry->dropped[i]);
}

static void add_row(struct table *table, const char *run, const cairn_entry *entry)
{
    char step[32] = "-", size[32] = "-", tensors[32] = "-", time[32] = "-", metrics[256], state[64], *marks = describe_marks(entry);
    if (entry->standing <= CAIRN_SUPERSEDED) {
        snprintf(step, sizeof step, "%llu", (unsigned long long)entry->step);
        snprintf(tensors, sizeof tensors, "%llu", (unsigned long long)entry->tensors);
        cli_bytes(entry->bytes, size);
        cli_time(entry->time_ns, time);
    }
    describe_metrics(entry, metrics, sizeof metrics);
    describe_state(run, entry, state, sizeof state);
    table_add(table, (const char *const[]){ step, state, size, marks, metrics, tensors, time, entry->name });
    free(marks);
}

/* "NAME: PROBLEM", where the problem does not begin with the name itself. */
static void print_problem(const char *name, const char *problem)
{
    char *safe_name = cli_safe(name), *safe = cli_safe(problem);
    if (strncmp(problem, name, strlen(name)))
        printf("%s: %s\n", safe_name, safe);
    else
        puts(safe);
    free(safe_name);
    free(safe);
}

static void put_saved(struct json *json, const cairn_entry *entry)
{
    json_truth(json, "pinned", entry->pinned);
    json_texts(json, "dropped", entry->dropped, entry->dropped_count);
    entry_json(json, entry);
    json_truth(json, "latest", entry->is_latest);
    json_truth(json, "head", entry->is_head);
    json_truth(json, "best", entry->is_best);
    json_count(json, "size_bytes", entry->bytes);
    json_count(json, "tensors", entry->tensors);
    json_open(json, "metrics", '{');
    for (size_t i = 0; i < entry->metrics_count; i++) json_number(json, entry->metrics[i].name, entry->metrics[i].value);
    json_close(json, '}');
    json_texts(json, "tags", entry->tags, entry->tags_count);
}

static void put_entry(struct json *json, const char *run, const cairn_entry *entry)
{
    json_open(json, NULL, '{');
    json_text(json, "name", entry->name);
    json_text(json, "standing", standings[entry->standing]);
    if (is_unreadable(run, entry)) json_truth(json, "unreadable", true);
    if (entry->problem) json_text(json, "problem", entry->problem);
    if (entry->standing <= CAIRN_SUPERSEDED) put_saved(json, entry);
    json_close(json, '}');
}

static int print_run_json(const char *path, const cairn_listing *listing)
{
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_text(&json, "run", path);
    json_text(&json, "id", cairn_listing_run_id(listing));
    json_open(&json, "checkpoints", '[');
    for (size_t i = 0; i < cairn_listing_count(listing); i++) put_entry(&json, path, cairn_listing_entry(listing, i));
    json_close(&json, ']');
    json_close(&json, '}');
    return json_print(&json);
}

static void print_run(const char *path, const cairn_listing *listing)
{
    struct table table = { .heads = { "STEP", "STATE", "SIZE", "MARKS", "METRICS", "TENSORS", "SAVED (UTC)", "FOLDER" },
                           .right = { true, false, true, false, false, true },
                           .columns = 8,
                           .wide = 4 };
    size_t count = cairn_listing_count(listing);
    for (size_t i = 0; i < count; i++) add_row(&table, path, cairn_listing_entry(listing, i));
    if (count)
        table_print(&table);
    else
        puts("no checkpoints yet");
    for (size_t i = 0; i < count; i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        if (entry->problem) print_problem(entry->name, entry->problem);
    }
}

/* name: as it was given. */
static int list_run(const struct cli *cli, const char *name, const char *path)
{
    cairn_error err = CAIRN_ERROR_INIT;
    cairn_listing *listing;
    int code = EXIT_FINE;
    if (cairn_listing_open(path, &listing, &err)) return cli_fail_run(cli, name, &err);
    if (cli->json)
        code = print_run_json(path, listing);
    else
        print_run(path, listing);
    cairn_listing_close(listing);
    return code;
}

struct run_problem {
    char *run, *text;
};

struct store_walk {
    const struct cli *cli;
    struct table table;
    struct json json;
    struct run_problem *problems;
    size_t problems_count;
};

/* Of a run that cannot be listed the table has the name alone; why stands below it. */
static void note_problem(struct store_walk *walk, const char *name, const cairn_error *err)
{
    if (err->code == CAIRN_E_NOMEM) cli_no_memory();
    walk->problems = cli_grow(walk->problems, walk->problems_count + 1, sizeof *walk->problems);
    walk->problems[walk->problems_count++] = (struct run_problem){ cli_copy(name), cli_copy(err->message) };
}

struct run_figures {
    uint64_t current, bytes;
    const cairn_entry *latest; /* or NULL */
};

static void put_run(struct json *json, const char *name, const struct run_figures *figures, const cairn_error *err)
{
    json_open(json, NULL, '{');
    json_text(json, "name", name);
    json_count(json, "checkpoints", figures->current);
    json_count(json, "size_bytes", figures->bytes);
    if (err->code) json_text(json, "problem", err->message);
    json_close(json, '}');
}

static void add_run_row(struct table *table, const char *name, const struct run_figures *figures, bool known)
{
    char count[32] = "-", latest[32] = "-", size[32] = "-", time[32] = "-";
    if (figures->latest) {
        snprintf(latest, sizeof latest, "%llu", (unsigned long long)figures->latest->step);
        cli_time(figures->latest->time_ns, time);
    }
    if (known) {
        snprintf(count, sizeof count, "%llu", (unsigned long long)figures->current);
        cli_bytes(figures->bytes, size);
    }
    table_add(table, (const char *const[]){ name, count, latest, size, time });
}

static int add_run(void *user, const char *name)
{
    struct store_walk *walk = user;
    struct run_figures figures = { 0 };
    cairn_listing *listing = NULL;
    cairn_error err = CAIRN_ERROR_INIT;
    char *path = cli_path(walk->cli, name);
    if (cairn_listing_open(path, &listing, &err)) note_problem(walk, name, &err);
    for (size_t i = 0; i < cairn_listing_count(listing); i++) {
        const cairn_entry *entry = cairn_listing_entry(listing, i);
        figures.current += entry->standing == CAIRN_CURRENT;
        figures.bytes += entry->bytes;
        if (entry->is_latest) figures.latest = entry;
    }
    if (walk->cli->json)
        put_run(&walk->json, name, &figures, &err);
    else
        add_run_row(&walk->table, name, &figures, listing != NULL);
    cairn_listing_close(listing);
    free(path);
    return 0;
}

static void print_store(struct store_walk *walk)
{
    if (walk->table.count)
        table_print(&walk->table);
    else
        puts("no runs here; -C names the folder that holds them");
    for (size_t i = 0; i < walk->problems_count; i++) print_problem(walk->problems[i].run, walk->problems[i].text);
}

/* A run that cannot be listed hides no other one; the exit status tells of it. */
static int list_store(const struct cli *cli)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct store_walk walk = { .cli = cli,
                               .table = { .heads = { "RUN", "CHECKPOINTS", "LATEST", "SIZE", "SAVED (UTC)" },
                                          .right = { false, true, true, true },
                                          .columns = 5,
                                          .wide = 0 } };
    json_start(&walk.json, 0);
    json_open(&walk.json, NULL, '{');
    json_count(&walk.json, "version", 1);
    json_text(&walk.json, "store", cli_store(cli));
    json_open(&walk.json, "runs", '[');
    int code = cairn_store_list(cli_store(cli), add_run, &walk, &err) ? cli_fail_store(cli, &err) : EXIT_FINE;
    json_close(&walk.json, ']');
    json_close(&walk.json, '}');
    if (!code && cli->json)
        code = json_print(&walk.json);
    else if (!code)
        print_store(&walk);
    json_drop(&walk.json);
    if (!code && walk.problems_count) code = EXIT_NO;
    for (size_t i = 0; i < walk.problems_count; i++) {
        free(walk.problems[i].run);
        free(walk.problems[i].text);
    }
    free(walk.problems);
    return code;
}

int cmd_ls(const struct cli *cli)
{
    if (cli->arguments_count > 1) return cli_usage(cli, "one run at most");
    if (!cli->arguments_count) return cli_is_run(cli_store(cli)) ? list_run(cli, ".", cli_store(cli)) : list_store(cli);
    char *path = cli_path(cli, cli->arguments[0]);
    int code = list_run(cli, cli->arguments[0], path);
    free(path);
    return code;
}
