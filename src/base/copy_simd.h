/* A copy per vector level, made from one source (copy_simd.c). Use copy.h. */
#ifndef CN_BASE_COPY_SIMD_H
#define CN_BASE_COPY_SIMD_H

#include <stddef.h>

void cn_copy_level0(void *destination, const void *source, size_t size);
void cn_copy_level1(void *destination, const void *source, size_t size);
void cn_copy_level2(void *destination, const void *source, size_t size);

#endif
