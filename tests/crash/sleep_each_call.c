/* Proves: a writer that is stopped before any of its system calls on files, and wakes when another has taken its run over and gone, is fenced. There is one line of
 * checkpoints, nothing that either was told to be saved is lost, and the sleeper's steps never stand in the other's way.
 *
 *     sleep_each_call BIN WORK [STRIDE] */
#include "cases.h"
#include "tracer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

enum { FENCED = 5 }; /* trainer's exit status */

static const struct story {
    const char *name, *before;
    char *sleeper[6]; /* operations */
    const char *other;
} stories[] = {
    { "a save", "open resume save:2", { "open", "resume", "save", "save" }, "take-over way:2 resume save" },
    { "a save that prunes", "open resume save:3", { "open:2", "resume", "save", "save" }, "take-over:2 way:2 resume save:3" },
    { "the first save", NULL, { "open", "resume", "save" }, "take-over way:2 resume save" },
};

static const char *bin, *work;
static uint64_t fenced;

/* Returns false when the sleeper ended before. */
static bool sleep_at(const struct story *story, uint64_t at, bool only_changing, struct cases *cases)
{
    char program[4096], run[4096], diary[4096], out[4096];
    char *argv[10] = { program, run, diary };
    struct tracer tracer;
    uint64_t stop = 0;
    snprintf(program, sizeof program, "%s/trainer", bin);
    snprintf(run, sizeof run, "%s/case/run", work);
    snprintf(diary, sizeof diary, "%s/case/diary", work);
    snprintf(out, sizeof out, "%s/out", work);
    memcpy(argv + 3, story->sleeper, sizeof story->sleeper);
    if (shell("rm -rf '%s/case' '%s' && cp -a '%s/base' '%s/case'", work, out, work, work) || tracer_start(&tracer, argv, out)) exit(2);
    while (tracer_next(&tracer, only_changing))
        if (tracer.entering && ++stop == at) break;
    if (!tracer.stopped) return false;
    cases->run++;
    const char *call = tracer_call_name(&tracer);
    int other = shell("'%s' '%s' '%s' %s >>'%s' 2>&1", program, run, diary, story->other, out);
    tracer_release(&tracer);
    int sleeper = WIFEXITED(tracer.status) ? WEXITSTATUS(tracer.status) : -1;
    if (other) case_failed(cases, out, "slept before %s, stop %llu: the other ended with %d", call, (unsigned long long)at, other);
    if (sleeper != 0 && sleeper != FENCED)
        case_failed(cases, out, "slept before %s, stop %llu: ended with %d", call, (unsigned long long)at, sleeper);
    if (sleeper == FENCED) fenced++;
    if (shell("'%s/checker' '%s' '%s' one-line all-said >'%s' 2>&1", bin, run, diary, out))
        case_failed(cases, out, "slept before %s, stop %llu, ended with %d", call, (unsigned long long)at, sleeper);
    return true;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    bin = argv[1], work = argv[2];
    const uint64_t stride = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    int failed = 0;
    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
        char name[100];
        fenced = 0;
        snprintf(name, sizeof name, "slept before each call: %s", stories[i].name);
        struct cases cases = { .name = name };
        int status = shell("rm -rf '%s/base' && mkdir -p '%s/base'", work, work);
        if (!status && stories[i].before)
            status = shell("'%s/trainer' '%s/base/run' '%s/base/diary' %s 2>/dev/null", bin, work, work, stories[i].before);
        for (uint64_t at = 1 + i % stride; !status && sleep_at(&stories[i], at, stride > 1, &cases); at += stride) continue;
        if (!fenced) case_failed(&cases, NULL, "nobody was ever fenced");
        if (!cases_tell(&cases)) failed = 1;
    }
    return failed;
}
