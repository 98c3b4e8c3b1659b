/* The charts (see report.h), as SVG that follows the reader's light or dark page. */
#include <math.h>

#include "report.h"
#include "stats.h"

enum { WIDTH = 760, LINE = 26, LEFT = 330, BAR = 380, PLOT = 190 };

static void text_at(FILE *out, double x, double y, const char *anchor, const char *text)
{
    fprintf(out, "<text x=\"%.0f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    for (; *text; text++) {
        if (*text == '<')
            fputs("&lt;", out);
        else if (*text == '&')
            fputs("&amp;", out);
        else
            fputc(*text, out);
    }
    fputs("</text>\n", out);
}

static bool is_share(const struct row *row)
{
    return row->goal == GOAL_AT_LEAST && !row->unit[0];
}

/* A bar for the median, a line from the first quarter to the third, a mark for the target. */
static void share_bar(const struct row *row, double y, FILE *out)
{
    struct spread spread = spread_of(row->figures, row->rounds);
    double scale = BAR / 1.2;
    char label[32];
    text_at(out, LEFT - 8, y + 13, "end", row->what);
    fprintf(out, "<rect class=\"ours\" x=\"%d\" y=\"%.1f\" width=\"%.1f\" height=\"16\"/>\n", LEFT, y, fmin(spread.median * scale, BAR));
    fprintf(out, "<line class=\"ink\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT + fmin(spread.quarter * scale, BAR),
            LEFT + fmin(spread.three_quarters * scale, BAR), y + 8, y + 8);
    fprintf(out, "<line class=\"goal\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", LEFT + row->target * scale,
            LEFT + row->target * scale, y - 3, y + 19);
    snprintf(label, sizeof label, "%.2f", spread.median);
    text_at(out, LEFT + 6, y + 13, "start", label);
}

static double shares(const struct bench *bench, double y, FILE *out)
{
    text_at(out, 8, y + 4, "start", "Share of the speed of plain code on the same hardware (dashed: the target)");
    y += 16;
    for (int i = 0; i < bench->rows_count; i++) {
        if (!is_share(&bench->rows[i])) continue;
        share_bar(&bench->rows[i], y, out);
        y += LINE;
    }
    return y;
}

/* ---------------------------------------------------------------------------------------------------------------- growth */

struct axes {
    double left, top, width, x0, x1, y0, y1; /* logarithms */
};

static double place_x(const struct axes *axes, double x)
{
    return axes->left + (log10(x) - axes->x0) / (axes->x1 - axes->x0) * axes->width;
}

static double place_y(const struct axes *axes, double y)
{
    return axes->top + PLOT - (log10(y) - axes->y0) / (axes->y1 - axes->y0) * PLOT;
}

static void curve(const struct axes *axes, const struct growth_point *points, int count, bool other, FILE *out)
{
    const char *style = other ? "other" : "curve";
    fprintf(out, "<polyline class=\"%s\" points=\"", style);
    for (int i = 0; i < count; i++)
        fprintf(out, "%.1f,%.1f ", place_x(axes, points[i].x), place_y(axes, other ? points[i].other : points[i].ours));
    fprintf(out, "\"/>\n");
    for (int i = 0; i < count; i++)
        fprintf(out, "<circle class=\"%s-dot\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", style, place_x(axes, points[i].x),
                place_y(axes, other ? points[i].other : points[i].ours));
}

static struct axes axes_for(double left, double top, const struct growth_point *points, int count)
{
    struct axes axes = { left, top, 270, log10(points[0].x), log10(points[count - 1].x), 9, -9 };
    for (int i = 0; i < count; i++) {
        axes.y0 = fmin(axes.y0, floor(log10(fmin(points[i].ours, points[i].other))));
        axes.y1 = fmax(axes.y1, ceil(log10(fmax(points[i].ours, points[i].other))));
    }
    if (axes.x1 <= axes.x0) axes.x1 = axes.x0 + 1;
    return axes;
}

static void grid(const struct axes *axes, FILE *out)
{
    static const char *const names[] = { "10 µs", "0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s", "100 s" };
    for (int decade = (int)axes->y0; decade <= (int)axes->y1; decade++) {
        double y = place_y(axes, pow(10, decade));
        fprintf(out, "<line class=\"grid\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\"/>\n", axes->left, axes->left + axes->width, y,
                y);
        if (decade >= -5 && decade <= 2) text_at(out, axes->left - 6, y + 4, "end", names[decade + 5]);
    }
}

static void panel(const struct axes *axes, const struct growth_point *points, int count, const char *title, const char *from,
                  const char *to, FILE *out)
{
    text_at(out, axes->left, axes->top - 10, "start", title);
    grid(axes, out);
    curve(axes, points, count, true, out);
    curve(axes, points, count, false, out);
    text_at(out, axes->left, axes->top + PLOT + 16, "start", from);
    text_at(out, axes->left + axes->width, axes->top + PLOT + 16, "end", to);
}

static double growths(const struct growth *growth, double y, FILE *out)
{
    char to[48];
    if (growth->sizes_count > 1) {
        struct axes axes = axes_for(70, y + 24, growth->size, growth->sizes_count);
        snprintf(to, sizeof to, "state of %.0f MiB", growth->size[growth->sizes_count - 1].x / (1u << 20));
        panel(&axes, growth->size, growth->sizes_count, "Durable save (blue), plain writer (grey)", "1 MiB", to, out);
    }
    if (growth->kept_count > 1) {
        struct axes axes = axes_for(450, y + 24, growth->kept, growth->kept_count);
        snprintf(to, sizeof to, "%.0f checkpoints kept", growth->kept[growth->kept_count - 1].x);
        panel(&axes, growth->kept, growth->kept_count, "One small save (blue), listing all (grey)", "1", to, out);
    }
    return y + 24 + PLOT + 28;
}

void report_svg(const struct bench *bench, const struct growth *growth, FILE *out)
{
    int bars = 0;
    bool grows = growth->sizes_count > 1 || growth->kept_count > 1;
    for (int i = 0; i < bench->rows_count; i++) bars += is_share(&bench->rows[i]);
    double height = 16 + (bars ? 30 + bars * LINE : 0) + (grows ? 24 + PLOT + 40 : 0), y = 20;
    fprintf(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" role=\"img\">\n", WIDTH,
            height, WIDTH, height);
    fputs(
        "<style>text { font: 12px sans-serif; fill: #24292f } .ours { fill: #54aeff } .ink { stroke: #24292f } .goal { stroke: #cf222e; "
        "stroke-dasharray: 4 3 } .grid { stroke: #d0d7de } .curve, .other { fill: none; stroke: #0969da; stroke-width: 2 } .other { stroke: #8c959f } "
        ".curve-dot { fill: #0969da } .other-dot { fill: #8c959f } @media (prefers-color-scheme: dark) { text { fill: #e6edf3 } .ink { stroke: #e6edf3 } "
        ".ours { fill: #1f6feb } .grid { stroke: #3d444d } }</style>\n",
        out);
    if (bars) y = shares(bench, y, out) + 14;
    if (grows) growths(growth, y, out);
    fputs("</svg>\n", out);
}
