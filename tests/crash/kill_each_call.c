/* Proves: a trainer killed before or after any of its system calls on files leaves the old or the new state of its store, and whoever comes next resumes and
 * saves without a helping hand.
 *
 *     kill_each_call BIN WORK [STRIDE]      BIN: where trainer and checker are; STRIDE: every so many calls only, and only those that change something
 *
 * Each story is told from its beginning for each kill: a copy of the store, the trainer under ptrace up to there, SIGKILL, the checker. */
#include "cases.h"
#include "tracer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

static const struct story {
    const char *name, *before, *operations; /* before: done once, whole; killed is what comes then */
} stories[] = {
    { "first saves of a new run", NULL, "open resume save save" },
    { "saves that prune and share files", "open resume save:3", "open:2 resume save save" },
    { "going back", "open resume save:4", "open back:2 save save" },
    { "going back, pruning", "open resume save:4", "open:2 back:2 save save" },
    { "over what dead ones left", "open resume save:2 die", "open resume save" },
    { "rm", "open resume save:4", "rm:2" },
    { "tag", "open resume save:3", "tag:2:keeper" },
    { "tag again", "open resume save:3 tag:2:keeper", "tag:3:other" },
    { "keep", "open resume save:5 tag:2:keeper", "keep:2" },
    { "drop an item", "open resume save:3", "drop:2" },
    { "a single folder", NULL, "folder" },
    { "a single folder, replaced", "folder", "folder" },
};

enum { MAX_ARGUMENTS = 20 };
static const char *bin, *work;

static void arguments_of(const struct story *story, char *words, char **argv)
{
    static char program[4096], run[4096], diary[4096];
    int count = 0;
    snprintf(program, sizeof program, "%s/trainer", bin);
    snprintf(run, sizeof run, "%s/case/run", work);
    snprintf(diary, sizeof diary, "%s/case/diary", work);
    argv[count++] = program, argv[count++] = run, argv[count++] = diary;
    strcpy(words, story->operations);
    for (char *word = strtok(words, " "); word; word = strtok(NULL, " ")) argv[count++] = word;
    argv[count] = NULL;
}

static bool prepare(const struct story *story)
{
    if (shell("rm -rf '%s/base' && mkdir -p '%s/base'", work, work)) return false;
    if (!story->before) return true;
    int status = shell("'%s/trainer' '%s/base/run' '%s/base/diary' %s >'%s/out' 2>&1", bin, work, work, story->before, work);
    return status == (strstr(story->before, "die") ? 128 + 9 : 0);
}

/* Kills at stop number `at`. Returns false when the trainer ended before that. */
static bool kill_at(const struct story *story, uint64_t at, bool only_changing, struct cases *cases)
{
    char words[200], *argv[MAX_ARGUMENTS], out[4096];
    struct tracer tracer;
    uint64_t stop = 0;
    snprintf(out, sizeof out, "%s/out", work);
    arguments_of(story, words, argv);
    if (shell("rm -rf '%s/case' '%s' && cp -a '%s/base' '%s/case'", work, out, work, work) || tracer_start(&tracer, argv, out)) exit(2);
    while (tracer_next(&tracer, only_changing))
        if (++stop == at) break;
    const bool killed = tracer.stopped != 0;
    if (killed)
        tracer_kill(&tracer);
    else if (!WIFEXITED(tracer.status) || WEXITSTATUS(tracer.status))
        case_failed(cases, out, "not killed, it failed");
    cases->run++;
    if (shell("'%s/checker' '%s/case/run' '%s/case/diary' >'%s' 2>&1", bin, work, work, out))
        case_failed(cases, out, "killed %s %s, stop %llu", tracer.entering ? "before" : "after", tracer_call_name(&tracer),
                    (unsigned long long)at);
    return killed;
}

int main(int argc, char **argv)
{
    if (argc < 3) return 2;
    bin = argv[1], work = argv[2];
    const uint64_t stride = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    int failed = 0;
    for (size_t i = 0; i < sizeof stories / sizeof *stories; i++) {
        char name[100];
        snprintf(name, sizeof name, "killed at each call: %s", stories[i].name);
        struct cases cases = { .name = name };
        if (!prepare(&stories[i])) {
            case_failed(&cases, NULL, "it cannot be prepared");
        } else {
            for (uint64_t at = 1 + i % stride; kill_at(&stories[i], at, stride > 1, &cases); at += stride) continue;
        }
        if (!cases_tell(&cases)) failed = 1;
    }
    return failed;
}
