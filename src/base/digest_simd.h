/* What digest_simd.c offers per vector level, and its streaming state, which runs at the baseline (it serves small files only). */
#ifndef CN_BASE_DIGEST_SIMD_H
#define CN_BASE_DIGEST_SIMD_H

#include <stddef.h>
#include <stdint.h>

void cn_digest_level0(const void *data, size_t size, uint8_t ret_bytes[16]);
void cn_digest_level1(const void *data, size_t size, uint8_t ret_bytes[16]);
void cn_digest_level2(const void *data, size_t size, uint8_t ret_bytes[16]);

void cn_digest_state_init(unsigned char state[640]);
void cn_digest_state_add(unsigned char state[640], const void *data, size_t size);
void cn_digest_state_end(const unsigned char state[640], uint8_t ret_bytes[16]);

#endif
