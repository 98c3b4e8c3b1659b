/*
 * Loss curves: read and compared. Nine digits tell any two floats apart, so equal numbers here are equal bits there.
 */
#include "demo/losses.h"

#include <math.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS_MAX = 10000000 };

static int append(struct demo_losses *losses, long step, float train, float validation)
{
    if ((step & (step - 1)) == 0) { /* at every power of two there is room for as many again */
        size_t bytes = (size_t)step * 2 * sizeof(float);
        float *larger = realloc(losses->train, bytes);
        if (larger == NULL) return -1;
        losses->train = larger;
        larger = realloc(losses->validation, bytes);
        if (larger == NULL) return -1;
        losses->validation = larger;
    }
    losses->train[step] = train;
    losses->validation[step] = validation;
    losses->steps = step;
    return 0;
}

int demo_losses_read(struct demo_losses *losses, const char *path)
{
    FILE *file = fopen(path, "r");
    char line[128];

    *losses = (struct demo_losses){ .steps = 0 };
    if (file == NULL) return -1;
    int good = fgets(line, sizeof(line), file) != NULL && strncmp(line, "step,loss", 9) == 0;
    while (good && fgets(line, sizeof(line), file) != NULL) {
        long step;
        float train, validation;
        int found = sscanf(line, "%ld,%f,%f", &step, &train, &validation);
        good =
            found >= 2 && step == losses->steps + 1 && step < STEPS_MAX && append(losses, step, train, found == 3 ? validation : NAN) == 0;
    }
    fclose(file);
    if (good && losses->steps > 0) return 0;
    demo_losses_done(losses);
    return -1;
}

void demo_losses_done(struct demo_losses *losses)
{
    free(losses->train);
    free(losses->validation);
    *losses = (struct demo_losses){ .steps = 0 };
}

static int same(float a, float b)
{
    uint32_t a_bits, b_bits;

    memcpy(&a_bits, &a, sizeof(a));
    memcpy(&b_bits, &b, sizeof(b));
    return a_bits == b_bits || (isnan(a) && isnan(b));
}

long demo_losses_compare(const struct demo_losses *a, const struct demo_losses *b)
{
    long steps = a->steps < b->steps ? a->steps : b->steps;

    for (long step = 1; step <= steps; step++)
        if (!same(a->train[step], b->train[step]) || !same(a->validation[step], b->validation[step])) return step;
    return a->steps == b->steps ? 0 : steps + 1;
}
