/* When a save is due (see due.h). */
#include "policy/due.h"

/* A trainer may call at odd steps only - each tenth, or once per epoch: what counts is that a multiple lies behind the last call, not that it was hit. */
static bool crosses(uint64_t from_step, uint64_t step, uint64_t every_steps)
{
    return step / every_steps > from_step / every_steps;
}

bool cn_due(const struct cn_due_rules *rules, const struct cn_due_facts *facts)
{
    if (facts->is_saved) return false;
    if (facts->is_asked_for) return true;
    if (rules->every_steps && crosses(facts->from_step, facts->step, rules->every_steps)) return true;
    return rules->every_ms && facts->idle_ms >= rules->every_ms;
}
