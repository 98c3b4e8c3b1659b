/* cairn diff: two checkpoints tensor by tensor, value by value. What differs is a line, or a row of JSON. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

enum { PAGE = 40 };

/* Whether one more line fits what is printed without --all. */
static bool is_shown(struct diff *diff)
{
    return diff->reported++ < PAGE || diff->cli->all;
}

void diff_line(struct diff *diff, const char *where, const char *what)
{
    if (!is_shown(diff)) return;
    char *safe_where = cli_safe(where), *safe = cli_safe(what);
    progress_wipe(&diff->progress);
    printf("%s: %s\n", safe_where, safe);
    free(safe_where);
    free(safe);
}

void diff_item_line(struct diff *diff, const char *item, const char *name, const char *what)
{
    char *where = cli_format("%s%s%s", item, *name ? ":" : "", name); /* without a name: all of the item */
    diff_line(diff, where, what);
    free(where);
}

void diff_open_row(struct diff *diff, const char *item, const char *name, const char *what)
{
    json_open(&diff->rows, NULL, '{');
    json_text(&diff->rows, "item", item);
    json_text(&diff->rows, "name", name);
    json_text(&diff->rows, "difference", what);
}

void diff_report(struct diff *diff, const char *item, const char *name, const char *what)
{
    if (!diff->cli->json) {
        diff_item_line(diff, item, name, what);
        return;
    }
    diff_open_row(diff, item, name, what);
    json_close(&diff->rows, '}');
}

char *diff_tell_texts(const char *a, const char *b)
{
    enum { BEFORE = 20 }; /* where they do not fit: from a little before the place where they part */
    bool fit = strlen(a) <= DIFF_SHOWN_BYTES && strlen(b) <= DIFF_SHOWN_BYTES;
    size_t at = 0;
    while (a[at] && a[at] == b[at]) at++;
    at = at > BEFORE && !fit ? at - BEFORE : 0;
    while (at && ((unsigned char)a[at] & 0xc0) == 0x80) at--;
    const char *dots = at ? "..." : "";
    char *text_a = cli_cut(cli_copy(a + at), DIFF_SHOWN_BYTES), *text_b = cli_cut(cli_copy(b + at), DIFF_SHOWN_BYTES),
         *what = cli_format("%s%s -> %s%s", dots, text_a, dots, text_b);
    free(text_a);
    free(text_b);
    return what;
}

static int print_json(struct diff *diff, bool equal)
{
    struct json json;
    json_start(&json, 0);
    json_open(&json, NULL, '{');
    json_count(&json, "version", 1);
    json_truth(&json, "equal", equal);
    json_count(&json, "same", diff->same);
    json_count(&json, "by_digest", diff->by_digest);
    json_count(&json, "different", diff->different);
    json_count(&json, "only_a", diff->only_a);
    json_count(&json, "only_b", diff->only_b);
    json_count(&json, "values_different", diff->values_different);
    json_splice(&json, "differences", &diff->rows);
    json_splice(&json, "metrics", &diff->metrics);
    diff_put_config(diff, &json);
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
        printf("identical%s: %llu tensor%s and all values%s\n", diff->by_digest ? " by their digests" : "", (unsigned long long)diff->same,
               cli_s(diff->same), diff->by_digest ? "" : ", bit for bit");
    else
        printf("tensors: %llu identical, %llu different, %llu only in A, %llu only in B; values: %llu different\n",
               (unsigned long long)diff->same, (unsigned long long)diff->different, (unsigned long long)diff->only_a,
               (unsigned long long)diff->only_b, (unsigned long long)diff->values_different);
    return equal ? EXIT_FINE : EXIT_NO;
}

bool diff_is_ours(const cairn_checkpoint *checkpoint)
{
    return cairn_checkpoint_get_info(checkpoint)->source == CAIRN_SOURCE_CHECKPOINT;
}

static int compare(struct diff *diff, cairn_error *err)
{
    int code = diff_tensors(diff, err);
    if (code) return code;
    diff_values(diff);
    if (!diff_is_ours(diff->a) || !diff_is_ours(diff->b)) return CAIRN_OK;
    diff_metrics(diff);
    if (!diff->cli->json) diff_config(diff);
    return CAIRN_OK;
}

/* 1 is an answer here: what cannot be read, damaged or not, is a failure. */
static int fail(const struct cli *cli, const char *name, const cairn_error *err)
{
    int code = name ? cli_fail_file(cli, name, err) : cli_fail(cli, err);
    return code == EXIT_NO ? EXIT_FAILED : code;
}

static int compare_open(const struct cli *cli, const cairn_checkpoint *a, const cairn_checkpoint *b)
{
    cairn_error err = CAIRN_ERROR_INIT;
    struct diff diff = { .cli = cli, .a = a, .b = b, .room_a = cli_new(DIFF_PIECE, 1), .room_b = cli_new(DIFF_PIECE, 1) };
    json_start(&diff.rows, DIFF_ROW_DEPTH);
    json_start(&diff.metrics, DIFF_ROW_DEPTH);
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
