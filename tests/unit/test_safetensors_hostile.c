/* safetensors headers made to break a reader: each case has its number from the project's list of known bad inputs and the code it must
 * give. Besides: every proper prefix, every one-byte edit, seeded random edits, allocation failures, and a header of many tensors within
 * its bounds of memory and time. Buffers are exactly as large as their content, so that a sanitizer sees any step outside. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/check.h"
#include "base/dtype.h"
#include "base/limits.h"
#include "format/safetensors.h"

/* ------------------------------------------------------------------------------------------------- an allocator that counts */

struct meter {
    uint64_t now, peak;
    long blocks, fail_after; /* fail_after < 0: never */
};

static void *meter_resize(void *user, void *memory, size_t size)
{
    struct meter *meter = user;
    if (meter->fail_after >= 0 && meter->fail_after-- == 0) {
        meter->fail_after = 0;
        return NULL;
    }
    size_t *old = memory ? (size_t *)memory - 2 : NULL, before = old ? *old : 0;
    size_t *block = realloc(old, size + 2 * sizeof *block);
    if (!block) return NULL;
    *block = size;
    meter->blocks += !memory;
    meter->now += size - before;
    if (meter->now > meter->peak) meter->peak = meter->now;
    return block + 2;
}

static void meter_release(void *user, void *memory)
{
    struct meter *meter = user;
    if (!memory) return;
    size_t *block = (size_t *)memory - 2;
    meter->now -= *block;
    meter->blocks--;
    free(block);
}

/* ------------------------------------------------------------------------------------------------------------ one whole file */

static void check_accepted(const struct cn_st_header *header, uint64_t file_bytes)
{
    uint64_t end = 0, size;
    for (uint64_t i = 0; i < header->count; i++) {
        const struct cn_st_tensor *tensor = &header->tensors[i];
        assert_int_equal(tensor->begin, end);
        assert_int_equal(tensor->name[tensor->name_size], 0);
        assert_int_equal(cn_dtype_size(tensor->dtype, tensor->rank, tensor->shape, &size, NULL), 0);
        assert_int_equal(size, tensor->end - tensor->begin);
        end = tensor->end;
    }
    assert_int_equal(header->data_offset + end, file_bytes);
}

/* Parses a file whose first `size` bytes are at hand (at least the header, or all of it); file_bytes is what the file claims to have. */
static int parse(const void *file, size_t size, uint64_t file_bytes, struct meter *meter, uint64_t *ret_count, cairn_error *err)
{
    struct cn_alloc alloc = { meter_resize, meter_release, meter };
    struct cn_pool pool;
    struct cn_st_header header = { .count = 12345 };
    uint64_t json_bytes;
    int code = cn_st_parse_prefix(file, size, file_bytes, &json_bytes, err);
    if (code) return code;
    char *exact = malloc(json_bytes ? json_bytes : 1);
    assert_non_null(exact);
    memcpy(exact, (const char *)file + CN_ST_PREFIX_BYTES, json_bytes);
    cn_pool_init(&pool, &alloc, (UINT64_C(64) << 20) + 2 * json_bytes);
    code = cn_st_parse_json(exact, json_bytes, file_bytes, 42, &pool, &header, err);
    if (!code)
        check_accepted(&header, file_bytes);
    else
        assert_int_equal(header.count, 12345); /* never clobbered */
    if (ret_count) *ret_count = header.count;
    cn_pool_done(&pool);
    free(exact);
    assert_int_equal(meter->blocks, 0);
    return code;
}

static void put_length(char *file, uint64_t length)
{
    for (int i = 0; i < 8; i++) file[i] = (char)(length >> 8 * i & 0xff);
}

static char *make_file(const char *json, size_t json_size, size_t data_bytes, size_t *ret_size)
{
    char *file = calloc(1, 8 + json_size + data_bytes);
    assert_non_null(file);
    put_length(file, json_size);
    memcpy(file + 8, json, json_size);
    *ret_size = 8 + json_size + data_bytes;
    return file;
}

/* --------------------------------------------------------------------------------------------------------------- the table */

#define TENSOR(name, dtype, shape, range) "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" range "]}"
#define ONE(dtype, shape, range) "{" TENSOR("w", dtype, shape, range) "}"
#define CASE(number, json, data, code)                                                                                                     \
    {                                                                                                                                      \
        number, json, sizeof(json) - 1, data, code                                                                                         \
    }
enum { ACCEPT = CAIRN_OK, FMT = CAIRN_E_FORMAT, TRN = CAIRN_E_TRUNCATED, LIM = CAIRN_E_LIMIT, UNS = CAIRN_E_UNSUPPORTED };

static const struct {
    const char *number, *json;
    size_t json_size, data_bytes;
    int code;
} cases[] = {
    CASE("good", ONE("F32", "2,3", "0,24"), 24, ACCEPT),
    CASE("good: no tensor", "{}", 0, ACCEPT),
    CASE("good: scalar", ONE("F64", "", "0,8"), 8, ACCEPT),
    CASE("S4 blanks only", "    ", 0, FMT),
    CASE("S9 not UTF-8", "{\"\xff\":{}}", 0, FMT),
    CASE("S10 not UTF-8 between", "{\xff}", 0, FMT),
    CASE("S11 overlong", "{\"\xc0\x80\":{}}", 0, FMT),
    CASE("S11 surrogate in UTF-8", "{\"\xed\xa0\x80\":{}}", 0, FMT),
    CASE("S11 beyond U+10FFFF", "{\"\xf4\x90\x80\x80\":{}}", 0, FMT),
    CASE("S12 lone surrogate escape", "{" TENSOR("\\ud800", "U8", "0", "0,0") "}", 0, FMT),
    CASE("S12 surrogates swapped", "{" TENSOR("\\udc00\\ud800", "U8", "0", "0,0") "}", 0, FMT),
    CASE("S12 surrogate pair", "{" TENSOR("\\ud83d\\ude00", "U8", "0", "0,0") "}", 0, ACCEPT),
    CASE("S13 array", "[]", 0, FMT),
    CASE("S13 null", "null", 0, FMT),
    CASE("S13 number", "1", 0, FMT),
    CASE("S13 string", "\"x\"", 0, FMT),
    CASE("S14 byte order mark", "\xef\xbb\xbf{}", 0, FMT),
    CASE("S15 leading white space", " \t\r\n" ONE("U8", "1", "0,1"), 1, ACCEPT),
    CASE("S16 trailing white space", ONE("U8", "1", "0,1") " \n\t ", 1, ACCEPT),
    CASE("S16 form feed is none", "{}\f", 0, FMT),
    CASE("S17 trailing NULs", "{}\0\0\0", 0, FMT),
    CASE("S18 second value", "{}{}", 0, FMT),
    CASE("S19 string without end", "{\"abc", 0, FMT),
    CASE("S19 object without end", "{" TENSOR("w", "U8", "0", "0,0"), 0, FMT),
    CASE("S19 escape at the end", "{\"abc\\", 0, FMT),
    CASE("S20 comma after the last", "{" TENSOR("w", "U8", "0", "0,0") ",}", 0, FMT),
    CASE("S20 comment", "{/**/}", 0, FMT),
    CASE("S20 single quotes", "{'w':1}", 0, FMT),
    CASE("S20 control character", "{\"a\nb\":1}", 0, FMT),
    CASE("S20 bad escape", "{\"\\x41\":1}", 0, FMT),
    CASE("S21 duplicate", "{" TENSOR("a", "U8", "1", "0,1") "," TENSOR("a", "U8", "1", "1,2") "}", 2, FMT),
    CASE("S21 duplicate, same range", "{" TENSOR("a", "U8", "1", "0,1") "," TENSOR("a", "I8", "1", "0,1") "}", 1, FMT),
    CASE("S21 duplicate by escape", "{" TENSOR("a", "U8", "1", "0,1") "," TENSOR("\\u0061", "U8", "1", "1,2") "}", 2, FMT),
    CASE("S22 dtype twice", "{\"w\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}", 0, FMT),
    CASE("S22 shape twice", "{\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"shape\":[0],\"data_offsets\":[0,0]}}", 0, FMT),
    CASE("S22 __metadata__ twice", "{\"__metadata__\":{},\"__metadata__\":{}}", 0, FMT),
    CASE("S22 key of __metadata__ twice", "{\"__metadata__\":{\"a\":\"1\",\"\\u0061\":\"2\"}}", 0, FMT),
    CASE("S23 number in __metadata__", "{\"__metadata__\":{\"a\":1}}", 0, FMT),
    CASE("S23 null in __metadata__", "{\"__metadata__\":{\"a\":null}}", 0, FMT),
    CASE("S23 nested __metadata__", "{\"__metadata__\":{\"a\":{\"b\":\"c\"}}}", 0, FMT),
    CASE("S23 list as __metadata__", "{\"__metadata__\":[]}", 0, FMT),
    CASE("S23 string as __metadata__", "{\"__metadata__\":\"pt\"}", 0, FMT),
    CASE("S24 null as __metadata__", "{\"__metadata__\":null}", 0, ACCEPT),
    CASE("S24 tensor called __metadata__", "{" TENSOR("__metadata__", "U8", "0", "0,0") "}", 0, FMT),
    CASE("S25 empty name", "{" TENSOR("", "U8", "1", "0,1") "}", 1, ACCEPT),
    CASE("S26 NUL in a name", "{" TENSOR("a\\u0000b", "U8", "1", "0,1") "}", 1, ACCEPT),
    CASE("S26 names that differ behind a NUL", "{" TENSOR("a\\u0000b", "U8", "1", "0,1") "," TENSOR("a\\u0000c", "U8", "1", "1,2") "}", 2,
         ACCEPT),
    CASE("S27 path as a name",
         "{" TENSOR("../../etc/passwd", "U8", "1", "0,1") "," TENSOR("/abs", "U8", "1", "1,2") "," TENSOR("C:\\\\x", "U8", "1", "2,3") "}",
         3, ACCEPT),
    CASE("S28 control characters by escape", "{" TENSOR("\\u001b[2J\\n", "U8", "1", "0,1") "}", 1, ACCEPT),
    CASE("S29 NFC and NFD", "{" TENSOR("\xc3\xa9", "U8", "1", "0,1") "," TENSOR("e\xcc\x81", "U8", "1", "1,2") "}", 2, ACCEPT),
    CASE("S31 no dtype", "{\"w\":{\"shape\":[0],\"data_offsets\":[0,0]}}", 0, FMT),
    CASE("S31 no shape", "{\"w\":{\"dtype\":\"U8\",\"data_offsets\":[0,0]}}", 0, FMT),
    CASE("S31 no data_offsets", "{\"w\":{\"dtype\":\"U8\",\"shape\":[0]}}", 0, FMT),
    CASE("S31 nothing", "{\"w\":{}}", 0, FMT),
    CASE("S32 unknown field", "{\"w\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0],\"x\":1}}", 0, FMT),
    CASE("S32 entry as a list", "{\"w\":[\"U8\",[0],[0,0]]}", 0, FMT),
    CASE("S32 entry null", "{\"w\":null}", 0, FMT),
    CASE("S33 F128", ONE("F128", "1", "0,16"), 16, UNS),
    CASE("S33 I4", ONE("I4", "2", "0,1"), 1, UNS),
    CASE("S33 f32", ONE("f32", "1", "0,4"), 4, FMT),
    CASE("S33 \"32\"", ONE("32", "1", "0,4"), 4, FMT),
    CASE("S33 empty dtype", ONE("", "1", "0,4"), 4, FMT),
    CASE("S33 F32 and a NUL", ONE("F32\\u0000", "1", "0,4"), 4, FMT),
    CASE("S33 number 32", "{\"w\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FMT),
    CASE("S33 null", "{\"w\":{\"dtype\":null,\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FMT),
    CASE("S34 object as dtype", "{\"w\":{\"dtype\":{\"F32\":null},\"shape\":[1],\"data_offsets\":[0,4]}}", 4, FMT),
    CASE("S35 3 x F4", ONE("F4", "3", "0,1"), 1, FMT),
    CASE("S35 F4 scalar", ONE("F4", "", "0,0"), 0, FMT),
    CASE("S35 3 x F6", ONE("F6_E2M3", "3", "0,3"), 3, FMT),
    CASE("S36 2 x F4", ONE("F4", "2", "0,1"), 1, ACCEPT),
    CASE("S36 4 x F6", ONE("F6_E3M2", "4", "0,3"), 3, ACCEPT),
    CASE("S37 2.0", ONE("U8", "2.0", "0,2"), 2, FMT),
    CASE("S37 1e3", ONE("U8", "1e3", "0,1000"), 1000, FMT),
    CASE("S38 -1", ONE("U8", "-1", "0,1"), 1, FMT),
    CASE("S38 -0", ONE("U8", "-0", "0,0"), 0, FMT),
    CASE("S38 leading zero", ONE("U8", "01", "0,1"), 1, FMT),
    CASE("S38 hexadecimal", ONE("U8", "0x1", "0,1"), 1, FMT),
    CASE("S38 plus", ONE("U8", "+1", "0,1"), 1, FMT),
    CASE("S38 dimension as a string", ONE("U8", "\"1\"", "0,1"), 1, FMT),
    CASE("S38 dimension null", ONE("U8", "null", "0,1"), 1, FMT),
    CASE("S38 nested shape", ONE("U8", "[1]", "0,1"), 1, FMT),
    CASE("S38 2^64", ONE("U8", "18446744073709551616", "0,1"), 1, FMT),
    CASE("S38 2^64 - 1", ONE("U8", "18446744073709551615", "0,1"), 1, FMT),
    CASE("S39 2^32 x 2^32", ONE("U8", "4294967296,4294967296", "0,0"), 0, FMT),
    CASE("S39 2^62 x F32 wraps to 0", ONE("F32", "4611686018427387904", "0,0"), 0, FMT),
    CASE("S39 2^61 x F64 wraps in bits", ONE("F64", "2305843009213693952", "0,0"), 0, FMT),
    CASE("S40 shape as an object", "{\"w\":{\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,1]}}", 1, FMT),
    CASE("S41 zero dimension, bytes", ONE("U8", "0", "0,1"), 1, FMT),
    CASE("S41 zero first", ONE("U8", "0,9223372036854775808,9223372036854775808", "0,0"), 0, ACCEPT),
    CASE("S41 zero last", ONE("U8", "9223372036854775808,9223372036854775808,0", "0,0"), 0, FMT),
    CASE("S42 size too small", ONE("F32", "2", "0,4"), 4, FMT),
    CASE("S42 size too large", ONE("F32", "1", "0,8"), 8, FMT),
    CASE("S43 begin > end", ONE("U8", "1", "1,0"), 1, FMT),
    CASE("S43 begin > end, difference wraps", ONE("U8", "1", "18446744073709551615,0"), 1, FMT),
    CASE("S44 negative offset", ONE("U8", "1", "-1,0"), 1, FMT),
    CASE("S44 offset as a float", ONE("U8", "1", "0,1.0"), 1, FMT),
    CASE("S45 end past the data", ONE("U8", "2", "0,2"), 1, TRN),
    CASE("S45 2^48 bytes", ONE("U8", "281474976710656", "0,281474976710656"), 1, TRN),
    CASE("S46 first tensor not at 0", ONE("U8", "1", "1,2"), 2, FMT),
    CASE("S47 hole", "{" TENSOR("a", "U8", "1", "0,1") "," TENSOR("b", "U8", "1", "2,3") "}", 3, FMT),
    CASE("S48 overlap", "{" TENSOR("a", "U8", "2", "0,2") "," TENSOR("b", "U8", "2", "1,3") "}", 3, FMT),
    CASE("S48 the same range", "{" TENSOR("a", "U8", "2", "0,2") "," TENSOR("b", "U8", "2", "0,2") "}", 2, FMT),
    CASE("S49 a byte after the last tensor", ONE("U8", "1", "0,1"), 2, FMT),
    CASE("S49 bytes and no tensor", "{}", 1, FMT),
    CASE("S51 one offset", ONE("U8", "1", "0"), 1, FMT),
    CASE("S51 three offsets", ONE("U8", "1", "0,1,2"), 1, FMT),
    CASE("S51 no offset", ONE("U8", "1", ""), 1, FMT),
    CASE("S52 offsets as an object", "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{\"0\":1}}}", 1, FMT),
    CASE("S53 any order", "{" TENSOR("b", "U8", "1", "1,2") "," TENSOR("a", "U8", "1", "0,1") "}", 2, ACCEPT),
    CASE("S54 fields in any order", "{\"w\":{\"data_offsets\":[0,4],\"shape\":[1],\"dtype\":\"F32\"}}", 4, ACCEPT),
    CASE("S55 empty ones share an offset",
         "{" TENSOR("a", "U8", "1", "0,1") "," TENSOR("b", "U8", "0", "1,1") "," TENSOR("c", "F32", "0,7", "1,1") "," TENSOR("d", "U8", "1",
                                                                                                                             "1,2") "}",
         2, ACCEPT),
    CASE("S56 empty one inside another", "{" TENSOR("a", "U8", "2", "0,2") "," TENSOR("b", "U8", "0", "1,1") "}", 2, FMT),
    CASE("S56 empty one past the data", "{" TENSOR("a", "U8", "2", "0,2") "," TENSOR("b", "U8", "0", "3,3") "}", 2, TRN),
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct meter meter = { .fail_after = -1 };
        cairn_error err = CAIRN_ERROR_INIT;
        size_t size;
        char *file = make_file(cases[i].json, cases[i].json_size, cases[i].data_bytes, &size);
        int code = parse(file, size, size, &meter, NULL, &err);
        if (code != cases[i].code)
            fail_msg("%s: %s, not %s: %s", cases[i].number, cairn_code_name(code), cairn_code_name(cases[i].code), err.message);
        assert_int_equal(parse(file, size, size, &meter, NULL, NULL), code); /* err may be NULL */
        if (code) {
            char position[64];
            snprintf(position, sizeof position, "(byte %llu)", (unsigned long long)err.offset);
            assert_int_equal(err.code, code);
            assert_true(err.message[0] && !strchr(err.message, '\n'));
            if (err.offset == CAIRN_NO_OFFSET || !strstr(err.message, position))
                fail_msg("%s: no position: %s", cases[i].number, err.message);
            assert_true(err.offset <= size || code == FMT); /* a hole may be claimed beyond the end */
        }
        free(file);
    }
}

static void expect_prefix(uint64_t length, uint64_t file_bytes, int expected)
{
    char prefix[8];
    uint64_t json_bytes = 77;
    cairn_error err = CAIRN_ERROR_INIT;
    put_length(prefix, length);
    assert_int_equal(cn_st_parse_prefix(prefix, 8, file_bytes, &json_bytes, &err), expected);
    assert_int_equal(json_bytes, expected ? 77 : length);
}

static void test_prefix(void **state)
{
    (void)state;
    uint64_t json_bytes;
    for (size_t size = 0; size < 8; size++) /* S1, S2 */
        assert_int_equal(cn_st_parse_prefix("\2\0\0\0\0\0\0\0", size, size, &json_bytes, NULL), CAIRN_E_TRUNCATED);
    expect_prefix(0, 8, CAIRN_E_FORMAT); /* S3 */
    expect_prefix(0, 100, CAIRN_E_FORMAT);
    expect_prefix(UINT64_C(1) << 63, 100, CAIRN_E_LIMIT); /* S5 */
    expect_prefix(UINT64_MAX, 100, CAIRN_E_LIMIT);
    expect_prefix(UINT64_MAX - 7, 100, CAIRN_E_LIMIT);
    expect_prefix(UINT64_MAX - 7, UINT64_MAX, CAIRN_E_LIMIT);
    expect_prefix(3, 10, CAIRN_E_TRUNCATED); /* S6 */
    expect_prefix(2, 10, CAIRN_OK);
    expect_prefix(100000000, 100000008, CAIRN_OK); /* S7 */
    expect_prefix(100000000, 100000007, CAIRN_E_TRUNCATED);
    expect_prefix(100000001, UINT64_C(1) << 40, CAIRN_E_LIMIT); /* S8 */
    expect_prefix(0x7b, 1000, CAIRN_OK);
}

/* Files that begin with something else are told by an absurd length, and by name where it is known. */
static void test_not_safetensors(void **state)
{
    (void)state;
    uint64_t json_bytes;
    static const struct {
        const char *bytes, *said;
        int code;
    } others[] = {
        { "{\"w\":{\"dtype\"", "a header of", LIM },
        { "\x93NUMPY\1\0v\0", "a header of", LIM },
        { "version https://git-lfs", "a header of", LIM },
        { "PK\3\4\24\0\0\0\10\0", "a zip archive, as torch.save writes", FMT },
        { "PK\3\4\0\0\10\10\0\0", "a zip archive", FMT },
        { "GGUF\3\0\0\0\1\0", "a GGUF file", FMT },
        { "\x80\2\x8a\12l\xfc\234F\xf9 ", "a pickle, as torch.save", FMT },
        { "\x80\5\x95\1\0\0\0\1", "a pickle", FMT },
        { "\x80\6\x95\1\0\0\0\1", "a header of", LIM },
    };
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        cairn_error err = CAIRN_ERROR_INIT;
        int code = cn_st_parse_prefix(others[i].bytes, 8, 1000, &json_bytes, &err);
        assert_int_equal(code, others[i].code);
        assert_non_null(strstr(err.message, others[i].said));
    }
    /* the same bytes as lengths of headers */
    for (int version = 2; version <= 5; version++) expect_prefix(0x80 | (uint64_t)version << 8, 10000, CAIRN_OK);
    expect_prefix(0x04034b50, UINT64_C(1) << 30, CAIRN_OK);
}

static void test_position_and_name(void **state)
{
    (void)state;
    static const char json[] = "{" TENSOR("ok", "U8", "1", "0,1") ",\"bad\\u001b\\u202ename\":{\"dtype\":\"F128\"}}";
    struct meter meter = { .fail_after = -1 };
    cairn_error err = CAIRN_ERROR_INIT;
    size_t size;
    char *file = make_file(json, sizeof json - 1, 1, &size);
    assert_int_equal(parse(file, size, size, &meter, NULL, &err), CAIRN_E_UNSUPPORTED);
    assert_int_equal(err.offset, 8 + (strstr(json, "\"F128\"") - json));
    assert_non_null(strstr(err.message, "bad\\u001b\\u202ename"));
    assert_non_null(strstr(err.message, "F128"));
    free(file);
    file = make_file("{\"w\" 1}", 7, 0, &size);
    assert_int_equal(parse(file, size, size, &meter, NULL, &err), CAIRN_E_FORMAT);
    assert_int_equal(err.offset, 8 + 5);
    free(file);
}

/* ------------------------------------------------------------------------------------------------------------------- limits */

static void test_rank(void **state)
{
    (void)state;
    for (int rank = CAIRN_MAX_RANK; rank <= CAIRN_MAX_RANK + 1; rank++) {
        char json[512] = "{\"w\":{\"dtype\":\"U8\",\"shape\":[1";
        struct meter meter = { .fail_after = -1 };
        size_t size;
        for (int i = 1; i < rank; i++) strcat(json, ",1");
        strcat(json, "],\"data_offsets\":[0,1]}}");
        char *file = make_file(json, strlen(json), 1, &size);
        assert_int_equal(parse(file, size, size, &meter, NULL, NULL), rank <= CAIRN_MAX_RANK ? CAIRN_OK : CAIRN_E_LIMIT);
        free(file);
    }
}

static void test_depth(void **state)
{
    (void)state;
    for (int kind = 0; kind < 2; kind++) {
        size_t size, depth = 200000;
        char *json = malloc(depth + 5);
        struct meter meter = { .fail_after = -1 };
        memcpy(json, "{\"w\":", 5);
        memset(json + 5, kind ? '[' : '{', depth);
        char *file = make_file(json, depth + 5, 0, &size);
        int code = parse(file, size, size, &meter, NULL, NULL);
        assert_true(code == CAIRN_E_FORMAT || code == CAIRN_E_LIMIT);
        assert_true(meter.peak <= 2 * size + (1 << 20));
        free(file);
        free(json);
    }
}

static void test_metadata_pairs(void **state)
{
    (void)state;
    for (int extra = 0; extra <= 1; extra++) {
        int pairs = CN_MAX_ST_METADATA + extra;
        struct meter meter = { .fail_after = -1 };
        size_t size, used;
        char *json = malloc((size_t)pairs * 12 + 64);
        used = (size_t)sprintf(json, "{\"__metadata__\":{\"x\":\"\"");
        for (int i = 1; i < pairs; i++) used += (size_t)sprintf(json + used, ",\"%x\":\"\"", i);
        used += (size_t)sprintf(json + used, "}}");
        char *file = make_file(json, used, 0, &size);
        assert_int_equal(parse(file, size, size, &meter, NULL, NULL), extra ? CAIRN_E_LIMIT : CAIRN_OK);
        assert_true(meter.peak <= (UINT64_C(32) << 20));
        free(file);
        free(json);
    }
}

/* S59: many tensors, with the shortest entries there are. The bounds hold for 10^6 as well: CAIRN_TEST_TENSORS. */
static void test_many_tensors(void **state)
{
    (void)state;
    const char *wanted = getenv("CAIRN_TEST_TENSORS");
    uint64_t count = wanted ? strtoull(wanted, NULL, 10) : 200000, found;
    for (int kind = 0; kind < 3; kind++) { /* in order, backwards, all empty */
        struct meter meter = { .fail_after = -1 };
        cairn_error err = CAIRN_ERROR_INIT;
        size_t size, used = 0, room = count * (kind == 2 ? 60 : 80) + 64;
        char *json = malloc(room);
        for (uint64_t i = 0; i < count; i++) {
            unsigned long long at = kind == 2 ? 0 : kind ? count - 1 - i : i;
            used += (size_t)sprintf(json + used, "%c\"%llx\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[%llu,%llu]}", i ? ',' : '{',
                                    (unsigned long long)i,
                                    kind == 2 ? "0"
                                    : i & 1   ? "1"
                                              : "",
                                    at, at + (kind != 2));
        }
        json[used++] = '}';
        char *file = make_file(json, used, 0, &size);
        free(json);
        clock_t start = clock();
        int code = parse(file, size, size + (kind == 2 ? 0 : count), &meter, &found, &err);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        if (code) fail_msg("%s", err.message);
        assert_int_equal(found, count);
        assert_true(meter.peak <= 2 * size + (1 << 20));
        if (wanted)
            printf("%llu tensors, %.1f MB header: %.2f s, %.1f MB\n", (unsigned long long)count, (double)size / 1e6, seconds,
                   (double)meter.peak / 1e6);
        assert_true(seconds < 1.0 + (double)count * 1e-5); /* generous: sanitizers, busy machines */
        free(file);
    }
}

/* Shapes are the one thing whose parsed form outgrows its text by more than twice: the pool's limit stops it. */
static void test_pool_limit(void **state)
{
    (void)state;
    static const char json[] = "{" TENSOR("a", "U8", "0,1,2,3,4,5,6,7", "0,0") "," TENSOR("b", "U8", "0,7,6,5,4,3,2,1", "0,0") "}";
    struct meter meter = { .fail_after = -1 };
    struct cn_alloc alloc = { meter_resize, meter_release, &meter };
    struct cn_st_header header;
    cairn_error err = CAIRN_ERROR_INIT;
    for (uint64_t limit = 0; limit < 1024; limit += 16) {
        struct cn_pool pool;
        cn_pool_init(&pool, &alloc, limit);
        int code = cn_st_parse_json(json, sizeof json - 1, 8 + sizeof json - 1, 1, &pool, &header, &err);
        if (code && code != CAIRN_E_LIMIT) fail_msg("limit %llu: %s", (unsigned long long)limit, err.message);
        if (limit < 100) assert_int_equal(code, CAIRN_E_LIMIT);
        cn_pool_done(&pool);
    }
    assert_int_equal(meter.blocks, 0);
}

/* --------------------------------------------------------------------------------------------------------------- mutations */

static const char golden_small[] =
    "{\"__metadata__\":{\"format\":\"pt\"}," TENSOR("a\\u00e9\xc3\xa9", "F32", "2,3", "0,24") "," TENSOR("b", "BF16", "", "24,26") "}   ";
static const char golden_large[] = "{" TENSOR("model.layers.0.weight", "F64", "2,2", "0,32") "," TENSOR(
    "empty", "I64", "0,9", "32,32") "," TENSOR("f4", "F4", "4", "36,38") "," TENSOR("mask", "BOOL", "4", "32,36") "}";
static const struct {
    const char *json;
    size_t json_size, data_bytes;
} goldens[] = { { golden_small, sizeof golden_small - 1, 26 }, { golden_large, sizeof golden_large - 1, 38 } };

static void test_every_prefix(void **state)
{
    (void)state;
    for (size_t g = 0; g < 2; g++) {
        size_t size;
        struct meter meter = { .fail_after = -1 };
        char *file = make_file(goldens[g].json, goldens[g].json_size, goldens[g].data_bytes, &size);
        assert_int_equal(parse(file, size, size, &meter, NULL, NULL), CAIRN_OK);
        for (size_t cut = 0; cut < size; cut++) {
            char *part = malloc(cut ? cut : 1);
            memcpy(part, file, cut);
            int code = parse(part, cut, cut, &meter, NULL, NULL);
            assert_int_equal(code, CAIRN_E_TRUNCATED); /* S57 */
            if (cut > 8) {                             /* the header itself cut, its length told honestly */
                put_length(part, cut - 8);
                code = parse(part, cut, cut, &meter, NULL, NULL);
                assert_true(code == CAIRN_E_FORMAT || code == CAIRN_E_TRUNCATED);
            }
            free(part);
        }
        free(file);
    }
}

static void test_every_edit(void **state)
{
    (void)state;
    for (size_t g = 0; g < 2; g++) {
        size_t size;
        struct meter meter = { .fail_after = -1 };
        char *file = make_file(goldens[g].json, goldens[g].json_size, goldens[g].data_bytes, &size);
        for (size_t at = 0; at < 8 + goldens[g].json_size; at++) {
            char good = file[at];
            for (int value = 0; value < 256; value++) {
                file[at] = (char)value;
                parse(file, size, size, &meter, NULL, NULL); /* whatever it says, it holds together: check_accepted */
            }
            file[at] = good;
        }
        free(file);
    }
}

static uint64_t next_random(uint64_t *random)
{
    *random ^= *random << 13;
    *random ^= *random >> 7;
    return *random ^= *random << 17;
}

/* Replaces some bytes of text by others, which may be a token of the format. Returns the new size. */
static size_t mutate(char *text, size_t size, size_t room, uint64_t *random)
{
    static const char *const tokens[] = { "{",
                                          "}",
                                          "[",
                                          "]",
                                          ",",
                                          ":",
                                          "\"",
                                          "\\",
                                          "\\u0000",
                                          "\\ud800",
                                          "0",
                                          "-1",
                                          "1e9",
                                          "18446744073709551615",
                                          "9223372036854775808",
                                          "null",
                                          "\"F4\"",
                                          "\"F128\"",
                                          "__metadata__",
                                          "\"dtype\":",
                                          "\xff",
                                          "\xc0\x80",
                                          "{}",
                                          "[]" };
    char insert[64];
    size_t at = next_random(random) % (size + 1), drop = next_random(random) % 4, length;
    if (drop > size - at) drop = size - at;
    if (next_random(random) & 1) {
        const char *token = tokens[next_random(random) % (sizeof tokens / sizeof *tokens)];
        length = strlen(token);
        memcpy(insert, token, length);
    } else {
        size_t from = next_random(random) % (size + 1);
        length = next_random(random) % sizeof insert;
        if (length > size - from) length = size - from;
        memcpy(insert, text + from, length);
    }
    if (size - drop + length > room) return size;
    memmove(text + at + length, text + at + drop, size - at - drop);
    memcpy(text + at, insert, length);
    return size - drop + length;
}

static void test_random_edits(void **state)
{
    (void)state;
    uint64_t random = UINT64_C(0x5eed), accepted = 0;
    const char *rounds_text = getenv("CAIRN_TEST_ROUNDS");
    unsigned long rounds = rounds_text ? strtoul(rounds_text, NULL, 10) : 30000;
    for (unsigned long round = 0; round < rounds; round++) {
        char json[1024];
        size_t g = round & 1, size, json_size = goldens[g].json_size;
        struct meter meter = { .fail_after = -1 };
        memcpy(json, goldens[g].json, json_size);
        for (uint64_t edits = next_random(&random) % 4; edits < 4; edits++) json_size = mutate(json, json_size, sizeof json, &random);
        char *file = make_file(json, json_size, goldens[g].data_bytes, &size);
        cairn_error err = CAIRN_ERROR_INIT;
        accepted += !parse(file, size, size, &meter, NULL, &err);
        assert_true(meter.peak <= (1 << 20));
        free(file);
    }
    assert_true(accepted > 0 && accepted < rounds);
}

static void test_every_allocation_failing(void **state)
{
    (void)state;
    size_t size;
    char *file = make_file(goldens[0].json, goldens[0].json_size, goldens[0].data_bytes, &size);
    int code = CAIRN_E_NOMEM;
    for (long after = 0; code && after < 100; after++) {
        struct meter meter = { .fail_after = after };
        code = parse(file, size, size, &meter, NULL, NULL);
        if (after < 4) assert_int_equal(code, CAIRN_E_NOMEM);
        assert_true(code == CAIRN_OK || code == CAIRN_E_NOMEM);
    }
    assert_int_equal(code, CAIRN_OK);
    free(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_not_safetensors),
        cmocka_unit_test(test_position_and_name),
        cmocka_unit_test(test_rank),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_metadata_pairs),
        cmocka_unit_test(test_many_tensors),
        cmocka_unit_test(test_pool_limit),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_every_edit),
        cmocka_unit_test(test_random_edits),
        cmocka_unit_test(test_every_allocation_failing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
