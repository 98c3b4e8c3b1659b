/* A trainer's story, told from its beginning again and again, each time to another of its system calls on files: what kill_each_call and sleep_each_call share. */
#ifndef CRASH_STORY_H
#define CRASH_STORY_H

#include "cases.h"
#include "tracer.h"

struct story {
    const char *name, *before, *operations; /* before: done once, whole, or NULL; operations: what is told each time */
    const char *other;                      /* what another one does meanwhile, or NULL */
};

/* Where it is told: the store and the diary of the copy that is at work, and where its output goes. */
struct stage {
    const char *bin, *work;
    char trainer[4096], run[4096], diary[4096], out[4096];
    uint64_t stride;
    bool only_changing; /* stops at what changes something alone */
};

/* From the arguments BIN WORK [STRIDE]: every so many calls only, and with a stride only those that change something. false: they are not that. */
bool stage_set(struct stage *stage, int argc, char **argv);

/* Tells every story to each call: at is called with 1, 2... until it returns false, for the story has ended. A line for each of them; whether all is well.
 * ends, if not NULL, is called before that line. */
bool stories_tell(const struct stage *stage, const char *what, const struct story *stories, size_t count,
                  bool (*at)(const struct stage *, const struct story *, uint64_t, struct cases *), void (*ends)(struct cases *));

/* A fresh copy of what came before, and the trainer stopped at stop number `at` - or, with only_before, at number `at` of those before a call. The tracer's
 * stopped is 0 if it ended earlier. */
void story_run_to(const struct stage *stage, const struct story *story, uint64_t at, bool only_before, struct tracer *tracer);

#endif
