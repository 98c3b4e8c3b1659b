/* Covers src/base/alloc.c, quota.c, buf.c, copy.c, copy_simd.c, decimal.c, digest.c, digest_simd.c, dtype.c, error.c, hash.c, json_read.c, json_number.c, json_write.c, shortest.c, stats.c,
 * stats_simd.c and utf8.c: JSON, digests and statistics on every vector level, pool, buffer, hash, UTF-8, names shown. */
#include "support.h"

#include <fenv.h>
#include <inttypes.h>
#include <math.h>

#include "base/check.h"
#include "base/copy.h"
#include "base/decimal.h"
#include "base/dtype.h"
#include "base/hash.h"
#include "base/quota.h"
#include "base/json.h"
#include "base/shortest.h"
#include "base/stats.h"
#include "base/utf8.h"
#include "os/os.h"

static cairn_error err = CAIRN_ERROR_INIT;

static int parse(const char *text, size_t size)
{
    struct cn_pool pool;
    struct cn_json json;
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    cn_json_init(&json, text, size, &pool);
    int code = cn_json_skip(&json, &err);
    if (!code) code = cn_json_expect(&json, CN_JSON_END, "the end", &err);
    cn_pool_done(&pool);
    return code;
}

static void json_is_strict(void **unused)
{
    static const char *const good[] = {
        "null", " [1 , -2.5e+3 ,\"\\u00e9\\ud83d\\ude00\" ] ", "{}", "[]", "{\"a\":{\"b\":[true,false]}}", "0", "-0", "\"\"", "1e400000e"
    };
    static const char *const bad[] = { "",
                                       "[1,]",
                                       "{\"a\":1,}",
                                       "{a:1}",
                                       "01",
                                       "+1",
                                       "1.",
                                       ".5",
                                       "NaN",
                                       "'a'",
                                       "\"\\x\"",
                                       "\"\\ud800\"",
                                       "\"\t\"",
                                       "[1 2]",
                                       "{\"a\" 1}",
                                       "nul",
                                       "[",
                                       "\"a",
                                       "1 2",
                                       "\xff",
                                       "\"\xc0\x80\"",
                                       "\"\xed\xa0\x80\"",
                                       "1e",
                                       "--1",
                                       "[1]]",
                                       "\"\\u12\"",
                                       "1e999" };
    (void)unused;
    for (size_t i = 0; i + 1 < sizeof good / sizeof *good; i++) test_ok(parse(good[i], strlen(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (parse(bad[i], strlen(bad[i])) != CAIRN_E_FORMAT) fail_msg("accepted: %s", bad[i]);
    parse("[1, 2, x]", 9);
    assert_int_equal(err.offset, 7);
}

/* Every byte at every place of a string, at every place of the document's end. */
static void json_strings_hold_what_they_may(void **unused)
{
    (void)unused;
    for (size_t before = 0; before < 20; before++)
        for (size_t after = 0; after < 12; after++)
            for (int byte = 0; byte < 256; byte++) {
                char document[40], expected[40], *text;
                struct cn_pool pool;
                struct cn_json json;
                enum cn_json_token token = CN_JSON_END;
                size_t size = before + after + 1;
                memset(expected, 'x', sizeof expected);
                expected[before] = (char)byte;
                document[0] = '"';
                memcpy(document + 1, expected, size);
                document[size + 1] = '"';
                text = malloc(size + 2); /* a sanitizer sees what is read behind it */
                memcpy(text, document, size + 2);
                cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
                cn_json_init(&json, text, size + 2, &pool);
                int code = cn_json_next(&json, &token, &err);
                bool ends = byte == '"', is_bad = byte < 0x20 || byte >= 0x80 || byte == '\\';
                assert_int_equal(code, is_bad ? CAIRN_E_FORMAT : CAIRN_OK);
                if (code) assert_int_equal(err.offset, byte != '\\' ? before + 1 : after ? before + 3 : size + 2);
                if (!code) assert_int_equal(json.text_size, ends ? before : size);
                if (!code) assert_memory_equal(json.text, expected, json.text_size);
                if (!code) assert_int_equal(json.text[json.text_size], 0);
                cn_pool_done(&pool);
                free(text);
            }
}

static void put_byte_expected(char *expected, int byte)
{
    static const char *const named[256] = {
        ['"'] = "\\\"", ['\\'] = "\\\\", ['\b'] = "\\b", ['\f'] = "\\f", ['\n'] = "\\n", ['\r'] = "\\r", ['\t'] = "\\t"
    };
    if (named[byte])
        strcpy(expected, named[byte]);
    else
        sprintf(expected, byte >= 0x80 ? "\xef\xbf\xbd" : byte < 0x20 || byte == 0x7f ? "\\u%04x" : "%c", byte);
}

/* Every byte at every place of a string and of a key. */
static void json_strings_are_escaped_where_they_must(void **unused)
{
    static const char fill[] = "xxxxxxxxxxxxxxxxxxxx";
    (void)unused;
    for (int before = 0; before < 20; before++)
        for (int after = 0; after < 12; after++)
            for (int byte = 0; byte < 256; byte++) {
                char text[40], escaped[8], expected[200];
                cn_auto_buf struct cn_buf buf;
                cn_buf_init(&buf, cn_os_alloc(), 1000);
                struct cn_json_writer writer = { .buf = &buf };
                memset(text, 'x', sizeof text);
                text[before] = (char)byte;
                size_t size = (size_t)before + 1 + (size_t)after;
                put_byte_expected(escaped, byte);
                snprintf(expected, sizeof expected, "{\"%.*s%s%.*s\":\"%.*s%s%.*s\"}", before, fill, escaped, after, fill, before, fill,
                         escaped, after, fill);
                cn_json_begin_object(&writer);
                cn_json_key_sized(&writer, text, size);
                cn_json_put_sized(&writer, text, size);
                cn_json_end_object(&writer);
                assert_string_equal(buf.data, expected);
            }
}

static void json_integers_are_written_plainly(void **unused)
{
    static const uint64_t numbers[] = { 0, 9, 10, 99, 100, INT64_MAX, (uint64_t)INT64_MAX + 1, UINT64_MAX };
    (void)unused;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char expected[64];
        cn_auto_buf struct cn_buf buf;
        cn_buf_init(&buf, cn_os_alloc(), 1000);
        struct cn_json_writer writer = { .buf = &buf };
        cn_json_put_u64(&writer, numbers[i]);
        cn_json_put_i64(&writer, (int64_t)numbers[i]);
        snprintf(expected, sizeof expected, "%" PRIu64 ",%" PRId64, numbers[i], (int64_t)numbers[i]);
        assert_string_equal(buf.data, expected);
    }
}

static void json_numbers_come_back(void **unused)
{
    static const double numbers[] = { 0, -0.0, 1, 0.1, 1e-300, 5e-324, 1.7976931348623157e308, 123456789012345680, 1.0 / 3, 2e22 };
    (void)unused;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        cn_auto_buf struct cn_buf buf;
        struct cn_pool pool;
        struct cn_json json;
        double found;
        cn_buf_init(&buf, cn_os_alloc(), 1000);
        struct cn_json_writer writer = { .buf = &buf };
        cn_json_put_f64(&writer, numbers[i]);
        assert_non_null(strpbrk(buf.data, ".e"));
        cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
        cn_json_init(&json, buf.data, buf.size, &pool);
        test_ok(cn_json_f64(&json, &found, &err));
        assert_memory_equal(&found, &numbers[i], sizeof found);
        cn_pool_done(&pool);
    }
}

static enum cn_json_token read_literal(const char *literal, struct cn_json *json)
{
    enum cn_json_token token = CN_JSON_END;
    struct cn_pool pool;
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    cn_json_init(json, literal, strlen(literal), &pool);
    test_ok(cn_json_next(json, &token, &err));
    if (token == CN_JSON_FLOAT) assert_string_equal(json->text, literal);
    cn_pool_done(&pool);
    return token;
}

/* Around every bound of the quick way: 19 digits, 2^53, the powers of ten that are doubles. */
static void json_numbers_are_those_of_strtod(void **unused)
{
    static const char *const others[] = { "9007199254740992.0",
                                          "9007199254740993.0",
                                          "9007199254740994.0",
                                          "1e22",
                                          "1e23",
                                          "1e-22",
                                          "1e-23",
                                          "0e99999",
                                          "0.0e-99999999999999999999",
                                          "1e-400",
                                          "-0",
                                          "-0.0",
                                          "18446744073709551616",
                                          "1234567890123456789012",
                                          "-9223372036854775809",
                                          "0.000000000000000000001",
                                          "1.00000000000000000000000000000000000001" };
    uint64_t random = 88172645463325252u;
    (void)unused;
    for (size_t i = 0; i < 200000; i++) {
        char literal[80];
        struct cn_json json;
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        int whole = (int)(random >> 8 & 15), fraction = (int)(random >> 12 & 15);
        if (i < sizeof others / sizeof *others)
            snprintf(literal, sizeof literal, "%s", others[i]);
        else
            snprintf(literal, sizeof literal, "%s%.*llu.%.*llu%s%d", random & 1 ? "-" : "", 1, (unsigned long long)(random >> 40) >> whole,
                     1 + fraction, (unsigned long long)(random * 31) >> (4 * fraction),
                     random & 2   ? "e"
                     : random & 4 ? "E+"
                                  : "e-",
                     (int)(random >> 20 & 31));
        double expected = strtod(literal, NULL);
        if (read_literal(literal, &json) != CN_JSON_FLOAT) fail_msg("%s is no float", literal);
        if (memcmp(&json.real, &expected, sizeof expected)) fail_msg("%s: %.17g instead of %.17g", literal, json.real, expected);
    }
}

static void json_integers_are_exact(void **unused)
{
    struct cn_json json;
    (void)unused;
    assert_true(read_literal("18446744073709551615", &json) == CN_JSON_UINT && json.number == UINT64_MAX);
    assert_true(read_literal("9999999999999999999", &json) == CN_JSON_UINT && json.number == UINT64_C(9999999999999999999));
    assert_true(read_literal("10000000000000000000", &json) == CN_JSON_UINT && json.number == UINT64_C(10000000000000000000));
    assert_true(read_literal("0", &json) == CN_JSON_UINT && !json.number);
    assert_true(read_literal("-1", &json) == CN_JSON_INT && json.negative == -1);
    assert_true(read_literal("-9223372036854775808", &json) == CN_JSON_INT && json.negative == INT64_MIN);
}

/* What became of each key: its place in the names, '-' for none of them, '!' where reading ended in an error. */
static void a_member_is_found_however_it_is_written(void **unused)
{
    static const struct cn_json_name names[] = { CN_JSON_NAME("a"), CN_JSON_NAME("bb"), CN_JSON_NAME("c") };
    static const struct {
        const char *document, *found;
    } cases[] = {
        { "{\"a\":0,\"bb\":[{\"a\":1}],\"c\":{}}", "012" },
        { "{ \"a\" : 0 , \"bb\":1\n,\"c\" :2 }", "012" },
        { "{\"c\":0,\"bb\":1,\"a\":2}", "210" },
        { "{\"\\u0061\":0,\"b\\u0062\":1,\"c\":2}", "012" },
        { "{\"a\":0,\"a\":1,\"bb\":2,\"a\":3}", "0010" },
        { "{\"b\":0,\"bbb\":1,\"\":2,\"A\":3,\"a\":4}", "----0" },
        { "{\"x\":0,\"a\":1,\"y\":2,\"bb\":3}", "-0-1" },
        { "{}", "" },
        { "{\"a\":0,\"bb\"", "0!" },
        { "{\"a\":0,\"bb", "0!" },
        { "{\"a\":0,", "0!" },
        { "{\"a\":0\"bb\":1}", "0!" },
        { "{,\"a\":0}", "!" },
        { "{\"a\":0,,\"bb\":1}", "0!" },
        { "{\"a\":,\"bb\":1}", "0!" },
        { "{\"a\\u0000\":1}", "!" },
    };
    (void)unused;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_pool pool;
        struct cn_json json;
        char found[16] = "";
        unsigned member = 3;
        bool more = false;
        char *copy = memcpy(malloc(strlen(cases[i].document)), cases[i].document, strlen(cases[i].document));
        cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
        cn_json_init(&json, copy, strlen(cases[i].document), &pool);
        int code = cn_json_expect(&json, CN_JSON_OBJECT, "an object", &err);
        while (!code && !(code = cn_json_next_member(&json, names, 3, &member, &more, &err)) && more) {
            found[strlen(found)] = member < 3 ? (char)('0' + member) : '-';
            code = cn_json_skip(&json, &err);
        }
        if (code) found[strlen(found)] = '!';
        assert_string_equal(found, cases[i].found);
        cn_pool_done(&pool);
        free(copy);
    }
}

/* What the C library says, a digit more at a time. */
static void shortest_by_the_library(double number, char text[64])
{
    for (int digits = fabs(number) < 2.2250738585072014e-308 ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, 64, "%.*g", digits, number);
        double read = strtod(text, NULL);
        if (!memcmp(&read, &number, sizeof read)) break;
    }
    if (!strpbrk(text, ".e")) strcat(text, ".0");
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13, *random ^= *random >> 7, *random ^= *random << 17;
    return *random;
}

/* Any bits; powers of two and ten; decimals of 1 to 17 digits, and what is next to them. */
static double number_to_write(uint64_t round, uint64_t *random)
{
    uint64_t bits = next_random(random), limit = 10;
    double number;
    char text[64];
    memcpy(&number, &bits, sizeof number);
    if (round % 8 == 0 && isfinite(number)) return number;
    if (round % 8 == 1) return ldexp(round & 8 ? 1 : -1, (int)(bits % 200) - 100);
    if (round % 8 == 2) return pow(10, (int)(bits % 50) - 30);
    for (uint64_t digits = next_random(random) % 17; digits; digits--) limit *= 10;
    snprintf(text, sizeof text, "%s%llue%d", round & 8 ? "-" : "", (unsigned long long)(bits % limit),
             (int)(next_random(random) % 60) - 40);
    number = strtod(text, NULL);
    return round % 8 == 3 ? nextafter(number, round & 16 ? INFINITY : -INFINITY) : number;
}

/* By logarithm and power, as the digits were counted when the format was made. */
static double rounded_by_the_library(double number)
{
    if (!isfinite(number) || number == 0) return number;
    int exponent = (int)floor(log10(fabs(number)));
    if (exponent > 290 || exponent < -290) return number;
    double scale = pow(10, 5 - exponent);
    return round(number * scale) / scale;
}

static void a_double_is_rounded_as_the_library_would(void **unused)
{
    uint64_t random = 88172645463325252u;
    (void)unused;
    for (uint64_t round = 0; round < 500000; round++) {
        double number = number_to_write(round, &random), expected = rounded_by_the_library(number), found = cn_round_digits(number, 6);
        assert_memory_equal(&found, &expected, sizeof found);
    }
}

static void a_double_is_written_as_the_library_would(void **unused)
{
    uint64_t random = 88172645463325252u;
    (void)unused;
    for (uint64_t round = 0; round < 200000; round++) {
        double number = number_to_write(round, &random);
        char expected[64], found[CN_SHORTEST_BYTES];
        shortest_by_the_library(number, expected);
        assert_int_equal(cn_shortest_f64(number, found), strlen(expected));
        assert_string_equal(found, expected);
    }
}

static void mutated_json_does_no_harm(void **unused)
{
    static const char seed_text[] = "{\"a\":[1,2.5,\"x\\u0041\",null,{\"b\":true}],\"digest\":-7e2}";
    char text[sizeof seed_text];
    uint32_t state = 1;
    (void)unused;
    for (int round = 0; round < 20000; round++) {
        memcpy(text, seed_text, sizeof text);
        for (int k = 0; k < 3; k++) {
            state = state * 1664525 + 1013904223;
            text[(state >> 8) % (sizeof text - 1)] = (char)(state >> 24);
        }
        (void)parse(text, (state >> 4) % sizeof text);
    }
}

static void digests_agree_on_every_level(void **unused)
{
    unsigned char *data = malloc(5 << 20);
    char hex[CN_DIGEST_HEX_BYTES];
    (void)unused;
    for (size_t i = 0; i < 5 << 20; i++) data[i] = (unsigned char)(i * 2654435761u >> 13);
    static const size_t sizes[] = { 0, 1, 3, 8, 16, 17, 128, 129, 240, 241, 1024, 4097, 5 << 20 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct cn_digest base = cn_digest_of_at(CN_SIMD_BASELINE, data, sizes[i]);
        for (int level = 0; level < CN_SIMD_COUNT; level++)
            if (cn_simd_available((enum cn_simd)level)) {
                struct cn_digest other = cn_digest_of_at((enum cn_simd)level, data, sizes[i]);
                assert_true(cn_digest_equal(&base, &other));
            }
    }
    /* the tensor rule of nothing is the digest of nothing; a stream in odd pieces is the same as the whole */
    struct cn_digest nothing = cn_digest_blocks(NULL, 0);
    cn_digest_hex(&nothing, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    struct cn_digest blocks[2] = { cn_digest_of(data, CN_BLOCK_BYTES), cn_digest_of(data + CN_BLOCK_BYTES, 1 << 20) };
    struct cn_digest whole = cn_digest_blocks(data, 5 << 20), want = cn_digest_of(blocks, sizeof blocks);
    assert_true(cn_digest_equal(&whole, &want));
    struct cn_digest_stream stream;
    cn_digest_stream_init(&stream);
    for (size_t at = 0; at < 5 << 20; at += 77777)
        cn_digest_stream_add(&stream, data + at, (5 << 20) - at < 77777 ? (5 << 20) - at : 77777);
    struct cn_digest streamed = cn_digest_stream_end(&stream);
    assert_true(cn_digest_equal(&streamed, &whole));
    free(data);
}

static void a_digest_is_read_as_it_is_written(void **unused)
{
    struct cn_digest digest = { { 0 } }, read;
    char hex[CN_DIGEST_HEX_BYTES];
    (void)unused;
    for (int value = 0; value < 256; value++) {
        memset(digest.bytes, value, sizeof digest.bytes);
        digest.bytes[value & 15] ^= 0x5a;
        cn_digest_hex(&digest, hex);
        assert_true(cn_digest_parse(hex, 32, &read) && cn_digest_equal(&read, &digest));
        assert_false(cn_digest_parse(hex, 31, &read) || cn_digest_parse(hex, 33, &read));
        for (size_t i = 0; i < 32; i++) {
            char kept = hex[i];
            hex[i] = (char)value;
            bool is_digit = value && strchr("0123456789abcdef", value);
            assert_int_equal(cn_digest_parse(hex, 32, &read), is_digit);
            hex[i] = kept;
        }
    }
}

static void statistics_agree_on_every_level(void **unused)
{
    float data[1003];
    double wide[] = { 3, -4, NAN, INFINITY, -INFINITY, 0 };
    const uint16_t half[] = { 0x3c00, 0xc000, 0x7c00, 0x7e00, 0x0001 }, brain[] = { 0x3f80, 0xc000, 0x7f80, 0x7fc0 };
    (void)unused;
    for (int i = 0; i < 1003; i++) data[i] = sinf((float)i) * (float)i;
    data[77] = NAN;
    data[1002] = -INFINITY;
    struct cn_stats base = cn_stats_of_at(CN_SIMD_BASELINE, CAIRN_F32, data, sizeof data);
    assert_true(base.nan_count == 1 && base.inf_count == 1 && base.max_abs > 900);
    for (int level = 1; level < CN_SIMD_COUNT; level++)
        if (cn_simd_available((enum cn_simd)level)) {
            struct cn_stats other = cn_stats_of_at((enum cn_simd)level, CAIRN_F32, data, sizeof data);
            assert_memory_equal(&base, &other, sizeof base);
        }
    struct cn_stats stats = cn_stats_of(CAIRN_F64, wide, sizeof wide);
    assert_true(stats.sum_squares == 25 && stats.max_abs == 4 && stats.nan_count == 1 && stats.inf_count == 2);
    stats = cn_stats_of(CAIRN_F16, half, sizeof half);
    assert_true(stats.max_abs == 2 && stats.nan_count == 1 && stats.inf_count == 1 && stats.sum_squares == 5 + 0x1p-48);
    stats = cn_stats_of(CAIRN_BF16, brain, sizeof brain);
    assert_true(stats.max_abs == 2 && stats.nan_count == 1 && stats.inf_count == 1);
}

/* Every byte arrives and none beside it is touched, wherever the copy begins and ends. */
static void a_copy_is_one_on_every_level(void **unused)
{
    static unsigned char source[3000], destination[3000], expected[3000];
    static const size_t sizes[] = { 0, 1, 63, 64, 255, 256, 257, 1000, 2777 };
    (void)unused;
    for (size_t i = 0; i < sizeof source; i++) source[i] = (unsigned char)(i * 7 + i / 256);
    for (int level = 0; level < CN_SIMD_COUNT; level++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes && cn_simd_available((enum cn_simd)level); k++)
            for (size_t to = 0; to < 70; to += 3)
                for (size_t from = 0; from < 70; from += 23) {
                    memset(destination, 0xaa, sizeof destination);
                    memset(expected, 0xaa, sizeof expected);
                    memcpy(expected + to, source + from, sizes[k]);
                    cn_copy_at((enum cn_simd)level, destination + to, source + from, sizes[k]);
                    assert_memory_equal(destination, expected, sizeof expected);
                }
}

/* The definition in plain words, for elements whose value as a double is given. */
static struct cn_stats defined(const double *values, int count)
{
    struct cn_stats stats = { 0 };
    double squares[16] = { 0 };
    for (int i = 0; i < count; i++) {
        stats.nan_count += isnan(values[i]) != 0;
        stats.inf_count += isinf(values[i]) != 0;
        if (!isfinite(values[i])) continue;
        stats.max_abs = fmax(stats.max_abs, fabs(values[i]));
        squares[i % 16] += values[i] * values[i];
    }
    for (int lane = 0; lane < 16; lane++) stats.sum_squares += squares[lane];
    return stats;
}

static double widened(cairn_dtype dtype, uint64_t bits)
{
    double wide;
    float single;
    uint32_t word = (uint32_t)(dtype == CAIRN_BF16 ? bits << 16 : bits);
    memcpy(&wide, &bits, sizeof wide);
    memcpy(&single, &word, sizeof single);
    if (dtype == CAIRN_F64) return wide;
    if (dtype != CAIRN_F16) return (double)single;
    int exponent = (int)(bits >> 10 & 31);
    double fraction = (double)(bits & 0x3ff) * 0x1p-10;
    double magnitude = exponent == 31 ? (bits & 0x3ff ? NAN : INFINITY)
                       : exponent     ? ldexp(1 + fraction, exponent - 15)
                                      : ldexp(fraction, -14);
    return bits & 0x8000 ? -magnitude : magnitude;
}

/* Random bits: every kind of number comes up, subnormal ones, Inf and NaN among them. */
static void statistics_are_as_defined(void **unused)
{
    static const struct {
        cairn_dtype dtype;
        size_t width;
    } kinds[] = { { CAIRN_F64, 8 }, { CAIRN_F32, 4 }, { CAIRN_F16, 2 }, { CAIRN_BF16, 2 } };
    static unsigned char data[8 * 4099 + 1];
    static double values[4099];
    uint64_t random = 1;
    (void)unused;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++)
        for (int count = 0; count <= 4099; count = count < 20 ? count + 1 : count * 5 + 4) {
            for (int i = 0; i < count; i++) {
                random = random * 6364136223846793005u + 1442695040888963407u;
                uint64_t bits = random >> (64 - 8 * kinds[k].width);
                if (i % 9 == 0)
                    bits |= UINT64_C(0x7ff0) << (8 * kinds[k].width - 16); /* Inf and NaN in numbers */
                else if (kinds[k].width > 2)
                    bits &= ~(UINT64_C(0x7000) << (8 * kinds[k].width - 16)); /* no square overflows */
                if (i % 27 == 0) bits &= ~(UINT64_MAX >> 12);
                memcpy(data + 1 + (size_t)i * kinds[k].width, &bits, kinds[k].width);
                values[i] = widened(kinds[k].dtype, bits);
            }
            struct cn_stats expected = defined(values, count);
            for (int level = 0; level < CN_SIMD_COUNT; level++) {
                if (!cn_simd_available((enum cn_simd)level)) continue;
                struct cn_stats found = cn_stats_of_at((enum cn_simd)level, kinds[k].dtype, data + 1, (size_t)count * kinds[k].width);
                assert_memory_equal(&found, &expected, sizeof found);
            }
        }
}

enum { FIGURES = 4 + 2 * CN_SIMD_COUNT * 4 + 8 };

/* Bits of everything that is computed in floating point. */
static void take_figures(uint64_t *figures, char *text, size_t text_size)
{
    static const uint16_t half[] = { 0x0001, 0x83ff, 0x0200 }, brain[] = { 0x0001, 0x807f };
    static const uint32_t single[] = { 0x00000001, 0x807fffff };
    static const uint64_t wide[] = { UINT64_C(0x000fffffffffffff), UINT64_C(0x1ea0000000000001), UINT64_C(0x1ea0000000000003) };
    static const struct {
        cairn_dtype dtype;
        const void *data;
        size_t size;
    } tensors[] = { { CAIRN_F16, half, sizeof half },
                    { CAIRN_BF16, brain, sizeof brain },
                    { CAIRN_F32, single, sizeof single },
                    { CAIRN_F64, wide, sizeof wide } };
    static const char document[] = "[0.1,0.3,1.23e-310,5e-324,9007199254740993.0,9007199254740993,-9007199254740993,"
                                   "18446744073709551614]";
    static const double numbers[] = { 0.1, 0.3, 1.0 / 3, 1.2345678901234e-310, 5e-324, -2.2250738585072e-308 };
    size_t count = 0;
    for (size_t i = 0; i < 4; i++) {
        struct cn_stats total = { 0 };
        for (int level = 0; level < CN_SIMD_COUNT; level++) {
            enum cn_simd known = cn_simd_available((enum cn_simd)level) ? (enum cn_simd)level : CN_SIMD_BASELINE;
            struct cn_stats stats = cn_stats_of_at(known, tensors[i].dtype, tensors[i].data, tensors[i].size);
            memcpy(&figures[count++], &stats.max_abs, 8);
            memcpy(&figures[count++], &stats.sum_squares, 8);
            cn_stats_add(&total, &stats);
        }
        double norm = cn_stats_norm(&total);
        memcpy(&figures[count++], &norm, 8);
    }
    struct cn_pool pool;
    struct cn_json json;
    bool more;
    double real;
    cn_pool_init(&pool, cn_os_alloc(), 1 << 20);
    cn_json_init(&json, document, sizeof document - 1, &pool);
    test_ok(cn_json_expect(&json, CN_JSON_ARRAY, "an array", &err));
    while (!cn_json_next_element(&json, &more, &err) && more) {
        test_ok(cn_json_f64(&json, &real, &err));
        memcpy(&figures[count++], &real, 8);
    }
    cn_pool_done(&pool);
    assert_int_equal(count, FIGURES);
    struct cn_buf buf;
    struct cn_json_writer writer = { .buf = &buf };
    cn_buf_init(&buf, cn_os_alloc(), 1 << 20);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) cn_json_put_f64(&writer, numbers[i]);
    snprintf(text, text_size, "%s", buf.data);
    cn_buf_done(&buf);
}

/* Compared here and now: the compiler, which knows nothing of modes, would else compare where the old one is back. */
static bool is_flushed(void)
{
    volatile double smallest = 5e-324;
    volatile bool flushed = smallest == 0;
    return flushed;
}

/* Whatever the process around the library has set for its own arithmetic, figures are the same, and what it has set stays. */
static void compare_figures(bool flushes)
{
    static const int roundings[] = { FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO };
    uint64_t expected[FIGURES], found[FIGURES];
    char expected_text[200], text[200];
    take_figures(expected, expected_text, sizeof expected_text);
    for (int i = 0; i < 4; i++) {
        fenv_t before;
        assert_int_equal(fegetenv(&before), 0);
        fesetround(roundings[i]);
        if (flushes) test_flush_subnormals();
        take_figures(found, text, sizeof text);
        assert_int_equal(fegetround(), roundings[i]);
        bool flushed = is_flushed();
        fesetenv(&before);
        assert_int_equal(flushed, flushes);
        assert_memory_equal(found, expected, sizeof expected);
        assert_string_equal(text, expected_text);
    }
}

static void figures_do_not_depend_on_the_callers_rounding(void **unused)
{
    (void)unused;
    compare_figures(false);
}

/* valgrind has no such mode. */
static void figures_do_not_depend_on_flushed_subnormals(void **unused)
{
    fenv_t before;
    (void)unused;
    assert_int_equal(fegetenv(&before), 0);
    test_flush_subnormals();
    bool can_flush = is_flushed();
    fesetenv(&before);
    if (!can_flush) skip();
    compare_figures(true);
}

static void a_number_has_one_spelling(void **unused)
{
    static const char *const bad[] = { "", "-1", "+1", " 1", "01", "00", "x", "18446744073709551616", "99999999999999999999999" };
    const char *text = "18446744073709551615~";
    uint64_t number = 7;
    (void)unused;
    assert_true(cn_decimal_take(&text, &number) && number == UINT64_MAX && *text == '~');
    text = "0";
    assert_true(cn_decimal_take(&text, &number) && !number && !*text);
    number = 7;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        text = bad[i];
        assert_false(cn_decimal_take(&text, &number));
        assert_true(text == bad[i] && number == 7);
    }
    for (uint64_t i = 0, longest = UINT64_MAX; i < 21; i++, longest /= 10) {
        char put[CN_DECIMAL_BYTES + 1] = { 0 }, expected[32];
        snprintf(expected, sizeof expected, "%llu", (unsigned long long)longest);
        assert_true(cn_decimal_put(put, longest) == put + strlen(expected));
        assert_string_equal(put, expected);
    }
}

static void limits_hold(void **unused)
{
    struct cn_pool pool;
    struct cn_buf buf;
    struct cn_hash hash;
    uint64_t number = 7;
    (void)unused;
    cn_pool_init(&pool, cn_os_alloc(), 10000);
    assert_non_null(cn_pool_take(&pool, 5000));
    assert_null(cn_pool_take(&pool, 9000));
    assert_null(cn_pool_take_array(&pool, UINT64_MAX / 2, 16));
    void *mine = malloc(6000);
    assert_false(cn_pool_keep(&pool, mine, 6000));
    assert_false(cn_pool_keep(&pool, mine, SIZE_MAX));
    free(mine);
    assert_true(cn_pool_keep(&pool, malloc(100), 100));
    cn_pool_done(&pool);
    assert_true(cn_pool_keep(&pool, malloc(6000), 6000));
    assert_null(cn_pool_take(&pool, 4000));
    assert_non_null(cn_pool_take(&pool, 3000));
    cn_pool_done(&pool);
    cn_buf_init(&buf, cn_os_alloc(), 10);
    cn_buf_text(&buf, "12345");
    cn_buf_text(&buf, "678901");
    assert_true(buf.failed);
    cn_buf_text(&buf, "x");
    assert_int_equal(buf.size, 5);
    assert_null(cn_buf_keep(&buf, &pool));
    cn_buf_done(&buf);
    cn_buf_init(&buf, cn_os_alloc(), 10);
    const char *empty = cn_buf_keep(&buf, &pool);
    cn_buf_text(&buf, "12345");
    const char *kept = cn_buf_keep(&buf, &pool);
    cn_buf_text(&buf, "6");
    assert_string_equal(buf.data, "6");
    assert_string_equal(empty, "");
    assert_string_equal(kept, "12345");
    cn_buf_done(&buf);
    cn_pool_done(&pool);
    assert_false(cn_mul(UINT64_MAX, 2, &number) || cn_add(UINT64_MAX, 1, &number));
    assert_int_equal(number, 7);
    cn_hash_init(&hash, cn_os_alloc(), 42);
    uint64_t reserved = 0;
    char keys[2000][8];
    for (uint64_t i = 0; i < 2000; i++) {
        if (i == 1000) assert_int_equal(cn_hash_reserve(&hash, 1000), 0);
        if (i == 1000) reserved = hash.capacity;
        snprintf(keys[i], 8, "k%u", (unsigned)i);
        assert_int_equal(cn_hash_add(&hash, keys[i], strlen(keys[i]), i, NULL), 0);
    }
    assert_int_equal(hash.capacity, reserved);
    assert_int_equal(cn_hash_reserve(&hash, UINT64_MAX), CAIRN_E_NOMEM);
    assert_int_equal(cn_hash_reserve(&hash, SIZE_MAX / sizeof *hash.slots), CAIRN_E_NOMEM);
    assert_int_equal(cn_hash_add(&hash, "k77", 3, 5, &number), 1);
    assert_int_equal(number, 77);
    assert_true(cn_hash_find(&hash, "k1999", 5, &number) && number == 1999);
    assert_false(cn_hash_find(&hash, "k2000", 5, &number));
    cn_hash_done(&hash);
}

static void messages_are_one_line_of_utf8(void **unused)
{
    char path[2 * CAIRN_MESSAGE_BYTES];
    (void)unused;
    cn_error_set(&err, CAIRN_E_IO, "%s: a\nb", "store-\xff\xc3/run");
    assert_string_equal(err.message, "store-?"
                                     "?/run: a b");
    for (size_t extra = 0; extra < 3; extra++) { /* cut in every place of a character */
        memset(path, 'x', extra);
        for (size_t i = extra; i + 3 < sizeof path; i += 3) memcpy(path + i, "\xe2\x82\xac", 4);
        cn_error_set(&err, CAIRN_E_IO, "%s", path);
        assert_int_equal(cn_utf8_check(err.message, strlen(err.message)), strlen(err.message));
        assert_null(strchr(err.message, '?'));
        cn_error_prefix(&err, CAIRN_E_IO, "y%s", path);
        assert_int_equal(cn_utf8_check(err.message, strlen(err.message)), strlen(err.message));
    }
}

static void names_are_shown_harmless(void **unused)
{
    struct cn_shown shown;
    (void)unused;
    assert_string_equal(cn_show_text(&shown, "a\033[31m\n\xe2\x80\xae\"\xff"), "a\\u001b[31m\\u000a\\u202e\\\"\\xff");
    char long_name[2000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_true(strlen(cn_show_text(&shown, long_name)) <= CN_SHOWN_BYTES + 3);
    cn_error_set(&err, CAIRN_E_IO, "two\nlines");
    assert_null(strchr(err.message, '\n'));
    assert_int_equal(cn_utf8_next("\xf4\x90\x80\x80", 4, NULL), 0);
    assert_int_equal(cn_utf8_next("\xf0\x9f\x98\x80", 4, NULL), 4);
}

static void sizes_of_shapes(void **unused)
{
    uint64_t size = 1;
    const uint64_t ok[] = { 3, 5 }, wraps[] = { UINT64_C(1) << 63, UINT64_C(1) << 63, 0 },
                   zero[] = { 0, UINT64_C(1) << 63, UINT64_C(1) << 63 };
    (void)unused;
    test_ok(cn_dtype_size(CAIRN_BF16, 2, ok, &size, &err));
    assert_int_equal(size, 30);
    test_code(cn_dtype_size(CAIRN_F4, 2, ok, &size, &err), CAIRN_E_FORMAT);
    test_code(cn_dtype_size(CAIRN_U8, 3, wraps, &size, &err), CAIRN_E_LIMIT);
    test_ok(cn_dtype_size(CAIRN_U8, 3, zero, &size, &err));
    for (int i = 1; i < CAIRN_DTYPE_COUNT; i++) {
        const char *name = cairn_dtype_name((cairn_dtype)i);
        assert_int_equal(cn_dtype_parse(name, strlen(name)), i);
    }
    assert_int_equal(cn_dtype_parse("f32", 3), CAIRN_DTYPE_NONE);
}

static void a_quota_counts_what_is_out(void **unused)
{
    struct cn_quota quota;
    (void)unused;
    cn_quota_init(&quota, cn_os_alloc(), 1000);
    char *a = cn_resize(&quota.alloc, NULL, 400), *b = cn_resize(&quota.alloc, NULL, 400);
    assert_true(a && b && !quota.exceeded);
    assert_null(cn_resize(&quota.alloc, NULL, 400));
    assert_true(quota.exceeded);
    assert_null(cn_resize(&quota.alloc, a, 700)); /* a stays as it is */
    memset(a, 1, 400);
    cn_release(&quota.alloc, b);
    assert_non_null(a = cn_resize(&quota.alloc, a, 700));
    assert_int_equal(a[399], 1);
    assert_null(cn_resize(&quota.alloc, NULL, SIZE_MAX));
    cn_release(&quota.alloc, a);
    cn_release(&quota.alloc, NULL);
    assert_int_equal(quota.used_bytes, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_is_strict),
        cmocka_unit_test(json_strings_hold_what_they_may),
        cmocka_unit_test(json_strings_are_escaped_where_they_must),
        cmocka_unit_test(json_integers_are_written_plainly),
        cmocka_unit_test(json_numbers_come_back),
        cmocka_unit_test(json_numbers_are_those_of_strtod),
        cmocka_unit_test(json_integers_are_exact),
        cmocka_unit_test(a_member_is_found_however_it_is_written),
        cmocka_unit_test(a_double_is_written_as_the_library_would),
        cmocka_unit_test(a_double_is_rounded_as_the_library_would),
        cmocka_unit_test(mutated_json_does_no_harm),
        cmocka_unit_test(digests_agree_on_every_level),
        cmocka_unit_test(a_digest_is_read_as_it_is_written),
        cmocka_unit_test(statistics_agree_on_every_level),
        cmocka_unit_test(statistics_are_as_defined),
        cmocka_unit_test(a_copy_is_one_on_every_level),
        cmocka_unit_test(figures_do_not_depend_on_the_callers_rounding),
        cmocka_unit_test(figures_do_not_depend_on_flushed_subnormals),
        cmocka_unit_test(a_number_has_one_spelling),
        cmocka_unit_test(limits_hold),
        cmocka_unit_test(messages_are_one_line_of_utf8),
        cmocka_unit_test(names_are_shown_harmless),
        cmocka_unit_test(sizes_of_shapes),
        cmocka_unit_test(a_quota_counts_what_is_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
