/* What was measured, for people and for programs. */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include <stdio.h>

#include "bench.h"
#include "growth.h"

void report_table(const struct bench *bench, FILE *out);
void report_json(const struct bench *bench, const struct growth *growth, FILE *out);
/* Two charts side by side: the speed of each row against plain code; and how cost grows, where that was measured. */
void report_svg(const struct bench *bench, const struct growth *growth, FILE *out);

#endif
