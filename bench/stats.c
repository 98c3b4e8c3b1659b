/* Order statistics (see stats.h). */
#include "stats.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

/* Between two figures: in proportion. */
static double at(const double *sorted, int count, double share)
{
    double place = share * (count - 1);
    int below = (int)place;
    int above = below + 1 < count ? below + 1 : below;
    return sorted[below] + (place - below) * (sorted[above] - sorted[below]);
}

struct spread spread_of(const double *figures, int count)
{
    if (!count) return (struct spread){ 0 };
    double sorted[count];
    memcpy(sorted, figures, sizeof sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    return (struct spread){ sorted[0], at(sorted, count, 0.25), at(sorted, count, 0.5), at(sorted, count, 0.75), sorted[count - 1] };
}

double median_of(const double *figures, int count)
{
    return spread_of(figures, count).median;
}
