/* Verifying: reads everything, writes nothing. Quick: what the store's quick check looks at, tables and headers against each other.
 * Full: besides, every byte against its block digest, on several tasks. Goes on after a finding, to name every damaged block. */
#ifndef CN_SNAPSHOT_VERIFY_H
#define CN_SNAPSHOT_VERIFY_H

#include "snapshot/checkpoint.h"

/* Findings in checkpoint, or before it could be opened (path given by the caller's message). The first one's code is returned, after all
 * were told. */
int cn_verify_checkpoint(const cairn_checkpoint *checkpoint, const cairn_verify_options *options, cairn_verify_report *ret_report,
                         cairn_error *err);

#endif
