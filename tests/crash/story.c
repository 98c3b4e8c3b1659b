#include "story.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_ARGUMENTS = 20, DIED = 128 + 9 };

bool stage_set(struct stage *stage, int argc, char **argv)
{
    if (argc < 3) return false;
    stage->bin = argv[1], stage->work = argv[2];
    stage->stride = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    stage->only_changing = stage->stride > 1;
    snprintf(stage->trainer, sizeof stage->trainer, "%s/trainer", stage->bin);
    snprintf(stage->run, sizeof stage->run, "%s/case/run", stage->work);
    snprintf(stage->diary, sizeof stage->diary, "%s/case/diary", stage->work);
    snprintf(stage->out, sizeof stage->out, "%s/out", stage->work);
    return stage->stride > 0;
}

static bool prepare(const struct stage *stage, const char *before)
{
    if (shell("rm -rf '%s/base' && mkdir -p '%s/base'", stage->work, stage->work)) return false;
    if (!before) return true;
    int status = shell("'%s' '%s/base/run' '%s/base/diary' %s >'%s' 2>&1", stage->trainer, stage->work, stage->work, before, stage->out);
    return status == (strstr(before, "die") ? DIED : 0);
}

bool stories_tell(const struct stage *stage, const char *what, const struct story *stories, size_t count,
                  bool (*at)(const struct stage *, const struct story *, uint64_t, struct cases *), void (*ends)(struct cases *))
{
    bool well = true;
    for (size_t i = 0; i < count; i++) {
        char name[100];
        struct cases cases = { .name = name };
        snprintf(name, sizeof name, "%s: %s", what, stories[i].name);
        if (!prepare(stage, stories[i].before)) {
            case_failed(&cases, stage->out, "it cannot be prepared");
        } else {
            for (uint64_t stop = 1 + i % stage->stride; at(stage, &stories[i], stop, &cases); stop += stage->stride) continue;
            if (ends) ends(&cases);
        }
        well &= cases_tell(&cases);
    }
    return well;
}

static void arguments_of(const struct stage *stage, char *words, char **argv)
{
    int count = 0;
    argv[count++] = (char *)stage->trainer, argv[count++] = (char *)stage->run, argv[count++] = (char *)stage->diary;
    for (char *word = strtok(words, " "); word && count < MAX_ARGUMENTS - 1; word = strtok(NULL, " ")) argv[count++] = word;
    argv[count] = NULL;
}

void story_run_to(const struct stage *stage, const struct story *story, uint64_t at, bool only_before, struct tracer *tracer)
{
    char words[200], *argv[MAX_ARGUMENTS];
    uint64_t stop = 0;
    snprintf(words, sizeof words, "%s", story->operations);
    arguments_of(stage, words, argv);
    const char *work = stage->work;
    if (shell("rm -rf '%s/case' '%s' && cp -a '%s/base' '%s/case'", work, stage->out, work, work)) exit(2);
    if (tracer_start(tracer, argv, stage->out)) exit(2);
    while (tracer_next(tracer, stage->only_changing))
        if ((tracer->entering || !only_before) && ++stop == at) break;
}
