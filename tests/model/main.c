/* model quick | all: explores the configurations, then leaves out one rule after the other, each of which must give a violation.
 * model trace CONFIGURATION [RULE]: one of them, with the way to the violation. `all` uses every core, `quick` one. */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define NUMBER(name, number, text) number,
#define TEXT(name, number, text) text,
#define NAME(name, number, text) #name,
static const char *const rule_numbers[] = { RULES(NUMBER) };
static const char *const rule_texts[] = { RULES(TEXT) };
static const char *const rule_names[] = { RULES(NAME) };

enum { MAX_STATES = 150000000, MAX_JOBS = 512 };

struct job {
    struct model_case c;
    const struct mutant *mutant; /* NULL: nothing is left out, or */
    const struct unseen *unseen; /* a rule that may be left out here without a violation */
    bool ended;
    struct result result;
};

struct work { /* shared with the processes that explore */
    unsigned next, count;
    struct job job[MAX_JOBS];
};

static const struct model_case *find(const char *name)
{
    for (unsigned i = 0; i < configurations_count; i++)
        if (!strcmp(configurations[i].name, name)) return &configurations[i];
    fprintf(stderr, "model: no configuration is called %s\n", name);
    exit(2);
}

static void add_jobs(struct work *work, bool quick)
{
    for (unsigned i = configurations_count; i-- > 0;) /* the long ones stand last and go first */
        if (!quick || configurations[i].quick) work->job[work->count++].c = configurations[i];
    for (unsigned i = 0; i < mutants_count; i++) {
        if (quick && mutants[i].slow) continue;
        struct job *job = &work->job[work->count++];
        job->mutant = &mutants[i];
        job->c = *find(mutants[i].configuration);
        job->c.without = mutants[i].rule;
        job->c.without_too = mutants[i].rule_too;
    }
    for (unsigned i = 0; i < unseen_count && !quick; i++)
        for (unsigned k = 0; k < configurations_count; k++) {
            if (!configurations[k].quick) continue;
            struct job *job = &work->job[work->count++];
            job->unseen = &unseen[i];
            job->c = configurations[k];
            job->c.without = unseen[i].rule;
        }
}

/* A state must stay the same for processes that share nothing but the results: they are forked before the first one is explored. */
static void run_jobs(struct work *work, unsigned processes)
{
    for (unsigned i = 0; i < processes; i++) {
        pid_t child = fork();
        if (child < 0) exit(2);
        if (child) continue;
        for (unsigned at; (at = __atomic_fetch_add(&work->next, 1, __ATOMIC_SEQ_CST)) < work->count;) {
            explore(&work->job[at].c, false, MAX_STATES, &work->job[at].result);
            work->job[at].ended = true;
        }
        _exit(0);
    }
    for (unsigned i = 0; i < processes; i++) (void)wait(NULL);
}

/* ------------------------------------------------------------------------------------------------------------------ tables */

static bool tell_configuration(const struct job *job)
{
    const struct result *result = &job->result;
    bool right = job->ended && !result->violation && !result->truncated;
    printf("%s - model: %-32s %10llu states %11llu steps %7.1f s  %s\n", right ? "ok" : "not ok", job->c.name,
           (unsigned long long)result->states, (unsigned long long)result->steps, result->seconds,
           !job->ended         ? "did not end"
           : result->violation ? result->violation
           : result->truncated ? "too many states"
                               : "");
    return right;
}

static bool tell_mutant(const struct job *job)
{
    const struct result *result = &job->result;
    const struct mutant *mutant = job->mutant;
    char what[160];
    snprintf(what, sizeof what, "%s: %s%s%s", rule_numbers[mutant->rule], rule_texts[mutant->rule], mutant->rule_too ? ", and " : "",
             mutant->rule_too ? rule_texts[mutant->rule_too] : "");
    bool right = job->ended && result->violation;
    printf("%s - model without %-88s | %-30s | %8llu states | %3u steps | %s%s\n", right ? "ok" : "not ok", what, job->c.name,
           (unsigned long long)result->states, result->length, result->violation ? result->violation : "no violation",
           mutant->note ? mutant->note : "");
    return right;
}

/* In none of the configurations: else the rule has a better place. */
static bool tell_unseen(const struct work *work, const struct unseen *rule)
{
    unsigned count = 0;
    const struct job *seen = NULL;
    for (unsigned i = 0; i < work->count; i++) {
        const struct job *job = &work->job[i];
        if (job->unseen != rule) continue;
        count++;
        if (!job->ended || job->result.violation || job->result.truncated) seen = job;
    }
    printf("%s - model without %s: %s: no violation in %u configurations%s%s: %s\n", seen ? "not ok" : "ok", rule_numbers[rule->rule],
           rule_texts[rule->rule], count, seen ? " but in " : "", seen ? seen->c.name : "", rule->why);
    return !seen;
}

static bool tell_all(const struct work *work, bool quick)
{
    bool right = true;
    uint64_t states = 0;
    bool covered[RULES_COUNT] = { [NO_RULE] = true };
    for (unsigned i = 0; i < mutants_count; i++) covered[mutants[i].rule] = covered[mutants[i].rule_too] = true;
    for (unsigned i = 0; i < work->count; i++) {
        if (work->job[i].unseen) continue;
        if (!work->job[i].mutant) states += work->job[i].result.states;
        right &= work->job[i].mutant ? tell_mutant(&work->job[i]) : tell_configuration(&work->job[i]);
    }
    for (unsigned i = 0; i < unseen_count; i++) {
        if (!quick) right &= tell_unseen(work, &unseen[i]);
        covered[unseen[i].rule] = true;
    }
    for (unsigned rule = 0; rule < RULES_COUNT; rule++) {
        if (covered[rule]) continue;
        printf("not ok - model: nothing tries to leave out %s: %s\n", rule_numbers[rule], rule_texts[rule]);
        right = false;
    }
    printf("%llu states with all rules kept\n", (unsigned long long)states);
    return right;
}

static int trace(const char *configuration, const char *rule, const char *too)
{
    struct model_case c = *find(configuration);
    struct result result;
    for (unsigned i = 0; i < RULES_COUNT; i++) {
        if (rule && !strcmp(rule_names[i], rule)) c.without = i;
        if (too && !strcmp(rule_names[i], too)) c.without_too = i;
    }
    explore(&c, true, MAX_STATES, &result);
    printf("%llu states, %llu steps, %.1f s: %s\n", (unsigned long long)result.states, (unsigned long long)result.steps, result.seconds,
           result.violation   ? result.violation
           : result.truncated ? "too many states"
                              : "no violation");
    return result.violation != NULL;
}

int main(int argc, char **argv)
{
    if (argc > 2 && !strcmp(argv[1], "trace")) return trace(argv[2], argc > 3 ? argv[3] : NULL, argc > 4 ? argv[4] : NULL);
    bool quick = argc == 2 && !strcmp(argv[1], "quick");
    if (argc != 2 || (!quick && strcmp(argv[1], "all"))) {
        fprintf(stderr, "usage: model quick | all | trace CONFIGURATION [RULE [RULE]]\n");
        return 2;
    }
    struct work *work = mmap(NULL, sizeof *work, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (work == MAP_FAILED) return 2;
    add_jobs(work, quick);
    run_jobs(work, quick ? 1 : (unsigned)sysconf(_SC_NPROCESSORS_ONLN));
    return tell_all(work, quick) ? 0 : 1;
}
