/* Copying what will not be looked at soon. A plain copy reads what it overwrites into the caches first and drives everything else out of them; this
 * one stores past them, at twice the speed for what is larger than they are. */
#ifndef CN_BASE_COPY_H
#define CN_BASE_COPY_H

#include <stddef.h>

#include "base/digest.h"

/* Like memcpy. Small pieces are copied plainly. */
void cn_copy(void *destination, const void *source, size_t size);
void cn_copy_at(enum cn_simd level, void *destination, const void *source, size_t size);

#endif
