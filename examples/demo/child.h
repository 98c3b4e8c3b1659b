#ifndef DEMO_CHILD_H
#define DEMO_CHILD_H

#include <stdint.h>

/* When to kill a life of the trainer: not at all, at a moment by the clock, or shortly after a save has begun. */
enum demo_plan { DEMO_LET_LIVE, DEMO_KILL_AT_TIME, DEMO_KILL_IN_SAVE };

struct demo_life {
    /* what was asked for */
    char *const *command;
    const char *run; /* the run's folder */
    enum demo_plan plan;
    double kill_after; /* AT_TIME: seconds after the start; IN_SAVE: seconds after the save has begun */
    int saves_to_pass; /* IN_SAVE: begun saves that are let through */
    long kill_step;    /* reached before: killed at once (0: never), so that a life cannot outrun the plan */
    void (*progress)(void *user, const struct demo_life *life);
    void *user;
    /* what happened */
    long step;            /* the last one seen */
    long resumed;         /* the step it resumed at; -1: it did not say so */
    double loss, save_ms; /* of the last step; of the last save, 0 before one */
    int killed, in_save;  /* died of our SIGKILL; left a staging folder without its commit */
    int status;           /* exit status, where it was not killed */
    double seconds;
    char last_line[256]; /* for a message, where it failed */
};

double demo_seconds_now(void);

/* Starts the command and watches it to its end. Returns 0, or -1 when it could not be started or watched. */
int demo_life_run(struct demo_life *life);

#endif
