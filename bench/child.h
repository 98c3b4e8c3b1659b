/* Work in a process of its own: whatever is measured there is the first of its kind in the process, and what it takes is its alone. */
#ifndef BENCH_CHILD_H
#define BENCH_CHILD_H

/* Runs work in a forked child and returns its figure. Dies if the child fails. */
double in_child(double (*work)(void *user), void *user);

#endif
