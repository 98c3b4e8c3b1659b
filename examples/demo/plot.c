/*
 * The loss curves as a picture: in the terminal and as an SVG file.
 *
 * In the terminal a character holds 2 x 4 dots (Unicode's braille block), so that a curve of 300 steps stays a curve.
 */
#include "demo/plot.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { COLUMNS = 68, ROWS = 13 };

struct range {
    double low, high, tick;
};

static struct range find_range(const struct demo_losses *losses)
{
    struct range range = { INFINITY, -INFINITY, 0.5 };

    for (long step = 1; step <= losses->steps; step++) {
        range.low = fmin(range.low, (double)losses->train[step]);
        range.high = fmax(range.high, (double)losses->train[step]);
        range.low = fmin(range.low, (double)losses->validation[step]); /* fmin and fmax pass over a NaN */
        range.high = fmax(range.high, (double)losses->validation[step]);
    }
    if (!(range.high > range.low)) /* one value, or none that is a number */
        range = (struct range){ isfinite(range.low) ? range.low - 0.5 : 0.0, isfinite(range.low) ? range.low + 0.5 : 1.0, 0.5 };
    while ((range.high - range.low) / range.tick > 6.0) range.tick *= 2.0;
    while ((range.high - range.low) / range.tick < 2.0) range.tick /= 2.0;
    range.low = floor(range.low / range.tick) * range.tick;
    range.high = ceil(range.high / range.tick) * range.tick;
    return range;
}

/* ----------------------------------------------------------------------------------------------------------- terminal */

struct canvas {
    unsigned char dots[ROWS][COLUMNS];  /* braille bits */
    unsigned char point[ROWS][COLUMNS]; /* a validation loss lies here */
};

static int column_of(const struct demo_losses *losses, long step, int width)
{
    return losses->steps > 1 ? (int)((step - 1) * (width - 1) / (losses->steps - 1)) : 0;
}

static int row_of(struct range range, double value, int height)
{
    int row = (int)((range.high - value) / (range.high - range.low) * (height - 1) + 0.5);

    return row < 0 ? 0 : row >= height ? height - 1 : row;
}

static void set_dot(struct canvas *canvas, int x, int y)
{
    static const unsigned char bits[4][2] = { { 0x01, 0x08 }, { 0x02, 0x10 }, { 0x04, 0x20 }, { 0x40, 0x80 } };

    canvas->dots[y / 4][x / 2] |= bits[y % 4][x % 2];
}

static void draw(struct canvas *canvas, const struct demo_losses *losses, struct range range)
{
    int last = -1;

    for (long step = 1; step <= losses->steps; step++) {
        if (isfinite(losses->train[step])) {
            int x = column_of(losses, step, COLUMNS * 2), y = row_of(range, (double)losses->train[step], ROWS * 4);
            for (int at = last < 0 ? y : last; at != y; at += at < y ? 1 : -1) /* no gaps where the curve is steep */
                set_dot(canvas, x, at);
            set_dot(canvas, x, y);
            last = y;
        }
        if (isfinite(losses->validation[step]))
            canvas->point[row_of(range, (double)losses->validation[step], ROWS)][column_of(losses, step, COLUMNS)] = 1;
    }
}

static void print_cell(const struct canvas *canvas, int row, int column, int unicode, int colour)
{
    unsigned char dots = canvas->dots[row][column];

    if (canvas->point[row][column])
        printf("%s%s%s", colour ? "\033[33m" : "", unicode ? "\u25cf" : "o", colour ? "\033[0m" : "");
    else if (dots == 0)
        putchar(' ');
    else if (!unicode)
        putchar('.');
    else {
        const char braille[4] = { (char)0xe2, (char)(0xa0 + (dots >> 6)), (char)(0x80 + (dots & 0x3f)), '\0' };
        printf("%s%s%s", colour ? "\033[36m" : "", braille, colour ? "\033[0m" : "");
    }
}

void demo_plot_terminal(const struct demo_losses *losses, const struct demo_mark *marks, int marks_count, int unicode, int colour)
{
    struct canvas canvas = { .dots = { { 0 } } };
    struct range range = find_range(losses);
    char kills[COLUMNS + 1];

    draw(&canvas, losses, range);
    for (int row = 0; row < ROWS; row++) {
        double top = range.high - (range.high - range.low) * row / (ROWS - 1);
        if (row % 3 == 0)
            printf("  %6.2f %s", top, unicode ? "\u2524" : "+");
        else
            printf("         %s", unicode ? "\u2502" : "|");
        for (int column = 0; column < COLUMNS; column++) print_cell(&canvas, row, column, unicode, colour);
        putchar('\n');
    }
    printf("         %s", unicode ? "\u2514" : "+");
    memset(kills, ' ', sizeof(kills));
    for (int i = 0; i < marks_count; i++) {
        int column = column_of(losses, marks[i].step < 1 ? 1 : marks[i].step > losses->steps ? losses->steps : marks[i].step, COLUMNS);
        if (kills[column] != 'S') kills[column] = marks[i].in_save ? 'S' : 'x';
    }
    for (int column = 0; column < COLUMNS; column++) fputs(unicode ? "\u2500" : "-", stdout);
    kills[COLUMNS] = '\0';
    printf("\n   kills  %s\n          step 1%*ld\n", kills, COLUMNS - 6, losses->steps);
    printf("          %s training   %s validation   x killed   S killed in a save\n", unicode ? "\u28c0\u2824\u2812" : "...",
           unicode ? "\u25cf" : "o");
}

/* ----------------------------------------------------------------------------------------------------------------- SVG */

enum { WIDTH = 860, HEIGHT = 480, LEFT = 70, RIGHT = 20, TOP = 60, BOTTOM = 60 };

static double svg_x(const struct demo_losses *losses, double step)
{
    return LEFT + step / (double)losses->steps * (WIDTH - LEFT - RIGHT);
}

static double svg_y(struct range range, double value)
{
    return TOP + (range.high - value) / (range.high - range.low) * (HEIGHT - TOP - BOTTOM);
}

static void svg_axes(FILE *file, const struct demo_losses *losses, struct range range)
{
    long stride = 1;

    for (int i = 0; range.low + i * range.tick <= range.high + range.tick / 2; i++) {
        double value = range.low + i * range.tick;
        fprintf(
            file,
            "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
            LEFT, WIDTH - RIGHT, svg_y(range, value), svg_y(range, value), LEFT - 8, svg_y(range, value) + 4.0, value);
    }
    for (int i = 0; losses->steps / stride > 8; i++) stride = i % 3 == 2 ? stride / 4 * 10 : stride * 2; /* 1 2 4 10 20 40 ... */
    for (long step = 0; step <= losses->steps; step += stride)
        fprintf(file, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%ld</text>\n", svg_x(losses, (double)step), HEIGHT - BOTTOM + 20,
                step);
    fprintf(file, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n", LEFT, TOP, HEIGHT - BOTTOM, WIDTH - RIGHT);
    fprintf(file, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step</text>\n", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - 16);
    fprintf(file, "<text transform=\"translate(20 %d) rotate(-90)\" text-anchor=\"middle\">loss (nats per character)</text>\n",
            (TOP + HEIGHT - BOTTOM) / 2);
}

static void svg_curve(FILE *file, const struct demo_losses *losses, struct range range, const float *values, const char *style)
{
    fprintf(file, "<polyline class=\"%s\" points=\"", style);
    for (long step = 1; step <= losses->steps; step++)
        if (isfinite(values[step])) fprintf(file, "%.1f,%.1f ", svg_x(losses, (double)step), svg_y(range, (double)values[step]));
    fprintf(file, "\"/>\n");
}

static void svg_legend(FILE *file)
{
    static const struct {
        const char *style, *text;
        int x;
    } entries[] = { { "train", "training", 400 },
                    { "validation", "validation", 500 },
                    { "kill", "killed", 610 },
                    { "kill save", "killed in a save", 695 } };

    for (size_t i = 0; i < sizeof(entries) / sizeof(entries[0]); i++)
        fprintf(file, "<path class=\"%s\" d=\"M%d 45h22\"/><text x=\"%d\" y=\"49\">%s</text>\n", entries[i].style, entries[i].x,
                entries[i].x + 28, entries[i].text);
}

int demo_plot_svg(const struct demo_losses *losses, const struct demo_mark *marks, int marks_count, const char *path)
{
    struct range range = find_range(losses);
    FILE *file = fopen(path, "w");

    if (file == NULL) return -1;
    fprintf(file, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\" font-size=\"12\">\n", WIDTH,
            HEIGHT);
    fprintf(file,
            "<style>text{fill:#333}.grid{stroke:#e4e4e4}.axis{fill:none;stroke:#333}.train{fill:none;stroke:#2a7ab9;stroke-width:1.3}"
            ".validation{fill:none;stroke:#e08214;stroke-width:2.2}.kill{stroke:#999;stroke-dasharray:4 3}.save{stroke:#c1272d}</style>\n");
    fprintf(file,
            "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n<text x=\"%d\" y=\"26\" font-size=\"16\">"
            "One training run, killed %d times with SIGKILL</text>\n",
            LEFT, marks_count);
    svg_axes(file, losses, range);
    for (int i = 0; i < marks_count; i++)
        fprintf(file, "<line class=\"kill%s\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>\n", marks[i].in_save ? " save" : "",
                svg_x(losses, (double)marks[i].step), svg_x(losses, (double)marks[i].step), TOP, HEIGHT - BOTTOM);
    svg_curve(file, losses, range, losses->train, "train");
    svg_curve(file, losses, range, losses->validation, "validation");
    svg_legend(file);
    fprintf(file, "</svg>\n");
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}
