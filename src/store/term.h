/* Terms: who may commit (docs/DURABILITY.md, "Taking a run over"). The higher term wins; safety rests on them alone, not on locks,
 * clocks or pids. A term is a file .cairn/terms/<number> holding its owner's uuid, link()ed into place and never removed. */
#ifndef CN_STORE_TERM_H
#define CN_STORE_TERM_H

#include "store/rundir.h"

/* Takes the next number (1 + the highest in terms/, staging names and manifests), fsyncs, moves every staging folder of a lower term
 * into trash, fsyncs, then checks that the highest is still ours. FENCED if not. */
int cn_term_take(const struct cn_rundir *run, const char uuid[CN_ID_BYTES], uint64_t *ret_term, cairn_error *err);
/* The highest term file is ours: CAIRN_OK, else FENCED naming the other's term. */
int cn_term_check(const struct cn_rundir *run, uint64_t term, const char uuid[CN_ID_BYTES], cairn_error *err);

#endif
