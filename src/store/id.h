/* Identities: 128 random bits as 32 lower-case hex digits - of runs, checkpoints, writers, and for names that nobody else makes. */
#ifndef CN_STORE_ID_H
#define CN_STORE_ID_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

enum { CN_ID_BYTES = 33 }; /* 32 hex digits and NUL */

int cn_id_new(char ret_id[CN_ID_BYTES], cairn_error *err); /* IO: no randomness from the system */
bool cn_id_is(const char *text, size_t size);

#endif
