/* Canonical decimals, in names and in JSON. No sign, no leading zero, at most 64 bits - so that a number has one spelling. */
#ifndef CN_BASE_DECIMAL_H
#define CN_BASE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

/* Takes the digits at *text and moves it behind them. false: there are none, or they are no such number; nothing is moved. */
bool cn_decimal_take(const char **text, uint64_t *ret_number);

enum { CN_DECIMAL_BYTES = 20 }; /* of the longest */
/* Writes it at out, without a NUL. Returns where it ends. */
char *cn_decimal_put(char *out, uint64_t number);

/* Powers of ten, as far as a double holds them exactly. */
enum { CN_MAX_EXACT_POWER = 22 };
extern const double cn_exact_powers[CN_MAX_EXACT_POWER + 1];

#endif
