/* provenance.json: where a checkpoint comes from (docs/FORMAT.md, "provenance.json"). Secrets on the command line are left out. */
#ifndef CN_SNAPSHOT_PROVENANCE_H
#define CN_SNAPSHOT_PROVENANCE_H

#include "base/buf.h"
#include "base/error.h"

/* Who and where this process is, which it is asked once for all of a run's saves: what git says is the code that was started. */
struct cn_origin;
struct cn_origin *cn_origin_ask(void); /* to be freed with cn_os_free; NULL: no memory */

/* config: the caller's text, may be NULL. Sealed. */
int cn_provenance_write(const struct cn_origin *origin, const char *config, struct cn_buf *buf, cairn_error *err);

#endif
