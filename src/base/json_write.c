/* The JSON writer and the seal of our own files (see json.h). Output is a pure function of the calls, on every machine and in every locale. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/decimal.h"
#include "base/digest.h"
#include "base/json.h"
#include "base/shortest.h"
#include "base/utf8.h"

#define SEAL_START "\"digest\":\""
#define SEAL_END "\"}\n"

/* Longer by one token of that size, behind its comma. */
static char *extend(struct cn_json_writer *writer, size_t size)
{
    size_t comma = writer->need_comma;
    char *room = cn_buf_extend(writer->buf, comma + size);
    writer->need_comma = 1;
    if (room && comma) *room++ = ',';
    return room;
}

static void put_token(struct cn_json_writer *writer, const char *token, size_t size)
{
    char *room = extend(writer, size);
    if (room) memcpy(room, token, size);
}

static void begin(struct cn_json_writer *writer, const char *bracket)
{
    put_token(writer, bracket, 1);
    writer->need_comma = 0;
}

static void end(struct cn_json_writer *writer, const char *bracket)
{
    writer->need_comma = 0;
    put_token(writer, bracket, 1);
}

void cn_json_begin_object(struct cn_json_writer *writer)
{
    begin(writer, "{");
}

void cn_json_end_object(struct cn_json_writer *writer)
{
    end(writer, "}");
}

void cn_json_begin_array(struct cn_json_writer *writer)
{
    begin(writer, "[");
}

void cn_json_end_array(struct cn_json_writer *writer)
{
    end(writer, "]");
}

static void put_character(struct cn_buf *buf, unsigned char character)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *at = character ? strchr(from, character) : NULL;
    char escape[8];
    if (at)
        snprintf(escape, sizeof escape, "\\%c", to[at - from]);
    else
        snprintf(escape, sizeof escape, "\\u%04x", character);
    cn_buf_text(buf, escape);
}

static void put_escaped(struct cn_buf *buf, const char *text, size_t size)
{
    size_t plain = 0;
    for (size_t at = 0; at < size;) {
        unsigned char character = (unsigned char)text[at];
        size_t length = character < 0x80 ? 1 : cn_utf8_next(text + at, size - at, NULL);
        if (length > 1 || cn_utf8_plain(text + at, 1)) {
            at += length;
            continue;
        }
        cn_buf_append(buf, text + plain, at - plain);
        if (length)
            put_character(buf, character);
        else
            cn_buf_text(buf, "\xef\xbf\xbd");
        plain = ++at;
    }
    cn_buf_append(buf, text + plain, size - plain);
}

/* A string; behind a key its colon. */
static void put_text(struct cn_json_writer *writer, const char *text, size_t size, bool is_key)
{
    bool plain = cn_utf8_plain(text, size) == size;
    char *room = extend(writer, plain ? size + 2 + is_key : 1);
    if (!room) return;
    room[0] = '"';
    if (plain) {
        memcpy(room + 1, text, size);
        room[size + 1] = '"';
        if (is_key) room[size + 2] = ':';
        return;
    }
    put_escaped(writer->buf, text, size);
    cn_buf_text(writer->buf, is_key ? "\":" : "\"");
}

void cn_json_key_sized(struct cn_json_writer *writer, const char *key, size_t size)
{
    put_text(writer, key, size, true);
    writer->need_comma = 0;
}

void cn_json_put_sized(struct cn_json_writer *writer, const char *text, size_t size)
{
    put_text(writer, text, size, false);
}

void cn_json_put_string(struct cn_json_writer *writer, const char *text)
{
    cn_json_put_sized(writer, text, strlen(text));
}

void cn_json_put_u64(struct cn_json_writer *writer, uint64_t number)
{
    char digits[CN_DECIMAL_BYTES];
    put_token(writer, digits, (size_t)(cn_decimal_put(digits, number) - digits));
}

void cn_json_put_i64(struct cn_json_writer *writer, int64_t number)
{
    char text[1 + CN_DECIMAL_BYTES];
    bool negative = number < 0;
    text[0] = '-';
    const char *end = cn_decimal_put(text + negative, negative ? 0 - (uint64_t)number : (uint64_t)number);
    put_token(writer, text, (size_t)(end - text));
}

void cn_json_put_f64(struct cn_json_writer *writer, double number)
{
    char text[CN_SHORTEST_BYTES];
    if (isfinite(number))
        put_token(writer, text, cn_shortest_f64(number, text));
    else
        cn_json_put_string(writer, isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
}

void cn_json_put_bool(struct cn_json_writer *writer, int truth)
{
    put_token(writer, truth ? "true" : "false", truth ? 4 : 5);
}

void cn_json_put_null(struct cn_json_writer *writer)
{
    put_token(writer, "null", 4);
}

void cn_json_newline(struct cn_json_writer *writer)
{
    if (writer->need_comma) cn_buf_append(writer->buf, ",", 1);
    writer->need_comma = 0;
    cn_buf_append(writer->buf, "\n", 1);
}

/* ---------------------------------------------------------------------------------------------------------------- seal */

void cn_json_seal(struct cn_json_writer *writer)
{
    char hex[CN_DIGEST_HEX_BYTES];
    cn_json_newline(writer);
    if (writer->buf->failed) return;
    struct cn_digest digest = cn_digest_blocks(writer->buf->data, writer->buf->size);
    cn_digest_hex(&digest, hex);
    cn_buf_format(writer->buf, SEAL_START "%s" SEAL_END, hex);
}

int cn_json_check_seal(const void *data, size_t size, cairn_error *err)
{
    struct cn_digest stated;
    if (size < CN_SEAL_BYTES) return cn_error_at(err, CAIRN_E_TRUNCATED, size, "it ends before its digest line");
    const char *line = (const char *)data + size - CN_SEAL_BYTES;
    if (memcmp(line, SEAL_START, strlen(SEAL_START)) || memcmp(line + CN_SEAL_BYTES - strlen(SEAL_END), SEAL_END, strlen(SEAL_END)) ||
        !cn_digest_parse(line + strlen(SEAL_START), 32, &stated))
        return cn_error_at(err, CAIRN_E_CORRUPT, size - CN_SEAL_BYTES, "it does not end in its digest line: cut off, or changed");
    if (CN_FUZZING) return CAIRN_OK;
    struct cn_digest found = cn_digest_blocks(data, size - CN_SEAL_BYTES);
    if (!cn_digest_equal(&found, &stated)) return cn_error_set(err, CAIRN_E_CORRUPT, "its bytes differ from the digest in its last line");
    return CAIRN_OK;
}
