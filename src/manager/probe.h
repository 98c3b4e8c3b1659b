/* What a place can do of all that Cairn relies on: tried out, in a folder of its own that is removed again. */
#ifndef CN_MANAGER_PROBE_H
#define CN_MANAGER_PROBE_H

#include "base/error.h"

int cn_probe(const char *dir_path, cairn_probe_report *ret_report, cairn_error *err);

#endif
