/* The progress bar of long work: on the terminal's error stream, ten times a second, wiped when the work is done or interrupted. */
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static const char wipe[] = "\r\033[K";

/* Ctrl-C leaves a clean line, and then does what it always does. */
static void wipe_and_end(int signal_number)
{
    ssize_t written = write(2, wipe, sizeof wipe - 1);
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

void progress_start(struct progress *progress, const struct cli *cli)
{
    *progress = (struct progress){ .shown = !cli->json && isatty(2), .start = now() };
    if (progress->shown) signal(SIGINT, wipe_and_end);
}

void progress_show(struct progress *progress, uint64_t done, uint64_t total)
{
    enum { WIDEST = 40 };
    char bar[WIDEST + 1], rate[32], left[32] = "";
    double time = now(), seconds = time - progress->start;
    if (!progress->shown || !total || time - progress->last < 0.1 || seconds < 0.3) return;
    progress->last = time;
    double share = done < total ? (double)done / (double)total : 1, speed = (double)done / seconds;
    int width = cli_width() - 40, filled;
    if (width > WIDEST) width = WIDEST;
    if (width < 0) width = 0;
    filled = (int)(share * width);
    memset(bar, '=', (size_t)filled);
    memset(bar + filled, ' ', (size_t)(width - filled));
    bar[width] = 0;
    if (speed > 0 && seconds > 1) snprintf(left, sizeof left, ", %.0f s left", (double)(total - (done < total ? done : total)) / speed);
    fprintf(stderr, "\r\033[K%3.0f %% [%s] %s/s%s", 100 * share, bar, cli_bytes((uint64_t)speed, rate), left);
    fflush(stderr);
}

void progress_wipe(struct progress *progress)
{
    if (progress->shown && progress->last > 0) fputs(wipe, stderr);
}
