/* provenance.json: where a checkpoint comes from (docs/FORMAT.md, "provenance.json"). Secrets on the command line are left out. */
#ifndef CN_SNAPSHOT_PROVENANCE_H
#define CN_SNAPSHOT_PROVENANCE_H

#include "base/buf.h"
#include "base/error.h"

/* config: the caller's text, may be NULL. Sealed. */
int cn_provenance_write(const char *config, struct cn_buf *buf, cairn_error *err);

#endif
