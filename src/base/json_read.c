/* The JSON pull reader (see json.h): strict RFC 8259, no recursion, bounded depth. It must never read past data + size and takes memory for
 * strings only.
 *
 * `expect` says what may come: a value; a value or the end of a just-opened array; a comma or the end; a key or the end of a just-opened
 * object; a key; or the end of the document. */
#include <string.h>

#include "base/floatenv.h"
#include "base/json.h"
#include "base/json_parts.h"
#include "base/utf8.h"

enum { WANT_VALUE, WANT_VALUE_OR_END, WANT_COMMA_OR_END, WANT_KEY_OR_END, WANT_KEY, WANT_DOCUMENT_END };

void cn_json_init(struct cn_json *json, const void *data, size_t size, struct cn_pool *pool)
{
    memset(json, 0, sizeof *json);
    json->data = data;
    json->size = size;
    json->pool = pool;
    json->expect = WANT_VALUE;
}

int cn_json_fail(const struct cn_json *json, cairn_error *err, const char *what)
{
    return cn_error_at(err, CAIRN_E_FORMAT, json->origin + json->token_start, "JSON: %s", what);
}

int cn_json_fail_here(struct cn_json *json, cairn_error *err, const char *what)
{
    json->token_start = json->position;
    return cn_json_fail(json, err, json->position >= json->size ? "it ends too early" : what);
}

static void skip_space(struct cn_json *json)
{
    for (; json->position < json->size; json->position++) {
        unsigned char character = (unsigned char)json->data[json->position];
        if (character > ' ' || (character != ' ' && character != '\t' && character != '\r' && character != '\n')) return;
    }
}

/* ------------------------------------------------------------------------------------------------------------- strings */

static int hex4(struct cn_json *json, uint32_t *ret_code)
{
    uint32_t code = 0;
    if (json->size - json->position < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char digit = json->data[json->position++];
        int value = digit >= '0' && digit <= '9'   ? digit - '0'
                    : digit >= 'a' && digit <= 'f' ? digit - 'a' + 10
                    : digit >= 'A' && digit <= 'F' ? digit - 'A' + 10
                                                   : -1;
        if (value < 0) return -1;
        code = code << 4 | (uint32_t)value;
    }
    *ret_code = code;
    return 0;
}

/* After "\u": one code point, from a surrogate pair if need be. */
static int read_escape_code(struct cn_json *json, char **out)
{
    uint32_t code, low;
    if (hex4(json, &code)) return -1;
    if (code >= 0xdc00 && code < 0xe000) return -1;
    if (code >= 0xd800 && code < 0xdc00) {
        if (!cn_json_take(json, '\\') || !cn_json_take(json, 'u') || hex4(json, &low) || low < 0xdc00 || low >= 0xe000) return -1;
        code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
    }
    *out += cn_utf8_encode(code, *out);
    return 0;
}

static int read_escape(struct cn_json *json, char **out)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    if (json->position >= json->size) return -1;
    char kind = json->data[json->position++];
    if (kind == 'u') return read_escape_code(json, out);
    const char *at = kind ? strchr(from, kind) : NULL;
    if (!at) return -1;
    *(*out)++ = to[at - from];
    return 0;
}

/* Where the string that starts after the opening quote ends: a decoded string is never longer than its source. */
static size_t find_quote(const struct cn_json *json)
{
    size_t at = json->position;
    while (at < json->size && json->data[at] != '"') at += json->data[at] == '\\' ? 2 : 1;
    return at;
}

static int no_memory_for_string(const struct cn_json *json, cairn_error *err)
{
    return cn_error_at(err, CAIRN_E_NOMEM, json->origin + json->token_start, "JSON: no memory for its strings");
}

/* One with escapes, or of more than ASCII, or a bad one. */
static int decode_string(struct cn_json *json, cairn_error *err)
{
    size_t end = find_quote(json);
    if (end >= json->size) {
        json->position = json->size;
        return cn_json_fail_here(json, err, "");
    }
    char *text = cn_pool_take(json->pool, end - json->position + 1), *out = text;
    if (!text) return no_memory_for_string(json, err);
    while (json->position < end) {
        const char *at = json->data + json->position;
        size_t length = cn_utf8_plain(at, end - json->position);
        if (!length && *at == '\\') {
            json->position++;
            if (read_escape(json, &out)) return cn_json_fail_here(json, err, "a bad escape in a string");
            continue;
        }
        if (!length && (unsigned char)*at < 0x20) return cn_json_fail_here(json, err, "a control character in a string");
        if (!length && !(length = cn_utf8_next(at, end - json->position, NULL)))
            return cn_json_fail_here(json, err, "bytes that are not UTF-8");
        memcpy(out, at, length);
        out += length;
        json->position += length;
    }
    json->position = end + 1;
    *out = 0;
    json->text = text;
    json->text_size = (size_t)(out - text);
    json->text_has_nul = memchr(text, 0, json->text_size) != NULL;
    return CAIRN_OK;
}

static int read_string(struct cn_json *json, cairn_error *err)
{
    const char *start = json->data + json->position;
    size_t left = json->size - json->position, size = cn_utf8_plain(start, left);
    if (size == left || start[size] != '"') return decode_string(json, err);
    json->text = cn_pool_copy(json->pool, start, size);
    if (!json->text) return no_memory_for_string(json, err);
    json->text_size = size;
    json->text_has_nul = false;
    json->position += size + 1;
    return CAIRN_OK;
}

/* -------------------------------------------------------------------------------------------------------------- tokens */

static void after_value(struct cn_json *json)
{
    json->expect = json->depth ? WANT_COMMA_OR_END : WANT_DOCUMENT_END;
}

static int open_level(struct cn_json *json, bool object, enum cn_json_token *ret_token, cairn_error *err)
{
    if (json->depth == CN_MAX_JSON_DEPTH)
        return cn_error_at(err, CAIRN_E_LIMIT, json->origin + json->token_start, "JSON: nested deeper than %d levels", CN_MAX_JSON_DEPTH);
    json->in_object[++json->depth] = object;
    json->expect = object ? WANT_KEY_OR_END : WANT_VALUE_OR_END;
    *ret_token = object ? CN_JSON_OBJECT : CN_JSON_ARRAY;
    return CAIRN_OK;
}

static int close_level(struct cn_json *json, enum cn_json_token *ret_token)
{
    *ret_token = json->in_object[json->depth--] ? CN_JSON_OBJECT_END : CN_JSON_ARRAY_END;
    after_value(json);
    return CAIRN_OK;
}

static int read_word(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err)
{
    static const struct {
        const char *word;
        enum cn_json_token token;
    } words[] = { { "true", CN_JSON_TRUE }, { "false", CN_JSON_FALSE }, { "null", CN_JSON_NULL } };
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(words[i].word);
        if (json->size - json->position < size || memcmp(json->data + json->position, words[i].word, size)) continue;
        json->position += size;
        *ret_token = words[i].token;
        return CAIRN_OK;
    }
    return cn_json_fail_here(json, err, "a value was expected here");
}

static int read_value(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err)
{
    if (json->position >= json->size) return cn_json_fail_here(json, err, "");
    char character = json->data[json->position];
    int code;
    if (cn_json_take(json, '{')) return open_level(json, true, ret_token, err);
    if (cn_json_take(json, '[')) return open_level(json, false, ret_token, err);
    if (cn_json_take(json, '"')) {
        code = read_string(json, err);
        *ret_token = CN_JSON_STRING;
    } else if (character == '-' || (character >= '0' && character <= '9'))
        code = cn_json_read_number(json, ret_token, err);
    else
        code = read_word(json, ret_token, err);
    if (!code) after_value(json);
    return code;
}

static int read_key(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err)
{
    if (!cn_json_take(json, '"')) return cn_json_fail_here(json, err, "a key was expected here");
    int code = read_string(json, err);
    if (code) return code;
    skip_space(json);
    if (!cn_json_take(json, ':')) return cn_json_fail_here(json, err, "':' must follow a key");
    json->expect = WANT_VALUE;
    *ret_token = CN_JSON_KEY;
    return CAIRN_OK;
}

int cn_json_next(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err)
{
    skip_space(json);
    if (json->expect == WANT_COMMA_OR_END) {
        json->token_start = json->position;
        if (cn_json_take(json, json->in_object[json->depth] ? '}' : ']')) return close_level(json, ret_token);
        if (!cn_json_take(json, ',')) return cn_json_fail_here(json, err, "',' or the end was expected here");
        json->expect = json->in_object[json->depth] ? WANT_KEY : WANT_VALUE;
        skip_space(json);
    }
    json->token_start = json->position;
    switch (json->expect) {
    case WANT_KEY_OR_END:
        if (cn_json_take(json, '}')) return close_level(json, ret_token);
        return read_key(json, ret_token, err);
    case WANT_KEY: return read_key(json, ret_token, err);
    case WANT_VALUE_OR_END:
        if (cn_json_take(json, ']')) return close_level(json, ret_token);
        return read_value(json, ret_token, err);
    case WANT_DOCUMENT_END:
        if (json->position < json->size) return cn_json_fail(json, err, "more follows after its end");
        *ret_token = CN_JSON_END;
        return CAIRN_OK;
    default: return read_value(json, ret_token, err);
    }
}

/* --------------------------------------------------------------------------------------------------------- typed reading */

int cn_json_expect(struct cn_json *json, enum cn_json_token token, const char *what, cairn_error *err)
{
    enum cn_json_token found = CN_JSON_END;
    int code = cn_json_next(json, &found, err);
    if (code || found == token) return code;
    return cn_error_at(err, CAIRN_E_FORMAT, json->origin + json->token_start, "JSON: %s was expected here", what);
}

int cn_json_skip(struct cn_json *json, cairn_error *err)
{
    int depth = json->depth;
    do {
        enum cn_json_token token = CN_JSON_END;
        int code = cn_json_next(json, &token, err);
        if (code) return code;
        if (json->depth < depth) return cn_json_fail(json, err, "a value was expected here");
    } while (json->depth > depth || json->expect == WANT_VALUE);
    return CAIRN_OK;
}

int cn_json_string(struct cn_json *json, const char **ret_text, size_t *ret_size, cairn_error *err)
{
    int code = cn_json_expect(json, CN_JSON_STRING, "a string", err);
    if (code) return code;
    if (!ret_size && json->text_has_nul) return cn_json_fail(json, err, "a NUL in a string");
    *ret_text = json->text;
    if (ret_size) *ret_size = json->text_size;
    return CAIRN_OK;
}

int cn_json_u64(struct cn_json *json, uint64_t *ret_number, cairn_error *err)
{
    int code = cn_json_expect(json, CN_JSON_UINT, "an unsigned 64-bit integer", err);
    if (!code) *ret_number = json->number;
    return code;
}

int cn_json_i64(struct cn_json *json, int64_t *ret_number, cairn_error *err)
{
    enum cn_json_token token = CN_JSON_END;
    int code = cn_json_next(json, &token, err);
    if (code) return code;
    if (token == CN_JSON_INT)
        *ret_number = json->negative;
    else if (token == CN_JSON_UINT && json->number <= INT64_MAX)
        *ret_number = (int64_t)json->number;
    else
        return cn_json_fail(json, err, "a 64-bit integer was expected here");
    return CAIRN_OK;
}

/* To the nearest, however the process rounds; volatile, for the compiler must not convert earlier or later. */
static double to_nearest(uint64_t integer)
{
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    volatile uint64_t exact = integer;
    volatile double nearest = (double)exact;
    return nearest;
}

int cn_json_f64(struct cn_json *json, double *ret_number, cairn_error *err)
{
    enum cn_json_token token = CN_JSON_END;
    int code = cn_json_next(json, &token, err);
    if (code) return code;
    if (token == CN_JSON_FLOAT)
        *ret_number = json->real;
    else if (token == CN_JSON_UINT)
        *ret_number = to_nearest(json->number);
    else if (token == CN_JSON_INT)
        *ret_number = -to_nearest(0 - (uint64_t)json->negative);
    else if (token == CN_JSON_STRING && !strcmp(json->text, "NaN"))
        *ret_number = __builtin_nan("");
    else if (token == CN_JSON_STRING && !strcmp(json->text, "Infinity"))
        *ret_number = __builtin_inf();
    else if (token == CN_JSON_STRING && !strcmp(json->text, "-Infinity"))
        *ret_number = -__builtin_inf();
    else
        return cn_json_fail(json, err, "a number was expected here");
    return CAIRN_OK;
}

int cn_json_bool(struct cn_json *json, int *ret_truth, cairn_error *err)
{
    enum cn_json_token token = CN_JSON_END;
    int code = cn_json_next(json, &token, err);
    if (code) return code;
    if (token != CN_JSON_TRUE && token != CN_JSON_FALSE) return cn_json_fail(json, err, "true or false was expected here");
    *ret_truth = token == CN_JSON_TRUE;
    return CAIRN_OK;
}

int cn_json_next_key(struct cn_json *json, const char **ret_key, size_t *ret_size, bool *ret_more, cairn_error *err)
{
    enum cn_json_token token = CN_JSON_END;
    int code = cn_json_next(json, &token, err);
    if (code) return code;
    *ret_more = token == CN_JSON_KEY;
    if (token == CN_JSON_OBJECT_END) return CAIRN_OK;
    if (token != CN_JSON_KEY) return cn_json_fail(json, err, "a key was expected here");
    if (!ret_size && json->text_has_nul) return cn_json_fail(json, err, "a NUL in a key");
    *ret_key = json->text;
    if (ret_size) *ret_size = json->text_size;
    return CAIRN_OK;
}

/* Only what is written without white space and escapes; everything else is the usual way's. */
static bool take_name(struct cn_json *json, const struct cn_json_name *name)
{
    bool comma = json->expect == WANT_COMMA_OR_END && json->in_object[json->depth];
    if (!comma && json->expect != WANT_KEY_OR_END) return false;
    if (json->size - json->position < comma + name->size + strlen("\"\":")) return false;
    const char *at = json->data + json->position;
    if (comma && *at++ != ',') return false;
    if (at[0] != '"' || memcmp(at + 1, name->text, name->size) || at[name->size + 1] != '"' || at[name->size + 2] != ':') return false;
    json->token_start = json->position + comma;
    json->position = json->token_start + name->size + strlen("\"\":");
    json->expect = WANT_VALUE;
    return true;
}

static bool is_name(const struct cn_json_name *name, const char *text, size_t size)
{
    return name->size == size && !memcmp(name->text, text, size);
}

int cn_json_next_member(struct cn_json *json, const struct cn_json_name *names, unsigned count, unsigned *member, bool *ret_more,
                        cairn_error *err)
{
    unsigned due = *member == count ? 0 : *member + 1;
    if (due < count && take_name(json, &names[due])) {
        *member = due;
        *ret_more = true;
        return CAIRN_OK;
    }
    const char *key = "";
    int code = cn_json_next_key(json, &key, NULL, ret_more, err);
    if (code || !*ret_more) return code;
    for (*member = 0; *member < count && !is_name(&names[*member], key, json->text_size);) ++*member;
    return CAIRN_OK;
}

int cn_json_next_element(struct cn_json *json, bool *ret_more, cairn_error *err)
{
    skip_space(json);
    size_t at = json->position;
    bool may_end = json->expect == WANT_VALUE_OR_END || json->expect == WANT_COMMA_OR_END;
    if (may_end && at < json->size && json->data[at] == ']' && !json->in_object[json->depth]) {
        enum cn_json_token token = CN_JSON_END;
        *ret_more = false;
        return cn_json_next(json, &token, err);
    }
    *ret_more = true;
    return CAIRN_OK;
}
