/* What makes a run's folder pleasant to look at. */
#ifndef CN_STORE_TIDY_H
#define CN_STORE_TIDY_H

#include "store/catalog.h"
#include "store/rundir.h"

/* After the acknowledgement, best effort, problems are messages: symlinks latest and best (best_name may be NULL); and names: a superseded one is called
 * checkpoint-N~T, so that the highest N is right for other tools, too; false: they could not be looked at. */
bool cn_tidy_names(const struct cn_rundir *run, void (*message)(void *, const char *), void *user);
bool cn_tidy_names_are_right(const struct cn_catalog *catalog); /* nothing to do, as long as the line goes on from its top */
void cn_tidy_links(const struct cn_rundir *run, const char *latest_name, const char *best_name, void (*message)(void *, const char *),
                   void *user);

/* After a term was taken: temporary files of writers that died while they made a name - in .cairn, and in terms/ those of numbers that are given away. One
 * that lives yet finds its file gone and goes on without (rundir.c, term.c). */
void cn_tidy_temporaries(const struct cn_rundir *run, uint64_t term);

#endif
