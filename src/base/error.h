/* Errors: how every layer fills the caller's cairn_error. A code says what to do, the message tells the story in one line. */
#ifndef CN_BASE_ERROR_H
#define CN_BASE_ERROR_H

#include "cairn.h"

/* All return code, so that a failing function ends in `return cn_error_set(err, ...)`. err may be NULL. */
int cn_error_set(cairn_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int cn_error_at(cairn_error *err, int code, uint64_t offset, const char *format, ...) __attribute__((format(printf, 4, 5)));
/* For a failed system call: chooses NOSPACE, NOTFOUND, EXISTS, NOMEM or IO by os_errno and appends ": <strerror>". */
int cn_error_errno(cairn_error *err, int os_errno, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* For a file or folder that could not be opened: PATH where something else stands there (a symbolic link, a folder, a FIFO), else as cn_error_errno. */
int cn_error_opening(cairn_error *err, int os_errno, const char *name);
/* Puts "<text>: " before the message already there: once, where the object's name is known. Returns err's code, or code if err is NULL. */
int cn_error_prefix(cairn_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* For a restore that failed half-way: puts "<what>: " before the message. cause: the code that it failed with. */
int cn_error_torn(cairn_error *err, int cause, const char *what);
/* Of a message that begins with a name: the folder it lies in. */
int cn_error_in_folder(cairn_error *err, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* What stands behind "NAME: " or "NAME/" at the beginning of a message, else the message. */
const char *cn_error_without_name(const char *message, const char *name);
/* The code that an errno maps to. */
int cn_error_code_of(int os_errno);

/* A name from a file or from a user, made fit for one line of a terminal: control characters, bidi and other invisible marks,
 * bytes that are no UTF-8, '"' and '\' become escapes; at most CN_SHOWN_BYTES, longer ones end in "...". Returns buffer. */
enum { CN_SHOWN_BYTES = 160 };
struct cn_shown {
    char text[CN_SHOWN_BYTES + 8];
};
const char *cn_show(struct cn_shown *buffer, const char *name, size_t size);
const char *cn_show_text(struct cn_shown *buffer, const char *name); /* NUL-terminated name */

#endif
