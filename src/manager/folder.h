/* One folder, no run: a state saved to and loaded from a checkpoint folder by itself. */
#ifndef CN_MANAGER_FOLDER_H
#define CN_MANAGER_FOLDER_H

#include "base/error.h"

int cn_folder_save(const char *path, cairn_state *state, const cairn_folder_options *options, cairn_save_report *ret_report,
                   cairn_error *err);
int cn_folder_load(const char *store, const char *name, cairn_state *state, const cairn_restore_options *options,
                   cairn_restore_report *ret_report, cairn_error *err);

#endif
