/* What stays (see keep.h): the union of what each rule wants. A rule knows nothing of the others, so that a checkpoint which two want takes a place in
 * both. */
#include "policy/keep.h"

#include <math.h>

#define NONE UINT64_MAX

enum { KEPT_UNHEALTHY = 2 }; /* to be looked into */

static bool is_whole(struct cn_keep_run *run, uint64_t index)
{
    struct cn_keep_entry *entry = &run->entries[index];
    if (entry->look == CN_LOOK_NONE) entry->look = run->is_whole(run->user, index) ? CN_LOOK_WHOLE : CN_LOOK_DAMAGED;
    return entry->look == CN_LOOK_WHOLE;
}

/* A run goes on from it, if the disk agrees. */
static bool can_be_head(const struct cn_keep_entry *entry)
{
    return entry->is_current && entry->is_healthy && entry->is_exact;
}

/* ------------------------------------------------------------------------------------------------------------ in any case */

static void keep_head(struct cn_keep_run *run)
{
    for (uint64_t i = run->count; i-- > 0;) {
        if (!can_be_head(&run->entries[i])) continue;
        run->entries[i].reasons |= CAIRN_KEPT_HEAD;
        return;
    }
}

/* What a restore takes by default: the head, or an older one where that is damaged. */
static void keep_newest_whole(struct cn_keep_run *run)
{
    for (uint64_t i = run->count; i-- > 0;) {
        if (!can_be_head(&run->entries[i]) || !run->entries[i].is_complete || !is_whole(run, i)) continue;
        run->entries[i].reasons |= CAIRN_KEPT_WHOLE;
        return;
    }
}

/* --------------------------------------------------------------------------------------------------------------- by rules */

/* What is damaged or incomplete takes no place among the last, and stays as long as it is newer than they are. */
static void keep_last(struct cn_keep_run *run, uint32_t last)
{
    uint32_t counted = 0;
    for (uint64_t i = run->count; i-- > 0 && counted < last;) {
        struct cn_keep_entry *entry = &run->entries[i];
        if (!entry->is_current || !entry->is_healthy) continue;
        bool counts = entry->is_complete && is_whole(run, i);
        entry->reasons |= counts ? CAIRN_KEPT_LAST : CAIRN_KEPT_UNCOUNTED;
        counted += counts;
    }
}

static void keep_unhealthy(struct cn_keep_run *run)
{
    int kept = 0;
    for (uint64_t i = run->count; i-- > 0 && kept < KEPT_UNHEALTHY;) {
        if (!run->entries[i].is_current || run->entries[i].is_healthy) continue;
        run->entries[i].reasons |= CAIRN_KEPT_UNHEALTHY;
        kept++;
    }
}

bool cn_keep_is_better(double value, double earlier, bool best_is_max)
{
    return best_is_max ? value >= earlier : value <= earlier;
}

static bool has_metric(const struct cn_keep_entry *entry)
{
    return can_be_head(entry) && entry->has_metric && !isnan(entry->metric);
}

static bool ranks_before(const struct cn_keep_run *run, bool best_is_max, uint64_t a, uint64_t b)
{
    double left = run->entries[a].metric, right = run->entries[b].metric;
    return a > b ? cn_keep_is_better(left, right, best_is_max) : !cn_keep_is_better(right, left, best_is_max);
}

/* The best of those that rank behind `after`; after NONE: of all. */
static uint64_t next_best(const struct cn_keep_run *run, bool best_is_max, uint64_t after)
{
    uint64_t found = NONE;
    for (uint64_t i = 0; i < run->count; i++) {
        if (!has_metric(&run->entries[i]) || i == after) continue;
        if (after != NONE && !ranks_before(run, best_is_max, after, i)) continue;
        if (found == NONE || ranks_before(run, best_is_max, i, found)) found = i;
    }
    return found;
}

/* Its optimizer may have been dropped: weights are what the best are kept for. */
static void keep_best(struct cn_keep_run *run, const struct cn_keep_rules *rules)
{
    uint64_t at = NONE;
    for (uint32_t kept = 0; kept < rules->best && (at = next_best(run, rules->best_is_max, at)) != NONE;) {
        if (!is_whole(run, at)) continue;
        run->entries[at].reasons |= CAIRN_KEPT_BEST;
        kept++;
    }
}

void cn_keep_decide(const struct cn_keep_rules *rules, struct cn_keep_run *run)
{
    if (run->count) run->entries[run->count - 1].reasons |= CAIRN_KEPT_NEWEST;
    keep_head(run);
    keep_newest_whole(run);
    if (!rules->last && !rules->best) return;
    keep_last(run, rules->last);
    keep_unhealthy(run);
    keep_best(run, rules);
}
