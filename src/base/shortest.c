/* Shortest decimals (see shortest.h). What they are is said by the C library: the first of "%.15g", "%.16g" and "%.17g" that strtod reads back. That
 * takes thousands of instructions; numbers of up to 15 digits and of common size are found by one multiplication and proved by one division,
 * both exact but for one rounding: `units / 10^decimals` is what a correct strtod reads, for both are below 2^53 and 10^22. A decimal of up to 15
 * digits that reads as the number is what "%.15g" writes, so both ways give the same text. */
#include "base/shortest.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/floatenv.h"

enum { MAX_DIGITS = 15, MAX_DECIMALS = CN_MAX_EXACT_POWER };

/* So many that magnitude * 10^decimals has that many digits before its point. */
static int decimals_for(double magnitude, int digits)
{
    const double log10_of_2 = 0.30102999566398120;
    int binary;
    (void)frexp(magnitude, &binary);
    int decimals = digits - 1 - (int)floor((binary - 1) * log10_of_2); /* or one too many */
    bool known = decimals >= 0 && decimals <= MAX_DECIMALS;
    return known && magnitude * cn_exact_powers[decimals] >= cn_exact_powers[digits] ? decimals - 1 : decimals;
}

/* magnitude = units / 10^decimals, with at most 15 digits; false: no such were found. */
static bool find_units(double magnitude, uint64_t *ret_units, int *ret_decimals)
{
    const double limit = cn_exact_powers[MAX_DIGITS];
    if (magnitude >= limit) return false;
    int decimals = decimals_for(magnitude, MAX_DIGITS);
    if (decimals > MAX_DECIMALS) decimals = MAX_DECIMALS;
    double units = floor(magnitude * cn_exact_powers[decimals] + 0.5);
    if (units >= limit || units / cn_exact_powers[decimals] != magnitude) return false;
    *ret_units = (uint64_t)units;
    *ret_decimals = decimals;
    return true;
}

static char *put(char *at, const char *bytes, int count)
{
    memcpy(at, bytes, (size_t)count);
    return at + count;
}

static char *put_fraction(char *at, const char *digits, int count)
{
    if (count > 0) *at++ = '.';
    return put(at, digits, count > 0 ? count : 0);
}

/* d.ddd * 10^exponent as "%.15g" lays it out, but with a fraction where there is no exponent. */
static char *lay_out(char *at, const char *digits, int count, int exponent)
{
    static const char zeros[] = "000000000000000";
    int whole = exponent + 1;
    if (exponent < -4 || exponent >= MAX_DIGITS) {
        at = put_fraction(put(at, digits, 1), digits + 1, count - 1);
        return at + sprintf(at, "e%+03d", exponent);
    }
    if (whole <= 0) return put(put(put(at, "0.", 2), zeros, -whole), digits, count);
    if (whole < count) return put_fraction(put(at, digits, whole), digits + whole, count - whole);
    return put(put(put(at, digits, count), zeros, whole - count), ".0", 2);
}

static bool write_short(char *text, double number)
{
    char digits[CN_DECIMAL_BYTES];
    uint64_t units;
    int decimals;
    if (signbit(number)) *text++ = '-';
    if (!find_units(fabs(number), &units, &decimals)) return false;
    if (units && units % 100000000 == 0) units /= 100000000, decimals -= 8; /* most zeros at once: common numbers have few digits */
    int count = (int)(cn_decimal_put(digits, units) - digits), exponent = units ? count - 1 - decimals : 0;
    while (count > 1 && digits[count - 1] == '0') count--;
    *lay_out(text, digits, count, exponent) = 0;
    return true;
}

/* printf writes the locale's point; JSON's is '.'. */
static void use_json_point(char *text)
{
    const char *point = localeconv()->decimal_point;
    char *at = strstr(text, point);
    if (!at || !strcmp(point, ".")) return;
    *at = '.';
    memmove(at + 1, at + strlen(point), strlen(at + strlen(point)) + 1);
}

static void write_long(char *text, double number)
{
    /* fewer than 15 digits come out by themselves, for %g drops zeros; not so where precision is lost towards zero */
    for (int digits = fabs(number) < DBL_MIN ? 1 : MAX_DIGITS; digits <= 17; digits++) {
        snprintf(text, CN_SHORTEST_BYTES, "%.*g", digits, number);
        double read = strtod(text, NULL);
        if (read == number) break;
    }
    use_json_point(text);
    if (!strpbrk(text, ".e")) strcat(text, ".0");
}

size_t cn_shortest_f64(double number, char ret_text[CN_SHORTEST_BYTES])
{
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    if (!write_short(ret_text, number)) write_long(ret_text, number);
    return strlen(ret_text);
}

double cn_round_digits(double number, int digits)
{
    enum { LARGEST_EXPONENT = 290 }; /* where a power of ten is still far from the ends */
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    if (!isfinite(number) || number == 0) return number;
    int decimals = decimals_for(fabs(number), digits);
    volatile double rounded = number; /* now, not on the way out */
    if (decimals >= 0 && decimals <= MAX_DECIMALS) {
        rounded = round(number * cn_exact_powers[decimals]) / cn_exact_powers[decimals];
        return rounded;
    }
    int exponent = (int)floor(log10(fabs(number)));
    if (abs(exponent) > LARGEST_EXPONENT) return number;
    double scale = pow(10, digits - 1 - exponent);
    rounded = round(number * scale) / scale;
    return rounded;
}
