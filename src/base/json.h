/* JSON, strict (RFC 8259), bounded, without recursion: a pull reader over memory, a writer into a buffer, and the seal that
 * closes our own files.
 *
 * Reader: bytes are checked as UTF-8, numbers stay exact, every error carries its byte position, a key given twice in one object
 * is the caller's to refuse (it knows the fields). Memory is used only for strings, in the caller's pool. */
#ifndef CN_BASE_JSON_H
#define CN_BASE_JSON_H

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/limits.h"

enum cn_json_token {
    CN_JSON_OBJECT,     /* { */
    CN_JSON_OBJECT_END, /* } */
    CN_JSON_ARRAY,
    CN_JSON_ARRAY_END,
    CN_JSON_KEY,    /* text, text_size */
    CN_JSON_STRING, /* text, text_size */
    CN_JSON_UINT,   /* number: plain digits, fits uint64_t */
    CN_JSON_INT,    /* negative: integer, fits int64_t, below zero ("-0" is a FLOAT) */
    CN_JSON_FLOAT,  /* real; text is the literal. Also integers too large for 64 bits */
    CN_JSON_TRUE,
    CN_JSON_FALSE,
    CN_JSON_NULL,
    CN_JSON_END /* of the document, trailing white space checked */
};

struct cn_json {
    const char *data;
    size_t size;
    size_t position;    /* of the next byte to read */
    size_t token_start; /* of the token last returned: for error messages */
    uint64_t origin;    /* where data stands in its file: added to positions in errors; 0 unless set after cn_json_init */
    struct cn_pool *pool;
    int depth;
    unsigned char in_object[CN_MAX_JSON_DEPTH + 1]; /* per level: 1 object, 0 array */
    unsigned char expect;                           /* the reader's own */
    /* of the token last returned */
    const char *text; /* NUL-terminated besides; inside the pool */
    size_t text_size;
    bool text_has_nul; /* of a key or a string: from \\u0000 */
    uint64_t number;
    int64_t negative;
    double real;
};

/* data must outlive the reader; strings are decoded into pool. */
void cn_json_init(struct cn_json *json, const void *data, size_t size, struct cn_pool *pool);
/* The next token. FORMAT with the position; LIMIT: too deep; NOMEM: the pool's limit. */
int cn_json_next(struct cn_json *json, enum cn_json_token *ret_token, cairn_error *err);
/* The next token must be this one. what names it in the message: "an object". */
int cn_json_expect(struct cn_json *json, enum cn_json_token token, const char *what, cairn_error *err);
/* Reads over the whole value that comes next. */
int cn_json_skip(struct cn_json *json, cairn_error *err);
/* Typed values, each with its error. Strings live in the pool. */
int cn_json_string(struct cn_json *json, const char **ret_text, size_t *ret_size,
                   cairn_error *err); /* ret_size may be NULL: then a NUL inside is FORMAT */
int cn_json_u64(struct cn_json *json, uint64_t *ret_number, cairn_error *err);
int cn_json_i64(struct cn_json *json, int64_t *ret_number, cairn_error *err);
int cn_json_f64(struct cn_json *json, double *ret_number, cairn_error *err); /* any number; also the strings "NaN" "Infinity" "-Infinity" */
int cn_json_bool(struct cn_json *json, int *ret_truth, cairn_error *err);
/* For loops over an object: the next key, or *ret_more = false at its end. Arrays: the same without the key (the next token is
 * then the element's first; one element is read by one of the calls above). */
int cn_json_next_key(struct cn_json *json, const char **ret_key, size_t *ret_size, bool *ret_more, cairn_error *err);
int cn_json_next_element(struct cn_json *json, bool *ret_more, cairn_error *err);
/* The same for an object whose members are known: the next key as its place in names, count if it is none of them. *member holds the place of the key
 * before, count at the start: a key that follows it in names, too, is recognised where it stands and takes no memory. */
struct cn_json_name {
    const char *text;
    size_t size;
};
#define CN_JSON_NAME(name)                                                                                                                 \
    {                                                                                                                                      \
        (name), sizeof(name) - 1                                                                                                           \
    }
int cn_json_next_member(struct cn_json *json, const struct cn_json_name *names, unsigned count, unsigned *member, bool *ret_more,
                        cairn_error *err);
/* FORMAT at the last token: "<what>". */
int cn_json_fail(const struct cn_json *json, cairn_error *err, const char *what);

/* The writer puts commas by itself. Text must be UTF-8 (bytes that are not are written as U+FFFD). Output is deterministic. */
struct cn_json_writer {
    struct cn_buf *buf;
    unsigned char need_comma;
};
void cn_json_begin_object(struct cn_json_writer *writer);
void cn_json_end_object(struct cn_json_writer *writer);
void cn_json_begin_array(struct cn_json_writer *writer);
void cn_json_end_array(struct cn_json_writer *writer);
void cn_json_key_sized(struct cn_json_writer *writer, const char *key, size_t size);
/* Here, so that the length of a constant is one. */
static inline void cn_json_key(struct cn_json_writer *writer, const char *key)
{
    cn_json_key_sized(writer, key, strlen(key));
}
void cn_json_put_string(struct cn_json_writer *writer, const char *text);
void cn_json_put_sized(struct cn_json_writer *writer, const char *text, size_t size);
void cn_json_put_u64(struct cn_json_writer *writer, uint64_t number);
void cn_json_put_i64(struct cn_json_writer *writer, int64_t number);
/* Shortest form that reads back as the same double, always with '.' or 'e'; NaN and infinities as the strings of cn_json_f64. */
void cn_json_put_f64(struct cn_json_writer *writer, double number);
void cn_json_put_bool(struct cn_json_writer *writer, int truth);
void cn_json_put_null(struct cn_json_writer *writer);
/* A line break for people, where white space is allowed; keeps commas right. */
void cn_json_newline(struct cn_json_writer *writer);

/* The fuzz build alone (tests/fuzz) takes digests as right: no mutation would get past them. */
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
#define CN_FUZZING 1
#else
#define CN_FUZZING 0
#endif

/* Our own files: an object whose last member stands on a line of its own, `"digest":"<32 hex>"}` and a newline: always
 * CN_SEAL_BYTES. The digest (tensor rule) covers every byte before that line. */
enum { CN_SEAL_BYTES = 45 };
/* Ends the top-level object of the buffer: call instead of cn_json_end_object; at least one member must have been written. */
void cn_json_seal(struct cn_json_writer *writer);
/* CORRUPT: the digest differs. TRUNCATED/FORMAT: no such line. */
int cn_json_check_seal(const void *data, size_t size, cairn_error *err);

#endif
