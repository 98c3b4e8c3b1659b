/* UTF-8, strictly: no overlong forms, no surrogates, nothing beyond U+10FFFF. */
#ifndef CN_BASE_UTF8_H
#define CN_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Bytes of the code point at text (1..4), 0 if it is malformed or cut. ret_code may be NULL. */
size_t cn_utf8_next(const char *text, size_t size, uint32_t *ret_code);
/* The position of the first byte that is no UTF-8, or size. */
size_t cn_utf8_check(const char *text, size_t size);
/* How many bytes at the start stand for themselves in a JSON string: ASCII but quotes, backslashes and control characters. */
size_t cn_utf8_plain(const char *text, size_t size);
size_t cn_utf8_encode(uint32_t code, char ret_bytes[4]);

#endif
