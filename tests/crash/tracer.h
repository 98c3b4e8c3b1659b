/* Runs a program and stops it at each of its system calls that concern files, before and after: by ptrace, all threads counted as one. */
#ifndef CRASH_TRACER_H
#define CRASH_TRACER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct tracer {
    pid_t process, stopped; /* stopped: the thread that stands at a call; 0: none */
    bool entering;          /* before the call; else after it */
    uint64_t call;          /* its number */
    pid_t inside;           /* the thread that was stopped before a call last, until it is stopped after it */
    int status;             /* of waitpid, when it has ended */
};

int tracer_start(struct tracer *t, char *const *argv, const char *output); /* output: where its stdout and stderr go, appended */
/* Goes on to the next stop. false: the program has ended. only_changing: only at calls that change something on disk, or wait for that. */
bool tracer_next(struct tracer *t, bool only_changing);
const char *tracer_call_name(const struct tracer *t);
void tracer_kill(struct tracer *t);    /* SIGKILL: a call that it stands before is not made */
void tracer_release(struct tracer *t); /* goes on to its end */

#endif
