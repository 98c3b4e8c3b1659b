/* Proves: a writer that is stopped before any of its system calls on files, and wakes when another has taken its run over and gone, is fenced. There is one line of
 * checkpoints, nothing that either was told to be saved is lost, and the sleeper's steps never stand in the other's way.
 *
 *     sleep_each_call BIN WORK [STRIDE] */
#include "story.h"

#include <sys/wait.h>

enum { FENCED = 5 }; /* trainer's exit status */

static const struct story stories[] = {
    { "a save", "open resume save:2", "open resume save save", "take-over way:2 resume save" },
    { "a save that prunes", "open resume save:3", "open:2 resume save save", "take-over:2 way:2 resume save:3" },
    { "the first save", NULL, "open resume save", "take-over way:2 resume save" },
};

static uint64_t fenced; /* in this story */

static bool sleep_at(const struct stage *stage, const struct story *story, uint64_t at, struct cases *cases)
{
    struct tracer tracer;
    const char *out = stage->out;
    story_run_to(stage, story, at, true, &tracer);
    if (!tracer.stopped) return false;
    cases->run++;
    const char *call = tracer_call_name(&tracer);
    int other = shell("'%s' '%s' '%s' %s >>'%s' 2>&1", stage->trainer, stage->run, stage->diary, story->other, out);
    tracer_release(&tracer);
    int sleeper = WIFEXITED(tracer.status) ? WEXITSTATUS(tracer.status) : -1;
    if (other) case_failed(cases, out, "slept before %s, stop %llu: the other ended with %d", call, (unsigned long long)at, other);
    if (sleeper != 0 && sleeper != FENCED)
        case_failed(cases, out, "slept before %s, stop %llu: ended with %d", call, (unsigned long long)at, sleeper);
    fenced += sleeper == FENCED;
    if (shell("'%s/checker' '%s' '%s' one-line all-said >'%s' 2>&1", stage->bin, stage->run, stage->diary, out))
        case_failed(cases, out, "slept before %s, stop %llu, ended with %d", call, (unsigned long long)at, sleeper);
    return true;
}

static void somebody_was_fenced(struct cases *cases)
{
    if (!fenced) case_failed(cases, NULL, "nobody was ever fenced");
    fenced = 0;
}

int main(int argc, char **argv)
{
    struct stage stage;
    if (!stage_set(&stage, argc, argv)) return 2;
    return !stories_tell(&stage, "slept before each call", stories, sizeof stories / sizeof *stories, sleep_at, somebody_was_fenced);
}
