/* Proves: a trainer killed before or after any of its system calls on files leaves the old or the new state of its store, and whoever comes next resumes and
 * saves without a helping hand.
 *
 *     kill_each_call BIN WORK [STRIDE]      BIN: where trainer and checker are; STRIDE: every so many calls only, and only those that change something
 *
 * Each story is told from its beginning for each kill: a copy of the store, the trainer under ptrace up to there, SIGKILL, the checker. */
#include "story.h"

#include <sys/wait.h>

static const struct story stories[] = {
    { "first saves of a new run", NULL, "open resume save save", NULL },
    { "saves that prune and share files", "open resume save:3", "open:2 resume save save", NULL },
    { "going back", "open resume save:4", "open back:2 save save", NULL },
    { "going back, pruning", "open resume save:4", "open:2 back:2 save save", NULL },
    { "over what dead ones left", "open resume save:2 die", "open resume save", NULL },
    { "rm", "open resume save:4", "rm:2", NULL },
    { "tag", "open resume save:3", "tag:2:keeper", NULL },
    { "tag again", "open resume save:3 tag:2:keeper", "tag:3:other", NULL },
    { "keep", "open resume save:5 tag:2:keeper", "keep:2", NULL },
    { "drop an item", "open resume save:3", "drop:2", NULL },
    { "a single folder", NULL, "folder", NULL },
    { "a single folder, replaced", "folder", "folder", NULL },
};

static bool kill_at(const struct stage *stage, const struct story *story, uint64_t at, struct cases *cases)
{
    struct tracer tracer;
    story_run_to(stage, story, at, false, &tracer);
    const bool killed = tracer.stopped != 0;
    if (killed)
        tracer_kill(&tracer);
    else if (!WIFEXITED(tracer.status) || WEXITSTATUS(tracer.status))
        case_failed(cases, stage->out, "not killed, it failed");
    cases->run++;
    if (shell("'%s/checker' '%s' '%s' >'%s' 2>&1", stage->bin, stage->run, stage->diary, stage->out))
        case_failed(cases, stage->out, "killed %s %s, stop %llu", tracer.entering ? "before" : "after", tracer_call_name(&tracer),
                    (unsigned long long)at);
    return killed;
}

int main(int argc, char **argv)
{
    struct stage stage;
    if (!stage_set(&stage, argc, argv)) return 2;
    return !stories_tell(&stage, "killed at each call", stories, sizeof stories / sizeof *stories, kill_at, NULL);
}
