/* When an open run is due to be saved, and to stop: remembers what was asked for and saved, and has policy/due answer. Requests come from any thread or
 * from a signal handler and only raise a flag; everything else belongs to the run's own task. */
#ifndef CN_MANAGER_SCHEDULE_H
#define CN_MANAGER_SCHEDULE_H

#include <stdatomic.h>

#include "policy/due.h"

struct cn_schedule {
    struct cn_due_rules rules;
    uint64_t asked_step; /* the last step that was asked about */
    uint64_t from_step;  /* the one before it; the same, when it was saved or restored since. Asking twice about a step gives one answer */
    uint64_t begun_step; /* of the last save that began, or of the restored checkpoint */
    bool has_begun;
    uint64_t begun_ns; /* when it began; at first: when the run was opened */
    atomic_bool save_requested;
    atomic_bool stop_requested;
    atomic_bool stops; /* all that was trained before the request is saved, or a save of it was tried */
};

void cn_schedule_init(struct cn_schedule *schedule, struct cn_due_rules rules, uint64_t now_ns);
bool cn_schedule_is_due(struct cn_schedule *schedule, uint64_t step, uint64_t now_ns);
void cn_schedule_begin(struct cn_schedule *schedule, uint64_t step, uint64_t now_ns); /* a save of step begins */
void cn_schedule_resume(struct cn_schedule *schedule, uint64_t step);                 /* step was restored */

#endif
