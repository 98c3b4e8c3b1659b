/* Following a live run: the next checkpoint beyond a position, as soon as it is there. */
#ifndef CN_MANAGER_FOLLOW_H
#define CN_MANAGER_FOLLOW_H

#include "base/error.h"

int cn_follow_next(const char *run_path, cairn_position *position, uint64_t timeout_ms, cairn_checkpoint **ret_checkpoint,
                   cairn_error *err);

#endif
