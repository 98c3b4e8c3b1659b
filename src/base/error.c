/* Errors (see error.h). A message is one line, whatever went into it. */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

const char *cairn_code_name(int code)
{
    static const char *const names[] = { "OK",     "FORMAT", "TRUNCATED", "LIMIT",    "UNSUPPORTED", "UNSAFE",      "CORRUPT",   "PATH",
                                         "USAGE",  "IO",     "NOSPACE",   "NOTFOUND", "EXISTS",      "FOREIGN",     "VERSION",   "MISMATCH",
                                         "LOCKED", "FENCED", "GONE",      "FORKED",   "TORN_STATE",  "EARLY_WRITE", "CANCELLED", "NOMEM" };
    if (code > 0 || -code >= (int)(sizeof names / sizeof *names)) return "UNKNOWN";
    return names[-code];
}

/* Whatever a caller's format let through: one line of UTF-8, without control characters. A character that was cut at the end goes. */
static void flatten(char *message)
{
    size_t size = strlen(message), length;
    for (size_t at = 0; at < size; at += length) {
        uint32_t code = 0;
        length = cn_utf8_next(message + at, size - at, &code);
        if (!length && size - at < 4 && size + 1 == CAIRN_MESSAGE_BYTES)
            message[at] = 0, size = at;
        else if (!length)
            message[at] = '?', length = 1;
        else if (code < 0x20 || code == 0x7f)
            message[at] = ' ';
    }
}

static int fill(cairn_error *err, int code, int os_errno, uint64_t offset, const char *format, va_list arguments)
{
    if (!err) return code;
    err->code = code;
    err->os_errno = os_errno;
    err->offset = offset;
    err->cause = CAIRN_OK;
    vsnprintf(err->message, sizeof err->message, format, arguments);
    flatten(err->message);
    return code;
}

int cn_error_set(cairn_error *err, int code, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    fill(err, code, 0, CAIRN_NO_OFFSET, format, arguments);
    va_end(arguments);
    return code;
}

static void append(cairn_error *err, const char *text)
{
    size_t size = strlen(err->message);
    snprintf(err->message + size, sizeof err->message - size, "%s", text);
    flatten(err->message);
}

int cn_error_at(cairn_error *err, int code, uint64_t offset, const char *format, ...)
{
    char position[48];
    va_list arguments;
    va_start(arguments, format);
    fill(err, code, 0, offset, format, arguments);
    va_end(arguments);
    snprintf(position, sizeof position, " (byte %llu)", (unsigned long long)offset);
    if (err) append(err, position);
    return code;
}

int cn_error_code_of(int os_errno)
{
    switch (os_errno) {
    case ENOSPC:
    case EDQUOT: return CAIRN_E_NOSPACE;
    case ENOENT:
    case ENOTDIR: return CAIRN_E_NOTFOUND;
    case EEXIST:
    case ENOTEMPTY: return CAIRN_E_EXISTS;
    case ENOMEM: return CAIRN_E_NOMEM;
    case ESTALE: return CAIRN_E_GONE;
    default: return CAIRN_E_IO;
    }
}

int cn_error_errno(cairn_error *err, int os_errno, const char *format, ...)
{
    char reason[128];
    int code = cn_error_code_of(os_errno);
    va_list arguments;
    va_start(arguments, format);
    fill(err, code, os_errno, CAIRN_NO_OFFSET, format, arguments);
    va_end(arguments);
    if (!err) return code;
    append(err, ": ");
    append(err, strerror_r(os_errno, reason, sizeof reason));
    return code;
}

int cn_error_opening(cairn_error *err, int os_errno, const char *name)
{
    struct cn_shown shown;
    const char *what = os_errno == ELOOP     ? "a symbolic link, where none is followed"
                       : os_errno == EISDIR  ? "a folder stands where a file should"
                       : os_errno == ENOTDIR ? "not a folder"
                       : os_errno == ENXIO   ? "not a regular file"
                                             : NULL;
    cn_show_text(&shown, name);
    return what ? cn_error_set(err, CAIRN_E_PATH, "%s: %s", shown.text, what) : cn_error_errno(err, os_errno, "%s: opening it", shown.text);
}

static void put_before(cairn_error *err, const char *separator, const char *format, va_list arguments)
{
    char rest[CAIRN_MESSAGE_BYTES];
    memcpy(rest, err->message, sizeof rest);
    vsnprintf(err->message, sizeof err->message, format, arguments);
    flatten(err->message);
    append(err, separator);
    append(err, rest);
}

int cn_error_prefix(cairn_error *err, int code, const char *format, ...)
{
    if (!err) return code;
    va_list arguments;
    va_start(arguments, format);
    put_before(err, ": ", format, arguments);
    va_end(arguments);
    err->code = code;
    return code;
}

int cn_error_torn(cairn_error *err, int cause, const char *what)
{
    if (err) err->cause = cause;
    return cn_error_prefix(err, CAIRN_E_TORN_STATE, "%s", what);
}

int cn_error_in_folder(cairn_error *err, int code, const char *format, ...)
{
    if (!err) return code;
    va_list arguments;
    va_start(arguments, format);
    put_before(err, "/", format, arguments);
    va_end(arguments);
    err->code = code;
    return code;
}

const char *cn_error_without_name(const char *message, const char *name)
{
    size_t size = strlen(name);
    if (strncmp(message, name, size)) return message;
    return !strncmp(message + size, ": ", 2) ? message + size + 2 : message[size] == '/' ? message + size + 1 : message;
}

/* Marks that change how a line reads without being seen: bidi controls, zero-width characters, line separators, the byte order mark. */
static bool is_invisible(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || (code >= 0x200b && code <= 0x200f) || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2060 && code <= 0x206f) || code == 0xfeff || code == 0x061c || (code >= 0xe0000 && code <= 0xe0fff) || code == 0xad;
}

const char *cn_show(struct cn_shown *buffer, const char *name, size_t size)
{
    size_t used = 0;
    for (size_t at = 0; at < size;) {
        uint32_t code = 0;
        char piece[16];
        size_t length = cn_utf8_next(name + at, size - at, &code), shown;
        if (!length)
            shown = (size_t)snprintf(piece, sizeof piece, "\\x%02x", (unsigned char)name[at]);
        else if (code == '"' || code == '\\')
            shown = (size_t)snprintf(piece, sizeof piece, "\\%c", (char)code);
        else if (is_invisible(code))
            shown = (size_t)snprintf(piece, sizeof piece, code > 0xffff ? "\\U%08x" : "\\u%04x", code);
        else
            memcpy(piece, name + at, shown = length);
        if (used + shown > CN_SHOWN_BYTES) {
            memcpy(buffer->text + used, "...", 3);
            used += 3;
            break;
        }
        memcpy(buffer->text + used, piece, shown);
        used += shown;
        at += length ? length : 1;
    }
    buffer->text[used] = 0;
    return buffer->text;
}

const char *cn_show_text(struct cn_shown *buffer, const char *name)
{
    return cn_show(buffer, name, strlen(name));
}
