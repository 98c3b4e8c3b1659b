/* Tensor types: names, widths, and the size of a shape, checked. */
#ifndef CN_BASE_DTYPE_H
#define CN_BASE_DTYPE_H

#include "cairn.h"

cairn_dtype cn_dtype_parse(const char *name, size_t size); /* CAIRN_DTYPE_NONE: no such dtype */

/* Bytes of a tensor. The product is taken left to right and checked even if a later extent is 0, as the reference reader does.
 * LIMIT: overflow, or more than CN_MAX_FILE_BYTES. FORMAT: a sub-byte tensor that fills no whole bytes. The message names neither file nor
 * tensor: the caller prefixes. */
int cn_dtype_size(cairn_dtype dtype, uint32_t rank, const uint64_t *shape, uint64_t *ret_size_bytes, cairn_error *err);

/* "[2, 3]" into buffer, cut with "..." where it does not fit. */
const char *cn_shape_text(uint32_t rank, const uint64_t *shape, char *buffer, size_t size);

#endif
