/* Is a save due? Facts in, the answer out: no clock, no I/O, nothing remembered. */
#ifndef CN_POLICY_DUE_H
#define CN_POLICY_DUE_H

#include <stdbool.h>
#include <stdint.h>

struct cn_due_rules {
    uint64_t every_steps; /* when a multiple of it was crossed; 0: not by steps */
    uint64_t every_ms;    /* when the last save began so long ago; 0: not by time */
};

struct cn_due_facts {
    uint64_t step;      /* now: optimizer steps completed */
    uint64_t from_step; /* at the last call, save or restore, whichever came last */
    uint64_t idle_ms;   /* since the last save began, or since the run was opened */
    bool is_saved;      /* this step is, or a save of it has begun: there is nothing to save */
    bool is_asked_for;  /* somebody wants a save now, or to stop with one */
};

bool cn_due(const struct cn_due_rules *rules, const struct cn_due_facts *facts);

#endif
