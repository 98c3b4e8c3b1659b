/* Verifying what a name leads to: an open checkpoint is searched by the verifier, one that cannot be opened by the quick check. */
#ifndef CN_MANAGER_VERIFY_NAMED_H
#define CN_MANAGER_VERIFY_NAMED_H

#include "base/error.h"

int cn_verify_named(const char *store, const char *name, const cairn_verify_options *options, cairn_verify_report *ret_report,
                    cairn_error *err);

#endif
