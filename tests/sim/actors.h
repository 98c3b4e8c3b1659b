/* Who works in the simulated machine. Each is a process of its own with random numbers of its own; what they learn goes to the ledger at once. */
#ifndef SIM_ACTORS_H
#define SIM_ACTORS_H

#include "ledger.h"
#include "random.h"
#include "state.h"

#define SIM_STORE "/store"
#define SIM_RUN "/store/run"

enum { SIM_MAX_ACTORS = 64 };

struct sim_actor {
    struct sim_random random;
    uint64_t delay_ns; /* before it does anything */
    /* a writer's */
    unsigned back_in;      /* it goes back before one save out of so many; 0: never */
    bool take_over, dense; /* dense: every step, so that another line needs the same names */
    unsigned saves;
    uint32_t keep_last, io_threads;
    int save_mode; /* cairn_save_mode, or -1: any */
    uint64_t opened_at_call;
    cairn_run *run;
    struct sim_state state;
    uint64_t parent; /* the attempt that the state goes on from */
    uint64_t step;
    /* a pruner's and a tagger's */
    unsigned actions;
    int action; /* enum sim_upkeep, or -1: any */
};

enum sim_upkeep { SIM_KEEP, SIM_REMOVE, SIM_DROP, SIM_UPKEEPS };

void sim_write(void *actor); /* opens the run, restores, saves */
void sim_read(void *actor);  /* opens checkpoints and looks at every byte, slowly */
void sim_prune(void *actor); /* keep, rm, drop */
void sim_tag(void *actor);   /* tags, pins, late metrics */

#endif
