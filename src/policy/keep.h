/* Which checkpoints of a run stay, and why (docs/DURABILITY.md, "Retiring"). Facts in, decisions out: no clock, no I/O. Whether one is whole costs the
 * caller a look at the disk, so it is asked only of those on which a decision hangs, newest or best first, and of each at most once. */
#ifndef CN_POLICY_KEEP_H
#define CN_POLICY_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "cairn.h"

/* Beside the public CAIRN_KEPT_... */
#define CN_KEPT_IN_USE (1u << 31) /* an open run goes on from it, or holds it for its best */
/* What a run resumes from: nobody removes it or a part of it, by rules or by name. */
#define CN_KEPT_NEEDED (CAIRN_KEPT_NEWEST | CAIRN_KEPT_HEAD | CAIRN_KEPT_WHOLE)

struct cn_keep_rules {
    uint32_t last;    /* the newest so many that a run could go on from */
    uint32_t best;    /* and so many of the best by the metric */
    bool best_is_max; /* larger is better */
};

enum cn_look { CN_LOOK_NONE, CN_LOOK_WHOLE, CN_LOOK_DAMAGED }; /* CN_LOOK_NONE: nobody has looked yet */

struct cn_keep_entry {
    bool is_current; /* on the line that the run is on */
    bool is_healthy, is_exact;
    bool is_complete; /* nothing was dropped of it */
    bool has_metric;
    double metric; /* NaN counts as none */
    enum cn_look look;
    uint32_t reasons; /* in: those that only the caller knows; out: all. 0: it goes */
};

struct cn_keep_run {
    struct cn_keep_entry *entries; /* by (term, step) ascending */
    uint64_t count;
    bool (*is_whole)(void *user, uint64_t index); /* the entry passes the quick check */
    void *user;
};

/* Gives each entry its reasons. Without rules only what must stay in any case gets one: for who removes one checkpoint by its name. */
void cn_keep_decide(const struct cn_keep_rules *rules, struct cn_keep_run *run);

/* Is value, of a later checkpoint, at least as good? Of two that are as good the newer one is the better. */
bool cn_keep_is_better(double value, double earlier, bool best_is_max);

#endif
