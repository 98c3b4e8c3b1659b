#ifndef DEMO_PLOT_H
#define DEMO_PLOT_H

#include "demo/losses.h"

/* Where a kill happened. */
struct demo_mark {
    long step;
    int in_save;
};

/* Draws both curves on stdout, at most 80 columns wide; with plain ASCII when unicode is 0. */
void demo_plot_terminal(const struct demo_losses *losses, const struct demo_mark *marks, int marks_count, int unicode, int colour);

/* Writes them as an SVG file. Returns 0, or -1. */
int demo_plot_svg(const struct demo_losses *losses, const struct demo_mark *marks, int marks_count, const char *path);

#endif
