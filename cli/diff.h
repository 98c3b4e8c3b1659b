/* cairn diff in parts: what differs is reported to cmd_diff.c, which counts lines, prints them or keeps rows of JSON. */
#ifndef CLI_DIFF_H
#define CLI_DIFF_H

#include "cli.h"

enum { DIFF_PIECE = 4 << 20, DIFF_ROW_DEPTH = 2 /* in the output */, DIFF_SHOWN_BYTES = 60 /* of each side, in a line */ };

struct diff {
    const struct cli *cli;
    const cairn_checkpoint *a, *b;
    uint64_t same, by_digest /* of the same: not read */, different, only_a, only_b, values_different;
    uint64_t reported;
    struct json rows, metrics; /* with --json */
    unsigned char *room_a, *room_b;
    struct progress progress;
    uint64_t done_bytes;
};

void diff_line(struct diff *diff, const char *where, const char *what);
void diff_item_line(struct diff *diff, const char *item, const char *name, const char *what);
void diff_open_row(struct diff *diff, const char *item, const char *name, const char *what); /* with --json; json_close it */
void diff_report(struct diff *diff, const char *item, const char *name, const char *what);   /* a line or a row */

bool diff_is_ours(const cairn_checkpoint *checkpoint); /* Cairn wrote it: no file or folder of another tool */
int diff_tensors(struct diff *diff, cairn_error *err);
void diff_values(struct diff *diff);
bool diff_same_bits(double a, double b);
char *diff_tell_texts(const char *a, const char *b); /* "A -> B": of both what a line has room for; free it */
/* What does not decide whether they are equal. */
void diff_metrics(struct diff *diff);
void diff_config(struct diff *diff);                        /* a line, if it differs */
void diff_put_config(struct diff *diff, struct json *json); /* or a member */

#endif
