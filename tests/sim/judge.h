/* The judgement: what must hold of the store after whatever happened. */
#ifndef SIM_JUDGE_H
#define SIM_JUDGE_H

#include <stdbool.h>

/* Looks at the run with the product itself, in a process of its own: every acknowledged checkpoint is there and whole, everything that is listed is
 * whole, the newest is not older than the newest acknowledged one, the line is the line, tags stay. With resume: the run opens, restores the newest,
 * saves once more, and all of it holds again. What fails goes to sim_fail(). */
void sim_judge(bool resume);
/* The end of a world: the power goes, it is judged and resumed, the power goes again, it is judged. Whether all held. */
bool sim_end_judged(void);

#endif
