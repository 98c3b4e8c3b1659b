/* Canonical decimals (see decimal.h). */
#include "base/decimal.h"

#include <string.h>

#include "base/check.h"

static bool is_digit(char character)
{
    return character >= '0' && character <= '9';
}

bool cn_decimal_take(const char **text, uint64_t *ret_number)
{
    const char *at = *text;
    uint64_t number = 0;
    if (!is_digit(*at) || (*at == '0' && is_digit(at[1]))) return false;
    for (; is_digit(*at); at++)
        if (!cn_mul(number, 10, &number) || !cn_add(number, (uint64_t)(*at - '0'), &number)) return false;
    *text = at;
    *ret_number = number;
    return true;
}

char *cn_decimal_put(char *out, uint64_t number)
{
    char digits[CN_DECIMAL_BYTES];
    size_t at = sizeof digits;
    do digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    memcpy(out, digits + at, sizeof digits - at);
    return out + (sizeof digits - at);
}

const double cn_exact_powers[CN_MAX_EXACT_POWER + 1] = { 1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                                         1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22 };
