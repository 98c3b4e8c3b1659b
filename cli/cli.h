/* What the commands share: options, exit codes, text that is safe to print, tables that fit the terminal. Built on cairn.h alone. */
#ifndef CLI_H
#define CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cairn.h"

enum { EXIT_FINE = 0, EXIT_NO = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

struct cli {
    const char *command; /* "ls": for messages */
    const char *store;   /* -C, CAIRN_STORE; NULL: the current folder */
    bool json, help, quick, strict, all, read, remove, dry_run, pin, unpin, max;
    const char *item; /* --item */
    const char *last; /* --last */
    const char *best; /* --best */
    char **metrics;   /* --metric: NAME=VALUE, or a name */
    int metrics_count;
    int arguments_count;
    char **arguments;
};

struct command {
    const char *name;
    int (*run)(const struct cli *cli); /* returns an exit code */
    const char *options;               /* letters of the options it takes (main.c) */
    const char *summary, *help;
};
extern const struct command cli_commands[];
extern const int cli_commands_count;

int cmd_ls(const struct cli *cli);
int cmd_show(const struct cli *cli);
int cmd_verify(const struct cli *cli);
int cmd_diff(const struct cli *cli);
int cmd_tag(const struct cli *cli);
int cmd_rm(const struct cli *cli);
int cmd_du(const struct cli *cli);
int cmd_keep(const struct cli *cli);
int cmd_doctor(const struct cli *cli);

/* memory.c: what is not to be had ends the program */
_Noreturn void cli_no_memory(void);
void *cli_new(size_t count, size_t size);                /* zeroed */
void *cli_grow(void *memory, size_t count, size_t size); /* to count elements */
char *cli_copy(const char *text);
char *cli_format(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* text.c */
int cli_fail(const struct cli *cli, const cairn_error *err); /* one line on stderr; the exit code of err->code */
int cli_usage(const struct cli *cli, const char *what);      /* one line on stderr; EXIT_USAGE */
int cli_exit_code(int code);                                 /* of a CAIRN_E_ code */
bool cli_is_utf8(const char *text, size_t size);             /* NUL-terminated besides */
char *cli_safe(const char *text);                            /* escaped for one line of a terminal; free it */
char *cli_cut(char *text, size_t most);                 /* at most so many bytes of it, and how many are left out; takes text, free it */
const char *cli_bytes(uint64_t bytes, char buffer[32]); /* "12.3 MB" */
const char *cli_number(double number, char buffer[32]); /* 4 significant digits */
const char *cli_exact(double number,
                      char buffer[40]); /* the fewest digits that read back as the same number; a point or an exponent is in it */
const char *cli_s(uint64_t count);      /* "s", or "" for one */
const char *cli_time(int64_t time_ns, char buffer[32]); /* "2026-11-24 10:00:00", UTC */

/* place.c: what stands where a name leads */
const char *cli_store(const struct cli *cli);           /* the store's folder */
char *cli_path(const struct cli *cli, const char *run); /* a run's path in the store; free it */
bool cli_is_unreadable(const char *path); /* a checkpoint whose manifest the system does not let us read: nothing is known of it */
bool cli_is_run(const char *path);        /* a folder with run.json */
char *cli_find(const struct cli *cli, const char *name);           /* the path: in the current folder, else in the store; free it */
bool cli_explain_kind(const char *path, cairn_error *err);         /* err is USAGE then: no file of tensors, but another kind */
char *cli_holder(const char *file);                                /* the checkpoint's folder that a file belongs to, or NULL; free it */
int cli_fail_store(const struct cli *cli, const cairn_error *err); /* cli_fail; says more of a store that is missing */
int cli_fail_name(const struct cli *cli, const char *name,
                  const cairn_error *err); /* cli_fail; says more of a store, or one that is missing */
int cli_fail_file(const struct cli *cli, const char *name, const cairn_error *err); /* where a file will do: of one of another kind, too */
int cli_fail_run(const struct cli *cli, const char *name, const cairn_error *err);  /* where a run was asked for: of a checkpoint, too */

/* kind.c */
const char *cli_kind(const char *path); /* what it is, "a git-lfs pointer"; NULL: it may be a safetensors file, or nobody knows */
bool cli_is_named_safetensors(const char *name);
char *cli_find_no_safetensors(const char *path,
                              const char **ret_kind); /* the file itself, or one in the folder that should hold tensors, or NULL; free it */

/* json.c: key is NULL in a list, and after json_key */
enum { JSON_ONE_LINE = -1 };
struct json {
    FILE *out; /* a stream into text */
    char *text;
    size_t size;
    int depth;           /* JSON_ONE_LINE: without line breaks */
    bool filled, nested; /* what is open holds something; it is not the outermost */
    bool keyed;          /* by json_key */
};
void json_start(struct json *json, int depth); /* 0, or that of the list that json_splice will make of it */
void json_open(struct json *json, const char *key, char bracket);
void json_close(struct json *json, char bracket);
void json_key(struct json *json, const char *key, size_t size); /* of what comes next: a text that may hold NULs */
void json_text(struct json *json, const char *key, const char *text);
void json_sized_text(struct json *json, const char *key, const char *text, size_t size);
void json_texts(struct json *json, const char *key, const char *const *texts, size_t count); /* a list */
void json_count(struct json *json, const char *key, uint64_t count);
void json_int(struct json *json, const char *key, int64_t number);
void json_number(struct json *json, const char *key, double number); /* NaN and infinities as texts */
void json_truth(struct json *json, const char *key, bool truth);
void json_null(struct json *json, const char *key);
void json_splice(struct json *json, const char *key, struct json *members); /* a list of what members holds, which is freed */
char *json_take(struct json *json);                                         /* the text; free it */
void json_drop(struct json *json);
int json_print(struct json *json); /* prints, frees; EXIT_FINE, or EXIT_FAILED */

/* entry.c: members of the object that is open */
void entry_json(struct json *json, const cairn_entry *entry);

/* value.c */
enum { VALUE_DEEPEST = 64 };
void value_json(struct json *json, const char *key, const cairn_value *value, int depth);
char *value_text(const cairn_value *value);   /* on one line; free it */
char *value_key_text(const cairn_value *key); /* as a part of a path: a text without quotes; free it */
bool value_is_tree(const cairn_value *value); /* a map that can be walked by name: without a type tag, all keys are texts without NUL */
const char *value_kind_name(const cairn_value *value);
bool value_is_plain(const cairn_value *value); /* holds more than references to tensors */

/* progress.c */
struct progress {
    bool shown;
    double start, last; /* seconds */
};
void progress_start(struct progress *progress, const struct cli *cli);        /* shown on a terminal, not with --json */
void progress_show(struct progress *progress, uint64_t done, uint64_t total); /* bytes; draws at most ten times a second */
void progress_wipe(struct progress *progress);

/* table.c */
enum { TABLE_COLUMNS = 10 };
struct table {
    const char *heads[TABLE_COLUMNS];
    bool right[TABLE_COLUMNS]; /* aligned right: numbers */
    int columns;
    int wide; /* the column that is cut when the terminal is narrow */
    char ***rows;
    size_t count, capacity;
};
void table_add(struct table *table, const char *const *cells); /* copies; cells are escaped here */
void table_print(struct table *table);                         /* and frees */
bool cli_colour(FILE *stream);
int cli_width(void); /* columns; very wide where the output is no terminal and COLUMNS is not set */

#endif
