/* What two checkpoints were saved with: metrics, and the config text. Told, but it does not decide whether they are equal. */
#include <stdlib.h>
#include <string.h>

#include "diff.h"

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
    diff_line(diff, where, what);
    free(where);
    free(what);
}

void diff_metrics(struct diff *diff)
{
    const cairn_entry *a = &cairn_checkpoint_get_info(diff->a)->entry, *b = &cairn_checkpoint_get_info(diff->b)->entry;
    for (size_t i = 0; i < a->metrics_count; i++) {
        const cairn_metric *other = find_metric(diff->b, a->metrics[i].name);
        if (!other || !diff_same_bits(other->value, a->metrics[i].value)) report_metric(diff, &a->metrics[i], other);
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

void diff_config(struct diff *diff)
{
    char *a = config_of(diff->a), *b = config_of(diff->b), *what = NULL;
    if (a && b && strcmp(a, b)) what = diff_tell_texts(a, b);
    if (!a != !b) what = cli_format("only in %s", a ? "A" : "B");
    if (what) diff_line(diff, "config", what);
    free(a);
    free(b);
    free(what);
}

void diff_put_config(struct diff *diff, struct json *json)
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
