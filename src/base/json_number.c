/* Numbers in JSON: their grammar, exact 64-bit integers, and the double next to everything else, whatever the locale and arithmetic of the process. */
#include <float.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "base/decimal.h"
#include "base/floatenv.h"
#include "base/json_parts.h"

/* mantissa * 10^exponent, as long as mantissa has no more than EXACT_DIGITS. */
struct literal {
    bool negative, integer; /* integer: without fraction and exponent */
    uint64_t mantissa;
    size_t digits; /* of the mantissa, zeros before it counted */
    int64_t exponent;
};

enum { EXACT_DIGITS = 19 }; /* fit into 64 bits */

static size_t take_digits(struct cn_json *json, uint64_t *number)
{
    size_t start = json->position;
    for (; json->position < json->size; json->position++) {
        unsigned digit = (unsigned)(unsigned char)json->data[json->position] - '0';
        if (digit > 9) break;
        *number = *number * 10 + digit;
    }
    return json->position - start;
}

/* After the 'e'. What is too large for 64 bits comes out as too large for a double. */
static int scan_exponent(struct cn_json *json, struct literal *literal, cairn_error *err)
{
    uint64_t number = 0;
    bool negative = !cn_json_take(json, '+') && cn_json_take(json, '-');
    size_t digits = take_digits(json, &number);
    if (!digits) return cn_json_fail_here(json, err, "digits must follow the exponent");
    if (digits > EXACT_DIGITS || number > INT32_MAX) number = INT32_MAX;
    literal->exponent += negative ? -(int64_t)number : (int64_t)number;
    return CAIRN_OK;
}

/* The grammar of a number. */
static int scan_number(struct cn_json *json, struct literal *literal, cairn_error *err)
{
    *literal = (struct literal){ .negative = cn_json_take(json, '-'), .integer = true };
    size_t first = json->position;
    literal->digits = take_digits(json, &literal->mantissa);
    if (!literal->digits) return cn_json_fail_here(json, err, "a value was expected here");
    if (literal->digits > 1 && json->data[first] == '0') return cn_json_fail(json, err, "a number with a leading zero");
    if (cn_json_take(json, '.')) {
        size_t digits = take_digits(json, &literal->mantissa);
        if (!digits) return cn_json_fail_here(json, err, "digits must follow the point");
        literal->digits += digits;
        literal->exponent = -(int64_t)digits;
        literal->integer = false;
    }
    if (!cn_json_take(json, 'e') && !cn_json_take(json, 'E')) return CAIRN_OK;
    literal->integer = false;
    return scan_exponent(json, literal, err);
}

/* Where mantissa and power of ten are doubles themselves, one operation rounds as the whole must be rounded (Clinger, 1990). */
static bool convert_short(const struct literal *literal, double *ret_real)
{
    int64_t power = literal->exponent < 0 ? -literal->exponent : literal->exponent;
    if (FLT_EVAL_METHOD != 0 || literal->digits > EXACT_DIGITS || literal->mantissa > UINT64_C(1) << DBL_MANT_DIG ||
        power > CN_MAX_EXACT_POWER)
        return false;
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    volatile double real = (double)literal->mantissa;
    real = literal->exponent < 0 ? real / cn_exact_powers[power] : real * cn_exact_powers[power];
    *ret_real = literal->negative ? -real : real;
    return true;
}

/* strtod reads the point of the process's locale, so the literal gets that one. */
static double to_double(struct cn_pool *pool, const char *literal, size_t size, bool *ret_failed)
{
    const char *point = localeconv()->decimal_point;
    size_t point_size = strlen(point);
    const char *dot = memchr(literal, '.', size);
    char small[64], *copy = size + point_size < sizeof small ? small : cn_pool_take(pool, size + point_size + 1);
    *ret_failed = !copy;
    if (!copy) return 0;
    size_t before = dot ? (size_t)(dot - literal) : size, used = before;
    memcpy(copy, literal, before);
    if (dot) {
        memcpy(copy + used, point, point_size);
        used += point_size;
        memcpy(copy + used, dot + 1, size - before - 1);
        used += size - before - 1;
    }
    copy[used] = 0;
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    return strtod(copy, NULL);
}

/* Of a mantissa that may have lost digits: 64 bits hold some numbers of one digit more. */
static bool recompute(const struct cn_json *json, const struct literal *literal, uint64_t *ret_number)
{
    uint64_t number = 0;
    for (size_t i = json->position - literal->digits; i < json->position; i++)
        if (__builtin_mul_overflow(number, 10, &number) || __builtin_add_overflow(number, (uint64_t)(json->data[i] - '0'), &number))
            return false;
    *ret_number = number;
    return true;
}

static bool take_integer(struct cn_json *json, const struct literal *literal, enum cn_json_token *ret_token)
{
    uint64_t number = literal->mantissa;
    if (!literal->integer || (literal->digits > EXACT_DIGITS && !recompute(json, literal, &number))) return false;
    if (literal->negative && (!number || number > (uint64_t)INT64_MAX + 1)) return false;
    *ret_token = literal->negative ? CN_JSON_INT : CN_JSON_UINT;
    json->number = number;
    json->negative = literal->negative ? (int64_t)(0 - number) : 0;
    return true;
}

int cn_json_read_number(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err)
{
    struct literal literal;
    bool failed = false;
    int code = scan_number(json, &literal, err);
    if (code) return code;
    if (take_integer(json, &literal, ret_token)) return CAIRN_OK;
    size_t size = json->position - json->token_start;
    json->text = cn_pool_copy(json->pool, json->data + json->token_start, size);
    json->text_size = size;
    if (!convert_short(&literal, &json->real)) json->real = to_double(json->pool, json->data + json->token_start, size, &failed);
    if (!json->text || failed) return cn_error_at(err, CAIRN_E_NOMEM, json->origin + json->token_start, "JSON: no memory for its numbers");
    if (json->real > 1.7976931348623157e308 || json->real < -1.7976931348623157e308)
        return cn_json_fail(json, err, "a number too large for a double");
    *ret_token = CN_JSON_FLOAT;
    return CAIRN_OK;
}
