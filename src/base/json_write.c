/* The JSON writer and the seal of our own files (see json.h). Output is a pure function of the calls, on every machine and in every locale. */
#include <locale.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/digest.h"
#include "base/floatenv.h"
#include "base/json.h"
#include "base/utf8.h"

#define SEAL_START "\"digest\":\""
#define SEAL_END "\"}\n"

static void separate(struct cn_json_writer *writer)
{
    if (writer->need_comma) cn_buf_append(writer->buf, ",", 1);
    writer->need_comma = 1;
}

static void begin(struct cn_json_writer *writer, const char *bracket)
{
    separate(writer);
    cn_buf_append(writer->buf, bracket, 1);
    writer->need_comma = 0;
}

static void end(struct cn_json_writer *writer, const char *bracket)
{
    cn_buf_append(writer->buf, bracket, 1);
    writer->need_comma = 1;
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

static void put_text(struct cn_buf *buf, const char *text, size_t size)
{
    cn_buf_append(buf, "\"", 1);
    size_t plain = 0;
    for (size_t at = 0; at < size;) {
        unsigned char character = (unsigned char)text[at];
        size_t length = character < 0x80 ? 1 : cn_utf8_next(text + at, size - at, NULL);
        if (length && character >= 0x20 && character != '"' && character != '\\' && character != 0x7f) {
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
    cn_buf_append(buf, "\"", 1);
}

void cn_json_key_sized(struct cn_json_writer *writer, const char *key, size_t size)
{
    separate(writer);
    put_text(writer->buf, key, size);
    cn_buf_append(writer->buf, ":", 1);
    writer->need_comma = 0;
}

void cn_json_key(struct cn_json_writer *writer, const char *key)
{
    cn_json_key_sized(writer, key, strlen(key));
}

void cn_json_put_sized(struct cn_json_writer *writer, const char *text, size_t size)
{
    separate(writer);
    put_text(writer->buf, text, size);
}

void cn_json_put_string(struct cn_json_writer *writer, const char *text)
{
    cn_json_put_sized(writer, text, strlen(text));
}

void cn_json_put_u64(struct cn_json_writer *writer, uint64_t number)
{
    separate(writer);
    cn_buf_format(writer->buf, "%llu", (unsigned long long)number);
}

void cn_json_put_i64(struct cn_json_writer *writer, int64_t number)
{
    separate(writer);
    cn_buf_format(writer->buf, "%lld", (long long)number);
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

void cn_json_put_f64(struct cn_json_writer *writer, double number)
{
    cn_auto_floatenv struct cn_floatenv callers = cn_floatenv_enter();
    char text[64];
    if (!isfinite(number)) {
        cn_json_put_string(writer, isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity");
        return;
    }
    /* fewer than 15 digits come out by themselves, for %g drops zeros; not so where precision is lost towards zero */
    for (int digits = fabs(number) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, number);
        double read = strtod(text, NULL);
        if (!memcmp(&read, &number, sizeof read)) break;
    }
    use_json_point(text);
    if (!strpbrk(text, ".e")) strcat(text, ".0");
    separate(writer);
    cn_buf_text(writer->buf, text);
}

void cn_json_put_bool(struct cn_json_writer *writer, int truth)
{
    separate(writer);
    cn_buf_text(writer->buf, truth ? "true" : "false");
}

void cn_json_put_null(struct cn_json_writer *writer)
{
    separate(writer);
    cn_buf_text(writer->buf, "null");
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
