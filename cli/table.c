/* Tables that fit the terminal: columns as wide as their cells; when that is too much, the wide column is cut, then the last columns go. */
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "cli.h"

enum { GAP = 2, LEAST_WIDTH = 8 };

bool cli_colour(FILE *stream)
{
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(stream)) && !(no && *no) && !(term && !strcmp(term, "dumb"));
}

int cli_width(void)
{
    const char *columns = getenv("COLUMNS");
    struct winsize size;
    if (columns && atoi(columns) >= 20) return atoi(columns);
    if (isatty(1) && !ioctl(1, TIOCGWINSZ, &size) && size.ws_col >= 20) return size.ws_col;
    return isatty(1) ? 80 : 100000;
}

/* Code points, good enough for widths of names. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++) width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

void table_add(struct table *table, const char *const *cells)
{
    if (table->count == table->capacity) {
        table->capacity = table->capacity ? table->capacity * 2 : 64;
        table->rows = cli_grow(table->rows, table->capacity, sizeof *table->rows);
    }
    char **row = cli_new((size_t)table->columns, sizeof *row);
    for (int i = 0; i < table->columns; i++) row[i] = cli_safe(cells[i]);
    table->rows[table->count++] = row;
}

static void put_cell(const char *text, int width, bool right, bool last)
{
    int have = width_of(text);
    if (have > width) { /* cut at a code point, mark it */
        int left = width - 1;
        const char *end = text;
        while (*end && left >= 0) {
            left -= ((unsigned char)*end & 0xc0) != 0x80;
            if (left < 0) break;
            end++;
        }
        printf("%.*s~", (int)(end - text), text);
    } else if (right)
        printf("%*s%s", width - have, "", text);
    else
        printf("%s%*s", text, last ? 0 : width - have, "");
}

static void put_row(const struct table *table, char *const *cells, const int *widths, int columns)
{
    for (int i = 0; i < columns; i++) {
        if (i) printf("%*s", GAP, "");
        put_cell(cells[i], widths[i], table->right[i], i == columns - 1);
    }
    putchar('\n');
}

/* A last column without a head is there for remarks: without any it takes no room. */
static int shown_columns(const struct table *table)
{
    int last = table->columns - 1;
    if (*table->heads[last]) return table->columns;
    for (size_t k = 0; k < table->count; k++)
        if (*table->rows[k][last]) return table->columns;
    return last;
}

void table_print(struct table *table)
{
    int widths[TABLE_COLUMNS], columns = shown_columns(table), total = 0, limit = cli_width();
    for (int i = 0; i < columns; i++) {
        widths[i] = width_of(table->heads[i]);
        for (size_t k = 0; k < table->count; k++) {
            int width = width_of(table->rows[k][i]);
            if (width > widths[i]) widths[i] = width;
        }
        total += widths[i] + (i ? GAP : 0);
    }
    if (total > limit) {
        int cut = total - limit, most = widths[table->wide] - LEAST_WIDTH;
        if (most < 0) most = 0;
        widths[table->wide] -= cut < most ? cut : most;
        total -= cut < most ? cut : most;
    }
    while (total > limit && columns > 1) total -= widths[--columns] + GAP;
    bool colour = cli_colour(stdout);
    if (colour) fputs("\033[1m", stdout);
    put_row(table, (char *const *)(const void *)table->heads, widths, columns);
    if (colour) fputs("\033[0m", stdout);
    for (size_t k = 0; k < table->count; k++) {
        put_row(table, table->rows[k], widths, columns);
        for (int i = 0; i < table->columns; i++) free(table->rows[k][i]);
        free(table->rows[k]);
    }
    free(table->rows);
}
