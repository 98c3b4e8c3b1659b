/* A reader for contenders.py: opens checkpoints of a run at random and looks at every bit of them, by reading and by mapping, again and again while others
 * remove what they can.
 *
 *     reader RUN SECONDS       prints "opened N, came too late for M"; exit status 1: a bit was wrong, or an error that a reader must not see */
#include "cases.h"
#include "state.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { LOOKS = 4 };

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static int look(cairn_checkpoint *checkpoint, const char *path)
{
    char problem[400] = "";
    uint64_t chain;
    for (int i = 0; i < LOOKS; i++) {
        if (checkpoint_is_whole(checkpoint, i % 2, &chain, problem, sizeof problem)) {
            printf("%s: %s\n", path, problem);
            return 1;
        }
        usleep(2000);
    }
    return 0;
}

int main(int argc, char **argv)
{
    cairn_error err = CAIRN_ERROR_INIT;
    unsigned long opened = 0, late = 0;
    if (argc < 3) return 2;
    random_seed((uint64_t)getpid());
    for (const double end = now() + atof(argv[2]); now() < end;) {
        cairn_listing *listing = NULL;
        cairn_checkpoint *checkpoint = NULL;
        char path[4200];
        int code = cairn_listing_open(argv[1], &listing, &err);
        if (code) return printf("%s: %s\n", argv[1], err.message), 1;
        const size_t count = cairn_listing_count(listing);
        if (count) snprintf(path, sizeof path, "%s/%s", argv[1], cairn_listing_entry(listing, random_below(count))->name);
        cairn_listing_close(listing);
        if (!count) continue;
        code = cairn_checkpoint_open(NULL, path, &checkpoint, &err);
        if (code == CAIRN_E_GONE || code == CAIRN_E_NOTFOUND)
            late++;
        else if (code)
            return printf("%s: %s: %s\n", path, cairn_code_name(code), err.message), 1;
        else if (opened++, look(checkpoint, path))
            return 1;
        cairn_checkpoint_close(checkpoint);
    }
    printf("opened %lu, came too late for %lu\n", opened, late);
    return opened ? 0 : 1;
}
