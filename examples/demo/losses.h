#ifndef DEMO_LOSSES_H
#define DEMO_LOSSES_H

/* The losses of a run, as train_gpt --loss-csv writes them. Index is the step; entry 0 is not used. */
struct demo_losses {
    long steps;
    float *train;      /* [steps + 1] */
    float *validation; /* [steps + 1], NaN where not measured */
};

/* Returns 0, or -1 when the file is not there or not as it must be. */
int demo_losses_read(struct demo_losses *losses, const char *path);
void demo_losses_done(struct demo_losses *losses);
/* The first step at which two curves differ in a single bit; 0: nowhere. */
long demo_losses_compare(const struct demo_losses *a, const struct demo_losses *b);

#endif
