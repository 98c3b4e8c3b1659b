/*
 * One life of the trainer: started, watched, and perhaps killed with SIGKILL.
 *
 *  1. "In a save" is not guessed from the time of the kill: it is a folder in .cairn/staging that was not there before this life
 *     and is there after its death. A commit renames that folder away.
 *  2. Only the child that was started here is killed, by its id, and it is always waited for.
 */
#include "demo/child.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STAGING_MAX = 64, NAME_BYTES = 256 };

struct staging {
    char path[4096];
    char before[STAGING_MAX][NAME_BYTES];
    int count;
};

struct watch {
    pid_t child;
    int lines, events; /* the child's output; inotify, -1 while there is nothing to watch */
    char pending[1024];
    size_t pending_size;
    int saves_begun, kill_sent;
    double start, deadline; /* INFINITY: none */
};

double demo_seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ------------------------------------------------------------------------------------------------------------ staging */

static int was_there(const struct staging *staging, const char *name)
{
    for (int i = 0; i < staging->count; i++)
        if (strcmp(staging->before[i], name) == 0) return 1;
    return 0;
}

/* With remember: notes what lies in staging. Without: returns whether something lies there that was not noted. */
static int look_at_staging(struct staging *staging, int remember)
{
    DIR *folder = opendir(staging->path);
    struct dirent *entry;
    int found = 0;

    if (folder == NULL) return 0;
    while ((entry = readdir(folder)) != NULL) {
        if (entry->d_name[0] == '.') continue;
        if (remember && staging->count < STAGING_MAX)
            snprintf(staging->before[staging->count++], NAME_BYTES, "%s", entry->d_name);
        else if (!remember && !was_there(staging, entry->d_name))
            found = 1;
    }
    closedir(folder);
    return found;
}

/* ------------------------------------------------------------------------------------------------------------ the child */

static pid_t start_child(char *const *command, int *ret_lines)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    pid_t child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* nobody trains on when the demo is stopped */
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execv(command[0], command);
        fprintf(stderr, "cannot start %s: %s\n", command[0], strerror(errno));
        _exit(127);
    }
    close(ends[1]);
    if (child < 0)
        close(ends[0]);
    else
        *ret_lines = ends[0];
    return child;
}

static void take_line(struct demo_life *life, const char *line)
{
    long step, total;
    double loss, megabytes, ms;
    char name[64];

    if (sscanf(line, "step %ld/%ld loss %lf", &step, &total, &loss) == 3) {
        life->step = step;
        life->loss = loss;
        if (life->progress != NULL) life->progress(life->user, life);
    } else if (sscanf(line, "resumed at step %ld", &step) == 1) {
        life->resumed = life->step = step;
        if (life->progress != NULL) life->progress(life->user, life);
    } else if (sscanf(line, "saved %63s (%lf MB in %lf ms)", name, &megabytes, &ms) == 3)
        life->save_ms = ms;
    else
        snprintf(life->last_line, sizeof(life->last_line), "%.255s", line);
}

/* Returns 0 at the end of the child's output. */
static int take_output(struct demo_life *life, struct watch *watch)
{
    char *text = watch->pending, *end;
    ssize_t size = read(watch->lines, text + watch->pending_size, sizeof(watch->pending) - 1 - watch->pending_size);

    if (size <= 0) return size < 0 && errno == EINTR;
    watch->pending_size += (size_t)size;
    text[watch->pending_size] = '\0';
    while ((end = strchr(text, '\n')) != NULL) {
        *end = '\0';
        take_line(life, text);
        text = end + 1;
    }
    watch->pending_size -= (size_t)(text - watch->pending);
    memmove(watch->pending, text, watch->pending_size);
    if (watch->pending_size == sizeof(watch->pending) - 1) /* no line of ours is that long */
        watch->pending_size = 0;
    return 1;
}

/* A folder was made in staging: a save has begun. */
static void take_events(const struct demo_life *life, struct watch *watch)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    ssize_t size = read(watch->events, events, sizeof(events));

    for (ssize_t at = 0; at < size;) {
        struct inotify_event event;
        memcpy(&event, events + at, sizeof(event));
        at += (ssize_t)(sizeof(event) + event.len);
        if (++watch->saves_begun == life->saves_to_pass + 1) watch->deadline = demo_seconds_now() + life->kill_after;
    }
}

static void watch_child(struct demo_life *life, struct watch *watch)
{
    for (;;) {
        double left = watch->deadline - demo_seconds_now();
        struct pollfd fds[2] = { { .fd = watch->lines, .events = POLLIN }, { .fd = watch->events, .events = POLLIN } };

        if (!watch->kill_sent && (left <= 0.0 || (life->kill_step > 0 && life->step >= life->kill_step))) {
            kill(watch->child, SIGKILL);
            watch->kill_sent = 1;
            watch->deadline = left = INFINITY;
        }
        struct timespec wait = { .tv_sec = 1 };
        if (left < 1.0) wait = (struct timespec){ .tv_nsec = (long)(left * 1e9) };
        if (ppoll(fds, watch->events >= 0 ? 2 : 1, &wait, NULL) < 0 && errno != EINTR) return;
        if (watch->events >= 0 && (fds[1].revents & POLLIN) != 0) take_events(life, watch);
        if ((fds[0].revents & (POLLIN | POLLHUP)) != 0 && !take_output(life, watch)) return;
    }
}

int demo_life_run(struct demo_life *life)
{
    struct staging staging = { .count = 0 };
    struct watch watch = { .events = -1, .start = demo_seconds_now(), .deadline = INFINITY };
    int status;

    life->resumed = -1;
    snprintf(staging.path, sizeof(staging.path), "%s/.cairn/staging", life->run);
    look_at_staging(&staging, 1);
    if (life->plan == DEMO_KILL_IN_SAVE) {
        watch.events = inotify_init1(IN_CLOEXEC);
        if (watch.events < 0 || inotify_add_watch(watch.events, staging.path, IN_CREATE | IN_ONLYDIR) < 0) {
            if (watch.events >= 0) close(watch.events);
            return -1;
        }
    } else if (life->plan == DEMO_KILL_AT_TIME)
        watch.deadline = watch.start + life->kill_after;
    watch.child = start_child(life->command, &watch.lines);
    if (watch.child > 0) {
        watch_child(life, &watch);
        close(watch.lines);
        while (waitpid(watch.child, &status, 0) < 0 && errno == EINTR) continue;
        life->killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && watch.kill_sent;
        life->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        life->in_save = life->killed && look_at_staging(&staging, 0);
        life->seconds = demo_seconds_now() - watch.start;
    }
    if (watch.events >= 0) close(watch.events);
    return watch.child > 0 ? 0 : -1;
}
