/* The folder that the doctor makes in a place, tries out all in, and removes. */
#ifndef CLI_TRIAL_H
#define CLI_TRIAL_H

#include <signal.h>

#include "cli.h"

struct trial {
    char *path;
    int lock;
    sigset_t held, before; /* signals that wait until the folder is removed; the mask as it was */
};

int trial_begin(struct trial *trial, const char *dir, cairn_error *err); /* what doctors that were killed left in dir goes first */
void trial_end(struct trial *trial);                                     /* removes all; a signal that came ends the program here */

#endif
