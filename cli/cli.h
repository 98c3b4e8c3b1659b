/* What the commands share: options, exit codes, text that is safe to print, tables that fit the terminal. Built on cairn.h alone. */
#ifndef CLI_H
#define CLI_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "cairn.h"

enum { EXIT_FINE = 0, EXIT_NO = 1, EXIT_USAGE = 2, EXIT_FAILED = 3 };

struct cli {
    const char *command; /* "ls": for messages */
    const char *store;   /* -C, CAIRN_STORE; NULL: the current folder */
    bool json, help, quick, strict, all, remove, dry_run;
    int pin;          /* 1: --pin, -1: --unpin */
    const char *item; /* --item */
    const char *last; /* --last */
    char **metrics;   /* --metric NAME=VALUE */
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

/* text.c */
int cli_fail(const struct cli *cli, const cairn_error *err); /* one line on stderr; the exit code of err->code */
int cli_usage(const struct cli *cli, const char *what);      /* one line on stderr; EXIT_USAGE */
int cli_exit_code(int code);                                 /* of a CAIRN_E_ code */
char *cli_safe(const char *text);                            /* escaped for one line of a terminal; free it */
const char *cli_bytes(uint64_t bytes, char buffer[32]);      /* "12.3 MB" */
const char *cli_number(double number, char buffer[32]);      /* 4 significant digits */
const char *cli_s(uint64_t count);                           /* "s", or "" for one */
const char *cli_time(int64_t time_ns, char buffer[32]);      /* "2026-11-24 10:00:00", UTC */
char *cli_path(const struct cli *cli, const char *run);      /* a run's path in the store; free it */
int cli_print_json(json_t *object);                          /* prints, frees; EXIT_FINE, or EXIT_FAILED */
json_t *cli_json_number(double number);                      /* NaN and infinities as strings */
json_t *cli_json_text(const char *text);                     /* bytes that are no UTF-8 are replaced */

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
