/* A child process (see child.h). */
#include "child.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

double in_child(double (*work)(void *user), void *user)
{
    int ends[2], status = 0;
    double figure = 0;
    if (pipe(ends)) die("a pipe: %s", strerror(errno));
    fflush(NULL);
    pid_t child = fork();
    if (child < 0) die("a child process: %s", strerror(errno));
    if (!child) {
        close(ends[0]);
        figure = work(user);
        _exit(write(ends[1], &figure, sizeof figure) != sizeof figure);
    }
    close(ends[1]);
    ssize_t count = read(ends[0], &figure, sizeof figure);
    close(ends[0]);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
    stop_if_asked();
    if (count != sizeof figure || status) die("a child process failed");
    return figure;
}
