/* What is done to committed checkpoints from any process, beside a writer: marking, dropping an item, removing. By name, as people write it. */
#ifndef CN_MANAGER_UPKEEP_H
#define CN_MANAGER_UPKEEP_H

#include "base/error.h"

int cn_upkeep_mark(const char *store, const char *name, const cairn_mark_options *options, cairn_error *err);
int cn_upkeep_drop(const char *store, const char *name, const char *item, cairn_error *err);
int cn_upkeep_remove(const char *store, const char *name, cairn_error *err);
int cn_upkeep_keep(const char *run_path, const cairn_keep_options *options, cairn_keep_report *ret_report, cairn_error *err);

#endif
