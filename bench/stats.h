/* What is said of a list of figures. */
#ifndef BENCH_STATS_H
#define BENCH_STATS_H

struct spread {
    double min, quarter, median, three_quarters, max;
};

struct spread spread_of(const double *figures, int count); /* zeros for none */
double median_of(const double *figures, int count);

#endif
