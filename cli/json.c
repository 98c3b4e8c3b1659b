/* JSON, written member by member into memory and printed when it is whole: a command that fails prints none. Counts keep all 64 bits, NaN and
 * infinities are strings, and bytes that are no UTF-8 are escaped as for a terminal. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"

void json_start(struct json *json, int depth)
{
    *json = (struct json){ .depth = depth };
    json->out = open_memstream(&json->text, &json->size);
    if (!json->out) cli_no_memory();
}

static void break_line(struct json *json)
{
    if (json->depth >= 0) fprintf(json->out, "\n%*s", 2 * json->depth, "");
}

/* Between two members, and before the first of an indented list or object. */
static void separate(struct json *json)
{
    if (json->filled) fputs(json->depth < 0 ? ", " : ",", json->out);
    if (json->filled || json->nested) break_line(json);
    json->filled = true;
}

static void put_text(struct json *json, const char *text, size_t size)
{
    putc('"', json->out);
    for (const char *at = text; at < text + size; at++) {
        const char *plain = "\"\\\b\f\n\r\t", *letter = *at ? strchr(plain, *at) : NULL;
        if (letter)
            fprintf(json->out, "\\%c", "\"\\bfnrt"[letter - plain]);
        else if ((unsigned char)*at < 0x20)
            fprintf(json->out, "\\u%04x", (unsigned)*at);
        else
            putc(*at, json->out);
    }
    putc('"', json->out);
}

/* What is no UTF-8 is a name from the system, which holds no NUL. */
static void put_safe(struct json *json, const char *text, size_t size)
{
    char *safe = cli_is_utf8(text, size) ? NULL : cli_safe(text);
    put_text(json, safe ? safe : text, safe ? strlen(safe) : size);
    free(safe);
}

void json_key(struct json *json, const char *key, size_t size)
{
    separate(json);
    put_safe(json, key, size);
    fputs(": ", json->out);
    json->keyed = true;
}

static void begin(struct json *json, const char *key)
{
    if (key)
        json_key(json, key, strlen(key));
    else if (!json->keyed)
        separate(json);
    json->keyed = false;
}

void json_open(struct json *json, const char *key, char bracket)
{
    begin(json, key);
    putc(bracket, json->out);
    if (json->depth >= 0) json->depth++;
    json->filled = false;
    json->nested = true;
}

void json_close(struct json *json, char bracket)
{
    if (json->depth >= 0) json->depth--;
    if (json->filled) break_line(json);
    putc(bracket, json->out);
    json->filled = true;
}

void json_text(struct json *json, const char *key, const char *text)
{
    json_sized_text(json, key, text, strlen(text));
}

void json_sized_text(struct json *json, const char *key, const char *text, size_t size)
{
    begin(json, key);
    put_safe(json, text, size);
}

void json_count(struct json *json, const char *key, uint64_t count)
{
    begin(json, key);
    fprintf(json->out, "%llu", (unsigned long long)count);
}

void json_int(struct json *json, const char *key, int64_t number)
{
    begin(json, key);
    fprintf(json->out, "%lld", (long long)number);
}

void json_number(struct json *json, const char *key, double number)
{
    char buffer[40];
    begin(json, key);
    const char *text = isfinite(number) ? cli_exact(number, buffer) : isnan(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
    if (isfinite(number))
        fputs(text, json->out);
    else
        put_text(json, text, strlen(text));
}

void json_truth(struct json *json, const char *key, bool truth)
{
    begin(json, key);
    fputs(truth ? "true" : "false", json->out);
}

void json_null(struct json *json, const char *key)
{
    begin(json, key);
    fputs("null", json->out);
}

char *json_take(struct json *json)
{
    bool failed = ferror(json->out) != 0;
    failed |= fclose(json->out) != 0;
    char *text = json->text; /* NULL where closing found no memory: that is no error of the stream */
    if (failed || !text) cli_no_memory();
    *json = (struct json){ 0 };
    return text;
}

void json_texts(struct json *json, const char *key, const char *const *texts, size_t count)
{
    json_open(json, key, '[');
    for (size_t i = 0; i < count; i++) json_text(json, NULL, texts[i]);
    json_close(json, ']');
}

void json_splice(struct json *json, const char *key, struct json *members)
{
    bool filled = members->filled;
    char *text = json_take(members);
    json_open(json, key, '[');
    if (filled) break_line(json);
    fputs(text, json->out);
    json->filled = filled;
    json_close(json, ']');
    free(text);
}

void json_drop(struct json *json)
{
    if (!json->out) return;
    (void)fclose(json->out);
    free(json->text);
    *json = (struct json){ 0 };
}

int json_print(struct json *json)
{
    char *text = json_take(json);
    int code = puts(text) < 0 ? EXIT_FAILED : EXIT_FINE;
    free(text);
    return code;
}
