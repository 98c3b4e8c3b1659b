/* Text: names made safe for a terminal, numbers for people, errors. Nothing from a file reaches the terminal unescaped. */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cli.h"

int cli_exit_code(int code)
{
    if (code == CAIRN_OK) return EXIT_FINE;
    if (code >= CAIRN_E_PATH) return EXIT_NO;
    return code == CAIRN_E_USAGE ? EXIT_USAGE : EXIT_FAILED;
}

int cli_fail(const struct cli *cli, const cairn_error *err)
{
    char *safe = cli_safe(err->message);
    (void)fflush(stdout); /* what was found before stands before; main looks whether it could be written */
    fprintf(stderr, "cairn %s: %s\n", cli->command, safe);
    free(safe);
    return cli_exit_code(err->code);
}

int cli_usage(const struct cli *cli, const char *what)
{
    fprintf(stderr, "cairn %s: %s; see `cairn %s --help`\n", cli->command, what, cli->command);
    return EXIT_USAGE;
}

/* Bytes of a well-formed code point, 0 if there is none; strict enough for what goes to a terminal. */
static size_t utf8_length(const unsigned char *at, uint32_t *ret_code)
{
    size_t length = *at < 0x80 ? 1 : *at >= 0xc2 && *at < 0xe0 ? 2 : *at >= 0xe0 && *at < 0xf0 ? 3 : *at >= 0xf0 && *at < 0xf5 ? 4 : 0;
    uint32_t code = length == 1 ? *at : *at & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80) return 0;
        code = code << 6 | (at[i] & 0x3f);
    }
    if ((length == 3 && code < 0x800) || (length == 4 && (code < 0x10000 || code > 0x10ffff)) || (code >= 0xd800 && code < 0xe000))
        return 0;
    *ret_code = code;
    return length;
}

static bool is_hidden(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0xad || code == 0x61c || (code >= 0x200b && code <= 0x200f) ||
           (code >= 0x2028 && code <= 0x202e) || (code >= 0x2060 && code <= 0x206f) || code == 0xfeff ||
           (code >= 0xe0000 && code <= 0xe0fff);
}

bool cli_is_utf8(const char *text, size_t size)
{
    uint32_t code;
    for (size_t at = 0, length; at < size; at += length)
        if (!(length = utf8_length((const unsigned char *)text + at, &code))) return false;
    return true;
}

char *cli_safe(const char *text)
{
    size_t size = strlen(text), used = 0;
    char *out = cli_new(size * 10 + 1, 1);
    for (const unsigned char *at = (const unsigned char *)text; *at;) {
        uint32_t code = 0;
        size_t length = utf8_length(at, &code);
        if (!length)
            used += (size_t)sprintf(out + used, "\\x%02x", *at++);
        else if (is_hidden(code))
            used += (size_t)sprintf(out + used, code > 0xffff ? "\\U%08x" : "\\u%04x", code), at += length;
        else
            memcpy(out + used, at, length), used += length, at += length;
    }
    out[used] = 0;
    return out;
}

char *cli_cut(char *text, size_t most)
{
    char bytes[32];
    size_t size = strlen(text), end = most;
    if (size <= most) return text;
    while (end && ((unsigned char)text[end] & 0xc0) == 0x80) end--;
    char *shorter = cli_format("%.*s... (%s more)", (int)end, text, cli_bytes(size - end, bytes));
    free(text);
    return shorter;
}

const char *cli_bytes(uint64_t bytes, char buffer[32])
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    double value = (double)bytes;
    int unit = 0;
    while (value >= 999.95 && unit < 5) value /= 1000, unit++;
    snprintf(buffer, 32, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
    return buffer;
}

const char *cli_s(uint64_t count)
{
    return count == 1 ? "" : "s";
}

const char *cli_number(double number, char buffer[32])
{
    snprintf(buffer, 32, "%.4g", number);
    return buffer;
}

const char *cli_exact(double number, char buffer[40])
{
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(buffer, 40, "%.*g", digits, number);
        if (strtod(buffer, NULL) == number) break;
    }
    if (isfinite(number) && !strpbrk(buffer, ".e")) strcat(buffer, ".0");
    return buffer;
}

const char *cli_time(int64_t time_ns, char buffer[32])
{
    time_t seconds = (time_t)(time_ns / 1000000000);
    struct tm parts;
    if (!gmtime_r(&seconds, &parts) || !strftime(buffer, 32, "%Y-%m-%d %H:%M:%S", &parts)) snprintf(buffer, 32, "?");
    return buffer;
}
