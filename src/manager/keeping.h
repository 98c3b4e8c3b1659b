/* What of a run stays: a listing and looks at the disk become facts for policy/keep, and what it decides becomes the entries' kept. Called by store/retire
 * anew for each listing that it acts on. */
#ifndef CN_MANAGER_KEEPING_H
#define CN_MANAGER_KEEPING_H

#include "policy/keep.h"
#include "store/catalog.h"

struct cn_keeping {
    struct cn_keep_rules rules; /* none: only what must stay in any case is told */
    const char *metric;         /* that the best are the best by; NULL: there is no best */
    bool metric_must_be_known;  /* a checkpoint has to report it: a name that is misspelt would have all the best removed */
    const char *const *ids;     /* in use: they stay whatever the rules say */
    uint64_t ids_count;
};

/* user: a struct cn_keeping. NOMEM; NOTFOUND: no checkpoint reports the metric. */
int cn_keeping_decide(void *user, const struct cn_rundir *run, struct cn_catalog *catalog, cairn_error *err);
/* false: it has no such metric, or NaN. */
bool cn_keeping_find_metric(const struct cn_manifest *manifest, const char *name, double *ret_value);

#endif
